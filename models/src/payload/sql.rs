//! SQL in places where it changes a query.

use super::{
    keywords::{cat, kind},
    lex::{Token, is_bool, is_clause, is_compare, shape},
    schema::f,
    view::{Hits, View},
    writing::{
        is_article, is_char_literal, is_method, is_plain, is_statement, is_strong, is_sure,
        is_usual, is_written,
    },
};

/// Closing parentheses that are looked past: deeper nesting is not guessed at, and the work for
/// a value of nothing else stays linear.
const MAX_CLOSERS: usize = 8;

/// Past closing parentheses, quotes and comment ends.
fn past_closers(v: &View<'_>, mut at: usize) -> usize {
    let end = at + MAX_CLOSERS;
    while at < end && matches!(v.kind(at), b')' | shape::COMMENT | shape::COMMENT_END) {
        at += 1;
    }
    at
}

/// Where a comparison stands within a few tokens from `at` on, nothing but an operand between.
fn compare_after(v: &View<'_>, at: usize) -> Option<usize> {
    let mut words = 0;
    for place in at..at + 10 {
        let token = v.at(place);
        if is_compare(token.kind) && place > at {
            // `a is` and `b in` are English without something quoted, numbered or called behind.
            let plain = matches!(token.kind, kind::IN | kind::IS | kind::LIKE | kind::BETWEEN);
            let next = v.at(place + 1);
            let telling = next.is_quote()
                || next.is_number()
                || matches!(next.kind, b'(' | kind::NULL | kind::NOT);
            return (!plain || telling).then_some(place);
        }
        match token.kind {
            b'('
            | b')'
            | b'.'
            | b','
            | b'@'
            | b'+'
            | b'-'
            | b'*'
            | b'!'
            | b'%'
            | kind::NOT
            | kind::SELECT
            | shape::COMMENT
            | shape::COMMENT_END
            | shape::AT2 => {}
            _ if token.is_quote() => {}
            _ if token.is_operand() => {
                words += 1;
                if words > 3 {
                    return None;
                }
            }
            _ => return None,
        }
    }
    None
}

/// The operand beside a comparison, and whether it is quoted.
fn operand(v: &View<'_>, place: usize, right: bool) -> (Token, bool) {
    let step = |n: usize| if right { v.at(place + n) } else { v.back(place, n) };
    let first = step(1);
    if first.is_quote() || first.kind == b'(' || first.kind == b')' {
        (step(2), first.is_quote())
    } else {
        (first, false)
    }
}

fn comparison(v: &View<'_>, place: usize, hits: &mut Hits) {
    let token = v.at(place);
    if place > 1 && is_char_literal(v, place - 1) {
        return;
    }
    let (left, left_quoted) = operand(v, place, false);
    let (right, right_quoted) = operand(v, place, true);
    if left_quoted && right_quoted {
        hits.add(f::S_QUOTED_EQUAL, left.start);
    }
    // `1=1 shirt`: what a query compares first has no plain word behind it.
    let behind = v.at(place + 2);
    if place == 1 && right.is_number() && is_plain(behind) {
        return;
    }
    if left.is_number() && right.is_number() {
        hits.add(f::S_NUMBERS_EQUAL, left.start);
    }
    let same = !v.text(left).is_empty() && v.text(left) == v.text(right);
    let both_empty = left.is_quote() && right.is_quote() && matches!(token.kind, b'=' | kind::LIKE);
    // `kind = "kind"` is an assignment, unless it is behind an OR.
    let quoted = left_quoted && right_quoted
        || (left_quoted || right_quoted)
            && (1..4)
                .any(|n| is_bool(v.back(place, n).kind) || v.back(place, n).kind == kind::HAVING);
    // `or a=a`.
    let joined = is_bool(v.back(place, 2).kind) && left.is_word();
    if (same && (quoted || left.is_number() || joined)) || (both_empty && left_quoted) {
        hits.add(f::S_TAUTOLOGY, left.start);
    }
}

/// Whether a comment that starts at `at` ends the value, but for what may stand behind `--`.
fn is_tail(v: &View<'_>, at: usize) -> bool {
    let rest = v.tokens.len().saturating_sub(at + 1);
    rest == 0
        || (rest == 1
            && (v.at(at + 1).spaced || !v.at(at + 1).is_word())
            && matches!(
                v.at(at + 1).kind,
                b'-' | b'+'
                    | b'='
                    | b'\''
                    | b'"'
                    | b';'
                    | shape::WORD
                    | kind::TAG
                    | shape::NUMBER
                    | shape::COMMENT_END
            ))
}

