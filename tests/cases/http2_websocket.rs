//! WebSocket over HTTP/2 (RFC 8441): offered only where it is asked for, a tunnel only where both ends agree.

use std::time::Duration;

use ringway_tests::http2::{code, kind};
use ringway_tests::pattern::bytes;
use ringway_tests::websocket::accept;
use ringway_tests::{Driver, Http2, Proxy, Site, Wire, WireServer, both_drivers};

both_drivers! {
    a_stream_becomes_a_tunnel,
    nobody_is_offered_what_is_not_configured,
    an_upstream_that_does_not_switch_makes_no_tunnel,
    a_route_that_takes_no_upgrades_refuses_it,
    a_reset_stream_closes_the_tunnel,
    a_tunnel_that_breaks_is_cancelled,
    an_idle_tunnel_is_cancelled,
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
    let (server, proxy) = offered(driver, "timeout: 1s");
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
    let (server, proxy) = offered(driver, "timeout: 1s");
    let mut client = Http2::connect(proxy.addr("web"));
    let (stream, mut wire) = joined(&server, &mut client);
    client.reset(stream);
    wire.until_closed();
}

fn a_tunnel_that_breaks_is_cancelled(driver: Driver) {
    let (server, proxy) = offered(driver, "timeout: 1s");
    let mut client = Http2::connect(proxy.addr("web"));
    let (stream, wire) = joined(&server, &mut client);
    wire.reset();
    assert_eq!(client.answer(stream).reset, Some(code::CANCEL));
}

fn an_idle_tunnel_is_cancelled(driver: Driver) {
    let (server, proxy) = offered(driver, "idle_timeout: 300ms");
    let mut client = Http2::connect(proxy.addr("web"));
    let (stream, mut wire) = joined(&server, &mut client);
    client.silence(Duration::from_millis(50));
    assert_eq!(client.answer(stream).reset, Some(code::CANCEL));
    wire.until_closed();
}
