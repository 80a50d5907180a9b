//! Which host a call of an RPC protocol goes to: by its headers, as with HTTP; and which connections stay when an end says its last.

use ringway_tests::rpc_frames::{
    Bolt, DUBBO_CALL, answer, call, dubbo, take_dubbo, take_dubbo_call,
};
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_for, wait_until};

use crate::rpc::{client, one};

both_drivers! {
    calls_with_the_same_header_go_to_the_same_host,
    calls_go_to_the_hosts_that_their_routes_ask_for,
    a_client_that_has_said_its_last_gets_its_answers,
    a_dubbo_provider_that_takes_calls_again_gets_them,
}

/// A proxy before two hosts, one of them blue and one red.
fn two(driver: Driver, cluster: &str, routes: &str) -> ([WireServer; 2], Proxy) {
    let servers = [WireServer::bind(), WireServer::bind()];
    let proxy = Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, routes: [{routes}] }}\nclusters:\n  - name: up\n    protocol: bolt\n    endpoints:\n      - {{ address: \"{}\", metadata: {{ tenant: blue }} }}\n      - {{ address: \"{}\", metadata: {{ tenant: red }} }}\n    {cluster}\n",
        servers[0].addr(),
        servers[1].addr()
    ));
    (servers, proxy)
}

/// The connection of whichever host was connected to.
fn whichever(servers: &[WireServer; 2]) -> Wire {
    wait_for("a connection to one of them", || {
        servers.iter().find_map(WireServer::try_accept)
    })
}

#[track_caller]
fn ask(client: &mut Wire, wire: &mut Wire, id: u32, tenant: &str) {
    client.send(call(id, &[("service", "echo:1.0"), ("tenant", tenant)], tenant).bytes());
    answer_at(client, wire, id, tenant);
}

#[track_caller]
fn answer_at(client: &mut Wire, wire: &mut Wire, id: u32, tenant: &str) {
    let asked = Bolt::take_call(wire);
    assert_eq!(asked.content, tenant.as_bytes());
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(client).id, id);
}

fn calls_with_the_same_header_go_to_the_same_host(driver: Driver) {
    let route = "{ cluster: up, hash: [{ header: tenant }] }";
    let (servers, proxy) = two(driver, "balance: ring_hash", route);
    let mut client = client(&proxy);
    for tenant in ["a", "b", "c", "d"] {
        // What others have asked for does not matter: of each tenant the first call says where the rest go.
        client.send(call(0, &[("tenant", tenant)], tenant).bytes());
        let mut wire = whichever(&servers);
        answer_at(&mut client, &mut wire, 0, tenant);
        for id in 1..6 {
            ask(&mut client, &mut wire, id, tenant);
        }
        drop(wire);
        wait_until("the proxy sees the end of its connection", || {
            proxy.metric("ringway_cluster_upstream_cx_active", &["cluster=\"up\""]) == 0.0
        });
    }
}

fn calls_go_to_the_hosts_that_their_routes_ask_for(driver: Driver) {
    let routes = "{ match: { rpc: { service: \"echo:1.0\" }, headers: [{ name: tenant, exact: blue }] }, cluster: up, metadata_match: { tenant: blue } }, \
        { cluster: up, metadata_match: { tenant: red } }";
    let (servers, proxy) = two(driver, "subsets: { selectors: [[tenant]] }", routes);
    let mut client = client(&proxy);
    client.send(call(1, &[("service", "echo:1.0"), ("tenant", "blue")], "blue").bytes());
    let mut blue = servers[0].accept();
    answer_at(&mut client, &mut blue, 1, "blue");
    client.send(call(2, &[("tenant", "red")], "red").bytes());
    let mut red = servers[1].accept();
    answer_at(&mut client, &mut red, 2, "red");
    for id in 3..8 {
        ask(&mut client, &mut blue, id, "blue");
        ask(&mut client, &mut red, id, "red");
    }
}

/// A server of Bolt for Java drops the answers it owes when it sees its client's end: which must therefore not be passed on.
fn a_client_that_has_said_its_last_gets_its_answers(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let (mut last, mut other) = (client(&proxy), client(&proxy));
    last.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    last.finish();
    other.send(call(1, &[], "z").bytes());
    let second = Bolt::take_call(&mut wire);
    wire.send(answer(&second, "to the other").bytes());
    assert_eq!(Bolt::take(&mut other).content, b"to the other");
    wire.send(answer(&asked, "to the last").bytes());
    assert_eq!(Bolt::take(&mut last).content, b"to the last");
    last.until_closed();
}

fn a_dubbo_provider_that_takes_calls_again_gets_them(driver: Driver) {
    let (server, proxy) = one(driver, "dubbo");
    let mut client = client(&proxy);
    client.send(dubbo(0xc2, 0, 1, DUBBO_CALL));
    let mut wire = server.accept();
    let first = take_dubbo_call(&mut wire).2;
    wire.send(dubbo(0xa2, 0, 0, b"\x01R"));
    wire.send(dubbo(0xa2, 0, 0, b"\x01W"));
    // Its answer comes behind what was read before.
    wire.send(dubbo(0xe2, 0, 77, b"N"));
    loop {
        let (flags, status, id, _) = take_dubbo(&mut wire);
        if (flags, id) == (0x22, 77) {
            assert_eq!(status, 20);
            break;
        }
    }
    let goodbyes = "ringway_cluster_upstream_cx_goaway_total";
    assert_eq!(proxy.metric(goodbyes, &["cluster=\"up\""]), 1.0);
    client.send(dubbo(0xc2, 0, 2, DUBBO_CALL));
    let second = take_dubbo_call(&mut wire).2;
    assert!(server.try_accept().is_none());
    for (id, expect) in [(second, 2), (first, 1)] {
        wire.send(dubbo(0x02, 20, id, b"\x91\x93"));
        assert_eq!(take_dubbo(&mut client).2, expect);
    }
}
