//! HTTP/2 from clients: what becomes of requests, bodies and ends, and that one stream is never another's business.

use ringway_tests::hpack::literal;
use ringway_tests::http2::{Answer, END, END_HEADERS, PREFACE, code, kind};
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
    an_early_answer_is_whole_and_ends_the_stream,
    an_answer_that_breaks_off_is_reset,
    a_reset_cancels_the_request_at_once,
    the_end_of_a_connection_cancels_its_requests,
    a_body_that_breaks_off_never_looks_whole,
    a_slow_reader_slows_only_itself,
    a_slow_upstream_slows_only_its_stream,
    many_streams_share_a_connection,
    an_empty_body_is_awaited_before_it_goes_on,
    malformed_requests_are_reset_and_counted,
    requests_that_are_refused_get_a_status,
    a_drain_says_goaway_twice_and_waits_for_streams,
    an_idle_connection_is_told_to_go_at_a_drain,
    a_reload_that_takes_the_listener_says_goaway,
    access_logs_say_http2,
}

fn echo(driver: Driver) -> (Origin, Proxy) {
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

fn an_early_answer_is_whole_and_ends_the_stream(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/", &[], false);
    client.data(stream, b"first", false);
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.until("an answer and its reset", |client| {
        let answer = client.answers.get(&stream)?;
        (answer.ended && answer.reset.is_some()).then(|| answer.clone())
    });
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    assert_eq!(answer.reset, Some(code::NO_ERROR));
    // What the client still sent meanwhile is nobody's business.
    client.data(stream, b"late", true);
    let other = client.start("GET", "/", &[], true);
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer(other).status, 200);
}

fn an_answer_that_breaks_off_is_reset(driver: Driver) {
    let (_origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    for path in ["/cut/1000", "/cut-chunked/1000", "/cut/200000"] {
        let answer = client.get(path);
        assert!(!answer.ended, "{path} looks whole");
        assert_eq!(answer.reset, Some(code::INTERNAL_ERROR), "{path}");
    }
    assert_eq!(client.get("/x").status, 200, "the connection goes on");
}

fn a_reset_cancels_the_request_at_once(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Http2::connect(proxy.addr("web"));
    // Before an answer, in the middle of one, and in the middle of the body.
    let stream = client.start("GET", "/", &[], true);
    let mut wire = server.accept();
    wire.head();
    client.reset(stream);
    wire.until_closed();
    let stream = client.start("GET", "/", &[], true);
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.until("a part", |client| {
        (client.answers.get(&stream)?.body == b"half").then_some(())
    });
    client.reset(stream);
    wire.until_closed();
    let stream = client.start("POST", "/", &[("content-length", "10")], false);
    client.data(stream, b"half", false);
    let mut wire = server.accept();
    wire.until("half");
    client.reset(stream);
    assert!(wire.until_closed().is_empty());
    let aborted = || proxy.metric("ringway_listener_downstream_rq_aborted_total", &[]);
    wait_until("three aborted requests", || aborted() >= 3.0);
}

fn the_end_of_a_connection_cancels_its_requests(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Http2::connect(proxy.addr("web"));
    client.start("GET", "/", &[], true);
    client.start("GET", "/", &[], true);
    let (mut one, mut other) = (server.accept(), server.accept());
    one.head();
    other.head();
    drop(client);
    one.until_closed();
    other.until_closed();
}

fn a_body_that_breaks_off_never_looks_whole(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/echo", &[], false);
    client.data(stream, b"half", false);
    let mut wire = server.accept();
    wire.until("4\r\nhalf\r\n");
    client.reset(stream);
    assert!(wire.until_closed().is_empty(), "no last chunk");
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    // A length that the data do not have, either way.
    for body in [&b"abc"[..], b"abcdef"] {
        let stream = client.start("POST", "/len", &[("content-length", "5")], false);
        client.data(stream, body, true);
        let answer = client.answer(stream);
        assert_eq!(
            (answer.status, answer.reset),
            (0, Some(code::PROTOCOL_ERROR))
        );
    }
    assert!(origin.seen().iter().all(|seen| seen.broken.is_some()));
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
         - {{ match: {{ prefix: /slow }}, cluster: slow }}\n      - {{ match: {{ prefix: / }}, cluster: quick }}\n\
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

fn an_empty_body_is_awaited_before_it_goes_on(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let zero = [("content-length", "0")];
    let stream = client.start("POST", "/x", &zero, false);
    client.get("/first");
    client.data(stream, b"", true);
    assert_eq!(client.answer(stream).status, 200);
    let stream = client.start("POST", "/smuggled", &zero, false);
    client.get("/second");
    client.data(stream, b"GET /inner HTTP/1.1\r\nHost: t\r\n\r\n", true);
    assert_eq!(client.answer(stream).reset, Some(code::PROTOCOL_ERROR));
    client.get("/third");
    let targets: Vec<String> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/first", "/x", "/second", "/third"]);
}

/// A GET with these pseudo-fields in place of its own, and these fields.
fn head<'a>(
    instead: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let usual = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "test.example"),
    ];
    let own = |name: &str| instead.iter().find(|(own, _)| *own == name);
    let mut all: Vec<_> = usual
        .into_iter()
        .map(|field| own(field.0).copied().unwrap_or(field))
        .filter(|(_, value)| *value != "none")
        .collect();
    all.extend(more);
    all
}

