//! docs/findings.md and the findings of the code say the same.

use std::collections::BTreeMap;

use jotwatch::finding::FindingId;

/// The rows of the tables whose first column is a name in code style: name, severity, rest.
fn rows() -> Vec<(String, String, Vec<String>)> {
    include_str!("../../docs/findings.md")
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            let severity = cells.next()?.to_owned();
            Some((name.to_owned(), severity, cells.map(str::to_owned).collect()))
        })
        // The table of severities has two columns.
        .filter(|(_, _, rest): &(String, String, Vec<String>)| !rest.is_empty())
        .collect()
}

#[test]
fn every_finding_has_one_row_with_its_severity() {
    let rows = rows();
    let mut by_name = BTreeMap::new();
    for (name, severity, rest) in &rows {
        assert_eq!(rest.len(), 3, "{name}: meaning, detection and source");
        assert!(rest.iter().all(|cell| !cell.is_empty()), "{name} has an empty cell");
        assert!(by_name.insert(name.as_str(), severity.as_str()).is_none(), "{name} twice");
    }
    for id in FindingId::ALL {
        assert_eq!(by_name.remove(id.as_str()), Some(id.severity().as_str()), "{id}");
    }
    assert!(by_name.is_empty(), "rows of no finding: {:?}", by_name.keys());
}
