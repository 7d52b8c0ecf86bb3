//! docs/configuration.md, packaging/config.toml and the structures that read a configuration know the
//! same keys, and the same defaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jotwatch::config::{Config, parse};

const DOC: &str = include_str!("../../docs/configuration.md");
const PACKAGED: &str = include_str!("../../packaging/config.toml");

/// What is no key of any table.
const PROBE: &str = "no_such_key";

/// What the structure of a feed has and one that denies must not: it is read by one structure in both
/// places.
const REFUSED: [(&str, &str); 2] =
    [("enforcement.feed.kind", "\"tor\""), ("enforcement.feed.entries", "\"hosts\"")];

/// A table of the configuration, as its head is written: `[capture]`, `[[service]]`.
#[derive(Clone)]
struct Table {
    heads: String,
    path: String,
}

/// The keys that a table at the end of these heads may have, by what its reader says of one that it
/// may not; `None` where there is no table.
fn keys(heads: &str) -> Option<Vec<String>> {
    let text = format!("{heads}{PROBE} = 1\n");
    let error = toml::from_str::<Config>(&text).err()?;
    let rest = error.message().strip_prefix(&format!("unknown field `{PROBE}`"))?;
    Some(rest.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Every key that is no table, with the tables around it: `service.route.path`.
fn known() -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    let mut tables = vec![Table { heads: String::new(), path: String::new() }];
    while let Some(table) = tables.pop() {
        for key in keys(&table.heads).unwrap_or_default() {
            let path = if table.path.is_empty() { key } else { format!("{}.{key}", table.path) };
            let heads = [format!("[{path}]\n"), format!("[[{path}]]\n")];
            let heads = heads.map(|head| format!("{}{head}", table.heads));
            match heads.into_iter().find(|heads| keys(heads).is_some()) {
                Some(heads) => tables.push(Table { heads, path }),
                None if REFUSED.iter().any(|(key, _)| *key == path) => {}
                None => assert!(leaves.insert(path)),
            }
        }
    }
    leaves
}

fn in_code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The keys of the documentation's tables, with their defaults where a column has these.
fn documented() -> BTreeMap<String, Option<String>> {
    let mut rows = BTreeMap::new();
    let (mut section, mut table) = (String::new(), None::<Vec<String>>);
    for line in DOC.lines() {
        if let Some(head) = line.strip_prefix("## ") {
            section = in_code(head).first().unwrap_or(&"").trim_matches(['[', ']']).to_owned();
        }
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            table = None;
            continue;
        };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        match (&table, cells[0]) {
            (None, "key") => table = Some(vec![section.clone()]),
            // One, or several that have keys in common.
            (None, head) if head.starts_with("key of ") => {
                let named = in_code(head).into_iter();
                table = Some(named.map(|name| name.trim_matches(['[', ']']).to_owned()).collect());
            }
            (Some(_), "the others") => {
                rows.insert(format!("{section}.*"), None);
            }
            (Some(tables), names) => {
                let default = (cells.len() > 2).then(|| in_code(cells[1]).concat());
                for (table, name) in tables
                    .iter()
                    .flat_map(|table| in_code(names).into_iter().map(move |n| (table, n)))
                {
                    let key = format!("{table}.{name}");
                    assert!(rows.insert(key.clone(), default.clone()).is_none(), "{key} twice");
                }
            }
            (None, _) => {}
        }
    }
    rows
}

#[test]
fn what_is_left_out_is_refused() {
    let feed = "[[enforcement.feed]]\nname = \"a\"\npath = \"/a\"\n";
    parse(feed, Path::new("c.toml")).unwrap();
    for (key, value) in REFUSED {
        let name = key.rsplit('.').next().unwrap();
        let error = parse(&format!("{feed}{name} = {value}\n"), Path::new("c.toml"));
        assert!(error.is_err(), "{key} is taken");
    }
}

