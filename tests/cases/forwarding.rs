//! Messages pass whole and in order, both ways, whatever their framing.

use ringway_tests::client::chunk;
use ringway_tests::http::Framing;
use ringway_tests::{Driver, Origin, Proxy, WireServer, both_drivers, pattern, sys, wait_steady};

both_drivers! {
    forwards_bodies_of_every_framing_and_size,
    forwards_requests_without_a_body,
    passes_trailers_both_ways,
    drops_forbidden_trailers,
    answers_head_204_and_304_without_a_body,
    answers_pipelined_requests_in_order,
    passes_interim_answers,
    keeps_interim_answers_from_http_1_0,
    waits_for_100_continue,
    hands_on_a_refused_expectation,
    streams_64_mib_up_and_down_in_little_memory,
    forwards_to_unix_sockets,
    answers_a_head_that_comes_byte_by_byte,
    a_first_byte_of_a_body_goes_on_at_once,
    a_slow_reader_slows_the_upstream,
}

fn forwards_bodies_of_every_framing_and_size(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    for size in [0, 1, 100, 4096, 16_384, 65_536, 65_537, 1_000_000] {
        for path in ["bytes", "chunked"] {
            client.send(format!("GET /{path}/{size} HTTP/1.1\r\nHost: t\r\n\r\n"));
            let (status, _, framing) = client.head("GET");
            assert_eq!(status, 200);
            assert_eq!(client.pattern_body(framing), Ok(size), "{path} {size}");
        }
        let body = pattern::bytes(usize::try_from(size).unwrap());
        assert_eq!(client.post("/x", &body).status, 200);
        let seen = origin.seen().pop().unwrap();
        assert!(
            seen.pattern && seen.length == size && seen.broken.is_none(),
            "{size}: {}",
            seen.length
        );
        assert_eq!(seen.framing, Framing::Length(size));
        client.send("POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(7_001) {
            client.send(chunk(piece));
        }
        assert_eq!(client.send("0\r\n\r\n").read("POST").status, 200);
        let seen = origin.seen().pop().unwrap();
        assert!(
            seen.pattern && seen.length == size && seen.broken.is_none(),
            "{size}: {}",
            seen.length
        );
        assert_eq!(seen.framing, Framing::Chunked);
    }
    let mut client = proxy.client();
    client.send("GET /close/300000 HTTP/1.1\r\nHost: t\r\n\r\n");
    let (_, _, framing) = client.head("GET");
    assert_eq!(client.pattern_body(framing), Ok(300_000));
}

fn forwards_requests_without_a_body(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    for (n, method) in ["GET", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "PURGE"]
        .into_iter()
        .enumerate()
    {
        let answer = client.ask(&format!(
            "{method} /p?q=1&r=%20 HTTP/1.1\r\nHost: t\r\n\r\n"
        ));
        assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
        let seen = origin.nth(n + 1);
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            (method, "/p?q=1&r=%20")
        );
        assert_eq!((seen.length, seen.get("transfer-encoding")), (0, None));
    }
}

fn passes_trailers_both_ways(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    let answer = client.ask("GET /trailers HTTP/1.1\r\nHost: t\r\nTE: trailers\r\n\r\n");
    assert_eq!(answer.text(), "body");
    assert_eq!(
        answer.trailers,
        [
            ("X-Sum".to_owned(), "4".to_owned()),
            ("X-Two".to_owned(), "b".to_owned())
        ]
    );
    client
        .send("POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTrailer: X-Up\r\n\r\n");
    assert_eq!(
        client
            .send("2\r\nhi\r\n0\r\nX-Up: yes\r\n\r\n")
            .read("POST")
            .status,
        200
    );
    assert_eq!(
        origin.nth(2).trailers,
        [("X-Up".to_owned(), "yes".to_owned())]
    );
}

fn drops_forbidden_trailers(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    client
        .send("POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n");
    let answer = client
        .send("Content-Length: 5\r\nHost: evil\r\nX-Fine: 1\r\n\r\n")
        .try_read("POST");
    // Refusing the message is as good as dropping the fields.
    if answer.is_ok_and(|answer| answer.status == 200) {
        assert_eq!(
            origin.only().trailers,
            [("X-Fine".to_owned(), "1".to_owned())]
        );
    }
}

fn answers_head_204_and_304_without_a_body(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    let answer = client.ask("HEAD /bytes/1234 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(
        (answer.status, answer.get("content-length")),
        (200, Some("1234"))
    );
    assert_eq!(client.get("/status/204").status, 204);
    let answer = client.get("/status/304");
    assert_eq!((answer.status, answer.get("etag")), (304, Some("\"x\"")));
    // Still in step: nothing of a body was made up or swallowed.
    assert_eq!(client.get("/").text(), "a");
    assert_eq!(origin.connections(), 1);
}