fn comment(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let before = v.back(at, 1);
    let value_before = before.is_number() || before.kind == b')' || before.is_quote();
    // `rug -- grey` is writing, `j--;` counts down.
    let query = value_before || v.has_any(b"'\"") || v.cats & (cat::SQL | cat::SQL_SYS) != 0;
    let writing = before.is_operand()
        && (!query && v.at(at + 1).is_word() || !token.spaced && v.kind(at + 1) == b';');
    match token.kind {
        shape::DASH2 if is_tail(v, at) && !writing => {
            hits.add(f::S_COMMENT_TAIL, token.start);
            if value_before {
                hits.add(f::S_NUMBER_COMMENT, before.start);
            }
        }
        b'#' if v.kind(at + 1) == shape::NONE && (value_before || token.spaced) => {
            hits.add(f::S_HASH_TAIL, token.start);
            if value_before {
                hits.add(f::S_NUMBER_COMMENT, before.start);
            }
        }
        shape::COMMENT => {
            if v.kind(at + 1) == b'!' {
                hits.add(f::S_COMMENT_VERSION, token.start);
            }
            if let Some(end) = v.find(at + 1, 8, |t| t.kind == shape::COMMENT_END) {
                let after = v.at(end + 1);
                if (before.is_operand() || value_before)
                    && (after.is_operand() || after.kind == b'(' || is_compare(after.kind))
                {
                    hits.add(f::S_COMMENT_INLINE, token.start);
                }
            } else if v.kind(at + 1) == shape::NONE && (value_before || before.is_word()) {
                hits.add(f::S_COMMENT_TAIL, token.start);
            }
        }
        _ => {}
    }
}

/// A quote that no quote before it opened.
fn open_quote(v: &View<'_>, at: usize, hits: &mut Hits) {
    let quote = v.at(at);
    let next = v.at(at + 1);
    if is_char_literal(v, at) {
        return;
    }
    if next.kind == b')' {
        hits.add(f::S_QUOTE_PAREN, quote.start);
    }
    let behind = past_closers(v, at + 1);
    let after = v.at(behind);
    let apart = after.spaced || behind > at + 1 || !after.is_word();
    // `"or" wall letters`: a word in quotes, and nothing that it joins.
    let enclosed = v.kind(behind + 1) == quote.kind
        && v.joined(behind)
        && v.joined(behind + 1)
        && !(v.joined(behind + 2) && v.at(behind + 2).is_operand());
    if is_bool(after.kind)
        && !enclosed
        && (apart || v.at(behind + 1).is_number() || v.at(behind + 1).is_quote())
    {
        hits.add(f::S_QUOTE_BOOL, quote.start);
        if compare_after(v, behind + 1).is_some() {
            hits.add(f::S_QUOTE_BOOL_COMPARE, quote.start);
        }
    }
    match after.kind {
        // `--option` in backticks is documentation, and in double quotes an argument.
        shape::DASH2 | shape::COMMENT
            if quote.kind != b'`'
                && !(quote.kind == b'"' && v.joined(behind + 1) && v.at(behind + 1).is_word()) =>
        {
            hits.add(f::S_QUOTE_COMMENT, quote.start);
        }
        b'#' if v.kind(behind + 1) == shape::NONE => hits.add(f::S_QUOTE_COMMENT, quote.start),
        b';' => {
            if v.at(behind + 1).cats & cat::SQL_VERB != 0 {
                hits.add(f::S_QUOTE_STACKED, quote.start);
            } else if matches!(v.kind(behind + 1), shape::DASH2 | b'#') {
                hits.add(f::S_QUOTE_COMMENT, quote.start);
            }
        }
        b'+'
        | b'|'
        | b'*'
        | b'%'
        | b'^'
        | b'='
        | b'<'
        | b'>'
        | shape::OR2
        | shape::COMPARE
        | b'&'
            if (at > 0 || v.tokens.len() > 2)
                // `'%s: %d'` is a format.
                && !(after.kind == b'%' && v.joined(behind + 1) && v.at(behind + 1).is_word()) =>
        {
            hits.add(f::S_QUOTE_OPERATOR, quote.start);
        }
        kind if apart
            && (is_clause(kind)
                || matches!(kind, kind::LIKE | kind::IN | kind::IS | kind::NOT)) =>
        {
            hits.add(f::S_QUOTE_WORD, quote.start);
        }
        _ => {}
    }
    let before = v.back(at, 1);
    if (before.is_operand() || before.kind == b')')
        && !quote.spaced
        && (next.spaced || !next.is_word())
        && next.kind != shape::NONE
    {
        hits.add(f::S_VALUE_QUOTE, quote.start);
    }
}

