//! A dump of nearly every key, read again.

use std::path::Path;

use ringway_config::{HeaderOps, Percent};

use super::routes::{header_ops, share};
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
fn probes_show_no_secret() {
    let probe = r#"
listeners: []
clusters:
  - { name: one, endpoints: ["127.0.0.1:1"], health_check: { http: { path: /, headers: { Authorization: Basic abc, x-plain: shown } } } }
"#;
    let dumped = config(&parse(probe)).to_string();
    assert!(
        !dumped.contains("abc") && dumped.contains("shown"),
        "{dumped}"
    );
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
  { cores: 2, io_driver: epoll, drain_delay: 1s, drain_timeout: 250ms, max_connections: 100, dns: { servers: [127.0.0.1, "[::1]:5353"], min_ttl: 2s, timeout: 3s }, log: { level: debug, format: json } }
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
        retry: { on: [server_error, reset_before_request, refused_stream, retriable_4xx, status_codes, headers], retries: 3, per_try_timeout: 1s, per_try_idle_timeout: 2s, hedge: true, back_off: 10ms, back_off_max: 20ms, status_codes: [418], headers: [x-a], wait_headers: [{ name: retry-after }, { name: x-b, is: unix_time }], wait_max: 9s, hosts: any, other_priorities: true, non_idempotent: true, buffer: 1KiB }
        mirror: { cluster: two, share: 2.5%, max_in_flight: 3 }
        upgrade: false
        hash: [{ header: x-h, terminal: true }, { cookie: { name: c, ttl: 0, path: /p } }, { query: q }, { source: true }, { path: true }]
        metadata_match: { stage: prod, version: v2 }
        priority: high
        request_headers: { set: { x-c: d }, remove: [x-e] }
      - { match: { path: /b }, redirect: { scheme: https, prefix: /c, code: 308, strip_query: true } }
      - { match: { starts_with: /d }, respond: { status: 404, body: no, content_type: text/html } }
      - { match: { prefix: / }, cluster: one, response_headers: { add: { x-f: g } } }
  - name: chained
    address: "[::1]:8081"
    protocol: http1
    chains: [{ match: { source: [127.0.0.0/8] }, route_table: shared }, { route_table: shared }]
  - name: passed
    address: "[::1]:8082"
    limits: { connections: 7, client_hello: 1KiB, client_hello_timeout: 1s }
    chains:
      - { match: { sni: [a.test, "*.b.test"], alpn: [h2] }, tcp: { cluster: { one: 1, two: 0 }, idle_timeout: 1s, max_duration: 2s, connect_attempts: 1, hash: source, metadata_match: { version: v3 } } }
      - { tcp: { cluster: two } }
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
    interim_answers: 7
    pool: { idle_timeout: 1s, max_idle: 2, max_requests: 3, max_age: 4s, preconnect: 25% }
    socket: { keep_alive: 1s, keep_alive_interval: 2s, keep_alive_probes: 3, user_timeout: 4s, bind: [127.0.0.9, "::1"] }
    dns_refresh: 5s
    slow_start: { window: 7s, min_weight: 5% }
    placement: { overprovisioning: 200, panic_threshold: 10%, locality_weights: [{ locality: { zone: a }, weight: 3 }] }
    subsets: { selectors: [[version], { by: [version, stage], fallback: keys_subset, fallback_keys_subset: [version] }, { by: [stage], fallback: none }], fallback: default, default: { version: v1 } }
    sticky: { cookie: ring, ttl: 1h, path: /x, strict: true }
    health_check:
      http: { path: /h, host: h.test, method: HEAD, headers: { x-a: b }, statuses: [200-204, 301], body: ok, http2: true }
      interval: 3s
      unhealthy_interval: 1s
      no_traffic_interval: 9s
      timeout: 100ms
      jitter: 3%
      initial_wait: 2s
      unhealthy_after: 4
      healthy_after: 5
    outlier:
      consecutive_5xx: 1
      consecutive_gateway: 2
      consecutive_local: 3
      interval: 4s
      base_ejection: 5s
      max_ejection: 6s
      jitter: 7s
      max_ejected: 8%
      success_rate: { min_hosts: 9, requests: 10, stdev_factor: 11 }
      failure: { threshold: 12%, min_hosts: 13, requests: 14 }
    limits: { connections: 1, pending: 2, requests: 3, retries: 4, retry_budget: 5%, host_connections: 6, host_requests: 7, high: { requests: 8, retries: 9, retry_budget: 10% } }
  - name: two
    endpoints: [{ address: "[::1]:9002", priority: 2, locality: { region: r, zone: z, sub_zone: s }, metadata: { a: b } }]
    balance: { ring_hash: { min_size: 3, max_size: 9, function: murmur2 } }
    placement: { zone_aware: { zone: z, min_hosts: 2, source: one } }
  - { name: three, endpoints: ["[::1]:9002"], balance: { maglev: { table_size: 61 } } }
  - { name: four, endpoints: ["[::1]:9002"], balance: { peak_ewma: { choices: 3, full_scan: 4, decay: 5s } } }
  - { name: five, endpoints: ["[::1]:9002"], balance: { least_connection: { choices: 4 } } }
  - { name: six, endpoints: ["[::1]:9002"], balance: request_round_robin, health_check: { tcp: { send: a, expect: b } }, outlier: {} }
  - { name: eight, discovery: { dns: "api.internal:80", kind: logical, family: ipv6, refresh: 3s } }
  - { name: nine, discovery: { dns: _x._tcp.internal, records: srv, family: ipv4 } }
  - { name: seven, endpoints: ["[::1]:9002"], health_check: { grpc: { service: s, authority: a.test } } }
admin: { address: "unix:/tmp/admin.sock" }
"#;

fn read(text: &str) -> Parsed {
    let format = ringway_config::Format::sniff(text);
    let env = |name: &str| (name == "SECRET").then(|| "hush".to_owned());
    let parsed = ringway_config::parse(text, format, "test", &env, Path::new(""));
    parsed.unwrap_or_else(|errors| panic!("{errors}"))
}

fn parse(text: &str) -> Config {
    read(text).config
}

#[test]
fn what_the_environment_filled_in_is_hidden_where_it_may_be_a_secret() {
    let read = read(
        r#"
listeners:
  - name: web
    address: 127.0.0.1:8080
    filters: [{ headers: { request: { set: { X.A: "a ${SECRET}" } } } }]
    routes:
      - match: { prefix: /a, headers: [{ name: x-key, exact: "${SECRET}" }] }
        cluster: one
        request_headers: { set: { X-B: "${SECRET}", x-c: shown } }
        filters: [{ headers: { response: { add: { x-d: "${SECRET}" } } } }]
      - { match: { prefix: / }, respond: { status: 200, body: "${SECRET}" } }
clusters: [{ name: one, endpoints: ["${SECRET}.internal:80"] }]
"#,
    );
    assert!(format!("{:?}", read.config).matches("hush").count() == 6);
    let dumped = parsed(&read).to_string();
    assert_eq!(dumped.matches("[hidden]").count(), 5, "{dumped}");
    assert_eq!(dumped.matches("hush").count(), 1, "{dumped}");
    assert!(dumped.contains("hush.internal:80") && dumped.contains("shown"));
}

#[test]
fn a_dump_is_a_configuration_that_says_the_same() {
    let first = parse(ALL);
    let dumped = config(&first).to_string().replace('$', "$$");
    assert_eq!(parse(&dumped), first, "{dumped}");
}
