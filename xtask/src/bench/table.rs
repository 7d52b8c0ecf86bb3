//! Figures, their targets, and how they are printed.

use std::fmt;

/// One part's figures.
pub(super) struct Table {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    value: String,
    target: String,
    met: Option<bool>,
}

impl Table {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// A figure without a target.
    pub(super) fn figure(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        self.rows.push(Row { name, value, target: String::new(), met: None });
    }

    /// A figure with its target, and whether that is met.
    pub(super) fn judged(
        &mut self,
        name: impl Into<String>,
        value: impl Into<String>,
        target: impl Into<String>,
        met: bool,
    ) {
        let (name, value, target) = (name.into(), value.into(), target.into());
        self.rows.push(Row { name, value, target, met: Some(met) });
    }

    /// How many targets are met, and how many there are.
    pub(super) fn score(&self) -> (usize, usize) {
        let judged: Vec<bool> = self.rows.iter().filter_map(|row| row.met).collect();
        (judged.iter().filter(|met| **met).count(), judged.len())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Row) -> &str, head: &str| {
            self.rows.iter().map(|row| column(row).chars().count()).chain([head.len()]).max()
        };
        let name = width(|row| &row.name, "figure").unwrap_or(0);
        let value = width(|row| &row.value, "value").unwrap_or(0);
        let target = width(|row| &row.target, "target").unwrap_or(0);
        writeln!(f, "{}", self.title)?;
        writeln!(f, "  {:name$}  {:>value$}  {:target$}  met", "figure", "value", "target")?;
        for row in &self.rows {
            let met = match row.met {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            let line = format!(
                "  {:name$}  {:>value$}  {:target$}  {met}",
                row.name, row.value, row.target
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The middle value; of an even number, the mean of the middle two. 0 of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => 0.0,
        (1, Some(value)) => *value,
        (_, Some(value)) => f64::midpoint(values[middle - 1], *value),
    }
}

/// A number rounded to an integer, with commas between the thousands.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count as a number that arithmetic goes on with; exact below 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// The middle of ratios, and the lowest and the highest.
pub(super) fn spread(ratios: &[f64]) -> String {
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.3} ({low:.3} to {high:.3})", median(ratios.iter().copied()))
}

/// Microseconds.
pub(super) fn micros(value: f64) -> String {
    format!("{value:.2} µs")
}

/// Bytes as MiB.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", float(bytes) / float(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::{Table, median, thousands};

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).abs() < 1e-9);
    }

    #[test]
    fn thousands_are_set_off() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,568"],
            [0.0, 999.4, 999.5, 1_234_567.5].map(thousands)[..]
        );
    }

    #[test]
    fn a_table_is_aligned_and_scored() {
        let mut table = Table::new("part");
        table.figure("a", "12");
        table.judged("long name", "1", "≥ 300,000", false);
        table.judged("b", "400,000", "≥ 300,000", true);
        assert_eq!(table.score(), (1, 2));
        assert_eq!(
            table.to_string(),
            "part\n  figure       value  target     met\n  a               12\n  \
             long name        1  ≥ 300,000  NO\n  b          400,000  ≥ 300,000  yes\n"
        );
    }
}
