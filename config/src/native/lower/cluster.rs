//! Clusters: algorithms with what they set, localities.

use std::collections::HashMap;

use super::health::{health_check, limits, outlier};
use super::keys::{at_most_one, exactly_one, unique};
use super::subsets::subsets;
use super::{proxy_protocol, tls};
use crate::native::wire::{
    BalanceItem, BalanceRecord, BalanceWord, ClusterRecord, ClusterRpcRecord, Cx, DiscoveryRecord,
    EndpointItem, HashCookieRecord, HashKeyRecord, Http2Record, LocalityRecord, MetadataPairs,
    OrFalse, PlacementRecord, RecordsWord, StickyRecord,
};
use crate::{
    Balance, Choices, ClientTls, Cluster, ClusterRpc, Cookie, Discovery, DiscoveryKind, Endpoint,
    HashFunction, HashKey, HashPart, Http2, Localities, Locality, Percent, Placement, Pool,
    Records, SlowStart, Sticky, UpstreamName, UpstreamProtocol, UpstreamSocket,
};

/// How long a moving average of times remembers, where nothing else is said.
const DECAY: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) fn clusters(records: Vec<ClusterRecord>, cx: &mut Cx) -> Vec<Cluster> {
    let names = records.iter().map(|record| (&record.name, &record.at));
    unique("cluster", "name", names, cx);
    records
        .into_iter()
        .map(|record| cluster(record, cx))
        .collect()
}

/// The hosts as they are listed.
fn endpoints(items: Vec<EndpointItem>, cx: &mut Cx) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(items.len());
    let mut seen = HashMap::new();
    for item in items {
        if let Some(first) = seen.insert(item.address.clone(), item.at.clone())
            && item.at != first
        {
            let message = format!(
                "this endpoint is there already ({first}): write it once, with a greater `weight` if it is to get more"
            );
            cx.warning(&item.at, message);
        }
        endpoints.push(Endpoint {
            address: item.address,
            weight: item.weight,
            priority: item.priority,
            locality: locality(item.locality),
            metadata: metadata(item.metadata),
        });
    }
    endpoints
}

fn discovery(record: DiscoveryRecord, cx: &mut Cx) -> Discovery {
    let path = format!("{}.dns", record.at);
    let records = match (record.records, record.dns.port) {
        (RecordsWord::Address, Some(port)) => Records::Addresses(port),
        (RecordsWord::Address, None) => {
            cx.problem(
                &path,
                "write a port after the name, as in `api.internal:8080`, or ask for `records: srv`",
            );
            Records::Services
        }
        (RecordsWord::Srv, None) => Records::Services,
        (RecordsWord::Srv, Some(_)) => {
            cx.problem(&path, "leave the port out: each service says its own");
            Records::Services
        }
    };
    if record.records == RecordsWord::Srv && record.kind == DiscoveryKind::Logical {
        let message = "write `strict`: services differ in port, priority and weight";
        cx.problem(&format!("{}.kind", record.at), message);
    }
    Discovery {
        name: record.dns.name,
        records,
        kind: record.kind,
        family: record.family,
        refresh: record.refresh.0,
    }
}

fn cluster(record: ClusterRecord, cx: &mut Cx) -> Cluster {
    let sources = ["endpoints", "discovery"];
    exactly_one(&record.at, &record.keys, &sources, cx);
    let listed = record.endpoints.map_or(Vec::new(), |items| items.0);
    let endpoints = endpoints(listed, cx);
    let slow_start = record.slow_start.map(|record| SlowStart {
        window: record.window.0,
        min_weight: record.min_weight,
    });
    let at = record.at.clone();
    let cluster = Cluster {
        name: record.name,
        protocol: record.protocol,
        balance: balance(record.balance, cx),
        endpoints: endpoints.into(),
        discovery: record.discovery.map(|record| discovery(record, cx)),
        connect_timeout: record.connect_timeout.0,
        first_byte_timeout: record.first_byte_timeout.map(|limit| limit.0),
        interim_answers: record.interim_answers.u32(),
        pool: Pool {
            idle_timeout: record.pool.idle_timeout.0,
            max_idle: record.pool.max_idle.u32(),
            max_requests: record.pool.max_requests.map(|limit| limit.0),
            max_age: record.pool.max_age.map(|limit| limit.0),
            groups: record.pool.groups.u32(),
            preconnect: record.pool.preconnect,
        },
        http2: http2(record.http2),
        rpc: rpc(record.rpc),
        socket: UpstreamSocket {
            keep_alive: record.socket.keep_alive,
            keep_alive_interval: record.socket.keep_alive_interval.0,
            keep_alive_probes: record.socket.keep_alive_probes.u32(),
            user_timeout: record.socket.user_timeout.map(|limit| limit.0),
            bind: record.socket.bind.iter().map(|bind| bind.0).collect(),
        },
        dns_refresh: record.dns_refresh.0,
        tls: record.tls.map(|tls| tls::client(tls, cx)),
        proxy_protocol: record
            .proxy_protocol
            .map(|item| proxy_protocol::sent(item, cx)),
        slow_start,
        placement: placement(record.placement, cx),
        subsets: record.subsets.map(|record| subsets(record, cx)),
        sticky: record.sticky.map(sticky),
        health_check: record.health_check.map(|record| health_check(record, cx)),
        outlier: record.outlier.map(outlier),
        limits: limits(record.limits),
    };
    refuse_preconnect(&at, &cluster, cx);
    cluster
}

