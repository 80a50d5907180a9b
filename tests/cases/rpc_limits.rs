//! What clients of RPC protocols are held to, and that none of them holds up another.

use ringway_tests::rpc_frames::{Bolt, answer, call};
use ringway_tests::{Driver, Proxy, WireServer, both_drivers, wait_equal, wait_until};

use crate::rpc::{client, one, proxy};

both_drivers! {
    large_calls_pass_whole,
    what_is_no_frame_ends_its_connection_alone,
    a_frame_over_the_limit_is_answered_and_passed_over,
    a_frame_that_comes_too_slowly_ends_its_connection,
    answers_that_a_client_does_not_read_cut_it_off_alone,
    calls_beyond_those_in_flight_wait_in_the_socket,
    calls_beyond_those_on_a_connection_wait_or_are_refused,
    calls_beyond_what_may_wait_for_a_host_are_refused,
}

/// A proxy with these keys of its listener and of its cluster.
fn held_to(driver: Driver, server: &WireServer, listener: &str, cluster: &str) -> Proxy {
    Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt{listener}, routes: [{{ cluster: up, timeout: 0s }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"]{cluster} }}\n",
        server.addr()
    ))
}

fn calls_beyond_those_in_flight_wait_in_the_socket(driver: Driver) {
    let server = WireServer::bind();
    let proxy = held_to(driver, &server, ", rpc: { in_flight: 1 }", "");
    let (mut busy, mut other) = (client(&proxy), client(&proxy));
    let all: Vec<u8> = (1..3).flat_map(|id| call(id, &[], "x").bytes()).collect();
    busy.send(all);
    let mut wire = server.accept();
    let first = Bolt::take_call(&mut wire);
    // What another client asks comes first.
    other.send(call(7, &[], "other").bytes());
    let theirs = Bolt::take_call(&mut wire);
    assert_eq!(theirs.content, b"other");
    let waits = ["listener=\"main\"", "limit=\"rpc_in_flight\""];
    assert_eq!(proxy.metric("ringway_listener_limit_total", &waits), 1.0);
    wire.send(answer(&first, "y").bytes());
    let second = Bolt::take_call(&mut wire);
    wire.send(answer(&second, "z").bytes());
    assert_eq!(Bolt::take(&mut busy).id, 1);
    assert_eq!(Bolt::take(&mut busy).id, 2);
}

fn calls_beyond_those_on_a_connection_wait_or_are_refused(driver: Driver) {
    let server = WireServer::bind();
    let proxy = held_to(driver, &server, "", ", rpc: { in_flight: 1 }");
    let mut client = client(&proxy);
    client.send(call(1, &[], "first").bytes());
    let mut wire = server.accept();
    let first = Bolt::take_call(&mut wire);
    let more: Vec<u8> = (2..4)
        .flat_map(|id| call(id, &[], "more").bytes())
        .collect();
    client.send(more);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (3, 4));
    wire.send(answer(&first, "y").bytes());
    assert_eq!(Bolt::take(&mut client).id, 1);
    let second = Bolt::take_call(&mut wire);
    wire.send(answer(&second, "z").bytes());
    assert_eq!(Bolt::take(&mut client).id, 2);
    let overflows = ["cluster=\"up\"", "limit=\"rpc_waiting\""];
    assert_eq!(proxy.metric("ringway_cluster_limit_total", &overflows), 1.0);
}

fn calls_beyond_what_may_wait_for_a_host_are_refused(driver: Driver) {
    let server = WireServer::bind();
    let proxy = held_to(driver, &server, "", ", rpc: { buffer: 1MiB }");
    let mut client = client(&proxy);
    client.send(call(0, &[], "first").bytes());
    let mut wire = server.accept();
    Bolt::take_call(&mut wire);
    // The host reads no more: beyond what the kernel keeps on its way, calls wait here.
    let large = "x".repeat(1 << 20);
    for id in 1..25 {
        let call = Bolt {
            last: 0,
            ..call(id, &[], &large)
        };
        client.send(call.bytes());
    }
    let refused = Bolt::take(&mut client);
    assert_eq!(refused.last, 4);
    assert!(refused.id > 1, "{}", refused.id);
    let full = proxy.metric("ringway_cluster_rpc_buffer_full_total", &["cluster=\"up\""]);
    assert!(full >= 1.0);
}

fn large_calls_pass_whole(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { cluster: up, timeout: 0s }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    let large: String = (0..3_000_000)
        .map(|at| char::from(b'a' + (at % 23) as u8))
        .collect();
    // However long a busy machine takes.
    let bytes = Bolt {
        last: 0,
        ..call(1, &[], &large)
    }
    .bytes();
    let sending = std::thread::spawn(move || {
        client.send(bytes);
        client
    });
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    assert!(asked.content == large.as_bytes());
    let mut client = sending.join().unwrap();
    let sending = std::thread::spawn(move || {
        wire.send(answer(&asked, &large).bytes());
        large
    });
    let got = Bolt::take(&mut client);
    assert_eq!(got.last, 0);
    assert!(got.content == sending.join().unwrap().as_bytes());
}

fn what_is_no_frame_ends_its_connection_alone(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let (mut good, mut bad) = (client(&proxy), client(&proxy));
    good.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    bad.send(b"GET / HTTP/1.1\r\n\r\n");
    bad.ending();
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut good).content, b"y");
    let reason = ["listener=\"main\"", "reason=\"bad_magic\""];
    wait_equal(1.0, || {
        proxy.metric("ringway_listener_rpc_malformed_total", &reason)
    });
}

fn a_frame_over_the_limit_is_answered_and_passed_over(driver: Driver) {
    let server = WireServer::bind();
    let config = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, rpc: {{ max_frame: 1KiB }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut client = client(&proxy);
    let mut bytes = call(1, &[], &"x".repeat(5000)).bytes();
    bytes.extend_from_slice(&call(2, &[], "small").bytes());
    client.send(bytes);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 9));
    assert_eq!(Bolt::take_call(&mut server.accept()).content, b"small");
}

fn a_frame_that_comes_too_slowly_ends_its_connection(driver: Driver) {
    let server = WireServer::bind();
    let config = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, limits: {{ body_rate: 1KiB, body_rate_grace: 200ms }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut slow = client(&proxy);
    let mut bytes = call(1, &[], &"x".repeat(5000)).bytes();
    bytes.truncate(100);
    slow.send(bytes);
    slow.ending();
    let slow = ["listener=\"main\"", "limit=\"body_too_slow\""];
    wait_equal(1.0, || proxy.metric("ringway_listener_limit_total", &slow));
}

fn answers_that_a_client_does_not_read_cut_it_off_alone(driver: Driver) {
    let server = WireServer::bind();
    let config = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, rpc: {{ queue: 1MiB }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let (mut deaf, mut good) = (client(&proxy), client(&proxy));
    let all: Vec<u8> = (0..64).flat_map(|id| call(id, &[], "x").bytes()).collect();
    deaf.send(all);
    let mut wire = server.accept();
    let large = "y".repeat(1 << 20);
    for _ in 0..64 {
        let asked = Bolt::take_call(&mut wire);
        wire.send(answer(&asked, &large).bytes());
    }
    wait_until("the client is cut off", || {
        let queue = ["listener=\"main\"", "limit=\"rpc_queue\""];
        proxy.metric("ringway_listener_limit_total", &queue) == 1.0
    });
    good.send(call(1, &[], "x").bytes());
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "z").bytes());
    assert_eq!(Bolt::take(&mut good).content, b"z");
}
