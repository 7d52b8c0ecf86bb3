//! What looks like SQL and is writing, or program code.

use super::{
    keywords::{cat, kind},
    lex::{Token, shape},
    view::View,
};

/// Whether `kind` is seldom seen in prose.
pub(super) const fn is_strong(kind: u8) -> bool {
    matches!(
        kind,
        kind::SELECT
            | kind::UNION
            | kind::WHERE
            | kind::HAVING
            | kind::VERB
            | kind::TABLE
            | kind::NULL
            | kind::INTO
            | kind::VALUES
            | kind::WAITFOR
            | kind::EXEC
            | kind::OUTFILE
            | kind::SQL_SYS
    )
}

/// Words that stand before a noun or for one, and where no query has them.
pub(super) fn is_article(word: &[u8]) -> bool {
    matches!(
        word,
        b"the"
            | b"an"
            | b"my"
            | b"your"
            | b"our"
            | b"their"
            | b"his"
            | b"its"
            | b"this"
            | b"these"
            | b"that"
            | b"them"
            | b"it"
            | b"us"
            | b"you"
            | b"me"
    )
}

/// Whether a word that stands for others of its kind is one that programs and JSON seldom have:
/// `true` is written like NULL, and `column` like TABLE; `select, insert and update` are a list.
pub(super) fn is_sure(v: &View<'_>, at: usize) -> bool {
    // In an enumeration, or part of a longer name.
    let listed = matches!(v.kind(at + 1), b',' | b'.' | b'-' | b')') && v.joined(at + 1);
    match v.kind(at) {
        kind::SELECT | kind::VERB | kind::UNION | kind::INTO if listed => false,
        kind::NULL => v.word(at) == b"null",
        kind::TABLE => v.word(at) == b"table" || v.back(at, 1).kind == kind::VERB,
        _ => true,
    }
}

/// Whether the word at `at` is used as in writing: an article before it, or one behind.
pub(super) fn is_written(v: &View<'_>, at: usize) -> bool {
    at > 0 && is_article(v.text(v.back(at, 1))) || is_article(v.word(at + 1))
}

/// Whether the token is a word that no query has, and stands apart from what is before it.
pub(super) const fn is_plain(token: Token) -> bool {
    token.spaced && token.is_word() && token.cats & (cat::SQL | cat::SQL_FN | cat::SQL_SYS) == 0
}

/// Whether the quote at `at` and the one behind its next hold a single mark, as program code
/// compares with: `b == b'='`. In front of an attack's stands what it breaks out of, or nothing.
pub(super) fn is_char_literal(v: &View<'_>, at: usize) -> bool {
    let (before, quote) = (v.back(at, 1), v.at(at));
    let prefix = before.end - before.start == 1 && matches!(v.text(before), b"b" | b"u");
    let apart = quote.spaced
        || prefix
        || matches!(
            before.kind,
            b'(' | b',' | b'=' | b'|' | b'[' | shape::EQUALS2 | shape::COMPARE
        );
    (at > 0 && apart || v.kind(at + 3) == b',')
        && v.joined(at + 1)
        && v.at(at + 1).end - v.at(at + 1).start <= 2
        && !v.at(at + 1).is_operand()
        && v.kind(at + 2) == quote.kind
        && v.joined(at + 2)
        && !v.at(at + 3).is_operand()
        && !v.at(at + 3).is_quote()
}

/// Whether the function at `at` is a method of a program's object, as `time.sleep(`; packages and
/// schemas of databases have functions, too.
pub(super) fn is_method(v: &View<'_>, at: usize) -> bool {
    let object = v.back(at, 2);
    let text = v.text(object);
    let package = object.cats & cat::SQL_SYS != 0
        || [&b"dbms"[..], b"utl_", b"user_lock", b"sys", b"dbo", b"pg_", b"ctx"]
            .iter()
            .any(|start| text.starts_with(start));
    v.back(at, 1).kind == b'.' && v.joined(at) && !package
}

/// Whether a call of `word` says nothing, as programs have functions of that name and no other word
/// of SQL is there.
pub(super) fn is_usual(v: &View<'_>, word: &[u8]) -> bool {
    const CLAUSES: [u8; 9] = [
        kind::SELECT,
        kind::UNION,
        kind::FROM,
        kind::WHERE,
        kind::OR,
        kind::AND,
        kind::HAVING,
        kind::ORDER,
        kind::LIKE,
    ];
    let name = matches!(
        word,
        b"len"
            | b"min"
            | b"max"
            | b"sum"
            | b"avg"
            | b"count"
            | b"length"
            | b"floor"
            | b"exp"
            | b"rand"
            | b"bin"
            | b"oct"
            | b"ord"
            | b"chr"
            | b"upper"
            | b"lower"
            | b"reverse"
            | b"repeat"
            | b"strcmp"
            | b"position"
            | b"locate"
            | b"quote"
            | b"now"
            | b"typeof"
            | b"version"
            | b"user"
    );
    name && !v.has_any(&CLAUSES) && v.cats & cat::SQL_SYS == 0
}

/// Whether a statement starts at `at`; `; insert the card` is none.
pub(super) fn is_statement(v: &View<'_>, at: usize) -> bool {
    let verb = v.at(at);
    let next = v.at(at + 1);
    verb.cats & cat::SQL_VERB != 0
        && verb.kind != kind::IF
        && (verb.kind == kind::WAITFOR
            || !next.is_word()
            || next.cats & (cat::SQL | cat::SQL_SYS) != 0
            || v.kind(at + 2) == b'(')
}
