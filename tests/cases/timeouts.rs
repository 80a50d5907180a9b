//! Every wait has its limit, and says which one bit.

use std::time::{Duration, Instant};

use ringway_tests::http::Framing;
use ringway_tests::{Broken, Driver, Origin, Proxy, WireServer, both_drivers, site};

both_drivers! {
    a_route_timeout_is_504,
    a_route_timeout_cuts_an_answer_under_way,
    a_first_byte_timeout_is_504,
    a_connect_timeout_is_503,
    an_idle_answer_is_cut,
    an_idle_client_is_closed,
    a_request_timeout_counts_from_the_head,
    a_timeout_of_zero_is_none,
}

fn silent(driver: Driver, route: &str, cluster: &str) -> (WireServer, Proxy) {
    let server = WireServer::bind();
    let routes =
        format!("- {{ match: {{ prefix: / }}, cluster: up, retry: {{ retries: 0 }}{route} }}");
    let config = site(&routes, &[("up", &[server.addr()])])
        .replace("name: up,", &format!("name: up,{cluster}"));
    let proxy = Proxy::start(driver, &config);
    (server, proxy)
}

fn a_route_timeout_is_504(driver: Driver) {
    let (server, proxy) = silent(driver, ", timeout: 200ms", "");
    let mut client = proxy.client();
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    assert_eq!(client.read("GET").status, 504);
    assert!(
        (150..3000).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
    wire.until_closed();
}

fn a_route_timeout_cuts_an_answer_under_way(driver: Driver) {
    let (server, proxy) = silent(driver, ", timeout: 300ms", "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let broken = client.try_read("GET").map(|answer| answer.status);
    assert!(
        matches!(broken, Err(Broken::Truncated | Broken::Reset)),
        "{broken:?}"
    );
}

fn a_first_byte_timeout_is_504(driver: Driver) {
    let (server, proxy) = silent(driver, "", " first_byte_timeout: 200ms,");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    assert_eq!(client.read("GET").status, 504);
    wire.until_closed();
}

fn a_connect_timeout_is_503(driver: Driver) {
    // A queue that is full answers no further connect: one slot, taken.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        fill.push(stream);
        assert!(fill.len() < 64, "the queue never fills");
    }
    let routes = "- { match: { prefix: / }, cluster: up, retry: { retries: 0 } }";
    let config =
        site(routes, &[("up", &[addr])]).replace("name: up,", "name: up, connect_timeout: 200ms,");
    let proxy = Proxy::start(driver, &config);
    let start = Instant::now();
    assert_eq!(proxy.client().get("/").status, 503);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

fn an_idle_answer_is_cut(driver: Driver) {
    let (server, proxy) = silent(driver, ", idle_timeout: 200ms, timeout: 60s", "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let broken = client.try_read("GET").map(|answer| answer.status);
    assert!(
        matches!(broken, Err(Broken::Truncated | Broken::Reset)),
        "{broken:?}"
    );
    wire.until_closed();
}

fn an_idle_client_is_closed(driver: Driver) {
    let origin = Origin::start("a");
    let config = site(
        "- { match: { prefix: / }, cluster: up }",
        &[("up", &[origin.addr()])],
    )
    .replace(
        "    routes:",
        "    limits: { idle_timeout: 200ms }\n    routes:",
    );
    let proxy = Proxy::start(driver, &config);
    let mut fresh = proxy.client();
    let mut used = proxy.client();
    assert_eq!(used.get("/").status, 200);
    fresh.expect_closed();
    used.expect_closed();
}

fn a_request_timeout_counts_from_the_head(driver: Driver) {
    let origin = Origin::start("a");
    let config = site(
        "- { match: { prefix: / }, cluster: up }",
        &[("up", &[origin.addr()])],
    )
    .replace(
        "    routes:",
        "    limits: { request_timeout: 300ms }\n    routes:",
    );
    let proxy = Proxy::start(driver, &config);
    let mut client = proxy.client();
    assert_eq!(client.get("/hold").status, 504);
    // A body that trickles does not put the deadline off.
    let mut client = proxy.client();
    client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n");
    let mut writer = client.again();
    let trickle = std::thread::spawn(move || {
        while writer.try_send("x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let start = Instant::now();
    // An answer or a plain close; not a wait for all thousand bytes.
    if let Ok(answer) = client.try_read("POST") {
        assert!([408, 504].contains(&answer.status), "{}", answer.status);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(client);
    trickle.join().unwrap();
}

fn a_timeout_of_zero_is_none(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "- { match: { prefix: / }, cluster: up, timeout: 0s }";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[origin.addr()])]));
    let mut client = proxy.client();
    client.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    let (status, _, framing) = client.head("GET");
    assert_eq!((status, framing), (200, Framing::Chunked));
    let seen = client.pattern_body_until(framing, 100_000, || origin.release());
    assert!(seen.is_ok_and(|length| length >= 100_000));
}
