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
    /// The share of failed requests from which on a host is ejected.
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
