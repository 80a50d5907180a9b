//! Tars over frames of real clients and servers, cut and truncated everywhere.

use super::*;
use crate::trial::{Cuts, Seen, trial};

/// A frame of Tars' own packages for Node and Go, as the fuzzer's corpus has it.
macro_rules! capture {
    ($name:literal) => {
        include_bytes!(concat!("../../fuzz/corpus/tars/", $name))
    };
}

fn check(side: Side, bytes: &[u8]) -> Seen {
    trial(&Tars, side, &Limits::default(), bytes, Cuts::Everywhere).unwrap()
}

fn one(side: Side, bytes: &[u8]) -> Frame {
    let mut seen = check(side, bytes);
    assert_eq!((seen.frames.len(), seen.end, seen.left), (1, None, 0));
    seen.frames.pop().unwrap()
}

fn session(side: Side) -> Box<dyn Session> {
    Tars.start(side, &Limits::default())
}

fn written(session: &mut dyn Session, frame: &Frame) -> Vec<u8> {
    let (mut output, mut bytes) = (Output::new(), Vec::new());
    session.encode(frame, &mut output);
    while let Some(part) = output.take() {
        bytes.extend_from_slice(&part);
    }
    bytes
}

/// A packet of these fields.
fn frame(body: &[u8]) -> Vec<u8> {
    framed(body).to_vec()
}

const SERVANT: &[u8] = b"TARS.NodeTarsServer.NodeTarsObj";

#[test]
fn requests_say_servant_function_timeout_and_context() {
    for (bytes, id) in [
        (&capture!("node_request")[..], 2),
        (capture!("node_long_request"), 3),
    ] {
        let frame = one(Side::Client, bytes);
        assert_eq!(
            (frame.kind, frame.id, frame.broken),
            (Kind::Request, id, None)
        );
        assert_eq!(
            (frame.service(), frame.method()),
            (SERVANT, &b"getUsrName"[..])
        );
        assert_eq!(frame.timeout, Some(Duration::from_secs(60)));
    }
    let frame = one(Side::Client, capture!("node_request"));
    let fields = session(Side::Client).headers(&frame);
    assert_eq!(
        (fields.len(), fields.get(b"tenant")),
        (1, Some(&b"blue"[..]))
    );
    let go = one(Side::Client, capture!("go_request"));
    assert_eq!(
        (go.service(), go.method()),
        (&b"Test.Echo.EchoObj"[..], &b"push"[..])
    );
    assert_eq!(go.timeout, Some(Duration::from_secs(20)));
    let tup = one(Side::Client, capture!("node_tup_request"));
    assert_eq!(
        (tup.id, tup.method(), tup.timeout),
        (123_456, &b"getUsrName"[..], None)
    );
}

#[test]
fn answers_of_tup_are_told_by_their_direction() {
    let tars = one(Side::Upstream, capture!("node_response"));
    assert_eq!(
        (tars.kind, tars.id, tars.verdict),
        (Kind::Response, 2, Verdict::Good)
    );
    let go = one(Side::Upstream, capture!("go_response"));
    assert_eq!((go.kind, go.id), (Kind::Response, 2));
    let tup = one(Side::Upstream, capture!("node_tup_response"));
    assert_eq!(
        (tup.kind, tup.id, tup.verdict),
        (Kind::Response, 123_456, Verdict::Good)
    );
    let at = capture!("node_tup_response").len() - 23;
    let mut failed = capture!("node_tup_response").to_vec();
    assert_eq!(failed[at], b'0');
    failed.splice(at - 1..=at, *b"\x02-4");
    failed[3] += 1;
    let failed = one(Side::Upstream, &failed);
    assert_eq!((failed.verdict, failed.code), (Verdict::Failed, -4));
}

#[test]
fn answers_say_how_they_ended() {
    for (code, verdict) in [
        (-9, Verdict::Failed),
        (7, Verdict::Exception),
        (0, Verdict::Good),
    ] {
        let bytes = frame(&response(1, 0, 5, code, b"x"));
        let answer = one(Side::Upstream, &bytes);
        assert_eq!((answer.verdict, answer.code), (verdict, code));
    }
}

#[test]
fn pushes_have_no_id_and_one_of_them_says_goodbye() {
    let push = one(Side::Upstream, &frame(&response(1, 0, 0, 0, b"news")));
    assert_eq!(push.kind, Kind::Push);
    // Nobody asked, so Tars for Go answers no version.
    let news = one(Side::Upstream, capture!("go_push"));
    assert_eq!((news.kind, news.id, news.broken), (Kind::Push, 0, None));
    let unasked = one(Side::Client, capture!("go_push"));
    assert_eq!(unasked.broken, Some(DecodeError::BadVersion));
    let goaway = session(Side::Client).goaway().unwrap();
    assert_eq!(one(Side::Upstream, &goaway.bytes).kind, Kind::GoAway);
}

