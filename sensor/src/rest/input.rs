//! What a service knows of a request that it has authenticated, as it says it in JSON.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::{
    http::Request,
    score::input::{InputError, error, time},
    time::Time,
};

/// Roles or scopes that are taken; more are an error, as no user has so many.
const MAX_LIST: usize = 1_000;

/// A request that somebody else authenticated. `Debug` shows no claims.
pub struct Vouched {
    /// The request.
    pub request: Request,
    /// The claims of its token, a JSON object.
    pub claims: Vec<u8>,
    /// Who sent it, where that is said.
    pub client: Option<IpAddr>,
    /// The name of the service that asks.
    pub service: Option<String>,
}

impl std::fmt::Debug for Vouched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vouched({:?}, {} bytes of claims)", self.request, self.claims.len())
    }
}

impl Vouched {
    /// Takes the fields that docs/rest.md names; others are ignored. `now` is the request's time.
    ///
    /// # Errors
    /// [`InputError`], for the first field of another type, and where nothing says who asks.
    pub fn from_json(value: &Value, now: Time) -> Result<Self, InputError> {
        let members = value.as_object().ok_or_else(|| error("", "a JSON object"))?;
        let member = |name: &str| members.get(name).filter(|value| !value.is_null());
        let text = |name: &'static str| match member(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| error(name, "a string")),
        };
        let mut claims = match member("claims") {
            None => Map::new(),
            Some(Value::Object(claims)) => claims.clone(),
            Some(_) => return Err(error("claims", "an object")),
        };
        // Frameworks give every claim as text.
        for name in ["exp", "iat", "nbf"] {
            let number = match claims.get(name) {
                Some(Value::String(text)) => text.parse::<i64>().ok(),
                _ => continue,
            };
            match number {
                Some(number) => claims.insert(name.to_owned(), number.into()),
                None => return Err(error(format!("claims.{name}"), "a number of seconds")),
            };
        }
        // What the token itself says counts: it is what is seen of it on the wire.
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value
                && !claims.contains_key(name)
            {
                claims.insert(name.to_owned(), value);
            }
        };
        let string = |text: Option<&str>| text.map(|text| Value::String(text.to_owned()));
        add("sub", string(text("userId")?));
        add("iss", string(text("issuer")?));
        let (id, jti) = (text("tokenId")?, text("jti")?);
        add("jti", string(id.or(jti)));
        add("tenant", string(text("tenant")?));
        for (field, claim) in [("issuedAt", "iat"), ("expiresAt", "exp")] {
            let Some(value) = member(field) else { continue };
            let at = time(value)
                .or_else(|| Some(Time::from_unix_secs(value.as_str()?.parse().ok()?)))
                .ok_or_else(|| error(field, "a time: RFC 3339, or seconds since 1970"))?;
            add(claim, Some(json!(at.unix_secs())));
        }
        for (field, claim) in [("roles", "roles"), ("scopes", "scope")] {
            let Some(value) = member(field) else { continue };
            let list = list(value).ok_or_else(|| error(field, "a string or a list of strings"))?;
            let joined = || Value::String(list.join(" "));
            add(claim, Some(if claim == "scope" { joined() } else { json!(list) }));
        }
        let named = ["sub", "jti", "client_id", "azp"];
        if !named.iter().any(|name| claims.get(*name).is_some_and(|claim| !claim.is_null())) {
            return Err(error(
                "userId",
                "given, nor claims.sub, nor tokenId: nothing says who asks",
            ));
        }
        let client = match text("ipAddress")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| error("ipAddress", "an IP address"))?),
        };
        let service = text("service")?.map(str::to_owned);
        let method = text("method")?.unwrap_or("GET");
        let target = text("path")?.unwrap_or("/");
        let agent = text("userAgent")?.map(|agent| (&b"user-agent"[..], agent.as_bytes()));
        let request =
            Request::from_parts(method.as_bytes(), target.as_bytes(), agent, Vec::new(), now);
        let claims = Value::Object(claims).to_string().into_bytes();
        Ok(Self { request, claims, client, service })
    }
}

/// A list of strings, or one string of words.
fn list(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(text.split_ascii_whitespace().collect()),
        Value::Array(all) if all.len() <= MAX_LIST => all.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<Vouched, String> {
        let now = Time::from_unix_secs(1_000);
        Vouched::from_json(value, now).map_err(|error| error.to_string())
    }

    fn claims(value: &Value) -> Value {
        serde_json::from_slice(&read(value).unwrap().claims).unwrap()
    }

    #[test]
    fn fields_become_claims_where_the_token_does_not_say_it_itself() {
        let value = json!({
            "userId": "ann", "issuer": "https://id.example", "issuedAt": 900,
            "expiresAt": "1970-01-01T00:30:00Z", "roles": ["admin"], "scopes": "read write",
            "tokenId": "t1", "tenant": "acme", "path": "/a?b=1", "method": "PUT",
            "userAgent": "curl/8", "ipAddress": "192.0.2.1", "service": "orders", "else": [1],
        });
        let due = json!({
            "sub": "ann", "iss": "https://id.example", "iat": 900, "exp": 1800,
            "roles": ["admin"], "scope": "read write", "jti": "t1", "tenant": "acme",
        });
        assert_eq!(claims(&value), due);
        let found = read(&value).unwrap();
        assert_eq!((found.request.method(), found.request.target()), (&b"PUT"[..], &b"/a?b=1"[..]));
        assert_eq!(found.request.header("user-agent"), Some(&b"curl/8"[..]));
        assert_eq!(
            (found.client, found.service.as_deref()),
            (Some([192, 0, 2, 1].into()), Some("orders"))
        );
        assert_eq!(found.request.last_byte.unix_secs(), 1_000);
        let value = json!({
            "userId": "7", "claims": {"sub": "ann", "exp": "1800", "iat": 900.5}, "expiresAt": 5,
        });
        assert_eq!(claims(&value), json!({"sub": "ann", "exp": 1800, "iat": 900.5}));
        assert_eq!(claims(&json!({"jti": "x", "userId": ""})), json!({"jti": "x"}));
    }

    #[test]
    fn errors_name_the_field() {
        let who = "`userId` is not given, nor claims.sub, nor tokenId: nothing says who asks";
        for (value, message) in [
            (json!([]), "not a JSON object"),
            (json!({}), who),
            (json!({"userId": null, "claims": {"sub": null}}), who),
            (json!({"userId": 7}), "`userId` is not a string"),
            (json!({"userId": "a", "claims": []}), "`claims` is not an object"),
            (json!({"userId": "a", "roles": [1]}), "`roles` is not a string or a list of strings"),
            (json!({"userId": "a", "scopes": {}}), "`scopes` is not a string or a list of strings"),
            (json!({"userId": "a", "ipAddress": "x"}), "`ipAddress` is not an IP address"),
            (json!({"userId": "a", "ipAddress": 1}), "`ipAddress` is not a string"),
            (
                json!({"userId": "a", "issuedAt": "noon"}),
                "`issuedAt` is not a time: RFC 3339, or seconds since 1970",
            ),
            (
                json!({"userId": "a", "expiresAt": -1}),
                "`expiresAt` is not a time: RFC 3339, or seconds since 1970",
            ),
            (
                json!({"userId": "a", "claims": {"exp": "soon"}}),
                "`claims.exp` is not a number of seconds",
            ),
        ] {
            assert_eq!(read(&value).unwrap_err(), message);
        }
    }
}
