//! Connections: kept and closed as both versions say; fields of one hop go no further; the client is named truly.

use std::time::{Duration, Instant};

use ringway_tests::{
    Driver, H2Setup, Origin, Proxy, Site, Wire, WireServer, both_drivers, wait_until,
};

both_drivers! {
    keeps_and_closes_as_each_version_says,
    a_last_answer_comes_whole_whatever_is_said_behind_its_request,
    closes_after_a_close_of_the_upstream_only_upstream,
    reuses_upstream_connections,
    a_pool_bounds_the_requests_of_a_connection,
    a_pool_bounds_the_age_of_a_connection,
    a_pool_closes_idle_connections,
    connections_are_made_before_they_are_needed,
    nothing_is_made_ahead_beyond_a_limit,
    connections_of_http2_are_made_before_they_are_needed,
    removes_hop_by_hop_fields_both_ways,
    never_drops_what_it_adds_because_connection_names_it,
    tells_the_upstream_who_asks,
    believes_only_trusted_hops,
    adds_via_both_ways,
    makes_a_request_id,
    refuses_connect,
    closes_after_a_malformed_request,
    keeps_field_order_and_case,
}

fn keeps_and_closes_as_each_version_says(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    for (head, stays) in [
        ("GET / HTTP/1.1\r\nHost: t\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nHost: t\r\nConnection: keep-alive\r\n\r\n",
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nHost: t\r\nConnection: foo, CLOSE\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\nHost: t\r\n\r\n", false),
        (
            "GET / HTTP/1.0\r\nHost: t\r\nConnection: close\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n",
            true,
        ),
    ] {
        let mut client = proxy.client();
        let answer = client.ask(head);
        assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
        if stays {
            assert!(!answer.closes(), "{head:?}");
            if head.contains("1.0") {
                assert!(
                    answer.head.lists("connection", "keep-alive"),
                    "{head:?}: {:?}",
                    answer.head
                );
            }
            assert_eq!(client.get("/").text(), "a", "{head:?}");
        } else {
            assert!(
                answer.closes() || head.contains("1.0"),
                "{head:?}: {:?}",
                answer.head
            );
            client.expect_closed();
        }
    }
    // A body of unknown length to HTTP/1.0: no chunks, but the end of the connection.
    let mut client = proxy.client();
    let answer =
        client.ask("GET /chunked/5000 HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(
        (answer.get("transfer-encoding"), answer.body.len()),
        (None, 5000)
    );
    client.expect_closed();
}

/// A socket that is closed with something unread in it resets: what it was still to send must have gone before that.
fn a_last_answer_comes_whole_whatever_is_said_behind_its_request(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Wire::connect(proxy.addr("web"));
    client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    client.send(vec![b'x'; 64 << 10]);
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n");
    wire.send(vec![b'y'; 3000]);
    let (answer, _end) = client.ending();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.ends_with(&[b'y'; 3000]), "{} bytes", answer.len());
}

fn closes_after_a_close_of_the_upstream_only_upstream(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.get("/bye");
        assert!(!answer.closes(), "the upstream's close is not the client's");
    }
    assert_eq!(origin.connections(), 3);
}

fn reuses_upstream_connections(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.get("/chunked/100").status, 200);
        assert_eq!(client.post("/echo", "x").status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

fn a_pool_bounds_the_requests_of_a_connection(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()])
        .cluster("pool: { max_requests: 3 }")
        .start(driver);
    let mut client = proxy.client();
    for _ in 0..7 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origin.connections(), 3);
    assert_eq!(
        origin
            .seen()
            .iter()
            .filter(|seen| seen.connection == 0)
            .count(),
        3
    );
}

fn a_pool_bounds_the_age_of_a_connection(driver: Driver) {
    let origin = Origin::start("a");
    let site = Site::to(&[origin.addr()]).cluster("pool: { max_age: 300ms }");
    let proxy = one_core(driver, &site);
    let mut client = proxy.client();
    let begun = Instant::now();
    wait_until("another connection serves", || {
        assert_eq!(client.get("/").status, 200);
        origin.connections() > 1
    });
    assert!(begun.elapsed() >= Duration::from_millis(290));
}

