//! Bolt over frames of real clients and servers, cut and truncated everywhere.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::trial::{Cuts, Seen, trial};

/// A frame of sofa-bolt or sofa-bolt-node, as the fuzzer's corpus has it.
macro_rules! capture {
    ($name:literal) => {
        include_bytes!(concat!("../../fuzz/corpus/bolt/", $name))
    };
}

/// Holds the codec to its rules over these bytes, wherever they are cut.
fn check(side: Side, bytes: &[u8]) -> Seen {
    trial(&Bolt, side, &Limits::default(), bytes, Cuts::Everywhere).unwrap()
}

fn one(side: Side, bytes: &[u8]) -> Frame {
    let mut seen = check(side, bytes);
    assert_eq!((seen.frames.len(), seen.end, seen.left), (1, None, 0));
    seen.frames.pop().unwrap()
}

fn written(session: &mut dyn Session, frame: &Frame) -> Bytes {
    let mut output = Output::new();
    session.encode(frame, &mut output);
    let mut all = BytesMut::new();
    while let Some(part) = output.take() {
        all.extend_from_slice(&part);
    }
    all.freeze()
}

/// A request of version 1 with these pairs; none is a null.
fn request(id: i32, pairs: &[(Option<&str>, Option<&str>)], content: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        let len = text.map_or(-1, |text| text.len() as i32);
        block.extend_from_slice(&len.to_be_bytes());
        block.extend_from_slice(text.unwrap_or_default().as_bytes());
    }
    let mut bytes = vec![1, 1, 0, 1, 1];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.push(1);
    bytes.extend_from_slice(&1000_i32.to_be_bytes());
    bytes.extend_from_slice(&0_u16.to_be_bytes());
    bytes.extend_from_slice(&(block.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&block);
    bytes.extend_from_slice(content);
    bytes
}

fn set<'a>(name: &'a str, value: &'a str) -> Change<'a> {
    Change {
        name: name.as_bytes(),
        value: Some(value.as_bytes()),
    }
}

#[test]
fn requests_of_node_say_service_version_and_timeout() {
    for (bytes, id, kind, pin) in [
        (&capture!("node_v1_request")[..], 7, Kind::Request, 0x100),
        (&capture!("node_v1_oneway")[..], 8, Kind::OneWay, 0x100),
        (
            &capture!("node_v2_request_crc")[..],
            9,
            Kind::Request,
            0x202,
        ),
        (&capture!("node_v2_request")[..], 10, Kind::Request, 0x202),
    ] {
        let frame = one(Side::Client, bytes);
        assert_eq!((frame.kind, frame.id, frame.pin), (kind, id, pin));
        assert_eq!(frame.service(), b"com.test.EchoService:1.0");
        assert_eq!(frame.version(), b"1.0");
        assert_eq!((frame.method(), frame.group()), (&b""[..], &b""[..]));
        assert_eq!(frame.timeout, Some(Duration::from_secs(3)));
        assert_eq!(frame.broken, None);
    }
}

#[test]
fn answers_say_how_they_ended() {
    let good = one(Side::Upstream, capture!("node_v1_response"));
    assert_eq!((good.kind, good.id), (Kind::Response, 7));
    assert_eq!((good.verdict, good.code), (Verdict::Good, 0));
    let negative = one(Side::Upstream, capture!("node_v2_response_crc"));
    assert_eq!(negative.id, 0xffff_fffe);
    let mut busy = capture!("node_v1_response").to_vec();
    busy[11] = 4;
    let busy = one(Side::Upstream, &busy);
    assert_eq!((busy.verdict, busy.code), (Verdict::Failed, 4));
    let mut exception = request(1, &[(Some("sofa_head_response_error"), Some("true"))], b"x");
    exception.splice(1..14, [0, 0, 2, 1, 0, 0, 0, 1, 1, 0, 0]);
    let exception = one(Side::Upstream, &exception);
    assert_eq!(exception.verdict, Verdict::Exception);
}

