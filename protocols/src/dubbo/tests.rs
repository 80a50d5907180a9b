//! Dubbo over frames of real clients and servers, cut and truncated everywhere.

use std::time::Duration;

use bytes::BytesMut;

use super::*;
use crate::trial::{Cuts, Seen, trial};

/// A frame of Apache Dubbo 3.3 or dubbo-remoting, as the fuzzer's corpus has it.
macro_rules! capture {
    ($name:literal) => {
        include_bytes!(concat!("../../fuzz/corpus/dubbo/", $name))
    };
}

/// Holds the codec to its rules over these bytes.
fn check(side: Side, bytes: &[u8]) -> Seen {
    let cuts = match bytes.len() {
        0..=1000 => Cuts::Everywhere,
        _ => Cuts::Some(61),
    };
    trial(&Dubbo, side, &Limits::default(), bytes, cuts).unwrap()
}

fn one(side: Side, bytes: &[u8]) -> Frame {
    let mut seen = check(side, bytes);
    assert_eq!((seen.frames.len(), seen.end, seen.left), (1, None, 0));
    seen.frames.pop().unwrap()
}

fn session() -> Box<dyn Session> {
    Dubbo.start(Side::Client, &Limits::default())
}

fn header<'a>(fields: &'a Fields, name: &str) -> &'a str {
    std::str::from_utf8(fields.get(name.as_bytes()).unwrap_or_default()).unwrap()
}

/// A frame with that body.
fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let head = Head {
        flags,
        status: 0,
        id: 9,
        body: body.len(),
    };
    head.write(body)
}

/// A call of `s` with arguments and attachments as they are on the wire.
fn call(types: &str, rest: &[u8]) -> Vec<u8> {
    let mut body = b"\x052.0.2\x01s\x051.0.0\x01m".to_vec();
    crate::hessian::write_text(types, &mut body);
    body.extend_from_slice(rest);
    frame(0xc2, &body)
}

const NO_CALL: (&[u8], &[u8]) = (b"", b"");

#[test]
fn requests_of_java_and_node_say_what_they_call() {
    for (bytes, service, method, group, timeout) in [
        (
            &capture!("java_plus")[..],
            "EchoService",
            "plus",
            "blue",
            2000,
        ),
        (
            capture!("java_attachment"),
            "EchoService",
            "header",
            "blue",
            2000,
        ),
        (
            capture!("java_objects"),
            "EchoService",
            "mixed",
            "blue",
            2000,
        ),
        // The method of a generic call is its first argument.
        (
            capture!("java_generic"),
            "EchoService",
            "echo",
            "blue",
            2000,
        ),
        (
            capture!("node_request"),
            "com.test.EchoService",
            "echo",
            "blue",
            3000,
        ),
    ] {
        let frame = one(Side::Client, bytes);
        assert_eq!((frame.kind, frame.broken), (Kind::Request, None));
        assert_eq!(frame.service(), service.as_bytes());
        assert_eq!(frame.method(), method.as_bytes());
        assert_eq!(
            (frame.version(), frame.group()),
            (&b"1.0.0"[..], group.as_bytes())
        );
        assert_eq!(frame.timeout, Some(Duration::from_millis(timeout)));
    }
}

#[test]
fn attachments_are_found_behind_any_arguments() {
    for bytes in [&capture!("java_objects")[..], capture!("java_attachment")] {
        let frame = one(Side::Client, bytes);
        let fields = session().headers(&frame);
        assert_eq!(header(&fields, "remote.application"), "peer");
        assert_eq!(header(&fields, "group"), "blue");
    }
    let numbers = call(
        "I",
        b"\x91H\x07timeout\xcb\xe8\x04none\x4e\x05truthT\x03key\x01vZ",
    );
    let frame = one(Side::Client, &numbers);
    assert_eq!(frame.timeout, Some(Duration::from_secs(1)));
    let fields = session().headers(&frame);
    assert_eq!(
        (header(&fields, "timeout"), header(&fields, "truth")),
        ("1000", "true")
    );
    assert_eq!((fields.len(), header(&fields, "key")), (3, "v"));
}

/// An answer that is no failure, with that body.
fn flagged(body: &[u8]) -> Vec<u8> {
    let mut bytes = frame(2, body);
    bytes[3] = status::OK;
    bytes
}

