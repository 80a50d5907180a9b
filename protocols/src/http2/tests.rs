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
