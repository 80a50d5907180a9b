//! Which of a request's limits wins: the earliest of those that run, and none whose part is over or has not begun.

use std::time::{Duration, Instant};

use ringway_tests::wire::Full;
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_for};

both_drivers! {
    while_no_connection_is_made_the_earliest_wins,
    while_tls_is_not_agreed_the_earliest_wins,
    while_no_answer_comes_the_earliest_wins,
    while_an_answer_streams_the_earliest_wins,
    a_trusted_clients_limit_is_in_the_place_of_the_routes,
}

/// The limits of a request in milliseconds. What a case does not name is so long that it never bites.
const LONG: u32 = 60_000;

#[derive(Clone, Copy)]
struct Limits {
    connect: u32,
    tls: u32,
    first_byte: u32,
    per_try: u32,
    per_try_idle: u32,
    idle: u32,
    route: u32,
    request: u32,
}

const NONE: Limits = Limits {
    connect: LONG,
    tls: LONG,
    first_byte: LONG,
    per_try: LONG,
    per_try_idle: LONG,
    idle: LONG,
    route: LONG,
    request: LONG,
};

/// Who won, as the access log says it.
const CONNECT: &str = "503 UF upstream_reset_before_response_started{connection_timeout}";
const TLS: &str = "503 UF upstream_reset_before_response_started{tls_timeout}";
const FIRST_BYTE: &str = "504 UT upstream_first_byte_timeout";
const PER_TRY: &str = "504 UT upstream_per_try_timeout";
const PER_TRY_IDLE: &str = "504 UT upstream_per_try_idle_timeout";
const WHOLE: &str = "504 UT response_timeout";
/// The same after the answer's head.
const CUT: &str = "200 UT response_timeout";
const SILENT: &str = "200 SI stream_idle_timeout";