#[test]
fn heartbeats_are_answered_in_kind() {
    let both = check(Side::Client, capture!("java_ping_and_ack"));
    let [ping, ack] = &both.frames[..] else {
        panic!("{both:?}")
    };
    assert_eq!((ping.kind, ack.kind), (Kind::Ping, Kind::Pong));
    assert_eq!(ping.timeout, None);
    let mut session = Bolt.start(Side::Client, &Limits::default());
    // As Java answers it, byte by byte.
    assert_eq!(session.pong(ping).unwrap().bytes, ack.bytes);
    let node = one(Side::Client, capture!("node_v1_ping"));
    assert_eq!(node.kind, Kind::Ping);
}

#[test]
fn own_heartbeats_speak_the_version_of_the_connection() {
    let mut session = Bolt.start(Side::Upstream, &Limits::default());
    assert_eq!(session.ping(10), None);
    let java = check(Side::Client, capture!("java_ping_and_ack"));
    written(&mut *session, &java.frames[0]);
    assert_eq!(session.ping(10).unwrap().bytes, java.frames[0].bytes);
    written(
        &mut *session,
        &one(Side::Client, capture!("node_v2_request_crc")),
    );
    let ping = session.ping(3).unwrap();
    assert_eq!((ping.pin, ping.kind, ping.id), (0x202, Kind::Ping, 3));
    // Java sends heartbeats without a checksum on connections whose calls have one.
    assert_eq!(one(Side::Client, &ping.bytes).bytes.len(), 24);
}

#[test]
fn a_new_id_mends_the_checksum_of_a_large_frame() {
    let frame = one(Side::Client, capture!("node_v2_request_crc"));
    let head = Head::read(&frame.bytes).unwrap().unwrap();
    let mut bytes = frame.bytes[..head.crc_at()].to_vec();
    let content = 300_000_u32 + head.content as u32;
    bytes[20..24].copy_from_slice(&content.to_be_bytes());
    bytes.resize(bytes.len() + 300_000, 7);
    bytes.extend_from_slice(&crc::sum(&bytes).to_be_bytes());
    let mut session = Bolt.start(Side::Client, &Limits::default());
    let mut input = BytesMut::from(&bytes[..]);
    let mut large = session.decode(&mut input).unwrap().unwrap();
    assert_eq!(large.broken, None);
    large.id = 0x0102_0304;
    let mut input = BytesMut::from(&written(&mut *session, &large)[..]);
    let again = session.decode(&mut input).unwrap().unwrap();
    assert_eq!((again.id, again.broken), (0x0102_0304, None));
}

#[test]
fn a_wrong_checksum_breaks_the_frame_and_not_the_stream() {
    let mut bytes = capture!("node_v2_request_crc").to_vec();
    bytes[100] ^= 1;
    bytes.extend_from_slice(capture!("node_v2_request_crc"));
    let seen = check(Side::Client, &bytes);
    let broken: Vec<_> = seen.frames.iter().map(|frame| frame.broken).collect();
    assert_eq!(broken, [Some(DecodeError::BadChecksum), None]);
}

#[test]
fn a_checksum_follows_only_where_java_puts_one() {
    // Sub-version 1 sets the switch and sends no checksum.
    let mut bytes = capture!("node_v2_request").to_vec();
    (bytes[1], bytes[11]) = (1, 1);
    let frame = one(Side::Client, &bytes);
    assert_eq!((frame.pin, frame.broken), (0x201, None));
}

#[test]
fn refusals_are_answers_that_java_knows() {
    let refusal = |why| Refusal { why, text: "" };
    let mut session = Bolt.start(Side::Client, &Limits::default());
    for (why, status) in [
        (Why::NoRoute, 6),
        (Why::NoHost, 6),
        (Why::Denied, 2),
        (Why::Overloaded, 4),
        (Why::Timeout, 7),
        (Why::Unreachable, 0x10),
        (Why::Reset, 0x10),
        (Why::BadAnswer, 9),
        (Why::Malformed, 9),
        (Why::Internal, 2),
    ] {
        let v1 = one(Side::Client, capture!("node_v1_request"));
        let reply = session.reply(&v1, &refusal(why)).unwrap();
        let mut expect = vec![
            1, 0, 0, 2, 1, 0, 0, 0, 7, 1, 0, status, 0, 46, 0, 0, 0, 0, 0, 0,
        ];
        expect.extend_from_slice(RESPONSE_CLASS);
        assert_eq!(reply.bytes, expect, "{why:?}");
        let v2 = one(Side::Client, capture!("node_v2_request_crc"));
        let reply = session.reply(&v2, &refusal(why)).unwrap();
        assert_eq!(
            reply.bytes[..14],
            [2, 2, 0, 0, 2, 1, 0, 0, 0, 9, 1, 0, 0, status]
        );
    }
    let oneway = one(Side::Client, capture!("node_v1_oneway"));
    assert_eq!(session.reply(&oneway, &refusal(Why::NoRoute)), None);
}

