//! Golden requests on both sides of each rule, and frames cut at every byte.

use bytes::Bytes;

use super::*;
use crate::Fields;
use crate::http1::Violation;
use crate::message::{Framing, Method};

const LIMITS: Limits = Limits {
    fields: 4,
    field: 64,
    cookies: 3,
    target: 32,
};

/// A good GET.
fn get() -> Parts {
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    Parts {
        method: Method::Get,
        scheme: text("http"),
        authority: text("a.test"),
        path: text("/x?y"),
        protocol: None,
        fields: Fields::new(),
        cookies: 0,
        ended: true,
    }
}

fn with(change: impl FnOnce(&mut Parts)) -> Result<Request, Violation> {
    let mut parts = get();
    change(&mut parts);
    request(parts, &LIMITS)
}

fn fields(list: &[(&'static str, &'static str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in list {
        fields.push(*name, *value);
    }
    fields
}

fn text(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_good_request_becomes_one() {
    let request = with(|_| ()).expect("a request");
    assert_eq!(&request.head.target[..], b"/x?y");
    assert_eq!(&request.head.authority[..], b"a.test");
    assert_eq!(request.framing, Framing::Empty);
    assert!(!request.expect_continue && !request.te_trailers && request.upgrade.is_none());
}

#[test]
fn targets_are_paths_or_an_asterisk_for_options() {
    use Violation::{StartLineTooLong, TargetByte, TargetForm, TargetFragment};
    let long: &'static str = "/234567890123456789012345678901234";
    for (method, path, expect) in [
        (Method::Get, text("/"), Ok(())),
        (Method::Options, text("*"), Ok(())),
        (Method::Options, text("/"), Ok(())),
        (Method::Get, text("*"), Err(TargetForm)),
        (Method::Get, text("x"), Err(TargetForm)),
        (Method::Get, text(""), Err(TargetForm)),
        (Method::Get, None, Err(TargetForm)),
        (Method::Get, text("http://a.test/"), Err(TargetForm)),
        (Method::Get, text("/a b"), Err(TargetByte)),
        (Method::Get, text("/a\r\nx"), Err(TargetByte)),
        (Method::Get, text("/a\0"), Err(TargetByte)),
        (Method::Get, text("/\u{e9}"), Err(TargetByte)),
        (Method::Get, text("/a#b"), Err(TargetFragment)),
        (Method::Get, text(long), Err(StartLineTooLong)),
    ] {
        let got = with(|parts| {
            parts.method = method;
            parts.path.clone_from(&path);
        });
        assert_eq!(got.map(|_| ()), expect, "{path:?}");
    }
}

#[test]
fn the_host_is_named_once_and_the_same() {
    use Violation::{AuthorityInvalid, AuthorityMismatch, HostDuplicate, HostInvalid, HostMissing};
    let host = |value| fields(&[("host", value)]);
    let two = fields(&[("host", "a.test"), ("host", "a.test")]);
    for (authority, fields, expect) in [
        (text("a.test"), host("A.test"), Ok("a.test")),
        (None, host("a.test:8"), Ok("a.test:8")),
        (text("a.test"), host("b.test"), Err(AuthorityMismatch)),
        (text("a.test"), host("a.test:80"), Err(AuthorityMismatch)),
        (text("a.test"), two, Err(HostDuplicate)),
        (text("a.test"), host("a b"), Err(HostInvalid)),
        (text("u@a.test"), Fields::new(), Err(AuthorityInvalid)),
        (text(""), Fields::new(), Err(AuthorityInvalid)),
        (text("a.test/"), Fields::new(), Err(AuthorityInvalid)),
        (None, Fields::new(), Err(HostMissing)),
    ] {
        let got = with(|parts| {
            parts.authority.clone_from(&authority);
            parts.fields = fields;
        });
        if let Ok(request) = &got {
            assert_eq!(request.head.fields.get(b"host"), None);
        }
        let got = got.map(|request| request.head.authority);
        assert_eq!(got, expect.map(Bytes::from), "{authority:?}");
    }
}

#[test]
fn connect_is_for_websockets_only() {
    let connect = |protocol: Option<Bytes>| {
        with(|parts| {
            parts.method = Method::Connect;
            parts.protocol = protocol;
            parts.ended = false;
        })
    };
    assert_eq!(connect(None).err(), Some(Violation::Connect));
    assert_eq!(
        connect(text("connect-udp")).err(),
        Some(Violation::ConnectProtocol)
    );
    let got = with(|parts| parts.protocol = text("websocket"));
    assert_eq!(got.err(), Some(Violation::ConnectProtocol));
    let request = connect(text("websocket")).expect("a request");
    assert_eq!(request.head.method, Method::Get);
    assert_eq!(request.framing, Framing::Empty);
    assert_eq!(request.upgrade, text("websocket"));
    let got = with(|parts| {
        parts.method = Method::Connect;
        parts.protocol = text("websocket");
        parts.fields = fields(&[("content-length", "5")]);
    });
    assert_eq!(got.err(), Some(Violation::LengthInvalid));
}

#[test]
fn the_scheme_is_http() {
    for (scheme, good) in [
        (text("http"), true),
        (text("HTTPS"), true),
        (None, true),
        (text("ftp"), false),
        (text("http://a.test/"), false),
    ] {
        let got = with(|parts| parts.scheme.clone_from(&scheme));
        let expect = (!good).then_some(Violation::SchemeInvalid);
        assert_eq!(got.err(), expect, "{scheme:?}");
    }
}

#[test]
fn fields_are_held_against_rules_and_limits() {
    use Violation::{
        CookiesTooMany, Expectation, FieldNameAmbiguous, FieldTooLong, FieldValueSpace,
        FieldsTooMany, LengthDuplicate, LengthInvalid,
    };
    let long = "12345678901234567890123456789012345678901234567890123456789012";
    for (list, expect) in [
        (
            vec![("a", "1"), ("b", "x y"), ("c", ""), ("d", "4")],
            Ok(()),
        ),
        (vec![("a", "1"); 5], Err(FieldsTooMany)),
        (vec![("ab", long)], Ok(())),
        (vec![("abc", long)], Err(FieldTooLong)),
        (vec![("a", " x")], Err(FieldValueSpace)),
        (vec![("a", "x\t")], Err(FieldValueSpace)),
        (
            vec![("content-length", "1"), ("content-length", "1")],
            Err(LengthDuplicate),
        ),
        (vec![("content-length", "+1")], Err(LengthInvalid)),
        (vec![("content-length", "")], Err(LengthInvalid)),
        (
            vec![("content-length", "18446744073709551616")],
            Err(LengthInvalid),
        ),
        (vec![("content_length", "1")], Err(FieldNameAmbiguous)),
        (vec![("expect", "cookies")], Err(Expectation)),
    ] {
        let got = with(|parts| parts.fields = fields(&list));
        assert_eq!(got.map(|_| ()), expect, "{list:?}");
    }
    assert!(with(|parts| parts.cookies = 3).is_ok());
    assert_eq!(with(|parts| parts.cookies = 4).err(), Some(CookiesTooMany));
}

#[test]
fn a_body_is_as_long_as_the_stream_says() {
    let length = |value| fields(&[("content-length", value), ("expect", "100-continue")]);
    for (list, ended, expect) in [
        (Fields::new(), true, Framing::Empty),
        (Fields::new(), false, Framing::Chunked),
        (length("5"), false, Framing::Length(5)),
        (length("0"), true, Framing::Empty),
        (length("0"), false, Framing::Length(0)),
    ] {
        let request = with(|parts| {
            parts.fields = list;
            parts.ended = ended;
        });
        let request = request.expect("a request");
        assert_eq!(request.framing, expect);
        assert_eq!(
            request.expect_continue,
            request.head.fields.get(b"expect").is_some()
        );
    }
}

#[test]
fn trailers_lose_what_must_not_be_there() {
    let mut list = fields(&[("x-sum", "1"), ("content-length", "5"), ("cookie", "a")]);
    trailers(&mut list, &LIMITS).expect("trailers");
    assert_eq!(list.len(), 1);
    let mut five = fields(&[("a", "1"); 5]);
    assert_eq!(
        trailers(&mut five, &LIMITS),
        Err(Violation::TrailersTooMany)
    );
    assert_eq!(
        trailers(&mut fields(&[("a", " 1")]), &LIMITS),
        Err(Violation::FieldValueSpace)
    );
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, 1]);
    bytes.extend(payload);
    bytes
}

/// With the SETTINGS that belong to it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn frames_are_told_apart_wherever_the_input_is_cut() {
    use FrameKind::*;
    let mut bytes = PREFACE.to_vec();
    let mut want = vec![Settings];
    for (kind, flags, payload, is) in [
        (4, 0, &[0; 6][..], Settings),
        (1, 0, &[1; 20], Headers),
        (9, 0, &[], Continuation),
        (9, 4, &[2; 5], Continuation),
        (0, 0, &[0; 300], Data),
        (0, 0, &[], EmptyData),
        (2, 0, &[0; 5], Priority),
        (3, 0, &[0; 4], Reset),
        (6, 0, &[0; 8], Ping),
        (7, 0, &[0; 8], GoAway),
        (8, 0, &[0; 4], WindowUpdate),
        (0x55, 0, &[0; 8], Unknown),
    ] {
        bytes.extend(frame(kind, flags, payload));
        want.push(is);
    }
    let budgets = Budgets {
        control: 10,
        empty: 1,
    };
    for size in 1..bytes.len() {
        let mut scanner = FrameScanner::new(budgets);
        let mut got = Vec::new();
        for part in bytes.chunks(size) {
            scanner
                .scan(part, |kind| got.push(kind))
                .expect("within the budgets");
        }
        assert_eq!(got, want, "in parts of {size}");
    }
    for (at, kind) in FrameKind::ALL.iter().enumerate() {
        assert_eq!(kind.index(), at);
    }
}

