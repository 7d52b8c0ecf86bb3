//! Paths and files.

use super::{
    keywords::{cat, kind},
    lex::shape,
    schema::f,
    view::{Hits, View},
};

const fn is_slash(kind: u8) -> bool {
    matches!(kind, b'/' | b'\\' | shape::SLASH2)
}

/// Whether what follows the dots at `at` is a slash in a spelling that some server decodes late:
/// `..0x2f`, `..2f`, `..%5c`, `..c0af`, `..u2215`.
fn is_hidden_slash(rest: &[u8]) -> bool {
    let body = rest.strip_prefix(b"%").unwrap_or(rest);
    let body = body.strip_prefix(b"0x").or(body.strip_prefix(b"u")).unwrap_or(body);
    [&b"2f"[..], b"5c", b"255c", b"252f", b"c0af", b"c1%9c", b"c0%af", b"2215", b"2216", b"002f"]
        .iter()
        .any(|hidden| body.starts_with(hidden))
}

/// Whether the path at `at` names a module of a program: `from "../../a"`, `require('../a')`.
fn is_import(v: &View<'_>, at: usize) -> bool {
    let start = path_start(v, at);
    let before = match v.back(start, 2).kind {
        b'(' => v.back(start, 3),
        _ => v.back(start, 2),
    };
    v.back(start, 1).is_quote() && matches!(v.text(before), b"from" | b"import" | b"require")
}

fn climbs(v: &View<'_>, hits: &mut Hits) {
    let mut climbs = 0;
    let mut dot_slashes = 0;
    for (at, &token) in v.tokens.iter().enumerate() {
        let next = v.kind(at + 1);
        let slashed = is_slash(next) && v.joined(at + 1);
        match token.kind {
            shape::DOT2 if slashed && is_import(v, at) => {}
            shape::DOT2 => {
                if slashed {
                    climbs += 1;
                    hits.add(f::P_CLIMB1, token.start);
                    if at == 0 {
                        hits.add(f::P_CLIMB_END, token.start);
                    }
                } else if is_slash(v.back(at, 1).kind) && next == shape::NONE {
                    climbs += 1;
                    hits.add(f::P_CLIMB_END, token.start);
                } else if is_hidden_slash(v.low.get(usize::from(token.end)..).unwrap_or_default()) {
                    climbs += 1;
                    hits.add(f::P_MANGLED, token.start);
                } else if v.joined(at + 1)
                    && v.low.get(usize::from(token.end)).is_some_and(|b| *b >= 0x80)
                {
                    // A slash of another alphabet, which a best-fit mapping makes one.
                    climbs += 1;
                    hits.add(f::P_MANGLED, token.start);
                } else if matches!(next, b';' | shape::CONTROL | b'?' | b'#')
                    && is_slash(v.kind(at + 2))
                {
                    climbs += 1;
                    hits.add(f::P_MANGLED, token.start);
                }
            }
            shape::DOTS if slashed || is_slash(v.back(at, 1).kind) => {
                hits.add(f::P_DOTS, token.start);
                climbs += 1;
            }
            b'.' if slashed => {
                let before = v.back(at, 1).kind;
                if is_slash(before) || at == 0 {
                    dot_slashes += 1;
                    // `\.\d` is a regular expression.
                    let class = v.at(at + 2).is_word() && v.word(at + 2).len() == 1;
                    if !class && (next == b'\\' || before == b'\\') {
                        hits.add(f::P_MANGLED, token.start);
                    }
                }
            }
            shape::MIXED | shape::HEX if v.text(token).starts_with(b"0x2e0x2e") => {
                climbs += v.text(token).windows(8).filter(|w| *w == b"0x2e0x2e").count();
                hits.add(f::P_MANGLED, token.start);
            }
            _ => {}
        }
    }
    if climbs >= 2 {
        hits.add(f::P_CLIMB2, 0);
    }
    if climbs >= 4 {
        hits.add(f::P_CLIMB4, 0);
    }
    if dot_slashes >= 3 {
        hits.add(f::P_DOT_SLASHES, 0);
    }
}

