//! What a retry policy asks for: which answers, which hosts, after how long, and tries beside one another.

use std::time::{Duration, Instant};

use ringway_tests::{
    Driver, Origin, Proxy, Site, Wire, WireServer, both_drivers, wait_for, wait_until,
};

both_drivers! {
    answers_are_tried_again_by_status_and_by_header,
    an_answer_says_when_it_wants_the_next_try,
    a_wait_that_the_route_does_not_allow_ends_the_tries,
    one_host_is_tried_again_where_told,
    the_next_try_goes_to_another_priority_where_told,
    a_silent_try_gives_way_to_the_next,
    a_silent_answer_is_cut,
    the_slower_of_two_tries_is_given_up,
    the_first_try_may_still_be_the_one_that_counts,
    an_error_of_one_try_waits_for_the_other,
    a_body_that_cannot_be_sent_again_costs_the_budget_nothing,
    a_timeout_is_held_against_who_had_the_whole_request,
    a_trusted_client_says_how_long_it_waits,
    in_a_storm_of_errors_upstreams_get_no_more_than_budgeted,
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

fn retry(keys: &str, hosts: &[&WireServer]) -> Site {
    let addrs: Vec<_> = hosts.iter().map(|host| host.addr()).collect();
    Site::to(&addrs).route(&format!("retry: {{ {keys} }}"))
}

fn one_core(driver: Driver, site: &Site) -> Proxy {
    Proxy::with(driver).process("cores: 1").start(&site.text())
}

/// The next connection of whichever gets it, with the request's head read, and which it was.
#[track_caller]
fn next(hosts: &[&WireServer]) -> (usize, Wire) {
    let (at, mut wire) = wait_for("a try", || {
        let mut tries = hosts.iter().enumerate();
        tries.find_map(|(at, host)| Some((at, host.try_accept()?)))
    });
    wire.head();
    (at, wire)
}

fn counted(proxy: &Proxy, what: &str) -> f64 {
    proxy.metric(
        &format!("ringway_cluster_{what}_total"),
        &["cluster=\"up\""],
    )
}

fn answers_are_tried_again_by_status_and_by_header(driver: Driver) {
    for (keys, answer) in [
        (
            "on: [status_codes], status_codes: [418, 425]",
            "HTTP/1.1 425 No\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "on: [retriable_4xx]",
            "HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "on: [headers], headers: [X-Again]",
            "HTTP/1.1 200 OK\r\nx-again: yes\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let (one, other) = (WireServer::bind(), WireServer::bind());
        let proxy = one_core(driver, &retry(keys, &[&one, &other]));
        let mut client = proxy.client();
        client.send(GET);
        let (first, mut wire) = next(&[&one, &other]);
        wire.send(answer);
        let (second, mut wire) = next(&[&one, &other]);
        wire.send(OK);
        assert_eq!(client.read("GET").text(), "ok", "{keys}");
        assert_ne!(first, second);
    }
}

fn an_answer_says_when_it_wants_the_next_try(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let keys = "on: [status_codes], status_codes: [429], back_off: 0, wait_headers: [{ name: Retry-After }]";
    let proxy = one_core(driver, &retry(keys, &[&one, &other]));
    let mut client = proxy.client();
    client.send(GET);
    let (_, mut wire) = next(&[&one, &other]);
    let asked = Instant::now();
    wire.send("HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
    let (_, mut wire) = next(&[&one, &other]);
    assert!(asked.elapsed() >= Duration::from_millis(990));
    wire.send(OK);
    assert_eq!(client.read("GET").text(), "ok");
}

fn a_wait_that_the_route_does_not_allow_ends_the_tries(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let keys = "on: [status_codes], status_codes: [429], wait_headers: [{ name: retry-after }]";
    let site = retry(keys, &[&one, &other]).route("timeout: 20s");
    let proxy = one_core(driver, &site);
    let mut client = proxy.client();
    let asked = Instant::now();
    client.send(GET);
    let (_, mut wire) = next(&[&one, &other]);
    wire.send("HTTP/1.1 429 No\r\nRetry-After: 25\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read("GET").status, 429);
    assert!(asked.elapsed() < Duration::from_secs(20));
}

fn one_host_is_tried_again_where_told(driver: Driver) {
    let host = WireServer::bind();
    let keys = "on: [gateway_error], retries: 2, hosts: any, back_off: 0";
    let proxy = one_core(driver, &retry(keys, &[&host]));
    let mut client = proxy.client();
    client.send(GET);
    let (_, mut wire) = next(&[&host]);
    wire.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    // Over the same connection.
    wire.head();
    wire.send(OK);
    assert_eq!(client.read("GET").text(), "ok");
}

fn the_next_try_goes_to_another_priority_where_told(driver: Driver) {
    // Of three hosts of the first priority one is never well: the second gets a few per cent.
    let gone = ringway_tests::wire::Refusing::new();
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let (c, d) = (Origin::start("c"), Origin::start("d"));
    let config = |keys: &str| {
        format!(
            "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes:\n      - {{ match: {{ prefix: / }}, cluster: up, retry: {{ on: [gateway_error], back_off: 0{keys} }} }}\n\
             clusters:\n  - name: up\n    balance: random\n    health_check: {{ tcp: {{}}, interval: 50ms }}\n    endpoints: [\"{}\", \"{}\", \"{}\", {{ address: \"{}\", priority: 1 }}, {{ address: \"{}\", priority: 1 }}]\n",
            gone.addr(),
            a.addr(),
            b.addr(),
            c.addr(),
            d.addr()
        )
    };
    let proxy = Proxy::start(driver, &config(", other_priorities: true"));
    wait_until("all but one are well", || {
        (proxy.metric("ringway_cluster_membership_healthy", &["cluster=\"up\""]) - 4.0).abs() < 0.1
    });
    let asked = || {
        let seen = |origins: [&Origin; 2]| {
            let all = origins.iter().flat_map(|origin| origin.seen());
            all.filter(|seen| seen.target == "/status/503").count()
        };
        (seen([&a, &b]), seen([&c, &d]))
    };
    wait_until("the cores know", || {
        (0..10).all(|_| proxy.client().get("/").status == 200)
    });
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.get("/status/503").status, 503);
    }
    assert_eq!(asked(), (50, 50), "one try in each priority");
    // Without it, a further try may stay in its priority.
    proxy.reload(&config(""));
    for _ in 0..50 {
        assert_eq!(client.get("/status/503").status, 503);
    }
    let (first, second) = asked();
    assert!(first > 120 && first + second == 200, "{first} {second}");
}

fn a_silent_try_gives_way_to_the_next(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = one_core(driver, &retry("per_try_idle_timeout: 1s", &[&one, &other]));
    let mut client = proxy.client();
    client.send(GET);
    let asked = Instant::now();
    let (_, mut slow) = next(&[&one, &other]);
    // An interim answer is a sign of life.
    assert!(other.try_accept().is_none() && one.try_accept().is_none());
    slow.send("HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n");
    let (_, mut wire) = next(&[&one, &other]);
    assert!(asked.elapsed() >= Duration::from_millis(990));
    wire.send(OK);
    assert_eq!(client.read("GET").text(), "ok");
    slow.until_closed();
    assert!(counted(&proxy, "upstream_rq_per_try_idle_timeout") > 0.5);
}

fn a_silent_answer_is_cut(driver: Driver) {
    let host = WireServer::bind();
    let proxy = one_core(driver, &retry("per_try_idle_timeout: 1s", &[&host]));
    let mut client = proxy.client();
    client.send(GET);
    let (_, mut wire) = next(&[&host]);
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.head("GET").0, 200);
    let (rest, _) = client.rest();
    assert!(b"abc".starts_with(&rest[..]), "{rest:?}");
    wire.until_closed();
}

const HEDGE: &str = "hedge: true, per_try_timeout: 200ms, retries: 2";

fn the_slower_of_two_tries_is_given_up(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let keys = format!("{HEDGE}, non_idempotent: true");
    let proxy = one_core(driver, &retry(&keys, &[&one, &other]));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nabcdef");
    let (first, mut slow) = next(&[&one, &other]);
    slow.expect("abcdef");
    let (second, mut quick) = next(&[&one, &other]);
    assert_ne!(first, second);
    quick.expect("abcdef");
    quick.send(OK);
    assert_eq!(client.read("POST").text(), "ok");
    assert!(slow.until_closed().is_empty());
    assert!((counted(&proxy, "upstream_rq_hedged") - 1.0).abs() < 0.1);
    assert!((counted(&proxy, "upstream_rq_retry") - 1.0).abs() < 0.1);
}

fn the_first_try_may_still_be_the_one_that_counts(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let proxy = one_core(driver, &retry(HEDGE, &[&one, &other]));
    let mut client = proxy.client();
    client.send(GET);
    let (_, mut slow) = next(&[&one, &other]);
    let (_, mut second) = next(&[&one, &other]);
    slow.send(OK);
    assert_eq!(client.read("GET").text(), "ok");
    assert!(second.until_closed().is_empty());
    // Its connection is kept, and answers the next one.
    client.send(GET);
    let (_, mut third) = match slow.try_until("\r\n\r\n") {
        Ok(_) => (0, slow),
        Err(_) => next(&[&one, &other]),
    };
    third.send(OK);
    assert_eq!(client.read("GET").text(), "ok");
}

fn an_error_of_one_try_waits_for_the_other(driver: Driver) {
    let (one, other) = (WireServer::bind(), WireServer::bind());
    let keys = format!("{HEDGE}, on: [reset, gateway_error]");
    let proxy = one_core(driver, &retry(&keys, &[&one, &other]));
    let mut client = proxy.client();
    client.send(GET);
    let (_, mut slow) = next(&[&one, &other]);
    let (_, mut second) = next(&[&one, &other]);
    second.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    second.until_closed();
    slow.send(OK);
    assert_eq!(client.read("GET").text(), "ok");
}

fn a_body_that_cannot_be_sent_again_costs_the_budget_nothing(driver: Driver) {
    let (one, other) = (Origin::start("a"), Origin::start("b"));
    let site = Site::to(&[one.addr(), other.addr()])
        .route("retry: { on: [gateway_error], back_off: 0, buffer: 1KiB }")
        .cluster("limits: { retry_budget: 1% }");
    let proxy = one_core(driver, &site);
    let mut client = proxy.client();
    let body = "x".repeat(4096);
    for _ in 0..10 {
        let put =
            format!("PUT /status/503 HTTP/1.1\r\nHost: t\r\nContent-Length: 4096\r\n\r\n{body}");
        assert_eq!(client.ask(&put).status, 503);
    }
    let seen = || one.seen().len() + other.seen().len();
    assert_eq!(seen(), 10);
    // The bucket is as full as it was: ten further tries, and no eleventh.
    for _ in 0..11 {
        assert_eq!(client.get("/status/503").status, 503);
    }
    assert_eq!(seen(), 10 + 11 + 10);
    assert!((counted(&proxy, "upstream_rq_retry_overflow") - 1.0).abs() < 0.1);
}

fn a_timeout_is_held_against_who_had_the_whole_request(driver: Driver) {
    let host = WireServer::bind();
    let site = Site::to(&[host.addr()])
        .route("timeout: 500ms, retry: { retries: 0 }")
        .cluster("outlier: { consecutive_5xx: 0, consecutive_local: 1 }");
    let proxy = one_core(driver, &site);
    // The client is slow, not the host.
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nabc");
    let (_, mut wire) = next(&[&host]);
    assert_eq!(client.read("PUT").status, 504);
    assert_eq!(wire.until_closed(), b"abc");
    let ejected = || counted(&proxy, "outlier_ejections");
    assert!(ejected() < 0.5);
    let mut client = proxy.client();
    client.send(GET);
    let (_, _silent) = next(&[&host]);
    assert_eq!(client.read("GET").status, 504);
    wait_until("it is ejected", || ejected() > 0.5);
}

fn a_trusted_client_says_how_long_it_waits(driver: Driver) {
    let host = WireServer::bind();
    let get = "GET / HTTP/1.1\r\nHost: t\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 200\r\n\r\n";
    let site = Site::to(&[host.addr()]).one_try().route("timeout: 20s");
    for trusted in [true, false] {
        let keys = if trusted {
            "forwarded: { trusted: [127.0.0.0/8] }"
        } else {
            ""
        };
        let proxy = one_core(driver, &site.clone().listener(keys));
        let mut client = proxy.client();
        let asked = Instant::now();
        client.send(get);
        let mut wire = host.accept();
        assert!(!wire.head().to_lowercase().contains("x-envoy"));
        if trusted {
            assert_eq!(client.read("GET").status, 504);
            assert!(asked.elapsed() < Duration::from_secs(15));
        } else {
            wire.expect_silence(Duration::from_millis(500));
            wire.send(OK);
            assert_eq!(client.read("GET").status, 200);
        }
    }
}

fn in_a_storm_of_errors_upstreams_get_no_more_than_budgeted(driver: Driver) {
    const CLIENTS: usize = 8;
    const EACH: usize = 100;
    let hosts = ["a", "b", "c", "d"].map(Origin::start);
    let addrs = hosts.each_ref().map(Origin::addr);
    let site = Site::to(&addrs)
        .route("retry: { on: [gateway_error], retries: 3, back_off: 1ms }")
        .cluster("limits: { retries: 100, retry_budget: 20% }");
    let proxy = site.start(driver);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = proxy.client();
                for _ in 0..EACH {
                    assert_eq!(client.get("/status/503").status, 503);
                }
            });
        }
    });
    let seen: usize = hosts.iter().map(|host| host.seen().len()).sum();
    let offered = CLIENTS * EACH;
    // A fifth more, and what the bucket began with; without a budget it would be four times as many.
    let most = offered + offered / 5 + 10;
    assert!(
        (offered + offered / 5 - 10..=most).contains(&seen),
        "{seen}"
    );
}
