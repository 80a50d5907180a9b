//! Thrift in all its forms over frames of real clients and servers, cut and truncated everywhere.

use super::*;
use crate::codec::{Verdict, Why};
use crate::trial::{Cuts, Seen, trial};

/// A frame of Apache Thrift's package for Python, as the fuzzer's corpus has it.
macro_rules! capture {
    ($name:literal) => {
        include_bytes!(concat!("../../fuzz/corpus/thrift/", $name))
    };
}

/// A message of that package as Dubbo wraps it.
macro_rules! of_dubbo {
    ($name:literal) => {
        include_bytes!(concat!("../../fuzz/corpus/dubbo_thrift/", $name))
    };
}

fn check(side: Side, bytes: &[u8]) -> Seen {
    trial(&Thrift, side, &Limits::default(), bytes, Cuts::Everywhere).unwrap()
}

fn one(side: Side, bytes: &[u8]) -> Frame {
    let mut seen = check(side, bytes);
    assert_eq!((seen.frames.len(), seen.end, seen.left), (1, None, 0));
    seen.frames.pop().unwrap()
}

fn session() -> Box<dyn Session> {
    Thrift.start(Side::Client, &Limits::default())
}

/// The calls in each form.
const CALLS: &[&[u8]] = &[
    capture!("framed_binary"),
    capture!("framed_lax"),
    capture!("framed_compact"),
    capture!("binary"),
    capture!("lax"),
    capture!("compact"),
    capture!("theader_binary"),
    capture!("theader_compact"),
];

#[test]
fn every_form_is_told_by_its_first_bytes_and_read_to_its_end() {
    let mut pins = Vec::new();
    for call in CALLS {
        let frame = one(Side::Client, call);
        assert_eq!(
            (frame.kind, frame.id, frame.broken),
            (Kind::Request, 7, None)
        );
        assert_eq!((frame.service(), frame.method()), (&b""[..], &b"echo"[..]));
        pins.push(frame.pin);
        // And the next one behind it.
        let two = [*call, capture!("compact")].concat();
        assert_eq!(check(Side::Client, &two).frames.len(), 2);
    }
    pins.sort_unstable();
    pins.dedup();
    assert_eq!(pins.len(), CALLS.len());
}

#[test]
fn a_multiplexed_service_is_in_the_name() {
    let frame = one(Side::Client, capture!("framed_multiplexed"));
    assert_eq!(
        (frame.service(), frame.method()),
        (&b"Echo"[..], &b"echo"[..])
    );
    for call in [&capture!("oneway")[..], capture!("oneway_theader_compact")] {
        assert_eq!(one(Side::Client, call).kind, Kind::OneWay);
    }
}

#[test]
fn answers_say_how_they_ended() {
    for (bytes, verdict) in [
        (&capture!("reply_binary")[..], Verdict::Good),
        (capture!("reply_compact"), Verdict::Good),
        (capture!("void_binary"), Verdict::Good),
        (capture!("void_compact"), Verdict::Good),
        (capture!("declared_binary"), Verdict::Exception),
        (capture!("declared_compact"), Verdict::Exception),
        (capture!("exception_binary"), Verdict::Failed),
        (capture!("exception_compact"), Verdict::Failed),
        (capture!("reply_theader_binary"), Verdict::Good),
        (capture!("reply_theader_compact"), Verdict::Good),
        (capture!("void_theader_compact"), Verdict::Good),
        (capture!("declared_theader_compact"), Verdict::Exception),
        (capture!("exception_theader_binary"), Verdict::Failed),
        (capture!("exception_theader_compact"), Verdict::Failed),
    ] {
        let frame = one(Side::Upstream, bytes);
        assert_eq!(
            (frame.kind, frame.id, frame.verdict),
            (Kind::Response, 7, verdict)
        );
    }
}

