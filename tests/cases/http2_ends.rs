//! The ends of streams and connections of HTTP/2 clients: in order, broken off, and by who leaves.

use ringway_tests::http2::code;
use ringway_tests::{Driver, Http2, Origin, Proxy, Site, WireServer, both_drivers, wait_until};

use crate::http2::echo;

both_drivers! {
    an_early_answer_is_whole_and_ends_the_stream,
    an_answer_that_breaks_off_is_reset,
    a_reset_cancels_the_request_at_once,
    the_end_of_a_connection_cancels_its_requests,
    a_body_that_breaks_off_never_looks_whole,
    a_drain_says_goaway_twice_and_waits_for_streams,
    an_idle_connection_is_told_to_go_at_a_drain,
    a_reload_that_takes_the_listener_says_goaway,
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
