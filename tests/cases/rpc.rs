//! Calls of RPC protocols from outside: whose they are, where they go, and what is said instead of an answer; byte by byte on both
//! sides of the proxy.

use std::time::Duration;

pub(crate) use ringway_tests::rpc_frames::{
    ANSWER, Bolt, DUBBO_CALL, ONE_WAY, answer, call, dubbo, take_dubbo, take_dubbo_call,
};
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_equal, wait_until};

both_drivers! {
    calls_of_two_clients_share_a_connection_under_ids_of_the_proxys_own,
    answers_come_back_in_any_order,
    calls_are_routed_by_service_method_and_header,
    a_call_that_no_route_takes_is_refused_in_the_protocol,
    a_call_to_nobody_is_refused_in_the_protocol,
    a_call_in_vain_times_out_by_its_own_limit_and_its_late_answer_is_dropped,
    a_one_way_call_is_passed_on_and_never_answered,
    headers_of_the_route_are_written_into_the_frame,
    auto_finds_the_protocol_by_the_first_bytes,
    mirrored_calls_go_to_both,
}

/// A listener of that protocol with these routes, and clusters of one host each.
pub(crate) fn proxy(
    driver: Driver,
    protocol: &str,
    routes: &str,
    clusters: &[(&str, &WireServer)],
) -> Proxy {
    let mut config = format!(
        "listeners:\n  - name: main\n    address: 127.0.0.1:0\n    protocol: {protocol}\n    routes:\n"
    );
    for line in routes.lines() {
        config.push_str(&format!("      {line}\n"));
    }
    config.push_str("clusters:\n");
    for (name, server) in clusters {
        let cluster_protocol = if protocol == "auto" { "bolt" } else { protocol };
        config.push_str(&format!(
            "  - {{ name: {name}, protocol: {cluster_protocol}, endpoints: [\"{}\"] }}\n",
            server.addr()
        ));
    }
    Proxy::with(driver).process("cores: 1").start(&config)
}

pub(crate) fn one(driver: Driver, protocol: &str) -> (WireServer, Proxy) {
    let server = WireServer::bind();
    let proxy = proxy(driver, protocol, "- cluster: up", &[("up", &server)]);
    (server, proxy)
}

pub(crate) fn client(proxy: &Proxy) -> Wire {
    Wire::connect(proxy.addr("main"))
}

fn calls_of_two_clients_share_a_connection_under_ids_of_the_proxys_own(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    let asked = call(7, &[("service", "echo:1.0")], "a");
    a.send(asked.bytes());
    let mut wire = server.accept();
    let first = Bolt::take_call(&mut wire);
    b.send(call(7, &[("service", "echo:1.0")], "b").bytes());
    let second = Bolt::take_call(&mut wire);
    assert_ne!(first.id, second.id);
    wire.send(answer(&second, "to b").bytes());
    wire.send(answer(&first, "to a").bytes());
    let to_b = Bolt::take(&mut b);
    assert_eq!((to_b.id, &to_b.content[..]), (7, &b"to b"[..]));
    let to_a = Bolt::take(&mut a);
    assert_eq!((to_a.id, &to_a.content[..]), (7, &b"to a"[..]));
    assert_eq!((first.headers, first.last), (asked.headers, 5000));
}

fn answers_come_back_in_any_order(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    let ids = [1, 0xffff_ffff, 0, 0x8000_0000];
    let all: Vec<u8> = ids
        .iter()
        .flat_map(|id| call(*id, &[], &id.to_string()).bytes())
        .collect();
    client.send(all);
    let mut wire = server.accept();
    let mut calls: Vec<_> = ids.iter().map(|_| Bolt::take_call(&mut wire)).collect();
    calls.reverse();
    for asked in &calls {
        let content = String::from_utf8(asked.content.clone()).unwrap();
        wire.send(answer(asked, &content).bytes());
    }
    for id in ids.iter().rev() {
        let got = Bolt::take(&mut client);
        assert_eq!((got.id, got.content), (*id, id.to_string().into_bytes()));
    }
}