/// Notes connections that are to be made ahead where nobody knows for whom.
fn refuse_preconnect(at: &str, cluster: &Cluster, cx: &mut Cx) {
    if cluster.pool.preconnect == Percent::NONE {
        return;
    }
    let by_name = |tls: &ClientTls| tls.server_name == UpstreamName::Host;
    let why = if matches!(cluster.protocol, UpstreamProtocol::Rpc(_)) {
        "calls of an RPC protocol share a connection"
    } else if cluster.proxy_protocol.is_some() {
        "with `proxy_protocol` each connection is one client's"
    } else if cluster.tls.as_ref().is_some_and(by_name) {
        "with `tls.server_name_from_host` each connection is for the name that a request asks for"
    } else {
        return;
    };
    let message = format!("leave `preconnect` out: {why}");
    cx.problem(&format!("{at}.pool.preconnect"), message);
}

fn http2(record: Http2Record) -> Http2 {
    let first = record.stream_window.0;
    Http2 {
        connections: record.connections.u32(),
        streams: record.streams.u32(),
        waiting: record.waiting.u32(),
        waiting_timeout: record.waiting_timeout.0,
        stream_window: first,
        stream_window_max: record.stream_window_max.0.max(first),
        connection_window_max: record.connection_window_max.0.max(first),
        header_list: record.header_list.0,
        keep_alive: record.keep_alive.map(|limit| limit.0),
        keep_alive_timeout: record.keep_alive_timeout.0,
    }
}

fn rpc(record: ClusterRpcRecord) -> ClusterRpc {
    ClusterRpc {
        connections: record.connections.map(|connections| connections.u32()),
        bound: record.bound,
        in_flight: record.in_flight.u32(),
        max_frame: record.max_frame,
        buffer: record.buffer,
        heartbeat: match record.heartbeat {
            OrFalse::Some(limit) => Some(limit.0),
            OrFalse::False => None,
        },
        heartbeat_timeout: record.heartbeat_timeout.0,
    }
}

fn locality(record: LocalityRecord) -> Locality {
    Locality {
        region: record.region,
        zone: record.zone,
        sub_zone: record.sub_zone,
    }
}

/// Keys and values, sorted by key: the order of a file means nothing.
pub(super) fn metadata(pairs: MetadataPairs) -> Vec<(String, String)> {
    let pairs = pairs.0.into_iter().map(|(key, value)| (key.0, value));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    pairs
}

fn balance(item: BalanceItem, cx: &mut Cx) -> Balance {
    let record = match item {
        BalanceItem::Word(word) => return plain(word),
        BalanceItem::Record(record) => *record,
    };
    let keys = [
        "least_request",
        "least_connection",
        "peak_ewma",
        "ring_hash",
        "maglev",
    ];
    exactly_one(&record.at, &record.keys, &keys, cx);
    with_keys(record, cx)
}

fn plain(word: BalanceWord) -> Balance {
    match word {
        BalanceWord::RoundRobin => Balance::RoundRobin,
        BalanceWord::Random => Balance::Random,
        BalanceWord::LeastRequest => Balance::LeastRequest(Choices::default()),
        BalanceWord::LeastConnection => Balance::LeastConnection(Choices::default()),
        BalanceWord::PeakEwma => Balance::PeakEwma {
            choices: Choices::default(),
            decay: DECAY,
        },
        BalanceWord::RingHash => Balance::RingHash {
            min_size: 1024,
            max_size: 8 << 20,
            function: HashFunction::default(),
        },
        BalanceWord::Maglev => Balance::Maglev { table_size: 65_537 },
        BalanceWord::RequestRoundRobin => Balance::RequestRoundRobin,
    }
}

