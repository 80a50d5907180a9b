//! What the file may say: records, declared once, from which reading, the schema and the reference page all come.
//!
//! Reading never stops at an error: it notes the problem and goes on with a value that stands in ("hole"), so that one
//! run shows all that is wrong. A configuration with a problem is never used, so no hole is ever seen.

mod balance;
mod cluster;
mod discovery;
mod fields;
mod filter;
mod health;
mod leaf;
mod listener;
mod process;
mod proxy_protocol;
mod route;
mod rpc;
mod shape;
mod tls;
mod transcode;
mod values;

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(crate) use balance::*;
pub(crate) use cluster::*;
pub(crate) use discovery::*;
pub(crate) use fields::{Fields, entry_shape};
pub(crate) use filter::*;
pub(crate) use health::*;
pub(crate) use leaf::*;
pub(crate) use listener::*;
pub(crate) use process::*;
pub(crate) use proxy_protocol::*;
pub(crate) use route::*;
pub(crate) use rpc::*;
pub(crate) use shape::*;
pub(crate) use tls::*;
pub(crate) use values::*;

use super::report::{Problem, SpanMap};
use super::tree::Node;

/// A value that a file may hold.
pub(crate) trait Wire: Sized {
    /// Reads it. `None`: a problem was noted.
    fn read(node: &Node, cx: &mut Cx) -> Option<Self>;
    /// What it may look like.
    fn shape() -> Shape;
    /// What stands in after a problem.
    fn hole() -> Self;
    /// What it is where its key is absent; `None`: the key must be there.
    fn absent() -> Option<Self> {
        None
    }
}

/// What reading knows and collects.
#[derive(Debug)]
pub(crate) struct Cx {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is doubtful.
    pub warnings: Vec<Problem>,
    /// Paths at and below which the model is not what the file says: values that could not be read, lists that lack an item.
    pub holes: Vec<String>,
    /// Where everything stands.
    pub spans: SpanMap,
    /// Paths of values that came from the environment, which no message may show.
    pub secret: HashSet<String>,
    /// Where relative paths begin.
    pub base: PathBuf,
    /// The names of all clusters, known before any reference is read.
    pub clusters: Known,
    /// The names of all route tables.
    pub route_tables: Known,
    /// What routes and `tcp` want of their clusters, which are read after them.
    pub wants: Vec<Wanted>,
}

/// What a key of a route, or of `tcp`, has no effect without.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The key.
    pub at: String,
    /// The clusters, one of which has to have it.
    pub of: Vec<crate::Name>,
    /// It.
    pub want: Want,
}

/// What that may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// An algorithm that hashes.
    Hash,
    /// Subsets of hosts.
    Subsets,
}

/// The names that a reference may say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// All of them.
    pub names: HashSet<String>,
    /// Those that an error may suggest, in order: not those from the environment.
    pub shown: Vec<String>,
}

impl Cx {
    /// Ready for one file.
    pub(crate) fn new(spans: SpanMap, base: &Path) -> Self {
        Self {
            problems: Vec::new(),
            warnings: Vec::new(),
            holes: Vec::new(),
            spans,
            secret: HashSet::new(),
            base: base.to_owned(),
            clusters: Known::default(),
            route_tables: Known::default(),
            wants: Vec::new(),
        }
    }

    /// Notes a problem at a path.
    pub(crate) fn problem(&mut self, path: &str, message: impl Into<String>) {
        let span = self.spans.span(path);
        self.problem_at(path, span, message);
    }

    /// Notes a problem at a place of its own.
    pub(crate) fn problem_at(
        &mut self,
        path: &str,
        span: Range<usize>,
        message: impl Into<String>,
    ) {
        self.problems.push(Problem {
            path: path.to_owned(),
            message: message.into(),
            span,
        });
    }

    /// Notes a doubt at a path.
    pub(crate) fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.warnings.push(Problem {
            path: path.to_owned(),
            message: message.into(),
            span: self.spans.span(path),
        });
    }

    /// A value at a path as a message may show it.
    pub(crate) fn shown(&self, path: &str, text: &str) -> String {
        if self.secret.contains(path) {
            "what the environment gives".to_owned()
        } else {
            format!("`{}`", text.replace(char::is_control, "\u{fffd}"))
        }
    }
}

/// The word of `known` that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= limit || (candidate.starts_with(word) && word.len() >= 4)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word of the other; `-` and `_` are one.
fn distance(a: &str, b: &str) -> usize {
    let plain = |word: &str| -> Vec<char> {
        word.to_lowercase()
            .replace('-', "_")
            .chars()
            .take(64)
            .collect()
    };
    let (a, b) = (plain(a), plain(b));
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_probably_meant() {
        let known = [
            "timeout",
            "idle_timeout",
            "request_headers",
            "retry",
            "name",
        ];
        for (word, expect) in [
            ("tiemout", Some("timeout")),
            ("timeouts", Some("timeout")),
            ("Timeout", Some("timeout")),
            ("idle-timeout", Some("idle_timeout")),
            ("request_header", Some("request_headers")),
            ("request", Some("request_headers")),
            ("rety", Some("retry")),
            ("nmae", Some("name")),
            ("tls", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expect, "{word}");
        }
    }
}