fn calls_are_routed_by_service_method_and_header(driver: Driver) {
    let servers: Vec<_> = (0..4).map(|_| WireServer::bind()).collect();
    let routes = "- { match: { rpc: { service: \"echo:1.0\", method: say }, headers: [{ name: tenant, exact: blue }] }, cluster: c0 }
- { match: { rpc: { service: \"echo:1.0\" } }, cluster: c1 }
- { match: { rpc: { service: \"com.test.*\", version: \"2.0\" } }, cluster: c2 }
- { cluster: c3 }";
    let clusters = [
        ("c0", &servers[0]),
        ("c1", &servers[1]),
        ("c2", &servers[2]),
        ("c3", &servers[3]),
    ];
    let proxy = proxy(driver, "bolt", routes, &clusters);
    let (service, method) = ("service", "sofa_head_method_name");
    for (at, headers) in [
        (
            0,
            &[(service, "echo:1.0"), (method, "say"), ("tenant", "blue")][..],
        ),
        (
            1,
            &[(service, "echo:1.0"), (method, "say"), ("tenant", "red")],
        ),
        (1, &[(service, "echo:1.0")]),
        (2, &[(service, "com.test.Other:2.0")]),
        (3, &[(service, "com.test.Other:1.0")]),
        // No header can pretend to be a service.
        (3, &[(":service", "echo:1.0")]),
        (3, &[]),
    ] {
        let mut client = client(&proxy);
        client.send(call(1, headers, "x").bytes());
        let mut wire = servers[at].accept();
        let asked = Bolt::take_call(&mut wire);
        wire.send(answer(&asked, "y").bytes());
        assert_eq!(Bolt::take(&mut client).content, b"y", "{headers:?}");
        drop(wire);
        wait_until("the proxy sees the end of its connection", || {
            proxy.metric(
                "ringway_cluster_upstream_cx_active",
                &[&format!("cluster=\"c{at}\"")],
            ) == 0.0
        });
    }
}

fn a_call_that_no_route_takes_is_refused_in_the_protocol(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { rpc: { service: other } }, cluster: up }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    let mut bytes = call(1, &[("service", "echo:1.0")], "x").bytes();
    let one_way = Bolt {
        kind: ONE_WAY,
        id: 2,
        ..call(2, &[], "x")
    };
    bytes.extend_from_slice(&one_way.bytes());
    bytes.extend_from_slice(&call(3, &[], "x").bytes());
    client.send(bytes);
    let mut answers = [Bolt::take(&mut client), Bolt::take(&mut client)];
    answers.sort_by_key(|answer| answer.id);
    let said: Vec<_> = answers
        .iter()
        .map(|answer| (answer.kind, answer.id, answer.last))
        .collect();
    assert_eq!(said, [(ANSWER, 1, 6), (ANSWER, 3, 6)]);
}

fn a_call_to_nobody_is_refused_in_the_protocol(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let _refusing = server.refuse();
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.kind, refused.id, refused.last), (ANSWER, 1, 0x10));
}

fn a_call_in_vain_times_out_by_its_own_limit_and_its_late_answer_is_dropped(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(
        Bolt {
            last: 1000,
            ..call(1, &[], "slow")
        }
        .bytes(),
    );
    let mut wire = server.accept();
    let slow = Bolt::take_call(&mut wire);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 7));
    client.send(call(1, &[], "quick").bytes());
    let quick = Bolt::take_call(&mut wire);
    assert_eq!(quick.content, b"quick");
    wire.send(answer(&slow, "late").bytes());
    wire.send(answer(&quick, "in time").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"in time");
    wait_equal(1.0, || {
        proxy.metric("ringway_cluster_rpc_late_total", &["cluster=\"up\""])
    });
}

fn a_one_way_call_is_passed_on_and_never_answered(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(
        Bolt {
            kind: ONE_WAY,
            ..call(1, &[], "fire")
        }
        .bytes(),
    );
    let mut wire = server.accept();
    let fired = Bolt::take_call(&mut wire);
    assert_eq!((fired.kind, &fired.content[..]), (ONE_WAY, &b"fire"[..]));
    client.send(call(2, &[], "x").bytes());
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut client).id, 2);
}

fn headers_of_the_route_are_written_into_the_frame(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { cluster: up, request_headers: { set: { tenant: blue, trace: \"1\" }, remove: [secret] } }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    let headers = [("service", "echo:1.0"), ("tenant", "red"), ("secret", "x")];
    client.send(call(1, &headers, "content").bytes());
    let asked = Bolt::take_call(&mut server.accept());
    let mut got = asked.headers;
    got.sort();
    let expect = [("service", "echo:1.0"), ("tenant", "blue"), ("trace", "1")];
    let expect = expect.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        (got, &asked.content[..]),
        (expect.to_vec(), &b"content"[..])
    );
}

fn auto_finds_the_protocol_by_the_first_bytes(driver: Driver) {
    let (server, proxy) = one(driver, "auto");
    let mut bolt = client(&proxy);
    bolt.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut bolt).content, b"y");
    // Its calls find no cluster that speaks it, and are answered in Dubbo all the same.
    let mut dubbo_client = client(&proxy);
    dubbo_client.send(dubbo(0xc2, 0, 3, DUBBO_CALL));
    let (flags, status, id, _) = take_dubbo(&mut dubbo_client);
    assert_eq!((flags, status, id), (0x02, 80, 3));
    let mut http = client(&proxy);
    http.send("GET / HTTP/1.1\r\n\r\n");
    http.ending();
}

fn mirrored_calls_go_to_both(driver: Driver) {
    let (server, copy) = (WireServer::bind(), WireServer::bind());
    let routes = "- { cluster: up, mirror: { cluster: copy } }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server), ("copy", &copy)]);
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    assert_eq!(Bolt::take_call(&mut copy.accept()).content, b"x");
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"y");
    client.expect_silence(Duration::from_millis(100));
}