fn with_keys(record: BalanceRecord, cx: &mut Cx) -> Balance {
    if let Some(least) = record.least_request {
        Balance::LeastRequest(Choices {
            picked: least.choices.u32(),
            full_scan: least.full_scan.u32(),
        })
    } else if let Some(least) = record.least_connection {
        Balance::LeastConnection(Choices {
            picked: least.choices.u32(),
            full_scan: least.full_scan.u32(),
        })
    } else if let Some(peak) = record.peak_ewma {
        Balance::PeakEwma {
            choices: Choices {
                picked: peak.choices.u32(),
                full_scan: peak.full_scan.u32(),
            },
            decay: peak.decay.0,
        }
    } else if let Some(ring) = record.ring_hash {
        if ring.min_size.0 > ring.max_size.0 {
            let path = format!("{}.min_size", ring.at);
            cx.problem(&path, "write a `min_size` of at most `max_size`");
        }
        Balance::RingHash {
            min_size: ring.min_size.u32(),
            max_size: ring.max_size.u32(),
            function: ring.function,
        }
    } else if let Some(maglev) = record.maglev {
        let size = maglev.table_size.u32();
        if !is_prime(size) {
            let path = format!("{}.table_size", maglev.at);
            cx.problem(&path, "write a prime, such as 65537 or 5000011: only then does each host reach every place of the table");
        }
        Balance::Maglev { table_size: size }
    } else {
        Balance::default()
    }
}

fn is_prime(number: u32) -> bool {
    let divides = |by: u32| number.is_multiple_of(by);
    number >= 2 && !(2..).take_while(|by| by * by <= number).any(divides)
}

fn placement(record: PlacementRecord, cx: &mut Cx) -> Placement {
    let choices = ["locality_weights", "zone_aware"];
    at_most_one(&record.at, &record.keys, &choices, cx);
    let localities = match (record.locality_weights, record.zone_aware) {
        (Some(weights), _) => {
            let weights = weights.0.into_iter();
            Localities::Weighted(
                weights
                    .map(|one| (locality(one.locality), one.weight.u32()))
                    .collect(),
            )
        }
        (None, Some(aware)) => Localities::ZoneAware {
            zone: aware.zone.0,
            min_hosts: aware.min_hosts.u32(),
            source: aware.source.map(|source| source.0),
        },
        (None, None) => Localities::Ignored,
    };
    Placement {
        overprovisioning: record.overprovisioning.u32(),
        panic_threshold: record.panic_threshold,
        localities,
    }
}

fn sticky(record: StickyRecord) -> Sticky {
    Sticky {
        cookie: Cookie {
            name: record.cookie.0,
            ttl: record.ttl.map(|ttl| ttl.0),
            path: Some(record.path.0),
        },
        strict: record.strict,
    }
}

/// A route's hash, part by part.
pub(super) fn hash_keys(records: Vec<HashKeyRecord>, cx: &mut Cx) -> Vec<HashKey> {
    records
        .into_iter()
        .filter_map(|record| hash_key(record, cx))
        .collect()
}

fn hash_key(record: HashKeyRecord, cx: &mut Cx) -> Option<HashKey> {
    let parts = ["header", "cookie", "query", "source", "path"];
    exactly_one(&record.at, &record.keys, &parts, cx);
    for (key, said) in [("source", record.source), ("path", record.path)] {
        if said == Some(false) {
            let message = format!("leave `{key}` out instead of writing `false`");
            cx.problem(&format!("{}.{key}", record.at), message);
        }
    }
    let of = if let Some(name) = record.header {
        HashPart::Header(name.0)
    } else if let Some(HashCookieRecord {
        name, ttl, path, ..
    }) = record.cookie
    {
        HashPart::Cookie(Cookie {
            name: name.0,
            ttl,
            path: path.map(|path| path.0),
        })
    } else if let Some(name) = record.query {
        HashPart::Query(name.0)
    } else if record.source.is_some() {
        HashPart::Source
    } else if record.path.is_some() {
        HashPart::Path
    } else {
        return None;
    };
    Some(HashKey {
        of,
        terminal: record.terminal,
    })
}
