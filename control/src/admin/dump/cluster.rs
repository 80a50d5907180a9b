//! Clusters, in the words of a configuration file.

use ringway_config::{
    Balance, Choices, Cluster, ClusterRpc, Cookie, Discovery, DiscoveryKind, Endpoint,
    EndpointAddress, Fallback, Family, HashFunction, HashKey, HashPart, Http2, Localities,
    Locality, Placement, Pool, Records, Selector, SelectorFallback, SlowStart, Sticky, Subsets,
    UpstreamProtocol, UpstreamSocket,
};
use serde_json::{Map, Value, json};

use super::health::{health_check, limits, outlier};
use super::routes::share;
use super::{each, list, map, proxy_protocol, some, texts, time, tls};

pub(super) fn cluster(cluster: &Cluster) -> Value {
    let Cluster {
        name,
        protocol,
        balance: of_balance,
        endpoints,
        discovery: of_discovery,
        connect_timeout,
        first_byte_timeout,
        interim_answers,
        pool: of_pool,
        http2: of_http2,
        rpc: of_rpc,
        socket: of_socket,
        dns_refresh,
        tls: of_tls,
        proxy_protocol: of_proxy,
        slow_start,
        placement: of_placement,
        subsets: of_subsets,
        sticky: of_sticky,
        health_check: of_check,
        outlier: of_outlier,
        limits: of_limits,
    } = cluster;
    let slow_start = slow_start.as_ref().map(|SlowStart { window, min_weight }| {
        json!({ "window": time(*window), "min_weight": share(*min_weight) })
    });
    map([
        ("name", some(name.as_str())),
        ("protocol", some(protocol_name(protocol))),
        ("balance", Some(balance(*of_balance))),
        ("endpoints", list(endpoints.iter().map(endpoint).collect())),
        ("discovery", of_discovery.as_ref().map(discovery)),
        ("connect_timeout", some(time(*connect_timeout))),
        (
            "first_byte_timeout",
            first_byte_timeout.map(|t| time(t).into()),
        ),
        ("interim_answers", some(*interim_answers)),
        ("pool", Some(pool(of_pool))),
        ("http2", Some(http2(of_http2))),
        ("rpc", Some(rpc(of_rpc))),
        ("socket", Some(socket(of_socket))),
        ("dns_refresh", some(time(*dns_refresh))),
        ("tls", of_tls.as_ref().map(tls::client)),
        (
            "proxy_protocol",
            of_proxy.as_ref().map(proxy_protocol::sent),
        ),
        ("slow_start", slow_start),
        ("placement", Some(placement(of_placement))),
        ("subsets", of_subsets.as_ref().map(subsets)),
        ("sticky", of_sticky.as_ref().map(sticky)),
        ("health_check", of_check.as_ref().map(health_check)),
        ("outlier", of_outlier.as_ref().map(outlier)),
        ("limits", limits(of_limits)),
    ])
}

fn discovery(discovery: &Discovery) -> Value {
    let Discovery {
        name,
        records,
        kind,
        family,
        refresh,
    } = discovery;
    let (name, records) = match records {
        Records::Addresses(port) => (format!("{name}:{port}"), "address"),
        Records::Services => (name.clone(), "srv"),
    };
    json!({
        "dns": name,
        "records": records,
        "kind": match kind {
            DiscoveryKind::Strict => "strict",
            DiscoveryKind::Logical => "logical",
        },
        "family": match family {
            Family::Any => "any",
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        },
        "refresh": time(*refresh),
    })
}

fn protocol_name(protocol: &UpstreamProtocol) -> &str {
    match protocol {
        UpstreamProtocol::Auto => "auto",
        UpstreamProtocol::Http1 => "http1",
        UpstreamProtocol::Http2 => "http2",
        UpstreamProtocol::SameAsClient => "same_as_client",
        UpstreamProtocol::Rpc(name) => name.as_str(),
    }
}

