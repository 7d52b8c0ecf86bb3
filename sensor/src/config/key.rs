//! Which key of a configuration a place in its text belongs to.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The whole key at this byte: with its tables, without the places of arrays, as in
/// `service.route.path`. Of the name of a key itself, as where it is not known, the table that it
/// stands in. `None` where that is no table's, or the text is no TOML.
pub(super) fn at(text: &str, byte: usize) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let mut path = Vec::new();
    in_table(table.get_ref(), byte, &mut path);
    (!path.is_empty()).then(|| path.join("."))
}

/// Whether the byte is in this table; `path` is then led on to where.
fn in_table<'t>(table: &'t DeTable<'_>, byte: usize, path: &mut Vec<&'t str>) -> bool {
    table.iter().any(|(key, value)| {
        if key.span().contains(&byte) {
            return true;
        }
        path.push(key.get_ref());
        let found = in_value(value, byte, path);
        if !found {
            path.pop();
        }
        found
    })
}

fn in_value<'t>(value: &'t Spanned<DeValue<'_>>, byte: usize, path: &mut Vec<&'t str>) -> bool {
    let inside = match value.get_ref() {
        DeValue::Table(table) => in_table(table, byte, path),
        DeValue::Array(values) => values.iter().any(|value| in_value(value, byte, path)),
        _ => false,
    };
    // The span of a table may be its head alone: what is in it is not in its span.
    inside || value.span().contains(&byte)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_value_has_its_key() {
        let text = "top = 1\n[a]\nb = \"x\"\nc = [1, 2]\nd.e = 3\nf = { g = 4 }\n\
            [[a.h]]\ni = 5\n[[a.h]]\ni = 6\n[[a.h.j]]\nk = true\n";
        let at = |what: &str| {
            let value = text.find(what).unwrap() + what.len() - 1;
            super::at(text, value).unwrap_or_default()
        };
        for (what, key) in [
            ("top = 1", "top"),
            ("\"x", "a.b"),
            ("[1, 2", "a.c"),
            ("e = 3", "a.d.e"),
            ("g = 4", "a.f.g"),
            ("i = 5", "a.h.i"),
            ("i = 6", "a.h.i"),
            ("k = true", "a.h.j.k"),
        ] {
            assert_eq!(at(what), key);
        }
        // Names of keys, heads of tables, and what is nobody's.
        for (what, key) in [("\nb", "a"), ("\nk", "a.h.j"), ("[[a.h]", "a.h"), ("\ntop", "")] {
            let text = format!("\n{text}");
            let byte = text.find(what).unwrap() + what.len() - 1;
            assert_eq!(super::at(&text, byte).unwrap_or_default(), key, "{what:?}");
        }
        assert_eq!(super::at("[a\n", 1), None);
        assert_eq!(super::at(text, text.len()), None);
    }
}
