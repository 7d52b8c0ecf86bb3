//! Which scopes a route asks for, from the config or from an OpenAPI document.
//!
//! Routes are paths with templates (`/orders/{id}`) and stand in a trie of segments. Where
//! several match, a literal segment goes before a template, as OpenAPI 3.1, section 4.8.8.1,
//! asks. A path is read as servers read it: query and fragment are no part of it, `.` and `..`
//! are resolved (RFC 3986, section 5.2.4), empty segments and a trailing slash are passed over,
//! each segment is percent-decoded after it was split off, so that `%2F` splits nothing, and what
//! stands behind a `;` is no part of a segment that doesn't match with it.

use std::{borrow::Cow, collections::HashMap};

use serde_json::Value;
use smallvec::SmallVec;

use crate::finding::{Finding, FindingId};

/// Segments of a path; a longer one matches no route.
pub const MAX_SEGMENTS: usize = 64;
/// Methods and templates of one table.
pub const MAX_ROUTES: usize = 65_536;
/// Bytes of an OpenAPI document.
pub const MAX_DOCUMENT: usize = 16 << 20;

/// Why a table of routes can't be built.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Not JSON.
    #[error("the OpenAPI document is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON, but no OpenAPI document.
    #[error("no OpenAPI document: {0} is missing")]
    NotOpenApi(&'static str),
    /// Over [`MAX_DOCUMENT`], [`MAX_ROUTES`] or [`MAX_SEGMENTS`].
    #[error("over the limit of {0}")]
    TooLarge(&'static str),
    /// The same method and template twice.
    #[error("route {0} stands there twice")]
    Twice(String),
    /// A template doesn't begin with a slash, or its braces don't pair up within a segment.
    #[error("bad path template {0}")]
    Template(String),
}

/// What a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Needs {
    /// No token at all.
    Nothing,
    /// All scopes of one of the sets.
    AnyOf(Vec<Vec<String>>),
}

/// Whether a token may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage<'a> {
    /// No such route, or nothing is said of it.
    Unknown,
    /// The route asks for no token.
    Public,
    /// The token's scopes cover it.
    Covered,
    /// They don't: the scopes that are missing of the set that comes nearest.
    Insufficient(Vec<&'a str>),
}

impl Coverage<'_> {
    /// `scope-insufficient-for-route`, where it is.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        let Self::Insufficient(missing) = self else { return None };
        let missing = missing.join(" ");
        Some(Finding::new(
            FindingId::ScopeInsufficientForRoute,
            format!("the route asks for {missing:?}"),
        ))
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, u32>,
    /// Segments with a template: what stands before and behind it, longest first.
    templates: Vec<(Box<str>, Box<str>, u32)>,
    operations: Vec<(Box<str>, Needs)>,
}

/// A table of routes and the scopes that they ask for.
#[derive(Clone, Debug)]
pub struct RouteScopes {
    nodes: Vec<Node>,
    routes: usize,
}

impl Default for RouteScopes {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], routes: 0 }
    }
}

impl RouteScopes {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// Adds a route that asks for all of `scopes`; without any, for a token at least.
    ///
    /// # Errors
    /// [`RouteError`] where the template can't be read, stands there already, or is too much.
    pub fn add(
        &mut self,
        method: &str,
        template: &str,
        scopes: &[impl AsRef<str>],
    ) -> Result<(), RouteError> {
        let scopes = scopes.iter().map(|s| s.as_ref().to_owned()).collect();
        self.insert(method, template, Needs::AnyOf(vec![scopes]))
    }

