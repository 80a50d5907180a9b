//! Changes of the path on the way to the upstream. The query stays.

use bytes::Bytes;
use ringway_config::PathRewrite;

use super::Matched;
use super::normalize::{BadPath, has_dot_segment, split_query};
use super::regexes::{Collector, RegexId, Regexes};

/// A compiled change of the path.
#[derive(Debug)]
pub(super) struct Rewrite {
    how: How,
    /// Whether the table normalizes strictly: then no change may make a dot segment.
    strict: bool,
}

#[derive(Debug)]
enum How {
    Prefix {
        matched: Box<[u8]>,
        to: Box<[u8]>,
    },
    Regex {
        find: RegexId,
        substitution: Box<[u8]>,
    },
}

/// Compiles a change; the error is the key that is wrong and why.
pub(super) fn build(
    path: &PathRewrite,
    matched: &Matched,
    strict: bool,
    regexes: &mut Collector,
) -> Result<Rewrite, (&'static str, String)> {
    let how = match path {
        PathRewrite::Prefix(to) => {
            check_path(to).map_err(|message| ("prefix", message))?;
            let Matched::Literal(literal) = matched else {
                return Err((
                    "prefix",
                    "what a `regex` matched is no prefix; write `rewrite: { regex: … }`".to_owned(),
                ));
            };
            How::Prefix {
                matched: literal.clone(),
                to: to.as_bytes().into(),
            }
        }
        PathRewrite::Regex {
            pattern,
            substitution,
        } => {
            let find = regexes
                .find(&pattern.0)
                .map_err(|message| ("regex.pattern", message))?;
            check_text(substitution).map_err(|message| ("regex.substitution", message))?;
            check_groups(substitution, find, regexes)
                .map_err(|message| ("regex.substitution", message))?;
            How::Regex {
                find,
                substitution: substitution.as_bytes().into(),
            }
        }
    };
    Ok(Rewrite { how, strict })
}

impl Rewrite {
    /// The new target; `None` if nothing changes.
    pub(super) fn apply(&self, target: &[u8], regexes: &Regexes) -> Result<Option<Bytes>, BadPath> {
        if target == b"*" {
            return Ok(None);
        }
        let (path, query) = split_query(target);
        let mut out = Vec::with_capacity(target.len() + 64);
        match &self.how {
            How::Prefix { matched, to } => {
                // A filter may have changed the path since the route was found; then there is no such prefix.
                let Some(rest) = path.strip_prefix(&**matched) else {
                    return Ok(None);
                };
                join(to, rest, &mut out);
            }
            How::Regex { find, substitution } => {
                let replaced = regexes
                    .get(*find)
                    .map(|regex| regex.replace_all(path, &**substitution));
                match replaced {
                    None => return Ok(None),
                    Some(replaced) => join(b"/", &replaced, &mut out),
                }
            }
        }
        if self.strict && has_dot_segment(&out) {
            return Err(BadPath::DotSegment);
        }
        if out == path {
            return Ok(None);
        }
        out.extend_from_slice(query);
        Ok(Some(Bytes::from(out)))
    }
}

/// Appends `to`, which begins with a slash, and what came after the match, with one slash where both have it: `/` and `/x`
/// are `/x`.
pub(super) fn join(to: &[u8], rest: &[u8], out: &mut Vec<u8>) {
    let to = match rest.first() {
        Some(b'/') => to.strip_suffix(b"/").unwrap_or(to),
        Some(_) | None => to,
    };
    out.extend_from_slice(to);
    out.extend_from_slice(rest);
}

/// A path of the operator's own, which becomes part of a request line or a `Location`.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("a path begins with `/`".to_owned());
    }
    check_text(path)
}

fn check_text(text: &str) -> Result<(), String> {
    match text
        .chars()
        .find(|c| !c.is_ascii_graphic() || "?#\\".contains(*c))
    {
        None => Ok(()),
        Some('?') => Err("a rewrite keeps the query; a path has no `?`".to_owned()),
        Some(c) => Err(format!(
            "a path does not hold `{}`; percent-encode it",
            c.escape_default()
        )),
    }
}

