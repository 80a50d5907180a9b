//! WebSocket over HTTP/2 (RFC 8441): offered only where it is asked for, a tunnel only where both ends agree.

use std::time::Duration;

use ringway_tests::frames::{self, END_STREAM, frame, headers};
use ringway_tests::http2::{code, kind};
use ringway_tests::pattern::bytes;
use ringway_tests::websocket::accept;
use ringway_tests::{
    Client, Driver, Frames, H2Origin, H2Setup, Http2, Proxy, Site, Wire, WireServer, both_drivers,
    wait_until,
};

use crate::http2_upstream::one_core;

both_drivers! {
    a_stream_becomes_a_tunnel,
    nobody_is_offered_what_is_not_configured,
    an_upstream_that_does_not_switch_makes_no_tunnel,
    a_route_that_takes_no_upgrades_refuses_it,
    a_reset_stream_closes_the_tunnel,
    a_tunnel_that_breaks_is_cancelled,
    an_idle_tunnel_is_cancelled,
    an_upstream_of_http2_gets_a_connect,
    an_upstream_that_offers_none_is_a_502,
    an_upstream_that_refuses_says_why,
    the_end_of_a_tunnel_is_seen_across_versions,
}

const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "test.example"),
    ("sec-websocket-version", "13"),
];

fn offered(driver: Driver, route: &str) -> (WireServer, Proxy) {
    let server = WireServer::bind();
    let site = Site::to(&[server.addr()]).listener("http2: { websocket: true }");
    let proxy = site.route(route).start(driver);
    (server, proxy)
}

/// Begins an extended CONNECT.
fn connect(client: &mut Http2) -> u32 {
    let stream = client.new_stream();
    let block = ringway_tests::hpack::block(&CONNECT);
    client.frame(
        kind::HEADERS,
        ringway_tests::http2::END_HEADERS,
        stream,
        &block,
    );
    stream
}

/// Takes the upgrade at the upstream.
fn asked(wire: &mut Wire) {
    let head = wire.head().to_ascii_lowercase();
    assert!(head.starts_with("get /chat http/1.1\r\n"), "{head}");
    for line in [
        "host: test.example",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
    ] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {head}"
        );
    }
    assert!(
        !head.contains("content-length") && !head.contains("transfer-encoding"),
        "{head}"
    );
}

/// Answers 101 to whatever key came.
fn switch(wire: &mut Wire) {
    let head = wire.head();
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("sec-websocket-key: "))
        .unwrap_or_else(|| panic!("no key in {head}"));
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat\r\n\r\nfirst",
        accept(key)
    ));
}

fn joined(server: &WireServer, client: &mut Http2) -> (u32, Wire) {
    let stream = connect(client);
    let mut wire = server.accept();
    switch(&mut wire);
    let answer = client.until("the tunnel's first bytes", |client| {
        let answer = client.answers.get(&stream)?;
        (answer.body == b"first").then(|| answer.clone())
    });
    assert_eq!(
        (answer.status, answer.get("sec-websocket-protocol")),
        (200, Some("chat"))
    );
    for gone in ["connection", "upgrade", "sec-websocket-accept"] {
        assert_eq!(answer.get(gone), None);
    }
    (stream, wire)
}

fn a_stream_becomes_a_tunnel(driver: Driver) {
    let (server, proxy) = offered(driver, "timeout: 10s");
    let mut client = Http2::connect(proxy.addr("web"));
    assert_eq!(
        client.settings.get(&8),
        Some(&1),
        "SETTINGS_ENABLE_CONNECT_PROTOCOL"
    );
    let (stream, mut wire) = joined(&server, &mut client);
    let big = bytes(200_000);
    for piece in big.chunks(10_000) {
        client.data(stream, piece, false);
        wire.expect_bytes(piece);
        wire.send(piece);
    }
    client.until("all of it back", |client| {
        (client.answers[&stream].body.len() == 5 + big.len()).then_some(())
    });
    assert!(client.answers[&stream].body[5..] == big);
    // Each side closes its own.
    client.data(stream, b"bye", true);
    wire.expect("bye");
    wire.expect_end();
    wire.send("and you");
    wire.finish();
    let answer = client.answer(stream);
    assert!(answer.ended && answer.body.ends_with(b"and you"));
    let tunnels = |name: &str| proxy.metric(name, &[]);
    assert_eq!(tunnels("ringway_listener_upgrades_total"), 1.0);
    ringway_tests::wait_until("no tunnel is open", || {
        tunnels("ringway_listener_upgrades_active") == 0.0
    });
}

