//! What each protocol has of its own, from outside: Tars' pushes and goodbyes, Thrift's one call at a time, Dubbo's one-way calls.

use ringway_tests::rpc_frames::{DUBBO_CALL, dubbo, take_dubbo, take_dubbo_call};
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_until};

use crate::rpc::{client, one, proxy};
use crate::rpc_bound::{take_tars, tars};

both_drivers! {
    calls_of_tars_share_a_connection_and_find_their_way_back,
    a_server_of_tars_that_asks_for_a_new_connection_gets_one,
    a_push_of_tars_on_a_shared_connection_is_nobodys,
    calls_of_thrift_each_have_a_connection_and_leave_it_to_the_next,
    a_call_of_thrift_that_was_given_up_takes_its_connection_along,
    a_one_way_call_of_thrift_holds_nothing,
    calls_of_dubbo_thrift_share_a_connection,
    a_one_way_call_of_dubbo_is_never_answered,
    what_is_typed_into_a_port_of_dubbo_ends_that_connection_alone,
}

fn up(proxy: &Proxy, number: &str) -> f64 {
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

/// A framed message of Thrift's binary protocol with an empty struct.
fn thrift(kind: u8, name: &str, sequence: u32) -> Vec<u8> {
    let mut message = vec![0x80, 1, 0, kind];
    message.extend_from_slice(&(name.len() as u32).to_be_bytes());
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.push(0);
    framed(&message)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = (message.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

/// Kind, name and sequence of the next message.
#[track_caller]
fn take_thrift(wire: &mut Wire) -> (u8, String, u32) {
    let length = u32::from_be_bytes(wire.take(4).try_into().unwrap());
    let message = wire.take(length as usize);
    let name = u32::from_be_bytes(message[4..8].try_into().unwrap()) as usize;
    let sequence = message[8 + name..12 + name].try_into().unwrap();
    let name = String::from_utf8(message[8..8 + name].to_vec()).unwrap();
    (message[3], name, u32::from_be_bytes(sequence))
}

fn calls_of_thrift_each_have_a_connection_and_leave_it_to_the_next(driver: Driver) {
    let (server, proxy) = one(driver, "thrift");
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    a.send(thrift(1, "first", 1));
    let mut one = server.accept();
    assert_eq!(take_thrift(&mut one), (1, "first".to_owned(), 1));
    b.send(thrift(1, "second", 1));
    let mut two = server.accept();
    assert_eq!(take_thrift(&mut two), (1, "second".to_owned(), 1));
    two.send(thrift(2, "second", 1));
    assert_eq!(take_thrift(&mut b).1, "second");
    one.send(thrift(2, "first", 1));
    assert_eq!(take_thrift(&mut a).1, "first");
    // Both are free again, and neither call makes a third.
    a.send(thrift(1, "third", 2));
    b.send(thrift(1, "fourth", 2));
    let mut named = [take_thrift(&mut one).1, take_thrift(&mut two).1];
    named.sort();
    assert_eq!(named, ["fourth", "third"]);
    assert_eq!(up(&proxy, "upstream_cx_total"), 2.0);
}

fn a_call_of_thrift_that_was_given_up_takes_its_connection_along(driver: Driver) {
    let server = WireServer::bind();
    let routes =
        "- { match: { rpc: { method: slow } }, cluster: up, timeout: 200ms }\n- { cluster: up }";
    let proxy = proxy(driver, "thrift", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    client.send(thrift(1, "slow", 1));
    let mut old = server.accept();
    assert_eq!(take_thrift(&mut old).1, "slow");
    let (kind, name, sequence) = take_thrift(&mut client);
    assert_eq!((kind, name.as_str(), sequence), (3, "slow", 1));
    // There is no taking it back, and its answer would be taken for another's.
    old.until_closed();
    client.send(thrift(1, "quick", 2));
    let mut new = server.accept();
    assert_eq!(take_thrift(&mut new).1, "quick");
    new.send(thrift(2, "quick", 2));
    assert_eq!(take_thrift(&mut client).1, "quick");
}

fn a_one_way_call_of_thrift_holds_nothing(driver: Driver) {
    let (server, proxy) = one(driver, "thrift");
    let mut client = client(&proxy);
    client.send(thrift(4, "fire", 1));
    let mut wire = server.accept();
    assert_eq!(take_thrift(&mut wire), (4, "fire".to_owned(), 1));
    client.send(thrift(1, "ask", 2));
    assert_eq!(take_thrift(&mut wire).1, "ask");
    wire.send(thrift(2, "ask", 2));
    assert_eq!(take_thrift(&mut client), (2, "ask".to_owned(), 2));
    assert_eq!(up(&proxy, "upstream_cx_total"), 1.0);
}

/// A message as Dubbo wraps it.
fn dubbo_thrift(kind: u8, id: u64, sequence: u32) -> Vec<u8> {
    let message = thrift(kind, "echo", sequence).split_off(4);
    let length = 25 + message.len() as u32;
    let mut bytes = vec![0xda, 0xbc];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0, 25, 1, 0, 0, 0, 4]);
    bytes.extend_from_slice(b"Echo");
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&message);
    framed(&bytes)
}

/// The id of the next frame, and the message's sequence.
fn take_dubbo_thrift(wire: &mut Wire) -> (u64, u32) {
    let length = u32::from_be_bytes(wire.take(4).try_into().unwrap());
    let frame = wire.take(length as usize);
    let sequence = frame[frame.len() - 5..frame.len() - 1].try_into().unwrap();
    let id = frame[17..25].try_into().unwrap();
    (u64::from_be_bytes(id), u32::from_be_bytes(sequence))
}

fn calls_of_dubbo_thrift_share_a_connection(driver: Driver) {
    let (server, proxy) = one(driver, "dubbo-thrift");
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    a.send(dubbo_thrift(1, u64::MAX, 1));
    let mut wire = server.accept();
    let (from_a, sequence) = take_dubbo_thrift(&mut wire);
    assert_eq!(sequence, 1);
    b.send(dubbo_thrift(1, u64::MAX, 2));
    let (from_b, _) = take_dubbo_thrift(&mut wire);
    assert_ne!(from_a, from_b);
    wire.send(dubbo_thrift(2, from_b, 2));
    wire.send(dubbo_thrift(2, from_a, 1));
    assert_eq!(take_dubbo_thrift(&mut b), (u64::MAX, 2));
    assert_eq!(take_dubbo_thrift(&mut a), (u64::MAX, 1));
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
