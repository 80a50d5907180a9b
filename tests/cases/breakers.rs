//! How much a cluster takes: requests, connections and those who wait for one, further tries.

use ringway_tests::wait::wait_until;
use ringway_tests::wire::{Refusing, WireServer};
use ringway_tests::{Client, Driver, Origin, Proxy, both_drivers};

both_drivers! {
    a_request_beyond_the_limit_is_turned_away,
    priorities_are_counted_apart,
    a_request_waits_for_a_connection_and_gets_it_in_turn,
    without_a_place_in_the_queue_it_is_turned_away,
    an_idle_connection_of_one_core_does_not_starve_another,
    a_host_takes_no_more_than_its_own_limit,
    a_host_takes_no_more_connections_than_its_own_limit,
    a_storm_stays_within_the_retry_budget,
}

fn config(limits: &str, routes: &str, endpoints: &[String]) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    access_log: [{{ file: DIR/log, format: \"%RESPONSE_CODE% %RESPONSE_FLAGS%\\n\" }}]\n    routes:\n{routes}\
         clusters:\n  - {{ name: up, endpoints: [{}], limits: {{ {limits} }} }}\n",
        endpoints.join(", ")
    )
}

const ALL: &str =
    "      - { match: { prefix: / }, cluster: up, timeout: 20s, retry: { retries: 0 } }\n";

fn to(origin: &Origin) -> Vec<String> {
    vec![format!("\"{}\"", origin.addr())]
}

fn remaining(proxy: &Proxy, what: &str) -> f64 {
    proxy.metric(
        &format!("ringway_cluster_remaining_{what}"),
        &["cluster=\"up\""],
    )
}

/// A request under way that its origin holds.
fn held(proxy: &Proxy, path: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
    client
}

fn a_request_beyond_the_limit_is_turned_away(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::start(driver, &config("requests: 2", ALL, &to(&origin)));
    let mut clients = [held(&proxy, "/hold"), held(&proxy, "/hold")];
    wait_until("both are there", || origin.seen().len() == 2);
    assert!(remaining(&proxy, "rq") < 0.5);
    assert_eq!(proxy.client().get("/").status, 503);
    let log = proxy.dir().join("log");
    wait_until("the log says why", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("503 UO"))
    });
    origin.release();
    for client in &mut clients {
        assert_eq!(client.read("GET").status, 200);
    }
    wait_until("the places are free", || remaining(&proxy, "rq") > 1.5);
    assert_eq!(proxy.client().get("/").status, 200);
    assert!(
        proxy.metric(
            "ringway_cluster_upstream_rq_overflow_total",
            &["cluster=\"up\""]
        ) > 0.5
    );
}

fn priorities_are_counted_apart(driver: Driver) {
    let origin = Origin::start("a");
    let routes =
        "      - { match: { path: /high }, cluster: up, priority: high }\n".to_owned() + ALL;
    let proxy = Proxy::start(
        driver,
        &config("requests: 1, high: { requests: 1 }", &routes, &to(&origin)),
    );
    let mut client = held(&proxy, "/hold");
    wait_until("it is there", || origin.seen().len() == 1);
    assert_eq!(proxy.client().get("/").status, 503);
    assert_eq!(proxy.client().get("/high").status, 200);
    origin.release();
    assert_eq!(client.read("GET").status, 200);
}

fn a_request_waits_for_a_connection_and_gets_it_in_turn(driver: Driver) {
    let server = WireServer::bind();
    let hosts = [format!("\"{}\"", server.addr())];
    let proxy = Proxy::start(driver, &config("connections: 1", ALL, &hosts));
    let waiting = |n: f64| {
        wait_until("so many wait", || {
            (remaining(&proxy, "pending") - (1024.0 - n)).abs() < 0.5
        });
    };
    let mut first = held(&proxy, "/0");
    let mut wire = server.accept();
    assert!(wire.head().starts_with("GET /0 "));
    let mut clients = Vec::new();
    for n in 1..=4 {
        clients.push(held(&proxy, &format!("/{n}")));
        waiting(f64::from(n));
    }
    assert!(
        server.try_accept().is_none(),
        "one connection, whatever the cores"
    );
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0");
    assert_eq!(first.read("GET").text(), "0");
    for (n, client) in (1..).zip(&mut clients) {
        // Over the same connection where it is the same core's, else over one that takes its place.
        let head = wait_next(&mut wire, &server);
        assert!(
            head.starts_with(&format!("GET /{n} ")),
            "out of turn: {head}"
        );
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}"));
        assert_eq!(client.read("GET").text(), n.to_string());
    }
}

