//! The initramfs: the sensor, the service, the first process, `ip` and `sh`, and the shared
//! libraries of all of them.
//!
//! Format: `newc`, Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::setup;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// A cpio archive.
#[derive(Clone, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds a directory with those above it, unless they are there.
    pub(super) fn directory(&mut self, path: &str) {
        let above = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
        for directory in above.chain([path]).filter(|directory| !directory.is_empty()) {
            if self.directories.insert(directory.to_owned()) {
                self.entry(directory, DIRECTORY | 0o755, &[]);
            }
        }
    }

    /// Adds a file; `path` has no slash at its start.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        if let Some((directory, _)) = path.rsplit_once('/') {
            self.directory(directory);
        }
        self.entry(path, REGULAR | mode, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        // Inode, mode, owner, group, links, time, size, four numbers of devices, length of the
        // name, checksum.
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (size, name_size) = (length(content.len()), length(name.len() + 1));
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.entries += 1;
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// All but the modules, from the folder of the built programs.
pub(super) fn system(binaries: &Path) -> Result<Archive> {
    let stripped = tempfile::tempdir()?;
    let mut programs = Vec::new();
    for (name, path) in [
        ("jotwatch", "bin/jotwatch"),
        ("kernel-proof", "init"),
        ("recording-http", "bin/recording-http"),
    ] {
        let to = stripped.path().join(name);
        setup::output(
            Command::new("strip").arg("-o").arg(&to).arg(binaries.join(name)),
            &format!("stripping {name}"),
        )?;
        programs.push((to, path.to_owned()));
    }
    for name in ["ip", "sh"] {
        let tool = setup::find(name).with_context(|| format!("no {name}"))?;
        programs.push((fs::canonicalize(tool)?, format!("bin/{name}")));
    }
    let mut archive = Archive::default();
    let mut libraries = BTreeSet::new();
    for (from, to) in &programs {
        libraries.extend(shared(from)?);
        archive.file(to, 0o755, &fs::read(from)?);
    }
    for library in libraries {
        let mode = fs::metadata(&library)?.permissions().mode() & 0o777;
        let path = library.to_string_lossy().into_owned();
        archive.file(path.trim_start_matches('/'), mode, &fs::read(&library)?);
    }
    Ok(archive)
}

/// The shared libraries of a program, the loader among them, by the paths at which it looks.
fn shared(program: &Path) -> Result<Vec<PathBuf>> {
    let ldd = setup::output(Command::new("ldd").arg(program), "ldd")?;
    let text = String::from_utf8_lossy(&ldd.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::Archive;

    /// Reads an archive as its format says, in the simplest way.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0_usize;
        loop {
            let mut take = |n: usize| {
                let (taken, rest) = bytes.split_at(n);
                (bytes, at) = (rest, at + n);
                taken.to_vec()
            };
            assert_eq!(take(6), b"070701");
            let fields: Vec<u32> = (0..13)
                .map(|_| u32::from_str_radix(std::str::from_utf8(&take(8)).unwrap(), 16).unwrap())
                .collect();
            let mut name = take(fields[11] as usize);
            assert_eq!(name.pop(), Some(0));
            let name = String::from_utf8(name).unwrap();
            while !at.is_multiple_of(4) {
                (bytes, at) = (&bytes[1..], at + 1);
            }
            let (content, rest) = bytes.split_at(fields[6] as usize);
            (bytes, at) = (rest, at + content.len());
            while !at.is_multiple_of(4) {
                (bytes, at) = (&bytes[1..], at + 1);
            }
            if name == "TRAILER!!!" {
                assert!(bytes.is_empty());
                return entries;
            }
            entries.push((name, fields[1], content.to_vec()));
        }
    }

    #[test]
    fn what_is_put_in_comes_out_with_its_directories_before_it() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"x");
        archive.file("lib/deep/a.so", 0o644, b"12345");
        archive.directory("lib/deep");
        archive.file("lib/deep/b.so", 0o644, b"");
        archive.directory("modules");
        assert_eq!(
            read(&archive.finish()),
            [
                ("init".to_owned(), 0o100_755, b"x".to_vec()),
                ("lib".to_owned(), 0o040_755, vec![]),
                ("lib/deep".to_owned(), 0o040_755, vec![]),
                ("lib/deep/a.so".to_owned(), 0o100_644, b"12345".to_vec()),
                ("lib/deep/b.so".to_owned(), 0o100_644, vec![]),
                ("modules".to_owned(), 0o040_755, vec![]),
            ]
        );
    }
}
