//! A connection whose bytes go to a cluster as they are, and which connections a chain takes by what TLS says first.

use std::time::Duration;

use crate::WeightedCluster;

/// Bytes both ways between a client and a host of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpProxy {
    /// One or more, each with its weight; the sum of the weights is not zero.
    pub clusters: Vec<WeightedCluster>,
    /// How long nothing may move in either direction. Default 1 h.
    pub idle_timeout: Duration,
    /// How long a connection may last, busy or not; absent: no limit.
    pub max_duration: Option<Duration>,
    /// Hosts that are tried, one after the other, until one takes the connection. Default 3.
    pub connect_attempts: u32,
    /// What clusters that balance by a hash take it of; absent: by chance.
    pub hash: Option<TcpHash>,
    /// The metadata of the hosts it may go to, sorted by key; empty: any.
    pub metadata_match: Vec<(String, String)>,
}

/// What a connection's hash is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpHash {
    /// The client's address.
    Source,
}

/// A name that a TLS client asks for (RFC 6066 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerName {
    /// `www.example.com`, lower case.
    Exact(String),
    /// `*.example.com`, any name below, however deep: the text kept is `.example.com`.
    Suffix(String),
}

impl ServerName {
    /// Whether it takes a name in lower case, and how well: the longer the better, a whole name best.
    pub fn fit(&self, name: &str) -> Option<usize> {
        match self {
            Self::Exact(exact) => (exact == name).then_some(usize::MAX),
            Self::Suffix(suffix) => {
                let below = name.len() > suffix.len() && name.ends_with(suffix.as_str());
                below.then_some(suffix.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_takes_names_below_it_and_a_longer_one_takes_them_better() {
        let suffix = |text: &str| ServerName::Suffix(text.to_owned());
        for (asked, name, expect) in [
            (
                ServerName::Exact("a.test".to_owned()),
                "a.test",
                Some(usize::MAX),
            ),
            (ServerName::Exact("a.test".to_owned()), "b.a.test", None),
            (suffix(".a.test"), "b.a.test", Some(7)),
            (suffix(".a.test"), "c.b.a.test", Some(7)),
            (suffix(".test"), "b.a.test", Some(5)),
            (suffix(".a.test"), "a.test", None),
            (suffix(".a.test"), ".a.test", None),
            (suffix(".a.test"), "ba.test", None),
        ] {
            assert_eq!(asked.fit(name), expect, "{asked:?} {name}");
        }
    }
}
