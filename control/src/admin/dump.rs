//! The configuration that serves, as JSON in the words of a configuration file, defaults filled in.
//!
//! What may be a secret is not shown: the value of a field whose name says so (`Authorization`, `X-Api-Key`), and such keys of a
//! filter's own configuration. Every struct is taken apart by name, so that a new field of the model cannot be forgotten here.

use std::time::Duration;

use ringway_config::{
    AccessLog, Action, Admin, Balance, Chain, ChainMatch, Cluster, Config, Domain, Endpoint,
    EndpointAddress, Filter, Forward, Forwarded, HeaderOps, HttpLimits, IoDriver, ListenAddress,
    Listener, Log, LogFormat, LogTarget, Mirror, PathMatch, PathNormalize, PathRewrite, Percent,
    Pool, Process, Protocol, Redirect, RedirectPath, Respond, Retry, RetryOn, Rewrite, Route,
    RouteMatch, RouteTable, ValueMatch, ValueTest, VirtualHost,
};
use serde_json::{Map, Value, json};

use crate::logging;

/// What stands for a secret.
const HIDDEN: &str = "[hidden]";

/// Parts of names whose values are secrets.
const SECRET_WORDS: [&str; 9] = [
    "authorization",
    "cookie",
    "secret",
    "password",
    "passwd",
    "token",
    "api-key",
    "apikey",
    "credential",
];

/// The whole configuration.
pub(super) fn config(config: &Config) -> Value {
    let Config {
        process: of_process,
        listeners,
        route_tables,
        clusters,
        admin,
    } = config;
    let mut out = json!({
        "process": process(of_process),
        "listeners": each(listeners, listener),
        "route_tables": each(route_tables, route_table),
        "clusters": each(clusters, cluster),
    });
    if let Some(Admin { address }) = admin {
        out["admin"] = json!({ "address": super::text_of(address) });
    }
    out
}

fn each<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(one).collect())
}

fn texts<T: ToString>(items: &[T]) -> Value {
    each(items, |item| Value::String(item.to_string()))
}

/// A map of what is there: an absent value is an absent key.
fn map<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let there = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect())
}

fn some(value: impl Into<Value>) -> Option<Value> {
    Some(value.into())
}

/// A list that says something: an empty one is an absent key.
fn list(value: Value) -> Option<Value> {
    let empty = value.as_array().is_some_and(Vec::is_empty);
    (!empty).then_some(value)
}

fn time(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_secs_f64() * 1000.0)
    }
}

fn share(percent: Percent) -> String {
    format!("{}%", f64::from(percent.basis_points()) / 100.0)
}

fn process(process: &Process) -> Value {
    let Process {
        cores,
        io_driver,
        drain_delay,
        drain_timeout,
        max_connections,
        log: Log { level, json },
    } = process;
    let driver = match io_driver {
        IoDriver::Auto => "auto",
        IoDriver::IoUring => "io_uring",
        IoDriver::Epoll => "epoll",
    };
    map([
        ("cores", cores.map(Value::from)),
        ("io_driver", some(driver)),
        ("drain_delay", some(time(*drain_delay))),
        ("drain_timeout", some(time(*drain_timeout))),
        ("max_connections", max_connections.map(Value::from)),
        (
            "log",
            some(json!({
                "level": logging::name_of(*level),
                "format": if *json { "json" } else { "text" },
            })),
        ),
    ])
}

fn listener(listener: &Listener) -> Value {
    let Listener {
        name,
        address,
        protocol,
        chains,
        limits: of_limits,
        forwarded: of_forwarded,
        access_logs,
        backlog,
    } = listener;
    let protocol = match protocol {
        Protocol::Http => "http",
        Protocol::Http1 => "http1",
    };
    let (address, mode) = match address {
        ListenAddress::Tcp(address) => (address.to_string(), None),
        ListenAddress::Unix { path, mode } => (
            format!("unix:{}", path.display()),
            Some(format!("{mode:o}")),
        ),
    };
    map([
        ("name", some(name.as_str())),
        ("address", some(address)),
        ("mode", mode.map(Value::from)),
        ("protocol", some(protocol)),
        ("limits", Some(limits(of_limits))),
        ("forwarded", Some(forwarded(of_forwarded))),
        ("access_log", list(each(access_logs, access_log))),
        ("backlog", some(*backlog)),
        ("chains", Some(each(chains, chain))),
    ])
}

