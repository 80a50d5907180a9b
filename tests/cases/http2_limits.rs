//! What an HTTP/2 client may do, and where it ends: each limit at its value and beyond, and each kind of abuse.

use std::time::Duration;

use ringway_tests::http2::{END, END_HEADERS, code, frame, kind};
use ringway_tests::{
    Driver, Http2, Origin, Proxy, Site, WireServer, both_drivers, hpack, wait_equal, wait_until,
};

both_drivers! {
    so_many_streams_at_once_and_one_more_is_refused,
    requests_in_flight_never_exceed_what_was_announced,
    a_client_that_resets_most_streams_is_closed,
    a_client_that_resets_some_streams_is_not,
    useless_frames_are_bounded,
    useful_work_pays_for_frames,
    empty_data_is_bounded,
    broken_streams_are_bounded,
    wrong_frames_end_the_connection_by_their_name,
    fields_have_limits,
    a_body_of_the_limit_passes_and_one_byte_more_is_413,
    a_preface_that_takes_too_long_is_closed,
    a_head_that_takes_too_long_is_closed,
    a_body_slower_than_the_rate_is_cut,
    a_stream_that_nobody_reads_is_cut,
    a_connection_that_takes_nothing_is_cut,
    an_idle_connection_is_closed,
    an_old_connection_takes_no_new_requests,
    a_client_that_is_gone_is_found_by_a_ping,
    the_last_request_of_a_connection_says_goaway,
}

pub(crate) fn limited(driver: Driver, http2: &str, limits: &str) -> (Origin, Proxy) {
    let origin = Origin::start("a");
    let site = Site::to(&[origin.addr()]).listener(&format!("http2: {{ {http2} }}"));
    let proxy = site.limits(limits).start(driver);
    (origin, proxy)
}

pub(crate) fn limit(proxy: &Proxy, name: &str) -> f64 {
    let label = format!("limit=\"{name}\"");
    proxy.metric("ringway_listener_limit_total", &[&label])
}

fn so_many_streams_at_once_and_one_more_is_refused(driver: Driver) {
    let (origin, proxy) = limited(driver, "concurrent_streams: 3", "");
    let mut client = Http2::connect(proxy.addr("web"));
    assert_eq!(client.settings.get(&3), Some(&3));
    let held: Vec<u32> = (0..3)
        .map(|_| client.start("GET", "/hold", &[], true))
        .collect();
    let more = client.start("GET", "/hold", &[], true);
    assert_eq!(client.answer(more).reset, Some(code::REFUSED_STREAM));
    origin.release();
    for stream in held {
        assert_eq!(client.answer(stream).status, 200);
    }
    assert_eq!(client.get("/x").status, 200);
}

/// An upstream that never answers has no more of them at once than the connection may have streams.
fn requests_in_flight_never_exceed_what_was_announced(driver: Driver) {
    let server = WireServer::bind();
    let site = Site::to(&[server.addr()]);
    let proxy = site
        .listener("http2: { concurrent_streams: 4, resets_window: 1000 }")
        .start(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let active = || proxy.metric("ringway_cluster_upstream_rq_active", &[]);
    for _ in 0..20 {
        let mut burst = Vec::new();
        for _ in 0..4 {
            let (stream, bytes) = client.request("GET", "/", &[], true);
            burst.extend(bytes);
            burst.extend(frame(kind::RESET, 0, stream, &code::CANCEL.to_be_bytes()));
        }
        client.send(burst);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(client.start("GET", "/", &[], true));
        }
        assert!(active() <= 4.0);
        held.into_iter().for_each(|stream| client.reset(stream));
    }
    wait_until("no request in flight", || active() == 0.0);
}

fn a_client_that_resets_most_streams_is_closed(driver: Driver) {
    let (_origin, proxy) = limited(driver, "resets_window: 20", "");
    let mut client = Http2::connect(proxy.addr("web"));
    for _ in 0..100 {
        let (stream, bytes) = client.request("GET", "/hold", &[], true);
        let reset = frame(kind::RESET, 0, stream, &code::CANCEL.to_be_bytes());
        if client.try_send(bytes).is_err() || client.try_send(reset).is_err() {
            break;
        }
    }
    assert!(client.closed().contains(&code::CALM));
    wait_until("it is counted", || {
        limit(&proxy, "http2_resets") + limit(&proxy, "http2_codec") > 0.0
    });
}