#[test]
fn answers_say_how_they_ended() {
    for (bytes, verdict, code) in [
        (&capture!("java_response")[..], Verdict::Good, 20),
        (capture!("java_exception"), Verdict::Exception, 20),
        (capture!("node_response"), Verdict::Good, 20),
        (capture!("node_failed"), Verdict::Failed, 80),
        // An exception and a value whose flags are written longer than they have to be.
        (&flagged(b"I\0\0\0\0\x01x"), Verdict::Exception, 20),
        (&flagged(b"\xc8\x03\x01xHZ"), Verdict::Exception, 20),
        (&flagged(b"\xc8\x01\x01x"), Verdict::Good, 20),
        (&flagged(b""), Verdict::Good, 20),
    ] {
        let frame = one(Side::Upstream, bytes);
        assert_eq!(
            (frame.kind, frame.verdict, frame.code),
            (Kind::Response, verdict, code)
        );
    }
}

#[test]
fn pings_are_answered_as_node_answers_them_and_only_if_they_ask() {
    let ping = one(Side::Client, capture!("node_ping"));
    assert_eq!((ping.kind, ping.id), (Kind::Ping, 11));
    assert_eq!(
        session().pong(&ping).unwrap().bytes,
        &capture!("node_pong")[..]
    );
    assert_eq!(one(Side::Upstream, capture!("node_pong")).kind, Kind::Pong);
    assert_eq!(
        session().ping(11).unwrap().bytes,
        &capture!("node_ping")[..]
    );
    // Of another serialization, the null that it sent.
    let other = one(Side::Client, &frame(0xf7, b"\0\0\0\x01\xaf"));
    assert_eq!(
        session().pong(&other).unwrap().bytes[2..],
        *b"\x37\x14\0\0\0\0\0\0\0\x09\0\0\0\x05\0\0\0\x01\xaf"
    );
    let one_way = one(Side::Client, &frame(0xa2, b"N"));
    assert_eq!((one_way.kind, session().pong(&one_way)), (Kind::Ping, None));
}

#[test]
fn a_provider_that_leaves_says_so() {
    assert_eq!(
        one(Side::Upstream, &frame(0xa2, b"\x01R")).kind,
        Kind::GoAway
    );
    assert_eq!(
        one(Side::Upstream, &frame(0xa2, b"\x01W")).kind,
        Kind::Resume
    );
    let own = session().goaway().unwrap();
    assert_eq!(
        own.bytes,
        &b"\xda\xbb\xa2\0\0\0\0\0\0\0\0\0\0\0\0\x02\x01R"[..]
    );
}

#[test]
fn refusals_are_texts_in_the_requests_serialization() {
    let refusal = |why| Refusal { why, text: "boom" };
    let mut session = session();
    let request = one(Side::Client, capture!("node_request"));
    for (why, status) in [
        (Why::NoRoute, 60),
        (Why::NoHost, 60),
        (Why::Denied, 70),
        (Why::Overloaded, 80),
        (Why::Timeout, 31),
        (Why::Unreachable, 80),
        (Why::Reset, 80),
        (Why::BadAnswer, 80),
        (Why::Malformed, 40),
        (Why::Internal, 80),
    ] {
        let reply = session.reply(&request, &refusal(why)).unwrap();
        let mut expect = b"\xda\xbb\x02\0\0\0\0\0\0\0\0\x07\0\0\0\x05\x04boom".to_vec();
        expect[3] = status;
        assert_eq!(reply.bytes, expect, "{why:?}");
    }
    let fastjson2 = one(Side::Client, &frame(0xd7, b"whatever"));
    let reply = session.reply(&fastjson2, &refusal(Why::NoRoute)).unwrap();
    assert_eq!(
        reply.bytes[2..],
        *b"\x17\x3c\0\0\0\0\0\0\0\x09\0\0\0\x09\0\0\0\x05\x4dboom"
    );
    let one_way = one(Side::Client, &frame(0x82, b"\x052.0.2\x01s\x4e\x01m\0N"));
    assert_eq!(one_way.kind, Kind::OneWay);
    assert_eq!(session.reply(&one_way, &refusal(Why::NoRoute)), None);
}

#[test]
fn other_serializations_say_nothing_and_pass() {
    let other = one(Side::Client, &frame(0xc3, b"\xac\xed\0\x05w"));
    assert_eq!((other.kind, other.broken), (Kind::Request, None));
    assert_eq!((other.service(), other.method()), NO_CALL);
    let change = [Change {
        name: b"a",
        value: Some(b"b"),
    }];
    assert_eq!(
        session().amend(&other, &change),
        Err(AmendError::Unsupported)
    );
    assert!(session().headers(&other).is_empty());
}

