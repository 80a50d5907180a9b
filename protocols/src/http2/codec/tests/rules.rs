//! What no client may do: rules, and bounds.

use std::task::Poll;

use bytes::BytesMut;

use super::*;

/// What becomes of a connection on which these frames come behind a request that is open.
fn outcome(frames: &[Vec<u8>]) -> (Option<Reason>, Vec<Said>) {
    let mut client = Client::new(CONFIG);
    client.start(1, false);
    for frame in frames {
        if let Err(failure) = client.take(frame) {
            return (Some(failure.reason), client.said());
        }
    }
    (None, client.said())
}

#[test]
fn what_ends_a_connection() {
    use frame::{CONTINUATION, DATA, GOAWAY, HEADERS, PADDED, PING, PUSH_PROMISE, RST_STREAM};
    use frame::{PRIORITY, SETTINGS, WINDOW_UPDATE};
    let protocol = Reason::PROTOCOL_ERROR;
    let size = Reason::FRAME_SIZE_ERROR;
    let closed = Reason::STREAM_CLOSED;
    let flow = Reason::FLOW_CONTROL_ERROR;
    let most = [0x7f, 0xff, 0xff, 0xff];
    for (frames, expect) in [
        (vec![frame(DATA, 0, 0, b"x")], protocol),
        (vec![frame(DATA, 0, 3, b"x")], protocol),
        (vec![frame(DATA, 0, 2, b"x")], protocol),
        (vec![frame(DATA, PADDED, 1, b"\x01")], protocol),
        (vec![frame(DATA, PADDED, 1, b"")], size),
        (
            vec![frame(DATA, 1, 1, b"x"), frame(DATA, 0, 1, b"x")],
            closed,
        ),
        (
            vec![frame(RST_STREAM, 0, 1, &[0; 4]), frame(DATA, 0, 1, b"x")],
            closed,
        ),
        (vec![frame(HEADERS, 4, 0, &[])], protocol),
        (vec![frame(HEADERS, 4, 2, &[])], protocol),
        (
            vec![frame(HEADERS, 4, 3, &[0x80])],
            Reason::COMPRESSION_ERROR,
        ),
        (vec![frame(HEADERS, 4 | PADDED, 3, b"\x05")], protocol),
        (
            vec![frame(HEADERS, 0, 3, &[]), frame(PING, 0, 0, &[0; 8])],
            protocol,
        ),
        (
            vec![frame(HEADERS, 0, 3, &[]), frame(DATA, 0, 1, b"x")],
            protocol,
        ),
        (
            vec![frame(HEADERS, 0, 3, &[]), frame(CONTINUATION, 4, 1, &[])],
            protocol,
        ),
        (vec![frame(CONTINUATION, 4, 1, &[])], protocol),
        (vec![frame(PRIORITY, 0, 1, &[0; 4])], size),
        (vec![frame(PRIORITY, 0, 0, &[0; 5])], protocol),
        (vec![frame(PRIORITY, 0, 9, &[0, 0, 0, 9, 0])], protocol),
        (vec![frame(RST_STREAM, 0, 1, &[0; 5])], size),
        (vec![frame(RST_STREAM, 0, 0, &[0; 4])], protocol),
        (vec![frame(RST_STREAM, 0, 3, &[0; 4])], protocol),
        (vec![frame(SETTINGS, 0, 1, &[])], protocol),
        (vec![frame(SETTINGS, 0, 0, &[0; 5])], size),
        (vec![frame(SETTINGS, 1, 0, &[0; 6])], size),
        (vec![frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])], protocol),
        (vec![frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])], flow),
        (
            vec![frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff])],
            protocol,
        ),
        (vec![frame(SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0])], protocol),
        (vec![frame(PUSH_PROMISE, 4, 1, &[0; 4])], protocol),
        (vec![frame(PING, 0, 1, &[0; 8])], protocol),
        (vec![frame(PING, 0, 0, &[0; 7])], size),
        (vec![frame(GOAWAY, 0, 1, &[0; 8])], protocol),
        (vec![frame(GOAWAY, 0, 0, &[0; 7])], size),
        (vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])], protocol),
        (vec![frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1])], protocol),
        (vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], size),
        (vec![frame(WINDOW_UPDATE, 0, 0, &most)], flow),
        (vec![frame(DATA, 0, 1, &[0; (16 << 10) + 1])], size),
    ] {
        assert_eq!(outcome(&frames).0, Some(expect), "{frames:?}");
    }
}

