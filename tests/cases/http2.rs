//! HTTP/2 from clients: what becomes of requests, bodies and ends, and that one stream is never another's business.

use ringway_tests::http2::{Answer, PREFACE};
use ringway_tests::pattern::bytes;
use ringway_tests::{Driver, Http2, Origin, Proxy, Site, WireServer, both_drivers, wait_until};

both_drivers! {
    versions_are_told_apart_by_the_first_bytes,
    a_listener_may_speak_one_version_only,
    the_preface_may_come_in_any_pieces,
    a_request_goes_on_as_one_of_http1,
    bodies_go_both_ways_whatever_their_size,
    answers_without_a_body_end_with_their_head,
    trailers_go_both_ways,
    interim_answers_go_on,
    a_client_that_waits_for_100_gets_it,
    a_slow_reader_slows_only_itself,
    a_slow_upstream_slows_only_its_stream,
    many_streams_share_a_connection,
    access_logs_say_http2,
}

pub(crate) fn echo(driver: Driver) -> (Origin, Proxy) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    (origin, proxy)
}

fn versions_are_told_apart_by_the_first_bytes(driver: Driver) {
    let (origin, proxy) = echo(driver);
    for _ in 0..2 {
        assert_eq!(proxy.client().get("/x").status, 200);
        assert_eq!(Http2::connect(proxy.addr("web")).get("/x").status, 200);
    }
    // Methods that begin as the preface does.
    let mut client = proxy.client();
    for method in ["P", "PR", "PRI*", "PUT"] {
        let asked = client.ask(&format!("{method} /x HTTP/1.1\r\nHost: t\r\n\r\n"));
        assert_eq!(asked.status, 200, "{method}");
    }
    assert_eq!(origin.seen().len(), 8);
}

fn a_listener_may_speak_one_version_only(driver: Driver) {
    let origin = Origin::start("a");
    let of = |protocol: &str| {
        let site = Site::to(&[origin.addr()]);
        site.listener(&format!("protocol: {protocol}"))
            .start(driver)
    };
    let proxy = of("http1");
    assert_eq!(proxy.client().get("/").status, 200);
    let mut client = proxy.client();
    client.send(PREFACE);
    assert_eq!(client.read("GET").status, 505);
    let proxy = of("http2");
    assert_eq!(Http2::connect(proxy.addr("web")).get("/").status, 200);
    let mut client = Http2::raw(proxy.addr("web"));
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    client.closed();
    assert_eq!(origin.seen().len(), 2);
}

fn the_preface_may_come_in_any_pieces(driver: Driver) {
    let (_origin, proxy) = echo(driver);
    for cut in 1..PREFACE.len() {
        let mut client = Http2::raw(proxy.addr("web"));
        client.hello_in_pieces(cut);
        assert_eq!(client.get("/x").status, 200, "cut at {cut}");
    }
}

fn a_request_goes_on_as_one_of_http1(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let fields = [
        ("x-a", "1"),
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        ("x-empty", ""),
        ("cookie", "c=3"),
    ];
    let stream = client.start("GET", "/p?q", &fields, true);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
    assert!(answer.ended && answer.get("via").is_some() && answer.get("date").is_some());
    assert_eq!(answer.get("connection"), None);
    let seen = origin.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/p?q")
    );
    assert_eq!(seen.get("host"), Some("test.example"));
    assert_eq!(seen.get("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(
        (seen.get("x-a"), seen.get("x-empty")),
        (Some("1"), Some(""))
    );
    assert_eq!(seen.get("te"), Some("trailers"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.get("transfer-encoding"), None);
    // `host` may stand for `:authority`.
    let answer = client.head(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/h"),
        ("host", "other.example"),
    ]);
    assert_eq!(answer.status, 200);
    assert_eq!(origin.nth(2).get("host"), Some("other.example"));
}

