//! What peers of RPC protocols do at the edges: bytes one by one, answers twice, cut short or wrong, calls the wrong way, what is spoken
//! nowhere; and that each is the trouble of its own call or connection alone.

use ringway_tests::rpc_frames::{
    ANSWER, Bolt, CALL, DUBBO_CALL, ONE_WAY, answer, call, crc32, dubbo, take_dubbo,
    take_dubbo_call,
};
use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_equal, wait_until};

use crate::rpc::{client, one, proxy};

both_drivers! {
    frames_that_come_byte_by_byte_are_whole,
    heartbeats_are_answered_in_the_version_that_they_were_sent_in,
    an_answer_that_comes_twice_finds_nobody,
    an_answer_cut_short_is_an_error_for_its_call,
    a_wrong_checksum_is_an_error_for_its_call_alone,
    a_one_way_call_to_a_host_that_is_gone_is_never_answered,
    headers_that_would_not_fit_refuse_the_call,
    a_length_that_cannot_be_ends_its_connection_alone,
    an_upstream_that_calls_is_told_that_nobody_is_there,
    clients_that_know_a_goaway_are_told,
    heartbeats_of_dubbo_are_answered_as_they_were_said,
    calls_in_other_serializations_pass_and_are_refused_in_them,
    a_dubbo_call_over_the_limit_is_answered_and_passed_over,
    a_dubbo_call_is_routed_by_what_its_provider_would_call,
}

/// A frame of version 2 under the sub-version that has checksums.
fn summed(frame: &Bolt) -> Vec<u8> {
    let mut bytes = Bolt {
        proto: 2,
        ..frame.clone()
    }
    .bytes();
    (bytes[1], bytes[11]) = (2, 1);
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes
}

fn frames_that_come_byte_by_byte_are_whole(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    let mut wires = Vec::new();
    for proto in [1, 2] {
        let asked = Bolt {
            proto,
            ..call(7, &[("service", "echo:1.0")], "content")
        };
        for byte in asked.bytes() {
            client.send([byte]);
            client.arrived();
        }
        let mut next = server.accept();
        let got = Bolt::take_call(&mut next);
        assert_eq!(
            (&got.headers, &got.content),
            (&asked.headers, &asked.content)
        );
        for byte in answer(&got, "answer").bytes() {
            next.send([byte]);
        }
        let answer = Bolt::take(&mut client);
        assert_eq!(
            (answer.proto, answer.id, &answer.content[..]),
            (proto, 7, &b"answer"[..])
        );
        wires.push(next);
    }
}

fn heartbeats_are_answered_in_the_version_that_they_were_sent_in(driver: Driver) {
    let (_server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    for (ping, pong) in [
        (
            &b"\x01\x01\0\0\x01\xff\xff\xff\xfe\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0"[..],
            &b"\x01\0\0\0\x01\xff\xff\xff\xfe\x01\0\0\0\0\0\0\0\0\0\0"[..],
        ),
        (
            b"\x02\x01\x01\0\0\x01\0\0\0\x02\x01\x01\0\0\x0b\xb8\0\0\0\0\0\0\0\0",
            b"\x02\x01\0\0\0\x01\0\0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\0",
        ),
        (
            b"\x02\x02\x01\0\0\x01\0\0\0\0\x01\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
            b"\x02\x02\0\0\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0",
        ),
    ] {
        client.send(ping);
        client.expect_bytes(pong);
    }
}

fn an_answer_that_comes_twice_finds_nobody(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "first").bytes());
    let mut wire = server.accept();
    let first = Bolt::take_call(&mut wire);
    wire.send(answer(&first, "once").bytes());
    wire.send(answer(&first, "twice").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"once");
    client.send(call(1, &[], "second").bytes());
    let second = Bolt::take_call(&mut wire);
    wire.send(answer(&second, "its own").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"its own");
    let late = proxy.metric("ringway_cluster_rpc_late_total", &["cluster=\"up\""]);
    assert_eq!(late, 1.0);
}

