//! HTTP/2 connections to upstreams: how many there are, when they end, and what becomes of those who wait.

use std::thread::JoinHandle;

use ringway_tests::frames::{ACK, END_STREAM, frame, headers, kind, settings};
use ringway_tests::{
    Driver, Frames, H2Origin, H2Setup, Proxy, WireServer, both_drivers, wait_equal, wait_until,
};

use crate::http2_upstream::{one_core, site2};

both_drivers! {
    requests_share_a_connection,
    a_full_connection_gets_another,
    beyond_its_connections_requests_wait_their_turn,
    a_host_may_allow_one_stream_at_a_time,
    too_many_that_wait_are_refused,
    who_waits_too_long_is_refused,
    a_limit_may_change_on_the_way,
    who_waits_and_leaves_loses_nothing,
    goaway_lets_streams_end_and_sends_the_rest_elsewhere,
    unused_and_old_connections_are_closed,
    a_connection_takes_so_many_requests,
    a_host_that_is_gone_finishes_its_requests,
    a_dead_connection_is_found_by_a_ping,
    a_refused_connection_fails_all_who_wait,
    a_stop_ends_all_connections_in_order,
}

/// So many requests at once, each from a client of its own: their answers.
pub(crate) fn ask(
    proxy: &Proxy,
    count: usize,
    path: &'static str,
) -> Vec<JoinHandle<(u16, String)>> {
    (0..count)
        .map(|_| {
            let mut client = proxy.client();
            std::thread::spawn(move || {
                let answer = client.get(path);
                (answer.status, answer.text())
            })
        })
        .collect()
}

pub(crate) fn answers(asked: Vec<JoinHandle<(u16, String)>>) -> Vec<(u16, String)> {
    asked.into_iter().map(|one| one.join().unwrap()).collect()
}

pub(crate) fn all_200(asked: Vec<JoinHandle<(u16, String)>>) {
    for (status, text) in answers(asked) {
        assert_eq!(status, 200, "{text}");
    }
}

fn requests_share_a_connection(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = one_core(driver, &site2(&[origin.addr()], "", ""));
    let asked = ask(&proxy, 20, "/hold");
    wait_until("all are under way", || origin.active() == 20);
    assert_eq!(origin.connections(), 1);
    origin.release();
    all_200(asked);
}

fn a_full_connection_gets_another(driver: Driver) {
    let origin = H2Setup::new("two").streams(2).start();
    let proxy = one_core(driver, &site2(&[origin.addr()], "", ""));
    let asked = ask(&proxy, 7, "/hold");
    wait_until("all are under way", || origin.active() == 7);
    assert_eq!(origin.connections(), 4);
    origin.release();
    all_200(asked);
}

fn beyond_its_connections_requests_wait_their_turn(driver: Driver) {
    let origin = H2Setup::new("two").streams(2).start();
    let http2 = ", http2: { connections: 2 }";
    let proxy = one_core(driver, &site2(&[origin.addr()], http2, ""));
    let asked = ask(&proxy, 12, "/hold");
    wait_until("as many as fit are under way", || origin.active() == 4);
    wait_until("the others wait", || {
        proxy.metric("ringway_cluster_upstream_rq_waited_total", &[]) >= 8.0
    });
    origin.release();
    all_200(asked);
    assert_eq!((origin.most(), origin.connections()), (4, 2));
}

fn a_host_may_allow_one_stream_at_a_time(driver: Driver) {
    let origin = H2Setup::new("two").streams(1).start();
    let proxy = one_core(driver, &site2(&[origin.addr()], "", ""));
    for _ in 0..20 {
        all_200(ask(&proxy, 10, "/bytes/100"));
    }
    assert!(origin.connections() <= 64);
    let proxy = one_core(
        driver,
        &site2(&[origin.addr()], ", http2: { connections: 1 }", ""),
    );
    for _ in 0..5 {
        all_200(ask(&proxy, 10, "/bytes/100"));
    }
}

fn too_many_that_wait_are_refused(driver: Driver) {
    let origin = H2Setup::new("two").streams(1).start();
    let http2 = ", http2: { connections: 1, waiting: 2 }";
    let proxy = one_core(driver, &site2(&[origin.addr()], http2, ""));
    let mut asked = ask(&proxy, 1, "/hold");
    wait_until("one is under way", || origin.active() == 1);
    asked.extend(ask(&proxy, 2, "/hold"));
    wait_until("two wait", || {
        proxy.metric("ringway_cluster_upstream_rq_waited_total", &[]) >= 2.0
    });
    let refused = answers(ask(&proxy, 1, "/hold"));
    assert_eq!(refused[0].0, 503);
    let limit = ["limit=\"http2_waiting\""];
    wait_equal(1.0, || proxy.metric("ringway_cluster_limit_total", &limit));
    origin.release();
    all_200(asked);
}

