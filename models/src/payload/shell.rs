//! Shell commands and code.

use super::{
    keywords::{cat, kind},
    lex::{Token, shape},
    path,
    schema::f,
    view::{Hits, View},
};

const fn is_separator(kind: u8) -> bool {
    matches!(
        kind,
        b';' | b'|' | b'&' | shape::OR2 | shape::AND2 | shape::NEWLINE | shape::DOLLAR_PAREN
    )
}

/// What follows a command on its line.
fn has_argument(v: &View<'_>, at: usize) -> bool {
    let next = v.at(at + 1);
    next.spaced
        && (matches!(next.kind, b'-' | b'/' | b'.' | b'~' | b'*' | shape::DOT2 | shape::DASH2)
            || next.is_operand())
}

/// The command at `at`, behind a path if there is one.
fn command(v: &View<'_>, at: usize) -> usize {
    let mut place = at;
    let end = at + 10;
    while place < end
        && matches!(v.kind(place), b'/' | b'\\' | b'.' | shape::SLASH2 | shape::DOT2)
        && v.at(place + 1).is_word()
    {
        place += 1;
        if matches!(v.kind(place + 1), b'/' | b'\\') {
            place += 1;
        }
    }
    place
}

/// Commands that are everyday words all the same.
fn is_english(word: &[u8]) -> bool {
    matches!(
        word,
        b"cat"
            | b"echo"
            | b"tail"
            | b"sleep"
            | b"touch"
            | b"node"
            | b"python"
            | b"ruby"
            | b"dig"
            | b"route"
            | b"ping"
            | b"tar"
    )
}

fn separator(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let mut first = at + 1;
    let end = at + 5;
    while first < end && matches!(v.kind(first), b'\'' | b'"' | b'|' | b'&' | b'(' | b'@') {
        first += 1;
    }
    let place = command(v, first);
    let name = v.at(place);
    let ends = matches!(
        v.kind(place + 1),
        shape::NONE
            | b';'
            | b'|'
            | b'&'
            | b'`'
            | b')'
            | b'#'
            | b'"'
            | b'\''
            | shape::OR2
            | shape::AND2
            | shape::NEWLINE
            | b'<'
            | b'>'
            | b'$'
    );
    let argument = has_argument(v, place);
    // `CLI & Python library`, `more & less` are prose: a word alone is no argument behind an
    // ampersand, and everyday words are joined by it.
    let next = v.at(place + 1);
    let everyday =
        (name.cats & cat::CMD_SURE == 0 || is_english(v.text(name))) && v.back(at, 1).is_word();
    let prose = token.kind == b'&'
        && token.spaced
        && v.at(at + 1).spaced
        && (next.is_word() && next.cats & (cat::FILE | cat::CMD) == 0
            || (everyday && (next.kind == shape::NONE || next.is_operand())));
    // `(get|echo|set)` is an alternation.
    let among = token.kind == b'|'
        && v.joined(at)
        && v.joined(at + 1)
        && v.back(at, 1).is_word()
        && v.back(at, 2).kind == b'|'
        && matches!(v.kind(place + 1), b'|' | b')')
        && v.joined(place + 1);
    if name.cats & cat::CMD != 0 && (ends || argument) && !prose && !among {
        if token.kind == shape::NEWLINE {
            hits.add(f::C_NEWLINE, token.start);
        } else {
            hits.add(f::C_SEPARATOR, token.start);
        }
        if name.cats & cat::CMD_SURE != 0 {
            hits.add(f::C_SEPARATOR_SURE, token.start);
        }
        if argument && v.back(at, 1).kind != b')' {
            hits.add(f::C_SEPARATOR_ARGUMENT, token.start);
        }
    }
    if v.back(at, 1).is_quote() && name.is_word() {
        hits.add(f::C_QUOTE_SEPARATOR, token.start);
    }
}