#[test]
fn refusals_are_what_a_server_would_say_in_the_clients_form() {
    let refusal = |why| Refusal { why, text: "boom" };
    for (call, expect) in [
        (
            &capture!("framed_binary")[..],
            capture!("exception_binary").to_vec(),
        ),
        (
            capture!("framed_compact"),
            capture!("exception_compact").to_vec(),
        ),
        (
            capture!("binary"),
            capture!("exception_binary")[4..].to_vec(),
        ),
        (
            capture!("compact"),
            capture!("exception_compact")[4..].to_vec(),
        ),
        (
            capture!("theader_binary"),
            capture!("exception_theader_binary").to_vec(),
        ),
        (
            capture!("theader_compact"),
            capture!("exception_theader_compact").to_vec(),
        ),
    ] {
        let frame = one(Side::Client, call);
        let reply = session().reply(&frame, &refusal(Why::NoRoute)).unwrap();
        assert_eq!(reply.bytes, expect);
    }
    for (why, code) in [
        (Why::NoHost, 6),
        (Why::Denied, 6),
        (Why::Overloaded, 6),
        (Why::Timeout, 6),
        (Why::Unreachable, 6),
        (Why::Reset, 6),
        (Why::BadAnswer, 7),
        (Why::Malformed, 7),
        (Why::Internal, 6),
    ] {
        let frame = one(Side::Client, capture!("binary"));
        let reply = session().reply(&frame, &refusal(why)).unwrap();
        assert!(reply.bytes.ends_with(&[0, 0, 0, code, 0]), "{why:?}");
    }
    for call in [&capture!("oneway")[..], capture!("oneway_theader_compact")] {
        let one_way = one(Side::Client, call);
        assert_eq!(session().reply(&one_way, &refusal(Why::NoRoute)), None);
    }
}

#[test]
fn headers_of_theader_are_read_and_changed_and_padded_anew() {
    let change = |name, value| Change { name, value };
    let frame = one(Side::Client, capture!("theader_binary"));
    let fields = session().headers(&frame);
    assert_eq!(
        (fields.len(), fields.get(b"tenant")),
        (2, Some(&b"blue"[..]))
    );
    let changes = [
        change(&b"tenant"[..], Some(&b"yellow"[..])),
        change(b"x", None),
    ];
    let amended = session().amend(&frame, &changes).unwrap();
    let fields = session().headers(&amended);
    assert_eq!(
        (fields.len(), fields.get(b"tenant")),
        (1, Some(&b"yellow"[..]))
    );
    let none = session()
        .amend(&frame, &[change(b"x", None), change(b"tenant", None)])
        .unwrap();
    assert!(session().headers(&none).is_empty());
    assert!(none.bytes.ends_with(capture!("binary")));
    let framed = one(Side::Client, capture!("framed_binary"));
    assert_eq!(
        session().amend(&framed, &changes),
        Err(AmendError::Unsupported)
    );
}

#[test]
fn transforms_and_what_is_not_known_of_theader() {
    let with = |at: usize, value: u8| {
        let mut bytes = capture!("theader_binary").to_vec();
        bytes[at] = value;
        one(Side::Client, &bytes)
    };
    assert_eq!(with(15, 1).broken, Some(DecodeError::Unsupported));
    // The protocol of the header is not that of the message.
    assert_eq!(with(14, 2).broken, Some(DecodeError::Unsupported));
    assert_eq!(with(12, 0xff).broken, Some(DecodeError::BadHeader));
    assert_eq!(with(17, 9).broken, Some(DecodeError::BadHeader));
    // It is answered in the same protocol under its number, and nobody knows what it called.
    let refusal = Refusal {
        why: Why::Malformed,
        text: "boom",
    };
    for (at, value, message) in [
        (15, 1, &b"\x80\x01\0\x03\0\0\0\0\0\0\0\x07"[..]),
        (14, 2, b"\x82\x61\x07\0\x18"),
    ] {
        let reply = session().reply(&with(at, value), &refusal).unwrap();
        assert_eq!((reply.kind, reply.id), (Kind::Response, 7));
        assert_eq!(reply.verdict, Verdict::Failed);
        assert_eq!(reply.bytes[4..12], *b"\x0f\xff\0\0\0\0\0\x07");
        assert!(reply.bytes[18..].starts_with(message), "{:x?}", reply.bytes);
    }
    assert_eq!(session().reply(&with(12, 0xff), &refusal), None);
    // Another kind of information passes, and cannot be changed.
    let other = with(16, 5);
    assert_eq!((other.broken, session().headers(&other).len()), (None, 0));
    let change = [Change {
        name: b"a",
        value: Some(b"b"),
    }];
    assert_eq!(
        session().amend(&other, &change),
        Err(AmendError::Unsupported)
    );
}

