//! Upstream connections that are one client's alone (`rpc.bound`): ids stay, upstreams may call their client, both end together.

use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_equal, wait_for};

use crate::rpc::{Bolt, DUBBO_CALL, answer, call, dubbo, take_dubbo, take_dubbo_call};

both_drivers! {
    each_client_has_a_connection_of_its_own_and_ids_stay,
    all_calls_of_a_client_go_to_one_host,
    an_upstream_calls_its_client_and_gets_the_answer,
    a_push_goes_to_the_client_whose_connection_it_is,
    a_client_s_end_is_its_upstream_connection_s,
    an_upstream_s_end_is_its_client_s,
    a_goodbye_is_the_client_s_to_hear,
    an_id_in_flight_twice_is_refused,
}

fn bound(driver: Driver, protocol: &str, hosts: &[&WireServer]) -> Proxy {
    let hosts: Vec<_> = hosts
        .iter()
        .map(|host| format!("\"{}\"", host.addr()))
        .collect();
    let hosts = hosts.join(", ");
    let text = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: {protocol}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: {protocol}, endpoints: [{hosts}], rpc: {{ bound: true }} }}\n"
    );
    Proxy::with(driver).process("cores: 1").start(&text)
}

fn client(proxy: &Proxy) -> Wire {
    Wire::connect(proxy.addr("main"))
}

fn each_client_has_a_connection_of_its_own_and_ids_stay(driver: Driver) {
    let server = WireServer::bind();
    let proxy = bound(driver, "bolt", &[&server]);
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    a.send(call(7, &[], "a").bytes());
    let mut to_a = server.accept();
    let from_a = Bolt::take_call(&mut to_a);
    b.send(call(7, &[], "b").bytes());
    let mut to_b = server.accept();
    let from_b = Bolt::take_call(&mut to_b);
    assert_eq!((from_a.id, from_b.id), (7, 7));
    a.send(call(0xffff_fff0, &[], "c").bytes());
    let second = Bolt::take_call(&mut to_a);
    assert_eq!(second.id, 0xffff_fff0);
    to_a.send(answer(&second, "second").bytes());
    to_a.send(answer(&from_a, "first").bytes());
    to_b.send(answer(&from_b, "other").bytes());
    assert_eq!(Bolt::take(&mut a).content, b"second");
    assert_eq!(Bolt::take(&mut a).content, b"first");
    assert_eq!(Bolt::take(&mut b).content, b"other");
}

fn all_calls_of_a_client_go_to_one_host(driver: Driver) {
    let servers = [WireServer::bind(), WireServer::bind()];
    let proxy = bound(driver, "bolt", &[&servers[0], &servers[1]]);
    let mut a = client(&proxy);
    a.send(call(0, &[], "x").bytes());
    let mut wire = wait_for("a connection to one of them", || {
        servers.iter().find_map(WireServer::try_accept)
    });
    for id in 0..6 {
        let asked = Bolt::take_call(&mut wire);
        assert_eq!(asked.id, id);
        wire.send(answer(&asked, "y").bytes());
        assert_eq!(Bolt::take(&mut a).id, id);
        a.send(call(id + 1, &[], "x").bytes());
    }
}

fn an_upstream_calls_its_client_and_gets_the_answer(driver: Driver) {
    let server = WireServer::bind();
    let proxy = bound(driver, "dubbo", &[&server]);
    let mut a = client(&proxy);
    a.send(dubbo(0xc2, 0, 5, DUBBO_CALL));
    let mut wire = server.accept();
    assert_eq!(take_dubbo_call(&mut wire).2, 5);
    // Under an id that the client uses too: the two directions have nothing to do with each other.
    wire.send(dubbo(0xc2, 0, 5, DUBBO_CALL));
    let (flags, _, id, body) = take_dubbo(&mut a);
    assert_eq!((flags, id, &body[..]), (0xc2, 5, DUBBO_CALL));
    a.send(dubbo(0x02, 20, 5, b"\x91\x93"));
    let (flags, status, id, body) = take_dubbo(&mut wire);
    assert_eq!(
        (flags, status, id, &body[..]),
        (0x02, 20, 5, &b"\x91\x93"[..])
    );
    wire.send(dubbo(0x02, 20, 5, b"\x91\x94"));
    let (flags, _, id, body) = take_dubbo(&mut a);
    assert_eq!((flags, id, &body[..]), (0x02, 5, &b"\x91\x94"[..]));
    wait_equal(1.0, || {
        proxy.metric("ringway_cluster_rpc_passed_total", &["cluster=\"up\""])
    });
}

