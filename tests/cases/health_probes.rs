//! What probes ask and how often, and whose errors stand out beside others'.

use ringway_tests::frames::{END_STREAM, frame, headers, kind};
use ringway_tests::{
    Driver, Frames, H2Origin, Origin, Proxy, Wire, WireServer, both_drivers, wait_until,
};

use crate::health::{Moody, QUICK, all_good, config, quoted, until_ejected, wait_flags};

both_drivers! {
    a_probe_asks_as_it_is_told,
    a_probe_of_http2_wants_http2,
    the_health_service_of_grpc_is_asked,
    a_degraded_host_is_asked_where_no_other_is_left,
    a_probe_speaks_http_over_a_unix_socket,
    the_first_probe_may_wait,
    until_somebody_asks_probes_are_seldom,
    gateway_errors_in_a_row_eject,
    a_host_most_of_whose_requests_fail_is_ejected,
    a_host_that_succeeds_less_than_the_others_is_ejected,
}

/// One probe of a host decides, and another comes at once or never.
const AT_ONCE: &str =
    "interval: 20ms, timeout: 30s, jitter: 0%, unhealthy_after: 1, healthy_after: 1";
const ONCE: &str = "interval: 1h, timeout: 30s";

fn attempts(proxy: &Proxy, cluster: &str) -> f64 {
    proxy.metric(
        "ringway_cluster_health_check_attempt_total",
        &[&format!("cluster=\"{cluster}\"")],
    )
}

