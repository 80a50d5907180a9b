//! Requests that wait for a connection to a host which a reload takes away meanwhile: another has them, and none is forgotten.

use ringway_tests::frames::{END_STREAM, headers};
use ringway_tests::proxy::site;
use ringway_tests::rpc_frames::{Bolt, answer, call};
use ringway_tests::{
    Client, Driver, Frames, Origin, Proxy, Site, Wire, WireServer, both_drivers, wait_until,
};

use crate::tcp::passing;

both_drivers! {
    who_waits_for_a_host_that_a_reload_removed_is_given_another,
    it_was_no_try,
    tries_beside_one_another_are_given_another_too,
    who_waits_keeps_the_turn_where_the_host_stays,
    who_waits_goes_on_where_the_limit_is_gone,
    who_waits_hears_that_the_cluster_is_gone,
    who_waits_for_a_stream_is_given_another_host,
    a_call_that_waits_is_given_another_host,
    a_copy_that_waits_is_given_another_host,
    a_connection_passed_on_waits_for_no_host_that_is_gone,
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

/// Hosts of a cluster, asked in this order, that takes so many connections.
fn bounded(hosts: &[&WireServer], connections: u32, route: &str) -> String {
    let addrs: Vec<_> = hosts.iter().map(|host| host.addr()).collect();
    let site = Site::to(&addrs).cluster(&format!(
        "balance: request_round_robin, limits: {{ connections: {connections} }}"
    ));
    let log = "access_log: [{ file: DIR/log, format: \"%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\\n\" }]";
    site.listener(log)
        .route(&format!("timeout: 60s{route}"))
        .text()
}

fn counted(proxy: &Proxy, what: &str) -> f64 {
    let name = format!("ringway_cluster_{what}");
    proxy.metric(&name, &["cluster=\"up\""])
}

/// So many wait for a connection.
fn wait_waiting(proxy: &Proxy, count: f64) {
    wait_until("so many wait", || {
        (counted(proxy, "remaining_pending") - (1024.0 - count)).abs() < 0.5
    });
}

fn wait_moved(proxy: &Proxy) {
    wait_until("it is given another", || {
        counted(proxy, "upstream_rq_moved_total") > 0.5
    });
}

/// A request under way at a host, and one that waits for its connection to end.
fn one_and_one(proxy: &Proxy, host: &WireServer) -> (Client, Wire, Client) {
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send(GET);
    let mut wire = host.accept();
    wire.head();
    second.send(GET);
    wait_waiting(proxy, 1.0);
    (first, wire, second)
}

fn is_answered(client: &mut Client, host: &WireServer) {
    let mut wire = host.accept();
    wire.head();
    wire.send(OK);
    assert_eq!(client.read("GET").text(), "ok");
}

fn who_waits_for_a_host_that_a_reload_removed_is_given_another(driver: Driver) {
    let [gone, new] = [(); 2].map(|()| WireServer::bind());
    let proxy = Proxy::start(driver, &bounded(&[&gone], 1, ""));
    let (mut first, mut wire, mut second) = one_and_one(&proxy, &gone);
    proxy.reload(&bounded(&[&new], 1, ""));
    wait_moved(&proxy);
    // Still one connection at most: it waits on, for another host.
    wait_waiting(&proxy, 1.0);
    wire.send(OK);
    assert_eq!(first.read("GET").text(), "ok");
    is_answered(&mut second, &new);
    assert!(gone.try_accept().is_none());
}

fn it_was_no_try(driver: Driver) {
    let [gone, new] = [(); 2].map(|()| WireServer::bind());
    let one_try = ", retry: { retries: 0 }";
    let proxy = Proxy::start(driver, &bounded(&[&gone], 1, one_try));
    let (first, wire, mut second) = one_and_one(&proxy, &gone);
    proxy.reload(&bounded(&[&new], 2, one_try));
    is_answered(&mut second, &new);
    let log = proxy.dir().join("log");
    wait_until("the log counts one", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text == "200 - 1\n")
    });
    assert!(counted(&proxy, "upstream_rq_retry_total") < 0.5);
    drop((first, wire));
}

