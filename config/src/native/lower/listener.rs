//! Listeners: one chain from the flat form, inline route tables named after their listener.

use ipnet::IpNet;

use super::keys::{self, unique};
use super::{Placed, proxy_protocol, route, tcp, tls};
use crate::native::wire::{
    AccessLogRecord, ChainMatchRecord, ChainRecord, ClientHttp2Record, ClientRpcRecord, Cx,
    FilterItem, ForwardedRecord, LimitsRecord, ListenerRecord, NonEmpty, OrFalse, RouteRecord,
    RouteTableRef, TcpRecord, TlsRecord, VirtualHostRecord,
};
use crate::{
    AccessLog, Chain, ChainMatch, ClientHttp2, ClientRpc, Filter, Forwarded, HttpLimits,
    ListenAddress, Listener, LogFormat, LogTarget, Name, PathNormalize, PortRange, RouteTable,
    Service,
};

/// The line of an access log that says nothing of its format: Envoy's own.
const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"";

/// Makes the listeners, and adds their inline route tables to those that have names.
pub(crate) fn listeners(
    records: Vec<ListenerRecord>,
    tables: &mut Vec<RouteTable>,
    cx: &mut Cx,
) -> Vec<Placed<Listener>> {
    let names = records.iter().map(|record| (&record.name, &record.at));
    unique("listener", "name", names, cx);
    let named = tables.len();
    let all: Vec<_> = records
        .into_iter()
        .map(|record| Placed {
            at: record.at.clone(),
            value: listener(record, tables, cx),
        })
        .collect();
    for one in &all {
        let own = one.value.name.as_str();
        let clash = |table: &RouteTable| !own.is_empty() && table.name.as_str() == own;
        // Only an inline table bears the listener's name.
        let inline = tables.iter().skip(named).any(clash);
        if let (true, Some(taken)) = (inline, tables.iter().take(named).position(clash)) {
            let message = format!(
                "the routes of this listener bear its name, which is taken by route_tables[{taken}]: write another name"
            );
            cx.problem(&format!("{}.name", one.at), message);
        }
    }
    all
}

fn listener(record: ListenerRecord, tables: &mut Vec<RouteTable>, cx: &mut Cx) -> Listener {
    let at = record.at;
    cx.spans
        .alias(format!("{at}.access_logs"), format!("{at}.access_log"));
    let mut address = record.address;
    match (&mut address, record.mode) {
        (ListenAddress::Unix { mode, .. }, Some(said)) => *mode = said.0,
        (ListenAddress::Tcp(_), Some(_)) if record.keys.contains(&"address") => {
            let message = "leave `mode` out: only a Unix socket has permissions";
            cx.problem(&format!("{at}.mode"), message);
        }
        (ListenAddress::Tcp(_), Some(_))
        | (ListenAddress::Unix { .. } | ListenAddress::Tcp(_), None) => {}
    }
    let keys = record.keys.clone();
    let flat = Treatment {
        at: at.clone(),
        keys: record.keys,
        name: record.name.clone(),
        matches: ChainMatch::default(),
        tls: record.tls,
        filters: record.filters,
        routes: record.routes,
        virtual_hosts: record.virtual_hosts,
        route_table: record.route_table,
        path_normalize: record.path_normalize,
        merge_slashes: record.merge_slashes,
        tcp: record.tcp,
    };
    let chains = match record.chains {
        Some(NonEmpty(chains)) => {
            flat.refuse_beside_chains(cx);
            several_chains(chains, &record.name, tables, cx)
        }
        None => {
            cx.spans.alias(format!("{at}.chains[0]"), at.clone());
            let choices = ["routes", "virtual_hosts", "route_table", "tcp", "chains"];
            vec![chain(flat, &choices, tables, cx)]
        }
    };
    tcp::refuse_what_has_no_effect(&at, &keys, &record.limits, &chains, cx);
    let access_logs = record.access_log.into_iter();
    let wanted = access_logs.len();
    let access_logs: Vec<_> = access_logs.filter_map(|log| access_log(log, cx)).collect();
    if access_logs.len() < wanted {
        cx.holes.push(format!("{at}.access_log"));
    }
    let proxy_protocol = record.proxy_protocol;
    let proxy_protocol = proxy_protocol.map(|record| proxy_protocol::taken(record, &address, cx));
    Listener {
        name: record.name,
        address,
        proxy_protocol,
        protocol: record.protocol,
        chains,
        limits: limits(&record.limits),
        http2: http2(record.http2),
        rpc: rpc(&record.rpc),
        forwarded: forwarded(record.forwarded),
        access_logs,
        backlog: record.backlog.u32(),
    }
}

/// What becomes of some connections' requests: the part that a flat listener and a chain have in common.
struct Treatment {
    at: String,
    keys: Vec<&'static str>,
    name: Name,
    matches: ChainMatch,
    tls: Option<TlsRecord>,
    filters: Vec<FilterItem>,
    routes: Option<Vec<RouteRecord>>,
    virtual_hosts: Option<NonEmpty<VirtualHostRecord>>,
    route_table: Option<RouteTableRef>,
    path_normalize: Option<PathNormalize>,
    merge_slashes: Option<bool>,
    tcp: Option<TcpRecord>,
}