fn sure(v: &View<'_>, first: usize, hits: &mut Hits) {
    let token = v.at(first);
    let text = v.text(token);
    // `ping.exe` is ping.
    let at =
        if v.kind(first + 1) == b'.' && v.word(first + 2) == b"exe" { first + 2 } else { first };
    let next = v.at(at + 1);
    let behind = v.at(at + 2);
    if next.spaced && next.kind == b'-' && !behind.spaced && behind.is_operand() {
        hits.add(f::C_OPTION, token.start);
        if matches!(text, b"nc" | b"ncat" | b"netcat" | b"bash" | b"sh")
            && matches!(v.text(behind), b"i" | b"e" | b"c" | b"lvp" | b"nlvp" | b"nvlp")
        {
            hits.add(f::C_REVERSE, token.start);
        }
    }
    if next.spaced
        && (matches!(next.kind, b'/' | b'~' | shape::DOT2) && next.end < u16::MAX && !behind.spaced)
        && behind.kind != shape::NONE
    {
        hits.add(f::C_COMMAND_PATH, token.start);
    }
    match text {
        b"wget" | b"curl" | b"lynx" | b"fetch"
            if next.spaced
                && v.find(at + 1, 10, |t| {
                    matches!(t.kind, kind::HTTP | shape::SLASH2) || t.kind == b'$'
                })
                .is_some() =>
        {
            hits.add(f::C_FETCH, token.start);
        }
        b"ping" | b"sleep" | b"timeout"
            if next.spaced
                && (next.is_number() || (next.kind == b'-' && v.at(at + 3).is_number())) =>
        {
            hits.add(f::C_PING, token.start);
        }
        b"cmd" | b"powershell"
            if matches!(next.kind, b'/' | b'.') || (next.spaced && next.kind == b'-') =>
        {
            hits.add(f::C_WINDOWS, token.start);
        }
        _ => {}
    }
    // `Python library for …` is writing.
    let writing = is_english(text) && next.is_word();
    if first == 0
        && !writing
        && (has_argument(v, at) || matches!(next.kind, b';' | b'|' | b'&' | b'$'))
    {
        hits.add(f::C_FIRST, token.start);
    }
    if matches!(next.kind, b';' | b'|' | b'`' | shape::OR2 | shape::AND2)
        && v.kind(at + 2) == shape::NONE
    {
        hits.add(f::C_PIPE_END, token.start);
    }
}

/// Whether the backslash at `at` is the second of two escapes as programs write them: `\r\n`, `\s\d`.
fn is_escape(v: &View<'_>, at: usize) -> bool {
    let escape =
        |word: &[u8]| matches!(word.first(), Some(b'r' | b'n' | b't' | b's' | b'd' | b'w' | b'b'));
    escape(v.text(v.back(at, 1))) && escape(v.word(at + 1))
}

/// Whether the backslash at `at` is within a path that a drive starts.
fn is_drive_path(v: &View<'_>, at: usize) -> bool {
    let start = path::path_start(v, at);
    v.word(start).len() == 1 && v.kind(start + 1) == b':'
}

/// A command broken up: `c''at`, `w\ho`, `/???/c?t`, `$@`.
fn hidden(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let inner = |t: Token| t.is_word() && !t.spaced;
    let word_before = v.back(at, 1).is_word() && !token.spaced;
    match token.kind {
        b'\'' | b'"'
            if word_before
                && v.kind(at + 1) == token.kind
                && v.joined(at + 1)
                && inner(v.at(at + 2)) =>
        {
            hits.add(f::C_HIDDEN, token.start);
        }
        b'\\'
            if word_before
                && inner(v.at(at + 1))
                && v.back(at, 2).kind == b'\\'
                && v.text(v.back(at, 1)).len() <= 2
                && !is_escape(v, at)
                && !is_drive_path(v, at) =>
        {
            hits.add(f::C_HIDDEN, token.start);
        }
        b'?' if matches!(v.back(at, 1).kind, b'/' | b'?')
            && v.kind(at + 1) == b'?'
            && v.kind(at + 2) != b' '
            && v.has(b'/') =>
        {
            hits.add(f::C_HIDDEN, token.start);
        }
        b'$' if matches!(v.kind(at + 1), b'@' | b'*') && word_before => {
            hits.add(f::C_HIDDEN, token.start);
        }
        // `x=id;$x`: what was assigned is run.
        b'$' if is_separator(v.back(at, 1).kind) && v.at(at + 1).is_word() => {
            const REACH: usize = 12;
            let name = v.word(at + 1);
            let assigned = (at.saturating_sub(REACH)..at)
                .any(|n| v.word(n) == name && v.kind(n + 1) == b'=' && v.joined(n + 1));
            if assigned {
                hits.add(f::C_HIDDEN, token.start);
            }
        }
        _ => {}
    }
}

