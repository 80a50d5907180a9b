//! Requests of HTTP/1 clients to HTTP/2 upstreams: what becomes of heads, bodies, trailers and broken answers.

use ringway_tests::frames::{END_STREAM, frame, headers, kind};
use ringway_tests::{
    Broken, Driver, Frames, H2Origin, H2Setup, Origin, Proxy, WireServer, both_drivers, pattern,
    wait_equal, wait_until,
};

both_drivers! {
    a_head_is_said_in_http2,
    bodies_pass_whole_both_ways,
    trailers_pass_both_ways,
    interim_answers_pass,
    answers_without_a_body_have_none,
    an_early_answer_is_whole,
    a_broken_answer_never_looks_whole,
    an_answer_that_was_ended_outlives_its_reset,
    a_client_that_leaves_resets_its_stream,
    a_reset_before_the_answer_is_a_fault_or_another_try,
    a_refused_stream_is_tried_again_whatever_it_was,
    same_as_client_speaks_http1_for_http1,
    what_breaks_http2_is_a_502,
    a_pseudo_field_in_trailers_goes_no_further,
    a_slow_reader_slows_its_sender,
    http10_clients_are_served,
}

/// A site of one cluster that speaks HTTP/2, on one core.
pub(crate) fn site2(addrs: &[std::net::SocketAddr], cluster: &str, route: &str) -> String {
    let addrs: Vec<String> = addrs.iter().map(|addr| format!("\"{addr}\"")).collect();
    format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, cluster: up{route} }}] }}\n\
         clusters:\n  - {{ name: up, protocol: http2, endpoints: [{}]{cluster} }}\n",
        addrs.join(", ")
    )
}

pub(crate) fn one_core(driver: Driver, config: &str) -> Proxy {
    Proxy::with(driver).process("cores: 1").start(config)
}

fn start(driver: Driver, origin: &H2Origin) -> Proxy {
    one_core(driver, &site2(&[origin.addr()], "", ""))
}

fn a_head_is_said_in_http2(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    let answer = client.ask(
        "GET /who?q=1 HTTP/1.1\r\nHost: Who.example:81\r\nX-Mixed-Case: Yes\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\
         TE: trailers, deflate\r\nKeep-Alive: timeout=5\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "two"));
    let seen = origin.nth(1);
    let uri = seen.head.uri();
    assert_eq!(uri.scheme_str(), Some("http"));
    assert_eq!(
        uri.authority().map(|it| it.as_str()),
        Some("Who.example:81")
    );
    assert_eq!(uri.path_and_query().map(|it| it.as_str()), Some("/who?q=1"));
    assert_eq!(seen.get("x-mixed-case"), Some("Yes"));
    assert_eq!(seen.get("te"), Some("trailers"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));
    for gone in [
        "connection",
        "host",
        "keep-alive",
        "x-hop",
        "transfer-encoding",
    ] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert_eq!(seen.head.headers().get_all("cookie").iter().count(), 2);
}

fn bodies_pass_whole_both_ways(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    for size in [0, 1, 16_384, 16_385, 300_000, 3_000_000] {
        for path in ["bytes", "data"] {
            let answer = client.get(&format!("/{path}/{size}"));
            assert_eq!(answer.status, 200);
            assert!(answer.body == pattern::bytes(size), "{path} {size}");
        }
        let body = pattern::bytes(size);
        // Answered while it is sent, such a body may cost its connection.
        let mut client = proxy.client();
        let mut sender = client.again();
        let head = format!("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n");
        let sent = body.clone();
        let sending = std::thread::spawn(move || {
            sender.send(head).send(&sent);
        });
        let answer = client.read("POST");
        sending.join().unwrap();
        assert!(answer.body == body, "echo of {size}: {}", answer.body.len());
    }
    let mut client = proxy.client();
    let chunks = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunks).text(), "abcde");
    assert_eq!(origin.connections(), 1);
}

fn trailers_pass_both_ways(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    let answer = client.ask("GET /trailers HTTP/1.1\r\nHost: t\r\nTE: trailers\r\n\r\n");
    assert_eq!(
        answer.trailers,
        [
            ("x-sum".to_owned(), "10".to_owned()),
            ("x-two".to_owned(), "2".to_owned())
        ]
    );
    let answer = client.ask(
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n",
    );
    assert_eq!(answer.text(), "abc");
    assert_eq!(answer.trailers, [("x-end".to_owned(), "yes".to_owned())]);
    let trailers = origin.nth(2).trailers.unwrap();
    assert_eq!(trailers.get("x-end").unwrap(), "yes");
}