fn pool(pool: &Pool) -> Value {
    let Pool {
        idle_timeout,
        max_idle,
        max_requests,
        max_age,
        groups,
        preconnect,
    } = pool;
    map([
        ("idle_timeout", some(time(*idle_timeout))),
        ("max_idle", some(*max_idle)),
        ("max_requests", max_requests.map(Value::from)),
        ("max_age", max_age.map(|age| time(age).into())),
        ("groups", some(*groups)),
        ("preconnect", some(share(*preconnect))),
    ])
}

fn socket(socket: &UpstreamSocket) -> Value {
    let UpstreamSocket {
        keep_alive,
        keep_alive_interval,
        keep_alive_probes,
        user_timeout,
        bind,
    } = socket;
    map([
        ("keep_alive", some(time(*keep_alive))),
        ("keep_alive_interval", some(time(*keep_alive_interval))),
        ("keep_alive_probes", some(*keep_alive_probes)),
        ("user_timeout", user_timeout.map(|t| time(t).into())),
        ("bind", list(texts(bind))),
    ])
}

fn http2(http2: &Http2) -> Value {
    let Http2 {
        connections,
        streams,
        waiting,
        waiting_timeout,
        stream_window,
        stream_window_max,
        connection_window_max,
        header_list,
        keep_alive,
        keep_alive_timeout,
    } = http2;
    map([
        ("connections", some(*connections)),
        ("streams", some(*streams)),
        ("waiting", some(*waiting)),
        ("waiting_timeout", some(time(*waiting_timeout))),
        ("stream_window", some(stream_window.0)),
        ("stream_window_max", some(stream_window_max.0)),
        ("connection_window_max", some(connection_window_max.0)),
        ("header_list", some(header_list.0)),
        ("keep_alive", keep_alive.map(|t| time(t).into())),
        ("keep_alive_timeout", some(time(*keep_alive_timeout))),
    ])
}

fn rpc(rpc: &ClusterRpc) -> Value {
    let ClusterRpc {
        connections,
        bound,
        in_flight,
        max_frame,
        buffer,
        heartbeat,
        heartbeat_timeout,
    } = rpc;
    map([
        ("connections", connections.map(Value::from)),
        ("bound", some(*bound)),
        ("in_flight", some(*in_flight)),
        ("max_frame", some(max_frame.0)),
        ("buffer", some(buffer.0)),
        (
            "heartbeat",
            Some(heartbeat.map_or(Value::Bool(false), |t| time(t).into())),
        ),
        ("heartbeat_timeout", some(time(*heartbeat_timeout))),
    ])
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let Endpoint {
        address,
        weight,
        priority,
        locality: of_locality,
        metadata,
    } = endpoint;
    map([
        ("address", some(endpoint_text(address))),
        ("weight", some(*weight)),
        ("priority", some(*priority)),
        (
            "locality",
            (*of_locality != Locality::default()).then(|| locality(of_locality)),
        ),
        ("metadata", (!metadata.is_empty()).then(|| pairs(metadata))),
    ])
}

fn locality(locality: &Locality) -> Value {
    let Locality {
        region,
        zone,
        sub_zone,
    } = locality;
    let said = |text: &String| (!text.is_empty()).then(|| text.as_str().into());
    map([
        ("region", said(region)),
        ("zone", said(zone)),
        ("sub_zone", said(sub_zone)),
    ])
}

/// Keys and values as a map.
pub(super) fn pairs(pairs: &[(String, String)]) -> Value {
    let entries = pairs
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()));
    Value::Object(entries.collect::<Map<String, Value>>())
}

fn balance(balance: Balance) -> Value {
    let name = balance_name(balance);
    let counts =
        |Choices { picked, full_scan }| json!({ "choices": picked, "full_scan": full_scan });
    let keys = match balance {
        Balance::RoundRobin | Balance::Random | Balance::RequestRoundRobin => return name.into(),
        Balance::LeastRequest(choices) | Balance::LeastConnection(choices) => counts(choices),
        Balance::PeakEwma { choices, decay } => {
            let mut keys = counts(choices);
            keys["decay"] = time(decay).into();
            keys
        }
        Balance::RingHash {
            min_size,
            max_size,
            function,
        } => {
            let function = match function {
                HashFunction::XxHash => "xx_hash",
                HashFunction::Murmur2 => "murmur2",
            };
            json!({ "min_size": min_size, "max_size": max_size, "function": function })
        }
        Balance::Maglev { table_size } => json!({ "table_size": table_size }),
    };
    json!({ name: keys })
}