fn tries_beside_one_another_are_given_another_too(driver: Driver) {
    let [gone, new] = [(); 2].map(|()| WireServer::bind());
    let hedged = ", retry: { hedge: true, per_try_timeout: 30s }";
    let proxy = Proxy::start(driver, &bounded(&[&gone], 1, hedged));
    let (first, wire, mut second) = one_and_one(&proxy, &gone);
    proxy.reload(&bounded(&[&new], 2, hedged));
    is_answered(&mut second, &new);
    assert!(gone.try_accept().is_none());
    drop((first, wire));
}

fn who_waits_keeps_the_turn_where_the_host_stays(driver: Driver) {
    let [host, new] = [(); 2].map(|()| WireServer::bind());
    let proxy = Proxy::start(driver, &bounded(&[&host], 1, ""));
    let (mut first, mut wire, mut second) = one_and_one(&proxy, &host);
    // The cluster is another, and the host is in it.
    proxy.reload(&bounded(&[&host, &new], 1, ""));
    let mut third = proxy.client();
    third.send(GET.replace("/ ", "/third "));
    wait_waiting(&proxy, 2.0);
    wire.send(OK);
    assert_eq!(first.read("GET").text(), "ok");
    // Over the same connection where it is the same core's, else over one that takes its place.
    for (client, path) in [(&mut second, "GET / "), (&mut third, "GET /third ")] {
        let head = wire.try_until("\r\n\r\n").unwrap_or_else(|_closed| {
            wire = host.accept();
            wire.head()
        });
        assert!(head.starts_with(path), "out of turn: {head}");
        wire.send(OK);
        assert_eq!(client.read("GET").text(), "ok");
    }
    assert!(new.try_accept().is_none());
    assert!(counted(&proxy, "upstream_rq_moved_total") < 0.5);
}

fn who_waits_goes_on_where_the_limit_is_gone(driver: Driver) {
    let host = WireServer::bind();
    let proxy = Proxy::start(driver, &bounded(&[&host], 1, ""));
    let (first, wire, mut second) = one_and_one(&proxy, &host);
    let mut third = proxy.client();
    third.send(GET);
    wait_waiting(&proxy, 2.0);
    let unbounded = Site::to(&[host.addr()]).cluster("balance: request_round_robin");
    proxy.reload(&unbounded.route("timeout: 60s").text());
    // On whichever core they are: which of them connects first is not said.
    let wires = [(); 2].map(|()| {
        let mut wire = host.accept();
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        wire
    });
    for client in [&mut second, &mut third] {
        assert_eq!(client.read("GET").text(), "ok");
    }
    drop(wires);
    drop((first, wire));
}

fn who_waits_hears_that_the_cluster_is_gone(driver: Driver) {
    let host = WireServer::bind();
    let proxy = Proxy::start(driver, &bounded(&[&host], 1, ""));
    let (mut first, mut wire, mut second) = one_and_one(&proxy, &host);
    let respond = "- { match: { prefix: / }, respond: { status: 204 } }";
    proxy.reload(&site(respond, &[("other", &[host.addr()])]));
    assert_eq!(second.read("GET").status, 503);
    // What is under way ends as it would have.
    wire.send(OK);
    assert_eq!(first.read("GET").text(), "ok");
    assert!(host.try_accept().is_none());
}

fn who_waits_for_a_stream_is_given_another_host(driver: Driver) {
    let [gone, new] = [(); 2].map(|()| WireServer::bind());
    let config = |host: &WireServer| {
        let site = Site::to(&[host.addr()]);
        site.cluster("protocol: http2, http2: { connections: 1, waiting_timeout: 60s }")
            .route("timeout: 60s")
            .text()
    };
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&config(&gone));
    let answered = |peer: &mut Frames, stream| {
        peer.send(headers(stream, END_STREAM, &[(":status", "204")]));
    };
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send(GET);
    let mut peer = Frames::server(gone.accept(), &[(3, 1)]);
    let one = peer.request();
    second.send(GET);
    wait_until("it waits", || {
        counted(&proxy, "upstream_rq_waited_total") > 0.5
    });
    proxy.reload(&config(&new));
    let mut other = Frames::server(new.accept(), &[(3, 1)]);
    let two = other.request();
    answered(&mut other, two);
    assert_eq!(second.read("GET").status, 204);
    answered(&mut peer, one);
    assert_eq!(first.read("GET").status, 204);
    assert!(gone.try_accept().is_none());
}

