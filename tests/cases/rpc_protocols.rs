//! What Tars and Dubbo have of their own, from outside: pushes and goodbyes, heartbeats that are calls, one-way calls.

use ringway_tests::rpc_frames::{DUBBO_CALL, dubbo, take_dubbo, take_dubbo_call};
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_until};

use crate::rpc::{client, one, proxy};
use crate::rpc_bound::{take_tars, tars};

both_drivers! {
    calls_of_tars_share_a_connection_and_find_their_way_back,
    a_server_of_tars_that_asks_for_a_new_connection_gets_one,
    a_push_of_tars_on_a_shared_connection_is_nobodys,
    heartbeats_of_tars_are_calls_that_are_answered_here,
    a_call_of_tars_that_no_route_takes_is_refused_in_its_version,
    a_one_way_call_of_dubbo_is_never_answered,
    what_is_typed_into_a_port_of_dubbo_ends_that_connection_alone,
}

pub(crate) fn up(proxy: &Proxy, number: &str) -> f64 {
    proxy.metric(&format!("ringway_cluster_{number}"), &["cluster=\"up\""])
}

/// A call of Tars with an id of one byte: version 1, normal, message type 0, id, servant, function, no bytes, timeout 0, no context, no status.
fn tars_call(id: u8) -> Vec<u8> {
    let mut body =
        b"\x10\x01\x2c\x3c\x40\x09\x56\x05A.B.C\x66\x01f\x7d\x00\x0c\x8c\x98\x0c\xa8\x0c".to_vec();
    body[5] = id;
    tars(&body)
}

/// The id of the next call; the proxy's own pings are left without an answer.
fn take_tars_call(wire: &mut Wire) -> u8 {
    loop {
        let body = take_tars(wire);
        if !body.windows(9).any(|part| part == b"tars_ping") {
            assert_eq!(body[4], 0x40, "an id of one byte: {body:x?}");
            return body[5];
        }
    }
}

/// An answer: version 1, normal, id, message type 0, code 0, two bytes, no status.
fn tars_answer(id: u8, bytes: &[u8; 2]) -> Vec<u8> {
    let mut body = vec![0x10, 1, 0x2c, 0x30, id, 0x4c, 0x5c, 0x6d, 0, 0, 2];
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\x78\x0c");
    tars(&body)
}

fn calls_of_tars_share_a_connection_and_find_their_way_back(driver: Driver) {
    let (server, proxy) = one(driver, "tars");
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    a.send(tars_call(7));
    let mut wire = server.accept();
    let from_a = take_tars_call(&mut wire);
    b.send(tars_call(7));
    let from_b = take_tars_call(&mut wire);
    assert_ne!(from_a, from_b);
    wire.send(tars_answer(from_b, b"to"));
    let of_b = take_tars(&mut b);
    assert_eq!((&of_b[3..5], &of_b[11..13]), (&b"\x30\x07"[..], &b"to"[..]));
    // Once is enough: what comes again finds nobody.
    wire.send(tars_answer(from_b, b"no"));
    wire.send(tars_answer(from_a, b"me"));
    let of_a = take_tars(&mut a);
    assert_eq!((&of_a[3..5], &of_a[11..13]), (&b"\x30\x07"[..], &b"me"[..]));
    assert_eq!(up(&proxy, "rpc_late_total"), 1.0);
}

fn a_server_of_tars_that_asks_for_a_new_connection_gets_one(driver: Driver) {
    let (server, proxy) = one(driver, "tars");
    let mut client = client(&proxy);
    client.send(tars_call(1));
    let mut old = server.accept();
    let first = take_tars_call(&mut old);
    // An answer to nobody with that for its description.
    old.send(tars(
        b"\x1c\x2c\x3c\x4c\x5c\x6d\x00\x0c\x78\x0c\x86\x0b_reconnect_",
    ));
    wait_until("the goodbye is heard", || {
        up(&proxy, "upstream_cx_goaway_total") == 1.0
    });
    client.send(tars_call(2));
    let mut new = server.accept();
    let second = take_tars_call(&mut new);
    old.send(tars_answer(first, b"ol"));
    assert_eq!(take_tars(&mut client)[4], 1);
    old.until_closed();
    new.send(tars_answer(second, b"nw"));
    assert_eq!(take_tars(&mut client)[4], 2);
}