fn code(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.kind(at + 1);
    let text = v.text(token);
    // `the system (see below)` is prose.
    let argument = v.at(at + 2);
    let object = v.text(v.back(at, 2));
    let method = v.back(at, 1).kind == b'.'
        && v.joined(at)
        && !matches!(
            object,
            b"os"
                | b"subprocess"
                | b"child_process"
                | b"process"
                | b"runtime"
                | b"popen2"
                | b"commands"
                | b"io"
                | b"kernel"
                | b"pty"
                | b"platform"
                | b"builtins"
        )
        && v.back(at, 2).kind != b')';
    // Programs load their own parts and check themselves; an address or a variable is neither.
    let own = matches!(
        text,
        b"include"
            | b"include_once"
            | b"require"
            | b"require_once"
            | b"compile"
            | b"assert"
            | b"getattr"
            | b"setattr"
    ) && v.find(at + 2, 12, |t| matches!(t.kind, b':' | b'$' | b'`')).is_none()
        && (v.cats & cat::CMD_SURE == 0 || !argument.is_quote());
    if token.cats & cat::CODE_FN != 0
        && !method
        && !own
        && next == b'('
        && (v.joined(at + 1) || argument.is_quote() || argument.kind == b'$')
    {
        hits.add(f::C_CODE_CALL, token.start);
    }
    // Every other word below has a category.
    if token.cats == 0 && text != b"os" {
        return;
    }
    let import = match text {
        b"__import__" | b"subprocess" | b"child_process" | b"processbuilder" | b"getruntime"
        | b"pcntl_exec" => true,
        b"os" => {
            next == b'.' && matches!(v.word(at + 2), b"system" | b"popen" | b"exec" | b"spawn")
        }
        _ => false,
    };
    if import {
        hits.add(f::C_CODE_IMPORT, token.start);
    }
    match text {
        b"net"
            if matches!(
                v.word(at + 1),
                b"user" | b"localgroup" | b"view" | b"start" | b"use" | b"share" | b"accounts"
            ) =>
        {
            hits.add(f::C_WINDOWS, token.start);
        }
        b"type" | b"dir" | b"copy" | b"del" | b"move"
            if v.at(at + 1).spaced
                && v.kind(at + 2) == b':'
                && matches!(v.kind(at + 3), b'\\' | b'/' | shape::NONE) =>
        {
            hits.add(f::C_WINDOWS, token.start);
        }
        b"cmd" | b"powershell" | b"certutil" | b"regsvr32"
            if next == b'.' && v.word(at + 2) == b"exe" =>
        {
            hits.add(f::C_BIN, token.start);
        }
        _ => {}
    }
}

