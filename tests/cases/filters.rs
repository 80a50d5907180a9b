//! Filters and mirrors do what they say, in order.

use std::time::{Duration, Instant};

use ringway_tests::wire::Refusing;
use ringway_tests::{Driver, Origin, Proxy, WireServer, both_drivers, site, wait_until};

both_drivers! {
    the_headers_filter_changes_both_heads,
    ip_access_refuses_and_lets_in,
    ip_access_judges_the_true_client,
    the_fault_filter_aborts_and_delays,
    an_answers_fields_may_name_its_upstream,
    chain_filters_come_before_route_filters,
    a_mirror_gets_a_copy_and_matters_to_nobody,
    a_mirror_that_hangs_delays_nobody,
}

fn the_headers_filter_changes_both_heads(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "- { match: { prefix: / }, cluster: up, filters: [{ headers: { \
        request: { set: { X-From: filter }, remove: [X-Gone] }, response: { add: { X-Back: filter }, remove: [X-Origin] } } }] }";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[origin.addr()])]));
    let answer = proxy
        .client()
        .ask("GET / HTTP/1.1\r\nHost: t\r\nX-Gone: 1\r\n\r\n");
    assert_eq!(
        (answer.get("x-back"), answer.get("x-origin")),
        (Some("filter"), None)
    );
    let seen = origin.only();
    assert_eq!(
        (seen.get("x-from"), seen.get("x-gone")),
        (Some("filter"), None)
    );
}

fn ip_access_refuses_and_lets_in(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "
        - { match: { prefix: /denied }, cluster: up, filters: [{ ip_access: { deny: [127.0.0.0/8] } }] }
        - { match: { prefix: /others }, cluster: up, filters: [{ ip_access: { allow: [10.0.0.0/8] } }] }
        - { match: { prefix: / }, cluster: up, filters: [{ ip_access: { allow: [127.0.0.1/32], deny: [10.0.0.0/8] } }] }
    ";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[origin.addr()])]));
    let mut client = proxy.client();
    for (path, status) in [("/denied", 403), ("/others", 403), ("/", 200)] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    assert_eq!(origin.only().target, "/");
}

fn ip_access_judges_the_true_client(driver: Driver) {
    let routes = "- { match: { prefix: / }, respond: { status: 200 }, filters: [{ ip_access: { deny: [6.6.6.0/24] } }] }";
    let config = site(routes, &[]).replace("clusters:\n", "");
    let claim = "GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
    let proxy = Proxy::start(driver, &config);
    assert_eq!(
        proxy.client().ask(claim).status,
        200,
        "an untrusted claim changes nothing"
    );
    let trusting = config.replace(
        "    routes:",
        "    forwarded: { trusted: [127.0.0.1/32] }\n    routes:",
    );
    let proxy = Proxy::start(driver, &trusting);
    assert_eq!(proxy.client().ask(claim).status, 403);
}

fn the_fault_filter_aborts_and_delays(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "
        - { match: { prefix: /abort }, cluster: up, filters: [{ fault: { abort: { status: 503, share: 100% } } }] }
        - { match: { prefix: /half }, cluster: up, filters: [{ fault: { abort: { status: 503, share: 50% } } }] }
        - { match: { prefix: / }, cluster: up, filters: [{ fault: { delay: { for: 150ms, share: 100% } } }] }
    ";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[origin.addr()])]));
    let mut client = proxy.client();
    assert_eq!(client.get("/abort").status, 503);
    assert!(origin.seen().is_empty());
    let start = Instant::now();
    assert_eq!(client.get("/").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
    let aborted = (0..200)
        .filter(|_| client.get("/half").status == 503)
        .count();
    assert!(
        (60..=140).contains(&aborted),
        "{aborted} of 200 where 100 are expected"
    );
}

fn an_answers_fields_may_name_its_upstream(driver: Driver) {
    let (origin, gone) = (Origin::start("a"), Refusing::new());
    let headers = "response_headers: { set: { X-Host: \"%UPSTREAM_HOST%\" } }, \
        filters: [{ headers: { response: { set: { X-Cluster: \"<%UPSTREAM_CLUSTER%>\", X-Tries: \"%UPSTREAM_REQUEST_ATTEMPT_COUNT%\" } } } }]";
    let routes = format!(
        "- {{ match: {{ prefix: /gone }}, cluster: gone, {headers} }}\n\
         - {{ match: {{ prefix: / }}, cluster: up, {headers} }}"
    );
    let config = site(
        &routes,
        &[("up", &[origin.addr()]), ("gone", &[gone.addr()])],
    );
    let proxy = Proxy::start(driver, &config);
    let answer = proxy.client().get("/");
    assert_eq!(answer.head.get("x-host"), Some(&*origin.addr().to_string()));
    assert_eq!(answer.head.get("x-cluster"), Some("<up>"));
    assert_eq!(answer.head.get("x-tries"), Some("1"));
    // Filters see an answer of the proxy's own too: there the last host that was tried.
    let answer = proxy.client().get("/gone");
    assert_eq!(
        (answer.status, answer.head.get("x-cluster")),
        (503, Some("<gone>"))
    );
}

fn chain_filters_come_before_route_filters(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "- { match: { prefix: / }, cluster: up, filters: [{ headers: { request: { add: { X-Order: route } }, response: { add: { X-Order: route } } } }] }";
    let config = site(routes, &[("up", &[origin.addr()])]).replace(
        "    routes:",
        "    filters: [{ headers: { request: { add: { X-Order: chain } }, response: { add: { X-Order: chain } } } }]\n    routes:",
    );
    let proxy = Proxy::start(driver, &config);
    let answer = proxy.client().get("/");
    assert_eq!(origin.only().head.all("x-order"), ["chain", "route"]);
    assert_eq!(answer.head.all("x-order"), ["route", "chain"]);
}

fn a_mirror_gets_a_copy_and_matters_to_nobody(driver: Driver) {
    let (main, copy) = (Origin::start("main"), Origin::start("copy"));
    let routes =
        "- { match: { prefix: / }, cluster: up, mirror: { cluster: shadow, share: 100% } }";
    let proxy = Proxy::start(
        driver,
        &site(
            routes,
            &[("up", &[main.addr()]), ("shadow", &[copy.addr()])],
        ),
    );
    let mut client = proxy.client();
    assert_eq!(client.get("/x?y").text(), "main");
    let seen = copy.nth(1);
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/x?y")
    );
    // A mirror that is gone is nobody's trouble.
    drop(copy);
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "main");
    }
}

fn a_mirror_that_hangs_delays_nobody(driver: Driver) {
    let main = Origin::start("main");
    let silent = WireServer::bind();
    let routes =
        "- { match: { prefix: / }, cluster: up, mirror: { cluster: shadow, max_in_flight: 3 } }";
    let config = site(
        routes,
        &[("up", &[main.addr()]), ("shadow", &[silent.addr()])],
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "main");
    }
    // Its own breaker: three copies in flight, the others were not made.
    let mut wires = Vec::new();
    wait_until("three copies", || {
        wires.extend(silent.try_accept());
        wires.len() == 3
    });
    assert_eq!(client.get("/").text(), "main");
    assert!(silent.try_accept().is_none(), "a fourth copy in flight");
}