/// `regex` puts nothing for a group that does not exist, so `$1x` would silently be nothing.
fn check_groups(substitution: &str, find: RegexId, regexes: &Collector) -> Result<(), String> {
    let Some(regex) = regexes.get(find) else {
        return Ok(());
    };
    let mut rest = substitution;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let braced = rest
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = braced.map_or(&rest[..end], |(name, _)| name);
        let known = match name.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|known| known == name),
        };
        if !known {
            return Err(format!(
                "`{name}` is no group of the pattern; write `${{1}}` or `${{name}}`, and `$$` for a `$`"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::Pattern;

    fn rewrite(path: &PathRewrite, matched: &str, target: &str) -> Result<String, String> {
        let mut regexes = Collector::default();
        let matched = Matched::Literal(matched.as_bytes().into());
        let rewrite =
            build(path, &matched, true, &mut regexes).map_err(|(key, _)| key.to_owned())?;
        match rewrite.apply(target.as_bytes(), &regexes.finish()) {
            Ok(Some(out)) => Ok(String::from_utf8_lossy(&out).into_owned()),
            Ok(None) => Ok(target.to_owned()),
            Err(why) => Err(why.details().to_owned()),
        }
    }

    #[test]
    fn a_prefix_is_joined_with_one_slash() {
        for (matched, to, target, expect) in [
            ("/api", "/", "/api/x?y=/api", "/x?y=/api"),
            ("/api", "/", "/api", "/"),
            ("/api", "/", "/api/", "/"),
            ("/api", "/v2", "/api", "/v2"),
            ("/api", "/v2", "/api?q", "/v2?q"),
            ("/api", "/v2/", "/api/x", "/v2/x"),
            ("/api", "/v2/", "/api", "/v2/"),
            ("/api", "/v2", "/api/x", "/v2/x"),
            ("", "/v2", "/x", "/v2/x"),
            ("", "/v2", "/", "/v2/"),
            ("", "/", "/x", "/x"),
            ("/a/", "/b-", "/a/x", "/b-x"),
            ("/a", "/", "/changed", "/changed"),
            ("", "/v2", "*", "*"),
        ] {
            let got = rewrite(&PathRewrite::Prefix(to.to_owned()), matched, target);
            assert_eq!(got.as_deref(), Ok(expect), "{matched} to {to}: {target}");
        }
    }

    #[test]
    fn a_rewrite_makes_no_dot_segment() {
        let to = PathRewrite::Prefix("/files/".to_owned());
        assert_eq!(
            rewrite(&to, "/static", "/static../secret"),
            Err(BadPath::DotSegment.details().to_owned())
        );
        assert_eq!(
            rewrite(&to, "/static", "/static/..x").as_deref(),
            Ok("/files/..x")
        );
    }

    #[test]
    fn a_regex_replaces_every_match_but_not_the_query() {
        let regex = |pattern: &str, substitution: &str| PathRewrite::Regex {
            pattern: Pattern(pattern.to_owned()),
            substitution: substitution.to_owned(),
        };
        for (pattern, substitution, target, expect) in [
            (
                "^/user/([0-9]+)",
                "/u${1}x",
                "/user/12/a?/user/3",
                "/u12x/a?/user/3",
            ),
            ("a", "b", "/aa?a", "/bb?a"),
            ("(?<n>[a-z]+)$", "$n/$n", "/ab", "/ab/ab"),
            ("^/strip/", "", "/strip/x", "/x"),
            ("^.*$", "", "/x", "/"),
            ("no", "yes", "/x", "/x"),
            ("x", "$$1", "/x", "/$1"),
        ] {
            assert_eq!(
                rewrite(&regex(pattern, substitution), "", target).as_deref(),
                Ok(expect),
                "{pattern}"
            );
        }
        for (pattern, substitution, key) in [
            ("(", "/", "regex.pattern"),
            ("(a)", "/$1x", "regex.substitution"),
            ("(a)", "/$2", "regex.substitution"),
            ("a", "/$name", "regex.substitution"),
            ("a", "/?x", "regex.substitution"),
            ("a", "/ ", "regex.substitution"),
        ] {
            assert_eq!(
                rewrite(&regex(pattern, substitution), "", "/"),
                Err(key.to_owned()),
                "{substitution}"
            );
        }
    }
}