#[test]
fn what_ends_a_stream_alone() {
    use frame::{DATA, HEADERS, PRIORITY, WINDOW_UPDATE};
    let (protocol, flow) = (Reason::PROTOCOL_ERROR, Reason::FLOW_CONTROL_ERROR);
    for (frames, expect) in [
        (vec![frame(WINDOW_UPDATE, 0, 1, &[0; 4])], protocol),
        (
            vec![frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])],
            flow,
        ),
        (vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])], protocol),
        // Trailers that end nothing, and such as name a pseudo-field.
        (vec![frame(HEADERS, 4, 1, &[])], protocol),
        (vec![frame(HEADERS, 5, 1, &[0x84])], protocol),
    ] {
        let reset = Said::Reset(1, expect);
        assert_eq!(outcome(&frames), (None, vec![reset]), "{frames:?}");
    }
    // What is passed over.
    for frames in [
        vec![frame(0x55, 0xff, 7, b"of an extension")],
        vec![frame(PRIORITY, 0, 9, &[0, 0, 0, 1, 0])],
        vec![
            frame(DATA, 1, 1, b"x"),
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        ],
    ] {
        assert_eq!(outcome(&frames), (None, vec![]), "{frames:?}");
    }
}

#[test]
fn bodies_are_as_long_as_they_were_said_to_be() {
    let (short, long) = (b"1234", b"123456");
    for (data, flags, is_right) in [
        (&b"12345"[..], 1, true),
        (short, 1, false),
        (long, 1, false),
        (long, 0, false),
        (short, 0, true),
    ] {
        let mut client = Client::new(CONFIG);
        let head = client.request(1, &[("content-length", "5")], false);
        client.take(&head).expect("a request");
        client
            .take(&frame(frame::DATA, flags, 1, data))
            .expect("no error of the connection");
        let refused = [Said::Reset(1, Reason::PROTOCOL_ERROR)];
        assert_eq!(
            client.said(),
            if is_right { &[] } else { &refused[..] },
            "{data:?}"
        );
    }
    let mut client = Client::new(CONFIG);
    let head = client.request(1, &[("content-length", "5")], true);
    client.take(&head).expect("no error of the connection");
    assert_eq!(client.said(), [Said::Reset(1, Reason::PROTOCOL_ERROR)]);
}

#[test]
fn malformed_heads_end_their_stream() {
    let good = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    let without = |name: &str| {
        let rest = good.iter().filter(|(own, _)| *own != name);
        rest.copied().collect::<Vec<_>>()
    };
    for head in [
        without(":method"),
        without(":scheme"),
        without(":path"),
        with(&[(":path", "/")]),
        with(&[(":status", "200")]),
        with(&[(":protocol", "websocket")]),
        with(&[("x", "1"), (":late", "1")]),
        with(&[("connection", "close")]),
        with(&[("te", "gzip")]),
        with(&[("x y", "1")]),
        with(&[("x:y", "1")]),
        with(&[("x", "a\nb")]),
        with(&[("x", "a\0b")]),
        with(&[("x", "\x7f")]),
        vec![(":method", "CONNECT"), (":authority", "a"), (":path", "/")],
        vec![(":method", "A B"), (":scheme", "http"), (":path", "/")],
    ] {
        let mut client = Client::new(CONFIG);
        let block = client.block(&head);
        client
            .take(&frame(frame::HEADERS, 5, 1, &block))
            .expect("no error of the connection");
        assert_eq!(
            client.said(),
            [Said::Reset(1, Reason::PROTOCOL_ERROR)],
            "{head:?}"
        );
        assert!(client.codec.accept().is_none());
    }
}

#[test]
fn resets_before_their_requests_are_seen_are_bounded() {
    let mut client = Client::new(CONFIG);
    for id in [1, 3, 5] {
        let head = client.request(id, &[], true);
        client.take(&head).expect("a request");
        let reset = frame(frame::RST_STREAM, 0, id, &[0; 4]);
        assert_eq!(client.take(&reset).is_err(), id == 5, "{id}");
    }
    let mut client = Client::new(CONFIG);
    for id in (1..40).step_by(2) {
        let key = client.start(id, true);
        client
            .take(&frame(frame::RST_STREAM, 0, id, &[0; 4]))
            .expect("it was seen");
        client.codec.let_go(key);
    }
}