    /// Adds a route that asks for no token.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_public(&mut self, method: &str, template: &str) -> Result<(), RouteError> {
        self.insert(method, template, Needs::Nothing)
    }

    /// Reads the routes of an OpenAPI 3 or Swagger 2 document in JSON: the security requirements
    /// of each operation, else the document's. Operations about which nothing is said are left
    /// out.
    ///
    /// # Errors
    /// [`RouteError`] where the document isn't one or is over a limit.
    pub fn from_openapi(document: &[u8]) -> Result<Self, RouteError> {
        const METHODS: [&str; 8] =
            ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        if document.len() > MAX_DOCUMENT {
            return Err(RouteError::TooLarge("16 MiB"));
        }
        let document: Value = serde_json::from_slice(document)?;
        if document.get("openapi").is_none() && document.get("swagger").is_none() {
            return Err(RouteError::NotOpenApi("openapi"));
        }
        let paths = document
            .get("paths")
            .and_then(Value::as_object)
            .ok_or(RouteError::NotOpenApi("paths"))?;
        let bases = base_paths(&document);
        let mut routes = Self::new();
        for (template, item) in paths {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let Some(needs) =
                    operation.get("security").or(document.get("security")).and_then(needs_of)
                else {
                    continue;
                };
                for base in &bases {
                    routes.insert(method, &format!("{base}{template}"), needs.clone())?;
                }
            }
        }
        Ok(routes)
    }

    fn insert(&mut self, method: &str, template: &str, needs: Needs) -> Result<(), RouteError> {
        if self.routes >= MAX_ROUTES {
            return Err(RouteError::TooLarge("65,536 routes"));
        }
        let bad = || RouteError::Template(template.to_owned());
        let path = template.strip_prefix('/').ok_or_else(bad)?;
        if path.split('/').count() > MAX_SEGMENTS {
            return Err(RouteError::TooLarge("64 segments"));
        }
        let mut at = 0;
        for segment in path.split('/').filter(|s| !s.is_empty()) {
            let next = u32::try_from(self.nodes.len()).map_err(|_| bad())?;
            let node = self.nodes.get_mut(at as usize).ok_or_else(bad)?;
            at = match (segment.find('{'), segment.rfind('}')) {
                (None, None) => {
                    let name = decode(segment).into_owned().into_boxed_str();
                    *node.literals.entry(name).or_insert(next)
                }
                (Some(open), Some(close)) if open < close => {
                    let before = decode(segment.get(..open).unwrap_or_default());
                    let behind = decode(segment.get(close + 1..).unwrap_or_default());
                    let same =
                        |(b, h, _): &&(Box<str>, Box<str>, u32)| **b == *before && **h == *behind;
                    if let Some(&(.., known)) = node.templates.iter().find(same) {
                        known
                    } else {
                        node.templates.push((before.into(), behind.into(), next));
                        node.templates
                            .sort_by_key(|(b, h, _)| std::cmp::Reverse(b.len() + h.len()));
                        next
                    }
                }
                _ => return Err(bad()),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let node = self.nodes.get_mut(at as usize).ok_or_else(bad)?;
        let method = method.to_ascii_uppercase().into_boxed_str();
        if node.operations.iter().any(|(m, _)| *m == method) {
            return Err(RouteError::Twice(format!("{method} {template}")));
        }
        node.operations.push((method, needs));
        self.routes += 1;
        Ok(())
    }

    /// Whether `scopes` cover the route of a request. `target` is the request target as sent
    /// (RFC 9112, section 3.2). HEAD asks for what GET asks for, unless it stands by itself.
    #[must_use]
    pub fn check(&self, method: &str, target: &str, scopes: &[&str]) -> Coverage<'_> {
        let Some(segments) = segments(target) else { return Coverage::Unknown };
        let Some(needs) = self.find(0, &segments, method) else { return Coverage::Unknown };
        let Needs::AnyOf(sets) = needs else { return Coverage::Public };
        let missing_of = |set: &'_ Vec<String>| -> Vec<usize> {
            (0..set.len())
                .filter(|&k| set.get(k).is_some_and(|s| !scopes.contains(&s.as_str())))
                .collect()
        };
        let nearest = sets.iter().map(|set| (missing_of(set), set)).min_by_key(|(m, _)| m.len());
        match nearest {
            Some((missing, set)) if !missing.is_empty() => Coverage::Insufficient(
                missing.iter().filter_map(|&k| set.get(k).map(String::as_str)).collect(),
            ),
            _ => Coverage::Covered,
        }
    }

    /// Looks through the trie with backtracking. A node is reached on one way only, so that a
    /// match costs at most a visit of each node that lies along the path's segments.
    fn find(&self, at: u32, segments: &[Cow<'_, str>], method: &str) -> Option<&Needs> {
        let node = self.nodes.get(at as usize)?;
        let Some((segment, rest)) = segments.split_first() else {
            let of = |name: &str| {
                node.operations.iter().find(|(m, _)| m.eq_ignore_ascii_case(name)).map(|(_, n)| n)
            };
            let get = || method.eq_ignore_ascii_case("HEAD").then(|| of("GET")).flatten();
            return of(method).or_else(get);
        };
        let bare = segment.split(';').next().unwrap_or_default();
        for name in [segment.as_ref(), bare].iter().take(1 + usize::from(bare != segment)) {
            if let Some(&next) = node.literals.get(*name)
                && let Some(needs) = self.find(next, rest, method)
            {
                return Some(needs);
            }
        }
        node.templates
            .iter()
            .filter(|(before, behind, _)| {
                segment.len() > before.len() + behind.len()
                    && segment.starts_with(&**before)
                    && segment.ends_with(&**behind)
            })
            .find_map(|&(.., next)| self.find(next, rest, method))
    }
}