/// Whether `word` ends the name of a server's own file.
fn is_server_extension(word: &[u8]) -> bool {
    matches!(
        word,
        b"ini"
            | b"conf"
            | b"cfg"
            | b"cnf"
            | b"log"
            | b"bak"
            | b"sys"
            | b"htaccess"
            | b"htpasswd"
            | b"dit"
            | b"asa"
            | b"sam"
            | b"inc"
    )
}

/// The directories below the root of a Unix system that hold what is its own.
fn is_root_directory(word: &[u8]) -> bool {
    matches!(
        word,
        b"etc"
            | b"var"
            | b"usr"
            | b"proc"
            | b"root"
            | b"opt"
            | b"tmp"
            | b"boot"
            | b"dev"
            | b"bin"
            | b"sbin"
            | b"lib"
            | b"mnt"
            | b"srv"
            | b"sys"
            | b"home"
            | b"volumes"
            | b"library"
            | b"private"
            | b"windows"
            | b"winnt"
            | b"apache"
            | b"apache2"
            | b"logs"
            | b"log"
            | b"xampp"
            | b"inetpub"
    )
}

/// Where servers keep their own on Windows, below a drive.
fn is_drive_directory(word: &[u8]) -> bool {
    matches!(word, b"wamp" | b"lampp" | b"php" | b"mysql" | b"programfiles" | b"programdata")
}

/// Whether the path at `at` is named in a text: in quotes, or behind a blank.
fn is_named(v: &View<'_>, at: usize) -> bool {
    at > 0 && (v.back(at, 1).is_quote() || v.at(at).spaced)
}

/// The first token of the path that the token at `at` belongs to, as far as that is looked back for.
pub(super) fn path_start(v: &View<'_>, at: usize) -> usize {
    /// Tokens: a dozen directories.
    const REACH: usize = 24;
    let end = at.saturating_sub(REACH);
    let mut start = at;
    while start > end && v.joined(start) && !v.back(start, 1).is_quote() {
        start -= 1;
    }
    start
}

/// Whether the backslash at `at` stands between names; in `\r\nb` and `\"a\"` none does.
fn is_between_names(v: &View<'_>, at: usize) -> bool {
    let (before, next) = (v.back(at, 1), v.at(at + 1));
    let name = before.is_operand() && before.end - before.start > 1
        || matches!(before.kind, b':' | b')' | b'.' | b'%' | b'\\' | shape::DOT2);
    (next.is_word() || next.kind == b'\\') && v.joined(at + 1) && (at == 0 || v.joined(at) && name)
}