#[test]
fn versions_may_be_null_and_dubbox_says_more() {
    let null = frame(0xc2, b"\x052.0.2\x01sN\x01m\0N");
    let null = one(Side::Client, &null);
    assert_eq!(
        (null.service(), null.version(), null.method()),
        (&b"s"[..], &b""[..], &b"m"[..])
    );
    let dubbox = frame(0xc2, b"\x052.8.4\x01sN\x01m\x8f\x01I\x91H\x05group\x01gZ");
    assert_eq!(one(Side::Client, &dubbox).group(), b"g");
}

#[test]
fn headers_are_spliced_in_without_touching_arguments() {
    let frame = one(Side::Client, capture!("java_objects"));
    let changes = [
        Change {
            name: b"traceparent",
            value: Some(b"00-1-2-00"),
        },
        Change {
            name: b"remote.application",
            value: None,
        },
        Change {
            name: b"group",
            value: Some("gr\u{fc}n".as_bytes()),
        },
    ];
    let amended = session().amend(&frame, &changes).unwrap();
    let fields = session().headers(&amended);
    assert_eq!(header(&fields, "traceparent"), "00-1-2-00");
    assert_eq!(fields.get(b"remote.application"), None);
    assert_eq!(fields.all(b"group").count(), 1);
    assert_eq!(amended.group(), "gr\u{fc}n".as_bytes());
    let at = frame.notes[ATTACHMENTS] as usize;
    assert_eq!(amended.notes[ATTACHMENTS] as usize, at);
    assert_eq!(amended.bytes[head::LEN..at], frame.bytes[head::LEN..at]);
    assert_eq!(amended.id, frame.id);
}

#[test]
fn a_request_without_attachments_gets_some() {
    for end in [&b"N"[..], b""] {
        let mut rest = b"\x91".to_vec();
        rest.extend_from_slice(end);
        let frame = one(Side::Client, &call("I", &rest));
        let change = [Change {
            name: b"a",
            value: Some(b"b"),
        }];
        let amended = session().amend(&frame, &change).unwrap();
        assert_eq!(amended.bytes, call("I", b"\x91H\x01a\x01bZ"));
    }
}

#[test]
fn a_value_that_others_may_refer_to_stays() {
    let frame = one(Side::Client, &call("", b"H\x01a\x79\x91\x01b\x01cZ"));
    let gone = [Change {
        name: b"a",
        value: None,
    }];
    assert_eq!(session().amend(&frame, &gone), Err(AmendError::Unsupported));
    let set = [Change {
        name: b"a",
        value: Some(b"x"),
    }];
    let amended = session().amend(&frame, &set).unwrap();
    assert_eq!(
        amended.bytes,
        call("", b"H\x01a\x79\x91\x01b\x01c\x01a\x01xZ")
    );
}

#[test]
fn what_cannot_be_read_to_its_end_breaks_the_frame() {
    let deep = [&[0x79; 2000][..], b"\x91H\x05group\x01gZ"].concat();
    let (body, header) = (DecodeError::BadBody, DecodeError::BadHeader);
    for (types, rest, error) in [
        ("[I", &deep[..], DecodeError::TooDeep),
        // No descriptor.
        ("x", b"\x91N", body),
        // A list of 2^31 - 1 values, of which none is there.
        ("[I", b"XI\x7f\xff\xff\xff", body),
        // An object of a class that was not defined.
        ("LX;", b"\x60\x91N", body),
        // Bytes behind the attachments, which a provider would not look at.
        ("I", b"\x91H\x05group\x01gZ\x91", body),
        ("I", b"\x91N\x91", body),
        // The end mark of a map where a value should be.
        ("LX;", b"H\x01aZ", body),
        ("LX;", b"\x40", body),
        // Names and values in chunks, which a provider puts together.
        ("", b"HR\0\x02gr\x03oup\x01gZ", header),
        ("", b"H\x05groupR\0\x01g\x01hZ", header),
        // A letter in two bytes, in three and in four that is one of one byte.
        ("", b"H\x05gro\xc1\xb5p\x01gZ", body),
        ("", b"H\x05group\x01\xe0\x81\xa7Z", body),
        ("", b"H\x05group\x02\xf0\x80\x81\xa7Z", body),
    ] {
        let frame = one(Side::Client, &call(types, rest));
        assert_eq!(frame.broken, Some(error), "{types} {rest:x?}");
        let refusal = Refusal {
            why: Why::Malformed,
            text: "",
        };
        let reply = session().reply(&frame, &refusal).unwrap();
        assert_eq!((reply.id, reply.code), (9, 40));
    }
}

