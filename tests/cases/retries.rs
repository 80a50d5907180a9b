//! A request is tried again where that is safe and nowhere else.

use ringway_tests::wire::Refusing;
use ringway_tests::{Driver, Origin, Proxy, Site, Wire, WireServer, both_drivers, pattern, site};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

both_drivers! {
    retries_the_next_host_after_a_refused_connect,
    retries_a_post_that_was_never_sent,
    never_repeats_a_post_once_sent,
    repeats_a_post_where_the_route_allows_it,
    repeats_a_get_that_was_reset,
    a_stale_pooled_connection_is_not_the_clients_trouble,
    never_repeats_a_post_on_a_stale_connection_once_sent,
    replays_a_small_body,
    never_replays_a_body_beyond_the_buffer,
    a_slow_try_gives_way_to_the_next,
    retries_gateway_errors_where_told,
    hands_on_the_last_gateway_error,
    never_tries_one_host_twice,
    zero_retries_means_one_try,
    never_retries_once_an_answer_began,
}

fn two(driver: Driver, retry: &str, one: &WireServer, two: &WireServer) -> Proxy {
    let routes = format!("- {{ match: {{ prefix: / }}, cluster: up, retry: {{ {retry} }} }}");
    let config = site(&routes, &[("up", &[one.addr(), two.addr()])]);
    Proxy::with(driver).process("cores: 1").start(&config)
}

/// The next connection of whichever of the two gets it.
#[track_caller]
fn either(one: &WireServer, two: &WireServer) -> Wire {
    ringway_tests::wait_for("a try", || one.try_accept().or_else(|| two.try_accept()))
}

fn retries_the_next_host_after_a_refused_connect(driver: Driver) {
    let (origin, gone) = (Origin::start("a"), Refusing::new());
    let proxy = Proxy::to(driver, &[gone.addr(), origin.addr()]);
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "a");
    }
    assert_eq!(origin.seen().len(), 10);
}

fn retries_a_post_that_was_never_sent(driver: Driver) {
    let (origin, gone) = (Origin::start("a"), Refusing::new());
    let proxy = Proxy::to(driver, &[gone.addr(), origin.addr()]);
    let mut client = proxy.client();
    let body = pattern::bytes(1_000_000);
    for n in 1..=4 {
        assert_eq!(client.post("/", &body).status, 200);
        let seen = origin.nth(n);
        assert!(seen.pattern && seen.length == 1_000_000);
    }
}

fn never_repeats_a_post_once_sent(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "retries: 3", &one, &other);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
    let mut wire = either(&one, &other);
    wire.head();
    wire.expect("hi");
    drop(wire);
    assert_eq!(client.read("POST").status, 502);
    assert!(
        one.try_accept().is_none() && other.try_accept().is_none(),
        "the POST was sent again"
    );
}

fn repeats_a_post_where_the_route_allows_it(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "retries: 1, non_idempotent: true", &one, &other);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
    let mut wire = either(&one, &other);
    wire.head();
    wire.expect("hi");
    drop(wire);
    let mut wire = either(&one, &other);
    wire.head();
    wire.expect("hi");
    wire.send(OK);
    assert_eq!(client.read("POST").status, 200);
}

fn repeats_a_get_that_was_reset(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "retries: 1", &one, &other);
    let mut client = proxy.client();
    for reset in [true, false] {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut wire = either(&one, &other);
        wire.head();
        if reset {
            wire.reset();
        } else {
            drop(wire);
        }
        let mut wire = either(&one, &other);
        wire.head();
        wire.send(OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        assert_eq!(client.read("GET").status, 200);
    }
}

fn a_stale_pooled_connection_is_not_the_clients_trouble(driver: Driver) {
    let origin = Origin::start("a");
    // Not even where retries are off: RFC 9112 §9.3.1.
    let routes = "- { match: { prefix: / }, cluster: up, retry: { retries: 0 } }";
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&site(routes, &[("up", &[origin.addr()])]));
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
        // The close races with the next request, on purpose: it is noticed, or the request is sent again.
        origin.close_all();
    }
}