fn select(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let mut first = at + 1;
    while first < at + MAX_CLOSERS
        && matches!(v.kind(first), kind::ALL | kind::LIMIT | shape::COMMENT | shape::COMMENT_END)
    {
        first += 1;
    }
    let item = v.at(first);
    let call = item.is_word() && v.kind(first + 1) == b'(' && v.joined(first + 1);
    // `select (manager)` and `Select's` are no SQL.
    let inner = v.at(first + 1);
    let nested = item.kind == b'('
        && (inner.kind == kind::SELECT || !inner.is_word() || v.kind(first + 2) == b'(');
    let rated = item.kind == b'*' && is_plain(v.at(first + 1));
    let telling = !rated && matches!(item.kind, b'*' | b'@' | shape::AT2 | kind::NULL | kind::CASE)
        || item.is_number()
        || (item.is_quote() && item.spaced)
        || nested
        || call;
    if telling {
        hits.add(f::S_SELECT_VALUE, token.start);
    }
    let list = v.kind(first + 1) == b',';
    if list {
        hits.add(f::S_SELECT_LIST, token.start);
    }
    if v.back(at, 1).kind == b'(' {
        hits.add(f::S_SUBSELECT, token.start);
    }
    if let Some(from) = v.find(at + 1, 40, |t| t.kind == kind::FROM)
        && !is_article(v.word(from + 1))
        && !is_written(v, at)
    {
        hits.add(f::S_SELECT_FROM, token.start);
        let mut end = from + 2;
        while end < from + MAX_CLOSERS && matches!(v.kind(end), b'.' | b'`' | b']') {
            end += 2;
        }
        let clause = is_clause(v.kind(end))
            || matches!(
                v.kind(end),
                b';' | b')' | b'#' | shape::DASH2 | shape::COMMENT | b'\'' | b'"'
            )
            || is_bool(v.kind(end));
        let alone = v.kind(end) == shape::NONE;
        if ((telling || list) && (clause || alone)) || (clause && from == at + 2) {
            hits.add(f::S_SELECT_FROM_STRICT, token.start);
        }
    }
}

fn verb(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.at(at + 1);
    let ends = |place: usize| {
        matches!(
            v.kind(place),
            shape::NONE | b';' | b'(' | shape::DASH2 | b'#' | b'\'' | kind::WHERE | kind::IF
        )
    };
    if next.kind == kind::TABLE && (ends(at + 3) || v.kind(at + 2) == kind::IF) {
        hits.add(f::S_DDL, token.start);
    }
    let into = next.kind == kind::INTO
        && v.find(at + 2, 24, |t| matches!(t.kind, kind::VALUES | kind::SELECT)).is_some();
    let delete = next.kind == kind::FROM && v.at(at + 2).is_word() && ends(at + 3);
    let update =
        v.find(at + 2, 4, |t| t.kind == kind::SET).is_some_and(|set| v.kind(set + 2) == b'=');
    if into || delete || update {
        hits.add(f::S_INSERT, token.start);
    }
}

fn call(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let word = v.text(token);
    if !is_usual(v, word) {
        hits.add(f::S_CALL, token.start);
    }
    match word {
        b"sleep" | b"pg_sleep" | b"benchmark" | b"randomblob" | b"zeroblob"
        | b"generate_series"
            // `sleep(ing) bag`.
            if !(v.kind(at + 2) == shape::WORD
                && v.kind(at + 3) == b')'
                && v.word(at + 2).first() != Some(&b'_')) =>
        {
            hits.add(f::S_TIME, token.start);
            if v.at(at + 2).is_number() || v.kind(at + 2) == b'_' {
                hits.add(f::S_SLEEP, token.start);
            }
        }
        b"char" | b"chr" if v.at(at + 2).is_number() => hits.add(f::S_CONCAT_CHAR, token.start),
        b"cast" | b"convert"
            if v.find(at + 2, 16, |t| t.kind == kind::AS || t.kind == kind::SQL_WORD).is_some() =>
        {
            hits.add(f::S_CONVERT, token.start);
        }
        _ => {}
    }
}

