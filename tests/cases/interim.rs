//! Interim answers (1xx): how many an upstream may give, and what becomes of a client that takes none.

use std::net::SocketAddr;

use ringway_tests::frames::{END_STREAM, fields, headers, kind};
use ringway_tests::{
    Client, Driver, Frames, Proxy, Site, Wire, WireServer, both_drivers, wait_equal,
};

both_drivers! {
    there_may_be_as_many_as_the_cluster_says,
    the_same_of_an_upstream_of_http2,
    endless_ones_fail_their_request_only,
    a_client_that_takes_none_of_them_is_cut,
    one_that_was_begun_is_said_to_its_end,
    they_are_counted_though_the_client_takes_none,
}

const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";

fn site(addr: SocketAddr, cluster: &str) -> Site {
    let site = Site::to(&[addr]).one_try();
    site.cluster(cluster)
}

fn floods(proxy: &Proxy) -> f64 {
    let rule = ["rule=\"interim_flood\""];
    proxy.metric("ringway_cluster_protocol_error_total", &rule)
}

/// One interim answer of 16 KiB, more or less.
fn large_hint() -> Vec<u8> {
    let field = format!("X-Hint: {}\r\n", "h".repeat(8000));
    format!("HTTP/1.1 103 Early Hints\r\n{field}{field}\r\n").into_bytes()
}

/// Sends large ones until the other end has closed.
fn flood(wire: &mut Wire) {
    let hint = large_hint();
    while wire.try_send(&hint) {}
}

/// What a client finds that begins to read when all is over: interim answers, and of the last one perhaps a part.
#[track_caller]
fn holds_hints_only(client: &mut Client) {
    let (mut bytes, _end) = client.rest();
    let hint = String::from_utf8(large_hint()).unwrap().to_lowercase();
    bytes.make_ascii_lowercase();
    assert!(!bytes.is_empty());
    for one in bytes.chunks(hint.len()) {
        assert!(
            hint.as_bytes().starts_with(one),
            "behind an interim answer: {:?}",
            String::from_utf8_lossy(one)
        );
    }
}

/// How many interim answers a client reads, each whole, and the status of the answer behind them.
#[track_caller]
fn told(client: &mut Client) -> (u32, u16) {
    let mut hints = 0;
    loop {
        let start = client.try_head().unwrap().start;
        let status: u16 = start.split(' ').nth(1).unwrap().parse().unwrap();
        match status {
            103 => hints += 1,
            status => return (hints, status),
        }
    }
}

fn there_may_be_as_many_as_the_cluster_says(driver: Driver) {
    let server = WireServer::bind();
    let proxy = site(server.addr(), "interim_answers: 3").start(driver);
    for (hints, status) in [(3, 200), (4, 502)] {
        let mut client = proxy.client();
        client.send(GET);
        let mut wire = server.accept();
        wire.head();
        wire.send(HINT.repeat(hints));
        wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        for _ in 0..3 {
            assert!(client.try_head().unwrap().start.starts_with("HTTP/1.1 103"));
        }
        assert_eq!(client.read("GET").status, status);
    }
    wait_equal(1.0, || floods(&proxy));
}

fn the_same_of_an_upstream_of_http2(driver: Driver) {
    let server = WireServer::bind();
    let cluster = "protocol: http2, interim_answers: 3";
    let proxy = Proxy::with(driver).process("cores: 1");
    let proxy = proxy.start(&site(server.addr(), cluster).text());
    let mut client = proxy.client();
    let mut peer = None;
    for (hints, status) in [(3, 204), (4, 502)] {
        client.send(GET);
        let peer = peer.get_or_insert_with(|| Frames::server(server.accept(), &[]));
        let stream = peer.request();
        for _ in 0..hints {
            peer.send(headers(stream, 0, &[(":status", "103"), ("link", "</a>")]));
        }
        peer.send(headers(stream, END_STREAM, &[(":status", "204")]));
        let (told, answer) = told(&mut client);
        // What is wrong may overtake those before it.
        assert!(told == 3 || (status == 502 && told < 3), "{told}");
        assert_eq!(answer, status);
    }
    wait_equal(1.0, || floods(&proxy));
}

fn endless_ones_fail_their_request_only(driver: Driver) {
    let server = WireServer::bind();
    let proxy = site(server.addr(), "").start(driver);
    let mut client = proxy.client();
    client.send(GET);
    let mut wire = server.accept();
    wire.head();
    let sending = std::thread::spawn(move || (0..100_000).all(|_| wire.try_send(HINT)));
    assert_eq!(told(&mut client), (64, 502), "the default");
    assert!(!sending.join().unwrap(), "all of them were taken");
    // The next one has another connection.
    let mut client = proxy.client();
    client.send(GET);
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read("GET").text(), "ok");
}

fn a_client_that_takes_none_of_them_is_cut(driver: Driver) {
    let server = WireServer::bind();
    let proxy = site(server.addr(), "interim_answers: 1000000")
        .limits("body_rate_grace: 1s")
        .route("timeout: 0s")
        .start(driver);
    let mut client = proxy.client();
    client.send(GET);
    let mut wire = server.accept();
    wire.head();
    flood(&mut wire);
    wait_equal(1.0, || {
        let limit = ["limit=\"body_too_slow\""];
        proxy.metric("ringway_listener_limit_total", &limit)
    });
    holds_hints_only(&mut client);
}

fn one_that_was_begun_is_said_to_its_end(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Site::to(&[server.addr()])
        .cluster("interim_answers: 1000000")
        .limits("body_rate_grace: 60s")
        .route("retry: { retries: 0, per_try_timeout: 1s }")
        .start(driver);
    let mut client = proxy.client();
    client.send(GET);
    let mut wire = server.accept();
    wire.head();
    flood(&mut wire);
    // The try has ended, and its client has half of an interim answer.
    let (hints, status) = told(&mut client);
    assert!(hints > 0);
    assert_eq!(status, 504);
}

fn they_are_counted_though_the_client_takes_none(driver: Driver) {
    let server = WireServer::bind();
    let cluster = "protocol: http2, interim_answers: 2000";
    let proxy = Proxy::with(driver).process("cores: 1");
    let patient = site(server.addr(), cluster).limits("body_rate_grace: 60s");
    let proxy = proxy.start(&patient.route("timeout: 0s").text());
    let mut client = proxy.client();
    client.send(GET);
    let mut peer = Frames::server(server.accept(), &[]);
    let stream = peer.request();
    // Some 10 KiB each, and far more together than sockets hold.
    let value = "h".repeat(120);
    let mut list = vec![(":status", "103")];
    list.extend(std::iter::repeat_n(("x-hint", value.as_str()), 80));
    assert!(fields(&list).len() < 16 << 10);
    let hint = headers(stream, 0, &list);
    for _ in 0..2001 {
        peer.send(&hint);
    }
    assert_eq!(peer.await_kind(kind::RST_STREAM).stream, stream);
    wait_equal(1.0, || floods(&proxy));
    let (hints, status) = told(&mut client);
    assert!(hints < 2000, "all of them were taken");
    assert_eq!(status, 502);
}
