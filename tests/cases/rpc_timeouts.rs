//! How long calls of RPC protocols may take: the route's limit or the frame's own, whichever is smaller, and what is left in the frame
//! that goes upstream.

use ringway_tests::rpc_frames::crc32;
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers};

use crate::rpc::{Bolt, ONE_WAY, answer, call, dubbo, proxy, take_dubbo, take_dubbo_call};
use crate::rpc_bound::{take_tars, tars};

both_drivers! {
    a_call_goes_on_with_the_smaller_of_the_routes_limit_and_its_own,
    a_checksum_speaks_for_the_time_that_is_left,
    a_dubbo_call_goes_on_with_the_time_that_is_left,
    a_tars_call_that_was_changed_finds_its_way_back,
    the_routes_limit_ends_a_call_that_would_wait_longer,
}

fn short(driver: Driver, protocol: &str) -> (WireServer, Proxy, Wire) {
    let server = WireServer::bind();
    let proxy = proxy(
        driver,
        protocol,
        "- { cluster: up, timeout: 4s }",
        &[("up", &server)],
    );
    let client = Wire::connect(proxy.addr("main"));
    (server, proxy, client)
}

fn a_call_goes_on_with_the_smaller_of_the_routes_limit_and_its_own(driver: Driver) {
    let (server, _proxy, mut client) = short(driver, "bolt");
    let mut wire = None;
    for (said, expect) in [
        (5000, 1..=4000),
        (2000, 1..=2000),
        (u32::MAX, 1..=4000),
        (0, 1..=4000),
    ] {
        let asked = Bolt {
            last: said,
            ..call(7, &[("a", "b")], "x")
        };
        client.send(asked.bytes());
        let wire = wire.get_or_insert_with(|| server.accept());
        let got = Bolt::take_call(wire);
        assert!(expect.contains(&got.last), "{said}: {}", got.last);
        assert_eq!(
            (got.headers.clone(), &got.content[..]),
            (asked.headers, &b"x"[..])
        );
        wire.send(answer(&got, "y").bytes());
        assert_eq!(Bolt::take(&mut client).content, b"y");
    }
    let mut wire = wire.unwrap();
    let one_way = Bolt {
        kind: ONE_WAY,
        last: u32::MAX,
        ..call(8, &[], "x")
    };
    client.send(one_way.bytes());
    let got = Bolt::take_call(&mut wire);
    assert_eq!((got.kind, got.last), (ONE_WAY, u32::MAX));
}

fn a_checksum_speaks_for_the_time_that_is_left(driver: Driver) {
    let (server, _proxy, mut client) = short(driver, "bolt");
    let mut bytes = Bolt {
        proto: 2,
        ..call(7, &[("a", "b")], &"x".repeat(5000))
    }
    .bytes();
    // Sub-version 2 with its checksum on.
    (bytes[1], bytes[11]) = (2, 1);
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    client.send(&bytes);
    let got = server.accept().take(bytes.len());
    let (frame, sum) = got.split_at(got.len() - 4);
    assert_ne!(
        (&frame[6..10], &frame[12..16]),
        (&bytes[6..10], &bytes[12..16])
    );
    assert_eq!(frame[16..], bytes[16..frame.len()]);
    assert_eq!(crc32(frame).to_be_bytes(), sum);
}

fn a_dubbo_call_goes_on_with_the_time_that_is_left(driver: Driver) {
    let (server, _proxy, mut client) = short(driver, "dubbo");
    let body =
        b"\x052.0.2\x04Echo\x051.0.0\x03say\x02II\x91\x92H\x07timeout\x045000\x05group\x04blueZ";
    client.send(dubbo(0xc2, 0, 9, body));
    let mut wire = server.accept();
    let (_, _, id, got) = take_dubbo_call(&mut wire);
    let text = String::from_utf8_lossy(&got);
    assert!(!text.contains("5000"), "{text:?}");
    let (_, behind) = text.split_once("timeout").unwrap();
    let left: u32 = behind[1..].trim_end_matches('Z').parse().unwrap();
    assert!((1..=4000).contains(&left), "{left}");
    wire.send(dubbo(0x02, 20, id, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut client).2, 9);
    // What says nothing of its time goes on as it is.
    let silent = b"\x052.0.2\x04Echo\x051.0.0\x03say\x02II\x91\x92H\x05group\x04blueZ";
    client.send(dubbo(0xc2, 0, 10, silent));
    assert_eq!(take_dubbo_call(&mut wire).3, silent);
}

fn a_tars_call_that_was_changed_finds_its_way_back(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { cluster: up, timeout: 4s, request_headers: { set: { tenant: blue } } }";
    let proxy = proxy(driver, "tars", routes, &[("up", &server)]);
    let mut client = Wire::connect(proxy.addr("main"));
    // version 1, normal, message type 0, id 9, servant, function, no bytes, timeout 5000, no context, no status
    let asked =
        b"\x10\x01\x2c\x3c\x40\x09\x56\x05A.B.C\x66\x01f\x7d\x00\x0c\x81\x13\x88\x98\x0c\xa8\x0c";
    client.send(tars(asked));
    let mut wire = server.accept();
    let got = take_tars(&mut wire);
    // The proxy's own id, the time that is left, and the header.
    assert_eq!(got[4..6], [0x40, 1]);
    let context = b"\x98\x00\x01\x06\x06tenant\x16\x04blue\xa8\x0c";
    assert!(got.ends_with(context), "{got:?}");
    let time = &got[got.len() - context.len() - 3..][..3];
    let left = u16::from_be_bytes([time[1], time[2]]);
    assert!(time[0] == 0x81 && left <= 4000, "{time:?}");
    // An answer under that id goes back under the client's.
    let answer = |id: u8| {
        let head = [
            0x10, 1, 0x2c, 0x30, id, 0x4c, 0x5c, 0x6d, 0, 0, 2, b'h', b'i',
        ];
        tars(&[&head[..], b"\x78\x0c\x86\x00\x98\x0c"].concat())
    };
    wire.send(answer(1));
    assert_eq!(take_tars(&mut client), answer(9)[4..]);
}

fn the_routes_limit_ends_a_call_that_would_wait_longer(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { cluster: up, timeout: 1s }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = Wire::connect(proxy.addr("main"));
    client.send(call(1, &[], "slow").bytes());
    let mut wire = server.accept();
    Bolt::take_call(&mut wire);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 7));
}