/// How a cluster picks, in a file's word.
pub(in crate::admin) fn balance_name(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round_robin",
        Balance::Random => "random",
        Balance::LeastRequest(_) => "least_request",
        Balance::LeastConnection(_) => "least_connection",
        Balance::PeakEwma { .. } => "peak_ewma",
        Balance::RingHash { .. } => "ring_hash",
        Balance::Maglev { .. } => "maglev",
        Balance::RequestRoundRobin => "request_round_robin",
    }
}

/// Where an endpoint is, as a file writes it.
pub(in crate::admin) fn endpoint_text(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Name(host, port) => format!("{host}:{port}"),
        EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn placement(placement: &Placement) -> Value {
    let Placement {
        overprovisioning,
        panic_threshold,
        localities,
    } = placement;
    let (weights, aware) = match localities {
        Localities::Ignored => (None, None),
        Localities::Weighted(weights) => {
            let one = |(of, weight): &(Locality, u32)| json!({ "locality": locality(of), "weight": weight });
            (Some(each(weights, one)), None)
        }
        Localities::ZoneAware {
            zone,
            min_hosts,
            source,
        } => {
            let source = source.as_ref().map(|source| source.as_str().into());
            let aware = map([
                ("zone", some(zone.as_str())),
                ("min_hosts", some(*min_hosts)),
                ("source", source),
            ]);
            (None, Some(aware))
        }
    };
    map([
        ("overprovisioning", some(*overprovisioning)),
        ("panic_threshold", some(share(*panic_threshold))),
        ("locality_weights", weights),
        ("zone_aware", aware),
    ])
}

fn subsets(subsets: &Subsets) -> Value {
    let Subsets {
        selectors,
        fallback,
        default,
    } = subsets;
    map([
        ("selectors", some(each(selectors, selector))),
        ("fallback", some(fallback_word(*fallback))),
        ("default", (!default.is_empty()).then(|| pairs(default))),
    ])
}

fn fallback_word(fallback: Fallback) -> &'static str {
    match fallback {
        Fallback::None => "none",
        Fallback::Any => "any",
        Fallback::Default => "default",
    }
}

fn selector(selector: &Selector) -> Value {
    let Selector { keys, fallback } = selector;
    let (word, fewer) = match fallback {
        SelectorFallback::Cluster => return json!(keys),
        SelectorFallback::Own(fallback) => (fallback_word(*fallback), None),
        SelectorFallback::Keys(fewer) => ("keys_subset", Some(json!(fewer))),
    };
    map([
        ("by", some(json!(keys))),
        ("fallback", some(word)),
        ("fallback_keys_subset", fewer),
    ])
}

fn sticky(sticky: &Sticky) -> Value {
    let Sticky {
        cookie: Cookie { name, ttl, path },
        strict,
    } = sticky;
    map([
        ("cookie", some(name.as_str())),
        ("ttl", ttl.map(|ttl| time(ttl).into())),
        ("path", path.as_deref().map(Value::from)),
        ("strict", some(*strict)),
    ])
}

/// What a route hashes.
pub(super) fn hash(keys: &[HashKey]) -> Option<Value> {
    list(each(keys, |HashKey { of, terminal }| {
        let (word, value) = match of {
            HashPart::Header(name) => ("header", name.as_str().into()),
            HashPart::Query(name) => ("query", name.as_str().into()),
            HashPart::Source => ("source", true.into()),
            HashPart::Path => ("path", true.into()),
            HashPart::Cookie(Cookie { name, ttl, path }) => {
                let cookie = map([
                    ("name", some(name.as_str())),
                    ("ttl", ttl.map(|ttl| time(ttl).into())),
                    ("path", path.as_deref().map(Value::from)),
                ]);
                ("cookie", cookie)
            }
        };
        map([(word, Some(value)), ("terminal", some(*terminal))])
    }))
}