#[test]
fn every_key_is_documented_and_nothing_else() {
    let known = known();
    assert!(known.len() > 100 && known.contains("service.route.path"), "{known:?}");
    let rows = documented();
    let mut documented: BTreeSet<String> = rows.keys().cloned().collect();
    // A feed's keys are those of an enforced one, and filters are alike in all sinks.
    for key in &known {
        let (table, name) = key.rsplit_once('.').unwrap();
        let shared = rows.contains_key(&format!("{table}.*"))
            && rows.contains_key(&format!("enforcement.feed.{name}"));
        let filtered = table.starts_with("sinks.")
            && table.ends_with(".filter")
            && rows.contains_key(&format!("filter.{name}"));
        if shared || filtered {
            documented.insert(key.clone());
        }
    }
    documented.retain(|key| !key.starts_with("filter.") && !key.ends_with(".*"));
    let undocumented: Vec<_> = known.difference(&documented).collect();
    assert!(undocumented.is_empty(), "not in docs/configuration.md: {undocumented:?}");
    // Tables have rows, too: those of sinks.
    let is_table = |key: &String| known.iter().any(|leaf| leaf.starts_with(&format!("{key}.")));
    // A key of enforcement.feed that only [[feed]] has.
    let unknown: Vec<_> = documented.difference(&known).filter(|key| !is_table(key)).collect();
    assert!(unknown.is_empty(), "no keys of the configuration: {unknown:?}");
}

/// The packaged file with what is commented out put in force; `#key`, where `# text` is a comment.
fn in_force() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            format!("{rest}\n")
        }
        _ => format!("{line}\n"),
    };
    PACKAGED.lines().map(uncomment).collect()
}

fn leaves(value: &toml::Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        // Its keys are the user's own.
        toml::Value::Table(_) if path.ends_with(".header_files") => {
            into.insert(path.to_owned());
        }
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            leaves(value, &path, into);
        }),
        toml::Value::Array(values) if values.iter().any(toml::Value::is_table) => {
            values.iter().for_each(|value| leaves(value, path, into));
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

#[test]
fn the_packaged_file_has_every_key() {
    let text = in_force();
    parse(&text, Path::new("config.toml")).unwrap();
    let mut shown = BTreeSet::new();
    leaves(&toml::from_str(&text).unwrap(), "", &mut shown);
    let known = known();
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(missing.is_empty(), "not in packaging/config.toml: {missing:?}");
    assert_eq!(shown, known);
}

/// How a configuration prints, without the places of its values in the text.
fn shown(config: &Config) -> String {
    let text = format!("{config:?}");
    let mut parts = text.split("span: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        all + part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
    })
}

#[test]
fn the_packaged_file_changes_nothing_and_shows_the_defaults() {
    let default = shown(&Config::default());
    assert_eq!(shown(&parse(PACKAGED, Path::new("config.toml")).unwrap()), default);
    let (mut head, mut seen) = ("", 0);
    for line in PACKAGED.lines() {
        if line.starts_with("#[") {
            // Tables that stand several times have no default.
            head = "";
        } else if line.starts_with('[') {
            head = line;
        }
        let key =
            line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase()));
        if let Some(key) = key.filter(|key| !head.is_empty() && !key.ends_with("# example")) {
            let config = parse(&format!("{head}\n{key}\n"), Path::new("config.toml")).unwrap();
            assert_eq!(shown(&config), default, "{head} {key} is not the default");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn documented_defaults_are_those_of_the_code() {
    let default = shown(&Config::default());
    let mut seen = 0;
    for (key, value) in documented() {
        let Some((table, name)) = key.rsplit_once('.') else { continue };
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        let text = format!("[{table}]\n{name} = {value}\n");
        // What may stand several times, or is said in words, has no value here.
        if let Ok(config) = parse(&text, Path::new("c.toml")) {
            assert_eq!(shown(&config), default, "{key} = {value} is not the default");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}
