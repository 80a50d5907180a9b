//! Connections of RPC protocols: heartbeats, goodbyes, and ends of either side in the middle of a call.

use std::time::Duration;

use ringway_tests::rpc_frames::{
    ANSWER, Bolt, CALL, DUBBO_CALL, answer, call, dubbo, take_dubbo, take_dubbo_call,
};
use ringway_tests::{Driver, Proxy, WireServer, both_drivers, wait_equal, wait_until};

use crate::rpc::{client, one};

both_drivers! {
    pings_are_answered_here_on_both_sides,
    quiet_upstreams_are_asked_whether_they_live,
    an_upstream_that_dies_mid_call_is_an_error_for_its_calls,
    an_upstream_that_says_goodbye_gets_no_more_calls,
    versions_of_bolt_never_share_a_connection,
    a_dubbo_provider_that_leaves_is_left,
    a_dubbo_consumer_is_told_when_the_proxy_leaves,
    a_call_in_flight_outlives_a_reload_and_a_drain,
    a_last_answer_is_not_cut_off_by_the_end_behind_it,
}

fn pings_are_answered_here_on_both_sides(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    let ping = Bolt {
        command: 0,
        last: 0xffff_ffff,
        ..call(9, &[], "")
    };
    client.send(ping.bytes());
    let pong = Bolt::take(&mut client);
    assert_eq!((pong.kind, pong.command, pong.id), (ANSWER, 0, 9));
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    Bolt::take_call(&mut wire);
    wire.send(Bolt { id: 77, ..ping }.bytes());
    loop {
        // Heartbeats of the proxy's own may come between.
        let frame = Bolt::take(&mut wire);
        if frame.kind == ANSWER {
            assert_eq!((frame.command, frame.id), (0, 77));
            return;
        }
    }
}

fn quiet_upstreams_are_asked_whether_they_live(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"], rpc: {{ heartbeat: 300ms, heartbeat_timeout: 200ms }} }}\n",
        server.addr()
    ));
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    Bolt::take(&mut client);
    for _ in 0..3 {
        let ping = Bolt::take(&mut wire);
        assert_eq!((ping.kind, ping.command), (CALL, 0));
    }
    // The third that goes without an answer is the last.
    wire.until_closed();
    wait_equal(1.0, || {
        proxy.metric(
            "ringway_cluster_upstream_cx_ping_timeout_total",
            &["cluster=\"up\""],
        )
    });
}

fn an_upstream_that_dies_mid_call_is_an_error_for_its_calls(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    Bolt::take_call(&mut wire);
    drop(wire);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 0x10));
    client.send(call(2, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut client).id, 2);
}

fn an_upstream_that_says_goodbye_gets_no_more_calls(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut old = server.accept();
    let asked = Bolt::take_call(&mut old);
    old.send(
        Bolt {
            command: 100,
            ..call(0, &[], "")
        }
        .bytes(),
    );
    wait_until("the goodbye is seen", || {
        proxy.metric(
            "ringway_cluster_upstream_cx_goaway_total",
            &["cluster=\"up\""],
        ) == 1.0
    });
    client.send(call(2, &[], "x").bytes());
    let mut new = server.accept();
    let second = Bolt::take_call(&mut new);
    old.send(answer(&asked, "from the old").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"from the old");
    old.until_closed();
    new.send(answer(&second, "from the new").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"from the new");
}

fn versions_of_bolt_never_share_a_connection(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "one").bytes());
    let mut one = server.accept();
    Bolt::take_call(&mut one);
    client.send(
        Bolt {
            proto: 2,
            ..call(2, &[], "two")
        }
        .bytes(),
    );
    let mut two = server.accept();
    let asked = Bolt::take_call(&mut two);
    assert_eq!((asked.proto, &asked.content[..]), (2, &b"two"[..]));
    two.send(answer(&asked, "y").bytes());
    let got = Bolt::take(&mut client);
    assert_eq!((got.proto, got.id), (2, 2));
}

fn a_dubbo_provider_that_leaves_is_left(driver: Driver) {
    let (server, proxy) = one(driver, "dubbo");
    let mut client = client(&proxy);
    client.send(dubbo(0xc2, 0, u64::MAX, DUBBO_CALL));
    let mut old = server.accept();
    let (flags, _, id, body) = take_dubbo_call(&mut old);
    assert_eq!((flags, &body[..]), (0xc2, DUBBO_CALL));
    old.send(dubbo(0xa2, 0, 0, b"\x01R"));
    wait_until("the word is heard", || {
        proxy.metric(
            "ringway_cluster_upstream_cx_goaway_total",
            &["cluster=\"up\""],
        ) == 1.0
    });
    client.send(dubbo(0xc2, 0, 1, DUBBO_CALL));
    let mut new = server.accept();
    let second = take_dubbo_call(&mut new).2;
    old.send(dubbo(0x02, 20, id, b"\x91\x93"));
    let (_, status, id, body) = take_dubbo(&mut client);
    assert_eq!((status, id, &body[..]), (20, u64::MAX, &b"\x91\x93"[..]));
    new.send(dubbo(0x02, 20, second, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut client).2, 1);
}

fn a_dubbo_consumer_is_told_when_the_proxy_leaves(driver: Driver) {
    let (server, mut proxy) = one(driver, "dubbo");
    let mut client = client(&proxy);
    client.send(dubbo(0xc2, 0, 5, DUBBO_CALL));
    let mut wire = server.accept();
    let asked = take_dubbo_call(&mut wire).2;
    proxy.signal(libc::SIGTERM);
    let (flags, _, _, body) = take_dubbo(&mut client);
    assert_eq!((flags, &body[..]), (0xa2, &b"\x01R"[..]));
    wire.send(dubbo(0x02, 20, asked, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut client).2, 5);
    client.until_closed();
    proxy.wait_end();
}

fn a_call_in_flight_outlives_a_reload_and_a_drain(driver: Driver) {
    let (server, mut proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    let other = WireServer::bind();
    proxy.reload(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        other.addr()
    ));
    client.send(call(2, &[], "x").bytes());
    let mut new = other.accept();
    let second = Bolt::take_call(&mut new);
    wire.send(answer(&asked, "from the old").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"from the old");
    proxy.signal(libc::SIGTERM);
    new.send(answer(&second, "before the end").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"before the end");
    client.until_closed();
    proxy.wait_end();
}

/// Bolt's client for Java gives up an answer that the end of its connection is right behind.
fn a_last_answer_is_not_cut_off_by_the_end_behind_it(driver: Driver) {
    let (server, mut proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    proxy.signal(libc::SIGTERM);
    wait_until("the drain has begun", || {
        proxy.admin("GET", "/ready").status != 200
    });
    wire.send(answer(&asked, "the last").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"the last");
    client.expect_silence(Duration::from_millis(100));
    client.until_closed();
    proxy.wait_end();
}
