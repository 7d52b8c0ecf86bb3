//! The features of one piece of a value: what each is called, what it says and of which attack.
//!
//! Named features are 0 or 1: a structure that an engineer can point at. Behind them come two
//! hashed groups, which catch what nobody named: n-grams of token kinds, and character trigrams
//! around punctuation. Each active member of a hashed group counts `1/√n` of the group's `n`
//! active members, so that a long text does not add up to an attack.

use std::fmt;

/// What an attack is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// SQL injection (CWE-89).
    Sqli,
    /// Cross-site scripting (CWE-79).
    Xss,
    /// Path traversal and inclusion of local files (CWE-22, CWE-98).
    Traversal,
    /// Operating system commands and code (CWE-78, CWE-94), Shellshock (CVE-2014-6271) included.
    Cmdi,
    /// Log4j lookups (CVE-2021-44228).
    Log4j,
    /// Template and expression language injection (CWE-1336, CWE-917).
    Ssti,
    /// External entities, XInclude and server-side includes (CWE-611, CWE-97).
    Xxe,
    /// Requests that the server is made to send, and redirects (CWE-918, CWE-601).
    Ssrf,
    /// Operators and script in queries of document stores (CWE-943).
    Nosql,
    /// LDAP and XPath filters (CWE-90, CWE-643).
    Ldap,
    /// Serialised objects (CWE-502).
    Deserialization,
    /// Line ends in headers and logs (CWE-93, CWE-117).
    Crlf,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 12] = [
        Self::Sqli,
        Self::Xss,
        Self::Traversal,
        Self::Cmdi,
        Self::Log4j,
        Self::Ssti,
        Self::Xxe,
        Self::Ssrf,
        Self::Nosql,
        Self::Ldap,
        Self::Deserialization,
        Self::Crlf,
    ];

    /// Its stable name.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Sqli => "sqli",
            Self::Xss => "xss",
            Self::Traversal => "traversal",
            Self::Cmdi => "cmdi",
            Self::Log4j => "log4j",
            Self::Ssti => "ssti",
            Self::Xxe => "xxe",
            Self::Ssrf => "ssrf",
            Self::Nosql => "nosql",
            Self::Ldap => "ldap",
            Self::Deserialization => "deserialization",
            Self::Crlf => "crlf",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A part of the schema that is measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// How the value was encoded.
    Decoding,
    /// SQL in places where it changes a query.
    Sql,
    /// Markup and script.
    Markup,
    /// Paths and files.
    Path,
    /// Shell commands and code.
    Shell,
    /// Templates, lookups, entities, filters, addresses, objects.
    Expression,
    /// What the value is as a whole: prose, code, a list, an address.
    Shape,
    /// Hashed n-grams of token kinds.
    TokenGrams,
    /// Hashed character trigrams around punctuation.
    CharGrams,
}

impl Group {
    /// All groups, in the order of their features.
    pub const ALL: [Self; 9] = [
        Self::Decoding,
        Self::Sql,
        Self::Markup,
        Self::Path,
        Self::Shell,
        Self::Expression,
        Self::Shape,
        Self::TokenGrams,
        Self::CharGrams,
    ];
}

/// One named feature.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its stable name.
    pub id: &'static str,
    /// What it stands for, to be read by a person.
    pub means: &'static str,
    /// The group it is in.
    pub group: Group,
    /// The class it speaks for; none where it speaks for several.
    pub class: Option<Class>,
}

macro_rules! features {
    ($($name:ident $id:literal $group:ident $class:expr, $means:literal;)*) => {
        #[expect(non_camel_case_types, reason = "become constants")]
        #[repr(usize)]
        enum Index { $($name),* }
        /// Places of the named features.
        pub(super) mod f {
            use super::Index;
            $(pub(in crate::payload) const $name: usize = Index::$name as usize;)*
        }
        /// The named features, by place.
        pub const FEATURES: &[Feature] = &[$(Feature {
            id: $id, means: $means, group: Group::$group, class: $class,
        }),*];
    };
}

const SQLI: Option<Class> = Some(Class::Sqli);
const XSS: Option<Class> = Some(Class::Xss);
const PATH: Option<Class> = Some(Class::Traversal);
const CMD: Option<Class> = Some(Class::Cmdi);
const LOG4J: Option<Class> = Some(Class::Log4j);
const SSTI: Option<Class> = Some(Class::Ssti);
const XXE: Option<Class> = Some(Class::Xxe);
const SSRF: Option<Class> = Some(Class::Ssrf);
const NOSQL: Option<Class> = Some(Class::Nosql);
const LDAP: Option<Class> = Some(Class::Ldap);
const OBJECT: Option<Class> = Some(Class::Deserialization);
const CRLF: Option<Class> = Some(Class::Crlf);

