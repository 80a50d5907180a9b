//! Frames of HTTP/2 clients that are wrong, or right and rare: what each is answered with, and that nothing of them stays.

use ringway_tests::hpack;
use ringway_tests::http2::{END, END_HEADERS, PREFACE, code, frame, kind};
use ringway_tests::{Driver, Http2, Proxy, WireServer, both_drivers, wait_until};

use crate::http2::echo;
use crate::http2_limits::limit;

both_drivers! {
    a_preface_without_settings_ends_the_connection,
    frames_of_the_wrong_stream_end_the_connection,
    settings_out_of_range_end_the_connection,
    frames_with_padding_and_priority_are_taken_for_what_they_carry,
    padding_that_is_longer_than_its_frame_ends_the_connection,
    windows_that_overflow_are_refused,
    more_than_a_window_is_refused,
    frames_behind_the_end_of_a_stream_do_no_harm,
    what_a_client_makes_us_reset_counts_as_its_resets,
}

/// `PADDED` and `PRIORITY` of HEADERS and DATA.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// How a connection ends that says hello, and then this: the code of the last GOAWAY.
pub(crate) fn ends(proxy: &Proxy, bytes: impl AsRef<[u8]>) -> Option<u32> {
    let mut client = Http2::connect(proxy.addr("web"));
    let _cut_off = client.try_send(bytes);
    client.closed().last().copied()
}

fn a_preface_without_settings_ends_the_connection(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    let ack = frame(kind::SETTINGS, END, 0, &[]);
    let head = frame(kind::HEADERS, END | END_HEADERS, 1, &request());
    for first in [&ping, &ack, &head] {
        // Beside the preface and behind it.
        let mut together = Http2::raw(proxy.addr("web"));
        together.send([PREFACE, first].concat());
        together.closed();
        let mut apart = Http2::raw(proxy.addr("web"));
        apart.send(PREFACE);
        apart.until("the server's settings", |client| {
            (!client.settings.is_empty()).then_some(())
        });
        let _cut_off = apart.try_send(first);
        apart.closed();
    }
    assert!(origin.seen().is_empty());
}

pub(crate) fn request() -> Vec<u8> {
    hpack::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "test.example"),
    ])
}