fn a_client_that_resets_some_streams_is_not(driver: Driver) {
    let (origin, proxy) = limited(driver, "resets_window: 20", "");
    let mut client = Http2::connect(proxy.addr("web"));
    for round in 0..50 {
        let stream = client.start("GET", "/hold", &[], true);
        wait_until("it is in flight", || origin.seen().len() > 2 * round);
        client.reset(stream);
        assert_eq!(client.get("/x").status, 200);
    }
    assert_eq!(limit(&proxy, "http2_resets"), 0.0);
}

/// Floods a connection with a frame, and says how it ended.
fn flood(proxy: &Proxy, count: usize, one: &[u8]) -> Vec<u32> {
    let mut client = Http2::connect(proxy.addr("web"));
    client.polite = false;
    let _cut_off = client.try_send(one.repeat(count));
    client.closed()
}

fn useless_frames_are_bounded(driver: Driver) {
    let (_origin, proxy) = limited(driver, "control_frames: 50", "");
    for (name, one) in [
        ("ping", frame(kind::PING, 0, 0, &[0; 8])),
        ("settings", frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0])),
        (
            "window_update",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ),
        ("priority", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("unknown", frame(0x55, 0, 0, &[0; 8])),
    ] {
        assert!(flood(&proxy, 60, &one).contains(&code::CALM), "{name}");
        let label = format!("kind=\"{name}\"");
        wait_until(name, || {
            proxy.metric("ringway_listener_http2_frames_total", &[&label]) >= 49.0
        });
    }
    wait_equal(5.0, || limit(&proxy, "http2_control_frames"));
}

fn useful_work_pays_for_frames(driver: Driver) {
    let (_origin, proxy) = limited(driver, "control_frames: 50", "");
    let mut client = Http2::connect(proxy.addr("web"));
    // Two window updates for each part of an answer, and a reset, a priority and two PINGs beside each request.
    for _ in 0..5 {
        assert_eq!(client.get("/bytes/1000000").body.len(), 1_000_000);
    }
    for _ in 0..100 {
        client.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]);
        client.frame(kind::PING, 0, 0, &[0; 8]);
        assert_eq!(client.get("/x").status, 200);
    }
    assert_eq!(limit(&proxy, "http2_control_frames"), 0.0);
}

fn empty_data_is_bounded(driver: Driver) {
    let (_origin, proxy) = limited(driver, "empty_frames: 10", "");
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/echo", &[], false);
    for _ in 0..10 {
        client.data(stream, b"", false);
    }
    client.data(stream, b"x", false);
    for _ in 0..10 {
        client.data(stream, b"", false);
    }
    client.data(stream, b"", true);
    assert_eq!(client.answer(stream).text(), "x");
    let stream = client.start("POST", "/echo", &[], false);
    for _ in 0..11 {
        client.data(stream, b"", false);
    }
    assert!(client.closed().contains(&code::CALM));
    wait_equal(1.0, || limit(&proxy, "http2_empty_frames"));
}

fn broken_streams_are_bounded(driver: Driver) {
    let (_origin, proxy) = limited(driver, "stream_errors: 10", "");
    let mut client = Http2::connect(proxy.addr("web"));
    let bad = hpack::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("te", "x"),
    ]);
    for _ in 0..12 {
        let stream = client.new_stream();
        if client
            .try_send(frame(kind::HEADERS, END | END_HEADERS, stream, &bad))
            .is_err()
        {
            break;
        }
    }
    assert!(client.closed().contains(&code::CALM));
    wait_until("it is counted", || limit(&proxy, "http2_codec") == 1.0);
}

