//! How a host is picked: algorithms, priorities and localities, subsets, and what a hash is made of.

use super::{
    ClusterRef, Cx, FieldName, Filled, Int, NonEmpty, Pairs, Positive, Shape, Token, UrlPath, Wire,
    choice, fields::record, fields::wrong_shape,
};
use crate::native::tree::{Node, Value};
use crate::{HashFunction, Percent};

/// An algorithm by its word, with what it may set.
#[derive(Clone, Debug)]
pub(crate) enum BalanceItem {
    /// Only the word.
    Word(BalanceWord),
    /// A map of one key.
    Record(Box<BalanceRecord>),
}

impl Wire for BalanceItem {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Map(_) => {
                BalanceRecord::read(node, cx).map(|record| Self::Record(Box::new(record)))
            }
            Value::Text(_) => BalanceWord::read(node, cx).map(Self::Word),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Unknown => {
                wrong_shape(node, &Self::shape(), cx);
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![BalanceWord::shape(), BalanceRecord::shape()])
    }
    fn hole() -> Self {
        Self::Word(BalanceWord::RoundRobin)
    }
}

/// An algorithm's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BalanceWord {
    RoundRobin,
    Random,
    LeastRequest,
    LeastConnection,
    PeakEwma,
    RingHash,
    Maglev,
    RequestRoundRobin,
}

choice!(BalanceWord {
    RoundRobin = "round_robin": "in turn, by weight",
    Random = "random": "by chance, by weight",
    LeastRequest = "least_request": "of two picked by chance (by weight), the one with fewer requests in flight",
    LeastConnection = "least_connection": "of two picked by chance (by weight), the one with fewer connections",
    PeakEwma = "peak_ewma": "of two picked by chance (by weight), the one that answers sooner, by a moving average that follows peaks at once",
    RingHash = "ring_hash": "by a hash of the request (the route's `hash`), on a ring on which each host has many places",
    Maglev = "maglev": "by a hash of the request (the route's `hash`), in a table that all hosts share evenly",
    RequestRoundRobin = "request_round_robin": "each request begins with the first host and goes on to the next when it is tried again",
});

record! {
    /// An algorithm and what it sets: exactly one key.
    BalanceRecord {
        /// Requests in flight.
        least_request: Option<ChoicesRecord>,
        /// Connections.
        least_connection: Option<ChoicesRecord>,
        /// Response times.
        peak_ewma: Option<PeakEwmaRecord>,
        /// A ring of hashes.
        ring_hash: Option<RingHashRecord>,
        /// A table of hashes.
        maglev: Option<MaglevRecord>,
    }
}

record! {
    /// How many hosts are compared.
    ChoicesRecord {
        /// How many hosts are drawn at random.
        choices: Int<2, 32> = 2,
        /// Compare all hosts if there are no more than this; 0: never.
        full_scan: Int<0, 1024> = 0,
    }
}

record! {
    /// By response times.
    PeakEwmaRecord {
        /// How many hosts are drawn at random.
        choices: Int<2, 32> = 2,
        /// Compare all hosts if there are no more than this; 0: never.
        full_scan: Int<0, 1024> = 0,
        /// How long a response time counts.
        decay: Positive = "10s",
    }
}

record! {
    /// A ring of hashes: a host's places follow its weight.
    RingHashRecord {
        /// The least number of places on the ring.
        min_size: Int<1, 8_388_608> = 1024,
        /// The greatest number of places on the ring.
        max_size: Int<1, 8_388_608> = 8_388_608,
        /// What hashes the hosts.
        function: HashFunction = "xx_hash",
    }
}

choice!(HashFunction {
    XxHash = "xx_hash": "XXH64",
    Murmur2 = "murmur2": "MurmurHash2 with 64 bits",
});

record! {
    /// A table of hashes: a host's share follows its weight.
    MaglevRecord {
        /// Its size: a prime, much larger than the number of hosts.
        table_size: Int<2, 5_000_011> = 65_537,
    }
}

record! {
    /// How hosts that are new, or healthy again, get their share: little at first, then more and more.
    SlowStartRecord {
        /// How long it takes until a host has its whole share.
        window: Positive = "30s",
        /// The share at the beginning.
        min_weight: Percent = "10%",
    }
}

record! {
    /// The locality of a host.
    LocalityRecord {
        /// Its region.
        region: String = "",
        /// Its zone.
        zone: String = "",
        /// Its part of the zone.
        sub_zone: String = "",
    }
}

/// What subsets tell hosts apart by.
pub(crate) type MetadataPairs = Pairs<Filled, String>;