fn a_push_of_tars_on_a_shared_connection_is_nobodys(driver: Driver) {
    let (server, proxy) = one(driver, "tars");
    let mut client = client(&proxy);
    client.send(tars_call(1));
    let mut wire = server.accept();
    let asked = take_tars_call(&mut wire);
    wire.send(tars(b"\x1c\x2c\x3c\x4c\x5c\x6d\x00\x00\x02hi\x78\x0c"));
    wire.send(tars_answer(asked, b"ok"));
    let answer = take_tars(&mut client);
    assert_eq!((answer[4], &answer[11..13]), (1, &b"ok"[..]));
    assert_eq!(up(&proxy, "rpc_unasked_total"), 1.0);
}

/// A call of that function with this version, packet type and id.
fn tars_of(version: u8, packet_type: &[u8], id: u8, function: &str) -> Vec<u8> {
    let mut body = [&[0x10, version], packet_type, &[0x3c, 0x40, id]].concat();
    body.extend_from_slice(b"\x56\x05A.B.C\x66");
    body.push(function.len() as u8);
    body.extend_from_slice(function.as_bytes());
    body.extend_from_slice(b"\x7d\x00\x0c\x8c\x98\x0c\xa8\x0c");
    tars(&body)
}

fn heartbeats_of_tars_are_calls_that_are_answered_here(driver: Driver) {
    let (server, proxy) = one(driver, "tars");
    let mut client = client(&proxy);
    // As servers for C++ and Node are asked, and, one-way, those for Go.
    client.send(tars_of(1, b"\x20\x01", 8, "tars_ping"));
    client.send(tars_of(1, b"\x2c", 9, "tars_ping"));
    let pong = take_tars(&mut client);
    assert_eq!(pong[..8], *b"\x10\x01\x2c\x30\x09\x4c\x5c\x6d");
    assert!(server.try_accept().is_none());
}

fn a_call_of_tars_that_no_route_takes_is_refused_in_its_version(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { rpc: { service: other } }, cluster: up }";
    let proxy = proxy(driver, "tars", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    client.send(tars_of(1, b"\x20\x01", 4, "f"));
    client.send(tars_of(1, b"\x2c", 5, "f"));
    let said = take_tars(&mut client);
    assert_eq!(said[..9], *b"\x10\x01\x2c\x30\x05\x4c\x50\xfc\x6d");
    // TUP's answer is a request with its code in the status.
    for version in [2, 3] {
        client.send(tars_of(version, b"\x2c", 6, "f"));
        let said = take_tars(&mut client);
        assert_eq!(said[..6], [0x10, version, 0x2c, 0x3c, 0x40, 6]);
        let code = b"\x06\x12STATUS_RESULT_CODE\x16\x02-4";
        assert!(said.windows(code.len()).any(|part| part == code));
    }
}

fn a_one_way_call_of_dubbo_is_never_answered(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { rpc: { service: Echo } }, cluster: up }";
    let proxy = proxy(driver, "dubbo", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    // To nobody, then to somebody; a word on the connection that asks for nothing.
    let nowhere = b"\x052.0.2\x07Nowhere\x051.0.0\x03say\x00HZ";
    client.send(dubbo(0x82, 0, 1, nowhere));
    client.send(dubbo(0x82, 0, 2, DUBBO_CALL));
    client.send(dubbo(0xa2, 0, 3, b"N"));
    client.send(dubbo(0xc2, 0, 4, DUBBO_CALL));
    let mut wire = server.accept();
    assert_eq!(take_dubbo_call(&mut wire).0, 0x82);
    let asked = take_dubbo_call(&mut wire);
    assert_eq!(asked.0, 0xc2);
    wire.send(dubbo(0x02, 20, asked.2, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut client).2, 4);
}

fn what_is_typed_into_a_port_of_dubbo_ends_that_connection_alone(driver: Driver) {
    let (server, proxy) = one(driver, "dubbo");
    let (mut good, mut typed) = (client(&proxy), client(&proxy));
    good.send(dubbo(0xc2, 0, 1, DUBBO_CALL));
    let mut wire = server.accept();
    let asked = take_dubbo_call(&mut wire).2;
    typed.send("ls\r\n");
    typed.ending();
    wire.send(dubbo(0x02, 20, asked, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut good).2, 1);
    let reason = ["listener=\"main\"", "reason=\"bad_magic\""];
    assert_eq!(
        proxy.metric("ringway_listener_rpc_malformed_total", &reason),
        1.0
    );
}