features! {
    D_ROUNDS2 "encoded-twice" Decoding None, "encoded twice or more";
    D_ROUNDS3 "encoded-thrice" Decoding None, "encoded three times or more";
    D_OVERLONG "overlong-utf8" Decoding PATH, "overlong UTF-8";
    D_PERCENT_U "percent-u" Decoding None, "%uXXXX encoding";
    D_NUL "nul" Decoding None, "an encoded NUL";
    D_ENTITY "entity" Decoding None, "an HTML character reference";
    D_ESCAPE "escape" Decoding None, "a \\u or \\x escape of an ASCII character";
    D_FULL_WIDTH "full-width" Decoding None, "full-width letters in the place of ASCII";
    D_BROKEN_PERCENT "broken-percent" Decoding None, "a percent sign that hides another";
    D_NEEDLESS "needless-percent" Decoding None, "percent-encoded letters or dots";
    D_BASE64 "base64" Decoding None, "base64 of text";
    D_CONTROL "control" Decoding None, "control characters";

    S_QUOTE_BOOL "sql-quote-bool" Sql SQLI, "a quote, then OR or AND";
    S_QUOTE_BOOL_COMPARE "sql-quote-bool-compare" Sql SQLI, "a quote, then OR or AND, then a comparison";
    S_BOOL_COMPARE "sql-bool-compare" Sql SQLI, "OR or AND, then a comparison";
    S_BOOL_NUMBERS "sql-bool-numbers" Sql SQLI, "OR or AND, then numbers compared";
    S_TAUTOLOGY "sql-tautology" Sql SQLI, "something compared with itself";
    S_NUMBERS_EQUAL "sql-numbers-compared" Sql SQLI, "a number compared with a number";
    S_QUOTED_EQUAL "sql-strings-compared" Sql SQLI, "a string compared with a string";
    S_UNION_SELECT "sql-union-select" Sql SQLI, "UNION SELECT";
    S_SELECT_VALUE "sql-select-value" Sql SQLI, "SELECT of a star, number, function or variable";
    S_SELECT_LIST "sql-select-list" Sql SQLI, "SELECT of a list";
    S_SELECT_FROM "sql-select-from" Sql SQLI, "SELECT … FROM";
    S_SELECT_FROM_STRICT "sql-select-from-name" Sql SQLI, "SELECT of a name, star or call FROM a name, and then the end or a clause";
    S_SUBSELECT "sql-subselect" Sql SQLI, "a SELECT in parentheses";
    S_STACKED "sql-stacked" Sql SQLI, "a semicolon, then a statement";
    S_QUOTE_STACKED "sql-quote-stacked" Sql SQLI, "a quote, then a semicolon, then a statement";
    S_CALL "sql-call" Sql SQLI, "a call of an SQL function";
    S_TIME "sql-time" Sql SQLI, "a delay: SLEEP, WAITFOR, BENCHMARK, …";
    S_SLEEP "sql-sleep-number" Sql SQLI, "SLEEP with a number";
    S_COMMENT_TAIL "sql-comment-tail" Sql SQLI, "-- at the end or followed by a space";
    S_HASH_TAIL "sql-hash-tail" Sql SQLI, "# at the end";
    S_QUOTE_COMMENT "sql-quote-comment" Sql SQLI, "a quote, then a comment";
    S_NUMBER_COMMENT "sql-number-comment" Sql SQLI, "a number or parenthesis, then a comment";
    S_COMMENT_INLINE "sql-comment-inline" Sql SQLI, "/**/ between words";
    S_COMMENT_VERSION "sql-comment-version" Sql SQLI, "/*! … */";
    S_QUOTE_PAREN "sql-quote-parenthesis" Sql SQLI, "a quote, then a closing parenthesis";
    S_QUOTE_OPERATOR "sql-quote-operator" Sql SQLI, "a quote next to a concatenation or arithmetic operator";
    S_QUOTE_WORD "sql-quote-keyword" Sql SQLI, "a quote, then an SQL clause";
    S_QUOTE_FIRST "sql-quote-first" Sql None, "starts with a quote";
    S_VALUE_QUOTE "sql-value-quote" Sql None, "a value, then a quote, then more";
    S_NUMBER_QUOTE "sql-number-quote" Sql SQLI, "starts with a number and a quote";
    S_NUMBER_CLAUSE "sql-number-clause" Sql SQLI, "starts with a number, then an SQL clause";
    S_PAREN_CLAUSE "sql-parenthesis-clause" Sql SQLI, "closing parentheses, then an SQL clause";
    S_BOOL_FIRST "sql-bool-first" Sql SQLI, "starts with OR or AND";
    S_ORDER_NUMBER "sql-order-number" Sql SQLI, "ORDER BY or GROUP BY a number";
    S_ORDER_BY "sql-order-by" Sql SQLI, "ORDER BY or GROUP BY";
    S_HAVING "sql-having" Sql SQLI, "HAVING, then a comparison";
    S_LIMIT "sql-limit" Sql SQLI, "LIMIT or OFFSET a number";
    S_WHERE_COMPARE "sql-where-compare" Sql SQLI, "WHERE, then a comparison";
    S_SYSTEM_VARIABLE "sql-system-variable" Sql SQLI, "@@ and a name";
    S_SYSTEM_TABLE "sql-system-table" Sql SQLI, "the name of a database's own table or package";
    S_EXEC "sql-exec" Sql SQLI, "EXEC or DECLARE of a procedure or variable";
    S_CASE_WHEN "sql-case-when" Sql SQLI, "CASE WHEN … or IF( with a comparison";
    S_OUTFILE "sql-file" Sql SQLI, "INTO OUTFILE, LOAD_FILE, …";
    S_DDL "sql-ddl" Sql SQLI, "DROP TABLE and the like";
    S_INSERT "sql-insert" Sql SQLI, "INSERT INTO … VALUES, UPDATE … SET, DELETE FROM";
    S_CONCAT_CHAR "sql-char-numbers" Sql SQLI, "CHAR( with a number, concatenated";
    S_HEX_LITERAL "sql-hex-literal" Sql SQLI, "a long hexadecimal literal";
    S_NULLS "sql-nulls" Sql SQLI, "a list of NULLs or numbers";
    S_CONVERT "sql-convert" Sql SQLI, "CAST or CONVERT to a type";
    S_WORDS3 "sql-words-3" Sql SQLI, "three SQL words or more, with punctuation";
    S_WORDS5 "sql-words-5" Sql SQLI, "five SQL words or more, with punctuation";
    S_FRAGMENTS "sql-fragments" Sql SQLI, "SQL at the start of the value";

    X_SCRIPT "markup-script" Markup XSS, "a script element";
    X_ACTIVE "markup-active" Markup XSS, "an element that loads or runs something";
    X_TAG "markup-tag" Markup XSS, "an HTML element";
    X_OPEN "markup-open" Markup XSS, "< and a name";
    X_CLOSE "markup-close" Markup XSS, "a closing tag";
    X_HANDLER "markup-handler" Markup XSS, "an event handler attribute";
    X_HANDLER_TAG "markup-handler-in-tag" Markup XSS, "an event handler attribute in an element";
    X_SCRIPT_URI "markup-script-uri" Markup XSS, "a javascript: or vbscript: address";
    X_DATA_URI "markup-data-uri" Markup XSS, "a data: address with markup or base64";
    X_CALL "markup-call" Markup XSS, "a call of alert, eval and the like";
    X_CALL_TICK "markup-call-backtick" Markup XSS, "a call with a template string";
    X_CALL_HIDDEN "markup-call-hidden" Markup XSS, "eval and the like passed on or indexed";
    X_DOM "markup-dom" Markup XSS, "document.cookie, window.location and the like";
    X_QUOTE_CLOSE "markup-quote-close" Markup XSS, "a quote, then > or <";
    X_QUOTE_HANDLER "markup-quote-handler" Markup XSS, "a quote, then an event handler";
    X_STYLE "markup-style" Markup XSS, "expression(, url( or @import in a style";
    X_SRC "markup-source" Markup XSS, "an element's address attribute";
    X_SRCDOC "markup-srcdoc" Markup XSS, "srcdoc, formaction, xlink:href";
    X_BREAK_SCRIPT "markup-break-script" Markup XSS, "a quote or parenthesis, a semicolon, then a call";
    X_BRACKETS "markup-brackets" Markup XSS, "script without letters: []()!+";
    X_COMMENT "markup-comment" Markup XSS, "an HTML comment";
    X_ATTRIBUTES "markup-attributes" Markup XSS, "an element with attributes without quotes or blanks";
    X_SLASH_ATTRIBUTE "markup-slash-attribute" Markup XSS, "an element name, a slash, then an attribute";
    X_TEXT "markup-text" Markup None, "an element for formatting text, without attributes";
    X_HARMLESS "markup-harmless" Markup None, "an element that is closed, with attributes in quotes, and nothing that loads or runs";
    X_CDATA "markup-cdata" Markup XSS, "CDATA";
    X_IMPORT "markup-import" Markup XSS, "@import, @charset or a namespace";

    P_CLIMB1 "path-climb" Path PATH, "one ../";
    P_CLIMB2 "path-climb-2" Path PATH, "../ twice or more";
    P_CLIMB4 "path-climb-4" Path PATH, "../ four times or more";
    P_CLIMB_END "path-climb-end" Path PATH, "ends in /.. or starts with ../";
    P_MANGLED "path-climb-mangled" Path PATH, "a mangled climb: ....//, ..;/, .\\./, ..0x2f";
    P_DOTS "path-dots" Path PATH, "three dots or more next to a slash";
    P_DOT_SLASHES "path-dot-slashes" Path PATH, "/./ again and again";
    P_SLASHES "path-slashes" Path PATH, "many slashes or backslashes in a row";
    P_BACKSLASH "path-backslash" Path PATH, "backslashes between names";
    P_FILE "path-file" Path PATH, "a file of interest behind a slash";
    P_ETC "path-etc" Path PATH, "/etc/…";
    P_SYSTEM_DIR "path-system-directory" Path PATH, "/proc, /var/log, /root, /usr/local and the like";
    P_DRIVE "path-drive" Path PATH, "a Windows drive";
    P_DOT_FILE "path-dot-file" Path PATH, "a hidden file: .ssh, .git, .env, .htaccess";
    P_LOG "path-log" Path PATH, "a path to a log or configuration file of a server, where no path belongs";
    P_WRAPPER "path-wrapper" Path PATH, "php://, file://, expect://, phar://, …";
    P_NUL_EXTENSION "path-nul-extension" Path PATH, "a path that a NUL cuts";
    P_ABSOLUTE "path-absolute" Path PATH, "starts as an absolute path of a system or of a server's own, where no path belongs";

    C_SEPARATOR "shell-separator-command" Shell CMD, "a separator, then a shell command";
    C_SEPARATOR_SURE "shell-separator-sure" Shell CMD, "a separator, then a shell command that is no everyday word";
    C_SEPARATOR_ARGUMENT "shell-separator-argument" Shell CMD, "a separator, a shell command and its argument";
    C_SUBSTITUTION "shell-substitution" Shell CMD, "$(…)";
    C_BACKTICK "shell-backtick" Shell CMD, "a command in backticks";
    C_BIN "shell-bin" Shell CMD, "/bin/…, /usr/bin/…, cmd.exe, …";
    C_SHELLSHOCK "shell-shellshock" Shell CMD, "() { … (Shellshock)";
    C_REDIRECT "shell-redirect" Shell CMD, "redirection of output, /dev/null, 2>&1";
    C_IFS "shell-ifs" Shell CMD, "$IFS or another variable in the place of a blank";
    C_REVERSE "shell-reverse" Shell CMD, "/dev/tcp, nc -e, bash -i, …";
    C_FETCH "shell-fetch" Shell CMD, "wget or curl of an address";
    C_OPTION "shell-option" Shell CMD, "a shell command with an option";
    C_COMMAND_PATH "shell-command-path" Shell CMD, "a shell command with a path";
    C_FIRST "shell-command-first" Shell CMD, "starts with a shell command that is no everyday word";
    C_HIDDEN "shell-hidden" Shell CMD, "a command broken up with quotes, backslashes or wildcards, or put together in a variable";
    C_PHP "shell-php" Shell CMD, "<?php or <?=";
    C_CODE_CALL "shell-code-call" Shell CMD, "a call of system, exec, passthru, …";
    C_CODE_IMPORT "shell-code-import" Shell CMD, "__import__, os.system, subprocess, require('child_process')";
    C_PIPE_END "shell-pipe-end" Shell CMD, "a command, then a separator at the end";
    C_PING "shell-ping" Shell CMD, "ping or sleep with a count";
    C_WINDOWS "shell-windows" Shell CMD, "net user, type c:\\, dir c:, powershell -…, %SYSTEMROOT%";
    C_SUPERGLOBAL "shell-superglobal" Shell CMD, "$_GET, $_POST and the like";
    C_QUOTE_SEPARATOR "shell-quote-separator" Shell CMD, "a quote, a separator, then a word";
    C_NEWLINE "shell-newline-command" Shell CMD, "a line end, then a shell command";

    T_JNDI "expression-jndi" Expression LOG4J, "${jndi:";
    T_LOOKUP "expression-lookup" Expression LOG4J, "${name:…}: a Log4j lookup";
    T_NESTED "expression-nested" Expression LOG4J, "a lookup in a lookup";
    T_JNDI_SPELT "expression-jndi-spelt" Expression LOG4J, "jndi spelt with lookups";
    T_BRACES "expression-braces" Expression SSTI, "{{…}} or {%…%}";
    T_DOLLAR "expression-dollar" Expression SSTI, "${…}";
    T_HASH "expression-hash" Expression SSTI, "#{…} or *{…}";
    T_PERCENT "expression-percent" Expression SSTI, "<%…%> or %{…}";
    T_MATH "expression-arithmetic" Expression SSTI, "arithmetic in a template expression";
    T_CALL "expression-call" Expression SSTI, "a call in a template expression";
    T_REFLECT "expression-reflection" Expression SSTI, "__class__, getClass(), Runtime and the like";
    T_DUNDER "expression-dunder" Expression SSTI, "a name in double underscores";
    M_DOCTYPE "xml-doctype" Expression XXE, "a document type with an internal subset";
    M_ENTITY "xml-entity" Expression XXE, "an entity declaration";
    M_EXTERNAL "xml-external" Expression XXE, "SYSTEM or PUBLIC and an address";
    M_XINCLUDE "xml-xinclude" Expression XXE, "XInclude";
    M_SSI "xml-ssi" Expression XXE, "a server-side include";
    M_XML "xml-declaration" Expression None, "an XML declaration";
    Q_OPERATOR "nosql-operator" Expression NOSQL, "$ne, $gt, $where, …";
    Q_SCRIPT "nosql-script" Expression NOSQL, "a quote or semicolon, then return or this.";
    Q_BOOL "nosql-bool" Expression NOSQL, "a quote, then || or &&";
    L_FILTER "ldap-filter" Expression LDAP, "the end of an LDAP filter and the start of another";
    L_STAR "ldap-star" Expression LDAP, "a star and a parenthesis";
    L_XPATH "ldap-xpath" Expression LDAP, "an XPath axis, node test or function";
    U_METADATA "ssrf-metadata" Expression SSRF, "a cloud's metadata address";
    U_LOCAL "ssrf-local" Expression SSRF, "an address of this host or a private network";
    U_NUMERIC "ssrf-numeric" Expression SSRF, "an address written as one number, octal or hexadecimal";
    U_USER "ssrf-user" Expression SSRF, "an address with a user part or a backslash";
    U_SCHEME "ssrf-scheme" Expression SSRF, "gopher://, dict://, ldap:// and the like";
    U_SLASHES "ssrf-slashes" Expression SSRF, "starts with two slashes or a slash and a backslash";
    U_CALLBACK "ssrf-callback" Expression SSRF, "a host name that points home or reports look-ups";
    O_OBJECT "object" Expression OBJECT, "a serialised object of Java, PHP, Python or .NET";
    H_HEADER "crlf-header" Expression CRLF, "a line end, then a header";
    H_LINE "crlf-line" Expression CRLF, "an encoded line end in a path or query, then a label";

    B_QUOTE_ODD "shape-quote-odd" Shape None, "an odd number of single quotes";
    B_DOUBLE_ODD "shape-double-quote-odd" Shape None, "an odd number of double quotes";
    B_APOSTROPHE "shape-apostrophe" Shape None, "an apostrophe within a word, and no other quote";
    B_PROSE "shape-prose" Shape None, "mostly plain words";
    B_LIST "shape-list" Shape None, "words and commas only";
    B_UA "shape-product" Shape None, "a product and version, as in User-Agent";
    B_URL "shape-address" Shape None, "an address with http or https";
    B_MIME "shape-media-type" Shape None, "a media type or quality";
    B_CODE "shape-code" Shape None, "an assignment, call or block of program code";
    B_IDIOM "shape-code-idiom" Shape None, "an idiom of programs: a path with ::, a typed signature, a binding";
    B_IDIOMS "shape-code-idioms" Shape None, "three of them or more";
    B_REPEAT "shape-repeat" Shape None, "one character forty times or more";
}

/// Buckets of the n-grams of token kinds.
pub const TOKEN_BUCKETS: usize = 512;

/// Buckets of the character trigrams.
pub const CHAR_BUCKETS: usize = 256;

/// Named features.
pub const NAMED: usize = FEATURES.len();

/// All features.
pub const WIDTH: usize = NAMED + TOKEN_BUCKETS + CHAR_BUCKETS;

/// The group of the feature at `place`.
#[must_use]
pub fn group_of(place: usize) -> Group {
    match FEATURES.get(place) {
        Some(feature) => feature.group,
        None if place < NAMED + TOKEN_BUCKETS => Group::TokenGrams,
        None => Group::CharGrams,
    }
}