#[test]
fn a_header_block_is_open_until_its_end() {
    let budgets = Budgets {
        control: 1,
        empty: 1,
    };
    let mut scanner = FrameScanner::new(budgets);
    let mut scan = |bytes: &[u8]| {
        scanner.scan(bytes, |_| ()).expect("within the budgets");
        scanner.is_in_block()
    };
    assert!(!scan(PREFACE));
    assert!(scan(&frame(1, 0, b"x")));
    assert!(scan(&frame(9, 0, b"x")));
    assert!(!scan(&frame(9, 4, b"x")));
    assert!(!scan(&frame(1, 5, b"x")));
}

/// How many times a frame may be sent in a row.
fn in_a_row(scanner: &mut FrameScanner, frame: &[u8]) -> (usize, Breach) {
    for count in 0..10_000 {
        if let Err(breach) = scanner.scan(frame, |_| ()) {
            return (count, breach);
        }
    }
    panic!("nothing bounds it");
}

#[test]
fn useless_frames_are_bounded_and_useful_work_pays_for_them() {
    let budgets = Budgets {
        control: 20,
        empty: 3,
    };
    let new = || {
        let mut scanner = FrameScanner::new(budgets);
        scanner.scan(PREFACE, |_| ()).expect("a preface");
        scanner.sent(1 << 10);
        scanner
    };
    for (kind, length) in [(2, 5), (3, 4), (4, 6), (6, 8), (8, 4), (0x55, 9)] {
        let got = in_a_row(&mut new(), &frame(kind, 0, &vec![0; length]));
        assert_eq!(got, (20, Breach::Control), "{kind}");
    }
    assert_eq!(in_a_row(&mut new(), &frame(0, 0, &[])), (3, Breach::Empty));
    let mut scanner = new();
    let ping = frame(6, 0, &[0; 8]);
    for _ in 0..1000 {
        scanner.scan(&frame(1, 4, b"x"), |_| ()).expect("a request");
        for _ in 0..4 {
            scanner.scan(&ping, |_| ()).expect("paid by the request");
        }
        scanner.sent(2 << 10);
        for _ in 0..2 {
            scanner.scan(&ping, |_| ()).expect("paid by what it took");
        }
        scanner.scan(&frame(0, 0, &[0; 256]), |_| ()).expect("data");
        scanner.scan(&ping, |_| ()).expect("paid by data");
        for _ in 0..3 {
            scanner
                .scan(&frame(0, 0, &[]), |_| ())
                .expect("paid by data");
        }
    }
    for _ in 0..1000 {
        scanner.scan(&ping, |_| ()).expect("paid by time");
        scanner.waited(100);
    }
    scanner.sent(u64::MAX / 2);
    assert_eq!(in_a_row(&mut scanner, &ping), (20, Breach::Control));
}