fn a_call_that_waits_is_given_another_host(driver: Driver) {
    let [gone, new] = [(); 2].map(|()| WireServer::bind());
    let config = |host: &WireServer| {
        format!(
            "listeners:\n  - {{ name: web, address: \"127.0.0.1:0\", protocol: bolt, routes: [{{ cluster: up, timeout: 60s }}] }}\n\
             clusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"], rpc: {{ connections: 1, in_flight: 1 }} }}\n",
            host.addr()
        )
    };
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&config(&gone));
    let [mut first, mut second] = [(); 2].map(|()| Wire::connect(proxy.addr("web")));
    first.send(call(1, &[], "one").bytes());
    let mut wire = gone.accept();
    let one = Bolt::take_call(&mut wire);
    second.send(call(2, &[], "two").bytes());
    wait_until("it waits", || {
        counted(&proxy, "upstream_rq_waited_total") > 0.5
    });
    proxy.reload(&config(&new));
    let mut other = new.accept();
    let two = Bolt::take_call(&mut other);
    other.send(answer(&two, "2").bytes());
    assert_eq!(Bolt::take(&mut second).content, b"2");
    wire.send(answer(&one, "1").bytes());
    assert_eq!(Bolt::take(&mut first).content, b"1");
    assert!(gone.try_accept().is_none());
}

fn a_connection_passed_on_waits_for_no_host_that_is_gone(driver: Driver) {
    let [gone, new] = [(); 2].map(|()| WireServer::bind());
    let config = |host: &WireServer, connections: u32| {
        let keys = format!("name: up, limits: {{ connections: {connections} }},");
        passing("", "", &[host.addr()]).replace("name: up,", &keys)
    };
    let proxy = Proxy::start(driver, &config(&gone, 1));
    let mut first = Wire::connect(proxy.addr("web"));
    let mut wire = gone.accept();
    let mut second = Wire::connect(proxy.addr("web"));
    wait_waiting(&proxy, 1.0);
    proxy.reload(&config(&new, 2));
    new.accept().send("here");
    second.expect("here");
    wire.send("there");
    first.expect("there");
    assert!(gone.try_accept().is_none());
}

fn a_copy_that_waits_is_given_another_host(driver: Driver) {
    let origin = Origin::start("up");
    let [gone, new] = [(); 2].map(|()| WireServer::bind());
    let config = |host: &WireServer| {
        format!(
            "listeners: [{{ name: web, address: \"127.0.0.1:0\", routes: [{{ cluster: main, mirror: {{ cluster: up }} }}] }}]\n\
             clusters:\n  - {{ name: main, endpoints: [\"{}\"] }}\n  \
             - {{ name: up, endpoints: [\"{}\"], limits: {{ connections: 1 }} }}\n",
            origin.addr(),
            host.addr()
        )
    };
    let proxy = Proxy::start(driver, &config(&gone));
    let mut client = proxy.client();
    assert_eq!(client.get("/one").text(), "up");
    let mut wire = gone.accept();
    wire.head();
    assert_eq!(client.get("/two").text(), "up");
    wait_waiting(&proxy, 1.0);
    proxy.reload(&config(&new));
    wait_moved(&proxy);
    wire.send(OK);
    let mut wire = new.accept();
    assert!(wire.head().starts_with("GET /two "));
    wire.send(OK);
    wait_until("both copies were answered", || {
        counted(&proxy, "mirror_sent_total") > 1.5 && counted(&proxy, "remaining_pending") > 1023.5
    });
    assert!(counted(&proxy, "mirror_failed_total") < 0.5);
    assert!(gone.try_accept().is_none());
}
