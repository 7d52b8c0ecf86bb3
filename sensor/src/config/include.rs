//! A configuration in several files: the main one and `conf.d/*.toml` beside it, in the order of
//! their names.
//!
//! Tables are merged, arrays of tables appended; a plain key stands in one file only. The files
//! are laid end to end in one space of byte offsets, so a span says which file it is of.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{Error, MAX_CONFIG_BYTES};

/// The folder beside the main file whose files are read too.
const FOLDER: &str = "conf.d";

/// The most files in that folder that are read: beyond, it is no configuration but a mistake.
const MAX_INCLUDED: usize = 256;

/// One file of a configuration.
struct Part {
    path: PathBuf,
    text: String,
    /// Where its first byte is in the common space.
    start: usize,
}

/// The texts of a configuration, the main one first.
pub(super) struct Sources(Vec<Part>);

impl Sources {
    /// One text, which includes no other.
    pub(super) fn single(text: &str, path: &Path) -> Self {
        Self(vec![Part { path: path.into(), text: text.to_owned(), start: 0 }])
    }

    /// Reads the file and those in `conf.d` beside it.
    ///
    /// # Errors
    /// One of them can't be read, they are over [`MAX_CONFIG_BYTES`] together, or too many.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let mut sources = Self(Vec::new());
        sources.add(path)?;
        for included in included(path)? {
            sources.add(&included)?;
        }
        Ok(sources)
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let unreadable = |source| Error::Unreadable { path: path.into(), source };
        // One byte more than the text: an empty file, too, has a place of its own.
        let start = self.0.last().map_or(0, |last| last.start + last.text.len() + 1);
        let file = File::open(path).map_err(unreadable)?;
        // Read to the limit, as a pipe and a device say that they have no length.
        let most = MAX_CONFIG_BYTES.saturating_sub(start as u64) + 1;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 == most {
            return Err(Error::TooLarge { path: path.into(), len: start as u64 + most });
        }
        let not_utf8 = |_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"));
        let text = String::from_utf8(bytes).map_err(not_utf8)?;
        self.0.push(Part { path: path.into(), text, start });
        Ok(())
    }

    /// The last file's answer to a question counts.
    pub(super) fn last<T>(
        &self,
        read: impl Fn(&str) -> Result<Option<T>, toml::de::Error>,
    ) -> Result<Option<T>, Error> {
        let mut last = None;
        for part in &self.0 {
            let answer = read(&part.text)
                .map_err(|error| Error::from_toml(&error, &part.text, &part.path))?;
            last = answer.or(last);
        }
        Ok(last)
    }

    /// All files as one table, with spans in the common space.
    ///
    /// # Errors
    /// One is no TOML, or a plain key stands in two.
    pub(super) fn merged(&self) -> Result<Spanned<DeTable<'_>>, Error> {
        let mut whole: Option<Spanned<DeTable<'_>>> = None;
        for part in &self.0 {
            let table = DeTable::parse(&part.text)
                .map_err(|error| Error::from_toml(&error, &part.text, &part.path))?;
            let span = shifted(table.span(), part.start);
            let table = shift_table(table.into_inner(), part.start);
            match &mut whole {
                None => whole = Some(Spanned::new(span, table)),
                Some(whole) => self.merge(whole.get_mut(), table)?,
            }
        }
        Ok(whole.unwrap_or_else(|| Spanned::new(0..0, DeTable::new())))
    }

    fn merge<'t>(&self, into: &mut DeTable<'t>, from: DeTable<'t>) -> Result<(), Error> {
        for (key, value) in from {
            let Some((before, _)) = into.get_key_value(key.get_ref().as_ref()) else {
                into.insert(key, value);
                continue;
            };
            let before = before.span();
            let Some(present) = into.get_mut(key.get_ref().as_ref()) else { continue };
            match (present.get_mut(), value.into_inner()) {
                (DeValue::Table(present), DeValue::Table(more)) => self.merge(present, more)?,
                (DeValue::Array(present), DeValue::Array(more)) if appends(present, &more) => {
                    more.into_iter().for_each(|value| present.push(value));
                }
                _ => {
                    let (first, span) = self.locate(&before);
                    let line = super::error::line(&first.text, span.start);
                    let message = format!(
                        "`{}` is set in {}:{line} already",
                        key.get_ref(),
                        first.path.display()
                    );
                    return Err(self.error(key.span(), message));
                }
            }
        }
        Ok(())
    }

    /// What is wrong at a place of the common space.
    pub(super) fn error(&self, span: Range<usize>, message: String) -> Error {
        let (part, span) = self.locate(&span);
        Error::at(span, message, &part.text, &part.path)
    }

    /// As [`Sources::error`], of what TOML's reader says.
    pub(super) fn toml_error(&self, error: &toml::de::Error) -> Error {
        let span = error.span().unwrap_or_default();
        self.error(span, super::error::said(error))
    }

    /// Where a key stands: of the `index`th table of the array of tables that these names lead to.
    /// The place of the table where it has no such key, nothing where there is no such table.
    pub(super) fn find(&self, names: &[&str], index: usize, key: &str) -> Option<Range<usize>> {
        let whole = self.merged().ok()?;
        let (last, outer) = names.split_last()?;
        let mut table = whole.get_ref();
        for name in outer {
            let DeValue::Table(inner) = table.get(*name)?.get_ref() else { return None };
            table = inner;
        }
        let DeValue::Array(tables) = table.get(*last)?.get_ref() else { return None };
        let found = tables.get(index)?;
        let DeValue::Table(table) = found.get_ref() else { return None };
        Some(table.get(key).map_or_else(|| found.span(), Spanned::span))
    }

    /// The file of a place, and the place in it.
    fn locate(&self, span: &Range<usize>) -> (&Part, Range<usize>) {
        let at = self.0.partition_point(|part| part.start <= span.start).saturating_sub(1);
        let part = &self.0[at];
        (part, span.start - part.start..span.end.saturating_sub(part.start))
    }
}

