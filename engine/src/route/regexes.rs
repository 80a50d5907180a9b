//! The regular expressions of a table, kept apart from what refers to them.
//!
//! A `Regex` owns scratch space that threads take turns with; a clone has its own. So each core has a clone of this list,
//! and everything else of a table refers to it by number.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};

/// Compiled bytes of one expression; a pattern of a few hundred characters stays far below it. It bounds what a counted
/// repetition (`(\w{99}){99}`) may cost.
const PROGRAM_MAX: usize = 1 << 20;
/// The lazy automaton's cache, per expression and core.
const CACHE_MAX: usize = 512 << 10;

/// An expression by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RegexId(u32);

/// One core's expressions.
#[derive(Clone, Debug, Default)]
pub(super) struct Regexes(Vec<Regex>);

impl Regexes {
    pub(super) fn is_match(&self, id: RegexId, text: &[u8]) -> bool {
        self.get(id).is_some_and(|regex| regex.is_match(text))
    }

    pub(super) fn get(&self, id: RegexId) -> Option<&Regex> {
        self.0.get(id.0 as usize)
    }
}

/// Expressions being collected; the same text is compiled once.
#[derive(Debug, Default)]
pub(super) struct Collector {
    list: Regexes,
    known: HashMap<String, RegexId>,
}

impl Collector {
    /// An expression that must match a text as a whole.
    pub(super) fn whole(&mut self, pattern: &str) -> Result<RegexId, String> {
        // Alone first: `a)(b` is wrong, and would become right between the parentheses.
        compile(pattern)?;
        let whole = self.find(&format!(r"\A(?:{pattern})\z"));
        // With `(?x)` a comment at its end takes the rest of the line with it: what is right alone and wrong here, or too large.
        whole.or_else(|_| self.find(&format!("\\A(?:{pattern}\n)\\z")))
    }

    /// An expression that may match anywhere in a text.
    pub(super) fn find(&mut self, pattern: &str) -> Result<RegexId, String> {
        if let Some(id) = self.known.get(pattern) {
            return Ok(*id);
        }
        let id = RegexId(self.list.0.len() as u32);
        self.list.0.push(compile(pattern)?);
        self.known.insert(pattern.to_owned(), id);
        Ok(id)
    }

    pub(super) fn get(&self, id: RegexId) -> Option<&Regex> {
        self.list.get(id)
    }

    pub(super) fn finish(self) -> Regexes {
        self.list
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(PROGRAM_MAX)
        .dfa_size_limit(CACHE_MAX)
        .build()
        .map_err(|error| message(&error))
}

fn message(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        let kib = limit >> 10;
        return format!(
            "this regular expression needs more than {kib} KiB compiled; shorten its counted repetitions"
        );
    }
    // The last line of the parser's picture says what is wrong; the caret is drawn by who shows the file.
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let last = last.trim_start_matches("error: ");
    format!("this is no regular expression: {last}")
}

/// What every text that the expression matches as a whole begins with.
pub(super) fn literal_prefix(pattern: &str) -> Vec<u8> {
    let parser = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .build()
        .parse(pattern);
    let Ok(hir) = parser else {
        return Vec::new();
    };
    let prefixes = regex_syntax::hir::literal::Extractor::new().extract(&hir);
    prefixes
        .longest_common_prefix()
        .unwrap_or_default()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_match_has_both_ends() {
        let mut list = Collector::default();
        let id = list.whole("/a|/ab").unwrap();
        assert_eq!(list.whole("/a|/ab"), Ok(id));
        let list = list.finish();
        for (text, expect) in [
            ("/a", true),
            ("/ab", true),
            ("/abc", false),
            ("x/a", false),
            ("/a\n", false),
        ] {
            assert_eq!(list.is_match(id, text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn wrong_and_huge_expressions_are_refused() {
        let mut list = Collector::default();
        for (pattern, expect) in [
            ("a)(b", "this is no regular expression: unopened group"),
            ("(", "this is no regular expression: unclosed group"),
            (
                r"(\w{99}){99}",
                "this regular expression needs more than 1024 KiB compiled; shorten its counted repetitions",
            ),
        ] {
            assert_eq!(list.whole(pattern), Err(expect.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn a_comment_may_end_an_expression() {
        let mut list = Collector::default();
        let id = list.whole("(?x) /a \\d+ # digits :)").unwrap();
        let list = list.finish();
        for (text, expect) in [("/a12", true), ("/a", false), ("/a12x", false)] {
            assert_eq!(list.is_match(id, text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn prefixes_are_those_of_every_match() {
        for (pattern, expect) in [
            ("/api/v[0-9]+/x", "/api/v"),
            ("/a(b|c)d", "/a"),
            ("/a|/b", "/"),
            ("/ab*", "/a"),
            ("/ab?", "/a"),
            ("(?i)/api", "/"),
            (r"/a\.b/.*", "/a.b/"),
            ("^/x$", "/x"),
            (".*", ""),
            ("", ""),
            ("(", ""),
        ] {
            assert_eq!(literal_prefix(pattern), expect.as_bytes(), "{pattern}");
        }
    }
}