#[test]
fn frames_over_the_limit_are_answered_and_passed_over() {
    let limits = Limits {
        frame: 300,
        ..Limits::default()
    };
    let mut bytes = capture!("node_v1_request").to_vec();
    bytes.extend_from_slice(capture!("node_v1_ping"));
    let seen = trial(&Bolt, Side::Client, &limits, &bytes, Cuts::Everywhere).unwrap();
    let kinds: Vec<_> = seen.frames.iter().map(|f| (f.kind, f.broken)).collect();
    let too_large = Some(DecodeError::FrameTooLarge);
    assert_eq!(kinds, [(Kind::Request, too_large), (Kind::Ping, None)]);
    // And a length of 2 GiB takes no memory.
    let mut huge = request(1, &[], b"");
    huge[18..22].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    let seen = check(Side::Client, &huge);
    assert_eq!(seen.frames[0].broken, too_large);
}

#[test]
fn what_no_frame_has_ends_the_connection() {
    let with = |at: usize, value: &[u8]| {
        let mut bytes = request(1, &[], b"");
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    for (bytes, error) in [
        (with(0, &[3]), DecodeError::BadMagic),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), DecodeError::BadMagic),
        (with(1, &[3]), DecodeError::BadKind),
        (with(0, &[2, 3, 1]), DecodeError::BadVersion),
        (with(14, &[0x80]), DecodeError::BadLength),
        (with(16, &[0xff]), DecodeError::BadLength),
        (with(18, &[0xff; 4]), DecodeError::BadLength),
    ] {
        let seen = check(Side::Client, &bytes);
        assert_eq!((seen.frames.len(), seen.end), (0, Some(error)));
    }
}

#[test]
fn a_command_that_nobody_knows_breaks_the_frame() {
    let mut bytes = request(1, &[], b"");
    bytes[3] = 7;
    assert_eq!(one(Side::Client, &bytes).broken, Some(DecodeError::BadKind));
}

#[test]
fn header_blocks_may_have_nulls_and_keys_twice_and_the_last_counts() {
    let bytes = request(
        1,
        &[
            (Some("service"), Some("a:1.0:blue")),
            (None, Some("sofa_head_method_name")),
            (Some("service"), None),
            (Some("sofa_head_method_name"), Some("first")),
            (Some("sofa_head_method_name"), Some("last")),
        ],
        b"content",
    );
    let frame = one(Side::Client, &bytes);
    assert_eq!(
        (frame.service(), frame.method()),
        (&b"a:1.0:blue"[..], &b"last"[..])
    );
    assert_eq!(
        (frame.version(), frame.group()),
        (&b"1.0"[..], &b"blue"[..])
    );
    let fields = Bolt.start(Side::Client, &Limits::default()).headers(&frame);
    assert_eq!(fields.get(b"sofa_head_method_name"), Some(&b"last"[..]));
    // A blank one counts for nothing, and without any the request says nothing.
    let blank = [
        (Some("service"), Some("")),
        (Some("sofa_head_target_service"), Some("b")),
    ];
    assert_eq!(one(Side::Client, &request(1, &blank, b"")).service(), b"b");
    assert_eq!(one(Side::Client, &request(1, &[], b"")).service(), b"");
}

