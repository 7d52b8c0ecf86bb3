//! `[[service]]` and `[memory]`: what is known of the watched services, and how long tokens are
//! remembered.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::{Component, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use crate::{memory::MemoryConfig, policy::Mode};

/// Where a service is: everything that is given has to fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its ports; any where there is none.
    pub ports: Vec<u16>,
    /// The address that clients connect to.
    pub address: Option<IpAddr>,
    /// Its cgroup, from the root of the hierarchy.
    pub cgroup: Option<PathBuf>,
}

impl Place {
    /// How much is given: of several places that fit, the greatest counts. An address says more than
    /// a cgroup, and that more than a port.
    #[must_use]
    pub fn weight(&self) -> u32 {
        u32::from(self.address.is_some()) * 4
            + u32::from(self.cgroup.is_some()) * 2
            + u32::from(!self.ports.is_empty())
    }
}

/// For people.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports = self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        match (self.address, &self.cgroup) {
            (Some(IpAddr::V6(address)), _) => write!(f, "[{address}]:{ports}")?,
            (Some(address), _) => write!(f, "{address}:{ports}")?,
            (None, Some(_)) if ports.is_empty() => {}
            (None, _) => write!(f, "port {ports}")?,
        }
        match &self.cgroup {
            Some(cgroup) if self.weight() == 2 => write!(f, "cgroup {}", cgroup.display()),
            Some(cgroup) => write!(f, " in cgroup {}", cgroup.display()),
            None => Ok(()),
        }
    }
}

/// `[[service]]`: one watched service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Its port.
    pub port: Option<u16>,
    /// Its ports, where they are several.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// The cgroup that it runs in, or below.
    pub cgroup: Option<Spanned<PathBuf>>,
    /// The address and port that clients connect to.
    pub listen: Option<Spanned<String>>,
    /// Its name; what is learned of it survives a restart under this name.
    pub name: Option<String>,
    /// Audiences that it belongs to: a token of none of them, used elsewhere before, is relayed.
    /// Learned where this is empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Addresses under which clients know it, with the path that proxies cut off: what `htu` of
    /// DPoP proofs is held against.
    #[serde(default)]
    pub public_urls: Vec<Spanned<String>>,
    /// Whether tokens that are bound to a key come with a proof of it here; false where a gateway
    /// in front checks the proofs and keeps them.
    #[serde(default = "yes")]
    pub dpop: bool,
    /// Whether credentials for it may be encrypted, whatever the issuers' tables say.
    pub encrypted: Option<bool>,
    /// An OpenAPI document in JSON, with the scopes of its operations.
    pub openapi: Option<PathBuf>,
    /// Routes and their scopes, beside those of the document.
    #[serde(default, rename = "route")]
    pub routes: Vec<RouteConfig>,
    /// What is done about bad requests to it, instead of `enforcement.mode`.
    pub mode: Option<Mode>,
    /// Instead of `enforcement.dry_run`.
    pub dry_run: Option<bool>,
}

/// `[[service.route]]`: what one route asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The method, `GET` for one.
    pub method: String,
    /// The path, `/orders/{id}` for one.
    pub path: String,
    /// Scopes of which a token needs all.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The route asks for no token at all.
    #[serde(default)]
    pub public: bool,
}

fn yes() -> bool {
    true
}

impl ServiceConfig {
    /// Where the service is, of a configuration that was checked.
    #[must_use]
    pub fn place(&self) -> Place {
        let listen = self.listen.as_ref().and_then(|listen| listen.get_ref().parse().ok());
        let mut ports: Vec<u16> = self.ports.iter().copied().chain(self.port).collect();
        let address = listen.and_then(|listen: SocketAddr| {
            ports = vec![listen.port()];
            // As the kernel says it: any address of this host.
            (!listen.ip().is_unspecified()).then(|| listen.ip().to_canonical())
        });
        let cgroup = self.cgroup.as_ref().map(|path| path.get_ref().clone());
        Place { ports, address, cgroup }
    }
}

fn check_place(service: &Spanned<ServiceConfig>) -> Result<(), (Range<usize>, String)> {
    let own = service.get_ref();
    let several = own.port.is_some() && !own.ports.is_empty();
    if own.listen.is_some() && (own.port.is_some() || !own.ports.is_empty()) || several {
        let message = "a service has one of port, ports and listen";
        return Err((service.span(), message.to_owned()));
    }
    if own.port.is_none() && own.ports.is_empty() && own.cgroup.is_none() && own.listen.is_none() {
        let message = "a service needs port, ports, listen or cgroup";
        return Err((service.span(), message.to_owned()));
    }
    if let Some(listen) = &own.listen
        && listen.get_ref().parse::<SocketAddr>().map_or(true, |listen| listen.port() == 0)
    {
        let message =
            format!("listen: {:?} is not ADDRESS:PORT or [ADDRESS]:PORT", listen.get_ref());
        return Err((listen.span(), message));
    }
    if let Some(cgroup) = &own.cgroup
        && (!cgroup.get_ref().is_absolute()
            || cgroup.get_ref().components().any(|part| part == Component::ParentDir))
    {
        let message =
            "cgroup: a path from the root of the hierarchy, such as /system.slice/foo.service";
        return Err((cgroup.span(), message.to_owned()));
    }
    Ok(())
}