record! {
    /// How priorities and localities share the requests: at most one of `locality_weights` and `zone_aware`.
    PlacementRecord {
        /// How far healthy hosts can stand in for others, in per cent: with 140, five healthy hosts out of seven carry everything before the next priority is used.
        overprovisioning: Int<100, 10_000> = 140,
        /// With fewer healthy hosts than this share of a priority, all of its hosts are used, healthy or not; `0%`: never.
        panic_threshold: Percent = "50%",
        /// Weights by which localities share the requests, each times its healthy part; a locality that is not listed has the weight 1.
        locality_weights: Option<NonEmpty<LocalityWeightRecord>>,
        /// Keeps as many requests as possible in this proxy's own zone, without loading its hosts more than others.
        zone_aware: Option<ZoneAwareRecord>,
    }
}

record! {
    /// A locality's weight.
    LocalityWeightRecord {
        /// The locality.
        locality: LocalityRecord,
        /// Its weight.
        weight: Int<0, 1_000_000>,
    }
}

record! {
    /// Preference for one zone.
    ZoneAwareRecord {
        /// The zone of this proxy.
        zone: Filled,
        /// With fewer healthy hosts than this there is no preference.
        min_hosts: Int<1, 1_000_000> = 6,
        /// The cluster to which this proxy itself belongs: its hosts by zone say how much each zone sends. Without this key every zone is taken to send the same.
        source: Option<ClusterRef>,
    }
}

record! {
    /// Sets of hosts by their metadata.
    SubsetsRecord {
        /// The sets of keys by which routes may select hosts, such as `[[version], [version, stage]]`.
        selectors: NonEmpty<SelectorItem>,
        /// Where a request goes that asks for no metadata, for other keys, or for hosts that do not exist.
        fallback: FallbackWord = "any",
        /// The metadata of the hosts that `fallback: default` uses.
        default: Option<MetadataPairs>,
    }
}

/// What becomes of a request for hosts that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FallbackWord {
    None,
    Any,
    Default,
}

choice!(FallbackWord {
    None = "none": "no host: the request is a 503",
    Any = "any": "any host",
    Default = "default": "the hosts of `default`",
});

/// Keys to ask by: the keys alone, or with a fallback of their own.
#[derive(Clone, Debug)]
pub(crate) enum SelectorItem {
    /// Only the keys.
    Keys(NonEmpty<Filled>),
    /// With a fallback.
    Record(Box<SelectorRecord>),
}

impl Wire for SelectorItem {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Map(_) => {
                SelectorRecord::read(node, cx).map(|record| Self::Record(Box::new(record)))
            }
            Value::List(_) => NonEmpty::read(node, cx).map(Self::Keys),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Unknown => {
                wrong_shape(node, &Self::shape(), cx);
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![NonEmpty::<Filled>::shape(), SelectorRecord::shape()])
    }
    fn hole() -> Self {
        Self::Keys(Wire::hole())
    }
}

record! {
    /// A set of keys, with its own fallback.
    SelectorRecord {
        /// The keys, all of which a route must name.
        by: NonEmpty<Filled>,
        /// Where a request goes that asks by these keys for hosts that do not exist. Without this key: as `fallback` of `subsets` says.
        fallback: Option<SelectorFallbackWord>,
        /// The keys of `by` that `fallback: keys_subset` still uses.
        fallback_keys_subset: Option<NonEmpty<Filled>>,
    }
}

/// The same of one selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelectorFallbackWord {
    None,
    Any,
    Default,
    KeysSubset,
}

choice!(SelectorFallbackWord {
    None = "none": "no host: the request is a 503",
    Any = "any": "any host",
    Default = "default": "the hosts of `default`",
    KeysSubset = "keys_subset": "those that `fallback_keys_subset` finds of what was asked for",
});

record! {
    /// Keeps each client at one host by a cookie, whose value does not reveal the host's address.
    StickyRecord {
        /// The cookie's name.
        cookie: Token,
        /// How long clients keep it. Without this key: until they are closed.
        ttl: Option<Positive>,
        /// Its path.
        path: UrlPath = "/",
        /// If the host is not usable, answer 503 instead of using another one.
        strict: bool = false,
    }
}

record! {
    /// A part of a request that is hashed: exactly one of `header`, `cookie`, `query`, `source` and `path`.
    HashKeyRecord {
        /// The value of this header.
        header: Option<FieldName>,
        /// The value of a cookie.
        cookie: Option<HashCookieRecord>,
        /// The value of this query parameter.
        query: Option<Filled>,
        /// `true`: the client's address.
        source: Option<bool>,
        /// `true`: the path.
        path: Option<bool>,
        /// If this part is present, those after it do not count.
        terminal: bool = false,
    }
}

record! {
    /// A cookie that is hashed. With `ttl` it is given to clients that have none.
    HashCookieRecord {
        /// Its name.
        name: Token,
        /// How long clients keep the cookie that they are given; 0: until they are closed. Without this key none is given.
        ttl: Option<std::time::Duration>,
        /// Its path. Without this key: the request's directory.
        path: Option<UrlPath>,
    }
}
