//! Feeds of comma-separated values (RFC 4180).

use super::{Column, Feed, FeedError, Gathered, Indicator, Kind};

/// The most columns of a line that are looked at.
const MAX_COLUMNS: usize = 256;

pub(super) fn parse(bytes: &[u8], column: &Column, kind: Kind) -> Result<Feed, FeedError> {
    let missing = || FeedError::NoColumn(column.clone());
    let (mut gathered, mut records) = (Gathered::default(), Records { rest: bytes, line: 1 });
    let mut found = match column {
        Column::Number(number) => number.checked_sub(1),
        Column::Name(_) => None,
    };
    let mut first = true;
    while let Some((line, fields)) = records.next_record() {
        let is_first = std::mem::replace(&mut first, false);
        if let (Column::Name(name), None) = (column, found) {
            let is = |field: &String| field.trim().eq_ignore_ascii_case(name);
            found = Some(fields.iter().position(is).ok_or_else(missing)?);
            continue;
        }
        let field = found.and_then(|at| fields.get(at));
        let indicator = field.and_then(|field| Indicator::read(field.trim(), kind));
        // A first line that is no entry names the columns.
        if indicator.is_none() && is_first && field.is_some() {
            continue;
        }
        gathered.take(line, indicator)?;
    }
    if found.is_none() && !first {
        return Err(missing());
    }
    gathered.done()
}

/// Lines of fields, one after another; comments and empty lines are passed over.
struct Records<'a> {
    rest: &'a [u8],
    /// Of the next byte.
    line: u32,
}

impl Records<'_> {
    fn next_record(&mut self) -> Option<(u32, Vec<String>)> {
        loop {
            let line = self.line;
            let skipped = matches!(self.rest.first()?, b'#' | b'\r' | b'\n');
            let fields = if skipped { self.skip_line() } else { Some(self.fields()) };
            if let Some(fields) = fields {
                return Some((line, fields));
            }
        }
    }

    fn skip_line<T>(&mut self) -> Option<T> {
        let end = memchr::memchr(b'\n', self.rest).map_or(self.rest.len(), |at| at + 1);
        self.rest = self.rest.get(end..).unwrap_or_default();
        self.line = self.line.saturating_add(1);
        None
    }

    /// The fields up to a line feed that stands in no quotes, or the end.
    fn fields(&mut self) -> Vec<String> {
        let (mut fields, mut field, mut quoted) = (Vec::new(), Vec::new(), false);
        let mut end = |field: &mut Vec<u8>| {
            if fields.len() < MAX_COLUMNS {
                fields.push(String::from_utf8_lossy(field).into_owned());
            }
            field.clear();
        };
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            if byte == b'\n' {
                self.line = self.line.saturating_add(1);
            }
            match byte {
                b'"' if quoted && rest.first() == Some(&b'"') => {
                    field.push(b'"');
                    self.rest = rest.get(1..).unwrap_or_default();
                }
                b'"' => quoted = !quoted,
                b',' if !quoted => end(&mut field),
                b'\n' if !quoted => break,
                _ => field.push(byte),
            }
        }
        end(&mut field);
        fields
    }
}
