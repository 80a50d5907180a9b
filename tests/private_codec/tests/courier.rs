//! Courier by the rules of codecs, and through a proxy that was built with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ringway_courier::Courier;
use ringway_protocols::codec::{DecodeError, Frame, Kind, Limits, Side};
use ringway_protocols::trial::{Cuts, trial};
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers};

const CALL: &[u8] = b"CALL 7 echo say tenant=blue;trace=1 5\nhello";

/// All the rules at once, wherever the bytes are cut: the whole test of a codec, but for what it says of frames.
fn check(side: Side, bytes: &[u8]) -> Vec<Frame> {
    let limits = Limits {
        frame: 100,
        ..Limits::default()
    };
    let seen = trial(&Courier, side, &limits, bytes, Cuts::Everywhere).unwrap();
    assert_eq!((seen.end, seen.left), (None, 0));
    seen.frames
}

#[test]
fn a_call_says_service_and_method() {
    let frames = check(Side::Client, &CALL.repeat(2));
    assert_eq!(
        (frames.len(), frames[0].kind, frames[0].id),
        (2, Kind::Request, 7)
    );
    assert_eq!(
        (frames[1].service(), frames[1].method()),
        (&b"echo"[..], &b"say"[..])
    );
    let nothing = check(Side::Client, b"CAST 1 - - - 0\n");
    assert_eq!(
        (nothing[0].kind, nothing[0].service()),
        (Kind::OneWay, &b""[..])
    );
}

#[test]
fn a_call_over_the_limit_is_answered_and_passed_over() {
    let mut bytes = format!("CALL 7 echo say - 200\n{}", "x".repeat(200)).into_bytes();
    bytes.extend_from_slice(CALL);
    let broken: Vec<_> = check(Side::Client, &bytes)
        .iter()
        .map(|frame| frame.broken)
        .collect();
    assert_eq!(broken, [Some(DecodeError::FrameTooLarge), None]);
}

#[test]
fn what_is_no_line_ends_the_connection() {
    for (bytes, error) in [
        (&b"GET / HTTP/1.1\r\n"[..], DecodeError::BadMagic),
        (b"CALL 7\n", DecodeError::BadHeader),
        (b"CALL x - - - 0\n", DecodeError::BadHeader),
        (b"CALL 7 - - - -1\n", DecodeError::BadLength),
    ] {
        let seen = trial(
            &Courier,
            Side::Client,
            &Limits::default(),
            bytes,
            Cuts::Everywhere,
        );
        assert_eq!(
            seen.unwrap().end,
            Some(error),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

both_drivers! {
    calls_are_routed_and_shared,
    a_call_to_nobody_is_refused_in_its_own_words,
}

fn proxy(driver: Driver, host: &WireServer) -> Proxy {
    let text = format!(
        "listeners:\n  - name: main\n    address: 127.0.0.1:0\n    protocol: courier\n    routes:\n      - {{ match: {{ rpc: {{ service: echo }}, headers: [{{ name: tenant, exact: blue }}] }}, cluster: up, request_headers: {{ set: {{ via: ringway }} }} }}\nclusters:\n  - {{ name: up, protocol: courier, endpoints: [\"{}\"] }}\n",
        host.addr()
    );
    Proxy::with(driver)
        .binary(env!("CARGO_BIN_EXE_ringway-courier"))
        .process("cores: 1")
        .start(&text)
}

fn calls_are_routed_and_shared(driver: Driver) {
    let host = WireServer::bind();
    let proxy = proxy(driver, &host);
    let (mut a, mut b) = (
        Wire::connect(proxy.addr("main")),
        Wire::connect(proxy.addr("main")),
    );
    a.send(CALL);
    let mut wire = host.accept();
    wire.expect("CALL 1 echo say tenant=blue;trace=1;via=ringway 5\nhello");
    b.send(CALL);
    wire.expect("CALL 2 echo say tenant=blue;trace=1;via=ringway 5\nhello");
    wire.send("DONE 2 - - - 4\nto bDONE 1 - - - 4\nto a");
    b.expect("DONE 7 - - - 4\nto b");
    a.expect("DONE 7 - - - 4\nto a");
    a.send("PING 5 - - - 0\n");
    a.expect("PONG 5 - - - 0\n");
    a.send("CALL 8 echo say - 0\n");
    a.until("FAIL 8 - - - ");
}

fn a_call_to_nobody_is_refused_in_its_own_words(driver: Driver) {
    let host = WireServer::bind();
    let proxy = proxy(driver, &host);
    drop(host);
    let mut client = Wire::connect(proxy.addr("main"));
    client.send(CALL);
    client.until("the upstream could not be reached");
}