fn malformed_requests_are_reset_and_counted(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let cases = [
        (head(&[(":path", "*")], &[]), "target_form"),
        (head(&[(":path", "/\"")], &[]), "target_byte"),
        (
            head(&[(":authority", "u@a.test")], &[]),
            "authority_invalid",
        ),
        (head(&[(":authority", "none")], &[]), "host_missing"),
        (head(&[], &[("host", "other")]), "authority_mismatch"),
        (
            head(&[], &[("host", "test.example"), ("host", "test.example")]),
            "host_duplicate",
        ),
        (head(&[(":scheme", "ftp")], &[]), "scheme_invalid"),
        (head(&[], &[("x", " a")]), "field_value_space"),
        (
            head(&[], &[("content_length", "5")]),
            "field_name_ambiguous",
        ),
        (head(&[], &[("\"quoted", "5")]), "field_name_byte"),
        (
            head(&[], &[("content-length", "0"), ("content-length", "0")]),
            "length_duplicate",
        ),
    ];
    let mut client = Http2::connect(proxy.addr("web"));
    for (fields, rule) in &cases {
        let answer = client.head(fields);
        assert_eq!(
            (answer.status, answer.reset),
            (0, Some(code::PROTOCOL_ERROR)),
            "{fields:?}"
        );
        let label = format!("rule=\"{rule}\"");
        assert!(
            proxy.metric("ringway_listener_violation_total", &[&label]) > 0.0,
            "{rule}"
        );
    }
    // What the codec refuses.
    for fields in [
        head(&[(":path", "http://a.test/")], &[]),
        head(&[(":path", "x")], &[]),
        head(&[], &[("X-Upper", "1")]),
        head(&[], &[("connection", "close")]),
        head(&[], &[("transfer-encoding", "chunked")]),
        head(&[], &[("te", "gzip")]),
        head(&[(":method", "none")], &[]),
        head(&[(":path", "none")], &[]),
        head(&[], &[(":path", "/y")]),
        head(&[], &[("x", "1"), (":late", "1")]),
        head(&[], &[("content-length", "5")]),
    ] {
        // Some of these end the connection, since they leave its table of fields unclear.
        let mut client = Http2::connect(proxy.addr("web"));
        let (stream, flags) = (client.new_stream(), END | END_HEADERS);
        let block: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
            .collect();
        client.frame(kind::HEADERS, flags, stream, &block);
        let refused = client.until("a refusal", |client| {
            let reset = client.answers.get(&stream).and_then(|answer| answer.reset);
            reset.or(client.goaways.first().map(|(_, code)| *code))
        });
        assert_eq!(refused, code::PROTOCOL_ERROR, "{fields:?}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn requests_that_are_refused_get_a_status(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let many: Vec<(String, String)> = (0..101)
        .map(|n| (format!("x-{n}"), "1".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let crumbs = vec![("cookie", "a=1"); 101];
    let long = format!("/{}", "a".repeat(17_000));
    let value = "a".repeat(17_000);
    for (fields, status) in [
        (head(&[], &many), 431),
        (head(&[], &many[1..]), 200),
        (head(&[], &crumbs), 431),
        (head(&[], &crumbs[1..]), 200),
        (head(&[(":path", &long)], &[]), 414),
        (head(&[], &[("x-a", &value)]), 431),
        (head(&[], &[("expect", "tea")]), 417),
        (
            vec![(":method", "CONNECT"), (":authority", "a.test:443")],
            405,
        ),
    ] {
        assert_eq!(
            client.head(&fields).status,
            status,
            "{:?}",
            &fields[..4.min(fields.len())]
        );
    }
    assert_eq!(origin.seen().len(), 2);
}

fn a_drain_says_goaway_twice_and_waits_for_streams(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::with(driver)
        .process("drain_delay: 100ms")
        .start(&Site::to(&[origin.addr()]).text());
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("GET", "/hold", &[], true);
    wait_until("a request at the origin", || origin.seen().len() == 1);
    proxy.signal(libc::SIGTERM);
    client.until("the second GOAWAY", |client| {
        (client.goaways.len() == 2).then_some(())
    });
    let no_error = |last: u32| (last, code::NO_ERROR);
    assert_eq!(client.goaways, [no_error(u32::MAX >> 1), no_error(stream)]);
    origin.release();
    assert_eq!(client.answer(stream).text(), "a");
    client.closed();
    assert_eq!(proxy.wait_end(), Some(0));
}

fn an_idle_connection_is_told_to_go_at_a_drain(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::with(driver)
        .process("drain_delay: 100ms")
        .start(&Site::to(&[origin.addr()]).text());
    let mut used = Http2::connect(proxy.addr("web"));
    used.get("/x");
    let mut unused = Http2::connect(proxy.addr("web"));
    proxy.signal(libc::SIGTERM);
    for client in [&mut used, &mut unused] {
        let codes = client.closed();
        assert!(codes.contains(&code::NO_ERROR), "{codes:?}");
    }
    assert_eq!(proxy.wait_end(), Some(0));
}

fn a_reload_that_takes_the_listener_says_goaway(driver: Driver) {
    let origin = Origin::start("a");
    let site = Site::to(&[origin.addr()]).text();
    let proxy = Proxy::start(driver, &site);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("GET", "/hold", &[], true);
    wait_until("a request at the origin", || origin.seen().len() == 1);
    proxy.reload(
        &site
            .replace("name: web", "name: other")
            .replace("127.0.0.1:0", "127.0.0.2:0"),
    );
    client.until("GOAWAY", |client| {
        (!client.goaways.is_empty()).then_some(())
    });
    origin.release();
    assert_eq!(client.answer(stream).text(), "a");
    client.closed();
}

fn access_logs_say_http2(driver: Driver) {
    let origin = Origin::start("a");
    let site = Site::to(&[origin.addr()]);
    let log = "access_log: [{ stdout: true, format: \"%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT% %REQ(:AUTHORITY)%\" }]";
    let proxy = site.listener(log).start(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    client.get("/bytes/1000");
    client.head(&head(&[(":scheme", "ftp")], &[]));
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
