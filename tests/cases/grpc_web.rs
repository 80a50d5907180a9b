//! gRPC-Web to gRPC: what a browser sends and reads, byte by byte.

use ringway_tests::rpc::RpcOrigin;
use ringway_tests::{Driver, H2Origin, Proxy, both_drivers};

use crate::http2_upstream::{one_core, site2};

both_drivers! {
    binary_calls_pass_with_their_trailers_in_the_body,
    text_calls_are_base64_both_ways,
    a_status_alone_is_in_the_head,
    the_proxy_answers_in_grpc_web,
    other_requests_pass_untouched,
    calls_over_http1_may_take_their_time,
}

fn start(driver: Driver, origin: &RpcOrigin) -> Proxy {
    let config = site2(&[origin.addr()], "", "");
    one_core(
        driver,
        &config.replace("routes: [{", "filters: [grpc_web: {}], routes: [{"),
    )
}

/// A frame of gRPC.
fn frame(flag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[flag][..], &len, body].concat()
}

fn post(kind: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/grpc-web{kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn binary_calls_pass_with_their_trailers_in_the_body(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    for len in [0, 5, 100_000] {
        let message = frame(0, &ringway_tests::pattern::bytes(len));
        let answer = client
            .send(post("+proto", "/test.Echo/Unary", &message))
            .read("POST");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.get("content-type"), Some("application/grpc-web"));
        let (body, trailers) = answer.body.split_at(message.len());
        assert!(body == message, "{len}");
        assert_eq!(trailers, frame(0x80, b"grpc-status: 0\r\n"));
        assert!(answer.trailers.is_empty());
    }
}

fn text_calls_are_base64_both_ways(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    // A frame of the message `Hi`.
    let answer = client
        .send(post("-text", "/test.Echo/Unary", b"AAAAAAJIaQ=="))
        .read("POST");
    assert_eq!(
        answer.get("content-type"),
        Some("application/grpc-web-text")
    );
    // The same, and a frame of `grpc-status: 0`.
    assert_eq!(answer.text(), "AAAAAAJIaQ==gAAAABBncnBjLXN0YXR1czogMA0K");
    let answer = client
        .send(post("-text", "/test.Echo/Unary", b"no base64"))
        .read("POST");
    assert_ne!(answer.get("grpc-status"), Some("0"));
}

fn a_status_alone_is_in_the_head(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    let answer = client
        .send(post("", "/test.Echo/Fail", &frame(0, b"\x05gone")))
        .read("POST");
    assert_eq!(answer.get("content-type"), Some("application/grpc-web"));
    assert_eq!(answer.get("grpc-status"), Some("5"));
    assert_eq!(answer.get("grpc-message"), Some("gone"));
    assert!(answer.body.is_empty());
}

fn the_proxy_answers_in_grpc_web(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let config = site2(&[origin.addr()], "", ", timeout: 200ms");
    let config = config.replace("routes: [{", "filters: [grpc_web: {}], routes: [{");
    let proxy = one_core(driver, &config);
    let answer = proxy
        .client()
        .send(post("-text", "/test.Echo/Keep", b"AAAAAAA="))
        .read("POST");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.get("content-type"),
        Some("application/grpc-web-text")
    );
    assert_eq!(answer.get("grpc-status"), Some("4"));
}

fn other_requests_pass_untouched(driver: Driver) {
    let origin = ringway_tests::H2Origin::start("two");
    let config = site2(&[origin.addr()], "", "");
    let proxy = one_core(
        driver,
        &config.replace("routes: [{", "filters: [grpc_web: {}], routes: [{"),
    );
    let mut client = proxy.client();
    let answer = client.post("/echo", "plain");
    assert_eq!(answer.text(), "plain");
    assert_eq!(origin.nth(1).get("content-length"), Some("5"));
}

/// Streams of messages are no slow uploads, whatever carries them.
fn calls_over_http1_may_take_their_time(driver: Driver) {
    let origin = H2Origin::start("two");
    let limits =
        "name: web, limits: { body_rate: 1KiB, body_rate_grace: 300ms }, filters: [grpc_web: {}],";
    let config = site2(&[origin.addr()], "", "").replace("name: web,", limits);
    let proxy = one_core(driver, &config);
    let begin = |path: &str, content: &str| {
        let mut client = proxy.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content}\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        ));
        client
    };
    let calls =
        ["application/grpc", "application/grpc-web+proto"].map(|content| begin("/echo", content));
    // What began after them and is no call is too slow before they are.
    assert_eq!(begin("/upload", "text/plain").read("POST").status, 408);
    for mut call in calls {
        call.send("1\r\nb\r\n0\r\n\r\n");
        let answer = call.read("POST");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ab"));
    }
}