fn wrong_frames_end_the_connection_by_their_name(driver: Driver) {
    let (_origin, proxy) = limited(driver, "", "");
    let mut errors = 0.0;
    for (frames, expect) in [
        (frame(kind::PING, 0, 0, &[0; 7]), code::FRAME_SIZE_ERROR),
        (frame(kind::SETTINGS, 0, 0, &[0; 5]), code::FRAME_SIZE_ERROR),
        (
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]),
            code::FRAME_SIZE_ERROR,
        ),
        (
            frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            code::FLOW_CONTROL_ERROR,
        ),
        (frame(kind::PUSH, 4, 1, &[0; 4]), code::PROTOCOL_ERROR),
        (frame(kind::DATA, 0, 7, b"x"), code::PROTOCOL_ERROR),
        (frame(kind::CONTINUATION, 4, 1, b""), code::PROTOCOL_ERROR),
    ] {
        let codes = flood(&proxy, 1, &frames);
        assert_eq!(codes.last(), Some(&expect), "{frames:?}");
        errors += 1.0;
    }
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("GET", "/hold", &[], true);
    client.frame(kind::DATA, 0, stream, b"x");
    assert_eq!(client.closed().last(), Some(&code::STREAM_CLOSED));
    errors += 1.0;
    wait_equal(errors, || {
        proxy.metric("ringway_listener_http2_cx_errors_total", &[])
    });
}

fn fields_have_limits(driver: Driver) {
    let (_origin, proxy) = limited(
        driver,
        "cookie_pieces: 3, header_list: 2KiB",
        "fields: 5, field: 1KiB, request_line: 300B",
    );
    let path = |length: usize| format!("/{}", "p".repeat(length - 1));
    let (fits, long) = (path(300), path(301));
    let value = |length: usize| "v".repeat(length - 1);
    let (field_fits, field_long) = (value(1024), value(1025));
    let cookies = |count: usize| vec![("cookie", "a"); count];
    let some = |count: usize| vec![("x", "1"); count];
    let two = value(1000);
    let mut client = Http2::connect(proxy.addr("web"));
    for (path, fields, status) in [
        ("/", some(5), 200),
        ("/", some(6), 431),
        ("/", cookies(3), 200),
        ("/", cookies(4), 431),
        (fits.as_str(), some(0), 200),
        (long.as_str(), some(0), 414),
        ("/", vec![("x", field_fits.as_str())], 200),
        ("/", vec![("x", field_long.as_str())], 431),
        ("/", vec![("x", two.as_str()), ("y", two.as_str())], 431),
    ] {
        let stream = client.start("GET", path, &fields, true);
        assert_eq!(
            client.answer(stream).status,
            status,
            "{} {}",
            path.len(),
            fields.len()
        );
    }
}

fn a_body_of_the_limit_passes_and_one_byte_more_is_413(driver: Driver) {
    let (_origin, proxy) = limited(driver, "", "body: 1000B");
    let mut client = Http2::connect(proxy.addr("web"));
    for (size, status) in [(1000, 200), (1001, 413), (5000, 413)] {
        assert_eq!(
            client.post("/echo", &vec![7; size]).status,
            status,
            "{size}"
        );
    }
    let stream = client.start("POST", "/echo", &[("content-length", "1001")], false);
    assert_eq!(client.answer(stream).status, 413);
    wait_equal(3.0, || limit(&proxy, "body_too_large"));
}

fn a_preface_that_takes_too_long_is_closed(driver: Driver) {
    let (_origin, proxy) = limited(driver, "", "header_timeout: 200ms");
    let mut client = Http2::raw(proxy.addr("web"));
    client.send("PRI * HTTP/2.0\r\n");
    client.closed();
    let origin = Origin::start("a");
    let site = Site::to(&[origin.addr()]).listener("protocol: http2");
    let only = site.limits("header_timeout: 200ms").start(driver);
    let mut client = Http2::raw(only.addr("web"));
    client.polite = false;
    client.closed();
    for proxy in [&proxy, &only] {
        wait_equal(1.0, || limit(proxy, "header_timeout"));
    }
}

fn a_head_that_takes_too_long_is_closed(driver: Driver) {
    let (_origin, proxy) = limited(driver, "", "header_timeout: 200ms");
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.new_stream();
    let block = hpack::block(&[(":method", "GET")]);
    client.frame(kind::HEADERS, END, stream, &block);
    assert!(client.closed().contains(&code::CALM));
    wait_equal(1.0, || limit(&proxy, "header_timeout"));
}

const SLOW: &str = "body_rate: 1KiB, body_rate_grace: 200ms";

fn a_body_slower_than_the_rate_is_cut(driver: Driver) {
    let (_origin, proxy) = limited(driver, "", SLOW);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/echo", &[], false);
    client.data(stream, b"x", false);
    let answer = client.answer(stream);
    assert_eq!(answer.status, 408);
    wait_equal(1.0, || limit(&proxy, "body_too_slow"));
    assert_eq!(client.get("/x").status, 200, "the connection goes on");
}