/// A proxy with one core, whose pool is so.
fn one_core(driver: Driver, site: &Site) -> Proxy {
    Proxy::with(driver).process("cores: 1").start(&site.text())
}

fn made_ahead(proxy: &Proxy) -> f64 {
    proxy.metric("ringway_cluster_upstream_cx_preconnect_total", &[])
}

fn connections_are_made_before_they_are_needed(driver: Driver) {
    let origin = Origin::start("a");
    let site = Site::to(&[origin.addr()]).cluster("pool: { preconnect: 50% }");
    let proxy = one_core(driver, &site);
    let mut held = Vec::new();
    for (requests, connections) in [(1, 2), (2, 3), (3, 5), (4, 6)] {
        let mut client = proxy.client();
        client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
        held.push(client);
        wait_until("half as many more are ready", || {
            origin.open() == connections && origin.seen().len() == requests
        });
    }
    origin.release();
    for client in &mut held {
        assert_eq!(client.read("GET").status, 200);
    }
    assert_eq!(made_ahead(&proxy), 5.0);
    // What was made ahead serves: nothing new is needed.
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origin.connections(), 6);
}

fn nothing_is_made_ahead_beyond_a_limit(driver: Driver) {
    for keys in [
        "pool: { preconnect: 100%, max_idle: 0 }",
        "pool: { preconnect: 100% }, limits: { connections: 1 }",
        "pool: { preconnect: 100% }, limits: { host_connections: 1 }",
        "pool: { preconnect: 0% }",
    ] {
        let origin = Origin::start("a");
        let site = Site::to(&[origin.addr()]).cluster(keys);
        let proxy = one_core(driver, &site);
        for _ in 0..5 {
            assert_eq!(proxy.client().get("/").status, 200, "{keys}");
        }
        // The origin may yet have to hear of the end of the last but one.
        wait_until("one is open at most", || origin.open() <= 1);
        assert_eq!(made_ahead(&proxy), 0.0, "{keys}");
    }
}

fn connections_of_http2_are_made_before_they_are_needed(driver: Driver) {
    let origin = H2Setup::new("a").streams(2).start();
    let site = Site::to(&[origin.addr()])
        .cluster("protocol: http2")
        .cluster("pool: { preconnect: 50% }");
    let proxy = one_core(driver, &site);
    let mut held = Vec::new();
    for (requests, connections) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        let mut client = proxy.client();
        client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
        held.push(client);
        wait_until("there is room for half as many more", || {
            origin.open() == connections && origin.active() == requests
        });
    }
    origin.release();
    for client in &mut held {
        assert_eq!(client.read("GET").status, 200);
    }
}

fn a_pool_closes_idle_connections(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()])
        .cluster("pool: { idle_timeout: 100ms }")
        .start(driver);
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 200);
    wait_until("the idle upstream connection is closed", || {
        origin.open() == 0
    });
    assert_eq!(client.get("/").status, 200);
    assert_eq!(origin.connections(), 2);
}

fn removes_hop_by_hop_fields_both_ways(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: t\r\nConnection: X-Named, keep-alive\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nX-Kept: 1\r\n\r\n",
    );
    let mut wire = server.accept();
    let head = wire.head().to_ascii_lowercase();
    for gone in ["x-named", "keep-alive:", "proxy-connection", "te: gzip"] {
        assert!(!head.contains(gone), "{gone} in {head:?}");
    }
    assert!(head.contains("x-kept: 1\r\n"));
    wire.send(
        "HTTP/1.1 200 OK\r\nConnection: X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: close\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = client.read("GET");
    for gone in ["x-named", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.get(gone), None);
    }
    assert_eq!(answer.get("x-kept"), Some("1"));
}