impl Treatment {
    /// Beside `chains`, what a chain says has no place.
    fn refuse_beside_chains(&self, cx: &mut Cx) {
        for key in [
            "routes",
            "virtual_hosts",
            "route_table",
            "tls",
            "filters",
            "path_normalize",
            "merge_slashes",
            "tcp",
        ] {
            if self.keys.contains(&key) {
                let message =
                    format!("move `{key}` into an item of `chains`, which stands beside it");
                cx.problem(&format!("{}.{key}", self.at), message);
            }
        }
    }

    /// Beside `tcp`, what is said of requests has no place.
    fn refuse_beside_tcp(&self, cx: &mut Cx) {
        for key in ["filters", "path_normalize", "merge_slashes"] {
            if self.keys.contains(&key) {
                let message = format!("leave `{key}` out: it has an effect on requests only");
                cx.problem(&format!("{}.{key}", self.at), message);
            }
        }
    }

    /// Beside `route_table`, what the table says has no place.
    fn refuse_beside_table(&self, cx: &mut Cx) {
        for key in ["path_normalize", "merge_slashes"] {
            if self.keys.contains(&key) {
                let message = format!("move `{key}` to the route table that is referred to");
                cx.problem(&format!("{}.{key}", self.at), message);
            }
        }
    }
}

