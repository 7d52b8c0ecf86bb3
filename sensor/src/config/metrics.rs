//! `[metrics]`: what the daemon counts, for Prometheus.

use std::net::SocketAddr;

use serde::Deserialize;
use toml::Spanned;

use super::{Complaint, Listen, rest};

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// `unix:` and the path of a socket, or an address and a port; nobody is listened to without.
    listen: Option<Spanned<String>>,
    /// Others than this host may ask.
    pub allow_remote: bool,
}

impl MetricsConfig {
    /// Where is listened, of a configuration that was checked.
    #[must_use]
    pub fn listen(&self) -> Option<Listen> {
        self.parse(self.listen.as_ref()?.get_ref()).ok()
    }

    fn parse(&self, text: &str) -> Result<Listen, &'static str> {
        match (self.allow_remote, text.parse::<SocketAddr>()) {
            (true, Ok(address)) => Ok(Listen::Tcp(address)),
            (false, Ok(address)) if !address.ip().to_canonical().is_loopback() => {
                Err("only loopback addresses without allow_remote")
            }
            _ => rest::parse(text),
        }
    }
}

pub(super) fn check(config: &MetricsConfig) -> Result<(), Complaint> {
    let Some(listen) = &config.listen else { return Ok(()) };
    match config.parse(listen.get_ref()) {
        Ok(_) => Ok(()),
        Err(message) => Err((listen.span(), format!("listen: {message}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Listen;
    use crate::config::parse;

    #[test]
    fn others_are_listened_to_only_when_it_is_said() {
        let read = |text: &str| {
            let text = format!("[metrics]\n{text}\n");
            let config = parse(&text, Path::new("c.toml")).map_err(|e| e.to_string())?;
            Ok::<_, String>(config.metrics.listen())
        };
        assert_eq!(read(""), Ok(None));
        let tcp = |text: &str| Ok(Some(Listen::Tcp(text.parse().unwrap())));
        assert_eq!(read("listen = \"127.0.0.1:9464\""), tcp("127.0.0.1:9464"));
        assert_eq!(read("listen = \"0.0.0.0:9464\"\nallow_remote = true"), tcp("0.0.0.0:9464"));
        assert_eq!(
            read("listen = \"unix:/run/m.sock\""),
            Ok(Some(Listen::Unix("/run/m.sock".into())))
        );
        for (text, due) in [
            ("listen = \"0.0.0.0:9464\"", "only loopback addresses without allow_remote"),
            ("listen = \"[::]:9464\"", "only loopback addresses without allow_remote"),
            ("listen = \"9464\"", "neither unix:/path nor"),
            ("listen = \"unix:m.sock\"\nallow_remote = true", "behind unix: stands"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("c.toml:2:10: metrics.listen: {due}")), "{error}");
        }
    }
}