pub(super) fn check(services: &[Spanned<ServiceConfig>]) -> Result<(), (Range<usize>, String)> {
    services.iter().try_for_each(check_place)?;
    for url in services.iter().flat_map(|service| &service.get_ref().public_urls) {
        let text = url.get_ref();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.starts_with('/') || rest.is_empty())
            || text.contains(['?', '#', '@'])
        {
            let message =
                format!("public_urls: {text:?} is not https://HOST or http://HOST with a path");
            return Err((url.span(), message));
        }
    }
    Ok(())
}

/// `[memory]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// Tokens that are remembered at once.
    pub tokens: Spanned<usize>,
    /// Subjects whose privileges are remembered.
    pub subjects: Spanned<usize>,
    /// How long the old and the new address of a client may overlap.
    pub grace_seconds: u64,
    /// What is not used for this long is forgotten.
    pub max_age_seconds: u64,
}

impl Default for MemorySettings {
    fn default() -> Self {
        let memory = MemoryConfig::default();
        Self {
            tokens: Spanned::new(0..0, memory.tokens),
            subjects: Spanned::new(0..0, memory.subjects),
            grace_seconds: memory.grace.as_secs(),
            max_age_seconds: memory.max_age.as_secs(),
        }
    }
}

impl MemorySettings {
    /// As the memory takes them.
    #[must_use]
    pub fn resolve(&self) -> MemoryConfig {
        MemoryConfig {
            tokens: *self.tokens.get_ref(),
            subjects: *self.subjects.get_ref(),
            grace: Duration::from_secs(self.grace_seconds),
            max_age: Duration::from_secs(self.max_age_seconds),
            ..MemoryConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn a_service_is_at_ports_an_address_or_in_a_cgroup() {
        let read = |keys: &str| parse(&format!("[[service]]\n{keys}\n"), Path::new("c.toml"));
        let place = |keys: &str| read(keys).unwrap().services[0].get_ref().place();
        assert_eq!(place("port = 80").ports, [80]);
        assert_eq!(place("ports = [80, 81]").ports, [80, 81]);
        let listen = place("listen = \"[::ffff:127.0.0.1]:8080\"\ncgroup = \"/a.slice/b\"");
        assert_eq!((listen.ports, listen.address), (vec![8080], Some([127, 0, 0, 1].into())));
        assert_eq!(listen.cgroup, Some("/a.slice/b".into()));
        assert_eq!(place("listen = \"0.0.0.0:80\"").address, None);
        for (keys, due) in [
            ("name = \"a\"", "c.toml:1:1: service: a service needs port, ports, listen or cgroup"),
            (
                "port = 1\nports = [2]",
                "c.toml:1:1: service: a service has one of port, ports and listen",
            ),
            ("port = 1\nlisten = \"127.0.0.1:1\"", "c.toml:1:1: service: a service has one of"),
            (
                "listen = \"localhost:80\"",
                "c.toml:2:10: service.listen: \"localhost:80\" is not ADDRESS:PORT",
            ),
            ("listen = \"127.0.0.1:0\"", "c.toml:2:10: service.listen: "),
            ("cgroup = \"a.service\"", "c.toml:2:10: service.cgroup: a path from the root"),
            ("cgroup = \"/a/../b\"", "c.toml:2:10: service.cgroup: a path from the root"),
            (
                "listens = \"a\"",
                "c.toml:2:1: service: unknown key `listens`, did you mean `listen`?",
            ),
        ] {
            let error = read(keys).unwrap_err().to_string();
            assert!(error.starts_with(due), "{error}");
        }
    }

    #[test]
    fn public_urls_are_addresses() {
        let read = |url: &str| {
            let text = format!("[[service]]\nport = 80\npublic_urls = [\"{url}\"]\n");
            parse(&text, Path::new("c.toml"))
        };
        let config = read("https://api.example/v1").unwrap();
        assert!(config.services[0].get_ref().dpop);
        for wrong in ["", "api.example", "https://", "https:///x", "ftp://a", "https://a?b"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.starts_with("c.toml:3:16: service.public_urls: "), "{error}");
        }
    }
}