#[test]
fn a_header_block_that_does_not_fill_its_place_breaks_the_frame() {
    let good = request(1, &[(Some("key"), Some("value"))], b"");
    for (at, value) in [(25, 4), (32, 6), (22, 0x80)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        let frame = one(Side::Client, &bytes);
        assert_eq!(frame.broken, Some(DecodeError::BadHeader), "{at}");
    }
    let many = vec![(Some("k"), Some("v")); 257];
    let frame = one(Side::Client, &request(1, &many, b""));
    assert_eq!(frame.broken, Some(DecodeError::HeadersTooLarge));
}

#[test]
fn a_change_of_headers_keeps_all_that_it_does_not_name() {
    let before = [
        (Some("service"), Some("a:1.0")),
        (Some("tenant"), Some("red")),
        (Some("none"), None),
        (None, Some("x")),
    ];
    let after = [
        before[0],
        before[2],
        before[3],
        (Some("tenant"), Some("blue")),
    ];
    let frame = one(Side::Client, &request(9, &before, b"content"));
    let session = Bolt.start(Side::Client, &Limits::default());
    let amended = session.amend(&frame, &[set("tenant", "blue")]).unwrap();
    assert_eq!(amended.bytes, request(9, &after, b"content"));
    let gone = Change {
        name: b"tenant",
        value: None,
    };
    let amended = session.amend(&frame, &[gone]).unwrap();
    assert_eq!(amended.bytes, request(9, &after[..3], b"content"));
    let large = "x".repeat(40_000);
    let result = session.amend(&frame, &[set("tenant", &large)]);
    assert_eq!(result, Err(AmendError::TooLarge));
}

#[test]
fn goaway_is_a_word_of_mosns_in_the_version_of_the_connection() {
    assert_eq!(Bolt.goaway(), GoAway::Asked);
    let mut session = Bolt.start(Side::Client, &Limits::default());
    // Nothing was said yet: there is no version to say it in.
    assert_eq!(session.goaway(), None);
    for (call, expect) in [
        (
            &capture!("node_v1_request")[..],
            &b"\x01\x01\0\x64\x01\0\0\0\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0"[..],
        ),
        (
            capture!("node_v2_request_crc"),
            b"\x02\x02\x01\0\x64\x01\0\0\0\0\x01\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
        ),
    ] {
        written(&mut *session, &one(Side::Client, call));
        let goaway = session.goaway().unwrap();
        assert_eq!(goaway.bytes, expect);
        assert_eq!(one(Side::Upstream, &goaway.bytes).kind, Kind::GoAway);
    }
}

#[test]
fn first_bytes_of_other_protocols_are_none_of_bolt() {
    for (prefix, sniff) in [
        (&b""[..], Sniff::NeedMore),
        (b"\x01", Sniff::NeedMore),
        (b"\x01\x01\x00", Sniff::NeedMore),
        (b"\x01\x01\x00\x01", Sniff::Yes),
        (b"\x02\x01\x01\x00\x00", Sniff::Yes),
        (b"\x01\x00\x00\x02", Sniff::No),
        (b"GET / HTTP/1.1", Sniff::No),
        (b"\x16\x03\x01", Sniff::No),
        (b"\xda\xbb", Sniff::No),
    ] {
        assert_eq!(Bolt.sniff(prefix), sniff, "{prefix:?}");
    }
}

/// What servers of SOFARPC for Java take for a call of their own clients with `json`.
#[test]
fn a_call_with_json_is_the_one_that_it_says() {
    let call = JsonCall {
        service: "com.test.Echo:1.0",
        method: "plus",
    };
    let bytes = call.write(b"[2,3]").unwrap();
    let expect = b"\x01\x01\0\x01\x01\0\0\0\x01\x0c\xff\xff\xff\xff\0\x2c\0\x72\0\0\0\x05\
        com.alipay.sofa.rpc.core.request.SofaRequest\
        \0\0\0\x07service\0\0\0\x11com.test.Echo:1.0\
        \0\0\0\x18sofa_head_target_service\0\0\0\x11com.test.Echo:1.0\
        \0\0\0\x15sofa_head_method_name\0\0\0\x04plus[2,3]";
    assert_eq!(bytes, expect);
    let long = "x".repeat(20_000);
    let call = JsonCall {
        service: &long,
        ..call
    };
    assert_eq!(call.write(b""), Err(AmendError::TooLarge));
}