fn frames_of_the_wrong_stream_end_the_connection(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let head = request();
    let whole = END | END_HEADERS;
    for (what, bytes) in [
        ("DATA on 0", frame(kind::DATA, 0, 0, b"x")),
        ("HEADERS on 0", frame(kind::HEADERS, whole, 0, &head)),
        (
            "HEADERS on a server's",
            frame(kind::HEADERS, whole, 2, &head),
        ),
        ("PRIORITY on 0", frame(kind::PRIORITY, 0, 0, &[0; 5])),
        ("RST_STREAM on 0", frame(kind::RESET, 0, 0, &[0; 4])),
        (
            "RST_STREAM on an idle one",
            frame(kind::RESET, 0, 9, &[0; 4]),
        ),
        ("SETTINGS on 1", frame(kind::SETTINGS, 0, 1, &[])),
        ("PING on 1", frame(kind::PING, 0, 1, &[0; 8])),
        ("GOAWAY on 1", frame(kind::GOAWAY, 0, 1, &[0; 8])),
        ("CONTINUATION on 0", frame(kind::CONTINUATION, 4, 0, b"")),
        (
            "WINDOW_UPDATE on an idle one",
            frame(kind::WINDOW_UPDATE, 0, 9, &[0, 0, 0, 1]),
        ),
        (
            "WINDOW_UPDATE of nothing",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
        ("PUSH_PROMISE", frame(kind::PUSH, 4, 1, &[0, 0, 0, 2])),
    ] {
        assert_eq!(ends(&proxy, bytes), Some(code::PROTOCOL_ERROR), "{what}");
    }
    assert!(origin.seen().is_empty());
    // A stream that is older than the last.
    let bytes = [
        frame(kind::HEADERS, whole, 7, &head),
        frame(kind::HEADERS, whole, 5, &head),
    ];
    let code = ends(&proxy, bytes.concat());
    assert!(matches!(
        code,
        Some(code::PROTOCOL_ERROR | code::STREAM_CLOSED)
    ));
    // Longer than was said that one may be.
    let long = frame(kind::DATA, 0, 1, &[0; (16 << 10) + 1]);
    let code = ends(
        &proxy,
        [frame(kind::HEADERS, END_HEADERS, 1, &head), long].concat(),
    );
    assert_eq!(code, Some(code::FRAME_SIZE_ERROR));
}

fn settings_out_of_range_end_the_connection(driver: Driver) {
    let (_origin, proxy) = echo(driver);
    let settings = |id: u16, value: u32| {
        let entry = [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
        frame(kind::SETTINGS, 0, 0, &entry)
    };
    for (id, value, code) in [
        (2, 2, code::PROTOCOL_ERROR),
        (4, 1 << 31, code::FLOW_CONTROL_ERROR),
        (5, (16 << 10) - 1, code::PROTOCOL_ERROR),
        (5, 1 << 24, code::PROTOCOL_ERROR),
    ] {
        assert_eq!(
            ends(&proxy, settings(id, value)),
            Some(code),
            "{id}={value}"
        );
    }
    let answer = frame(kind::SETTINGS, END, 0, &[0; 6]);
    assert_eq!(ends(&proxy, answer), Some(code::FRAME_SIZE_ERROR));
    // What nobody knows is ignored, and what is in range taken.
    let mut client = Http2::connect(proxy.addr("web"));
    for (id, value) in [
        (0x55, 1),
        (0, u32::MAX),
        (4, (1 << 31) - 1),
        (5, 1 << 20),
        (3, 0),
        (1, 0),
    ] {
        client.send(settings(id, value));
        assert_eq!(
            client.get("/bytes/100000").body.len(),
            100_000,
            "{id}={value}"
        );
    }
}

fn frames_with_padding_and_priority_are_taken_for_what_they_carry(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.new_stream();
    let post = hpack::block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/echo"),
        (":authority", "test.example"),
        ("content-length", "6"),
    ]);
    // Three bytes of padding, and a priority before the block.
    let block = [&[3, 0, 0, 0, 0, 200][..], &post, &[0; 3]].concat();
    let flags = END_HEADERS | PADDED | PRIORITY;
    client.frame(kind::HEADERS, flags, stream, &block);
    client.frame(
        kind::DATA,
        PADDED,
        stream,
        &[&[255][..], b"abc", &[0; 255]].concat(),
    );
    client.frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 9, 1]);
    client.frame(kind::DATA, PADDED, stream, b"\x00def");
    client.frame(kind::DATA, PADDED | END, stream, b"\x00");
    assert_eq!(client.answer(stream).text(), "abcdef");
    assert_eq!(origin.only().text(), "abcdef");
    // Padding is paid for from windows, and comes back to them: a hundred times more than they hold.
    let padding = [&[255][..], &[7; 3000], &[0; 255]].concat();
    let stream = client.start("POST", "/len", &[], false);
    let mut room = i64::try_from(client.room(stream)).expect("a window");
    let mut sent = 0;
    while sent < 4000 {
        let before = client.room(stream);
        if room < 4000 {
            client.read().expect("a window's update");
            room += i64::try_from(client.room(stream)).expect("a window")
                - i64::try_from(before).expect("a window");
            continue;
        }
        client.frame(kind::DATA, PADDED, stream, &padding);
        room -= i64::try_from(padding.len()).expect("a frame");
        sent += 1;
    }
    client.data(stream, b"", true);
    assert_eq!(client.answer(stream).status, 200);
}

fn padding_that_is_longer_than_its_frame_ends_the_connection(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let begun = frame(kind::HEADERS, END_HEADERS, 1, &request());
    for (what, bytes) in [
        (
            "HEADERS",
            frame(kind::HEADERS, END | END_HEADERS | PADDED, 1, &[9, 0, 0]),
        ),
        (
            "DATA",
            [begun.clone(), frame(kind::DATA, PADDED, 1, &[3, 0, 0])].concat(),
        ),
        (
            "nothing at all",
            [begun, frame(kind::DATA, PADDED, 1, &[])].concat(),
        ),
    ] {
        let code = ends(&proxy, bytes);
        assert!(
            matches!(code, Some(code::PROTOCOL_ERROR | code::FRAME_SIZE_ERROR)),
            "{what}: {code:?}"
        );
    }
    assert!(origin.seen().iter().all(|seen| seen.broken.is_some()));
}