/// A packet of Tars from these fields behind its length.
pub(crate) fn tars(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn take_tars(wire: &mut Wire) -> Vec<u8> {
    let length = wire.take(4);
    wire.take(u32::from_be_bytes(length.try_into().unwrap()) as usize - 4)
}

fn a_push_goes_to_the_client_whose_connection_it_is(driver: Driver) {
    let server = WireServer::bind();
    let proxy = bound(driver, "tars", &[&server]);
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    // version 1, normal, message type 0, id 9, servant, function, no bytes, timeout 0, no context, no status
    let asked = b"\x10\x01\x2c\x3c\x40\x09\x56\x05A.B.C\x66\x01f\x7d\x00\x0c\x8c\x98\x0c\xa8\x0c";
    a.send(tars(asked));
    let mut to_a = server.accept();
    assert_eq!(take_tars(&mut to_a), asked);
    b.send(tars(asked));
    let mut to_b = server.accept();
    assert_eq!(take_tars(&mut to_b), asked);
    // An answer under id 0, which no call has.
    let push = &b"\x10\x01\x2c\x3c\x4c\x5c\x6d\x00\x00\x02hi\x78\x0c\x86\x00\x98\x0c"[..];
    // And as Tars for Go has it: in no version, as nobody asked.
    let of_go = b"\x1c\x2c\x3c\x4c\x5c\x6d\x00\x00\x04news\x78\x0c";
    for push in [push, of_go] {
        to_b.send(tars(push));
        assert_eq!(take_tars(&mut b), push);
    }
    a.expect_silence(std::time::Duration::from_millis(50));
}

fn a_client_s_end_is_its_upstream_connection_s(driver: Driver) {
    let server = WireServer::bind();
    let proxy = bound(driver, "bolt", &[&server]);
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    a.send(call(1, &[], "x").bytes());
    let mut to_a = server.accept();
    let asked = Bolt::take_call(&mut to_a);
    to_a.send(answer(&asked, "y").bytes());
    Bolt::take(&mut a);
    b.send(call(1, &[], "x").bytes());
    let mut to_b = server.accept();
    let asked = Bolt::take_call(&mut to_b);
    drop(a);
    to_a.until_closed();
    to_b.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut b).content, b"y");
}

fn an_upstream_s_end_is_its_client_s(driver: Driver) {
    let server = WireServer::bind();
    let proxy = bound(driver, "bolt", &[&server]);
    let mut a = client(&proxy);
    a.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    Bolt::take_call(&mut wire);
    drop(wire);
    // First what it waits for: an error.
    let refused = Bolt::take(&mut a);
    assert_eq!((refused.id, refused.last), (1, 0x10));
    a.until_closed();
}

fn a_goodbye_is_the_client_s_to_hear(driver: Driver) {
    let server = WireServer::bind();
    let proxy = bound(driver, "dubbo", &[&server]);
    let mut a = client(&proxy);
    a.send(dubbo(0xc2, 0, 5, DUBBO_CALL));
    let mut wire = server.accept();
    take_dubbo_call(&mut wire);
    wire.send(dubbo(0xa2, 0, 0, b"\x01R"));
    let (flags, _, _, body) = take_dubbo(&mut a);
    assert_eq!((flags, &body[..]), (0xa2, &b"\x01R"[..]));
}

fn an_id_in_flight_twice_is_refused(driver: Driver) {
    let server = WireServer::bind();
    let proxy = bound(driver, "bolt", &[&server]);
    let mut a = client(&proxy);
    a.send(call(1, &[], "first").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    a.send(call(1, &[], "second").bytes());
    let refused = Bolt::take(&mut a);
    assert_eq!(refused.id, 1);
    assert_ne!(refused.last, 0);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut a).content, b"y");
}
