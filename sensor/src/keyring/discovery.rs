//! Where an issuer says that its key set is.

use serde::Deserialize;

/// Why a discovery document is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DiscoveryError {
    #[error("the discovery document is no JSON object with issuer and jwks_uri")]
    Malformed,
    /// OpenID Connect Discovery, section 4.3; RFC 8414, section 3.3.
    #[error("the discovery document is of another issuer")]
    OtherIssuer,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Where the documents are, in the order in which they are asked for: OpenID Connect Discovery,
/// section 4.1 (behind the issuer's path), and RFC 8414, section 3.1 (before it).
pub(super) fn urls(issuer: &str) -> [String; 2] {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    let path_at = issuer
        .find("://")
        .and_then(|scheme| Some(scheme + 3 + issuer.get(scheme + 3..)?.find('/')?))
        .unwrap_or(issuer.len());
    let (origin, path) = issuer.split_at_checked(path_at).unwrap_or((issuer, ""));
    [
        format!("{issuer}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

/// The `jwks_uri` of a document, which has to be about exactly this issuer.
pub(super) fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, DiscoveryError> {
    // serde's message would quote the document.
    let document: Document =
        serde_json::from_slice(document).map_err(|_| DiscoveryError::Malformed)?;
    if document.issuer == issuer { Ok(document.jwks_uri) } else { Err(DiscoveryError::OtherIssuer) }
}

#[cfg(test)]
mod tests {
    use super::{DiscoveryError, jwks_uri, urls};

    #[test]
    fn the_well_known_part_stands_behind_the_issuer_or_before_its_path() {
        for issuer in ["https://id.example/a/b", "https://id.example/a/b/"] {
            assert_eq!(
                urls(issuer),
                [
                    "https://id.example/a/b/.well-known/openid-configuration",
                    "https://id.example/.well-known/oauth-authorization-server/a/b",
                ]
            );
        }
        assert_eq!(
            urls("https://id.example"),
            [
                "https://id.example/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn a_document_is_of_its_issuer_to_the_letter() {
        let read = |document: &str| jwks_uri(document.as_bytes(), "https://i/");
        assert_eq!(read(r#"{"jwks_uri":"u","issuer":"https://i\/","x":[1]}"#).as_deref(), Ok("u"));
        assert_eq!(
            read(r#"{"issuer":"https://i","jwks_uri":"u"}"#),
            Err(DiscoveryError::OtherIssuer)
        );
        for document in [
            r#"{"issuer":"https://i/"}"#,
            r#"{"issuer":"https://i/","jwks_uri":"u","jwks_uri":"v"}"#,
            r#"{"issuer":"https://i/","jwks_uri":1}"#,
            "<html>",
            "",
        ] {
            assert_eq!(read(document), Err(DiscoveryError::Malformed), "{document}");
        }
    }
}
