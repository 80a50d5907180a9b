//! Thrift from outside: a connection has one call at a time, to the upstream as from the client, for nothing but their order says which answer
//! is whose; and Thrift as Dubbo wraps it, which has ids.

use ringway_tests::rpc_frames::{framed, take_thrift, thrift};
use ringway_tests::{Driver, Wire, WireServer, both_drivers, wait_equal};

use crate::rpc::{client, one, proxy};
use crate::rpc_protocols::up;

both_drivers! {
    calls_of_thrift_each_have_a_connection_and_leave_it_to_the_next,
    a_call_of_thrift_that_was_given_up_takes_its_connection_along,
    a_one_way_call_of_thrift_holds_nothing,
    calls_of_one_client_are_made_in_their_order,
    an_answer_to_another_call_ends_its_connection,
    an_answer_that_nobody_asked_for_ends_its_connection,
    what_is_compressed_is_refused_and_its_connection_closed,
    what_can_be_neither_read_nor_answered_ends_its_connection,
    calls_of_dubbo_thrift_share_a_connection,
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

/// As a server of its own would, one after the other: so the answers come in order too.
fn calls_of_one_client_are_made_in_their_order(driver: Driver) {
    let (server, proxy) = one(driver, "thrift");
    let mut client = client(&proxy);
    let all = [
        thrift(1, "first", 1),
        thrift(4, "fire", 2),
        thrift(1, "third", 3),
        thrift(1, "fourth", 4),
    ];
    client.send(all.concat());
    let mut wire = server.accept();
    for (name, sequence) in [("first", 1), ("third", 3), ("fourth", 4)] {
        let mut asked = take_thrift(&mut wire);
        if asked.0 == 4 {
            assert_eq!(asked.1, "fire");
            asked = take_thrift(&mut wire);
        }
        assert_eq!(asked, (1, name.to_owned(), sequence));
        wire.send(thrift(2, name, sequence));
        assert_eq!(take_thrift(&mut client), (2, name.to_owned(), sequence));
    }
    assert!(server.try_accept().is_none());
}

fn an_answer_to_another_call_ends_its_connection(driver: Driver) {
    let (server, proxy) = one(driver, "thrift");
    let mut client = client(&proxy);
    client.send(thrift(1, "ask", 7));
    let mut wire = server.accept();
    take_thrift(&mut wire);
    wire.send(thrift(2, "ask", 6));
    assert_eq!(take_thrift(&mut client), (3, "ask".to_owned(), 7));
    wire.until_closed();
    client.send(thrift(1, "ask", 8));
    let mut wire = server.accept();
    take_thrift(&mut wire);
    wire.send(thrift(2, "ask", 8));
    assert_eq!(take_thrift(&mut client), (2, "ask".to_owned(), 8));
}

fn an_answer_that_nobody_asked_for_ends_its_connection(driver: Driver) {
    let (server, proxy) = one(driver, "thrift");
    let mut client = client(&proxy);
    client.send(thrift(1, "ask", 1));
    let mut wire = server.accept();
    take_thrift(&mut wire);
    wire.send([thrift(2, "ask", 1), thrift(2, "ask", 1)].concat());
    assert_eq!(take_thrift(&mut client).0, 2);
    wire.until_closed();
    wait_equal(1.0, || up(&proxy, "rpc_late_total"));
    client.send(thrift(1, "ask", 1));
    let mut wire = server.accept();
    assert_eq!(take_thrift(&mut wire).1, "ask");
}

/// Whether it wants an answer cannot be told: so it is told, and nothing is sent behind that.
fn what_is_compressed_is_refused_and_its_connection_closed(driver: Driver) {
    let (server, proxy) = one(driver, "thrift");
    let mut client = client(&proxy);
    // THeader: sequence 7, a word of headers: compact protocol, one transform, zlib.
    let header = b"\x0f\xff\0\0\0\0\0\x07\0\x01\x02\x01\x01\0";
    client.send(framed(&[&header[..], b"\x78\x9c compressed"].concat()));
    let length = u32::from_be_bytes(client.take(4).try_into().unwrap());
    let said = client.take(length as usize);
    assert_eq!(said[..14], *b"\x0f\xff\0\0\0\0\0\x07\0\x01\x02\0\0\0");
    // An exception of the compact protocol without a name.
    assert_eq!(said[14..19], *b"\x82\x61\x07\0\x18");
    client.until_closed();
    assert!(server.try_accept().is_none());
}

fn what_can_be_neither_read_nor_answered_ends_its_connection(driver: Driver) {
    let (server, proxy) = one(driver, "thrift");
    let mut good = client(&proxy);
    good.send(thrift(1, "ask", 1));
    let mut wire = server.accept();
    take_thrift(&mut wire);
    // A kind of message that there is not; a name longer than its frame.
    for bytes in [thrift(9, "ask", 1), framed(b"\x80\x01\0\x01\0\0\x01\0ask")] {
        let mut bad = client(&proxy);
        bad.send(bytes);
        assert!(bad.until_closed().is_empty());
    }
    wire.send(thrift(2, "ask", 1));
    assert_eq!(take_thrift(&mut good).0, 2);
}