fn chain(chain: &Chain) -> Value {
    let Chain {
        matches,
        filters,
        routes,
    } = chain;
    let ChainMatch {
        source,
        destination,
    } = matches;
    let ranges = map([
        ("source", list(texts(source))),
        ("destination", list(texts(destination))),
    ]);
    map([
        (
            "match",
            (*matches != ChainMatch::default()).then_some(ranges),
        ),
        ("filters", list(each(filters, filter))),
        ("route_table", some(routes.as_str())),
    ])
}

fn limits(limits: &HttpLimits) -> Value {
    let HttpLimits {
        connections,
        request_line,
        field,
        fields_total,
        fields,
        body,
        header_timeout,
        body_rate,
        body_rate_grace,
        idle_timeout,
        request_timeout,
        requests_per_connection,
        drain_body,
    } = limits;
    map([
        ("connections", connections.map(Value::from)),
        ("request_line", some(request_line.0)),
        ("field", some(field.0)),
        ("fields_total", some(fields_total.0)),
        ("fields", some(*fields)),
        ("body", body.map(|body| Value::from(body.0))),
        ("header_timeout", some(time(*header_timeout))),
        ("body_rate", some(body_rate.0)),
        ("body_rate_grace", some(time(*body_rate_grace))),
        ("idle_timeout", some(time(*idle_timeout))),
        ("request_timeout", request_timeout.map(|t| time(t).into())),
        (
            "requests_per_connection",
            requests_per_connection.map(Value::from),
        ),
        ("drain_body", some(drain_body.0)),
    ])
}

fn forwarded(forwarded: &Forwarded) -> Value {
    let Forwarded {
        trusted,
        x_forwarded_for,
        x_forwarded_proto,
        x_forwarded_host,
        x_request_id,
        via,
    } = forwarded;
    json!({
        "trusted": texts(trusted),
        "x_forwarded_for": x_forwarded_for,
        "x_forwarded_proto": x_forwarded_proto,
        "x_forwarded_host": x_forwarded_host,
        "x_request_id": x_request_id,
        // The empty name is how a file says that there is to be no `Via`.
        "via": via.as_deref().unwrap_or(""),
    })
}

fn access_log(log: &AccessLog) -> Value {
    let AccessLog { target, format } = log;
    let mut out = match target {
        LogTarget::Stdout => json!({ "stdout": true }),
        LogTarget::File(path) => json!({ "file": path.display().to_string() }),
    };
    match format {
        LogFormat::Text(line) => out["format"] = line.as_str().into(),
        LogFormat::Json(entries) => {
            let entries = entries.iter().map(|(k, v)| (k.clone(), v.as_str().into()));
            out["json"] = Value::Object(entries.collect());
        }
    }
    out
}

fn filter(filter: &Filter) -> Value {
    let Filter { name, config } = filter;
    let mut out = Map::new();
    out.insert(name.to_string(), hide("", config));
    Value::Object(out)
}

fn route_table(table: &RouteTable) -> Value {
    let RouteTable {
        name,
        path_normalize,
        merge_slashes,
        virtual_hosts,
    } = table;
    let normalize = match path_normalize {
        PathNormalize::Strict => "strict",
        PathNormalize::Off => "off",
    };
    json!({
        "name": name.as_str(),
        "path_normalize": normalize,
        "merge_slashes": merge_slashes,
        "virtual_hosts": each(virtual_hosts, virtual_host),
    })
}

fn virtual_host(host: &VirtualHost) -> Value {
    let VirtualHost {
        name,
        domains,
        routes,
    } = host;
    json!({
        "name": name.as_str(),
        "domains": each(domains, |domain| match domain {
            Domain::Exact(host) => host.as_str().into(),
            Domain::Suffix(suffix) => format!("*{suffix}").into(),
            Domain::Prefix(prefix) => format!("{prefix}*").into(),
            Domain::Any => "*".into(),
        }),
        "routes": each(routes, route),
    })
}