/// The next request's head, on this connection or on the one after it.
fn wait_next(wire: &mut ringway_tests::wire::Wire, server: &WireServer) -> String {
    match wire.try_until("\r\n\r\n") {
        Ok(head) => head,
        Err(_closed) => {
            *wire = server.accept();
            wire.head()
        }
    }
}

fn without_a_place_in_the_queue_it_is_turned_away(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::start(
        driver,
        &config("connections: 1, pending: 0", ALL, &to(&origin)),
    );
    let mut client = held(&proxy, "/hold");
    wait_until("it is there", || origin.seen().len() == 1);
    assert_eq!(proxy.client().get("/").status, 503);
    origin.release();
    assert_eq!(client.read("GET").status, 200);
    assert!(
        proxy.metric(
            "ringway_cluster_upstream_rq_pending_overflow_total",
            &["cluster=\"up\""]
        ) > 0.5
    );
}

fn an_idle_connection_of_one_core_does_not_starve_another(driver: Driver) {
    let origin = Origin::start("a");
    let proxy =
        Proxy::with(driver)
            .process("cores: 4")
            .start(&config("connections: 1", ALL, &to(&origin)));
    let mut clients: Vec<Client> = (0..16).map(|_| proxy.client()).collect();
    // Were the connection not given up for the core that waits, it would be kept for longer than the route waits.
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
    }
    // The origin may yet have to hear of the end of the last but one.
    wait_until("one is open at most", || origin.open() <= 1);
    assert!(
        proxy.metric(
            "ringway_cluster_upstream_cx_closed_for_room_total",
            &["cluster=\"up\""]
        ) > 0.5
    );
}

fn a_host_takes_no_more_than_its_own_limit(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::start(driver, &config("host_requests: 1", ALL, &to(&origin)));
    let mut client = held(&proxy, "/hold");
    wait_until("it is there", || origin.seen().len() == 1);
    assert_eq!(proxy.client().get("/").status, 503);
    origin.release();
    assert_eq!(client.read("GET").status, 200);
}

fn a_host_takes_no_more_connections_than_its_own_limit(driver: Driver) {
    let full = Origin::start("full");
    let keys = "host_connections: 1";
    let proxy = Proxy::start(driver, &config(keys, ALL, &to(&full)));
    let mut client = held(&proxy, "/hold");
    wait_until("it is there", || full.seen().len() == 1);
    assert_eq!(proxy.client().get("/").status, 503);
    assert_eq!(full.connections(), 1);
    full.release();
    assert_eq!(client.read("GET").status, 200);
}

fn a_storm_stays_within_the_retry_budget(driver: Driver) {
    let gone = [Refusing::new(), Refusing::new(), Refusing::new()];
    let hosts: Vec<String> = gone
        .iter()
        .map(|one| format!("\"{}\"", one.addr()))
        .collect();
    let routes =
        "      - { match: { prefix: / }, cluster: up, retry: { retries: 2, back_off: 0 } }\n";
    let proxy = Proxy::start(
        driver,
        &config("retries: 50, retry_budget: 20%", routes, &hosts),
    );
    let mut clients = [proxy.client(), proxy.client()];
    for _ in 0..150 {
        for client in &mut clients {
            assert_eq!(client.get("/").status, 503);
        }
    }
    let tries = proxy.metric("ringway_cluster_upstream_cx_total", &["cluster=\"up\""]);
    // 300 requests, a fifth of that again, and what the bucket began with; all of them would be 900.
    assert!((300.0..=300.0 * 1.2 + 11.0).contains(&tries), "{tries}");
    assert!(
        proxy.metric(
            "ringway_cluster_upstream_rq_retry_overflow_total",
            &["cluster=\"up\""]
        ) > 200.0
    );
}