/// Words in any place.
fn word(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.at(at + 1);
    if token.cats & cat::SQL_FN != 0 && v.is_called(at) && !is_method(v, at) {
        call(v, at, hits);
    }
    if token.cats & cat::SQL_SYS != 0 {
        let text = v.text(token);
        let sure = text.contains(&b'_')
            || text.starts_with(b"sys")
            || text.starts_with(b"msys")
            || text == b"ctxsys";
        let placed = v.back(at, 1).kind == kind::FROM || matches!(next.kind, b'.' | shape::DOT2);
        if sure || (placed && v.cats & cat::SQL_VERB != 0) {
            hits.add(f::S_SYSTEM_TABLE, token.start);
        }
    }
    match token.kind {
        kind::SELECT => select(v, at, hits),
        kind::UNION => {
            let then = v.find(at + 1, 8, |t| t.kind == kind::SELECT);
            if then.is_some_and(|s| {
                // `union select committee`: a query selects something from somewhere, or ends there.
                let plain = at == 0
                    && matches!(v.kind(s + 1), shape::WORD | kind::TAG)
                    && (v.kind(s + 2) == shape::NONE || v.at(s + 2).kind == shape::WORD);
                !plain
                    && (at + 1..s).all(|p| {
                        matches!(
                            v.kind(p),
                            kind::ALL
                                | b'('
                                | b'+'
                                | b'/'
                                | b'*'
                                | b'!'
                                | shape::COMMENT
                                | shape::COMMENT_END
                                | shape::NUMBER
                                | shape::NEWLINE
                                | shape::DASH2
                                | b'#'
                                | shape::CONTROL
                                | b'%'
                                | shape::WORD
                        )
                    })
            }) {
                hits.add(f::S_UNION_SELECT, token.start);
            }
        }
        kind::VERB => verb(v, at, hits),
        kind::ORDER | kind::GROUP if next.kind == kind::BY => {
            hits.add(f::S_ORDER_BY, token.start);
            // `order by 5 pm` is writing.
            if v.at(at + 2).is_number() && !is_plain(v.at(at + 3)) {
                hits.add(f::S_ORDER_NUMBER, token.start);
            }
        }
        kind::HAVING if compare_after(v, at + 1).is_some() => hits.add(f::S_HAVING, token.start),
        kind::WHERE if compare_after(v, at + 1).is_some() => {
            hits.add(f::S_WHERE_COMPARE, token.start);
        }
        kind::LIMIT if next.is_number() && matches!(v.text(token), b"limit" | b"offset") => {
            hits.add(f::S_LIMIT, token.start);
        }
        kind::LIMIT if next.is_word() && v.kind(at + 2) == b'(' => hits.add(f::S_CALL, token.start),
        kind::WAITFOR if next.kind == kind::DELAY || v.text(next) == b"time" => {
            hits.add(f::S_TIME, token.start);
            hits.add(f::S_SLEEP, token.start);
        }
        kind::EXEC => {
            let text = v.text(token);
            let procedure = |w: &[u8]| w.starts_with(b"xp_") || w.starts_with(b"sp_");
            if procedure(text)
                || procedure(v.word(at + 1))
                || next.kind == b'@'
                || (next.cats & cat::SQL_SYS != 0 && matches!(v.kind(at + 2), b'.' | shape::DOT2))
                || (next.kind == b'(' && matches!(v.kind(at + 2), b'@' | b'\''))
            {
                hits.add(f::S_EXEC, token.start);
            }
        }
        kind::CASE
            if v.find(at + 1, 12, |t| t.kind == kind::WHEN).is_some_and(|when| {
                v.kind(when + 1) == b'('
                    || compare_after(v, when + 1).is_some()
                    || v.find(when + 1, 24, |t| v.text(t) == b"then").is_some_and(|then| {
                        let value = v.at(then + 1);
                        value.is_number()
                            || value.is_quote()
                            || matches!(value.kind, b'(' | b'-' | kind::NULL)
                            || v.find(then, 12, |t| v.text(t) == b"else").is_some()
                    })
            }) =>
        {
            hits.add(f::S_CASE_WHEN, token.start);
        }
        kind::IF
            if next.kind == b'('
                && v.cats & cat::SQL_FN != 0
                && compare_after(v, at + 2).is_some() =>
        {
            hits.add(f::S_CASE_WHEN, token.start);
        }
        kind::OUTFILE => hits.add(f::S_OUTFILE, token.start),
        kind::NULL if next.kind == b',' && v.kind(at + 2) == kind::NULL => {
            hits.add(f::S_NULLS, token.start);
        }
        _ => {}
    }
}