/// Finds the shell and code features of `v`.
pub(super) fn detect(v: &View<'_>, hits: &mut Hits) {
    let marked = v.has_any(&[
        b';',
        b'|',
        b'&',
        b'`',
        b'$',
        b'<',
        b'>',
        b'(',
        b'\'',
        b'"',
        b'\\',
        b'?',
        b'%',
        shape::OR2,
        shape::AND2,
        shape::NEWLINE,
        shape::DOLLAR_PAREN,
        shape::DOLLAR_BRACE,
        shape::LT_QUESTION,
        shape::ARROWS,
    ]);
    if !marked && v.cats & (cat::CMD_SURE | cat::FILE | cat::CMD) == 0 {
        return;
    }
    let mut depth = 0_i32;
    for (at, &token) in v.tokens.iter().enumerate() {
        match token.kind {
            b'(' => depth += 1,
            b')' => depth -= 1,
            // `(Windows NT 6.3; ARM; Touch; rv:11.0)`: a list in parentheses, as in User-Agent.
            b';' if depth > 0 && v.at(at + 1).spaced && !has_argument(v, at + 1) => continue,
            _ => {}
        }
        if is_separator(token.kind) {
            separator(v, at, hits);
        }
        match token.kind {
            // A number names no command: an amount in brackets.
            shape::DOLLAR_PAREN if v.at(at + 1).is_number() && v.kind(at + 2) == b')' => {}
            // A macro's repetition, and jQuery's selectors.
            shape::DOLLAR_PAREN
                if matches!(v.kind(at + 1), b'$' | b'\'' | b'"' | b'#')
                    || matches!(v.word(at + 1), b"document" | b"this" | b"window" | b"self") => {}
            shape::DOLLAR_PAREN => hits.add(f::C_SUBSTITUTION, token.start),
            b'`' => {
                let place = command(v, at + 1);
                if v.at(place).cats & cat::CMD != 0
                    && v.find(place + 1, 24, |t| t.kind == b'`').is_some()
                    && !v.back(at, 1).is_word()
                {
                    hits.add(f::C_BACKTICK, token.start);
                }
            }
            b'(' if v.kind(at + 1) == b')'
                && v.kind(at + 2) == b'{'
                && (v.at(at + 2).spaced || at == 0)
                && v.at(at + 3).kind != shape::NONE
                // A function's name may stand in front, but in program code only.
                && (at == 0 || !v.back(at, 1).is_word()) =>
            {
                hits.add(f::C_SHELLSHOCK, token.start);
            }
            b'$' => {
                match v.word(at + 1) {
                    b"ifs" | b"path" | b"home" | b"pwd" => hits.add(f::C_IFS, token.start),
                    b"_get" | b"_post" | b"_request" | b"_server" | b"_cookie" | b"_files"
                    | b"globals" => {
                        hits.add(f::C_SUPERGLOBAL, token.start);
                    }
                    _ => {}
                }
                hidden(v, at, hits);
            }
            shape::DOLLAR_BRACE
                if matches!(v.word(at + 1), b"ifs" | b"path" | b"home" | b"pwd" | b"shell") =>
            {
                hits.add(f::C_IFS, token.start);
            }
            b'>' | shape::ARROWS => {
                let next = v.at(at + 1);
                let file = next.kind == b'/'
                    && matches!(v.word(at + 2), b"dev" | b"tmp" | b"var" | b"etc");
                let descriptor = next.kind == b'&' && v.at(at + 2).is_number();
                if file || descriptor {
                    hits.add(f::C_REDIRECT, token.start);
                }
            }
            shape::LT_QUESTION
                if v.kind(at + 1) == kind::PHP
                    || v.word(at + 1) == b"php"
                    // `<?= $title ?>` shows a variable, and runs nothing.
                    || (v.kind(at + 1) == b'='
                        && v.find(at + 2, 12, |t| matches!(t.kind, b'`' | b'(' | b'[')).is_some()) =>
            {
                hits.add(f::C_PHP, token.start);
            }
            // `%SYSTEMROOT%\repair`.
            b'%' if v.at(at + 1).is_word()
                && v.joined(at + 1)
                && v.kind(at + 2) == b'%'
                && matches!(
                    v.word(at + 1),
                    b"systemroot"
                        | b"windir"
                        | b"username"
                        | b"userprofile"
                        | b"appdata"
                        | b"temp"
                        | b"programfiles"
                        | b"comspec"
                        | b"systemdrive"
                        | b"allusersprofile"
                        | b"computername"
                        | b"userdomain"
                ) =>
            {
                hits.add(f::C_WINDOWS, token.start);
            }
            b'/' | b'\\' => {
                match v.word(at + 1) {
                    b"bin" | b"sbin" if matches!(v.kind(at + 2), b'/' | b'\\') => {
                        hits.add(f::C_BIN, token.start);
                    }
                    b"dev" if matches!(v.word(at + 3), b"tcp" | b"udp") => {
                        hits.add(f::C_REVERSE, token.start);
                    }
                    _ => {}
                }
                hidden(v, at, hits);
            }
            b'\'' | b'"' | b'?' => hidden(v, at, hits),
            _ if token.is_word() => {
                if token.cats & cat::CMD_SURE != 0 {
                    sure(v, at, hits);
                }
                code(v, at, hits);
            }
            _ => {}
        }
    }
}