fn who_waits_too_long_is_refused(driver: Driver) {
    let origin = H2Setup::new("two").streams(1).start();
    let http2 = ", http2: { connections: 1, waiting_timeout: 200ms }";
    let proxy = one_core(driver, &site2(&[origin.addr()], http2, ""));
    let asked = ask(&proxy, 1, "/hold");
    wait_until("one is under way", || origin.active() == 1);
    let began = std::time::Instant::now();
    let refused = answers(ask(&proxy, 1, "/"));
    assert_eq!(refused[0].0, 503);
    assert!(began.elapsed() >= std::time::Duration::from_millis(200));
    let limit = ["limit=\"http2_waiting_timeout\""];
    wait_equal(1.0, || proxy.metric("ringway_cluster_limit_total", &limit));
    origin.release();
    all_200(asked);
    all_200(ask(&proxy, 1, "/"));
}

fn a_limit_may_change_on_the_way(driver: Driver) {
    let wire = WireServer::bind();
    let http2 = ", http2: { connections: 1 }";
    let proxy = one_core(driver, &site2(&[wire.addr()], http2, ""));
    let asked = ask(&proxy, 4, "/");
    let mut peer = Frames::server(wire.accept(), &[(3, 1)]);
    let answer = |peer: &mut Frames, stream| {
        peer.send(headers(stream, END_STREAM, &[(":status", "204")]));
    };
    let first = peer.request();
    // Two more may come now, and they do though the first is not answered.
    peer.send(settings(&[(3, 3)]));
    let (second, third) = (peer.request(), peer.request());
    peer.send(settings(&[(3, 0)]));
    answer(&mut peer, first);
    answer(&mut peer, second);
    answer(&mut peer, third);
    peer.send(settings(&[(3, 1)]));
    let fourth = peer.request();
    answer(&mut peer, fourth);
    for (status, _) in answers(asked) {
        assert_eq!(status, 204);
    }
}

fn who_waits_and_leaves_loses_nothing(driver: Driver) {
    let origin = H2Setup::new("two").streams(1).start();
    let http2 = ", http2: { connections: 1 }";
    let proxy = one_core(driver, &site2(&[origin.addr()], http2, ""));
    let held = ask(&proxy, 1, "/hold");
    wait_until("one is under way", || origin.active() == 1);
    let mut leaving = proxy.client();
    leaving.send("POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n");
    wait_until("one waits", || {
        proxy.metric("ringway_cluster_upstream_rq_waited_total", &[]) >= 1.0
    });
    let staying = ask(&proxy, 1, "/");
    wait_until("two wait", || {
        proxy.metric("ringway_cluster_upstream_rq_waited_total", &[]) >= 2.0
    });
    drop(leaving);
    origin.release();
    all_200(held);
    all_200(staying);
}

fn goaway_lets_streams_end_and_sends_the_rest_elsewhere(driver: Driver) {
    let wire = WireServer::bind();
    let proxy = one_core(
        driver,
        &site2(&[wire.addr()], "", ", retry: { retries: 0 }"),
    );
    let first = ask(&proxy, 1, "/a");
    let mut peer = Frames::server(wire.accept(), &[]);
    let one = peer.request();
    let second = std::thread::spawn({
        let mut client = proxy.client();
        move || client.post("/b", "body").text()
    });
    let two = peer.request();
    assert_eq!((one, two), (1, 3));
    // Stream 3 was not processed; stream 1 is.
    let goaway = [one.to_be_bytes(), 0_u32.to_be_bytes()].concat();
    peer.send(frame(kind::GOAWAY, 0, 0, &goaway));
    let mut other = Frames::server(wire.accept(), &[]);
    let again = other.request();
    assert_eq!(other.await_kind(kind::DATA).payload, b"body");
    other.send(headers(again, 0, &[(":status", "200")]));
    other.send(frame(kind::DATA, END_STREAM, again, b"other"));
    assert_eq!(second.join().unwrap(), "other");
    peer.send(headers(one, 0, &[(":status", "200")]));
    peer.send(frame(kind::DATA, END_STREAM, one, b"ended"));
    assert_eq!(answers(first), [(200, "ended".to_owned())]);
    peer.into_wire().until_closed();
    wait_equal(1.0, || {
        proxy.metric("ringway_cluster_upstream_cx_goaway_total", &[])
    });
}