/// Finds the path features of `v`.
pub(super) fn detect(v: &View<'_>, hits: &mut Hits) {
    if v.has_any(&[shape::DOT2, shape::DOTS, b'.', shape::MIXED, shape::HEX]) {
        climbs(v, hits);
    }
    if !v.has_any(&[b'/', b'\\', shape::SLASH2, b':']) {
        return;
    }
    let mut backslashes = 0;
    let mut run = 0;
    for (at, &token) in v.tokens.iter().enumerate() {
        let next = v.at(at + 1);
        if token.kind == b'\\' || token.kind == b'/' {
            run = if v.joined(at) && is_slash(v.back(at, 1).kind) { run + 1 } else { 0 };
            if run >= 3 {
                hits.add(f::P_SLASHES, token.start);
            }
        }
        match token.kind {
            shape::SLASH2 if token.end - token.start >= 4 => hits.add(f::P_SLASHES, token.start),
            b'\\' if is_between_names(v, at) => {
                backslashes += 1;
                if backslashes == 2 {
                    hits.add(f::P_BACKSLASH, token.start);
                }
            }
            b':' => {
                let drive = v.back(at, 1);
                if matches!(v.text(drive), [b'a'..=b'z'])
                    && is_slash(next.kind)
                    && (at == 1 || !v.joined(at - 1) || !v.back(at, 2).is_word())
                {
                    hits.add(f::P_DRIVE, drive.start);
                }
                if drive.cats & cat::SCHEME != 0
                    && is_slash(next.kind)
                    && matches!(
                        v.text(drive),
                        b"file"
                            | b"php"
                            | b"phar"
                            | b"zip"
                            | b"expect"
                            | b"glob"
                            | b"zlib"
                            | b"jar"
                            | b"compress"
                            | b"ogg"
                            | b"ssh2"
                            | b"netdoc"
                    )
                {
                    hits.add(f::P_WRAPPER, drive.start);
                }
            }
            _ => {}
        }
        if token.kind == kind::ETC && is_slash(next.kind) && v.at(at + 2).cats & cat::FILE != 0 {
            // Of most of them documents speak, too.
            let secret = matches!(v.word(at + 2), b"passwd" | b"shadow" | b"sudoers");
            if secret || at == 0 || !is_named(v, at - 1) {
                hits.add(f::P_FILE, token.start);
            }
        }
        let after_slash = is_slash(token.kind);
        if after_slash && next.is_word() {
            let further = is_slash(v.kind(at + 2));
            let root = at == 0 || !v.joined(at) || !v.back(at, 1).is_word();
            match v.text(next) {
                b"etc" if further && !is_named(v, at) => hits.add(f::P_ETC, token.start),
                b"proc" | b"root" | b"winnt" | b"boot" | b"windows" | b"system32" | b"usr"
                | b"opt" | b"var"
                    // `#!/usr/bin/env`.
                    if further && root && !is_named(v, at) && v.back(at, 1).kind != b'!' =>
                {
                    hits.add(f::P_SYSTEM_DIR, token.start);
                }
                _ => {}
            }
            let drive = at == 2 && v.kind(1) == b':' && v.word(0).len() == 1;
            let word = v.text(next);
            let own = further && (is_root_directory(word) || (drive && is_drive_directory(word)))
                || (word == b"program" && v.word(at + 2) == b"files");
            // A line that starts with a path, and goes on about it, is no path.
            let words = || v.tokens.iter().filter(|t| t.spaced && t.is_word()).count();
            if (at == 0 || drive) && own && !v.is_path && words() < 4 {
                hits.add(f::P_ABSOLUTE, token.start);
            }
            if next.cats & cat::FILE != 0
                && matches!(
                    v.text(next),
                    b"passwd"
                        | b"shadow"
                        | b"id_rsa"
                        | b"id_dsa"
                        | b"authorized_keys"
                        | b"environ"
                        | b"cmdline"
                        | b"sudoers"
                        | b"bash_history"
                        | b"grub"
                        | b"access_log"
                        | b"error_log"
                        | b"pagefile"
                        | b"inputrc"
                        | b"fstab"
                        | b"crontab"
                        | b"known_hosts"
                )
            {
                hits.add(f::P_FILE, next.start);
            }
            // web-inf and meta-inf are three tokens.
            if v.kind(at + 2) == b'-' && v.word(at + 3) == b"inf" {
                hits.add(f::P_FILE, next.start);
            }
        }
        if token.kind == b'.' && next.is_word() {
            let before = v.back(at, 1);
            if (is_slash(before.kind) || at == 0)
                && matches!(
                    v.text(next),
                    b"ssh"
                        | b"git"
                        | b"svn"
                        | b"env"
                        | b"htaccess"
                        | b"htpasswd"
                        | b"bash_history"
                        | b"aws"
                        | b"bashrc"
                        | b"profile"
                        | b"mysql_history"
                        | b"ds_store"
                        | b"hg"
                )
            {
                hits.add(f::P_DOT_FILE, token.start);
            }
            if is_server_extension(v.text(next)) && before.is_word() && is_slash(v.back(at, 2).kind)
            {
                if !v.is_path && !is_named(v, path_start(v, at)) {
                    hits.add(f::P_LOG, before.start);
                }
                if matches!(
                    (v.text(before), v.text(next)),
                    (
                        b"boot" | b"win" | b"php" | b"my" | b"system" | b"desktop" | b"windows",
                        b"ini"
                    ) | (b"httpd" | b"nginx" | b"resolv" | b"my", b"conf")
                        | (b"my", b"cnf")
                ) {
                    hits.add(f::P_FILE, before.start);
                }
            }
        }
        if matches!(token.kind, kind::FILE) && v.trace.nul {
            hits.add(f::P_NUL_EXTENSION, token.start);
        }
        if token.kind == shape::CONTROL
            && v.low.get(usize::from(token.start)) == Some(&0)
            && (v.has(b'/') || v.has(b'\\'))
        {
            hits.add(f::P_NUL_EXTENSION, token.start);
        }
    }
}