fn never_drops_what_it_adds_because_connection_names_it(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    let head = "GET / HTTP/1.1\r\nHost: t\r\nConnection: x-forwarded-for, x-request-id, via, x-forwarded-proto\r\n\r\n";
    assert_eq!(client.ask(head).status, 200);
    let seen = origin.only();
    assert_eq!(seen.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));
    assert!(seen.get("x-request-id").is_some() && seen.get("via").is_some());
    // Host and Content-Length cannot be talked away: refused, or passed on all the same.
    let mut client = proxy.client();
    let head = "POST /echo HTTP/1.1\r\nHost: t\r\nConnection: host, content-length\r\nContent-Length: 2\r\n\r\nhi";
    if client
        .try_ask(head)
        .is_ok_and(|answer| answer.status == 200)
    {
        let seen = origin.nth(2);
        assert_eq!((seen.get("host"), seen.length), (Some("t"), 2));
    }
}

fn tells_the_upstream_who_asks(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()])
        .listener("forwarded: { x_forwarded_host: true }")
        .start(driver);
    let mut client = proxy.client();
    // This client is not trusted: what it claims is replaced.
    let head = "GET / HTTP/1.1\r\nHost: www.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: evil\r\nX-Request-Id: mine\r\n\r\n";
    assert_eq!(client.ask(head).status, 200);
    let seen = origin.only();
    assert_eq!(seen.get("host"), Some("www.test"));
    assert_eq!(seen.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.get("x-forwarded-host"), Some("www.test"));
    assert_ne!(seen.get("x-request-id"), Some("mine"));
}

fn believes_only_trusted_hops(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()])
        .listener("forwarded: { trusted: [127.0.0.0/8] }")
        .start(driver);
    let mut client = proxy.client();
    let head = "GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n\r\n";
    assert_eq!(client.ask(head).status, 200);
    let seen = origin.only();
    let hops: Vec<&str> = seen
        .head
        .all("x-forwarded-for")
        .into_iter()
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    assert_eq!(hops, ["6.6.6.6", "127.0.0.1"]);
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.get("x-request-id"), Some("mine"));
}

fn adds_via_both_ways(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let answer = proxy
        .client()
        .ask("GET / HTTP/1.1\r\nHost: t\r\nVia: 1.0 first\r\n\r\n");
    assert_eq!(answer.get("via"), Some("1.1 ringway"));
    let seen = origin.only();
    let via: Vec<&str> = seen
        .head
        .all("via")
        .into_iter()
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    assert_eq!(via, ["1.0 first", "1.1 ringway"]);
}

fn makes_a_request_id(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    client.get("/");
    client.get("/");
    let (one, two) = (origin.nth(1), origin.nth(2));
    let (one, two) = (
        one.get("x-request-id").unwrap(),
        two.get("x-request-id").unwrap(),
    );
    assert!(one.len() >= 16 && one != two, "{one} {two}");
}

fn refuses_connect(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    let answer = client
        .send("CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n")
        .read("GET");
    assert!(
        [400, 405, 501].contains(&answer.status),
        "{}",
        answer.status
    );
    assert_eq!(origin.connections(), 0);
}

fn closes_after_a_malformed_request(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    for (bad, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
        ),
    ] {
        let mut client = proxy.client();
        let answer = client
            .try_ask(&format!("{bad}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
            .unwrap();
        // 400 and 501 are both right for a coding that is not understood.
        assert!(
            answer.status == status || (status == 501 && answer.status == 400),
            "{bad:?}: {}",
            answer.status
        );
        assert!(answer.closes(), "{bad:?}");
        client.expect_closed();
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn keeps_field_order_and_case(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nX-Zed: 1\r\nHost: t\r\nx-ALPHA: 2\r\nX-Zed: 3\r\n\r\n");
    let mut wire = server.accept();
    let head = wire.head();
    let places: Vec<_> = ["X-Zed: 1\r\n", "x-ALPHA: 2\r\n", "X-Zed: 3\r\n"]
        .iter()
        .map(|line| head.find(line))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{head:?}"
    );
    wire.send("HTTP/1.1 200 OK\r\nX-B: 1\r\nX-a: 2\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n");
    let answer = client.read("GET");
    assert_eq!(answer.head.all("set-cookie"), ["a=1", "b=2"]);
    assert!(answer.head.fields.iter().any(|(name, _)| name == "X-a"));
}