fn unused_and_old_connections_are_closed(driver: Driver) {
    let origin = H2Origin::start("two");
    for pool in ["idle_timeout: 100ms", "max_age: 100ms"] {
        let cluster = format!(", pool: {{ {pool} }}");
        let proxy = one_core(driver, &site2(&[origin.addr()], &cluster, ""));
        assert_eq!(proxy.client().get("/").status, 200);
        wait_until("it is closed", || origin.open() == 0);
        assert_eq!(proxy.client().get("/").status, 200);
    }
}

fn a_connection_takes_so_many_requests(driver: Driver) {
    let origin = H2Origin::start("two");
    let pool = ", pool: { max_requests: 3 }";
    let proxy = one_core(driver, &site2(&[origin.addr()], pool, ""));
    let mut client = proxy.client();
    for _ in 0..9 {
        assert_eq!(client.get("/").status, 200);
    }
    let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    wait_until("all are closed", || origin.open() == 0);
}

fn a_host_that_is_gone_finishes_its_requests(driver: Driver) {
    let (old, new) = (H2Origin::start("old"), H2Origin::start("new"));
    let proxy = one_core(driver, &site2(&[old.addr()], "", ""));
    let held = ask(&proxy, 3, "/hold");
    wait_until("they are under way", || old.active() == 3);
    proxy.reload(&site2(&[new.addr()], "", ""));
    wait_until("the new host is asked", || {
        proxy.client().get("/").text() == "new"
    });
    assert_eq!((old.active(), old.open()), (3, 1));
    old.release();
    assert_eq!(answers(held), vec![(200, "old".to_owned()); 3]);
    wait_until("the old host's connection is closed", || old.open() == 0);
}

fn a_dead_connection_is_found_by_a_ping(driver: Driver) {
    let wire = WireServer::bind();
    for keys in [
        "keep_alive: 100ms, keep_alive_timeout: 2s",
        "keep_alive_timeout: 500ms",
    ] {
        let http2 = format!(", http2: {{ {keys} }}");
        let route = ", timeout: 3s, retry: { retries: 0 }";
        let proxy = one_core(driver, &site2(&[wire.addr()], &http2, route));
        let asked = ask(&proxy, 1, "/");
        let mut peer = Frames::server(wire.accept(), &[]);
        peer.request();
        // An answered PING shows that it is there; the next one is not answered.
        if keys.starts_with("keep_alive:") {
            let ping = peer.await_kind(kind::PING);
            peer.send(frame(kind::PING, ACK, 0, &ping.payload));
        }
        peer.await_kind(kind::PING);
        peer.into_wire().until_closed();
        let status = answers(asked)[0].0;
        assert!(matches!(status, 502 | 504), "{status}");
        wait_equal(1.0, || {
            proxy.metric("ringway_cluster_upstream_cx_ping_timeout_total", &[])
        });
    }
}

fn a_refused_connection_fails_all_who_wait(driver: Driver) {
    let refusing = ringway_tests::wire::Refusing::new();
    let proxy = one_core(driver, &site2(&[refusing.addr()], "", ""));
    for (status, _) in answers(ask(&proxy, 10, "/")) {
        assert_eq!(status, 503);
    }
    wait_until("nothing is left", || {
        proxy.metric("ringway_cluster_upstream_rq_active", &[]) == 0.0
    });
}

fn a_stop_ends_all_connections_in_order(driver: Driver) {
    let origin = H2Origin::start("two");
    // One with a request that outlasts the drain, and one with a copy that nobody waits for.
    let mirror = H2Origin::start("mirror");
    let config = format!(
        "{}  - {{ name: copies, protocol: http2, endpoints: [\"{}\"] }}\n",
        site2(&[origin.addr()], "", ", mirror: { cluster: copies }"),
        mirror.addr()
    );
    let drain = "cores: 1, drain_delay: 0s, drain_timeout: 200ms";
    let mut proxy = Proxy::with(driver).process(drain).start(&config);
    let mut held = proxy.client();
    held.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    wait_until("the request and its copy are under way", || {
        origin.active() == 1 && mirror.active() == 1
    });
    proxy.signal(libc::SIGTERM);
    assert_eq!(proxy.wait_end(), Some(0));
    wait_until("the upstreams know", || origin.open() + mirror.open() == 0);
}