fn never_repeats_a_post_on_a_stale_connection_once_sent(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&Site::to(&[server.addr()]).text());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    wire.send(OK);
    assert_eq!(client.read("GET").status, 200);
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi");
    wire.head();
    wire.expect("hi");
    drop(wire);
    assert_eq!(client.read("POST").status, 502);
    assert!(server.try_accept().is_none(), "the POST was sent again");
}

fn replays_a_small_body(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "retries: 1", &one, &other);
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nabc");
    let mut wire = either(&one, &other);
    wire.head();
    wire.expect("abc");
    drop(wire);
    let mut wire = either(&one, &other);
    wire.head();
    wire.expect("abc");
    client.send("def");
    wire.expect("def");
    wire.send(OK);
    assert_eq!(client.read("PUT").status, 200);
}

fn never_replays_a_body_beyond_the_buffer(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "retries: 3, buffer: 1KiB", &one, &other);
    let mut client = proxy.client();
    let body = "x".repeat(1025);
    client.send(format!(
        "PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 2000\r\n\r\n{body}"
    ));
    let mut wire = either(&one, &other);
    wire.head();
    wire.expect(&body);
    drop(wire);
    assert_eq!(client.read("PUT").status, 502);
    assert!(
        one.try_accept().is_none() && other.try_accept().is_none(),
        "half a body was sent again"
    );
}

fn a_slow_try_gives_way_to_the_next(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "retries: 1, per_try_timeout: 1s", &one, &other);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut slow = either(&one, &other);
    slow.head();
    let mut wire = either(&one, &other);
    wire.head();
    wire.send(OK);
    assert_eq!(client.read("GET").status, 200);
    assert!(
        slow.until_closed().is_empty(),
        "a try given up is closed, not kept"
    );
}

fn retries_gateway_errors_where_told(driver: Driver) {
    for status in [502, 503, 504] {
        let (one, other) = (WireServer::bind(), WireServer::bind());
        let proxy = two(driver, "on: [gateway_error], retries: 1", &one, &other);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut wire = either(&one, &other);
        wire.head();
        wire.send(format!(
            "HTTP/1.1 {status} No\r\nContent-Length: 3\r\n\r\nbad"
        ));
        let mut second = either(&one, &other);
        second.head();
        second.send(OK);
        assert_eq!(client.read("GET").text(), "ok");
    }
}

fn hands_on_the_last_gateway_error(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "on: [gateway_error], retries: 1", &one, &other);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    for body in ["one", "two"] {
        let mut wire = either(&one, &other);
        wire.head();
        wire.send(format!(
            "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\n{body}"
        ));
    }
    let answer = client.read("GET");
    assert_eq!((answer.status, answer.text().as_str()), (503, "two"));
}

fn never_tries_one_host_twice(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "on: [gateway_error], retries: 9", &one, &other);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    for _ in 0..2 {
        let mut wire = either(&one, &other);
        wire.head();
        wire.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    }
    assert_eq!(client.read("GET").status, 503);
    assert!(one.try_accept().is_none() && other.try_accept().is_none());
}

fn zero_retries_means_one_try(driver: Driver) {
    let (gone, also) = (Refusing::new(), Refusing::new());
    let routes = "- { match: { prefix: / }, cluster: up, retry: { retries: 0 } }";
    let proxy = Proxy::start(
        driver,
        &site(routes, &[("up", &[gone.addr(), also.addr()])]),
    );
    assert_eq!(proxy.client().get("/").status, 503);
    assert!(
        (proxy.metric(
            "ringway_cluster_upstream_cx_connect_fail_total",
            &["cluster=\"up\""]
        ) - 1.0)
            .abs()
            < 0.1
    );
}

fn never_retries_once_an_answer_began(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = two(driver, "retries: 3", &one, &other);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = either(&one, &other);
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.head("GET").0, 200);
    wire.reset();
    let (rest, _) = client.rest();
    assert!(b"abc".starts_with(&rest[..]), "{rest:?}");
    assert!(one.try_accept().is_none() && other.try_accept().is_none());
}
