//! Files of secrets: by path, or as a credential that systemd hands over (`LoadCredential=`,
//! `SetCredentialEncrypted=`).
//!
//! `credential:NAME` and `${CREDENTIALS_DIRECTORY}/NAME` are both the file of that name in the folder
//! of the unit's credentials. Every key of the configuration that names a file with a secret is read
//! by one of these functions: `#[serde(deserialize_with = "credential::optional")]`.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::Error};

/// Where systemd keeps the credentials of the packaged unit: who checks a configuration by hand has
/// no environment that says so.
const OF_THE_UNIT: &str = "/run/credentials/jotwatch.service";

/// What systemd tells a service the folder by.
const VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// A path that is required.
///
/// # Errors
/// A credential's name is none.
pub fn required<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    resolve(path, env::var_os(VARIABLE)).map_err(D::Error::custom)
}

/// A path that may be absent; wants `default` beside it.
///
/// # Errors
/// As [`required`].
pub fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    required(from).map(Some)
}

/// Any number of paths.
///
/// # Errors
/// As [`required`].
pub fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<PathBuf>::deserialize(from)?;
    let resolved = paths.into_iter().map(|path| resolve(path, env::var_os(VARIABLE)));
    resolved.collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// Paths by name.
///
/// # Errors
/// As [`required`].
pub fn map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, PathBuf>, D::Error> {
    let paths = BTreeMap::<String, PathBuf>::deserialize(from)?;
    let resolved = paths
        .into_iter()
        .map(|(name, path)| resolve(path, env::var_os(VARIABLE)).map(|path| (name, path)));
    resolved.collect::<Result<_, _>>().map_err(D::Error::custom)
}

fn resolve(path: PathBuf, folder: Option<OsString>) -> Result<PathBuf, String> {
    let text = path.to_string_lossy();
    let name = text
        .strip_prefix("credential:")
        .or_else(|| text.strip_prefix("${CREDENTIALS_DIRECTORY}/"))
        .or_else(|| text.strip_prefix("$CREDENTIALS_DIRECTORY/"));
    let Some(name) = name else { return Ok(path) };
    // As systemd has it: a file's name, and no more than one can be long.
    if name.is_empty() || name.len() > 255 || name.contains('/') || name == "." || name == ".." {
        return Err(format!("{name:?} is no name of a credential"));
    }
    let folder = folder.map_or_else(|| PathBuf::from(OF_THE_UNIT), PathBuf::from);
    Ok(Path::new(&folder).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_file_in_the_folder_that_systemd_names() {
        let at = |text: &str, folder: Option<&str>| resolve(text.into(), folder.map(Into::into));
        let folder = Some("/run/credentials/x.service");
        for text in ["credential:key", "${CREDENTIALS_DIRECTORY}/key", "$CREDENTIALS_DIRECTORY/key"]
        {
            assert_eq!(at(text, folder), Ok("/run/credentials/x.service/key".into()));
            assert_eq!(at(text, None), Ok("/run/credentials/jotwatch.service/key".into()));
        }
        for text in ["/etc/key", "key", "/credential:key", ""] {
            assert_eq!(at(text, folder), Ok(text.into()));
        }
        for text in
            ["credential:", "credential:..", "credential:a/b", "${CREDENTIALS_DIRECTORY}/../x"]
        {
            assert!(at(text, folder).is_err(), "{text}");
        }
    }

    #[test]
    fn every_key_that_names_a_secret_takes_one() {
        let text = "[events]\nfingerprint_key_file = \"credential:f\"\n\
            [rest]\nlisten = \"127.0.0.1:1\"\nkey_file = \"credential:r\"\n\
            [[issuer]]\nissuer = \"a\"\nkey_files = [\"credential:k\", \"/k\"]\n\
            secret_files = [\"credential:s\"]\n\
            [[sinks.syslog]]\naddress = \"tls://h\"\nclient_cert_file = \"/c\"\n\
            client_key_file = \"credential:y\"\n\
            [[sinks.webhook]]\nurl = \"https://h\"\nsecret_file = \"credential:w\"\n\
            header_files = { a = \"credential:h\" }\nclient_cert_file = \"/c\"\n\
            client_key_file = \"credential:z\"\n";
        let config = crate::config::parse(text, Path::new("c.toml")).unwrap();
        let named = |path: &Path, name: &str| path.is_absolute() && path.ends_with(name);
        assert!(named(config.events.fingerprint_key_file.as_deref().unwrap(), "f"));
        assert!(named(config.rest.key_file.as_deref().unwrap(), "r"));
        assert!(named(&config.issuers[0].key_files[0], "k"));
        assert_eq!(config.issuers[0].key_files[1], Path::new("/k"));
        assert!(named(&config.issuers[0].secret_files[0], "s"));
        assert!(named(config.sinks.syslog[0].client_key_file.as_deref().unwrap(), "y"));
        let webhook = &config.sinks.webhook[0];
        assert!(named(webhook.secret_file.as_deref().unwrap(), "w"));
        assert!(named(&webhook.target.header_files["a"], "h"));
        assert!(named(&webhook.target.client.as_ref().unwrap().1, "z"));
        let text = "[events]\nfingerprint_key_file = \"credential:a/b\"\n";
        let error = crate::config::parse(text, Path::new("c.toml")).unwrap_err().to_string();
        assert_eq!(
            error,
            "c.toml:2:24: events.fingerprint_key_file: \"a/b\" is no name of a credential"
        );
    }
}
