//! Small types that carry their unit and their rule: names, percentages, byte sizes, host patterns.

use std::fmt;
use std::sync::Arc;

/// The name of a listener, route table, route, cluster or filter; shared, since it ends up in logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// A name from its text.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A share of requests in hundredths of a percent, so that it stays `Eq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(10_000);
    /// Half of them.
    pub const HALF: Self = Self(5_000);
    /// `None` outside 0 to 100.
    pub fn new(percent: f64) -> Option<Self> {
        // The cast is exact enough: the range was checked first.
        (0.0..=100.0)
            .contains(&percent)
            .then(|| Self((percent * 100.0).round() as u16))
    }
    /// Hundredths of a percent: 0 to 10 000.
    pub fn basis_points(self) -> u16 {
        self.0
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A regular expression's text. It is compiled (and refused) by `Snapshot::build`, so that the model stays `Eq`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(pub String);

/// Which hosts a virtual host answers for. Exact beats suffix beats prefix beats any; the longest of a kind first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `www.example.com`, lower case, without a port.
    Exact(String),
    /// `*.example.com`: the text kept is `.example.com`.
    Suffix(String),
    /// `www.*`: the text kept is `www.`.
    Prefix(String),
    /// `*`.
    Any,
}
