//! The place of a reader, kept over restarts.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use siphasher::sip::SipHasher13;

/// Bytes of a slot: a place in 20 digits, a space, its check in 16, and a line feed.
const SLOT_BYTES: usize = 38;
/// Where the slots lie. A crash of the machine tears one at most, and the other has the place
/// before.
const SLOTS: [u64; 2] = [0, 512];
/// What a file's name ends in.
const SUFFIX: &str = ".place";
/// Characters of a reader's name that are kept in the file's.
const NAME_MAX: usize = 80;

/// A file that holds a place. Not synchronised with the disk: a machine that crashes has a reader
/// get again what it had last.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    place: u64,
    slot: usize,
}

impl Cursor {
    /// Opens the place of this name, which begins at `begin` where there is none.
    pub(super) fn open(dir: &Path, name: &str, begin: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(places(dir))?;
        let path = path(dir, name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut cursor = Self { place: begin, slot: 0, file };
        match read(&cursor.file)? {
            Some((place, slot)) => (cursor.place, cursor.slot) = (place, slot),
            None => cursor.keep(begin)?,
        }
        Ok(cursor)
    }

    pub(super) const fn place(&self) -> u64 {
        self.place
    }

    pub(super) fn keep(&mut self, place: u64) -> io::Result<()> {
        let slot = 1 - self.slot;
        let text = format!("{place:020} {:016x}\n", check(place));
        self.file.write_all_at(text.as_bytes(), SLOTS.get(slot).copied().unwrap_or_default())?;
        (self.place, self.slot) = (place, slot);
        Ok(())
    }
}

/// The highest place of all.
pub(super) fn highest(dir: &Path) -> io::Result<u64> {
    let mut highest = 0;
    for path in all(dir)? {
        if let Some((place, _)) = read(&File::open(path)?)? {
            highest = highest.max(place);
        }
    }
    Ok(highest)
}

/// The lowest place of all; `None` where nobody reads.
pub(super) fn lowest(dir: &Path) -> io::Result<Option<u64>> {
    let mut lowest = None;
    for path in all(dir)? {
        if let Some((place, _)) = read(&File::open(path)?)? {
            lowest = Some(lowest.map_or(place, |lowest: u64| lowest.min(place)));
        }
    }
    Ok(lowest)
}

pub(super) fn forget_but(dir: &Path, names: &[&str]) -> io::Result<()> {
    let kept = names.iter().map(|name| path(dir, name)).collect::<Vec<_>>();
    for path in all(dir)? {
        if !kept.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn all(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(places(dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let ours = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(SUFFIX));
    paths.filter(|path| path.as_ref().map_or(true, ours)).collect()
}

fn read(file: &File) -> io::Result<Option<(u64, usize)>> {
    let mut best = None;
    for (slot, at) in SLOTS.into_iter().enumerate() {
        let mut text = [0; SLOT_BYTES];
        match file.read_exact_at(&mut text, at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        best = best.max(parse(&text).map(|place| (place, slot)));
    }
    Ok(best)
}

pub(super) fn parse(text: &[u8]) -> Option<u64> {
    let (place, rest) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let place = place.parse().ok()?;
    (u64::from_str_radix(rest.strip_suffix('\n')?, 16).ok()? == check(place)).then_some(place)
}

fn check(place: u64) -> u64 {
    SipHasher13::new().hash(&place.to_le_bytes())
}

fn places(dir: &Path) -> PathBuf {
    dir.join("places")
}

fn path(dir: &Path, name: &str) -> PathBuf {
    let shown = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let shown = shown.take(NAME_MAX).collect::<String>();
    // Names that look alike are told apart.
    let hash = SipHasher13::new().hash(name.as_bytes());
    places(dir).join(format!("{shown}-{hash:016x}{SUFFIX}"))
}