fn interim_answers_pass(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    let answer = client.get("/hints");
    assert_eq!((answer.status, answer.interim.len()), (200, 1));
    assert_eq!(answer.interim[0].get("link"), Some("</a>"));
    let mut client = proxy.client();
    client.send(
        "POST /bytes/2 HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    // The origin does not say it, and has no need to: the body is asked for when it has had its time.
    assert!(client.try_head().unwrap().start.starts_with("HTTP/1.1 100"));
    assert_eq!(client.send("ab").read("POST").body.len(), 2);
}

fn answers_without_a_body_have_none(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    let answer = client.ask("HEAD /bytes/1234 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(answer.get("content-length"), Some("1234"));
    for status in [204, 304, 404] {
        let answer = client.get(&format!("/status/{status}"));
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    assert_eq!(client.get("/").text(), "two", "the connection is in step");
}

fn an_early_answer_is_whole(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    client.send("POST /early HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\nstart");
    assert_eq!(client.read("POST").text(), "early");
}

fn a_broken_answer_never_looks_whole(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    client.send("GET /cut/100000 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.try_read("GET").unwrap_err(), Broken::Truncated);
    wait_equal(1.0, || {
        proxy.metric("ringway_cluster_body_truncated_total", &[])
    });
    assert_eq!(proxy.client().get("/").text(), "two", "other streams go on");
    assert_eq!(origin.connections(), 1);
}

/// RFC 9113 §8.1: a server ends its answer and then tells with NO_ERROR that it wants no more of the request. One that tells without
/// having ended it has cut it off.
fn an_answer_that_was_ended_outlives_its_reset(driver: Driver) {
    let wire = WireServer::bind();
    let proxy = one_core(driver, &site2(&[wire.addr()], "", ""));
    let mut client = proxy.client();
    let post = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc";
    client.send(post);
    let mut peer = Frames::server(wire.accept(), &[]);
    for (ends, apart) in [(true, true), (true, false), (false, true), (false, false)] {
        let stream = peer.request();
        peer.await_kind(kind::DATA);
        let flags = if ends { END_STREAM } else { 0 };
        let answer = [
            headers(stream, 0, &[(":status", "200")]),
            frame(kind::DATA, flags, stream, b"answer"),
        ];
        let reset = frame(kind::RST_STREAM, 0, stream, &0_u32.to_be_bytes());
        if apart {
            peer.send(answer.concat());
            peer.send(&reset);
        } else {
            peer.send([answer.concat(), reset].concat());
        }
        let got = client.try_read("POST");
        match ends {
            true => assert_eq!(got.map(|answer| answer.text()), Ok("answer".to_owned())),
            false => assert_eq!(got.unwrap_err(), Broken::Truncated, "{apart}"),
        }
        client = proxy.client();
        client.send(post);
    }
}

fn a_client_that_leaves_resets_its_stream(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    for (count, path) in [(1, "/hold"), (2, "/stream")] {
        let mut client = proxy.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        wait_until("the request is there", || origin.begun() == count);
        if path == "/stream" {
            client.take(1000);
        }
        drop(client);
        wait_until("the stream is reset", || origin.active() == 0);
    }
    let mut client = proxy.client();
    client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
    wait_until("the request is there", || origin.begun() == 3);
    drop(client);
    wait_until("the stream is reset", || origin.active() == 0);
    let resets: Vec<_> = origin.seen().iter().filter_map(|it| it.reset).collect();
    assert_eq!(resets, [h2::Reason::CANCEL; 3]);
    assert_eq!(origin.connections(), 1);
}

fn a_reset_before_the_answer_is_a_fault_or_another_try(driver: Driver) {
    let (bad, good) = (H2Origin::start("bad"), H2Origin::start("good"));
    let proxy = start(driver, &bad);
    let answer = proxy.client().get("/reset/internal");
    assert_eq!(answer.status, 502);
    drop(proxy);
    let broken = H2Setup::new("broken")
        .resets(h2::Reason::INTERNAL_ERROR)
        .start();
    let proxy = one_core(driver, &site2(&[broken.addr(), good.addr()], "", ""));
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "good");
    }
    // It may have been processed, and is not to be twice.
    let statuses: Vec<_> = (0..4).map(|_| client.post("/", "a").status).collect();
    assert!(
        statuses.contains(&502) && statuses.contains(&200),
        "{statuses:?}"
    );
    drop(proxy);
    let refusing = H2Setup::new("refusing")
        .resets(h2::Reason::REFUSED_STREAM)
        .start();
    let proxy = one_core(driver, &site2(&[refusing.addr(), good.addr()], "", ""));
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(client.post("/", "a").text(), "good");
    }
}

fn a_refused_stream_is_tried_again_whatever_it_was(driver: Driver) {
    let wire = WireServer::bind();
    let proxy = one_core(
        driver,
        &site2(&[wire.addr()], "", ", retry: { retries: 0 }"),
    );
    let asking = std::thread::spawn({
        let mut client = proxy.client();
        move || client.post("/", "body").text()
    });
    let mut peer = Frames::server(wire.accept(), &[]);
    let stream = peer.request();
    peer.send(frame(kind::RST_STREAM, 0, stream, &7_u32.to_be_bytes()));
    // The only host there is: the same connection may be asked again.
    let stream = peer.request();
    let body = peer.await_kind(kind::DATA);
    assert_eq!(
        (body.stream, body.payload.as_slice()),
        (stream, &b"body"[..])
    );
    peer.send(headers(stream, 0, &[(":status", "200")]));
    peer.send(frame(kind::DATA, END_STREAM, stream, b"done"));
    assert_eq!(asking.join().unwrap(), "done");
    wait_equal(1.0, || {
        proxy.metric("ringway_cluster_upstream_rq_refused_total", &[])
    });
}

fn same_as_client_speaks_http1_for_http1(driver: Driver) {
    let origin = Origin::start("one");
    let config = site2(&[origin.addr()], "", "").replace("http2", "same_as_client");
    let proxy = one_core(driver, &config);
    assert_eq!(proxy.client().get("/").text(), "one");
}

fn what_breaks_http2_is_a_502(driver: Driver) {
    let wire = WireServer::bind();
    let proxy = one_core(
        driver,
        &site2(
            &[wire.addr()],
            ", pool: { max_requests: 1 }",
            ", retry: { retries: 0 }",
        ),
    );
    let ok = (":status", "200");
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("no status", &[("a", "b")]),
        ("a status twice", &[ok, ok]),
        ("a status that is none", &[(":status", "20")]),
        ("a status beyond 599", &[(":status", "777")]),
        ("a pseudo-field at the end", &[("a", "b"), ok]),
        ("upper case", &[ok, ("Bad", "1")]),
        ("a quote in a name", &[ok, ("\"bad", "1")]),
        ("a field of a connection", &[ok, ("connection", "close")]),
        ("a coding", &[ok, ("transfer-encoding", "chunked")]),
        ("a line end", &[ok, ("a", "b\r\nc: d")]),
        ("a NUL", &[ok, ("a", "b\0c")]),
        (
            "two lengths",
            &[ok, ("content-length", "2"), ("content-length", "2")],
        ),
        ("a length that is none", &[ok, ("content-length", "+2")]),
        ("101", &[(":status", "101")]),
    ];
    for (what, list) in cases {
        let asking = std::thread::spawn({
            let mut client = proxy.client();
            move || client.get("/").status
        });
        let mut server = Frames::server(wire.accept(), &[]);
        let stream = server.request();
        server.send(headers(stream, 0, list));
        server.send(frame(kind::DATA, END_STREAM, stream, b"ab"));
        assert_eq!(asking.join().unwrap(), 502, "{what}");
    }
    for (what, length, data) in [("too short", "5", "ab"), ("too long", "1", "ab")] {
        let asking = std::thread::spawn({
            let mut client = proxy.client();
            move || {
                client
                    .send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                    .try_read("GET")
            }
        });
        let mut server = Frames::server(wire.accept(), &[]);
        let stream = server.request();
        server.send(headers(stream, 0, &[ok, ("content-length", length)]));
        server.send(frame(kind::DATA, END_STREAM, stream, data.as_bytes()));
        let outcome = asking.join().unwrap();
        let bad = outcome.as_ref().map_or(true, |answer| answer.status == 502);
        assert!(bad, "{what}: {outcome:?}");
    }
    wait_equal((cases.len() + 2) as f64, || {
        proxy.metric("ringway_cluster_protocol_error_total", &[])
    });
}