#[test]
fn an_unframed_struct_that_breaks_its_grammar_ends_the_connection() {
    let start = &b"\x80\x01\0\x01\0\0\0\x01m\0\0\0\x01"[..];
    for (fields, error) in [
        (&b"\x09\0\x01"[..], DecodeError::BadBody),
        (b"\x0b\0\x01\xff\xff\xff\xff", DecodeError::BadLength),
        (b"\x0b\0\x01\x7f\xff\xff\xff", DecodeError::FrameTooLarge),
        (
            b"\x0f\0\x01\x0a\x7f\xff\xff\xff",
            DecodeError::FrameTooLarge,
        ),
        (b"\x0f\0\x01\0\0\0\0\x01", DecodeError::BadBody),
    ] {
        let seen = check(Side::Client, &[start, fields].concat());
        assert_eq!(
            (seen.frames.len(), seen.end),
            (0, Some(error)),
            "{fields:x?}"
        );
    }
    let limits = Limits {
        depth: 64,
        ..Limits::default()
    };
    let deep = [start, &[&[12, 0, 1][..]; 100].concat()].concat();
    let seen = trial(&Thrift, Side::Client, &limits, &deep, Cuts::Everywhere).unwrap();
    assert_eq!(seen.end, Some(DecodeError::TooDeep));
    // An empty list of no type is Java's.
    let empty = [start, b"\x0f\0\x01\0\0\0\0\0\0"].concat();
    assert_eq!(check(Side::Client, &empty).frames.len(), 1);
}

#[test]
fn frames_over_the_limit_are_answered_and_passed_over() {
    let limits = Limits {
        frame: 200,
        header_bytes: 100,
        ..Limits::default()
    };
    let mut large = capture!("framed_binary").to_vec();
    large.resize(4000, 0);
    large[..4].copy_from_slice(&(4000_u32 - 4).to_be_bytes());
    let both = [&large[..], capture!("framed_compact")].concat();
    let seen = trial(&Thrift, Side::Client, &limits, &both, Cuts::Everywhere).unwrap();
    let broken: Vec<_> = seen.frames.iter().map(|f| (f.id, f.broken)).collect();
    assert_eq!(broken, [(7, Some(DecodeError::FrameTooLarge)), (7, None)]);
}

#[test]
fn other_protocols_are_not_taken_for_thrift() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PRI * HTTP/2.0\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01",
        b"\x01\x01\0\x01\x01\0\0\0\x01",
        b"\xda\xbb\xc2\0",
        b"\0\0\0\x5a\x10\x01\x2c",
        b"\0\0\0\0\0",
    ] {
        assert_eq!(Thrift.sniff(bytes), Sniff::No, "{bytes:x?}");
    }
    assert_eq!(Thrift.sniff(b"\0\0\0\x20"), Sniff::NeedMore);
}

/// A call as Dubbo wraps it.
fn wrapped(kind: u8, id: u64) -> Vec<u8> {
    let mut message = capture!("binary").to_vec();
    message[3] = kind;
    let mut bytes = b"\xda\xbc\0\0\0\0\0\0\x01\0\0\0\x04Echo".to_vec();
    bytes.extend_from_slice(&id.to_be_bytes());
    let header = bytes.len() as u16;
    bytes.extend_from_slice(&message);
    let length = (bytes.len() as u32).to_be_bytes();
    bytes[2..6].copy_from_slice(&length);
    bytes[6..8].copy_from_slice(&header.to_be_bytes());
    [&length[..], &bytes].concat()
}