/// What the value starts with.
fn front(v: &View<'_>, hits: &mut Hits) {
    let minus = usize::from(matches!(v.kind(0), b'-' | b'+'));
    let first = v.at(minus);
    let number = first.is_number() || first.kind == shape::MIXED;
    if number && v.at(minus + 1).is_quote() {
        hits.add(f::S_NUMBER_QUOTE, first.start);
    }
    let behind = past_closers(v, minus + 1);
    if number
        && (is_clause(v.kind(behind))
            || (is_bool(v.kind(behind)) && compare_after(v, behind + 1).is_some()))
    {
        hits.add(f::S_NUMBER_CLAUSE, first.start);
    }
    if is_bool(first.kind)
        && (v.at(minus + 1).is_number()
            || v.at(minus + 1).is_quote()
            || v.kind(minus + 1) == b'('
                && (first.is_word() || v.at(minus + 2).cats & cat::SQL_VERB != 0)
            || (first.is_word() && compare_after(v, minus + 1).is_some()))
    {
        hits.add(f::S_BOOL_FIRST, first.start);
    }
    let second = v.at(minus + 1);
    if is_strong(first.kind)
        && first.kind != kind::TABLE
        && first.kind != kind::NULL
        && (!second.is_word() || second.cats & cat::SQL != 0)
        && second.kind != shape::NONE
    {
        hits.add(f::S_FRAGMENTS, first.start);
    }
}

/// Finds the SQL features of `v`.
pub(super) fn detect(v: &View<'_>, hits: &mut Hits) {
    let quoted = v.has_any(b"'\"`");
    if !quoted
        && v.cats & (cat::SQL | cat::SQL_FN | cat::SQL_SYS) == 0
        && !v.has_any(&[
            shape::DASH2,
            shape::COMMENT,
            b'#',
            b'=',
            shape::AT2,
            shape::OR2,
            shape::AND2,
            shape::HEX,
        ])
    {
        return;
    }
    front(v, hits);
    let mut opened = [false; 3];
    let mut strong = 0;
    for (at, &token) in v.tokens.iter().enumerate() {
        match token.kind {
            b'\'' | b'"' | b'`' => {
                let which = usize::from(token.kind == b'"') + 2 * usize::from(token.kind == b'`');
                if let Some(open) = opened.get_mut(which) {
                    // `"a \"b\""`: within a string of a program.
                    let escaped = *open && v.joined(at) && v.back(at, 1).kind == b'\\';
                    // The mark in `'"'` opens nothing.
                    if escaped || at > 0 && v.back(at, 1).is_quote() && is_char_literal(v, at - 1) {
                        continue;
                    }
                    if !*open {
                        open_quote(v, at, hits);
                        if at == 0 {
                            hits.add(f::S_QUOTE_FIRST, token.start);
                        }
                    }
                    *open = !*open;
                }
            }
            shape::DASH2 | b'#' | shape::COMMENT => comment(v, at, hits),
            b';' if is_statement(v, at + 1) => {
                hits.add(f::S_STACKED, token.start);
            }
            shape::AT2 if v.at(at + 1).is_word() && v.joined(at + 1) => {
                hits.add(f::S_SYSTEM_VARIABLE, token.start);
            }
            // Longer than what programs count with.
            shape::HEX if token.end - token.start > 18 => hits.add(f::S_HEX_LITERAL, token.start),
            b')' => {
                let behind = past_closers(v, at + 1);
                let after = v.kind(behind);
                if is_clause(after) || (is_bool(after) && compare_after(v, behind + 1).is_some()) {
                    hits.add(f::S_PAREN_CLAUSE, token.start);
                }
            }
            _ => {}
        }
        if is_compare(token.kind) {
            comparison(v, at, hits);
        }
        if is_bool(token.kind)
            && let Some(place) = compare_after(v, at + 1)
        {
            hits.add(f::S_BOOL_COMPARE, token.start);
            if v.back(place, 1).is_number() && v.at(place + 1).is_number() {
                hits.add(f::S_BOOL_NUMBERS, token.start);
            }
        }
        if token.cats & (cat::SQL | cat::SQL_FN | cat::SQL_SYS) != 0 {
            word(v, at, hits);
            strong += usize::from(
                (is_strong(token.kind) && is_sure(v, at) && !is_written(v, at))
                    || (token.cats & cat::SQL_FN != 0 && v.is_called(at) && !is_method(v, at)),
            );
        }
    }
    if strong >= 3 && (quoted || v.has_any(&[b'(', b'=', b'*', b',', shape::DASH2, shape::COMMENT]))
    {
        hits.add(f::S_WORDS3, 0);
        if strong >= 5 {
            hits.add(f::S_WORDS5, 0);
        }
    }
}