fn route(route: &Route) -> Value {
    let Route {
        name,
        matches,
        action,
        request_headers,
        response_headers,
        filters,
    } = route;
    let mut out = map([
        ("name", name.as_ref().map(|name| name.as_str().into())),
        ("match", Some(route_match(matches))),
        ("request_headers", header_ops(request_headers)),
        ("response_headers", header_ops(response_headers)),
        ("filters", list(each(filters, filter))),
    ]);
    let action = match action {
        Action::Forward(to) => forward(to),
        Action::Respond(with) => json!({ "respond": respond(with) }),
        Action::Redirect(to) => json!({ "redirect": redirect(to) }),
    };
    if let (Value::Object(out), Value::Object(action)) = (&mut out, action) {
        out.extend(action);
    }
    out
}

fn route_match(matches: &RouteMatch) -> Value {
    let RouteMatch {
        path,
        methods,
        headers,
        query,
    } = matches;
    let (kind, text) = match path {
        PathMatch::Exact(path) => ("path", path),
        PathMatch::Prefix(path) => ("prefix", path),
        PathMatch::StartsWith(path) => ("starts_with", path),
        PathMatch::Regex(pattern) => ("regex", &pattern.0),
    };
    map([
        (kind, some(text.as_str())),
        ("methods", list(texts(methods))),
        ("headers", list(each(headers, value_match))),
        ("query", list(each(query, value_match))),
    ])
}

fn value_match(test: &ValueMatch) -> Value {
    let ValueMatch { name, test, invert } = test;
    let shown = |value: &str| -> Value { hide(name, &value.into()) };
    let (kind, value) = match test {
        ValueTest::Exact(value) => ("exact", shown(value)),
        ValueTest::Prefix(value) => ("prefix", shown(value)),
        ValueTest::Suffix(value) => ("suffix", shown(value)),
        ValueTest::Regex(pattern) => ("regex", shown(&pattern.0)),
        ValueTest::Present => ("present", true.into()),
        ValueTest::Absent => ("absent", true.into()),
    };
    map([
        ("name", some(name.as_str())),
        (kind, Some(value)),
        ("invert", invert.then_some(true.into())),
    ])
}

fn forward(to: &Forward) -> Value {
    let Forward {
        clusters,
        rewrite: of_rewrite,
        timeout,
        idle_timeout,
        retry: of_retry,
        mirror: of_mirror,
        upgrade,
    } = to;
    let weights = clusters
        .iter()
        .map(|to| (to.cluster.to_string(), to.weight.into()));
    map([
        ("cluster", Some(Value::Object(weights.collect()))),
        ("rewrite", rewrite(of_rewrite)),
        ("timeout", some(time(*timeout))),
        ("idle_timeout", some(time(*idle_timeout))),
        ("retry", Some(retry(of_retry))),
        ("mirror", of_mirror.as_ref().map(mirror)),
        ("upgrade", some(*upgrade)),
    ])
}

fn rewrite(rewrite: &Rewrite) -> Option<Value> {
    let Rewrite { path, host } = rewrite;
    if path.is_none() && host.is_none() {
        return None;
    }
    let path = path.as_ref().map(|path| match path {
        PathRewrite::Prefix(prefix) => ("prefix", prefix.as_str().into()),
        PathRewrite::Regex {
            pattern,
            substitution,
        } => (
            "regex",
            json!({ "pattern": pattern.0, "substitution": substitution }),
        ),
    });
    let (kind, path) = path.unzip();
    Some(map([
        (kind.unwrap_or("prefix"), path),
        ("host", host.as_deref().map(Value::from)),
    ]))
}

fn retry(retry: &Retry) -> Value {
    let Retry {
        on,
        retries,
        per_try_timeout,
        back_off,
        non_idempotent,
        buffer,
    } = retry;
    let on = each(on, |on| {
        Value::from(match on {
            RetryOn::ConnectFailure => "connect_failure",
            RetryOn::Reset => "reset",
            RetryOn::GatewayError => "gateway_error",
            RetryOn::ServerError => "server_error",
        })
    });
    map([
        ("on", Some(on)),
        ("retries", some(*retries)),
        ("per_try_timeout", per_try_timeout.map(|t| time(t).into())),
        ("back_off", some(time(*back_off))),
        ("non_idempotent", some(*non_idempotent)),
        ("buffer", some(buffer.0)),
    ])
}

