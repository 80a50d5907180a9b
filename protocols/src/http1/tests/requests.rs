//! Requests.

use bytes::BytesMut;

use super::*;

/// One head, one field line of which is `line`.
fn with(line: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n").into_bytes()
}

#[test]
fn a_request_is_read_as_it_came() {
    let seen = requests(
        "\r\nPOST /a?b=1 HTTP/1.1\r\nhOST:a.test:80\r\nX-A: \t v1 \r\nCONTENT-length: 5\r\nx-a:\r\n\r\nhello\
         OPTIONS * HTTP/1.0\r\n\r\n",
    );
    let first = Message {
        line: "POST /a?b=1".into(),
        authority: "a.test:80".into(),
        fields: r"X-A: v1\r\nCONTENT-length: 5\r\nx-a: \r\n".into(),
        framing: "Length(5)".into(),
        flags: "Http11 true false None false None".into(),
        body: b"hello".to_vec(),
        whole: true,
        ..Message::default()
    };
    let second = Message {
        line: "OPTIONS *".into(),
        framing: "Empty".into(),
        flags: "Http10 false false None false None".into(),
        whole: true,
        ..Message::default()
    };
    assert_eq!(seen.messages, [first, second]);
    assert_eq!((seen.end, seen.left), (None, 0));
}

#[test]
fn an_absolute_target_overrules_host() {
    for (method, target, want) in [
        ("GET", "http://b.test/c?d", ("/c?d", "b.test")),
        ("GET", "http://b.test:8080", ("/", "b.test:8080")),
        ("GET", "HTTP://b.test?x=1", ("/?x=1", "b.test")),
        ("OPTIONS", "http://b.test", ("*", "b.test")),
        ("OPTIONS", "http://b.test/", ("/", "b.test")),
    ] {
        let seen = requests(format!(
            "{method} {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"
        ));
        let message = &seen.messages[0];
        assert_eq!(message.line, format!("{method} {}", want.0));
        assert_eq!(message.authority, want.1);
        assert!(message.flags.ends_with("Some(Http)"));
    }
    refused(
        "GET http://b.test/ HTTP/1.1\r\n\r\n",
        Violation::HostMissing,
    );
    refused(
        "GET http://b.test/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
        Violation::HostInvalid,
    );
}

#[test]
fn lines_end_with_crlf_alone() {
    use Violation::{BareCr, BareLf, Nul};
    for (bytes, rule) in [
        ("\nGET / HTTP/1.1\r\n", BareLf),
        ("\rGET / HTTP/1.1\r\n", BareCr),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", BareCr),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: x\rTransfer-Encoding: chunked\r\n\r\n",
            BareCr,
        ),
        ("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", Nul),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Nul),
        ("\0", Nul),
    ] {
        refused(bytes, rule);
    }
}

#[test]
fn what_is_no_method_is_refused_at_its_first_byte() {
    refused(b"\x16\x03\x01\x00", Violation::Method);
    refused("{", Violation::Method);
    refused("\r\n\r\n(", Violation::Method);
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Violation::Http2Preface);
}

#[test]
fn empty_lines_before_a_request_are_dropped_up_to_a_flood() {
    assert_eq!(requests("\r\n".repeat(100)), Seen::default());
    refused("\r\n".repeat(101), Violation::BlankLines);
}

#[test]
fn host_is_there_once() {
    refused("GET / HTTP/1.1\r\n\r\n", Violation::HostMissing);
    refused(with("Host: a.test"), Violation::HostDuplicate);
    refused("GET / HTTP/1.1\r\nHost:\r\n\r\n", Violation::HostInvalid);
    refused(
        "GET / HTTP/1.0\r\nHost: a,b\r\n\r\n",
        Violation::HostInvalid,
    );
}

#[test]
fn framing_is_said_once_and_clearly() {
    use Violation::{
        CodingDuplicate, CodingInvalid, CodingUnsupported, FieldNameAmbiguous, FieldNameByte,
        FieldNameSpace, LengthDuplicate, LengthInvalid, LengthWithCoding, ObsFold,
    };
    for (line, rule) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            LengthWithCoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            LengthWithCoding,
        ),
        ("Content-Length: 5\r\nContent-Length: 5", LengthDuplicate),
        ("Content-Length: 5\r\nContent-Length: 6", LengthDuplicate),
        ("Content-Length: 5\r\nContent-Length:", LengthInvalid),
        ("Content-Length: 5, 5", LengthInvalid),
        ("Content-Length:\r\n 5", LengthInvalid),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            CodingDuplicate,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            CodingDuplicate,
        ),
        ("Transfer-Encoding: gzip, chunked", CodingUnsupported),
        ("Transfer-Encoding:\r\nContent-Length: 5", CodingInvalid),
        ("Transfer-Encoding: chunked\r\n  abc", ObsFold),
        ("Transfer-Encoding : chunked", FieldNameSpace),
        ("Transfer Encoding: chunked", FieldNameByte),
        ("Content_Length: 5", FieldNameAmbiguous),
    ] {
        refused(with(line), rule);
    }
    refused(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Violation::CodingInHttp10,
    );
}