#[test]
fn ids_of_any_width_are_replaced() {
    let narrow = one(Side::Client, capture!("node_request"));
    let mut session = session(Side::Upstream);
    for (id, len) in [(1, 0), (200, 1), (70_000, 3), (0x7fff_ffff, 3)] {
        let mut other = narrow.clone();
        other.id = id;
        let bytes = written(&mut *session, &other);
        assert_eq!(bytes.len(), narrow.bytes.len() + len);
        assert_eq!(one(Side::Client, &bytes).id, id);
    }
    let negative = one(
        Side::Client,
        &frame(b"\x10\x01\x2c\x3c\x40\xff\x56\x01s\x66\x01f"),
    );
    assert_eq!(negative.id, 0xffff_ffff);
}

#[test]
fn pings_are_answered_and_our_own_are_answered_by_anybody() {
    let call = one(Side::Client, capture!("node_request"));
    let mut upstream = session(Side::Upstream);
    assert_eq!(upstream.ping(9), None);
    written(&mut *upstream, &call);
    let ping = upstream.ping(9).unwrap();
    assert_eq!((ping.kind, ping.service()), (Kind::Ping, SERVANT));
    assert_eq!(one(Side::Client, &ping.bytes).kind, Kind::Ping);
    let pong = session(Side::Client).pong(&ping).unwrap();
    let mut input = BytesMut::from(&pong.bytes[..]);
    let pong = upstream.decode(&mut input).unwrap().unwrap();
    assert_eq!(
        (pong.kind, pong.id, pong.verdict),
        (Kind::Pong, 9, Verdict::Good)
    );
    // As TarsGo sends them, without wanting an answer.
    let body = [&b"\x10\x01\x20\x01\x3c\x4c\x56\x01s\x66\x09"[..], PING].concat();
    let one_way = one(Side::Client, &frame(&body));
    assert_eq!(
        (one_way.kind, session(Side::Client).pong(&one_way)),
        (Kind::Ping, None)
    );
}

#[test]
fn refusals_are_in_the_requests_version_and_always_say_why() {
    let refusal = |why| Refusal { why, text: "boom" };
    let mut session = session(Side::Client);
    let tars = one(Side::Client, capture!("node_request"));
    let tup = one(Side::Client, capture!("node_tup_request"));
    for (why, code) in [
        (Why::NoRoute, -4),
        (Why::NoHost, -10),
        (Why::Denied, -99),
        (Why::Overloaded, -9),
        (Why::Timeout, -7),
        (Why::Unreachable, -8),
        (Why::Reset, -8),
        (Why::BadAnswer, -12),
        (Why::Malformed, -1),
        (Why::Internal, -99),
    ] {
        let reply = session.reply(&tars, &refusal(why)).unwrap();
        let mut expect =
            b"\0\0\0\x19\x10\x01\x2c\x30\x02\x4c\x50\0\x6d\0\x0c\x78\x0c\x86\x04boom\x98\x0c"
                .to_vec();
        expect[11] = (code as i8) as u8;
        assert_eq!(reply.bytes, expect, "{why:?}");
        let reply = session.reply(&tup, &refusal(why)).unwrap();
        let reply = one(Side::Upstream, &reply.bytes);
        assert_eq!((reply.id, reply.code), (123_456, code));
        assert!(
            reply
                .bytes
                .ends_with(b"\x06\x12STATUS_RESULT_DESC\x16\x04boom")
        );
    }
    let one_way = one(
        Side::Client,
        &frame(b"\x10\x01\x20\x01\x3c\x40\x05\x56\x01s\x66\x01f"),
    );
    assert_eq!(one_way.kind, Kind::OneWay);
    assert_eq!(session.reply(&one_way, &refusal(Why::NoRoute)), None);
}

#[test]
fn the_context_is_changed_in_its_place() {
    let change = |name, value| Change { name, value };
    let session = session(Side::Client);
    let call = one(Side::Client, capture!("node_request"));
    let changes = [
        change(&b"tenant"[..], Some(&b"red"[..])),
        change(b"trace", Some(b"1")),
    ];
    let amended = session.amend(&call, &changes).unwrap();
    let fields = session.headers(&amended);
    assert_eq!(
        (fields.len(), fields.get(b"tenant")),
        (2, Some(&b"red"[..]))
    );
    let removed = session.amend(&call, &[change(b"tenant", None)]).unwrap();
    assert!(session.headers(&removed).is_empty());
    // Without a context, behind the last field or before the status.
    for (end, expect) in [
        (&b""[..], &b"\x98\0\x01\x06\x01a\x16\x01b"[..]),
        (b"\xa8\x0c", b"\x98\0\x01\x06\x01a\x16\x01b\xa8\x0c"),
    ] {
        let body = [&b"\x10\x01\x2c\x3c\x40\x05\x56\x01s\x66\x01f"[..], end].concat();
        let call = one(Side::Client, &frame(&body));
        let amended = session.amend(&call, &[change(b"a", Some(b"b"))]).unwrap();
        assert!(amended.bytes.ends_with(expect), "{:x?}", amended.bytes);
    }
}

