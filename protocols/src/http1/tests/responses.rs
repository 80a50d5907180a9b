//! Answers.

use super::*;

fn wrong(bytes: impl AsRef<[u8]>, rule: Violation) {
    let seen = responses(bytes.as_ref());
    assert_eq!(seen.end, Some(rule), "{}", text(bytes.as_ref()));
}

#[test]
fn an_answer_is_read_as_it_came() {
    let seen = responses(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 \r\nHost: kept\r\nContent-Length: 5\r\n\r\nhello\
         HTTP/1.0 404 Not Found\r\n\r\nto the end",
    );
    let [hints, ok, missing] = &seen.messages[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (hints.line.as_str(), hints.whole),
        ("103 Early Hints", true)
    );
    assert_eq!(ok.fields, r"Host: kept\r\nContent-Length: 5\r\n");
    assert_eq!((ok.line.as_str(), &ok.body[..]), ("200 ", &b"hello"[..]));
    assert_eq!(missing.flags, "Http10 false");
    assert_eq!(
        (missing.whole, &missing.body[..]),
        (true, &b"to the end"[..])
    );
}

fn framed(rows: &[(&'static str, &str, &str, bool)]) {
    for (method, head, framing, keep) in rows {
        let seen = check(
            Side::Responses(method),
            format!("HTTP/{head}\r\n\r\n").as_bytes(),
        );
        let message = &seen.messages[0];
        assert_eq!(message.framing, *framing, "{method} {head}");
        assert_eq!(message.flags.ends_with("true"), *keep, "{method} {head}");
    }
}

#[test]
fn answers_without_a_body_are_known_by_status_and_method() {
    framed(&[
        ("HEAD", "1.1 200 X\r\nContent-Length: 10", "Empty", true),
        (
            "HEAD",
            "1.1 200 X\r\nTransfer-Encoding: chunked",
            "Empty",
            true,
        ),
        ("HEAD", "1.1 200 X", "Empty", true),
        ("GET", "1.1 304 X\r\nContent-Length: 10", "Empty", true),
        ("GET", "1.1 204 X", "Empty", true),
        ("GET", "1.1 204 X\r\nContent-Length: 0", "Empty", true),
        ("GET", "1.1 204 X\r\nContent-Length: 5", "Empty", false),
        (
            "GET",
            "1.1 204 X\r\nTransfer-Encoding: chunked",
            "Empty",
            false,
        ),
        ("GET", "1.1 101 X\r\nContent-Length: 0", "Empty", true),
        ("GET", "1.1 200 X\r\nContent-Length: 0", "Empty", true),
    ]);
    for status in ["101", "199", "204"] {
        let seen = responses(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(seen.messages[0].fields, "", "{status}");
    }
}

#[test]
fn answers_with_a_body_say_how_long_it_is() {
    framed(&[
        ("GET", "1.1 200 X", "Close", false),
        (
            "GET",
            "1.1 200 X\r\nTransfer-Encoding: chunked",
            "Chunked",
            true,
        ),
        (
            "POST",
            "1.1 200 X\r\nConnection: close\r\nContent-Length: 1",
            "Length(1)",
            false,
        ),
        ("GET", "1.0 200 X\r\nContent-Length: 1", "Length(1)", false),
        (
            "GET",
            "1.0 200 X\r\nConnection: keep-alive\r\nContent-Length: 1",
            "Length(1)",
            true,
        ),
    ]);
}

#[test]
fn bad_answers_are_refused() {
    use Violation::{
        BareCr, CodingInHttp10, CodingInvalid, FieldNameSpace, FieldNoColon, InterimBody,
        LengthInvalid, LengthWithCoding, Nul, ObsFold, StatusCode, StatusLine,
    };
    for (bytes, rule) in [
        ("Hello", StatusLine),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 999 X\r\n\r\n", StatusCode),
        ("HTTP/1.1 200 O\rK\r\n\r\n", BareCr),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", FieldNameSpace),
        ("HTTP/1.1 200 OK\r\nX\r\n\r\n", FieldNoColon),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", Nul),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", ObsFold),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            LengthInvalid,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            LengthWithCoding,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            CodingInvalid,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            CodingInHttp10,
        ),
        (
            "HTTP/1.1 100 X\r\nContent-Length: 5\r\n\r\nhello",
            InterimBody,
        ),
        (
            "HTTP/1.1 101 X\r\nTransfer-Encoding: chunked\r\n\r\n",
            InterimBody,
        ),
    ] {
        wrong(bytes, rule);
    }
    let interim = "HTTP/1.1 102 X\r\n\r\n";
    let seen = responses(format!("{}HTTP/1.1 200 X\r\n\r\n", interim.repeat(64)));
    assert_eq!((seen.messages.len(), seen.end), (65, None));
    wrong(interim.repeat(65), Violation::InterimFlood);
}
