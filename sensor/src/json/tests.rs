use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::token::testing::data;

fn accept(text: &[u8]) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    parse(text, 0, &mut nodes).map(|_| nodes)
}

fn with<T>(text: &str, read: impl FnOnce(Value<'_>) -> T) -> T {
    let nodes = accept(text.as_bytes()).unwrap();
    read(Value::new(text.as_bytes(), &nodes, 0))
}

fn duplicate(text: &str) -> Option<String> {
    let mut nodes = Vec::new();
    let (_, duplicate) = parse(text.as_bytes(), 0, &mut nodes).unwrap();
    duplicate.map(|index| Value::new(text.as_bytes(), &nodes, index).name().into_owned())
}

/// A parsed text as serde_json has it, to compare the two.
fn to_serde(value: Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Number => serde_json::from_slice(value.raw()).unwrap(),
        Kind::Array => value.elements().map(to_serde).collect(),
        Kind::Object => value.members().map(|(name, v)| (name.into_owned(), to_serde(v))).collect(),
        Kind::String => value.as_str().unwrap().into(),
        Kind::Bool => value.as_bool().unwrap().into(),
        Kind::Null | Kind::Name => serde_json::Value::Null,
    }
}

#[test]
fn json_test_suite() {
    /// Texts that RFC 8259 leaves open and that are accepted: numbers outside the range of f64.
    /// The others are not UTF-8, have a byte order mark, or have lone surrogates.
    const OPEN_AND_ACCEPTED: [&str; 10] = [
        "i_number_double_huge_neg_exp.json",
        "i_number_huge_exp.json",
        "i_number_neg_int_huge_exp.json",
        "i_number_pos_double_huge_exp.json",
        "i_number_real_neg_overflow.json",
        "i_number_real_pos_overflow.json",
        "i_number_real_underflow.json",
        "i_number_too_big_neg_int.json",
        "i_number_too_big_pos_int.json",
        "i_number_very_big_negative_int.json",
    ];
    let Some(directory) = data("json/test_parsing") else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let expected = match name.as_bytes()[0] {
            b'y' => true,
            b'n' => false,
            b'i' => OPEN_AND_ACCEPTED.contains(&&*name),
            _ => continue,
        };
        let text = std::fs::read(entry.path()).unwrap();
        let result = accept(&text);
        assert_eq!(result.is_ok(), expected, "{name}: {:?}", result.err());
        scan(&text).1.ok();
        seen += 1;
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn numbers_are_exact_where_they_are_integers() {
    let number = |text: &str| with(text, |v| (v.as_u64(), v.as_i64(), v.as_f64()));
    assert_eq!(
        number("18446744073709551615"),
        (Some(u64::MAX), None, Some(18446744073709551615.0))
    );
    assert_eq!(number("-9223372036854775808").1, Some(i64::MIN));
    assert_eq!(number("9007199254740993").0, Some(9_007_199_254_740_993));
    assert_eq!(number("1.5"), (None, None, Some(1.5)));
    assert_eq!(number("1e3"), (None, None, Some(1000.0)));
    assert_eq!(number("-0"), (None, Some(0), Some(-0.0)));
    assert_eq!(number("1e999"), (None, None, None));
    assert_eq!(with("\"1\"", |v| (v.as_u64(), v.as_f64())), (None, None));
}

#[test]
fn duplicate_names_are_found_after_unescaping_at_any_depth() {
    assert_eq!(duplicate(r#"{"alg":1,"alg":2}"#).as_deref(), Some("alg"));
    assert_eq!(duplicate(r#"{"alg":1,"\u0061lg":2}"#).as_deref(), Some("alg"));
    assert_eq!(duplicate(r#"{"a\/b":1,"a/b":2}"#).as_deref(), Some("a/b"));
    assert_eq!(duplicate(r#"{"x":[{"a":1,"b":2,"a":3}]}"#).as_deref(), Some("a"));
    assert_eq!(duplicate(r#"{"":1,"":2}"#).as_deref(), Some(""));
    assert_eq!(duplicate(r#"{"😀":1,"\ud83d\ude00":2}"#).as_deref(), Some("😀"));

    assert_eq!(duplicate(r#"{"alg":1,"Alg":2}"#), None);
    assert_eq!(duplicate(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#), None);
    assert_eq!(duplicate(r#"[{"a":1},{"a":1}]"#), None);
    assert_eq!(duplicate(r#"{"a":"a","b":"a"}"#), None);

    for count in [15, 16, 17, 40] {
        let mut names: Vec<String> = (0..count).map(|k| format!("\"n{k}\":{k}")).collect();
        assert_eq!(duplicate(&format!("{{{}}}", names.join(","))), None);
        names.push("\"n3\":0".into());
        assert_eq!(duplicate(&format!("{{{}}}", names.join(","))).as_deref(), Some("n3"));
    }
}

#[test]
fn members_are_found_by_their_unescaped_names() {
    with(r#"{"a":{"x":1,"y":[1,2]},"\u0062":"q\n\"","a2":[],"c":true,"a":7}"#, |v| {
        assert_eq!(v.get("b").unwrap().as_str().unwrap(), "q\n\"");
        assert_eq!(v.get("c").unwrap().as_bool(), Some(true));
        assert_eq!(v.get("a").unwrap().as_u64(), Some(7));
        assert_eq!(v.get_all("a").count(), 2);
        assert_eq!(v.members().count(), 5);
        let y = v.get_all("a").next().unwrap().get("y").unwrap();
        assert_eq!(y.elements().map(|e| e.as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
        assert!(v.get("x").is_none() && y.get("a").is_none());
        assert_eq!(v.elements().count(), 0);
    });
}

#[test]
fn surrogates_pair_or_are_refused() {
    assert_eq!(with(r#""\uD83D\uDE00\u00e9""#, |v| v.as_str().unwrap().into_owned()), "😀é");
    for lone in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83dx""#, r#""\ud83d\n""#]
    {
        assert_eq!(accept(lone.as_bytes()).err().unwrap().problem, Problem::LoneSurrogate);
        assert!(scan(lone.as_bytes()).1.is_ok());
    }
}

#[test]
fn limits_are_where_they_are_said_to_be() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(accept(deep(MAX_DEPTH).as_bytes()).is_ok());
    let error = accept(deep(MAX_DEPTH + 1).as_bytes()).err().unwrap();
    assert_eq!((error.problem, error.at), (Problem::TooDeep, MAX_DEPTH));
    let wide = |n: usize| format!("[{}0]", "0,".repeat(n - 2));
    assert!(accept(wide(MAX_NODES).as_bytes()).is_ok());
    assert_eq!(accept(wide(MAX_NODES + 1).as_bytes()).err().unwrap().problem, Problem::TooMany);
}

#[test]
fn every_prefix_is_incomplete_and_keeps_what_came_before() {
    let text = r#" {"a":"\u00e9\n","token":"x.y","n":[-1.5e+3,true,null,{"z":{}}], "t":false} "#;
    let whole = accept(text.as_bytes()).unwrap();
    for end in 0..text.rfind('}').unwrap() {
        let prefix = &text.as_bytes()[..end];
        let (nodes, result) = scan(prefix);
        assert_eq!(result.unwrap_err().problem, Problem::Incomplete, "{end}");
        assert!(nodes.len() <= whole.len());
        let token = string_members(prefix, &nodes).find(|(name, _)| name.name() == "token");
        assert_eq!(token.is_some(), end >= text.find("x.y").unwrap() + 4, "{end}");
        assert!(token.is_none_or(|(_, value)| value.as_str().unwrap() == "x.y"));
    }
}

#[test]
fn an_event_gets_values_that_are_bounded_and_safe_to_print() {
    let long = "x".repeat(1000);
    let text = format!(
        r#"{{"s":"a\u001b[2J\u202e","long":"{long}","deep":[[[[[1]]]]],"many":[{}0],"n":-1}}"#,
        "0,".repeat(100)
    );
    let event = with(&text, |v| v.to_event());
    assert_eq!(event["s"], "a\\u{1b}[2J\\u{202e}");
    assert_eq!(event["long"].as_str().unwrap().chars().count(), 257);
    assert_eq!(event["deep"].to_string(), r#"[[["…"]]]"#);
    assert_eq!(event["many"].as_array().unwrap().len(), 32);
    assert_eq!(event["n"], -1);
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        "[a-c\"\\\\\u{1}é]{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            vec((any::<String>(), inner), 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Where both should agree: serde_json refuses numbers that overflow, and nests deeper.
fn agrees(text: &[u8]) {
    match (accept(text), serde_json::from_slice::<serde_json::Value>(text)) {
        (Ok(nodes), Ok(theirs)) => {
            let ours = Value::new(text, &nodes, 0);
            assert_eq!(to_serde(ours), theirs);
        }
        (Err(_), Err(_)) => {}
        (Err(e), Ok(_)) => assert_eq!(e.problem, Problem::TooDeep),
        (Ok(_), Err(e)) => assert!(e.to_string().contains("number out of range"), "{e}"),
    }
}

proptest! {
    #[test]
    fn documents_read_as_serde_json_reads_them(document in document()) {
        agrees(document.to_string().as_bytes());
        agrees(serde_json::to_string_pretty(&document).unwrap().as_bytes());
    }

    #[test]
    fn mutated_documents_are_refused_where_serde_json_refuses_them(
        document in document(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut text = document.to_string().into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(text.len().max(1)).min(text.len());
            match how {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                _ if at < text.len() => { text.remove(at); }
                _ => {}
            }
        }
        agrees(&text);
    }

    #[test]
    fn texts_out_of_json_like_pieces_agree_with_serde_json(
        pieces in vec(select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "00", "d83d", "\\ude00", "a", "\"a\"",
            "1", "-", "0", ".", "e", "+", "true", "null", "fals", " ", "\n", "\u{1}", "é", "\u{feff}",
        ]), 0..12),
    ) {
        agrees(pieces.concat().as_bytes());
    }

    #[test]
    fn strings_are_cut_at_the_right_byte(
        text in vec(select(b"ab\x1f\x20\x21\x22\x23\x5b\x5c\x5d\x7f\x80\xa2\xdc\xff".to_vec()), 0..40),
    ) {
        let plain = text.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\');
        prop_assert_eq!(plain_prefix(&text), plain.unwrap_or(text.len()));
    }

    #[test]
    fn any_bytes_are_scanned_without_harm(text in vec(any::<u8>(), 0..60)) {
        let (nodes, _) = scan(&text);
        let value = Value::new(&text, &nodes, 0);
        let _ = value.to_event();
        for (name, value) in string_members(&text, &nodes) {
            let _ = (name.name(), value.as_str());
        }
    }
}

#[test]
fn a_string_ends_at_the_first_byte_that_is_not_plain_wherever_it_stands() {
    for len in 0..140 {
        let plain = vec![b'x'; len];
        assert_eq!(plain_prefix(&plain), len);
        for at in 0..len {
            for (byte, stops) in
                [(b'"', true), (b'\\', true), (0, true), (0x1f, true), (b' ', false), (0xff, false)]
            {
                let mut text = plain.clone();
                text[at] = byte;
                assert_eq!(plain_prefix(&text), if stops { at } else { len });
            }
        }
    }
}
