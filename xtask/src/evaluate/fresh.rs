//! More values that look like attacks, one a line.

/// Searches, code and sentences, written before the detectors were mended with an eye on the lists of
/// [`benign`](super::benign); mended for since.
pub(super) const SEARCHES: &str = include_str!("lists/searches.txt");
pub(super) const SNIPPETS: &str = include_str!("lists/snippets.txt");
/// `\n` in them is a line end.
pub(super) const SENTENCES: &str = include_str!("lists/sentences.txt");

/// Statements, commands and elements that would run, if anything ran them: as code they are
/// legitimate, and what an attacker sends is the same.
pub(super) const VERBATIM: &str = include_str!("lists/verbatim.txt");

/// Searches and code looked at for the figures only: nothing was mended for them.
pub(super) const BLIND_SEARCHES: &str = include_str!("lists/blind-searches.txt");
pub(super) const BLIND_SNIPPETS: &str = include_str!("lists/blind-snippets.txt");