fn mirror(mirror: &Mirror) -> Value {
    let Mirror {
        cluster,
        share: of_requests,
        max_in_flight,
    } = mirror;
    json!({ "cluster": cluster.as_str(), "share": share(*of_requests), "max_in_flight": max_in_flight })
}

fn respond(respond: &Respond) -> Value {
    let Respond {
        status,
        body,
        content_type,
    } = respond;
    map([
        ("status", some(*status)),
        ("body", some(body.as_str())),
        ("content_type", content_type.as_deref().map(Value::from)),
    ])
}

fn redirect(redirect: &Redirect) -> Value {
    let Redirect {
        scheme,
        host,
        path,
        code,
        strip_query,
    } = redirect;
    let (kind, path) = match path {
        None => ("path", None),
        Some(RedirectPath::Full(path)) => ("path", some(path.as_str())),
        Some(RedirectPath::Prefix(prefix)) => ("prefix", some(prefix.as_str())),
    };
    map([
        ("scheme", scheme.as_deref().map(Value::from)),
        ("host", host.as_deref().map(Value::from)),
        (kind, path),
        ("code", some(*code)),
        ("strip_query", some(*strip_query)),
    ])
}

fn header_ops(ops: &HeaderOps) -> Option<Value> {
    let HeaderOps { add, set, remove } = ops;
    if add.is_empty() && set.is_empty() && remove.is_empty() {
        return None;
    }
    let pairs = |pairs: &[(String, String)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.clone(), hide(name, &value.as_str().into())));
        Value::Object(pairs.collect())
    };
    Some(json!({ "add": pairs(add), "set": pairs(set), "remove": remove }))
}

fn cluster(cluster: &Cluster) -> Value {
    let Cluster {
        name,
        balance,
        endpoints,
        connect_timeout,
        first_byte_timeout,
        pool:
            Pool {
                idle_timeout,
                max_idle,
                max_requests,
            },
        dns_refresh,
    } = cluster;
    let pool = map([
        ("idle_timeout", some(time(*idle_timeout))),
        ("max_idle", some(*max_idle)),
        ("max_requests", max_requests.map(Value::from)),
    ]);
    map([
        ("name", some(name.as_str())),
        ("balance", some(balance_name(*balance))),
        (
            "endpoints",
            Some(each(
                endpoints,
                |Endpoint { address, weight }| json!({ "address": endpoint_text(address), "weight": weight }),
            )),
        ),
        ("connect_timeout", some(time(*connect_timeout))),
        (
            "first_byte_timeout",
            first_byte_timeout.map(|t| time(t).into()),
        ),
        ("pool", Some(pool)),
        ("dns_refresh", some(time(*dns_refresh))),
    ])
}

/// How a cluster picks, in a file's word.
pub(super) fn balance_name(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round_robin",
        Balance::Random => "random",
        Balance::LeastRequest => "least_request",
    }
}

/// Where an endpoint is, as a file writes it.
pub(super) fn endpoint_text(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Name(host, port) => format!("{host}:{port}"),
        EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// A value with its secrets hidden; `key` is what it stands under.
fn hide(key: &str, value: &Value) -> Value {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let secret = SECRET_WORDS.iter().any(|word| key.contains(word));
    match value {
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), hide(key, value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(|item| hide(&key, item)).collect()),
        Value::String(_) | Value::Number(_) if secret => HIDDEN.into(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_calls_a_secret_is_hidden() {
        let filter = json!({ "request": { "set": {
            "Authorization": "Bearer abc",
            "X-Api-Key": "abc",
            "client_secret": ["abc", 5],
            "x-plain": "shown",
        }}});
        let shown = hide("headers", &filter).to_string();
        assert!(!shown.contains("abc") && !shown.contains('5'), "{shown}");
        assert!(shown.contains("\"x-plain\":\"shown\""));

        let ops = HeaderOps {
            set: vec![("authorization".to_owned(), "Basic abc".to_owned())],
            ..HeaderOps::default()
        };
        assert!(!header_ops(&ops).unwrap().to_string().contains("abc"));
    }

    #[test]
    fn times_and_shares_are_written_as_a_file_does() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_secs(90), "90s"),
            (Duration::from_millis(25), "25ms"),
            (Duration::from_millis(1500), "1500ms"),
        ] {
            assert_eq!(time(duration), text);
        }
        assert_eq!(share(Percent::ALL), "100%");
        assert_eq!(Percent::new(0.5).map(share).as_deref(), Some("0.5%"));
    }

    /// Nearly every key there is.
    const ALL: &str = r#"
