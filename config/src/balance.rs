//! How a host is picked: the algorithm, what it asks of the request, and which hosts it chooses among.

use std::time::Duration;

use crate::{Name, Percent};

/// How a host is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// Of some picked by chance (by weight), the one with the fewest requests in flight.
    LeastRequest(Choices),
    /// Of some picked by chance (by weight), the one with the fewest connections.
    LeastConnection(Choices),
    /// Of some picked by chance (by weight), the one whose answers are the quickest, by a moving average that follows peaks.
    PeakEwma {
        /// How many are picked.
        choices: Choices,
        /// How long an answer's time counts. Default 10 s.
        decay: Duration,
    },
    /// By a hash of the request, on a ring on which each host stands many times.
    RingHash {
        /// Points on the ring at least. Default 1024.
        min_size: u32,
        /// And at most. Default 8 Mi.
        max_size: u32,
        /// What hashes the hosts.
        function: HashFunction,
    },
    /// By a hash of the request, in a table that hosts fill in turn.
    Maglev {
        /// Its size, a prime. Default 65537.
        table_size: u32,
    },
    /// Each request begins with the first host and goes on to the next when it is tried again.
    RequestRoundRobin,
}

/// How many hosts are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Picked by chance. Default 2.
    pub picked: u32,
    /// All are looked at where there are no more than this. Default 0: never.
    pub full_scan: u32,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            picked: 2,
            full_scan: 0,
        }
    }
}

/// What hashes hosts onto a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// XXH64.
    #[default]
    XxHash,
    /// MurmurHash2, 64 bits.
    Murmur2,
}

/// How hosts that are new or came back get their share: little at first, then more and more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowStart {
    /// How long it takes to the whole share.
    pub window: Duration,
    /// The share at its beginning. Default 10 %.
    pub min_weight: Percent,
}

/// How priorities and localities share the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// How many per cent of a priority's hosts count as all of them: with 140, five of seven carry everything. Default 140.
    pub overprovisioning: u32,
    /// With fewer healthy hosts than this, all are asked. Default 50 %; 0 never.
    pub panic_threshold: Percent,
    /// How localities share.
    pub localities: Localities,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            overprovisioning: 140,
            panic_threshold: Percent::HALF,
            localities: Localities::Ignored,
        }
    }
}

/// How localities share the requests of a priority.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Localities {
    /// Not at all: a host is a host.
    #[default]
    Ignored,
    /// By these weights; one that is not there has 1. The share of one that loses hosts goes to the others by and by.
    Weighted(Vec<(Locality, u32)>),
    /// As much as possible to this proxy's own zone.
    ZoneAware {
        /// The zone of this proxy.
        zone: String,
        /// With fewer hosts than this there is no preference. Default 6.
        min_hosts: u32,
        /// The cluster that this proxy is of, whose hosts by zone say how much traffic each zone sends; absent: every zone
        /// sends the same.
        source: Option<Name>,
    },
}

/// Where a host stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Locality {
    /// Its region; empty: not said.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// Its part of the zone.
    pub sub_zone: String,
}

/// Hosts by metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsets {
    /// The sets of keys that routes may ask by.
    pub selectors: Vec<Selector>,
    /// Where a route asks for none of them, or for hosts that are not there.
    pub fallback: Fallback,
    /// The metadata of the hosts of [`Fallback::Default`], sorted by key; empty where none is that.
    pub default: Vec<(String, String)>,
}

/// Keys that routes may ask by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The keys, sorted.
    pub keys: Vec<String>,
    /// Where there are no hosts of such values.
    pub fallback: SelectorFallback,
}

/// Where there is no subset as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fallback {
    /// No host at all.
    None,
    /// Any host.
    #[default]
    Any,
    /// The hosts of `default`.
    Default,
}

/// The same, of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectorFallback {
    /// As the cluster has it.
    Cluster,
    /// Its own.
    Own(Fallback),
    /// What is asked for by these of its keys alone, sorted.
    Keys(Vec<String>),
}

impl Subsets {
    /// Whether something falls back to the hosts of `default`.
    pub fn falls_to_default(&self) -> bool {
        let own = |selector: &Selector| {
            matches!(selector.fallback, SelectorFallback::Own(Fallback::Default))
        };
        self.fallback == Fallback::Default || self.selectors.iter().any(own)
    }
}

/// Clients that stay with their host by a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie.
    pub cookie: Cookie,
    /// A host that cannot be asked is a 503 instead of another host. Default false.
    pub strict: bool,
}

/// A cookie that the proxy gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// How long it is kept; absent: as long as the client runs.
    pub ttl: Option<Duration>,
    /// Its path; absent: the request's directory, as clients take it.
    pub path: Option<String>,
}

/// A part of a request that a hash is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashKey {
    /// Which.
    pub of: HashPart,
    /// Where it is there, what follows does not count. Default false.
    pub terminal: bool,
}

/// What a hash is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashPart {
    /// A field's value; its name in lower case.
    Header(String),
    /// A cookie's value. One with a `ttl` is made where it is absent.
    Cookie(Cookie),
    /// The client's address.
    Source,
    /// A query parameter's value.
    Query(String),
    /// The path.
    Path,
}