fn an_answer_cut_short_is_an_error_for_its_call(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send([call(1, &[], "a").bytes(), call(2, &[], "b").bytes()].concat());
    let mut wire = server.accept();
    let (first, second) = (Bolt::take_call(&mut wire), Bolt::take_call(&mut wire));
    wire.send(answer(&second, "whole").bytes());
    let short = answer(&first, "0123456789").bytes();
    wire.send(&short[..short.len() - 3]);
    drop(wire);
    let whole = Bolt::take(&mut client);
    assert_eq!((whole.id, &whole.content[..]), (2, &b"whole"[..]));
    let refused = Bolt::take(&mut client);
    assert_eq!(
        (refused.id, refused.last, refused.content.len()),
        (1, 0x10, 0)
    );
}

fn a_wrong_checksum_is_an_error_for_its_call_alone(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    let good = summed(&call(1, &[("a", "b")], "content"));
    let mut bad = good.clone();
    bad[40] ^= 1;
    client.send(&bad);
    let refused = Bolt::take(&mut client);
    assert_eq!(
        (refused.proto, refused.kind, refused.id, refused.last),
        (2, ANSWER, 1, 9)
    );
    client.send(&good);
    let mut wire = server.accept();
    let mut got = wire.take(good.len());
    assert_eq!(
        crc32(&got[..got.len() - 4]).to_be_bytes(),
        got[got.len() - 4..]
    );
    // The same of an answer: first with a wrong checksum.
    for (wrong, status) in [(1, 9), (0, 0)] {
        let id = u32::from_be_bytes(got[6..10].try_into().unwrap());
        let mut said = summed(&answer(&call(id, &[], ""), "answer"));
        *said.last_mut().unwrap() ^= wrong;
        wire.send(&said);
        let expect = match status {
            0 => summed(&answer(&call(1, &[], ""), "answer")),
            _ => Bolt::take(&mut client).bytes(),
        };
        if status == 0 {
            client.expect_bytes(&expect);
        } else {
            assert_eq!(expect[12..14], [0, status]);
            client.send(&good);
            got = wire.take(good.len());
        }
    }
}

fn a_one_way_call_to_a_host_that_is_gone_is_never_answered(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let _refusing = server.refuse();
    let mut client = client(&proxy);
    for id in 1..4 {
        let one_way = Bolt {
            kind: ONE_WAY,
            ..call(id, &[], "fire")
        };
        client.send(one_way.bytes());
    }
    client.send(call(9, &[], "x").bytes());
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (9, 0x10));
    wait_until("all have ended", || {
        let active = ["listener=\"main\""];
        proxy.metric("ringway_listener_downstream_rq_active", &active) == 0.0
    });
    client.finish();
    assert!(client.until_closed().is_empty());
}

fn headers_that_would_not_fit_refuse_the_call(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { cluster: up, request_headers: { set: { tenant: blue } } }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    let long = "x".repeat(32_740);
    client.send(call(1, &[("key", &long)], "large").bytes());
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 9));
    client.send(call(2, &[("key", &long[..32_000])], "fits").bytes());
    let got = Bolt::take_call(&mut server.accept());
    assert_eq!((got.headers.len(), &got.content[..]), (2, &b"fits"[..]));
}

fn a_length_that_cannot_be_ends_its_connection_alone(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut good = client(&proxy);
    good.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    // Of the class, of the headers, of the content: negative.
    for at in [14, 16, 18] {
        let mut bad = client(&proxy);
        let mut bytes = call(2, &[], "x").bytes();
        bytes[at] = 0xff;
        bad.send(bytes);
        bad.ending();
    }
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut good).content, b"y");
    let reason = ["listener=\"main\"", "reason=\"bad_length\""];
    wait_equal(3.0, || {
        proxy.metric("ringway_listener_rpc_malformed_total", &reason)
    });
}

