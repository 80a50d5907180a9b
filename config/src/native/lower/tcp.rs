//! Bytes passed on, chains chosen by what TLS says first, and what beside them would have no effect.

use super::action;
use super::cluster::metadata;
use crate::native::wire::{Cx, LimitsRecord, TcpRecord};
use crate::{Chain, ChainMatch, Service, TcpProxy, WeightedCluster};

/// What a listener's limits say of connections whatever they carry; all others are of requests.
const LIMITS_OF_CONNECTIONS: [&str; 5] = [
    "connections",
    CLIENT_HELLO[0],
    CLIENT_HELLO[1],
    CLIENT_HELLO[2],
    HANDSHAKE,
];
/// What they say of ClientHellos.
const CLIENT_HELLO: [&str; 3] = ["client_hello", "client_hello_timeout", "tls_handshakes"];
/// What they say of handshakes.
const HANDSHAKE: &str = "tls_handshake_timeout";

/// Makes the model of a TCP proxy.
pub(crate) fn proxy(record: TcpRecord, cx: &mut Cx) -> TcpProxy {
    action::want(&record.at, &record.keys, &record.cluster.0, cx);
    let clusters = record.cluster.0.into_iter();
    TcpProxy {
        clusters: clusters
            .map(|(cluster, weight)| WeightedCluster { cluster, weight })
            .collect(),
        idle_timeout: record.idle_timeout.0,
        max_duration: record.max_duration.map(|limit| limit.0),
        connect_attempts: record.connect_attempts.u32(),
        hash: record.hash,
        metadata_match: metadata(record.metadata_match),
    }
}

/// Notes a chain that is chosen by what TLS says and then reads requests, which would find records of TLS instead.
pub(crate) fn refuse_tls_without_end(at: &str, matches: &ChainMatch, cx: &mut Cx) {
    for (key, asked) in [
        ("sni", !matches.sni.is_empty()),
        ("alpn", !matches.alpn.is_empty()),
    ] {
        if asked {
            let message = format!(
                "leave `{key}` out, or write `tcp` in this chain: a client that says it speaks TLS, in which no requests are found"
            );
            cx.problem(&format!("{at}.match.{key}"), message);
        }
    }
}

/// Notes what a listener says of requests where none of its chains has any, and of ClientHellos where nothing depends on them.
pub(crate) fn refuse_what_has_no_effect(
    at: &str,
    keys: &[&str],
    limits: &LimitsRecord,
    chains: &[Chain],
    cx: &mut Cx,
) {
    let bytes_only = chains
        .iter()
        .all(|chain| matches!(chain.service, Service::Tcp(_)));
    if bytes_only && !chains.is_empty() {
        for key in ["protocol", "http2", "forwarded"]
            .iter()
            .filter(|key| keys.contains(key))
        {
            let message = format!("leave `{key}` out: it has an effect on requests only");
            cx.problem(&format!("{at}.{key}"), message);
        }
        let of_requests = |key: &&&str| !LIMITS_OF_CONNECTIONS.contains(*key);
        for key in limits.keys.iter().filter(of_requests) {
            let message = format!("leave `{key}` out: it has an effect on requests only");
            cx.problem(&format!("{at}.limits.{key}"), message);
        }
    }
    if limits.keys.contains(&HANDSHAKE) && chains.iter().all(|chain| chain.tls.is_none()) {
        let message = format!("leave `{HANDSHAKE}` out: no chain here has `tls`");
        cx.problem(&format!("{at}.limits.{HANDSHAKE}"), message);
    }
    if chains.iter().any(Chain::asks_hello) {
        return;
    }
    for key in CLIENT_HELLO.iter().filter(|key| limits.keys.contains(key)) {
        let message =
            format!("leave `{key}` out: no chain here has `tls` or asks for `sni` or `alpn`");
        cx.problem(&format!("{at}.limits.{key}"), message);
    }
}