#[test]
fn streams_that_break_rules_are_bounded() {
    let mut client = Client::new(CONFIG);
    for at in 0..6_u32 {
        client.start(2 * at + 1, false);
        let wrong = frame(frame::WINDOW_UPDATE, 0, 2 * at + 1, &[0; 4]);
        assert_eq!(client.take(&wrong).is_err(), at == 5, "{at}");
    }
}

#[test]
fn a_block_without_an_end_is_bounded() {
    let mut client = Client::new(CONFIG);
    client
        .take(&frame(frame::HEADERS, 0, 1, &[]))
        .expect("the first");
    assert!(client.codec.is_in_block());
    let more = frame(frame::CONTINUATION, 0, 1, &[]);
    let failed = (0..100).find_map(|_| client.take(&more).err());
    assert_eq!(
        failed.map(|failure| failure.reason),
        Some(Reason::ENHANCE_YOUR_CALM)
    );
    let mut client = Client::new(CONFIG);
    client
        .take(&frame(frame::HEADERS, 0, 1, &[0x20; 9000]))
        .expect("the first");
    let more = frame(frame::CONTINUATION, 0, 1, &[0x20; 9000]);
    assert!(client.take(&more).is_err());
}

/// How many times a frame may be sent in a row, and why not more often.
fn in_a_row(client: &mut Client, frame: &[u8]) -> (usize, Cause) {
    for count in 0..10_000 {
        client.codec.output().clear();
        if let Err(failure) = client.take(frame) {
            assert_eq!(failure.reason, Reason::ENHANCE_YOUR_CALM);
            return (count, failure.cause);
        }
    }
    panic!("nothing bounds it");
}

#[test]
fn useless_frames_are_bounded_and_useful_work_pays_for_them() {
    let new = || {
        let mut client = Client::new(CONFIG);
        client.start(1, false);
        client
    };
    let ping = frame(frame::PING, 0, 0, &[0; 8]);
    let window = frame(frame::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let setting = frame(frame::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]);
    let priority = frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 3, 0]);
    let unknown = frame(0x55, 0, 0, &[0; 9]);
    for useless in [&ping, &window, &setting, &priority, &unknown] {
        let got = in_a_row(&mut new(), useless);
        assert_eq!(got, (20, Cause::Control), "{useless:?}");
    }
    let empty = frame(frame::DATA, 0, 1, &[]);
    assert_eq!(in_a_row(&mut new(), &empty), (3, Cause::Empty));
    let mut client = new();
    let key = client.start(3, false);
    for round in 0..1000 {
        client.codec.refill(2 << 10, 100);
        for _ in 0..3 {
            client
                .take(&ping)
                .expect("paid by what it took, and by time");
        }
        client
            .take(&frame(frame::DATA, 0, 3, &[0; 256]))
            .expect("data");
        let taken = client.data(key);
        assert!(matches!(taken, Poll::Ready(Ok(Some(_)))), "{round}");
        client.codec.release(key, 256);
        client.take(&ping).expect("paid by data");
        (0..3).for_each(|_| {
            client
                .take(&frame(frame::DATA, 0, 3, &[]))
                .expect("paid by data")
        });
        client.codec.output().clear();
    }
    client.codec.refill(u64::MAX / 2, 0);
    assert_eq!(
        in_a_row(&mut client, &ping),
        (20, Cause::Control),
        "no more is saved up"
    );
}

#[test]
fn nothing_is_read_while_answers_are_not_taken() {
    let mut client = Client::new(CONFIG);
    client.codec.set_backlog(CONFIG.output * 2 + 1);
    let mut input = BytesMut::from(&frame(frame::PING, 0, 0, &[0; 8])[..]);
    client
        .codec
        .receive(&mut input, &mut |_| ())
        .expect("nothing");
    assert!(client.codec.is_clogged() && !input.is_empty());
    client.codec.set_backlog(0);
    client
        .codec
        .receive(&mut input, &mut |_| ())
        .expect("a PING");
    assert_eq!(client.said(), [Said::Ping([0; 8], true)]);
    // An interim answer waits in the same way.
    let key = client.start(1, true);
    assert!(client.codec.poll_taken(key, &cx()).is_ready());
    client.codec.set_backlog(CONFIG.output);
    assert!(client.codec.poll_taken(key, &cx()).is_pending());
    client.codec.set_backlog(CONFIG.output - 1);
    assert!(client.codec.poll_taken(key, &cx()).is_ready());
}