#[test]
fn unknown_fields_and_large_tags_are_passed_over() {
    let body = [
        &b"\x10\x01\x2c\x3c\x40\x05\x56\x01s\x66\x01f"[..],
        // A list where bytes usually are; then a struct in a map in tag 20, numbers of all kinds, a long text, behind tag 15.
        b"\x79\0\x02\0\x01\x0c\x8c\x98\x0c\xa8\x0c",
        b"\xf8\x14\0\x01\x0c\x1a\x30\x01\x4a\x0b\x0b",
        b"\xf3\x15\0\0\0\0\0\0\0\x01\xf4\x16\0\0\0\0\xf5\x17\0\0\0\0\0\0\0\0\xf7\x18\0\0\0\x01x",
    ]
    .concat();
    let call = one(Side::Client, &frame(&body));
    assert_eq!((call.broken, call.method()), (None, &b"f"[..]));
}

#[test]
fn a_packet_that_cannot_be_read_breaks_the_frame() {
    let start = &b"\x10\x01\x2c\x3c\x40\x05\x56\x01s\x66\x01f"[..];
    let deep = [&[0x7a][..], &[0x0a; 1100]].concat();
    for (end, error) in [
        (&b"\x79\x02\x7f\xff\xff\xff"[..], DecodeError::BadBody),
        (b"\x7d\x01\x0c", DecodeError::BadBody),
        (b"\x7d\0\0\xff", DecodeError::BadLength),
        (b"\x77\xff\xff\xff\xff", DecodeError::BadLength),
        (b"\x7e", DecodeError::BadBody),
        // The same tag again.
        (b"\x66\x01g", DecodeError::BadBody),
        (&deep, DecodeError::TooDeep),
    ] {
        let call = one(Side::Client, &frame(&[start, end].concat()));
        assert_eq!((call.broken, call.id), (Some(error), 5), "{end:x?}");
    }
    let no_id = one(
        Side::Client,
        &frame(b"\x10\x01\x2c\x3c\x4c\x56\x01s\x66\x01f"),
    );
    assert_eq!(no_id.broken, Some(DecodeError::BadBody));
    let versions = one(Side::Client, &frame(b"\x10\x06\x2c"));
    assert_eq!(versions.broken, Some(DecodeError::BadVersion));
}

#[test]
fn frames_over_the_limit_are_answered_and_passed_over() {
    let limits = Limits {
        frame: 100,
        ..Limits::default()
    };
    let both = [&capture!("node_long_request")[..], capture!("node_request")].concat();
    let seen = trial(&Tars, Side::Client, &limits, &both, Cuts::Everywhere).unwrap();
    let kinds: Vec<_> = seen
        .frames
        .iter()
        .map(|f| (f.kind, f.id, f.broken))
        .collect();
    let too_large = Some(DecodeError::FrameTooLarge);
    assert_eq!(
        kinds,
        [(Kind::Request, 3, too_large), (Kind::Request, 2, None)]
    );
    let refusal = Refusal {
        why: Why::Malformed,
        text: "too large",
    };
    let reply = session(Side::Client)
        .reply(&seen.frames[0], &refusal)
        .unwrap();
    assert_eq!((reply.id, reply.code), (3, -1));
}

#[test]
fn a_context_over_the_limit_breaks_the_frame() {
    let mut body = b"\x10\x01\x2c\x3c\x40\x05\x56\x01s\x66\x01f\x98\x01\x01\x01".to_vec();
    (0..257).for_each(|_| body.extend_from_slice(b"\x06\x01k\x16\x01v"));
    let many = one(Side::Client, &frame(&body));
    let too_large = Some(DecodeError::HeadersTooLarge);
    assert_eq!((many.broken, many.id), (too_large, 5));
    let twice =
        b"\x10\x01\x2c\x3c\x40\x05\x56\x01s\x66\x01f\x98\0\x02\x06\x01k\x16\x01v\x06\x01k\x16\x01w";
    let twice = one(Side::Client, &frame(twice));
    let fields = session(Side::Client).headers(&twice);
    assert_eq!((fields.len(), fields.get(b"k")), (1, Some(&b"w"[..])));
}

#[test]
fn a_length_counts_itself() {
    for bytes in [&b"\0\0\0\x03"[..], b"\xff\xff\xff\xff", b"\0\0\0\0"] {
        let seen = check(Side::Client, bytes);
        assert_eq!(
            (seen.frames.len(), seen.end),
            (0, Some(DecodeError::BadLength))
        );
    }
}
