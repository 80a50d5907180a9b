//! Routes that no request can reach, because an earlier one of the same virtual host takes all of theirs.

use std::collections::HashMap;

use crate::native::wire::Cx;
use crate::{PathMatch, Route, RouteMatch, ValueMatch};

/// Earlier routes that are compared with each; a virtual host of many thousands should not take minutes to load.
const COMPARED_MAX: usize = 2000;

/// Notes each route that an earlier one takes all of. Matches that were not `sound` prove nothing.
pub(crate) fn check(routes: &[Route], paths: &[String], sound: &[bool], cx: &mut Cx) {
    // Most earlier routes take one path exactly, and can only shadow a route of that very path: those are looked up, and
    // the others, which are few, are compared one by one.
    let mut exact: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut wide: Vec<usize> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        if !sound.get(index).copied().unwrap_or(false) {
            continue;
        }
        let same = match &route.matches.path {
            PathMatch::Exact(path) => exact.get(path.as_str()).map_or(&[][..], Vec::as_slice),
            PathMatch::Prefix(_) | PathMatch::StartsWith(_) | PathMatch::Regex(_) => &[],
        };
        let earlier = same.iter().chain(wide.iter().take(COMPARED_MAX)).copied();
        let first = earlier
            .filter(|earlier| {
                let earlier = routes.get(*earlier);
                earlier.is_some_and(|earlier| takes_all_of(&earlier.matches, &route.matches))
            })
            .min();
        if let (Some(first), Some(path)) = (first, paths.get(index)) {
            let by = paths.get(first).map_or("an earlier route", String::as_str);
            let message = format!(
                "no request comes to this route: {by} before it takes all of them; move this one up or leave it out"
            );
            cx.problem(path, message);
        }
        match &route.matches.path {
            PathMatch::Exact(path) => exact.entry(path).or_default().push(index),
            PathMatch::Prefix(_) | PathMatch::StartsWith(_) | PathMatch::Regex(_) => {
                wide.push(index);
            }
        }
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
        && path_takes_all_of(&a.path, &b.path)
}

fn path_takes_all_of(a: &PathMatch, b: &PathMatch) -> bool {
    match (a, b) {
        (PathMatch::Exact(a), PathMatch::Exact(b)) => a == b,
        (PathMatch::Regex(a), PathMatch::Regex(b)) => a == b,
        (PathMatch::Regex(a), _) => matches!(a.0.as_str(), ".*" | "/.*" | "^.*$" | "^/.*$"),
        (PathMatch::Prefix(a), _) if a.trim_end_matches('/').is_empty() => true,
        (PathMatch::StartsWith(a), _) if a == "/" => true,
        (PathMatch::Prefix(a), PathMatch::Exact(b) | PathMatch::Prefix(b)) => in_segments(a, b),
        (PathMatch::Prefix(a), PathMatch::StartsWith(b)) => b
            .strip_prefix(a.trim_end_matches('/'))
            .is_some_and(|rest| rest.starts_with('/')),
        (PathMatch::StartsWith(a), PathMatch::Exact(b) | PathMatch::StartsWith(b)) => {
            b.starts_with(a.as_str())
        }
        // `/api/` as a prefix takes `/api` too, which does not begin with `/api/`.
        (PathMatch::StartsWith(a), PathMatch::Prefix(b)) => {
            b.trim_end_matches('/').starts_with(a.as_str())
        }
        (PathMatch::Exact(_), _)
        | (PathMatch::Prefix(_) | PathMatch::StartsWith(_), PathMatch::Regex(_)) => false,
    }
}

/// Whether `path` is `prefix` or lies below it.
fn in_segments(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix)
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