fn windows_that_overflow_are_refused(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let most = &[0x7f, 0xff, 0xff, 0xff];
    let code = ends(&proxy, frame(kind::WINDOW_UPDATE, 0, 0, most));
    assert_eq!(code, Some(code::FLOW_CONTROL_ERROR));
    // Of one stream: only that.
    let mut client = Http2::connect(proxy.addr("web"));
    let held = client.start("GET", "/hold", &[], true);
    wait_until("it is under way", || origin.seen().len() == 1);
    client.frame(kind::WINDOW_UPDATE, 0, held, most);
    assert_eq!(client.answer(held).reset, Some(code::FLOW_CONTROL_ERROR));
    assert_eq!(client.get("/x").status, 200);
    let held = client.start("GET", "/hold", &[], true);
    client.frame(kind::WINDOW_UPDATE, 0, held, &[0; 4]);
    assert_eq!(client.answer(held).reset, Some(code::PROTOCOL_ERROR));
    assert_eq!(client.get("/x").status, 200);
    // By SETTINGS that make all of them larger.
    let mut client = Http2::connect(proxy.addr("web"));
    let held = client.start("GET", "/hold", &[], true);
    client.open(held, (1 << 31) - 1 - 65_535);
    client.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    let codes = client.closed();
    assert_eq!(codes.last(), Some(&code::FLOW_CONTROL_ERROR), "{codes:?}");
}

fn more_than_a_window_is_refused(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver).start(&format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, http2: {{ stream_window: 16KiB, stream_window_max: 16KiB }}, routes: [{{ match: {{ prefix: / }}, cluster: up }}] }}\n\
         clusters:\n  - {{ name: up, endpoints: [\"{}\"] }}\n",
        server.addr()
    ));
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/", &[("content-length", "60000000")], false);
    let mut wire = server.accept();
    wire.head();
    // An upstream that reads no more does not open it; and who sends on all the same is refused, whatever it has sent before.
    let part = [7; 16 << 10];
    let mut last = None;
    for _ in 0..4000 {
        if client
            .try_send(frame(kind::DATA, 0, stream, &part))
            .is_err()
        {
            break;
        }
    }
    while let Ok(frame) = client.read() {
        if frame.kind == kind::RESET {
            last = client.answers[&stream].reset;
            break;
        }
    }
    let code = last.or(client.goaways.last().map(|(_, code)| *code));
    assert_eq!(code, Some(code::FLOW_CONTROL_ERROR));
}

fn frames_behind_the_end_of_a_stream_do_no_harm(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("GET", "/x", &[], true);
    assert_eq!(client.answer(stream).status, 200);
    // RFC 9113 §5.1: what may still have been under way.
    client.frame(kind::WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]);
    client.frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 9, 1]);
    client.reset(stream);
    assert_eq!(client.get("/y").status, 200);
    // And what was under way when we reset it.
    let stream = client.start("POST", "/x", &[("content-length", "2")], false);
    client.data(stream, b"more than that", false);
    assert_eq!(client.answer(stream).reset, Some(code::PROTOCOL_ERROR));
    client.frame(kind::DATA, 0, stream, b"late");
    client.frame(kind::WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]);
    assert_eq!(client.get("/z").status, 200);
    let whole = origin
        .seen()
        .into_iter()
        .filter(|seen| seen.broken.is_none());
    assert_eq!(whole.count(), 3);
}

/// MadeYouReset (CVE-2025-8671): each stream is begun, and then something is said that we have to reset it for.
fn what_a_client_makes_us_reset_counts_as_its_resets(driver: Driver) {
    type Then = fn(u32) -> Vec<u8>;
    let ways: [(&str, Then); 2] = [
        ("a window that overflows", |stream| {
            frame(kind::WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])
        }),
        ("more than its length", |stream| {
            frame(kind::DATA, END, stream, b"more than two")
        }),
    ];
    for (what, then) in ways {
        let server = WireServer::bind();
        let config = ringway_tests::Site::to(&[server.addr()]);
        let proxy = config
            .listener("http2: { concurrent_streams: 8, resets_window: 40 }")
            .start(driver);
        let mut client = Http2::connect(proxy.addr("web"));
        let active = || proxy.metric("ringway_cluster_upstream_rq_active", &[]);
        let mut sent = 0;
        for _ in 0..400 {
            let length = [("content-length", "2")];
            let (stream, bytes) = client.request("POST", "/", &length, false);
            if client.try_send([bytes, then(stream)].concat()).is_err() {
                break;
            }
            sent += 1;
            if sent % 20 == 0 {
                assert!(active() <= 8.0, "{what}");
            }
        }
        assert!(client.closed().contains(&code::CALM), "{what}");
        wait_until("it is counted", || {
            limit(&proxy, "http2_resets") + limit(&proxy, "http2_codec") > 0.0
        });
        wait_until("nothing is in flight", || active() == 0.0);
    }
}
