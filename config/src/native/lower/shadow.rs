//! Routes that no request can reach, because an earlier one of the same virtual host takes all of theirs.

use std::collections::HashMap;

use crate::native::wire::Cx;
use crate::{PathMatch, Route, RouteMatch, ValueMatch};

/// Earlier routes of a kind that are compared with each: a table of many thousands should not take minutes to load.
const COMPARED_MAX: usize = 1000;

/// Earlier routes, by what they could shadow: of the thousands of a large table only a few concern each later route.
#[derive(Default)]
struct Earlier<'a> {
    /// By the whole path.
    exact: HashMap<&'a str, Vec<usize>>,
    /// By the prefix, without a slash at its end.
    prefix: HashMap<&'a str, Vec<usize>>,
    /// Raw beginnings and regular expressions, which few tables have many of.
    other: Vec<usize>,
}

impl<'a> Earlier<'a> {
    fn add(&mut self, path: &'a PathMatch, index: usize) {
        let list = match path {
            PathMatch::Exact(path) => self.exact.entry(path).or_default(),
            PathMatch::Prefix(prefix) => self.prefix.entry(bare(prefix)).or_default(),
            PathMatch::StartsWith(_) | PathMatch::Regex(_) => &mut self.other,
        };
        list.push(index);
    }

    /// Those that may take all of a path's requests.
    fn suspects<'b>(&'b self, path: &'b PathMatch) -> impl Iterator<Item = usize> + 'b {
        let (exact, text) = match path {
            PathMatch::Exact(path) => (self.exact.get(path.as_str()), path.as_str()),
            PathMatch::Prefix(text) | PathMatch::StartsWith(text) => (None, text.as_str()),
            PathMatch::Regex(_) => (None, ""),
        };
        let parents = std::iter::successors(Some(bare(text)), |path| {
            path.rfind('/').and_then(|end| path.get(..end))
        });
        let prefixes = parents.filter_map(|parent| self.prefix.get(parent));
        exact
            .into_iter()
            .chain(prefixes)
            .chain([&self.other])
            .flat_map(|list| list.iter().take(COMPARED_MAX).copied())
    }
}

fn bare(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// Notes each route that an earlier one takes all of. Matches that were not `sound` prove nothing.
pub(crate) fn check(routes: &[Route], paths: &[String], sound: &[bool], cx: &mut Cx) {
    let mut earlier = Earlier::default();
    for (index, route) in routes.iter().enumerate() {
        if !sound.get(index).copied().unwrap_or(false) {
            continue;
        }
        let takes = |suspect: &usize| {
            let suspect = routes.get(*suspect);
            suspect.is_some_and(|suspect| takes_all_of(&suspect.matches, &route.matches))
        };
        let first = earlier.suspects(&route.matches.path).filter(takes).min();
        if let (Some(first), Some(path)) = (first, paths.get(index)) {
            let by = paths.get(first).map_or("an earlier route", String::as_str);
            let message = format!(
                "no request comes to this route: {by} before it takes all of them; move this one up or leave it out"
            );
            cx.problem(path, message);
        }
        earlier.add(&route.matches.path, index);
    }
}

/// Whether every request of `b` is one of `a`. It may say no where a human sees a yes, never the other way round.
fn takes_all_of(a: &RouteMatch, b: &RouteMatch) -> bool {
    let methods = a.methods.is_empty()
        || (!b.methods.is_empty() && b.methods.iter().all(|method| a.methods.contains(method)));
    let fewer = |a: &[ValueMatch], b: &[ValueMatch]| a.iter().all(|asked| b.contains(asked));
    methods
        && fewer(&a.headers, &b.headers)
        && fewer(&a.query, &b.query)
        && fewer(&a.rpc, &b.rpc)
        && path_takes_all_of(&a.path, &b.path)
}

fn path_takes_all_of(a: &PathMatch, b: &PathMatch) -> bool {
    match (a, b) {
        (PathMatch::Exact(a), PathMatch::Exact(b)) => a == b,
        (PathMatch::Regex(a), PathMatch::Regex(b)) => a == b,
        (PathMatch::Regex(a), _) => matches!(a.0.as_str(), ".*" | "/.*" | "^.*$" | "^/.*$"),
        (PathMatch::Prefix(a), _) if bare(a).is_empty() => true,
        (PathMatch::StartsWith(a), _) if a == "/" => true,
        (PathMatch::Prefix(a), PathMatch::Exact(b) | PathMatch::Prefix(b)) => in_segments(a, b),
        (PathMatch::Prefix(a), PathMatch::StartsWith(b)) => b
            .strip_prefix(a.trim_end_matches('/'))
            .is_some_and(|rest| rest.starts_with('/')),
        (PathMatch::StartsWith(a), PathMatch::Exact(b) | PathMatch::StartsWith(b)) => {
            b.starts_with(a.as_str())
        }
        // `/api/` as a prefix takes `/api` too, which does not begin with `/api/`.
        (PathMatch::StartsWith(a), PathMatch::Prefix(b)) => bare(b).starts_with(a.as_str()),
        (PathMatch::Exact(_), _)
        | (PathMatch::Prefix(_) | PathMatch::StartsWith(_), PathMatch::Regex(_)) => false,
    }
}

/// Whether `path` is `prefix` or lies below it.
fn in_segments(prefix: &str, path: &str) -> bool {
    path.strip_prefix(bare(prefix))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;

    fn path(text: &str) -> PathMatch {
        let (kind, text) = text.split_once(' ').unwrap();
        match kind {
            "path" => PathMatch::Exact(text.to_owned()),
            "prefix" => PathMatch::Prefix(text.to_owned()),
            "starts" => PathMatch::StartsWith(text.to_owned()),
            _ => PathMatch::Regex(Pattern(text.to_owned())),
        }
    }

    #[test]
    fn a_path_takes_all_of_another() {
        for (a, b, expect) in [
            ("prefix /", "path /x", true),
            ("prefix /", "regex /a.*", true),
            ("prefix /", "starts /", true),
            ("prefix /api", "path /api", true),
            ("prefix /api/", "prefix /api", true),
            ("prefix /api", "prefix /api/v1", true),
            ("prefix /api", "prefix /apix", false),
            ("prefix /api", "starts /api", false),
            ("prefix /api", "starts /api/", true),
            ("starts /api", "prefix /apix", true),
            ("starts /api/", "prefix /api/", false),
            ("starts /api", "path /api/x", true),
            ("starts /", "regex .*", true),
            ("path /a", "path /a", true),
            ("path /a", "prefix /a", false),
            ("path /a", "path /b", false),
            ("regex /a.*", "regex /a.*", true),
            ("regex /a.*", "path /ab", false),
            ("regex .*", "path /ab", true),
            ("prefix /a", "regex /a", false),
        ] {
            assert_eq!(path_takes_all_of(&path(a), &path(b)), expect, "{a}, {b}");
        }
    }
}