fn bodies_go_both_ways_whatever_their_size(driver: Driver) {
    let (_origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    for size in [0, 1, 16_384, 16_385, 60_000] {
        let body = bytes(size);
        let answer = client.post("/echo", &body);
        assert!(answer.ended && answer.body == body, "{size}");
    }
    let length = bytes(50_000);
    let stream = client.start("POST", "/echo", &[("content-length", "50000")], false);
    client.data(stream, &length, true);
    assert!(client.answer(stream).body == length);
    for path in ["/bytes/5000000", "/chunked/5000000", "/close/5000000"] {
        let answer = client.get(path);
        assert!(answer.ended && answer.body == bytes(5_000_000), "{path}");
    }
}

fn answers_without_a_body_end_with_their_head(driver: Driver) {
    let (_origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    for (method, path, status, length) in [
        ("HEAD", "/bytes/1000", 200, Some("1000")),
        ("HEAD", "/chunked/1000", 200, None),
        ("GET", "/status/204", 204, None),
        ("GET", "/status/304", 304, None),
        ("GET", "/bytes/0", 200, Some("0")),
        ("GET", "/chunked/0", 200, None),
        ("HEAD", "/none", 200, None),
    ] {
        let stream = client.start(method, path, &[], true);
        let answer = client.answer(stream);
        assert!(
            answer.ended && answer.body.is_empty(),
            "{method} {path}: {answer:?}"
        );
        assert_eq!(answer.status, status, "{method} {path}");
        if let Some(length) = length {
            assert_eq!(
                answer.get("content-length"),
                Some(length),
                "{method} {path}"
            );
        }
    }
}

fn trailers_go_both_ways(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let answer = client.get("/trailers");
    assert_eq!(answer.text(), "body");
    let sums = [("x-sum", "4"), ("x-two", "b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(answer.trailers, sums);
    let stream = client.start("POST", "/x", &[("te", "trailers")], false);
    client.data(stream, b"body", false);
    client.trailers(
        stream,
        &[("x-sum", "4"), ("content-length", "9"), ("host", "evil")],
    );
    assert_eq!(client.answer(stream).status, 200);
    let seen = origin.nth(2);
    assert_eq!(seen.text(), "body");
    assert_eq!(seen.trailers.len(), 1, "{:?}", seen.trailers);
    assert_eq!(seen.trailers[0].1, "4");
}

fn interim_answers_go_on(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("GET", "/", &[], true);
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    let hint = client.until("a hint", |client| {
        client.answers.get(&stream)?.interim.first().cloned()
    });
    assert_eq!(hint.0, 103);
    assert!(hint.1.contains(&("link".to_owned(), "</a>".to_owned())));
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.answer(stream).text(), "ok");
}

fn a_client_that_waits_for_100_gets_it(driver: Driver) {
    let (_origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/echo", &[("expect", "100-continue")], false);
    client.until("100", |client| {
        let first = client.answers.get(&stream)?.interim.first()?;
        (first.0 == 100).then_some(())
    });
    client.data(stream, b"body", true);
    assert_eq!(client.answer(stream).text(), "body");
    let stream = client.start("POST", "/refuse-body", &[("expect", "100-continue")], false);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.interim.len()), (417, 0));
}

fn a_slow_reader_slows_only_itself(driver: Driver) {
    let (_origin, proxy) = echo(driver);
    // Streams have a window of one byte; the connection's is as it is.
    let mut client = Http2::connect_with(proxy.addr("web"), &[(4, 1)]);
    client.polite = false;
    let slow: Vec<u32> = (0..20)
        .map(|_| client.start("GET", "/bytes/3000000", &[], true))
        .collect();
    let quick = client.start("GET", "/bytes/30000", &[], true);
    client.open(quick, 60_000);
    let answer = client.answer(quick);
    assert!(answer.ended && answer.body.len() == 30_000);
    for stream in slow {
        let more = |answer: &Answer| answer.body.len() > 1 || answer.ended;
        assert!(!client.answers.get(&stream).is_some_and(more));
    }
}

fn a_slow_upstream_slows_only_its_stream(driver: Driver) {
    let slow = WireServer::bind();
    let quick = Origin::start("quick");
    let config = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    http2: {{ stream_window: 64KiB, stream_window_max: 64KiB, connection_window_max: 4MiB }}\n    routes:\n      \
         - {{ match: {{ prefix: /slow }}, cluster: slow, timeout: 0s }}\n      - {{ match: {{ prefix: / }}, cluster: quick }}\n\
         clusters:\n  - {{ name: slow, endpoints: [\"{}\"] }}\n  - {{ name: quick, endpoints: [\"{}\"] }}\n",
        slow.addr(),
        quick.addr()
    );
    let proxy = Proxy::start(driver, &config);
    let mut client = Http2::connect(proxy.addr("web"));
    let stuck = client.start("POST", "/slow", &[], false);
    let mut wire = slow.accept();
    wire.head();
    // As much as it takes: its window, and what lies between here and an upstream that does not read.
    let mut sent = 0;
    while sent < 40 << 20 && client.room(stuck) > 0 {
        let room = client.room(stuck);
        client.data(stuck, &bytes(room), false);
        sent += room;
        // Whoever answers this has seen what came before it.
        client.get("/x");
    }
    assert!(sent < 40 << 20, "nothing stops a body that nobody takes");
    let big = bytes(60_000);
    assert!(client.post("/echo", &big).body == big);
    assert!(
        !client.answers.contains_key(&stuck),
        "{:?}",
        client.answers[&stuck]
    );
}

fn many_streams_share_a_connection(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    assert_eq!(client.settings.get(&3), Some(&128));
    let streams: Vec<u32> = (0..100)
        .map(|_| client.start("GET", "/hold", &[], true))
        .collect();
    wait_until("all of them at the origin", || origin.seen().len() == 100);
    origin.release();
    for stream in streams {
        assert_eq!(client.answer(stream).text(), "a");
    }
}

fn access_logs_say_http2(driver: Driver) {
    let origin = Origin::start("a");
    let site = Site::to(&[origin.addr()]);
    let log = "access_log: [{ stdout: true, format: \"%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT% %REQ(:AUTHORITY)%\" }]";
    let proxy = site.listener(log).start(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    client.get("/bytes/1000");
    client.head(&[
        (":method", "GET"),
        (":scheme", "ftp"),
        (":path", "/x"),
        (":authority", "test.example"),
    ]);
    wait_until("two lines", || {
        let out = proxy.stdout();
        out.contains("HTTP/2 200 - 1000 test.example") && out.contains(" 0 DPE ")
    });
    // A reader that is not there any more.
    let stream = client.start("GET", "/hold", &[], true);
    wait_until("a request at the origin", || origin.seen().len() == 2);
    client.reset(stream);
    wait_until("the line of one that went away", || {
        proxy.stdout().contains("HTTP/2 0 DC 0 test.example")
    });
}
