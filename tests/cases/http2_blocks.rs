//! Blocks of fields in HTTP/2: in one piece, for ever, packed small, and out of a table that both ends keep (RFC 7541).

use ringway_tests::hpack::literal;
use ringway_tests::http2::{END, END_HEADERS, code, frame, kind};
use ringway_tests::{Driver, Http2, both_drivers};

use crate::http2::echo;
use crate::http2_frames::{ends, request};
use crate::http2_limits::limited;

both_drivers! {
    a_header_block_is_not_interrupted,
    continuation_without_end_is_cut_off,
    a_block_that_unpacks_to_much_is_refused,
    a_table_larger_than_allowed_ends_the_connection,
    fields_of_the_table_are_those_that_were_put_there,
}

fn a_header_block_is_not_interrupted(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let head = request();
    let (first, rest) = head.split_at(5);
    let begun = frame(kind::HEADERS, END, 1, first);
    for between in [
        frame(kind::PING, 0, 0, &[0; 8]),
        frame(kind::DATA, 0, 1, b"x"),
        frame(kind::CONTINUATION, END_HEADERS, 3, rest),
        frame(kind::HEADERS, END | END_HEADERS, 3, &head),
        frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(0x55, 0, 0, b"unknown"),
    ] {
        let bytes = [
            begun.clone(),
            between.clone(),
            frame(kind::CONTINUATION, END_HEADERS, 1, rest),
        ];
        let code = ends(&proxy, bytes.concat());
        assert_eq!(code, Some(code::PROTOCOL_ERROR), "{between:?}");
    }
    assert!(origin.seen().is_empty());
    // In pieces it is one, empty ones among them.
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.new_stream();
    client.frame(kind::HEADERS, END, stream, b"");
    for piece in head.chunks(head.len().div_ceil(3)) {
        client.frame(kind::CONTINUATION, 0, stream, piece);
    }
    client.frame(kind::CONTINUATION, END_HEADERS, stream, b"");
    assert_eq!(client.answer(stream).status, 200);
}

fn continuation_without_end_is_cut_off(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let piece = literal(b"x-a", &[b'v'; 1000]);
    for (what, payload) in [("empty", &[][..]), ("a byte", &[0x82]), ("fields", &piece)] {
        let mut client = Http2::connect(proxy.addr("web"));
        let stream = client.new_stream();
        client.frame(kind::HEADERS, END, stream, &request());
        for _ in 0..1000 {
            let hundred = frame(kind::CONTINUATION, 0, stream, payload).repeat(100);
            if client.try_send(hundred).is_err() {
                break;
            }
        }
        let codes = client.closed();
        // Whoever is cut off while it sends may not get to read why.
        let known = [code::CALM, code::PROTOCOL_ERROR];
        assert!(
            codes.iter().all(|code| known.contains(code)),
            "{what}: {codes:?}"
        );
    }
    // It is not read on either: what came in one read is counted.
    let kind = ["kind=\"continuation\""];
    let counted = proxy.metric("ringway_listener_http2_frames_total", &kind);
    assert!(counted < 50_000.0, "{counted}");
    assert!(origin.seen().is_empty());
    assert_eq!(Http2::connect(proxy.addr("web")).get("/x").status, 200);
}

/// HPACK bombs: a large field in the table, and then a byte for each time that it is meant.
fn a_block_that_unpacks_to_much_is_refused(driver: Driver) {
    let (origin, proxy) = limited(driver, "", "");
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.new_stream();
    // With indexing: 3900 bytes in the table, which holds 4096.
    let mut block = request();
    let mut large = literal(b"x-a", &[b'v'; 3900]);
    large[0] = 0x40;
    block.extend(large);
    block.extend([0x80 | 62; 12_000]);
    client.frame(kind::HEADERS, END | END_HEADERS, stream, &block);
    let outcome = client.until("what becomes of it", |client| {
        let answer = client.answers.get(&stream);
        let answer = answer.filter(|answer| answer.ended || answer.reset.is_some());
        let status = answer.map(|answer| u32::from(answer.status));
        status.or(client.goaways.first().map(|(_, code)| *code))
    });
    assert!(matches!(outcome, 431 | code::CALM), "{outcome}");
    assert!(origin.seen().is_empty());
}

fn a_table_larger_than_allowed_ends_the_connection(driver: Driver) {
    let (origin, proxy) = echo(driver);
    // A change of the table's size to 8192, where 4096 are allowed (RFC 7541 §6.3).
    let block = [&[0x3f, 0xe1, 0x3f][..], &request()].concat();
    let code = ends(&proxy, frame(kind::HEADERS, END | END_HEADERS, 1, &block));
    // RFC 9113 §4.3 calls it COMPRESSION_ERROR; the codec has one name for all of that kind.
    assert!(matches!(code, Some(9 | code::PROTOCOL_ERROR)), "{code:?}");
    for wrong in [
        &[0x80][..],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xc0 | 40],
    ] {
        let block = [&request()[..], wrong].concat();
        let code = ends(&proxy, frame(kind::HEADERS, END | END_HEADERS, 1, &block));
        assert!(matches!(code, Some(9 | code::PROTOCOL_ERROR)), "{code:?}");
    }
    assert!(origin.seen().is_empty());
}

fn fields_of_the_table_are_those_that_were_put_there(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let mut put = literal(b"x-a", b"first");
    put[0] = 0x40;
    // Put there by a request that is refused for something else, and meant by the next.
    for (more, status) in [(literal(b"expect", b"tea"), 417), (Vec::new(), 200)] {
        let stream = client.new_stream();
        let field = if status == 417 {
            put.clone()
        } else {
            vec![0x80 | 62]
        };
        let block = [request(), field, more].concat();
        client.frame(kind::HEADERS, END | END_HEADERS, stream, &block);
        assert_eq!(client.answer(stream).status, status);
    }
    assert_eq!(origin.only().get("x-a"), Some("first"));
}
