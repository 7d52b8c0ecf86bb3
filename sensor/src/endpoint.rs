//! URLs that the sensor asks or tells.

use std::fmt;

use ureq::http::Uri;

/// The longest URL that is followed, in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// Why a URL is not fetched. The URL itself is left out: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It has no scheme or no host, or it does not parse.
    #[error("not an absolute URL")]
    NotAbsolute,
    /// Over the longest that is followed.
    #[error("the URL is over {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Another scheme.
    #[error("the scheme is neither https nor http")]
    Scheme,
    /// Plain HTTP without `allow_http`.
    #[error("plain HTTP is not allowed (keys.allow_http)")]
    PlainHttp,
    /// `user:password@` in front of the host, which serves to make one host look like another.
    #[error("user information in the URL")]
    UserInfo,
}

/// An absolute `https` URL (or `http`, where that is allowed) without user information.
///
/// It is taken apart by the parser of the HTTP client itself, so what is checked is what is
/// connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// Why it is not fetched.
    pub fn parse(url: &str, allow_http: bool) -> Result<Self, EndpointError> {
        if url.len() > MAX_URL_BYTES {
            return Err(EndpointError::TooLong);
        }
        // The HTTP client's parser takes other bytes in a path; in a log line they deceive.
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EndpointError::NotAbsolute);
        }
        let uri: Uri = url.parse().map_err(|_| EndpointError::NotAbsolute)?;
        let authority = uri.authority().ok_or(EndpointError::NotAbsolute)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(EndpointError::NotAbsolute);
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if allow_http => {}
            Some("http") => return Err(EndpointError::PlainHttp),
            Some(_) => return Err(EndpointError::Scheme),
            None => return Err(EndpointError::NotAbsolute),
        }
        Ok(Self(uri))
    }

    /// Where a `Location` leads from here (RFC 9110, section 10.2.2): an absolute URL, or one
    /// without scheme or host. References relative to the path are not followed.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn join(&self, location: &str, allow_http: bool) -> Result<Self, EndpointError> {
        let scheme = self.0.scheme_str().unwrap_or_default();
        if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"), allow_http)
        } else if location.starts_with('/') {
            let authority = self.0.authority().map_or("", |authority| authority.as_str());
            Self::parse(&format!("{scheme}://{authority}{location}"), allow_http)
        } else {
            Self::parse(location, allow_http)
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host in lower case, with the port unless it is the scheme's own.
    pub(crate) fn host(&self) -> Host {
        let default = if self.is_https() { 443 } else { 80 };
        Host {
            name: self.0.host().unwrap_or_default().to_ascii_lowercase(),
            port: self.0.port_u16().filter(|&port| port != default),
        }
    }
}

/// Scheme, host and path: the query may hold a password.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme_str().unwrap_or_default(), self.host(), self.0.path())
    }
}

/// A host, with its port where that is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `HOST` or `HOST:PORT`.
    pub(crate) fn parse(entry: &str) -> Option<Self> {
        Endpoint::parse(&format!("https://{entry}"), false).ok().map(|endpoint| endpoint.host())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, EndpointError};

    #[test]
    fn only_absolute_urls_of_a_plain_host_are_endpoints() {
        for (url, due) in [
            ("https://a.example/x", Ok("https://a.example/x")),
            ("HTTPS://A.Example:443", Ok("https://a.example/")),
            ("https://a.example:8443/?secret", Ok("https://a.example:8443/")),
            ("http://a.example/", Err(EndpointError::PlainHttp)),
            ("https://a@b.example/", Err(EndpointError::UserInfo)),
            ("https://a:b@c/", Err(EndpointError::UserInfo)),
            ("file:///etc/passwd", Err(EndpointError::NotAbsolute)),
            ("ftp://a.example/", Err(EndpointError::Scheme)),
            ("//a.example/", Err(EndpointError::NotAbsolute)),
            ("/x", Err(EndpointError::NotAbsolute)),
            ("", Err(EndpointError::NotAbsolute)),
            ("https://", Err(EndpointError::NotAbsolute)),
            ("https://a/\u{202e}x", Err(EndpointError::NotAbsolute)),
            ("https://a/\x7f", Err(EndpointError::NotAbsolute)),
            ("https://a b/", Err(EndpointError::NotAbsolute)),
            ("https://a\\@b/", Err(EndpointError::NotAbsolute)),
        ] {
            let read = Endpoint::parse(url, false).map(|endpoint| endpoint.to_string());
            assert_eq!(read, due.map(String::from), "{url}");
        }
        let long = format!("https://a/{}", "x".repeat(2_048));
        assert_eq!(Endpoint::parse(&long, false), Err(EndpointError::TooLong));
    }

    #[test]
    fn hosts_are_equal_by_name_and_port() {
        let host = |url| Endpoint::parse(url, true).unwrap().host();
        assert_eq!(host("https://A.example"), host("https://a.example:443/x"));
        // The way up from http to https stays on the host.
        assert_eq!(host("http://a.example"), host("https://a.example"));
        assert_ne!(host("https://a.example:80"), host("https://a.example"));
        assert_ne!(host("https://a.example."), host("https://a.example"));
        assert_ne!(host("https://a.example:8443"), host("https://a.example"));
    }

    #[test]
    fn a_location_is_absolute_or_on_the_same_host() {
        let from = Endpoint::parse("https://a.example:8443/x/y?z", false).unwrap();
        let to = |location| from.join(location, false).map(|to| to.0.to_string());
        assert_eq!(to("/k?v").as_deref(), Ok("https://a.example:8443/k?v"));
        assert_eq!(to("//b/k").as_deref(), Ok("https://b/k"));
        assert_eq!(to("https://b/k").as_deref(), Ok("https://b/k"));
        assert_eq!(to("http://a.example/"), Err(EndpointError::PlainHttp));
        assert_eq!(to("k"), Err(EndpointError::NotAbsolute));
    }
}