fn a_pseudo_field_in_trailers_goes_no_further(driver: Driver) {
    let wire = WireServer::bind();
    let proxy = one_core(driver, &site2(&[wire.addr()], "", ""));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nTE: trailers\r\n\r\n");
    let mut server = Frames::server(wire.accept(), &[]);
    let stream = server.request();
    server.send(headers(stream, 0, &[(":status", "200")]));
    server.send(frame(kind::DATA, 0, stream, b"ab"));
    let trailers = [(":status", "500"), ("x-sum", "2")];
    server.send(headers(stream, END_STREAM, &trailers));
    let answer = client.read("GET");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ab"));
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "2".to_owned())]);
}

fn a_slow_reader_slows_its_sender(driver: Driver) {
    let origin = H2Origin::start("two");
    let proxy = start(driver, &origin);
    let mut slow = proxy.client();
    slow.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    slow.take(1000);
    // Nothing is read any more, and others are served all the same.
    let mut quick = proxy.client();
    for _ in 0..3 {
        assert_eq!(quick.get("/data/3000000").body.len(), 3_000_000);
    }
    assert_eq!(origin.connections(), 1);
    origin.release();
}

fn http10_clients_are_served(driver: Driver) {
    let origin = H2Setup::new("two").start();
    let proxy = start(driver, &origin);
    let mut client = proxy.client();
    client.send("GET /data/70000 HTTP/1.0\r\n\r\n");
    let (bytes, end) = client.rest();
    assert_eq!(end, Ok(()));
    assert!(bytes.ends_with(&pattern::bytes(70_000)));
    let mut client = proxy.client();
    client.send("GET /hints HTTP/1.0\r\nHost: old\r\n\r\n");
    let (bytes, _) = client.rest();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("two"),
        "{text}"
    );
}
