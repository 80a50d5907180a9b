//! Every wait has its limit, and says which one bit.

use std::time::{Duration, Instant};

use ringway_tests::http::Framing;
use ringway_tests::wire::Full;
use ringway_tests::{Broken, Driver, Origin, Proxy, Site, WireServer, both_drivers, wait_until};

both_drivers! {
    a_route_timeout_is_504,
    a_route_timeout_cuts_an_answer_under_way,
    a_first_byte_timeout_is_504,
    a_connect_timeout_is_503,
    an_idle_answer_is_cut,
    a_client_that_goes_on_sending_breaks_the_silence,
    an_idle_client_is_closed,
    a_request_timeout_counts_from_the_head,
    a_timeout_of_zero_is_none,
    a_request_timeout_covers_a_filter_that_waits,
}

/// One that forwards to a scripted upstream, in one try, with these keys of its route and its cluster.
fn silent(driver: Driver, site: impl FnOnce(Site) -> Site) -> (WireServer, Proxy) {
    let server = WireServer::bind();
    let proxy = site(Site::to(&[server.addr()]).one_try()).start(driver);
    (server, proxy)
}

fn a_route_timeout_is_504(driver: Driver) {
    let (server, proxy) = silent(driver, |site| site.route("timeout: 500ms"));
    let mut client = proxy.client();
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    assert_eq!(client.read("GET").status, 504);
    assert!(
        start.elapsed() >= Duration::from_millis(490),
        "{:?}",
        start.elapsed()
    );
    wire.until_closed();
}

fn a_route_timeout_cuts_an_answer_under_way(driver: Driver) {
    let (server, proxy) = silent(driver, |site| site.route("timeout: 1s"));
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
    let (server, proxy) = silent(driver, |site| site.cluster("first_byte_timeout: 500ms"));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    assert_eq!(client.read("GET").status, 504);
    wire.until_closed();
}

fn a_connect_timeout_is_503(driver: Driver) {
    let full = Full::new();
    let proxy = Site::to(&[full.addr()])
        .one_try()
        .cluster("connect_timeout: 200ms")
        .start(driver);
    assert_eq!(proxy.client().get("/").status, 503);
}

fn an_idle_answer_is_cut(driver: Driver) {
    let (server, proxy) = silent(driver, |site| {
        site.route("idle_timeout: 500ms, timeout: 60s")
    });
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

fn a_client_that_goes_on_sending_breaks_the_silence(driver: Driver) {
    let (server, proxy) = silent(driver, |site| site.route("idle_timeout: 2s, timeout: 60s"));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let answer = client.head("POST");
    assert_eq!((answer.0, answer.2), (200, Framing::Chunked));
    assert_eq!(client.take(8), b"3\r\nabc\r\n");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(4500) {
        client.send("1\r\nx\r\n");
        wire.until("x\r\n");
        wire.expect_silence(Duration::from_millis(100));
    }
    client.send("0\r\n\r\n");
    wire.until("0\r\n\r\n");
    wire.send("3\r\nend\r\n0\r\n\r\n");
    assert_eq!(client.take(13), b"3\r\nend\r\n0\r\n\r\n");
}

fn an_idle_client_is_closed(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()])
        .limits("idle_timeout: 1s")
        .start(driver);
    let mut fresh = proxy.client();
    let mut used = proxy.client();
    assert_eq!(used.get("/").status, 200);
    fresh.expect_closed();
    used.expect_closed();
}

fn a_request_timeout_counts_from_the_head(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()])
        .limits("request_timeout: 1s")
        .start(driver);
    let mut client = proxy.client();
    assert_eq!(client.get("/hold").status, 504);
    // A body that trickles does not put the deadline off.
    let mut client = proxy.client();
    client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n");
    let trickle = client.trickle("x");
    // An answer or a plain close; not a wait for all thousand bytes, which would outlast this client's patience.
    if let Ok(answer) = client.try_read("POST") {
        assert!([408, 504].contains(&answer.status), "{}", answer.status);
    }
    drop(client);
    trickle.join().unwrap();
}

fn a_timeout_of_zero_is_none(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()])
        .route("timeout: 0s")
        .start(driver);
    let mut client = proxy.client();
    client.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    let (status, _, framing) = client.head("GET");
    assert_eq!((status, framing), (200, Framing::Chunked));
    let seen = client.pattern_body_until(framing, 100_000, || origin.release());
    assert!(seen.is_ok_and(|length| length >= 100_000));
}

fn a_request_timeout_covers_a_filter_that_waits(driver: Driver) {
    let origin = Origin::start("a");
    let waits = "filters: [{ fault: { delay: { for: 20s, share: 100% } } }]";
    let proxy = Site::to(&[origin.addr()])
        .route(waits)
        .limits("request_timeout: 200ms")
        .start(driver);
    let mut client = proxy.client();
    let start = Instant::now();
    assert_eq!(client.get("/").status, 504);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(190), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(origin.seen().is_empty());
    wait_until("it is counted", || {
        let counted = proxy.metric(
            "ringway_listener_limit_total",
            &["listener=\"web\"", "limit=\"request_timeout\""],
        );
        counted > 0.5
    });
}
