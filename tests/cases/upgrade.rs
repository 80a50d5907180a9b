//! A connection becomes a tunnel only after the upstream's 101, and nothing of the client's goes there before.

use std::time::Duration;

use ringway_tests::{
    Broken, Driver, Origin, Proxy, Site, Wire, WireServer, both_drivers, site, sys, wait_until,
};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

both_drivers! {
    tunnels_after_101,
    holds_client_bytes_until_101,
    a_refused_upgrade_stays_http,
    an_unasked_101_is_an_upstream_fault,
    a_101_to_another_protocol_is_an_upstream_fault,
    a_tunnel_closes_with_either_end,
    a_reset_ends_a_quiet_tunnel_at_once,
    a_tunnel_that_is_left_in_the_drain_is_reset_and_logged,
    quiet_tunnels_hold_no_buffers,
    an_idle_tunnel_is_closed,
    a_route_may_forbid_upgrades,
}

fn tunnels_after_101(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    let head = client.send(ASK).try_head().unwrap();
    assert!(head.start.starts_with("HTTP/1.1 101"), "{head:?}");
    assert!(
        head.lists("connection", "upgrade") && head.lists("upgrade", "websocket"),
        "{head:?}"
    );
    let big = ringway_tests::pattern::bytes(300_000);
    for piece in big.chunks(9_999) {
        client.send(piece);
        assert_eq!(client.take(piece.len()), piece);
    }
    let seen_upgrade = origin.connections();
    assert_eq!(seen_upgrade, 1);
}

fn holds_client_bytes_until_101(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    client.send(format!("{ASK}early"));
    let mut wire = server.accept();
    let head = wire.head().to_ascii_lowercase();
    assert!(
        head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
        "{head:?}"
    );
    wire.expect_silence(Duration::from_millis(150));
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
    wire.expect("early");
    assert!(client.try_head().unwrap().start.starts_with("HTTP/1.1 101"));
    assert_eq!(client.take(5), b"first");
}

fn a_refused_upgrade_stays_http(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    // What follows is a request of its own, whatever it was meant to be.
    client.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: t\r\n\r\n"));
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(client.read("GET").text(), "no");
    // Either the connection goes on as HTTP, or it is closed; a tunnel it is not.
    match wire.try_until("\r\n\r\n") {
        Ok(head) => {
            assert!(head.starts_with("GET /next HTTP/1.1\r\n"), "{head:?}");
            assert!(
                head.to_ascii_lowercase().contains("\r\nvia:"),
                "passed on raw: {head:?}"
            );
        }
        Err(broken) => {
            assert_ne!(broken, Broken::TimedOut);
            client.expect_closed();
        }
    }
}

fn an_unasked_101_is_an_upstream_fault(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { prefix: / }, cluster: up, retry: { retries: 0 } }";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[server.addr()])]));
    let asks = [
        "GET / HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ];
    for ask in asks {
        let mut client = proxy.client();
        client.send(ask);
        let server_side = std::thread::scope(|scope| {
            let serve = scope.spawn(|| {
                let mut wire = server.accept();
                wire.head();
                wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nevil");
                wire.until_closed()
            });
            assert_eq!(client.read("GET").status, 502, "{ask:?}");
            serve.join().unwrap()
        });
        assert!(server_side.is_empty(), "{ask:?}: {server_side:?}");
    }
}

fn a_101_to_another_protocol_is_an_upstream_fault(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { prefix: / }, cluster: up, retry: { retries: 0 } }";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[server.addr()])]));
    for answered in ["", "Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n"] {
        let mut client = proxy.client();
        client.send(ASK);
        std::thread::scope(|scope| {
            let serve = scope.spawn(|| {
                let mut wire = server.accept();
                wire.head();
                wire.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{answered}\r\nevil"
                ));
                wire.until_closed()
            });
            assert_eq!(client.read("GET").status, 502, "{answered:?}");
            let passed = serve.join().unwrap();
            assert!(passed.is_empty(), "{answered:?}: {passed:?}");
        });
    }
}

fn a_reset_ends_a_quiet_tunnel_at_once(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Wire::connect(proxy.addr("web"));
    client.send(ASK);
    let mut wire = server.accept();
    wire.head();
    wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    client.head();
    client.reset();
    // The host says nothing, so that no write to the client fails.
    assert_eq!(wire.ending(), (Vec::new(), Broken::Reset));
}

fn joined(proxy: &Proxy, server: &WireServer) -> (Wire, Wire) {
    let mut client = Wire::connect(proxy.addr("web"));
    client.send(ASK);
    let mut wire = server.accept();
    wire.head();
    wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    client.head();
    (client, wire)
}

fn a_tunnel_that_is_left_in_the_drain_is_reset_and_logged(driver: Driver) {
    let server = WireServer::bind();
    let log =
        "access_log: [{ stdout: true, format: \"%RESPONSE_CODE% %BYTES_RECEIVED% %BYTES_SENT%\" }]";
    let site = Site::to(&[server.addr()]).listener(log);
    let setup = Proxy::with(driver).process("drain_timeout: 300ms");
    let mut proxy = setup.start(&site.text());
    let (mut client, mut wire) = joined(&proxy, &server);
    client.send("12345");
    wire.expect("12345");
    wire.send("123");
    client.expect("123");
    proxy.signal(libc::SIGTERM);
    assert_eq!(client.ending(), (Vec::new(), Broken::Reset));
    assert_eq!(wire.ending(), (Vec::new(), Broken::Reset));
    assert_eq!(proxy.wait_end(), Some(0));
    wait_until("its line", || proxy.stdout().contains("101 5 3\n"));
}

fn quiet_tunnels_hold_no_buffers(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut pairs: Vec<_> = (0..20).map(|_| joined(&proxy, &server)).collect();
    let before = sys::rss_kib(proxy.pid());
    pairs.extend((0..400).map(|_| joined(&proxy, &server)));
    for (client, wire) in &mut pairs {
        client.send("a");
        wire.expect("a");
        wire.send("b");
        client.expect("b");
    }
    // Two buffers of 16 KiB each would be 12 MiB, and what a tunnel is besides some KiB.
    wait_until("the buffers are given back", || {
        sys::rss_kib(proxy.pid()) < before + (9 << 10)
    });
}

fn a_tunnel_closes_with_either_end(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    for client_first in [true, false] {
        let mut client = proxy.client();
        client.send(ASK);
        let mut wire = server.accept();
        wire.head();
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        client.try_head().unwrap();
        if client_first {
            client.send("bye").finish();
            wire.expect("bye");
            // The other direction is still open until its end says so, or the proxy closes both.
            wire.finish();
            assert!(wire.until_closed().is_empty());
        } else {
            wire.send("bye");
            drop(wire);
            assert_eq!(client.take(3), b"bye");
        }
        client.finish();
        client.expect_closed();
    }
}

fn an_idle_tunnel_is_closed(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "- { match: { prefix: / }, cluster: up, idle_timeout: 1s }";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[origin.addr()])]));
    let mut client = proxy.client();
    client.send(ASK).try_head().unwrap();
    client.send("x");
    assert_eq!(client.take(1), b"x");
    client.expect_closed();
}

fn a_route_may_forbid_upgrades(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "- { match: { prefix: / }, cluster: up, upgrade: false }";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[origin.addr()])]));
    let answer = proxy
        .client()
        .send(ASK.replace("/ws", "/plain"))
        .read("GET");
    // Refused, or passed on without the wish.
    if answer.status == 200 {
        assert_eq!(origin.only().get("upgrade"), None);
    }
    assert_ne!(answer.status, 101);
}
