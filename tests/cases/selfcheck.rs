//! The harness against itself: client and origin with nothing between, so that a failure elsewhere is the proxy's.

use ringway_tests::http::Framing;
use ringway_tests::wire::Refusing;
use ringway_tests::{Broken, Client, Origin, WireServer};

#[test]
fn client_and_origin_agree_on_every_framing() {
    let origin = Origin::start("a");
    let mut client = Client::connect(origin.addr());
    assert_eq!(client.get("/").text(), "a");
    for (path, framing) in [
        ("/bytes/100000", Framing::Length(100_000)),
        ("/chunked/100000", Framing::Chunked),
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let (status, _, seen) = client.head("GET");
        assert_eq!((status, seen), (200, framing));
        assert_eq!(client.pattern_body(seen), Ok(100_000));
    }
    let answer = client.get("/trailers");
    assert_eq!(answer.trailers.len(), 2);
    assert_eq!(client.post("/echo", "hello").text(), "hello");
    let chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
    let answer = client.ask(chunked);
    assert_eq!(
        (answer.text().as_str(), answer.trailers.len()),
        ("hello", 1)
    );
    assert_eq!(client.get("/status/204").framing, Framing::None);
    assert_eq!(client.get("/close/100000").body.len(), 100_000);
    client.expect_closed();
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.seen().len(), 8);
}

#[test]
fn client_sees_a_cut_body_as_broken() {
    let origin = Origin::start("a");
    for path in ["/cut/1000", "/cut-chunked/1000"] {
        let mut client = Client::connect(origin.addr());
        let broken = client.try_ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(
            broken.map(|answer| answer.status),
            Err(Broken::Truncated),
            "{path}"
        );
    }
}

#[test]
fn client_refuses_what_is_not_http() {
    let server = WireServer::bind();
    for bad in [
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut client = Client::connect(server.addr());
        server.accept().send(bad);
        let result = client.try_read("GET");
        assert!(
            matches!(result, Err(Broken::Syntax(_))),
            "{bad:?} gave {result:?}"
        );
    }
}

#[test]
fn wires_reset_and_refuse_when_told() {
    let server = WireServer::bind();
    let mut client = Client::connect(server.addr());
    let mut wire = server.accept();
    client.send("abc");
    wire.expect("abc");
    wire.reset();
    assert_eq!(client.rest().1, Err(Broken::Reset));
    assert!(Client::try_connect(Refusing::new().addr()).is_err());
}