fn answers_pipelined_requests_in_order(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    let sizes = [0, 70_000, 1, 5, 20_000, 3, 100, 2];
    let mut all = String::new();
    for (n, size) in sizes.iter().enumerate() {
        let kind = if n % 2 == 0 { "bytes" } else { "chunked" };
        all += &format!("GET /{kind}/{size} HTTP/1.1\r\nHost: t\r\n\r\n");
        all += "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc";
    }
    client.send(all);
    for size in sizes {
        let (_, _, framing) = client.head("GET");
        assert_eq!(client.pattern_body(framing), Ok(size));
        assert_eq!(client.read("POST").text(), "abc");
    }
}

fn passes_interim_answers(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    let hints = client.try_head().unwrap();
    assert!(hints.start.starts_with("HTTP/1.1 103"), "{hints:?}");
    assert_eq!(hints.get("link"), Some("</a>"));
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read("GET").text(), "ok");
}

fn keeps_interim_answers_from_http_1_0(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = client.read("GET");
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("ok", 0));
}

fn waits_for_100_continue(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let head = client.try_head().unwrap();
    assert!(head.start.starts_with("HTTP/1.1 100"), "{head:?}");
    assert_eq!(client.send("hello").read("POST").text(), "hello");
    // A client that does not wait is served as well.
    client.send(
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nworld",
    );
    assert_eq!(client.read("POST").text(), "world");
}

fn hands_on_a_refused_expectation(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    client.send("POST /refuse-body HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.read("POST");
    assert_eq!((answer.status, answer.interim.len()), (417, 0));
    assert_eq!(origin.only().length, 0);
    // The body that never came must not be awaited, nor the next request taken for it.
    if answer.closes() {
        client.expect_closed();
    }
}

fn streams_64_mib_up_and_down_in_little_memory(driver: Driver) {
    const SIZE: u64 = 64 << 20;
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 200);
    let before = sys::rss_kib(proxy.pid());
    for path in ["bytes", "chunked"] {
        client.send(format!("GET /{path}/{SIZE} HTTP/1.1\r\nHost: t\r\n\r\n"));
        let (_, _, framing) = client.head("GET");
        assert_eq!(client.pattern_body(framing), Ok(SIZE));
    }
    client.send(format!(
        "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: {SIZE}\r\n\r\n"
    ));
    client.try_send_pattern(SIZE, <[u8]>::to_vec).unwrap();
    assert_eq!(client.read("POST").status, 200);
    client.send("POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.try_send_pattern(SIZE, chunk).unwrap();
    assert_eq!(client.send("0\r\n\r\n").read("POST").status, 200);
    for n in [4, 5] {
        let seen = origin.nth(n);
        assert!(
            seen.pattern && seen.length == SIZE,
            "upload {n}: {} bytes",
            seen.length
        );
    }
    let grown = sys::rss_kib(proxy.pid()).saturating_sub(before);
    assert!(
        grown < 8 << 10,
        "256 MiB through the proxy grew it by {grown} KiB"
    );
}

fn forwards_to_unix_sockets(driver: Driver) {
    use std::io::{Read, Write};
    let dir = ringway_tests::TempDir::new();
    let path = dir.join("up.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buf = [0; 4096];
        let n = stream.read(&mut buf).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")
            .unwrap();
        String::from_utf8_lossy(&buf[..n]).into_owned()
    });
    let config = format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, cluster: up }}] }}\nclusters:\n  - {{ name: up, endpoints: [\"unix:{}\"] }}\n",
        path.display()
    );
    let proxy = Proxy::start(driver, &config);
    assert_eq!(proxy.client().get("/u").text(), "unix");
    assert!(thread.join().unwrap().starts_with("GET /u HTTP/1.1\r\n"));
}

fn answers_a_head_that_comes_byte_by_byte(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    let text =
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in text.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.read("POST").text(), "abc");
}

fn a_first_byte_of_a_body_goes_on_at_once(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\na");
    let mut wire = server.accept();
    wire.head();
    wire.expect("a");
    client.send("b");
    wire.expect("b");
    client.send("c");
    wire.expect("c");
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx");
    let (_, _, framing) = client.head("POST");
    assert_eq!(framing, Framing::Length(2));
    assert_eq!(client.take(1), b"x");
    wire.send("y");
    assert_eq!(client.take(1), b"y");
}

fn a_slow_reader_slows_the_upstream(driver: Driver) {
    const SIZE: u64 = 64 << 20;
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 200);
    let before = sys::rss_kib(proxy.pid());
    client.send(format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: t\r\n\r\n"));
    let (_, _, framing) = client.head("GET");
    // Nobody reads: the proxy comes to rest (its CPU time stands still) without having taken the body in.
    wait_steady("the proxy rests while nobody reads", || {
        sys::cpu_ticks(proxy.pid())
    });
    let grown = sys::rss_kib(proxy.pid()).saturating_sub(before);
    assert!(grown < 4 << 10, "an unread answer grew it by {grown} KiB");
    assert_eq!(client.pattern_body(framing), Ok(SIZE));
}