fn nobody_is_offered_what_is_not_configured(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Http2::connect(proxy.addr("web"));
    assert_eq!(client.settings.get(&8), None);
    let stream = connect(&mut client);
    assert_eq!(client.answer(stream).reset, Some(code::PROTOCOL_ERROR));
    assert!(server.try_accept().is_none());
}

fn an_upstream_that_does_not_switch_makes_no_tunnel(driver: Driver) {
    let (server, proxy) = offered(driver, "retry: { retries: 0 }");
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 502),
        ("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 403),
        (
            "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
            502,
        ),
        (
            "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            502,
        ),
    ] {
        let mut client = Http2::connect(proxy.addr("web"));
        let stream = connect(&mut client);
        let mut wire = server.accept();
        asked(&mut wire);
        wire.send(answer);
        let got = client.answer(stream);
        assert_eq!((got.status, got.ended), (status, true), "{answer}");
    }
}

fn a_route_that_takes_no_upgrades_refuses_it(driver: Driver) {
    let (server, proxy) = offered(driver, "upgrade: false");
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = connect(&mut client);
    assert_eq!(client.answer(stream).status, 501);
    assert!(server.try_accept().is_none());
}

fn a_reset_stream_closes_the_tunnel(driver: Driver) {
    let (server, proxy) = offered(driver, "timeout: 10s");
    let mut client = Http2::connect(proxy.addr("web"));
    let (stream, mut wire) = joined(&server, &mut client);
    client.reset(stream);
    wire.until_closed();
}

fn a_tunnel_that_breaks_is_cancelled(driver: Driver) {
    let (server, proxy) = offered(driver, "timeout: 10s");
    let mut client = Http2::connect(proxy.addr("web"));
    let (stream, wire) = joined(&server, &mut client);
    wire.reset();
    assert_eq!(client.answer(stream).reset, Some(code::CANCEL));
}

fn an_idle_tunnel_is_cancelled(driver: Driver) {
    let (server, proxy) = offered(driver, "idle_timeout: 1s");
    let mut client = Http2::connect(proxy.addr("web"));
    let (stream, mut wire) = joined(&server, &mut client);
    client.silence(Duration::from_millis(50));
    assert_eq!(client.answer(stream).reset, Some(code::CANCEL));
    wire.until_closed();
}

/// To an upstream of HTTP/2.
fn to_http2(driver: Driver, addr: std::net::SocketAddr, cluster: &str) -> Proxy {
    let site = Site::to(&[addr]).listener("http2: { websocket: true }");
    let cluster = format!("protocol: http2{cluster}");
    let site = site.cluster(&cluster).route("timeout: 5s");
    one_core(driver, &site.one_try().text())
}

/// An upgrade of HTTP/1.1 (RFC 6455 §1.3).
fn upgrade(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: test.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    client
}

/// An upgrade that was taken.
fn upgraded(proxy: &Proxy) -> Client {
    let mut client = upgrade(proxy);
    let head = client.try_head().unwrap();
    assert!(head.start.starts_with("HTTP/1.1 101 "), "{}", head.start);
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ] {
        assert_eq!(head.get(name), Some(value));
    }
    assert_eq!(head.get("content-length"), None);
    client
}