fn an_upstream_that_calls_is_told_that_nobody_is_there(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client_of_bolt = client(&proxy);
    client_of_bolt.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    let one_way = Bolt {
        kind: ONE_WAY,
        ..call(8, &[], "fire")
    };
    wire.send([one_way.bytes(), call(9, &[], "call me").bytes()].concat());
    let refused = Bolt::take_call(&mut wire);
    assert_eq!((refused.kind, refused.id, refused.last), (ANSWER, 9, 6));
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut client_of_bolt).content, b"y");
    let (server, proxy) = one(driver, "dubbo");
    let mut consumer = client(&proxy);
    consumer.send(dubbo(0xc2, 0, 1, DUBBO_CALL));
    let mut wire = server.accept();
    take_dubbo_call(&mut wire);
    wire.send(dubbo(0xc2, 0, u64::MAX, DUBBO_CALL));
    let (flags, status, id, _) = take_dubbo_call(&mut wire);
    assert_eq!((flags, status, id), (2, 60, u64::MAX));
}

fn clients_that_know_a_goaway_are_told(driver: Driver) {
    let server = WireServer::bind();
    let mut proxy = Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, rpc: {{ goaway: true }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    ));
    let (mut one, mut two) = (client(&proxy), client(&proxy));
    let second = Bolt {
        proto: 2,
        ..call(5, &[], "b")
    };
    one.send(call(4, &[], "a").bytes());
    let mut wires = [server.accept(), {
        two.send(second.bytes());
        server.accept()
    }];
    let asked = wires.each_mut().map(Bolt::take_call);
    proxy.signal(libc::SIGTERM);
    for (client, proto) in [(&mut one, 1), (&mut two, 2)] {
        let goaway = Bolt::take(client);
        assert_eq!(
            (goaway.proto, goaway.kind, goaway.command),
            (proto, CALL, 100)
        );
    }
    // What is in flight is still answered.
    for (wire, asked) in wires.iter_mut().zip(&asked) {
        wire.send(answer(asked, "the last").bytes());
    }
    for (client, id) in [(&mut one, 4), (&mut two, 5)] {
        let last = Bolt::take(client);
        assert_eq!((last.id, &last.content[..]), (id, &b"the last"[..]));
        client.until_closed();
    }
    proxy.wait_end();
}

fn heartbeats_of_dubbo_are_answered_as_they_were_said(driver: Driver) {
    let (server, proxy) = one(driver, "dubbo");
    let mut consumer = client(&proxy);
    let say = |wire: &mut Wire, flags, id, body: &[u8]| {
        // One that wants no answer, and one that does.
        wire.send(dubbo(flags & !0x40, 0, 99, body));
        wire.send(dubbo(flags, 0, id, body));
        loop {
            let (flags, status, got, body) = take_dubbo(wire);
            // Heartbeats of the proxy's own may come between.
            if flags & 0x80 == 0 {
                break (flags, status, got, body);
            }
        }
    };
    for (serialization, body) in [
        (2, &b"N"[..]),
        (23, b"\0\0\0\x01\xaf"),
        (6, b"null\n"),
        (2, b""),
    ] {
        for id in [0, 1, u64::MAX] {
            let pong = say(&mut consumer, 0xe0 | serialization, id, body);
            assert_eq!(pong, (0x20 | serialization, 20, id, body.to_vec()));
        }
    }
    consumer.send(dubbo(0xc2, 0, 0, DUBBO_CALL));
    let mut wire = server.accept();
    let asked = take_dubbo_call(&mut wire).2;
    assert_eq!(say(&mut wire, 0xe2, 0, b"N"), (0x22, 20, 0, b"N".to_vec()));
    wire.send(dubbo(0x02, 20, asked, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut consumer).2, 0);
}

fn calls_in_other_serializations_pass_and_are_refused_in_them(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { rpc: { service: Echo } }, cluster: up }";
    let strict = proxy(driver, "dubbo", routes, &[("up", &server)]);
    let lax = proxy(driver, "dubbo", "- cluster: up", &[("up", &server)]);
    for serialization in [1_u8, 3, 6, 7, 8, 22, 23, 31] {
        let asked = dubbo(0xc0 | serialization, 0, 5, b"\x01\x02whatever");
        let mut consumer = client(&strict);
        consumer.send(&asked);
        let (flags, status, id, _) = take_dubbo(&mut consumer);
        assert_eq!((flags, status, id), (serialization, 60, 5));
        let mut consumer = client(&lax);
        consumer.send(&asked);
        let mut wire = server.accept();
        let (flags, _, id, body) = take_dubbo_call(&mut wire);
        assert_eq!(
            (flags, &body[..]),
            (0xc0 | serialization, &b"\x01\x02whatever"[..])
        );
        wire.send(dubbo(serialization, 20, id, b"\0anything"));
        let answer = take_dubbo(&mut consumer);
        assert_eq!(answer, (serialization, 20, 5, b"\0anything".to_vec()));
        drop(wire);
        wait_until("the proxy sees the end of its connection", || {
            lax.metric("ringway_cluster_upstream_cx_active", &["cluster=\"up\""]) == 0.0
        });
    }
}