/// Whether the path of a request target ends in that of `ending`, segment by segment.
pub(crate) fn ends_with(target: &str, ending: &str) -> bool {
    match (segments(target), segments(ending)) {
        (Some(target), Some(ending)) => target.ends_with(&ending),
        _ => false,
    }
}

/// Whether two request targets or addresses have one path. One that is no path is like no other.
pub(crate) fn same_path(one: &str, other: &str) -> bool {
    segments(one).is_some_and(|one| segments(other).is_some_and(|other| one == other))
}

/// The segments of a request target; `None` where it has too many or is no path.
fn segments(target: &str) -> Option<SmallVec<[Cow<'_, str>; 12]>> {
    let path = match target.strip_prefix('/') {
        Some(path) => path,
        None => {
            // Absolute form, as sent to a proxy.
            let (_, rest) = target.split_once("://")?;
            rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or_default()
        }
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments: SmallVec<[Cow<'_, str>; 12]> = SmallVec::new();
    for segment in path.split('/') {
        match decode(segment) {
            s if s.is_empty() || s == "." => {}
            s if s == ".." => {
                segments.pop();
            }
            s => {
                if segments.len() == MAX_SEGMENTS {
                    return None;
                }
                segments.push(s);
            }
        }
    }
    Some(segments)
}

/// Percent-decodes a segment. What isn't a triplet stays as it is; what isn't UTF-8 then is
/// replaced, and matches templates only.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let triplet = tail.split_first_chunk::<2>().and_then(|(digits, tail)| {
            let [high, low] = digits.map(|d| char::from(d).to_digit(16));
            Some(((high? * 16 + low?) as u8, tail))
        });
        match triplet {
            Some((decoded, tail)) if byte == b'%' => {
                bytes.push(decoded);
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The paths that a document's routes stand under: of its `servers`, or its `basePath`.
fn base_paths(document: &Value) -> Vec<String> {
    let mut bases: Vec<String> = Vec::new();
    let servers = document.get("servers").and_then(Value::as_array);
    for server in servers.into_iter().flatten() {
        let Some(url) = server.get("url").and_then(Value::as_str) else { continue };
        let mut url = url.to_owned();
        let variables = server.get("variables").and_then(Value::as_object);
        for (name, variable) in variables.into_iter().flatten() {
            if let Some(default) = variable.get("default").and_then(Value::as_str) {
                url = url.replace(&format!("{{{name}}}"), default);
            }
        }
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
            None => &url,
        };
        bases.push(path.trim_end_matches('/').to_owned());
    }
    if let Some(base) = document.get("basePath").and_then(Value::as_str) {
        bases.push(base.trim_end_matches('/').to_owned());
    }
    if bases.is_empty() {
        bases.push(String::new());
    }
    bases.sort();
    bases.dedup();
    bases
}

/// A list of security requirements: one of them has to be met, with the scopes of all its schemes.
fn needs_of(security: &Value) -> Option<Needs> {
    let requirements = security.as_array()?;
    // An empty requirement makes security optional.
    if requirements.iter().any(|r| r.as_object().is_none_or(serde_json::Map::is_empty))
        || requirements.is_empty()
    {
        return Some(Needs::Nothing);
    }
    let scopes = |requirement: &Value| -> Vec<String> {
        let schemes = requirement.as_object().into_iter().flat_map(|r| r.values());
        let mut scopes: Vec<String> = schemes
            .flat_map(|s| s.as_array().into_iter().flatten())
            .filter_map(|s| s.as_str().map(str::to_owned))
            .collect();
        scopes.sort();
        scopes.dedup();
        scopes
    };
    Some(Needs::AnyOf(requirements.iter().map(scopes).collect()))
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
