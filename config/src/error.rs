//! An error that knows its place by path: what filters and snapshots return, and what a span map turns into a line.

use std::error::Error;
use std::fmt;

/// What is wrong, and at which path (`clusters[3].endpoints[0].address`) of the whole or of the part that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Where; empty: the whole.
    pub path: String,
    /// What is wrong and what to write instead, in one sentence without the path.
    pub message: String,
}

impl PathError {
    /// An error at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// The same error seen from outside: `below("filters[0]")` makes `delay.for` `filters[0].delay.for`.
    #[must_use]
    pub fn below(self, parent: &str) -> Self {
        let path = match (parent.is_empty(), self.path.as_str()) {
            (true, own) => own.to_owned(),
            (false, "") => parent.to_owned(),
            (false, own) if own.starts_with('[') => format!("{parent}{own}"),
            (false, own) => format!("{parent}.{own}"),
        };
        Self { path, ..self }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl Error for PathError {}