/// What becomes of frames behind the preface, whatever the input is cut into.
fn breach(frames: &[Vec<u8>]) -> Option<Breach> {
    let bytes = [PREFACE.to_vec(), frames.concat()].concat();
    let of = |size: usize| {
        let mut scanner = FrameScanner::new(Budgets {
            control: 100,
            empty: 100,
        });
        let mut parts = bytes.chunks(size);
        parts.find_map(|part| scanner.scan(part, |_| ()).err())
    };
    let whole = of(bytes.len());
    for size in 1..bytes.len() {
        assert_eq!(of(size), whole, "in parts of {size}");
    }
    whole
}

#[test]
fn frames_have_the_length_of_their_kind() {
    for (kind, flags, good, bad) in [
        (2, 0, vec![5], vec![0, 4, 6]),
        (3, 0, vec![4], vec![0, 3, 5]),
        (4, 0, vec![0, 6, 12], vec![1, 5, 7]),
        (4, 1, vec![0], vec![1, 6]),
        (6, 0, vec![8], vec![0, 7, 9]),
        (7, 0, vec![8, 20], vec![0, 7]),
        (8, 0, vec![4], vec![0, 3, 5]),
    ] {
        for length in good {
            assert_eq!(breach(&[frame(kind, flags, &vec![0; length])]), None);
        }
        for length in bad {
            let got = breach(&[frame(kind, flags, &vec![0; length])]);
            assert_eq!(got, Some(Breach::FrameSize), "{kind}: {length}");
        }
    }
}