fn a_probe_asks_as_it_is_told(driver: Driver) {
    let server = WireServer::bind();
    let keys = format!(
        "health_check: {{ http: {{ path: \"/healthz?deep=1\", host: checks.test, method: HEAD, headers: {{ x-probe: \"yes\" }}, statuses: [204, 300-302] }}, {AT_ONCE} }}"
    );
    let proxy = Proxy::start(driver, &config(&keys, &quoted(&[server.addr()])));
    let name = server.addr().to_string();
    let probe = |status: &str| {
        let mut wire = server.accept();
        let head = wire.head().to_lowercase();
        assert!(
            head.starts_with("head /healthz?deep=1 http/1.1\r\n"),
            "{head}"
        );
        for line in [
            "host: checks.test\r\n",
            "x-probe: yes\r\n",
            "user-agent: ringway-health\r\n",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
        wire.send(format!("HTTP/1.1 {status} S\r\nContent-Length: 0\r\n\r\n"));
    };
    for (status, flags) in [
        ("204", "healthy"),
        ("200", "/failed_active_hc"),
        ("302", "healthy"),
        ("303", "/failed_active_hc"),
    ] {
        probe(status);
        wait_flags(&proxy, &name, flags);
    }
}

fn a_probe_of_http2_wants_http2(driver: Driver) {
    let (two, one) = (H2Origin::start("two"), Origin::start("one"));
    let keys = format!("health_check: {{ http: {{ path: /, http2: true }}, {QUICK} }}");
    let proxy = Proxy::start(driver, &config(&keys, &quoted(&[two.addr(), one.addr()])));
    wait_flags(&proxy, &two.addr().to_string(), "healthy");
    wait_flags(&proxy, &one.addr().to_string(), "/failed_active_hc");
}

/// Answers a call of the health service: with a serving status, or with a status of gRPC.
fn health_call(server: &WireServer, serving: Result<u8, &str>) {
    let mut peer = Frames::server(server.accept(), &[]);
    let stream = peer.request();
    let asked = peer.await_kind(kind::DATA).payload;
    assert_eq!(asked, b"\0\0\0\0\x06\x0a\x04shop");
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    peer.send(headers(stream, 0, &head));
    if let Ok(status) = serving {
        let answer = [0, 0, 0, 0, 2, 8, status];
        peer.send(frame(kind::DATA, 0, stream, &answer));
    }
    let code = serving.err().unwrap_or("0");
    peer.send(headers(stream, END_STREAM, &[("grpc-status", code)]));
}

fn the_health_service_of_grpc_is_asked(driver: Driver) {
    let server = WireServer::bind();
    let keys = format!("health_check: {{ grpc: {{ service: shop }}, {AT_ONCE} }}");
    let proxy = Proxy::start(driver, &config(&keys, &quoted(&[server.addr()])));
    let name = server.addr().to_string();
    for (serving, flags, reason) in [
        (Ok(1), "healthy", "it answered well"),
        (Ok(2), "/failed_active_hc", "it says NOT_SERVING"),
        (Ok(1), "healthy", "it answered well"),
        (Err("5"), "/failed_active_hc", "its gRPC status is 5"),
    ] {
        health_call(&server, serving);
        wait_flags(&proxy, &name, flags);
        let said = format!("up::{name}::health_reason::{reason}\n");
        assert!(proxy.admin("GET", "/clusters").text().contains(&said));
    }
}

fn a_degraded_host_is_asked_where_no_other_is_left(driver: Driver) {
    // Three of four carry everything.
    let (good, worn) = (["good"; 3].map(Origin::start), WireServer::bind());
    let [a, b, c] = good.each_ref().map(Origin::addr);
    let keys = format!("health_check: {{ http: {{ path: /healthz }}, {ONCE} }}");
    let hosts = quoted(&[a, worn.addr(), b, c]);
    let proxy = Proxy::start(driver, &config(&keys, &hosts));
    let mut wire = worn.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nx-envoy-degraded: true\r\nContent-Length: 0\r\n\r\n");
    wait_flags(&proxy, &worn.addr().to_string(), "/degraded_active_hc");
    for addr in [a, b, c] {
        wait_flags(&proxy, &addr.to_string(), "healthy");
    }
    wait_until("the cores know", || all_good(&proxy));
    assert!(worn.try_accept().is_none());
    proxy.reload(&config(&keys, &quoted(&[worn.addr()])));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire: Wire = worn.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nworn");
    assert_eq!(client.read("GET").text(), "worn");
}

fn a_probe_speaks_http_over_a_unix_socket(driver: Driver) {
    let good = Origin::start("good");
    let keys = format!("health_check: {{ http: {{ path: /ready }}, {QUICK} }}");
    // The admin interface answers there.
    let hosts = [
        format!("\"{}\"", good.addr()),
        "\"unix:DIR/admin.sock\"".to_owned(),
    ];
    let proxy = Proxy::start(driver, &config(&keys, &hosts));
    let path = proxy.dir().join("admin.sock").display().to_string();
    wait_flags(&proxy, &path, "healthy");
}

/// Two clusters of the same host: `up`, whose probes are as said, and one that is probed all the time.
fn beside_another(driver: Driver, host: &Origin, keys: &str) -> Proxy {
    let host = format!("\"{}\"", host.addr());
    let keys = format!("health_check: {{ http: {{ path: / }}, {keys} }}");
    let busy = format!(
        "  - {{ name: busy, endpoints: [{host}], health_check: {{ tcp: {{}}, interval: 20ms }} }}\n"
    );
    Proxy::start(driver, &(config(&keys, &[host]) + &busy))
}

fn wait_probes_of_the_other(proxy: &Proxy) {
    wait_until("the other one is probed again and again", || {
        attempts(proxy, "busy") > 9.5
    });
}

fn the_first_probe_may_wait(driver: Driver) {
    let host = Origin::start("good");
    // A random part of a month is over within seconds once in a million times.
    let proxy = beside_another(driver, &host, "interval: 20ms, initial_wait: 1000h");
    wait_probes_of_the_other(&proxy);
    assert!(attempts(&proxy, "up") < 0.5);
}

fn until_somebody_asks_probes_are_seldom(driver: Driver) {
    let host = Origin::start("good");
    let proxy = beside_another(driver, &host, "interval: 20ms, no_traffic_interval: 1h");
    wait_probes_of_the_other(&proxy);
    assert!((attempts(&proxy, "up") - 1.0).abs() < 0.1);
    assert_eq!(proxy.client().get("/").text(), "good");
    wait_until("it is probed as usual", || attempts(&proxy, "up") > 4.5);
}

fn gateway_errors_in_a_row_eject(driver: Driver) {
    let (good, moody) = (Origin::start("good"), Moody::start(500));
    let keys = "outlier: { consecutive_5xx: 0, consecutive_gateway: 3, base_ejection: 1h, max_ejection: 1h }";
    let proxy = Proxy::start(driver, &config(keys, &quoted(&[good.addr(), moody.addr])));
    let mut client = proxy.client();
    for _ in 0..24 {
        client.get("/");
    }
    let name = moody.addr.to_string();
    wait_flags(&proxy, &name, "healthy");
    moody.set(502);
    until_ejected(&proxy, &name);
    assert!(
        proxy
            .admin("GET", "/outliers")
            .text()
            .contains("consecutive_gateway")
    );
}

/// Three hosts that are well and one that is not.
fn one_of_four(driver: Driver, rate: &str, cause: &str) {
    let good = ["good"; 3].map(Origin::start);
    let moody = Moody::start(500);
    let [a, b, c] = good.each_ref().map(Origin::addr);
    let keys = format!(
        "outlier: {{ consecutive_5xx: 0, {rate}, interval: 1s, base_ejection: 1h, max_ejection: 1h }}"
    );
    let hosts = quoted(&[a, moody.addr, b, c]);
    let proxy = Proxy::start(driver, &config(&keys, &hosts));
    until_ejected(&proxy, &moody.addr.to_string());
    let log = proxy.admin("GET", "/outliers").text();
    assert!(log.contains(cause), "{log}");
    let line = "health_flags::/failed_outlier_check";
    let listed = proxy.admin("GET", "/clusters").text();
    assert_eq!(listed.matches(line).count(), 1, "{listed}");
}

fn a_host_most_of_whose_requests_fail_is_ejected(driver: Driver) {
    let rate = "failure: { threshold: 60%, min_hosts: 2, requests: 2 }";
    one_of_four(driver, rate, "failure_percentage");
}

fn a_host_that_succeeds_less_than_the_others_is_ejected(driver: Driver) {
    let rate = "success_rate: { min_hosts: 3, requests: 2, stdev_factor: 1000 }";
    one_of_four(driver, rate, "success_rate");
}