fn chain(
    record: Treatment,
    choices: &[&'static str],
    tables: &mut Vec<RouteTable>,
    cx: &mut Cx,
) -> Chain {
    keys::exactly_one(&record.at, &record.keys, choices, cx);
    let tls = record.tls.clone().map(|tls| tls::server(tls, cx));
    if let Some(tcp) = record.tcp.clone() {
        record.refuse_beside_tcp(cx);
        return Chain {
            matches: record.matches,
            tls,
            filters: Vec::new(),
            service: Service::Tcp(tcp::proxy(tcp, cx)),
        };
    }
    if tls.is_none() {
        tcp::refuse_tls_without_end(&record.at, &record.matches, cx);
    }
    let routes = if let Some(RouteTableRef(name)) = &record.route_table {
        record.refuse_beside_table(cx);
        name.clone()
    } else {
        let content = route::Content {
            at: record.at,
            index: tables.len(),
            virtual_hosts: record.virtual_hosts,
            routes: record.routes,
        };
        tables.push(RouteTable {
            name: record.name.clone(),
            path_normalize: record.path_normalize.unwrap_or_default(),
            merge_slashes: record.merge_slashes.unwrap_or_default(),
            virtual_hosts: route::virtual_hosts(content, cx),
        });
        record.name
    };
    Chain {
        matches: record.matches,
        tls,
        filters: filters(record.filters),
        service: Service::Routes(routes),
    }
}

fn several_chains(
    records: Vec<ChainRecord>,
    listener: &Name,
    tables: &mut Vec<RouteTable>,
    cx: &mut Cx,
) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::with_capacity(records.len());
    for (index, record) in records.into_iter().enumerate() {
        let name = match index {
            0 => listener.clone(),
            _ => Name::new(&format!("{listener}#{}", index + 1)),
        };
        let at = record.at.clone();
        let treatment = Treatment {
            at: record.at,
            keys: record.keys,
            name,
            matches: chain_match(record.r#match),
            tls: record.tls,
            filters: record.filters,
            routes: record.routes,
            virtual_hosts: record.virtual_hosts,
            route_table: record.route_table,
            path_normalize: record.path_normalize,
            merge_slashes: record.merge_slashes,
            tcp: record.tcp,
        };
        let choices = ["routes", "virtual_hosts", "route_table", "tcp"];
        let this = chain(treatment, &choices, tables, cx);
        let earlier = chains
            .iter()
            .position(|earlier| takes_all_of(earlier, &this));
        if let Some(earlier) = earlier {
            let message = format!(
                "no connection comes to this chain: chain {earlier} before it takes all of them; move this one up or narrow that one's `match`"
            );
            cx.problem(&at, message);
        }
        chains.push(this);
    }
    chains
}

fn chain_match(record: ChainMatchRecord) -> ChainMatch {
    fn list<T>(items: Option<NonEmpty<T>>) -> Vec<T> {
        items.map_or(Vec::new(), |list| list.0)
    }
    let alpn = list(record.alpn).into_iter();
    ChainMatch {
        source: list(record.source),
        destination: list(record.destination),
        destination_ports: list(record.destination_ports)
            .iter()
            .map(|ports| ports.0)
            .collect(),
        sni: list(record.sni),
        alpn: alpn.map(|name| name.0).collect(),
    }
}

/// Whether every connection of `b` is one of `a`, which it fits as well.
fn takes_all_of(a: &Chain, b: &Chain) -> bool {
    let carried = [true, false]
        .into_iter()
        .all(|tls| a.takes(tls) || !b.takes(tls));
    carried && matches_all_of(&a.matches, &b.matches)
}

fn matches_all_of(a: &ChainMatch, b: &ChainMatch) -> bool {
    let within = |outer: &[IpNet], inner: &[IpNet]| {
        let held = |net: &IpNet| outer.iter().any(|range| range.contains(net));
        outer.is_empty() || (!inner.is_empty() && inner.iter().all(held))
    };
    // Names and protocols come before order: only a match that asks for the same of them hides a later one.
    fn hides<T: PartialEq>(a: &[T], b: &[T]) -> bool {
        a.is_empty() == b.is_empty() && b.iter().all(|asked| a.contains(asked))
    }
    let ports = |outer: &[PortRange], inner: &[PortRange]| {
        let held = |ports: &PortRange| outer.iter().any(|range| range.holds(*ports));
        outer.is_empty() || (!inner.is_empty() && inner.iter().all(held))
    };
    within(&a.source, &b.source)
        && within(&a.destination, &b.destination)
        && ports(&a.destination_ports, &b.destination_ports)
        && hides(&a.sni, &b.sni)
        && hides(&a.alpn, &b.alpn)
}

pub(crate) fn filters(items: Vec<FilterItem>) -> Vec<Filter> {
    items.into_iter().map(|item| item.0).collect()
}

fn access_log(record: AccessLogRecord, cx: &mut Cx) -> Option<AccessLog> {
    let at = &record.at;
    if record.stdout == Some(false) {
        let message = "write `stdout: true`, or `file` instead";
        cx.problem(&format!("{at}.stdout"), message);
    }
    keys::exactly_one(at, &record.keys, &["file", "stdout"], cx);
    keys::at_most_one(at, &record.keys, &["format", "json"], cx);
    let target = match record.file {
        Some(path) => LogTarget::File(path),
        None => LogTarget::Stdout,
    };
    let format = match (record.format, record.json) {
        (Some(text), _) => LogFormat::Text(text.0),
        (None, Some(pairs)) => {
            if pairs.0.is_empty() {
                let message = "write at least one key and its format in `json`";
                cx.problem(&format!("{at}.json"), message);
                return None;
            }
            let pairs = pairs.0.into_iter();
            LogFormat::Json(pairs.map(|(key, format)| (key.0, format)).collect())
        }
        (None, None) => LogFormat::Text(DEFAULT_FORMAT.to_owned()),
    };
    Some(AccessLog { target, format })
}

fn limits(record: &LimitsRecord) -> HttpLimits {
    HttpLimits {
        connections: record.connections.map(|limit| limit.0),
        request_line: record.request_line.0,
        field: record.field.0,
        fields_total: record.fields_total.0,
        fields: record.fields.u32(),
        body: record.body,
        header_timeout: record.header_timeout.0,
        body_rate: record.body_rate,
        body_rate_grace: record.body_rate_grace.0,
        idle_timeout: record.idle_timeout.0,
        request_timeout: record.request_timeout.map(|limit| limit.0),
        requests_per_connection: record.requests_per_connection.map(|limit| limit.0),
        drain_body: record.drain_body,
        client_hello: record.client_hello.0,
        client_hello_timeout: record.client_hello_timeout.0,
        tls_handshake_timeout: record.tls_handshake_timeout.0,
        tls_handshakes: record.tls_handshakes.u32(),
    }
}

fn http2(record: ClientHttp2Record) -> ClientHttp2 {
    let first = record.stream_window.0;
    ClientHttp2 {
        concurrent_streams: record.concurrent_streams.u32(),
        header_list: record.header_list.0,
        cookie_pieces: record.cookie_pieces.u32(),
        stream_window: first,
        stream_window_max: record.stream_window_max.0.max(first),
        connection_window_max: record.connection_window_max.0.max(first),
        send_buffer: record.send_buffer.0,
        control_frames: record.control_frames.u32(),
        empty_frames: record.empty_frames.u32(),
        stream_errors: record.stream_errors.u32(),
        resets_window: record.resets_window.u32(),
        max_age: record.max_age.map(|limit| limit.0),
        keep_alive: record.keep_alive.map(|limit| limit.0),
        keep_alive_timeout: record.keep_alive_timeout.0,
        websocket: record.websocket,
    }
}

fn rpc(record: &ClientRpcRecord) -> ClientRpc {
    ClientRpc {
        max_frame: record.max_frame,
        in_flight: record.in_flight.u32(),
        queue: record.queue,
        memory: record.memory,
        goaway: record.goaway,
    }
}

fn forwarded(record: ForwardedRecord) -> Forwarded {
    Forwarded {
        trusted: record.trusted,
        x_forwarded_for: record.x_forwarded_for,
        x_forwarded_proto: record.x_forwarded_proto,
        x_forwarded_host: record.x_forwarded_host,
        x_forwarded_client_cert: record.x_forwarded_client_cert,
        x_request_id: record.x_request_id,
        via: match record.via {
            OrFalse::Some(token) => Some(token.0),
            OrFalse::False => None,
        },
    }
}
