use proptest::prelude::*;

use super::*;

const DOCUMENT: &str = r##"{
  "openapi": "3.1.0",
  "servers": [{"url": "https://api.example/{v}/", "variables": {"v": {"default": "v1"}}}],
  "security": [{"oauth": ["read"]}],
  "paths": {
    "/orders": {"get": {}, "post": {"security": [{"oauth": ["orders:write", "orders:read"]}, {"oauth": ["admin"]}]}},
    "/orders/{id}": {"parameters": [], "get": {"security": [{"oauth": ["orders:read"]}]}},
    "/orders/mine": {"get": {"security": [{"oauth": []}]}},
    "/orders/{id}.json": {"get": {"security": [{"oauth": ["export"]}]}},
    "/orders/{id}/lines/{line}": {"delete": {"security": [{"oauth": ["lines"]}]}},
    "/health": {"get": {"security": []}},
    "/maybe": {"get": {"security": [{}, {"oauth": ["x"]}]}}
  }
}"##;

#[test]
fn an_openapi_document_says_what_routes_ask_for() {
    let routes = RouteScopes::from_openapi(DOCUMENT.as_bytes()).unwrap();
    assert_eq!(routes.len(), 8);
    let missing = |m: &[&'static str]| Coverage::Insufficient(m.to_vec());
    for (method, target, scopes, is) in [
        ("GET", "/v1/orders", &["read"][..], Coverage::Covered),
        ("GET", "/v1/orders", &[], missing(&["read"])),
        ("HEAD", "/v1/orders/", &[], missing(&["read"])),
        ("POST", "/v1/orders", &["read"], missing(&["admin"])),
        ("POST", "/v1/orders", &["orders:read"], missing(&["orders:write"])),
        ("POST", "/v1/orders", &["orders:read", "orders:write"], Coverage::Covered),
        ("POST", "/v1/orders", &["admin"], Coverage::Covered),
        ("PUT", "/v1/orders", &[], Coverage::Unknown),
        ("GET", "/orders", &[], Coverage::Unknown),
        ("GET", "/v1/orders/17", &["read"], missing(&["orders:read"])),
        // The literal goes first.
        ("GET", "/v1/orders/mine", &[], Coverage::Covered),
        ("GET", "/v1/orders/17.json", &[], missing(&["export"])),
        ("GET", "/v1/orders/.json", &["orders:read"], Coverage::Covered),
        ("DELETE", "/v1/orders/mine/lines/3", &[], missing(&["lines"])),
        ("GET", "/v1/health?x=/orders", &[], Coverage::Public),
        ("GET", "/v1/maybe", &[], Coverage::Public),
        // As servers read paths.
        ("GET", "//v1///orders//17?full=1", &[], missing(&["orders:read"])),
        ("GET", "/v1/health/../orders/./17", &[], missing(&["orders:read"])),
        ("GET", "/v1/health/%2e%2e/orders", &[], missing(&["read"])),
        ("GET", "/v1/%6frders", &[], missing(&["read"])),
        ("GET", "/v1/orders%2F17", &[], Coverage::Unknown),
        ("GET", "/v1/orders/a%2Fb", &[], missing(&["orders:read"])),
        ("GET", "/v1/orders;v=2", &[], missing(&["read"])),
        ("GET", "http://api.example/v1/orders#x", &[], missing(&["read"])),
        ("OPTIONS", "*", &[], Coverage::Unknown),
        ("CONNECT", "api.example:443", &[], Coverage::Unknown),
    ] {
        assert_eq!(routes.check(method, target, scopes), is, "{method} {target} {scopes:?}");
    }
    let finding = routes.check("GET", "/v1/orders", &[]).finding().unwrap();
    assert_eq!(finding.id, FindingId::ScopeInsufficientForRoute);
    assert!(routes.check("GET", "/v1/orders", &["read"]).finding().is_none());
}

#[test]
fn what_is_no_document_is_refused() {
    for text in ["", "[]", "{}", r#"{"openapi":"3.1.0"}"#, r#"{"openapi":"3","paths":7}"#] {
        assert!(RouteScopes::from_openapi(text.as_bytes()).is_err(), "{text}");
    }
    let mut routes = RouteScopes::new();
    assert!(routes.add("GET", "orders", &["a"]).is_err());
    assert!(routes.add("GET", "/a/{b/c}", &["a"]).is_err());
    routes.add("get", "/a/{b}", &["a"]).unwrap();
    assert!(matches!(routes.add("GET", "/a/{c}", &["a"]), Err(RouteError::Twice(_))));
    assert_eq!(routes.check("GET", &"/a".repeat(MAX_SEGMENTS + 1), &[]), Coverage::Unknown);
    let swagger =
        r#"{"swagger":"2.0","basePath":"/b/","security":[{"o":["s"]}],"paths":{"/x":{"get":{}}}}"#;
    let routes = RouteScopes::from_openapi(swagger.as_bytes()).unwrap();
    assert_eq!(routes.check("GET", "/b/x", &["s"]), Coverage::Covered);
}

proptest! {
    /// Against trying every template in order of precedence, and no path panics.
    #[test]
    fn agrees_with_trying_all_templates(
        templates in prop::collection::btree_set("(/(a|b|c|\\{x\\})){1,4}", 1..20),
        path in "(/(a|b|c|d)){1,4}/?",
        noise in ".{0,40}",
    ) {
        let mut routes = RouteScopes::new();
        for template in &templates {
            routes.add("GET", template, &[template]).unwrap();
        }
        let matches = |template: &str| {
            let parts: Vec<_> = path.trim_end_matches('/').split('/').collect();
            let wanted: Vec<_> = template.split('/').collect();
            parts.len() == wanted.len()
                && parts.iter().zip(&wanted).all(|(p, w)| p == w || *w == "{x}")
        };
        // `{` sorts behind the letters: the first match has the earliest literals.
        let best = templates.iter().find(|t| matches(t));
        let said = routes.check("GET", &path, &[]);
        match best {
            Some(template) => prop_assert_eq!(said, Coverage::Insufficient(vec![template.as_str()])),
            None => prop_assert_eq!(said, Coverage::Unknown),
        }
        let _ = routes.check("GET", &noise, &[]);
        let _ = routes.check("GET", &format!("/{noise}"), &[]);
        let _ = RouteScopes::from_openapi(noise.as_bytes());
    }
}