/// Of what is said twice, what providers for Java go by.
#[test]
fn what_is_called_is_what_a_provider_calls() {
    let elsewhere = call("", b"H\x04path\x05Admin\x07version\x052.0.0Z");
    let frame = one(Side::Client, &elsewhere);
    assert_eq!(
        (frame.service(), frame.version()),
        (&b"Admin"[..], &b"2.0.0"[..])
    );
    let twice = call(
        "",
        b"H\x05group\x01a\x04path\x01x\x04path\x01y\x05group\x01bZ",
    );
    let frame = one(Side::Client, &twice);
    assert_eq!((frame.service(), frame.group()), (&b"y"[..], &b"b"[..]));
    assert_eq!(header(&session().headers(&frame), "group"), "b");
    // A generic call, whatever it says of its arguments' types, and with blanks that Java takes off.
    let generic = |types: &str, method: &[u8]| {
        let mut body = b"\x052.0.2\x01s\x051.0.0\x07$invoke".to_vec();
        crate::hessian::write_text(types, &mut body);
        body.extend_from_slice(method);
        body.extend_from_slice(b"\x70\x07[string\x70\x07[objectHZ");
        one(Side::Client, &frame_of(&body))
    };
    for (types, method, expect) in [
        (GENERIC, &b"\x06delete"[..], &b"delete"[..]),
        ("Ljava/lang/Object;[I[I", b"\x06delete", b"delete"),
        (GENERIC, b"\x09 delete\t\n", b"delete"),
        (GENERIC, b"\x02  ", b""),
        (GENERIC, b"\x91", b"$invoke"),
    ] {
        assert_eq!(generic(types, method).method(), expect);
    }
    let chunks = generic(GENERIC, b"R\0\x03del\x03ete");
    assert_eq!(chunks.broken, Some(DecodeError::BadBody));
}

const GENERIC: &str = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;";

fn frame_of(body: &[u8]) -> Vec<u8> {
    frame(0xc2, body)
}

#[test]
fn what_is_called_has_to_be_readable() {
    for body in [
        &b"\x052.0.2\x01s\x91\x01m\0N"[..],
        b"\x052.0.2\x05s",
        b"",
        b"\x91",
        // A service, a method in chunks.
        b"\x052.0.2R\0\x01a\x01d\x051.0.0\x01m\0N",
        b"\x052.0.2\x01s\x051.0.0R\0\x01m\x00\0N",
    ] {
        let frame = one(Side::Client, &frame(0xc2, body));
        assert_eq!(frame.broken, Some(DecodeError::BadBody));
    }
}

#[test]
fn every_kind_of_value_is_passed_over() {
    let person = b"C\x01P\x93\x01a\x01b\x01c\x60\x91\x60NNN\x51\x90";
    let lists = b"V\x02[i\x92\x91\x92\x72\x90\x91\x92W\x91ZU\x01t\x91Z\x7a\x91\x92X\x92TF";
    let texts = "\x32\x01"
        .as_bytes()
        .iter()
        .chain([b'x'; 513].iter())
        .copied();
    let rest: Vec<u8> = person
        .iter()
        .chain(lists)
        .copied()
        .chain(texts)
        .chain(*b"R\0\x02abS\0\x01c\x02\xf0\x9f\x98\x80\x02\xed\xa0\xbd\xed\xb8\x80")
        .chain(*b"\x21x\x34\x02xyA\0\x01xB\0\x01y")
        .chain(*b"L\0\0\0\0\0\0\0\x01Y\0\0\0\x01\xe0\xf8\0\x3c\0\0I\0\0\0\x01\xc8\0\xd4\0\0")
        .chain(*b"D\0\0\0\0\0\0\0\0\x5b\x5c\x5d\0\x5e\0\0\x5f\0\0\0\0J\0\0\0\0\0\0\0\0K\0\0\0\0")
        .chain(*b"H\x91\x92\x93H\x91\x92ZZM\x01t\x01k\x01vZM\x90\x01k\x01vZ")
        .chain(*b"H\x01k\x01vZ")
        .collect();
    let values = 1 + 6 + 4 + 3 + 8 + 8 + 3;
    let frame = one(Side::Client, &call(&"I".repeat(values), &rest));
    let fields = session().headers(&frame);
    assert_eq!((header(&fields, "k"), fields.len()), ("v", 1));
}