fn start(driver: Driver, limits: Limits, host: std::net::SocketAddr, tls: bool) -> Proxy {
    let Limits {
        connect,
        tls: handshake,
        first_byte,
        per_try,
        per_try_idle,
        idle,
        route,
        request,
    } = limits;
    let secured = match tls {
        true => {
            format!(", tls: {{ insecure_skip_verify: true, handshake_timeout: {handshake}ms }}")
        }
        false => String::new(),
    };
    let text = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    forwarded: {{ trusted: [127.0.0.0/8] }}\n    \
         limits: {{ request_timeout: {request}ms }}\n    \
         access_log: [{{ stdout: true, format: \"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" }}]\n    \
         routes:\n      - match: {{ prefix: / }}\n        cluster: up\n        timeout: {route}ms\n        idle_timeout: {idle}ms\n        \
         retry: {{ retries: 0, per_try_timeout: {per_try}ms, per_try_idle_timeout: {per_try_idle}ms }}\n\
         clusters:\n  - {{ name: up, endpoints: [\"{host}\"], connect_timeout: {connect}ms, first_byte_timeout: {first_byte}ms{secured} }}\n"
    );
    Proxy::with(driver).process("cores: 1").start(&text)
}

/// The request's line in the log, which comes when it has ended.
fn line(proxy: &Proxy) -> String {
    wait_for("the request's line", || {
        proxy.stdout().lines().next().map(str::to_owned)
    })
}

/// A host, and what it does with a connection.
type Played<'p> = Option<(&'p WireServer, &'p dyn Fn(&mut Wire))>;

/// What ends a request with this field: the log's line.
fn end(proxy: &Proxy, field: &str, host: Played<'_>) -> (String, Duration) {
    let mut client = proxy.client();
    let begun = Instant::now();
    client.send(format!("GET / HTTP/1.1\r\nHost: t\r\n{field}\r\n"));
    let wire = host.map(|(host, does)| {
        let mut wire = host.accept();
        does(&mut wire);
        wire
    });
    let _answer = client.try_read("GET");
    let took = begun.elapsed();
    drop(wire);
    (line(proxy), took)
}

fn check(proxy: &Proxy, host: Played<'_>, least: u32, wins: &str) {
    let (line, took) = end(proxy, "", host);
    assert_eq!(line, wins);
    let least = Duration::from_millis(u64::from(least));
    assert!(took >= least, "{wins}: {took:?}");
}

#[rustfmt::skip]
fn while_no_connection_is_made_the_earliest_wins(driver: Driver) {
    let full = Full::new();
    for (limits, least, wins) in [
        (Limits { connect: 200, ..NONE }, 200, CONNECT),
        (Limits { per_try: 200, ..NONE }, 200, PER_TRY),
        (Limits { route: 200, ..NONE }, 200, WHOLE),
        (Limits { request: 200, ..NONE }, 200, WHOLE),
        // Nothing was sent yet.
        (Limits { connect: 300, first_byte: 50, per_try_idle: 50, idle: 50, ..NONE }, 300, CONNECT),
    ] {
        check(&start(driver, limits, full.addr(), false), None, least, wins);
    }
}

#[rustfmt::skip]
fn while_tls_is_not_agreed_the_earliest_wins(driver: Driver) {
    let host = WireServer::bind();
    for (limits, least, wins) in [
        (Limits { tls: 500, ..NONE }, 500, TLS),
        (Limits { per_try: 500, ..NONE }, 500, PER_TRY),
        (Limits { route: 500, ..NONE }, 500, WHOLE),
        (Limits { request: 500, ..NONE }, 500, WHOLE),
        // The connection is there, and nothing was sent yet.
        (Limits { tls: 1_000, connect: 500, first_byte: 50, per_try_idle: 50, idle: 50, ..NONE }, 1_000, TLS),
    ] {
        check(&start(driver, limits, host.addr(), true), Some((&host, &|_| ())), least, wins);
    }
}

#[rustfmt::skip]
fn while_no_answer_comes_the_earliest_wins(driver: Driver) {
    let host = WireServer::bind();
    for (limits, least, wins) in [
        (Limits { first_byte: 500, ..NONE }, 500, FIRST_BYTE),
        (Limits { per_try: 500, ..NONE }, 500, PER_TRY),
        (Limits { per_try_idle: 500, ..NONE }, 500, PER_TRY_IDLE),
        (Limits { route: 500, ..NONE }, 500, WHOLE),
        (Limits { request: 500, ..NONE }, 500, WHOLE),
        // The connection is there, and no answer streams yet.
        (Limits { connect: 500, idle: 50, first_byte: 1_000, ..NONE }, 1_000, FIRST_BYTE),
    ] {
        let head = |wire: &mut Wire| {
            wire.head();
        };
        check(&start(driver, limits, host.addr(), false), Some((&host, &head)), least, wins);
    }
}

#[rustfmt::skip]
fn while_an_answer_streams_the_earliest_wins(driver: Driver) {
    let host = WireServer::bind();
    for (limits, least, wins) in [
        (Limits { idle: 200, ..NONE }, 200, SILENT),
        // These begin before the answer's head, which has time enough to get there.
        (Limits { per_try_idle: 1_000, ..NONE }, 1_000, SILENT),
        (Limits { route: 1_500, ..NONE }, 1_500, CUT),
        (Limits { request: 1_500, ..NONE }, 1_500, CUT),
        // The try is over with the answer's head.
        (Limits { idle: 2_000, first_byte: 1_500, per_try: 1_500, ..NONE }, 2_000, SILENT),
    ] {
        let begin = |wire: &mut Wire| {
            wire.head();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        };
        check(&start(driver, limits, host.addr(), false), Some((&host, &begin)), least, wins);
    }
}

#[rustfmt::skip]
fn a_trusted_clients_limit_is_in_the_place_of_the_routes(driver: Driver) {
    let host = WireServer::bind();
    for (limits, wants, least, wins) in [
        // Shorter or longer, it counts, and the route's does not.
        (NONE, 500, 500, WHOLE),
        (Limits { route: 50, ..NONE }, 600, 600, WHOLE),
        // All the others count as ever.
        (Limits { route: 50, per_try: 500, ..NONE }, LONG, 500, PER_TRY),
        (Limits { route: 50, request: 500, ..NONE }, 0, 500, WHOLE),
    ] {
        let proxy = start(driver, limits, host.addr(), false);
        let field = format!("X-Envoy-Upstream-Rq-Timeout-Ms: {wants}\r\n");
        let head = |wire: &mut Wire| {
            wire.head();
        };
        let (line, took) = end(&proxy, &field, Some((&host, &head)));
        assert_eq!(line, wins);
        assert!(took >= Duration::from_millis(least), "{wins}: {took:?}");
    }
}
