//! A subject that gets more than it had, or more than the route gives it.

use serde_json::{Value, json};

use super::{Case, Class, Credential, Step, World};
use crate::signer;

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    growth(out);
    routes(out);
}

fn growth(out: &mut Vec<Case>) {
    let mut add = |name: &str,
                   find: &'static str,
                   made: &Credential,
                   claim: &str,
                   had: Value,
                   gets: Value| {
        let token = |value: &Value, jti: &str| {
            made.clone().claim(claim, value.clone()).claim("jti", jti).sign()
        };
        let play = |second: &Value| {
            vec![Step::bearer(token(&had, "g-1")), Step::bearer(token(second, "g-2")).at(60)]
        };
        out.push(Case::new(Class::Escalation, name, &[find], play(&gets), play(&had)));
    };
    let keyless = Credential::keyless();
    let scope = "scope-escalated";
    add(
        "a further scope",
        scope,
        &keyless,
        "scope",
        json!("orders:read"),
        json!("orders:read orders:write"),
    );
    add(
        "a further scope in a list",
        scope,
        &keyless,
        "scp",
        json!(["read"]),
        json!(["read", "write"]),
    );
    add(
        "a further permission",
        scope,
        &keyless,
        "permissions",
        json!(["read"]),
        json!(["read", "delete"]),
    );
    add(
        "an administrator's scope",
        scope,
        &keyless,
        "scope",
        json!("orders:read"),
        json!("orders:read admin"),
    );
    let role = "role-escalated";
    add("a further role", role, &keyless, "roles", json!(["buyer"]), json!(["buyer", "seller"]));
    add("another role", role, &keyless, "role", json!("buyer"), json!("seller"));
    add(
        "an administrator's role",
        role,
        &keyless,
        "roles",
        json!(["buyer"]),
        json!(["buyer", "admin"]),
    );
    let realm = |roles: Value| json!({ "roles": roles });
    add(
        "a role in Keycloak's form",
        role,
        &keyless,
        "realm_access",
        realm(json!(["buyer"])),
        realm(json!(["buyer", "realm-admin"])),
    );
    add("a further group", role, &keyless, "groups", json!(["staff"]), json!(["staff", "wheel"]));
    let tenant = "tenant-changed";
    add("another tenant", tenant, &keyless, "tid", json!("acme"), json!("umbrella"));
    add("another organisation", tenant, &keyless, "org_id", json!("acme"), json!("umbrella"));
    // Also where the issuer itself signed it: it may have been talked into it.
    let signed = Credential::new("PS256");
    add(
        "a signed administrator's role",
        role,
        &signed,
        "roles",
        json!(["buyer"]),
        json!(["buyer", "admin"]),
    );
    add(
        "a signed further role",
        role,
        &signed,
        "roles",
        json!(["buyer"]),
        json!(["buyer", "seller"]),
    );
    add(
        "a signed administrator's scope",
        scope,
        &signed,
        "scope",
        json!("orders:read"),
        json!("orders:read admin:all"),
    );
    add(
        "a signed change of the tenant",
        tenant,
        &signed,
        "tenant",
        json!("acme"),
        json!("umbrella"),
    );
    let made =
        |roles: Value, jti: &str| Credential::new("RS256").claim("roles", roles).claim("jti", jti);
    let first = made(json!(["buyer"]), "g-1").sign();
    let forged = made(json!(["buyer", "admin"]), "g-2").sign_by(&signer::attacker().rsa);
    let same = made(json!(["buyer"]), "g-2").sign();
    let play = |second: &str| vec![Step::bearer(&first), Step::bearer(second).at(60).status(401)];
    out.push(
        Case::new(
            Class::Escalation,
            "a forged administrator's role",
            &["role-escalated", "signature-invalid"],
            play(&forged),
            play(&same),
        )
        .ends("attempt"),
    );
}

fn routes(out: &mut Vec<Case>) {
    let find = &["scope-insufficient-for-route"];
    let mut add =
        |name: &str, aud: &str, port, route: (&'static str, &str), lacks: &str, has: &str| {
            let play = |scope: &str| {
                let token = Credential::new("ES256").claim("aud", aud).claim("scope", scope).sign();
                vec![Step::bearer(token).to(port).route(route.0, route.1)]
            };
            out.push(
                Case::new(Class::Escalation, name, find, play(lacks), play(has)).ends("accepted"),
            );
        };
    let order = ("DELETE", "/orders/17");
    add(
        "a write without its scope",
        "orders",
        8080,
        ("POST", "/orders"),
        "orders:read",
        "orders:write",
    );
    add("a scope of two", "orders", 8080, order, "orders:write", "orders:write orders:delete");
    add("no scope at all", "orders", 8080, order, "", "orders:delete orders:write");
    add(
        "a scope with more in its name",
        "orders",
        8080,
        ("POST", "/orders"),
        "orders:write2",
        "orders:write",
    );
    add(
        "a query behind the path",
        "orders",
        8080,
        ("POST", "/orders?x=1"),
        "orders:read",
        "orders:write",
    );
    let shelf = "/shelves/7";
    add("a document's route, read", "stock", 8082, ("GET", shelf), "stock:write", "stock:read");
    add("a document's route, write", "stock", 8082, ("PUT", shelf), "stock:read", "stock:write");
}