fn one_of_dubbo(side: Side, bytes: &[u8]) -> Frame {
    let seen = trial(
        &DubboThrift,
        side,
        &Limits::default(),
        bytes,
        Cuts::Everywhere,
    )
    .unwrap();
    assert_eq!((seen.frames.len(), seen.end, seen.left), (1, None, 0));
    seen.frames[0].clone()
}

#[test]
fn dubbo_wraps_a_service_and_an_id_around_it() {
    let call = one_of_dubbo(Side::Client, &wrapped(1, 1 << 40));
    assert_eq!(
        (call.kind, call.id, call.broken),
        (Kind::Request, 1 << 40, None)
    );
    assert_eq!(
        (call.service(), call.method()),
        (&b"Echo"[..], &b"echo"[..])
    );
    assert_eq!(
        one_of_dubbo(Side::Client, &wrapped(4, 1)).kind,
        Kind::OneWay
    );
    let mut session = DubboThrift.start(Side::Client, &Limits::default());
    let refusal = Refusal {
        why: Why::NoRoute,
        text: "boom",
    };
    let reply = session.reply(&call, &refusal).unwrap();
    let mut expect = wrapped(3, 1 << 40);
    expect.truncate(4 + 25);
    expect.extend_from_slice(&capture!("exception_binary")[4..]);
    let length = (expect.len() as u32 - 4).to_be_bytes();
    expect[..4].copy_from_slice(&length);
    expect[6..10].copy_from_slice(&length);
    assert_eq!(reply.bytes, expect);
    let mut version = wrapped(1, 1);
    version[12] = 2;
    let broken = one_of_dubbo(Side::Client, &version);
    assert_eq!(broken.broken, Some(DecodeError::BadVersion));
}

#[test]
fn dubbos_answers_say_how_they_ended_under_ids_of_64_bits() {
    for (bytes, id, verdict, code) in [
        (&of_dubbo!("reply")[..], 5, Verdict::Good, 2),
        (of_dubbo!("void"), u64::MAX, Verdict::Good, 2),
        (of_dubbo!("declared"), 5, Verdict::Exception, 2),
        (of_dubbo!("exception"), 1 << 62, Verdict::Failed, 3),
    ] {
        let frame = one_of_dubbo(Side::Upstream, bytes);
        assert_eq!((frame.kind, frame.id), (Kind::Response, id));
        assert_eq!((frame.verdict, frame.code), (verdict, code));
    }
    let call = one_of_dubbo(Side::Client, of_dubbo!("call"));
    assert_eq!(
        (call.kind, call.id, call.method()),
        (Kind::Request, 5, &b"echo"[..])
    );
    let fired = one_of_dubbo(Side::Client, of_dubbo!("oneway"));
    assert_eq!((fired.kind, fired.id), (Kind::OneWay, 0));
    let mut session = DubboThrift.start(Side::Client, &Limits::default());
    let refusal = Refusal {
        why: Why::Timeout,
        text: "boom",
    };
    assert_eq!(session.reply(&fired, &refusal), None);
}

#[test]
fn what_no_frame_of_dubbos_has_ends_the_connection_and_what_is_too_long_does_not() {
    let read = |bytes: &[u8], frame| {
        let limits = Limits {
            frame,
            ..Limits::default()
        };
        trial(&DubboThrift, Side::Client, &limits, bytes, Cuts::Everywhere).unwrap()
    };
    for (at, with, end) in [
        (4, 0xdb, DecodeError::BadMagic),
        (0, 0x80, DecodeError::BadLength),
    ] {
        let mut bytes = of_dubbo!("call").to_vec();
        bytes[at] = with;
        let seen = read(&bytes, 1 << 20);
        assert_eq!((seen.frames.len(), seen.end), (0, Some(end)));
    }
    let two = [&of_dubbo!("call")[..], of_dubbo!("void")].concat();
    let seen = read(&two, of_dubbo!("call").len() - 1);
    let read: Vec<_> = seen.frames.iter().map(|one| (one.id, one.broken)).collect();
    let too_large = Some(DecodeError::FrameTooLarge);
    assert_eq!(read, [(5, too_large), (u64::MAX, None)]);
}