process:
  { cores: 2, io_driver: epoll, drain_delay: 1s, drain_timeout: 250ms, max_connections: 100, log: { level: debug, format: json } }
listeners:
  - name: web
    address: 127.0.0.1:8080
    limits: { connections: 5, body: 1MiB, request_timeout: 9s, requests_per_connection: 7, fields: 50 }
    forwarded: { trusted: [10.0.0.0/8], x_forwarded_host: true, via: edge }
    access_log: [{ stdout: true, format: "%PROTOCOL%" }, { file: /tmp/a.log, json: { code: "%RESPONSE_CODE%" } }]
    filters: [{ headers: { request: { set: { x-a: b } } } }]
    routes:
      - name: first
        match: { regex: "/a.*", methods: [GET, PUT], headers: [{ name: x-a, exact: b, invert: true }, { name: x-b, present: true }], query: [{ name: q, prefix: z }] }
        cluster: { one: 9, two: 1 }
        rewrite: { regex: { pattern: "a(.)", substitution: "$$1" }, host: other }
        timeout: 3s
        retry: { on: [server_error], retries: 3, per_try_timeout: 1s, back_off: 10ms, non_idempotent: true, buffer: 1KiB }
        mirror: { cluster: two, share: 2.5%, max_in_flight: 3 }
        upgrade: false
        request_headers: { set: { x-c: d }, remove: [x-e] }
      - { match: { path: /b }, redirect: { scheme: https, prefix: /c, code: 308, strip_query: true } }
      - { match: { starts_with: /d }, respond: { status: 404, body: no, content_type: text/html } }
      - { match: { prefix: / }, cluster: one, response_headers: { add: { x-f: g } } }
  - name: chained
    address: "[::1]:8081"
    protocol: http1
    chains: [{ match: { source: [127.0.0.0/8] }, route_table: shared }, { route_table: shared }]
  - { name: local, address: "unix:/tmp/x.sock", route_table: shared, forwarded: { x_request_id: false } }
route_tables:
  - name: shared
    path_normalize: off
    merge_slashes: true
    virtual_hosts:
      - { name: v, domains: [a.example, "*.b.example", "c.*", "*"], routes: [{ match: { prefix: /x }, cluster: one, rewrite: { prefix: /y } }] }
clusters:
  - name: one
    balance: least_request
    endpoints: [127.0.0.1:9001, { address: "unix:/tmp/y.sock", weight: 3 }, "api.internal:80"]
    connect_timeout: 100ms
    first_byte_timeout: 4s
    pool: { idle_timeout: 1s, max_idle: 2, max_requests: 3 }
    dns_refresh: 5s
  - { name: two, endpoints: ["[::1]:9002"] }
admin: { address: "unix:/tmp/admin.sock" }
"#;

    fn parse(text: &str) -> Config {
        let format = ringway_config::Format::of_path(std::path::Path::new("-"), text);
        let parsed =
            ringway_config::parse(text, format, "test", &|_| None, std::path::Path::new(""));
        parsed.unwrap_or_else(|errors| panic!("{errors}")).config
    }

    #[test]
    fn a_dump_is_a_configuration_that_says_the_same() {
        let first = parse(ALL);
        let dumped = config(&first).to_string().replace('$', "$$");
        assert_eq!(parse(&dumped), first, "{dumped}");
    }
}
