//! What clients of RPC protocols have the proxy keep for them is bounded over all of them, and whoever has it keep the most pays for it;
//! what they do not take in time ends them too.

use ringway_tests::rpc_frames::{Bolt, answer, call};
use ringway_tests::{Client, Driver, Proxy, Wire, WireServer, both_drivers, wait_until};

use crate::rpc::client;

both_drivers! {
    of_frames_that_come_in_part_the_largest_is_given_up,
    of_clients_that_do_not_read_the_one_with_most_is_cut_off,
    a_client_that_takes_its_answers_too_slowly_is_cut_off,
    a_call_beyond_what_calls_may_take_is_refused,
    a_body_of_http_beyond_what_calls_may_take_is_a_503,
}

const MIB: usize = 1 << 20;

fn held_to(driver: Driver, server: &WireServer, listener: &str) -> Proxy {
    Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, {listener}, routes: [{{ cluster: up, timeout: 0s }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    ))
}

/// A call that waits as long as it takes.
fn patient(id: u32, content: &str) -> Vec<u8> {
    let call = Bolt {
        last: 0,
        ..call(id, &[], content)
    };
    call.bytes()
}

fn limits(proxy: &Proxy, limit: &str) -> f64 {
    let limit = format!("limit=\"{limit}\"");
    let labels = ["listener=\"main\"", &limit];
    proxy.metric("ringway_listener_limit_total", &labels)
}

fn of_frames_that_come_in_part_the_largest_is_given_up(driver: Driver) {
    let server = WireServer::bind();
    let proxy = held_to(driver, &server, "rpc: { memory: 1MiB }");
    let (mut good, mut bad) = (client(&proxy), client(&proxy));
    let (small, large) = (patient(1, &"g".repeat(600_000)), "b".repeat(2 * MIB));
    good.send(&small[..300_000]);
    good.arrived();
    let sent = bad.try_send(&patient(1, &large)[..900_000]);
    wait_until("the larger one is given up", || {
        limits(&proxy, "rpc_kept") == 1.0
    });
    if sent {
        bad.ending();
    }
    good.send(&small[300_000..]);
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    assert_eq!(asked.content.len(), 600_000);
    wire.send(answer(&asked, "whole").bytes());
    assert_eq!(Bolt::take(&mut good).content, b"whole");
}

/// So many calls of a client's, as they come to the server.
fn ask(client: &mut Wire, wire: &mut Wire, count: u32) -> Vec<Bolt> {
    let all: Vec<u8> = (0..count).flat_map(|id| patient(id, "x")).collect();
    client.send(all);
    (0..count).map(|_| Bolt::take_call(wire)).collect()
}

fn of_clients_that_do_not_read_the_one_with_most_is_cut_off(driver: Driver) {
    let server = WireServer::bind();
    let proxy = held_to(driver, &server, "rpc: { memory: 16MiB }");
    let (mut most, mut less) = (client(&proxy), client(&proxy));
    // First a call that makes the connection.
    less.send(patient(99, "x"));
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut less).id, 99);
    let large = "y".repeat(MIB);
    for asked in ask(&mut less, &mut wire, 6) {
        wire.send(answer(&asked, &large).bytes());
    }
    // So many that they are too many beside what the kernel keeps on its way.
    for asked in ask(&mut most, &mut wire, 48) {
        wire.send(answer(&asked, &large).bytes());
    }
    wait_until("one is cut off", || limits(&proxy, "rpc_kept") == 1.0);
    for id in 0..6 {
        let got = Bolt::take(&mut less);
        assert_eq!((got.id, got.content.len()), (id, MIB));
    }
    assert_eq!(limits(&proxy, "rpc_kept"), 1.0);
}

fn a_client_that_takes_its_answers_too_slowly_is_cut_off(driver: Driver) {
    let server = WireServer::bind();
    let slow = "limits: { body_rate: 1KiB, body_rate_grace: 200ms }";
    let proxy = held_to(driver, &server, slow);
    let (mut deaf, mut good) = (client(&proxy), client(&proxy));
    let all: Vec<u8> = (0..40).flat_map(|id| patient(id, "x")).collect();
    deaf.send(all);
    let mut wire = server.accept();
    let large = "y".repeat(MIB);
    for _ in 0..40 {
        let asked = Bolt::take_call(&mut wire);
        wire.send(answer(&asked, &large).bytes());
    }
    wait_until("the client is cut off", || {
        limits(&proxy, "body_too_slow") == 1.0
    });
    good.send(patient(1, "x"));
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "z").bytes());
    assert_eq!(Bolt::take(&mut good).content, b"z");
}

fn a_call_beyond_what_calls_may_take_is_refused(driver: Driver) {
    let server = WireServer::bind();
    let proxy = held_to(driver, &server, "rpc: { memory: 1MiB }");
    let (mut one, mut other) = (client(&proxy), client(&proxy));
    one.send(patient(1, &"a".repeat(700_000)));
    let mut wire = server.accept();
    let first = Bolt::take_call(&mut wire);
    other.send(patient(1, &"b".repeat(700_000)));
    let refused = Bolt::take(&mut other);
    assert_eq!((refused.id, refused.last), (1, 4));
    wire.send(answer(&first, "y").bytes());
    assert_eq!(Bolt::take(&mut one).content, b"y");
    // With the answer there is room again.
    wait_until("the first call is over", || {
        proxy.metric(
            "ringway_listener_downstream_rq_active",
            &["listener=\"main\""],
        ) == 0.0
    });
    other.send(patient(2, &"b".repeat(700_000)));
    let second = Bolt::take_call(&mut wire);
    wire.send(answer(&second, "z").bytes());
    assert_eq!(Bolt::take(&mut other).content, b"z");
    assert_eq!(limits(&proxy, "rpc_memory"), 1.0);
}

fn post(client: &mut Client, body: &str) {
    let length = body.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
}

fn a_body_of_http_beyond_what_calls_may_take_is_a_503(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners: [{{ name: web, address: \"127.0.0.1:0\", rpc: {{ memory: 100KiB }}, routes: [{{ cluster: up, filters: [{{ transcode: {{ to: bolt, service: \"com.test.Echo:1.0\", method: say }} }}] }}] }}]
clusters: [{{ name: up, protocol: bolt, endpoints: [\"{}\"] }}]
",
        server.addr()
    ));
    let (mut one, mut other) = (proxy.client(), proxy.client());
    let text = format!("\"{}\"", "x".repeat(60 << 10));
    // The first is in flight, and its call is counted as its body was.
    post(&mut one, &text);
    let mut wire = server.accept();
    let call = Bolt::take_call(&mut wire);
    post(&mut other, &text);
    let response = other.read("POST");
    let busy = r#"{"error":{"message":"too busy"}}"#;
    assert_eq!((response.status, response.text().as_str()), (503, busy));
    let limits = proxy.metric("ringway_listener_limit_total", &["limit=\"rpc_memory\""]);
    assert_eq!(limits, 1.0);
    // Number 12 is JSON.
    let mut bytes = answer(&call, "8").bytes();
    bytes[9] = 12;
    wire.send(bytes);
    assert_eq!(one.read("POST").text(), "8");
    wait_until("the first is over", || {
        proxy.metric(
            "ringway_listener_downstream_rq_active",
            &["listener=\"web\""],
        ) == 0.0
    });
    let mut again = proxy.client();
    post(&mut again, &text);
    assert_eq!(Bolt::take_call(&mut wire).content, text.as_bytes());
}