#[test]
fn nothing_comes_on_a_stream_that_the_peer_has_ended() {
    let closed = Some(Breach::StreamClosed);
    let (head, last_head) = (frame(1, 4, b"x"), frame(1, 5, b"x"));
    let (data, last_data) = (frame(0, 0, b"x"), frame(0, 1, b"x"));
    let (reset, window) = (frame(3, 0, &[0; 4]), frame(8, 0, &[0, 0, 0, 1]));
    for (frames, expect) in [
        (vec![&head, &data, &last_data], None),
        (vec![&head, &data, &last_head], None),
        (vec![&last_head, &window, &reset, &window], None),
        (vec![&last_head, &data], closed),
        (vec![&last_head, &last_head], closed),
        (vec![&head, &last_data, &data], closed),
        (vec![&head, &reset, &data], closed),
    ] {
        let frames: Vec<_> = frames.into_iter().cloned().collect();
        assert_eq!(breach(&frames), expect, "{frames:?}");
    }
}

#[test]
fn a_window_is_no_larger_than_windows_are() {
    let settings = |entries: &[[u8; 6]]| breach(&[frame(4, 0, entries.as_flattened())]);
    let other = [0, 3, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(settings(&[other, [0, 4, 0x7f, 0xff, 0xff, 0xff]]), None);
    let too_large = [0, 4, 0x80, 0, 0, 0];
    assert_eq!(settings(&[other, too_large]), Some(Breach::Window));
    assert_eq!(breach(&[frame(0x55, 0, &too_large)]), None);
}

#[test]
fn a_preface_ends_with_settings() {
    let (settings, ack, ping) = (frame(4, 0, &[]), frame(4, 1, &[]), frame(6, 0, &[0; 8]));
    for (frames, expect) in [
        (vec![&settings, &ack], None),
        (vec![&ack], Some(Breach::Preface)),
        (vec![&ping], Some(Breach::Preface)),
        (vec![&frame(1, 5, b"x")], Some(Breach::Preface)),
        (vec![&frame(4, 0, b"x")], Some(Breach::FrameSize)),
    ] {
        let bytes = [
            &PREFACE[..24],
            &frames.into_iter().flatten().copied().collect::<Vec<_>>(),
        ]
        .concat();
        let mut scanner = FrameScanner::new(Budgets {
            control: 9,
            empty: 9,
        });
        assert_eq!(scanner.scan(&bytes, |_| ()).err(), expect, "{bytes:?}");
    }
}

#[test]
fn trailers_have_no_pseudo_fields() {
    let pseudo = Some(Breach::PseudoTrailer);
    // `:path` by the static table, as a head has it too.
    let (head, head_part) = (frame(1, 4, b"\x04\x01/"), frame(1, 0, b"\x04\x01/"));
    let (rest, data) = (frame(9, 4, b"\x00\x01x\x01y"), frame(0, 0, b"\x04\x01/"));
    let (good, bad) = (
        frame(1, 5, b"\x00\x01x\x01y"),
        frame(1, 5, b"\x00\x01x\x01y\x04\x01/"),
    );
    let (part, bad_rest) = (frame(1, 1, b"\x00\x01x\x01"), frame(9, 4, b"y\x04\x01/"));
    for (frames, expect) in [
        (vec![&head, &data, &good], None),
        (vec![&head_part, &rest, &data, &good], None),
        (vec![&head, &part, &frame(9, 4, b"y")], None),
        (vec![&head, &data, &bad], pseudo),
        (vec![&head_part, &rest, &bad], pseudo),
        (vec![&head, &part, &bad_rest], pseudo),
    ] {
        let frames: Vec<_> = frames.into_iter().cloned().collect();
        assert_eq!(breach(&frames), expect, "{frames:?}");
    }
}

#[test]
fn clients_push_nothing() {
    assert_eq!(breach(&[frame(5, 4, &[0; 4])]), Some(Breach::Push));
}