fn an_upstream_of_http2_gets_a_connect(driver: Driver) {
    // One that takes a single request on a connection, too: its SETTINGS are waited for all the same.
    for cluster in ["", ", pool: { max_requests: 1 }"] {
        let origin = H2Setup::new("two").extended_connect().start();
        let proxy = to_http2(driver, origin.addr(), cluster);
        let big = bytes(200_000);
        let mut one = upgraded(&proxy);
        for piece in big.chunks(10_000) {
            assert!(one.send(piece).take(piece.len()) == piece);
        }
        let mut two = Http2::connect(proxy.addr("web"));
        let stream = connect(&mut two);
        two.data(stream, &big, true);
        let answer = two.answer(stream);
        assert_eq!((answer.status, answer.ended), (200, true));
        assert!(answer.body == big);
        for gone in ["connection", "upgrade", "sec-websocket-accept"] {
            assert_eq!(answer.get(gone), None);
        }
        one.finish();
        assert_eq!(one.rest(), (Vec::new(), Ok(())));
        for count in 1..=2 {
            let seen = origin.nth(count);
            assert_eq!(seen.head.method(), "CONNECT");
            let protocol = seen.head.extensions().get::<h2::ext::Protocol>();
            assert_eq!(protocol.map(|it| it.as_str()), Some("websocket"));
            assert_eq!(seen.head.uri().path(), "/chat");
            assert_eq!(seen.get("sec-websocket-version"), Some("13"));
            assert_eq!(seen.get("sec-websocket-key"), None);
            assert_eq!((seen.length, seen.pattern), (200_000, true));
        }
        wait_until("no tunnel is open", || {
            proxy.metric("ringway_listener_upgrades_active", &[]) == 0.0
        });
    }
}

fn an_upstream_that_offers_none_is_a_502(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = to_http2(driver, origin.addr(), "");
    let answer = upgrade(&proxy).read("GET");
    let text = "the upstream does not take WebSocket over HTTP/2\n";
    assert_eq!((answer.status, answer.text().as_str()), (502, text));
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = connect(&mut client);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text().as_str()), (502, text));
    assert_eq!(origin.begun(), 0);
    assert_eq!(proxy.client().get("/").text(), "two");
}

fn an_upstream_that_refuses_says_why(driver: Driver) {
    let wire = WireServer::bind();
    let proxy = to_http2(driver, wire.addr(), "");
    let mut one = upgrade(&proxy);
    // ENABLE_CONNECT_PROTOCOL
    let mut peer = Frames::server(wire.accept(), &[(8, 1)]);
    let refuse = |peer: &mut Frames| {
        let stream = peer.request();
        let head = headers(stream, 0, &[(":status", "403"), ("x-why", "no")]);
        let body = frame(frames::kind::DATA, END_STREAM, stream, b"no");
        peer.send([head, body].concat());
    };
    refuse(&mut peer);
    let answer = one.read("GET");
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    assert_eq!(answer.get("x-why"), Some("no"));
    let mut two = Http2::connect(proxy.addr("web"));
    let stream = connect(&mut two);
    refuse(&mut peer);
    let answer = two.answer(stream);
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}

fn the_end_of_a_tunnel_is_seen_across_versions(driver: Driver) {
    let origin = H2Setup::new("two").extended_connect().start();
    let proxy = to_http2(driver, origin.addr(), "");
    let mut one = upgraded(&proxy);
    assert_eq!(one.send("x").take(1), b"x");
    one.reset();
    wait_until("the upstream's stream is gone", || origin.active() == 0);
    assert_eq!(origin.nth(1).reset, Some(h2::Reason::CANCEL));
    let mut two = Http2::connect(proxy.addr("web"));
    let stream = connect(&mut two);
    two.data(stream, b"x", false);
    two.until("it comes back", |client| {
        (client.answers.get(&stream)?.body == b"x").then_some(())
    });
    two.reset(stream);
    wait_until("the upstream's stream is gone", || origin.active() == 0);
    // And the other way: a stream that the upstream resets.
    let wire = WireServer::bind();
    let proxy = to_http2(driver, wire.addr(), "");
    let mut one = upgrade(&proxy);
    let mut peer = Frames::server(wire.accept(), &[(8, 1)]);
    let stream = peer.request();
    peer.send(headers(stream, 0, &[(":status", "200")]));
    assert!(one.try_head().unwrap().start.contains(" 101 "));
    let reset = 8_u32.to_be_bytes();
    peer.send(frame(frames::kind::RST_STREAM, 0, stream, &reset));
    let (_, end) = one.rest();
    assert!(end.is_err(), "a tunnel that broke looks as if it had ended");
}