#[test]
fn attachments_over_the_limit_break_the_frame() {
    let mut rest = b"H".to_vec();
    (0..257).for_each(|_| rest.extend_from_slice(b"\x01k\x01v"));
    rest.push(b'Z');
    let frame = one(Side::Client, &call("", &rest));
    assert_eq!(frame.broken, Some(DecodeError::HeadersTooLarge));
    let long = "x".repeat(32 << 10);
    let mut rest = b"H\x01k".to_vec();
    crate::hessian::write_text(&long, &mut rest);
    rest.push(b'Z');
    let frame = one(Side::Client, &call("", &rest));
    assert_eq!(frame.broken, Some(DecodeError::HeadersTooLarge));
}

#[test]
fn frames_over_the_limit_are_answered_and_passed_over() {
    let limits = Limits {
        frame: 100,
        ..Limits::default()
    };
    let both = [&capture!("node_request")[..], capture!("node_ping")].concat();
    let seen = trial(&Dubbo, Side::Client, &limits, &both, Cuts::Everywhere).unwrap();
    let kinds: Vec<_> = seen.frames.iter().map(|f| (f.kind, f.broken)).collect();
    let too_large = Some(DecodeError::FrameTooLarge);
    assert_eq!(kinds, [(Kind::Request, too_large), (Kind::Ping, None)]);
}

#[test]
fn what_no_frame_has_ends_the_connection() {
    let negative = [&b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\x01"[..], &[0xff; 4]].concat();
    for (bytes, error) in [
        (&b"ls\r\n"[..], DecodeError::BadMagic),
        (b"\xda\xbc", DecodeError::BadMagic),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", DecodeError::BadMagic),
        (&negative, DecodeError::BadLength),
    ] {
        let seen = check(Side::Client, bytes);
        assert_eq!((seen.frames.len(), seen.end), (0, Some(error)));
    }
}

#[test]
fn ids_have_all_their_bits() {
    let mut bytes = capture!("node_request").to_vec();
    bytes[4..12].copy_from_slice(&(-5_i64).to_be_bytes());
    assert_eq!(one(Side::Client, &bytes).id, -5_i64 as u64);
    let mut large = call("[B", &[&b"B\xff\xff"[..], &[7; 0xffff], b"N"].concat());
    large[11] = 0;
    let mut input = BytesMut::from(&large[..]);
    let frame = session().decode(&mut input).unwrap().unwrap();
    let mut output = Output::new();
    session().encode(&frame, &mut output);
    // The body of a large frame is not copied.
    assert_eq!(output.take().map(|part| part.len()), Some(12));
}

/// What providers of Java take for a call of their own `GenericService`.
#[test]
fn a_generic_call_is_the_one_that_it_says() {
    let call = GenericCall {
        service: "com.test.Echo",
        version: Some("1.0.0"),
        group: Some("blue"),
        method: "plus",
        types: &["int", "int"],
        timeout: Duration::from_secs(3),
    };
    let write = |out: &mut crate::hessian::Writer| {
        out.int(2);
        out.int(3);
        Ok::<(), ()>(())
    };
    let bytes = call.write(write).unwrap();
    let expect = b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\x01\0\0\0\xdd\
        \x052.0.2\x0dcom.test.Echo\x051.0.0\x07$invoke\
        \x30\x38Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;\
        \x04plus\x72\x07[string\x03int\x03int\x72\x07[object\x92\x93\
        H\x04path\x0dcom.test.Echo\x09interface\x0dcom.test.Echo\x07version\x051.0.0\x05group\x04blue\
        \x07generic\x04true\x07timeout\x043000Z";
    assert_eq!(bytes, expect);
    let frame = one(Side::Client, &bytes);
    assert_eq!(
        (frame.method(), frame.group()),
        (&b"plus"[..], &b"blue"[..])
    );
    assert_eq!(frame.timeout, Some(Duration::from_secs(3)));
    assert_eq!(call.write(|_| Err(7)), Err(7));
}

#[test]
fn an_answer_in_another_serialization_is_not_decoded() {
    let mut bytes = frame(3, b"\x91\x92");
    bytes[3] = 20;
    let answer = one(Side::Upstream, &bytes);
    let decoded = generic_answer(&answer, &Limits::default());
    assert_eq!(decoded, Err(DecodeError::Unsupported));
}