/// Arrays of tables, of which one may be the empty array that says "none".
fn appends(present: &DeArray<'_>, more: &DeArray<'_>) -> bool {
    let mut values = present.iter().chain(more.iter()).peekable();
    values.peek().is_some() && values.all(|value| matches!(value.get_ref(), DeValue::Table(_)))
}

/// The files in the folder beside this one, in the order of their names.
fn included(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = path.with_file_name(FOLDER);
    let unreadable = |source| Error::Unreadable { path: folder.clone(), source };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        // What editors leave lying about begins with a dot, or ends otherwise.
        if name.ends_with(b".toml") && !name.starts_with(b".") {
            files.push(entry.path());
        }
        if files.len() > MAX_INCLUDED {
            return Err(Error::TooMany { path: folder, max: MAX_INCLUDED });
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn shifted(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn shift_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let shift = |(key, value): (Spanned<_>, _)| {
        let span = shifted(key.span(), by);
        (Spanned::new(span, key.into_inner()), shift_value(value, by))
    };
    table.into_iter().map(shift).collect()
}

fn shift_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = shifted(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift_table(table, by)),
        DeValue::Array(values) => {
            let mut array = DeArray::new();
            values.into_iter().for_each(|value| array.push(shift_value(value, by)));
            DeValue::Array(array)
        }
        other => other,
    };
    Spanned::new(span, value)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use crate::config::{Config, check_sink_files, load, load_folders};

    /// The files, the main one first, of a folder that is called `D` in errors.
    fn reads(files: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        load(&dir.path().join("c.toml"))
            .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "D"))
    }

    #[test]
    fn tables_merge_and_arrays_of_tables_append_in_the_order_of_names() {
        let config = reads(&[
            ("c.toml", "[capture]\nports = [80]\n[[service]]\nport = 80\n[sinks]\nsyslog = []\n"),
            ("conf.d/20.toml", "[[service]]\nport = 82\n"),
            ("conf.d/10.toml", "[[service]]\nport = 81\n[capture]\nring_bytes = 65536\n"),
            ("conf.d/30.toml", "[[sinks.syslog]]\nfacility = \"user\"\n"),
            ("conf.d/40.toml", ""),
            ("conf.d/.x.toml", "torn"),
            ("conf.d/x.toml~", "torn"),
        ])
        .unwrap();
        let ports: Vec<_> = config.services.iter().map(|own| own.get_ref().port).collect();
        assert_eq!(ports, [Some(80), Some(81), Some(82)]);
        assert_eq!(
            (config.capture.ports, config.capture.ring_bytes.into_inner()),
            (vec![80], 65_536)
        );
        assert_eq!(config.sinks.syslog.len(), 1);
    }

    #[test]
    fn a_plain_key_stands_once_and_both_files_are_named() {
        for (main, more, due) in [
            (
                "\n[capture]\nports = [80]\n",
                "[capture]\nports = [81]\n",
                "D/conf.d/a.toml:2:1: capture: `ports` is set in D/c.toml:3 already",
            ),
            (
                "[capture]\n",
                "capture = 1\n",
                "D/conf.d/a.toml:1:1: `capture` is set in D/c.toml:1 already",
            ),
            (
                "[capture]\nports = []\n",
                "[capture]\nports = []\n",
                "D/conf.d/a.toml:2:1: capture: `ports` is set in D/c.toml:2 already",
            ),
        ] {
            let error = reads(&[("c.toml", main), ("conf.d/a.toml", more)]).unwrap_err();
            assert_eq!(error, due);
        }
    }

    #[test]
    fn what_is_wrong_is_told_of_its_own_file() {
        let main = "[capture]\nports = [80]\n";
        for (text, due) in [
            (
                "\n[captrue]\n",
                "D/conf.d/b.toml:2:2: unknown key `captrue`, did you mean `capture`?",
            ),
            ("[memory]\ntokens = 1\n", "D/conf.d/b.toml:2:10: memory.tokens must be from"),
            ("[memory]\ntokens = \"é\" x\n", "D/conf.d/b.toml:2:"),
            ("[[service]]\nname = \"x\"\n", "D/conf.d/b.toml:1:1: service: a service needs"),
            ("[rest]\nlisten = \"127.0.0.1:1\"\n", "D/conf.d/b.toml:2:10: rest.listen"),
        ] {
            let files = [
                ("c.toml", main),
                ("conf.d/a.toml", "[limits]\nflows = 99\n"),
                ("conf.d/b.toml", text),
            ];
            let error = reads(&files).unwrap_err();
            assert!(error.starts_with(due), "{error}");
        }
        let error =
            reads(&[("c.toml", "[memory]\ntokens = 1\n"), ("conf.d/a.toml", "")]).unwrap_err();
        assert!(error.starts_with("D/c.toml:2:10: "), "{error}");
        let large = "#".repeat(super::MAX_CONFIG_BYTES as usize - 1);
        let error = reads(&[("c.toml", "\n"), ("conf.d/a.toml", &large)]).unwrap_err();
        assert!(error.starts_with("D/conf.d/a.toml: "), "{error}");
    }

    #[test]
    fn the_runtime_folder_may_stand_in_an_included_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("conf.d")).unwrap();
        fs::write(path("c.toml"), "later = 1\n").unwrap();
        fs::write(path("conf.d/a.toml"), "[daemon]\nruntime_dir = \"/r\"\n").unwrap();
        fs::write(path("conf.d/b.toml"), "[daemon]\n").unwrap();
        assert_eq!(load_folders(&path("c.toml")).unwrap().runtime_dir, Path::new("/r"));
    }

    #[test]
    fn a_file_that_a_sink_can_not_use_is_told_of_where_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        fs::write(&path, "[[sinks.webhook]]\nurl = \"https://a.example\"\n").unwrap();
        fs::write(dir.path().join("template"), "{{\"a\": 1").unwrap();
        fs::write(dir.path().join("open"), "0123456789abcdef0123456789abcdef").unwrap();
        for (table, keys, place, said) in [
            ("webhook", "secret_file = \"D/none\"", "3:15", "secret_file D/none: No such file"),
            ("webhook", "secret_file = \"D/open\"", "3:15", "secret_file D/open: others may read"),
            ("webhook", "template_file = \"D/template\"", "3:17", "template_file D/template: "),
            ("otlp", "header_files = { a = \"D/none\" }", "3:16", "header_files D/none: No such"),
            ("otlp", "ca_file = \"D/open\"", "3:11", "ca_file D/open: no certificates in PEM"),
        ] {
            let text = format!("[[sinks.{table}]]\nurl = \"https://b.example\"\n{keys}\n");
            let text = text.replace("D/", &format!("{}/", dir.path().display()));
            fs::write(dir.path().join("conf.d/b.toml"), text).unwrap();
            let config = load(&path).unwrap();
            let error = check_sink_files(&config, &path).unwrap_err().to_string();
            let error = error.replace(dir.path().to_str().unwrap(), "D");
            let due = format!("D/conf.d/b.toml:{place}: sinks.{table}.{said}");
            assert!(error.starts_with(&due), "{error}\n{due}");
        }
        fs::remove_file(dir.path().join("conf.d/b.toml")).unwrap();
        assert!(check_sink_files(&load(&path).unwrap(), &path).is_ok());
    }
}