fn a_stream_that_nobody_reads_is_cut(driver: Driver) {
    let (_origin, proxy) = limited(driver, "", SLOW);
    let mut client = Http2::connect_with(proxy.addr("web"), &[(4, 0)]);
    let stream = client.start("GET", "/bytes/1000", &[], true);
    let answer = client.answer(stream);
    assert!(
        !answer.ended && answer.reset == Some(code::INTERNAL_ERROR),
        "{answer:?}"
    );
    wait_equal(1.0, || limit(&proxy, "body_too_slow"));
    let stream = client.start("HEAD", "/x", &[], true);
    assert_eq!(client.answer(stream).status, 200, "the connection goes on");
}

fn a_connection_that_takes_nothing_is_cut(driver: Driver) {
    let (_origin, proxy) = limited(driver, "send_buffer: 16KiB", SLOW);
    let large = (1 << 31) - 1;
    let mut client = Http2::connect_with(proxy.addr("web"), &[(4, large)]);
    client.open(0, large - 65_535);
    for _ in 0..10 {
        client.start("GET", "/bytes/10000000", &[], true);
    }
    // Nothing is read: sockets fill, then buffers.
    wait_until("the connection is cut", || {
        proxy.metric("ringway_listener_downstream_cx_active", &[]) == 0.0
    });
    wait_until("it is counted", || limit(&proxy, "body_too_slow") >= 1.0);
}

fn an_idle_connection_is_closed(driver: Driver) {
    let (origin, proxy) = limited(driver, "", "idle_timeout: 1s");
    let mut used = Http2::connect(proxy.addr("web"));
    used.until("the connection's window", |client| {
        (client.room(0) > 65_535).then_some(())
    });
    let stream = used.start("GET", "/hold", &[], true);
    let mut unused = Http2::connect(proxy.addr("web"));
    assert_eq!(unused.closed(), [code::NO_ERROR]);
    used.silence(Duration::from_millis(100));
    origin.release();
    assert_eq!(used.answer(stream).status, 200);
    assert_eq!(used.closed(), [code::NO_ERROR]);
    wait_equal(2.0, || limit(&proxy, "idle_timeout"));
}

fn an_old_connection_takes_no_new_requests(driver: Driver) {
    let (origin, proxy) = limited(driver, "max_age: 1s", "");
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("GET", "/hold", &[], true);
    client.until("GOAWAY", |client| (client.goaways.len() == 2).then_some(()));
    origin.release();
    assert_eq!(client.answer(stream).status, 200);
    client.closed();
    wait_equal(1.0, || limit(&proxy, "http2_max_age"));
}

fn a_client_that_is_gone_is_found_by_a_ping(driver: Driver) {
    let keys = "keep_alive: 100ms, keep_alive_timeout: 2s";
    let (origin, proxy) = limited(driver, keys, "");
    let pinged = |client: &mut Http2| while client.read().unwrap().kind != kind::PING {};
    let mut there = Http2::connect(proxy.addr("web"));
    let held = there.start("GET", "/hold", &[], true);
    (0..5).for_each(|_| pinged(&mut there));
    assert_eq!(limit(&proxy, "http2_keep_alive"), 0.0);
    let mut gone = Http2::connect(proxy.addr("web"));
    gone.polite = false;
    gone.start("GET", "/hold", &[], true);
    pinged(&mut gone);
    // The other one goes on answering meanwhile.
    wait_until("the one that does not answer is found", || {
        pinged(&mut there);
        limit(&proxy, "http2_keep_alive") == 1.0
    });
    gone.closed();
    origin.release();
    assert_eq!(there.answer(held).status, 200);
}

fn the_last_request_of_a_connection_says_goaway(driver: Driver) {
    let (_origin, proxy) = limited(driver, "", "requests_per_connection: 3");
    let mut client = Http2::connect(proxy.addr("web"));
    for _ in 0..3 {
        assert_eq!(client.get("/x").status, 200);
    }
    assert!(client.closed().contains(&code::NO_ERROR));
    wait_equal(1.0, || limit(&proxy, "requests_per_connection"));
}