#[test]
fn connection_says_whether_it_is_kept() {
    for (head, keep) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n", true),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: foo,\tCLOSE , bar\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n", true),
        ("GET / HTTP/1.0\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", false),
    ] {
        let seen = requests(format!("{head}\r\n"));
        assert_eq!(
            seen.messages[0].flags.contains("true false"),
            keep,
            "{head}"
        );
    }
}

fn flags(bytes: &str) -> (bool, Option<String>, bool) {
    let mut input = BytesMut::from(bytes);
    let request = RequestParser::new().parse(&mut input, &HeadLimits::default());
    let request = request.unwrap().unwrap();
    let upgrade = request.upgrade.map(|upgrade| text(&upgrade));
    (request.expect_continue, upgrade, request.te_trailers)
}

#[test]
fn upgrade_counts_only_where_connection_names_it() {
    for (lines, want) in [
        ("Upgrade: websocket", None),
        (
            "Connection: upgrade\r\nUpgrade: websocket",
            Some("websocket"),
        ),
        (
            "Connection: x, Upgrade\r\nUpgrade: a/1\r\nUpgrade: b",
            Some("a/1, b"),
        ),
        ("Connection: upgrade", None),
        ("Connection: upgrade\r\nUpgrade:", None),
        (
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x",
            None,
        ),
        ("Connection: upgrade\r\nUpgrade: websocket, H2C", None),
    ] {
        let got = flags(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")).1;
        assert_eq!(got.as_deref(), want, "{lines}");
        let old = flags(&format!("GET / HTTP/1.0\r\nHost: a\r\n{lines}\r\n\r\n")).1;
        assert_eq!(old, None, "{lines}");
    }
}

#[test]
fn expectations_and_te_are_understood() {
    let head = |version: &str, lines: &str| {
        flags(&format!(
            "POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n\r\n"
        ))
    };
    assert!(head("1.1", "Expect: 100-Continue\r\nContent-Length: 5").0);
    assert!(!head("1.1", "Expect: 100-continue").0);
    assert!(!head("1.0", "Expect: 100-continue\r\nContent-Length: 5").0);
    assert!(head("1.1", "TE: deflate;q=0.5, Trailers").2);
    assert!(!head("1.1", "TE: trailers-not").2);
    let seen = requests(with("Expect: 100-continue"));
    assert_eq!(seen.messages[0].fields, "");
    refused(with("Expect: 200-ok"), Violation::Expectation);
    refused(with("Expect: 100-continue, x"), Violation::Expectation);
    refused(
        with("Expect: 100-continue\r\nExpect: x"),
        Violation::Expectation,
    );
}

/// Small limits, whole and byte by byte.
fn limited(bytes: &[u8]) -> Option<Violation> {
    let limits = HeadLimits {
        start_line: 20,
        field: 12,
        fields_total: 40,
        fields: 4,
        ..HeadLimits::default()
    };
    let run = |portions: &mut dyn Iterator<Item = &[u8]>| {
        let mut input = BytesMut::new();
        let mut parser = RequestParser::new();
        for portion in portions {
            input.extend_from_slice(portion);
            if let Err(violation) = parser.parse(&mut input, &limits) {
                return Some(violation);
            }
        }
        None
    };
    let whole = run(&mut std::iter::once(bytes));
    assert_eq!(run(&mut bytes.chunks(1)), whole, "{}", text(bytes));
    whole
}

#[test]
fn limits_of_a_head_bite_one_beyond() {
    use Violation::{FieldTooLong, FieldsTooLong, FieldsTooMany, StartLineTooLong};
    for (head, expect) in [
        (
            "GET /45678901 HTTP/1.1\r\nHost: a\r\n\r\n",
            Some(StartLineTooLong),
        ),
        ("GET /456789 HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET /4567890123456789", Some(StartLineTooLong)),
        ("GET / HTTP/1.1\r\nHost: 789012\r\n\r\n", None),
        (
            "GET / HTTP/1.1\r\nHost: 7890123\r\n\r\n",
            Some(FieldTooLong),
        ),
        ("GET / HTTP/1.1\r\nHost: 7890123", Some(FieldTooLong)),
        // The rule that the earlier byte breaks, also where all comes at once.
        ("GET / HTTP/1.1\r\nHost: 7890123\n", Some(FieldTooLong)),
        ("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:\r\n\r\n", None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n",
            Some(FieldsTooMany),
        ),
        (
            "GET / HTTP/1.1\r\nHost: 789012\r\nA: 45678901\r\nB: 456789012\r\n\r\n",
            Some(FieldsTooLong),
        ),
        (
            "GET / HTTP/1.1\r\nHost: 789012\r\nA: 4567890\r\nB: 456789012\r\n\r\n",
            None,
        ),
        (
            "GET / HTTP/1.1\r\nHost: 789012\r\nA: 45678901\r\nB: 456789012\r\nC",
            Some(FieldsTooLong),
        ),
    ] {
        assert_eq!(limited(head.as_bytes()), expect, "{head:?}");
    }
}
