//! Use after logout and revocation (RFC 7009; OpenID Connect Back-Channel Logout 1.0).

use serde_json::json;

use super::{Case, Class, Credential, START, Step, World};
use crate::signer;

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    revoked(out);
    refresh_revoked(out);
    logged_out(out);
    listed(out);
}

const FIND: &[&str] = &["token-used-after-revocation"];
const FORM: &str = "application/x-www-form-urlencoded";

fn case(name: &str, attack: Vec<Step>, twin: Vec<Step>) -> Case {
    Case::new(Class::AfterTheEnd, name, FIND, attack, twin)
}

fn revoke(token: &str) -> Step {
    Step::post(FORM, format!("token={token}&token_type_hint=access_token"))
        .route("POST", "/oauth2/revoke")
}

fn revoked(out: &mut Vec<Case>) {
    for alg in ["RS256", "ES256", "EdDSA", "HS256"] {
        let token = Credential::new(alg).sign();
        let other = Credential::new(alg).claim("jti", "t-2").sign();
        let play = |which: &str, status| {
            vec![
                Step::bearer(&token),
                revoke(which).at(2).status(status),
                Step::bearer(&token).at(10),
            ]
        };
        out.push(case(&format!("{alg}: revoked"), play(&token, 200), play(&token, 503)));
        let name = format!("{alg}: revoked, beside another's revocation");
        out.push(case(&name, play(&token, 204), play(&other, 204)));
    }
    let token = Credential::new("PS512").sign();
    let play =
        |last: u64| vec![Step::bearer(&token), revoke(&token).at(2), Step::bearer(&token).at(last)];
    out.push(case("beyond what was under way", play(9), play(6)));
    let keyless = Credential::keyless().sign();
    let play = |status| {
        vec![
            Step::bearer(&keyless),
            revoke(&keyless).at(2).status(status),
            Step::bearer(&keyless).at(60),
        ]
    };
    out.push(case("without a key", play(200), play(400)));
}

/// The refresh token is revoked, and an access token of the same grant used on.
fn refresh_revoked(out: &mut Vec<Case>) {
    let of = |sid: &str, client: &str| {
        Credential::new("RS256").claim("sid", sid).claim("azp", client).claim("jti", "t-access")
    };
    let access = of("s-9", "shop").sign();
    let refresh = |sid: &str, client: &str| {
        of(sid, client).claim("typ", "Refresh").claim("jti", "t-refresh").no_claim("scope")
    };
    let play = |refresh: &str, status| {
        vec![
            Step::bearer(&access),
            revoke(refresh).at(2).status(status),
            Step::bearer(&access).at(60),
        ]
    };
    let own = || play(&refresh("s-9", "shop").sign(), 200);
    let mut add = |name: &str, twin: Vec<Step>| out.push(case(name, own(), twin));
    add("its refresh token revoked", play(&refresh("s-9", "shop").sign(), 503));
    add(
        "its refresh token revoked, not another session's",
        play(&refresh("s-8", "shop").sign(), 200),
    );
    add(
        "its refresh token revoked, not another client's",
        play(&refresh("s-9", "desk").sign(), 200),
    );
    // What is issued after a new login lives.
    let fresh = of("s-9", "shop").claim("jti", "t-new").claim("iat", START + 30).sign();
    let again = vec![
        Step::bearer(&access),
        revoke(&refresh("s-9", "shop").sign()).at(2),
        Step::bearer(&fresh).at(90),
    ];
    add("its refresh token revoked, not one of a new login", again);
    // Anybody can invent a refresh token, and it is answered 200 (RFC 7009, section 2.2): that is
    // found, and ends nothing.
    let forged = refresh("s-9", "shop").sign_by(&signer::attacker().rsa);
    let honest = play(&refresh("s-8", "shop").sign(), 200);
    out.push(Case::new(
        Class::AfterTheEnd,
        "an invented refresh token revoked",
        &["signature-invalid"],
        play(&forged, 200),
        honest,
    ));
}

/// A session or a subject that its issuer ended.
fn logged_out(out: &mut Vec<Case>) {
    let member = |session: &str| Credential::new("ES256").claim("sid", session);
    let logout = |sid: Option<&str>, jti: &str| {
        let made = Credential::new("RS256")
            .header("typ", "logout+jwt")
            .no_claim("scope")
            .claim("jti", jti)
            .claim("iat", START)
            .claim("exp", START + 120)
            .claim("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
        match sid {
            Some(sid) => made.claim("sid", sid),
            None => made,
        }
    };
    let post = |token: String| {
        Step::post(FORM, format!("logout_token={token}")).route("POST", "/backchannel-logout")
    };
    let token = member("s-1").sign();
    let around = |step: Step| vec![Step::bearer(&token), step.at(2), Step::bearer(&token).at(20)];
    let ends = || around(post(logout(Some("s-1"), "out-1").sign()));
    let other = around(post(logout(Some("s-2"), "out-1").sign()));
    out.push(case("the session ended", ends(), other));
    let refused = around(post(logout(Some("s-1"), "out-1").sign()).status(400));
    out.push(case("the session ended, and its service agreed", ends(), refused));
    let no_event = logout(Some("s-1"), "out-1").claim("events", json!({})).sign();
    out.push(case("the session ended by an event", ends(), around(post(no_event))));
    let all = around(post(logout(None, "out-1").sign()));
    let bob = around(post(logout(None, "out-1").claim("sub", "bob").sign()));
    out.push(case("all of the subject's sessions ended", all, bob));
    // Who forges a logout token ends nothing, and is found himself.
    let forged = logout(Some("s-1"), "out-1").sign_by(&signer::attacker().rsa);
    out.push(Case::new(
        Class::AfterTheEnd,
        "a forged logout token",
        &["signature-invalid"],
        around(post(forged).status(400)),
        around(post(logout(Some("s-2"), "out-1").sign()).status(400)),
    ));
}

/// What the configuration lists.
fn listed(out: &mut Vec<Case>) {
    let good = Credential::new("EdDSA");
    let mut add = |name: &str, attack: Credential| {
        out.push(Case::taken(Class::AfterTheEnd, name, FIND, attack.sign(), good.sign()));
    };
    add("listed by jti", good.clone().claim("jti", "leaked-1"));
    add("listed by issuer and jti", good.clone().claim("jti", "leaked-2"));
    add("listed by subject", good.clone().claim("sub", "mallory"));
    add("listed by session", good.clone().claim("sid", "s-listed"));
    add("listed by fingerprint", Credential::listed());
}