fn a_dubbo_call_over_the_limit_is_answered_and_passed_over(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: dubbo, rpc: {{ max_frame: 1KiB }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: dubbo, endpoints: [\"{}\"], rpc: {{ max_frame: 1KiB }} }}\n",
        server.addr()
    ));
    let mut consumer = client(&proxy);
    let large = [
        b"\x052.0.2\x04Echo\x051.0.0\x03say\x02[BB\x13\x88",
        &[7; 5000][..],
        b"N",
    ]
    .concat();
    consumer.send(dubbo(0xc2, 0, 1, &large));
    consumer.send(dubbo(0x82, 0, 2, &large));
    consumer.send(dubbo(0xc2, 0, 3, DUBBO_CALL));
    let (flags, status, id, _) = take_dubbo(&mut consumer);
    assert_eq!((flags, status, id), (2, 40, 1));
    let mut wire = server.accept();
    let third = take_dubbo_call(&mut wire).2;
    // And an answer that is too large is an error for its call alone.
    wire.send(dubbo(
        0x02,
        20,
        third,
        &[b"\x91B\x13\x88", &[7; 5000][..]].concat(),
    ));
    let (flags, status, id, _) = take_dubbo(&mut consumer);
    assert_eq!((flags, status, id), (2, 80, 3));
    consumer.send(dubbo(0xc2, 0, 4, DUBBO_CALL));
    let fourth = take_dubbo_call(&mut wire).2;
    wire.send(dubbo(0x02, 20, fourth, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut consumer).2, 4);
}

fn a_dubbo_call_is_routed_by_what_its_provider_would_call(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { rpc: { service: Secret } }, respond: { status: 403 } }
- { match: { rpc: { method: delete } }, respond: { status: 403 } }
- cluster: up";
    let proxy = proxy(driver, "dubbo", routes, &[("up", &server)]);
    let mut consumer = client(&proxy);
    let generic = b"\x052.0.2\x04Echo\x051.0.0\x07$invoke\x30\x38Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;";
    let mut id = 0;
    for (body, status) in [
        (b"\x052.0.2\x06Secret\x051.0.0\x03say\x00HZ".to_vec(), 70),
        // A provider for Java goes by the attachment.
        (
            b"\x052.0.2\x04Echo\x051.0.0\x03say\x00H\x04path\x06SecretZ".to_vec(),
            70,
        ),
        (
            [&generic[..], b"\x06delete\x70\x07[string\x70\x07[objectHZ"].concat(),
            70,
        ),
        (
            [&generic[..], b"\x07delete \x70\x07[string\x70\x07[objectHZ"].concat(),
            70,
        ),
        // In pieces, which it would put together; behind what it would not look at.
        (
            b"\x052.0.2R\0\x03Sec\x03ret\x051.0.0\x03say\x00HZ".to_vec(),
            40,
        ),
        (
            b"\x052.0.2\x06\xc1\x93ecret\x051.0.0\x03say\x00HZ".to_vec(),
            40,
        ),
        (
            b"\x052.0.2\x04Echo\x051.0.0\x03say\x00H\x04path\x06SecretZZ".to_vec(),
            40,
        ),
    ] {
        id += 1;
        consumer.send(dubbo(0xc2, 0, id, &body));
        let (_, got, answered, _) = take_dubbo(&mut consumer);
        assert_eq!((got, answered), (status, id), "{}", body.escape_ascii());
    }
    assert!(server.try_accept().is_none());
}
