//! Lines and values, and what is refused.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use ringway_config::Name;
use ringway_protocols::Fields;
use ringway_protocols::message::{Method, RequestHead, Version};

use super::*;
use crate::request::{Outcome, Peer, PeerAddr, Upstream};

fn peer() -> Peer {
    Peer {
        remote: PeerAddr::Ip("10.0.0.1:5000".parse().expect("address")),
        local: PeerAddr::Ip("[::1]:8080".parse().expect("address")),
        proxied: None,
        client: Some(IpAddr::from([192, 0, 2, 7])),
        server_name: None,
        tls: None,
    }
}

fn request() -> RequestCx {
    let mut fields = Fields::new();
    fields.push("User-Agent", &b"a\"b\\c\x1b[31m\x00\xff\xc3\xa9"[..]);
    fields.push("X-Request-Id", "id-1");
    RequestCx {
        head: RequestHead {
            method: Method::Get,
            target: Bytes::from_static(b"/new?q=1"),
            authority: Bytes::from_static(b"example.com:8080"),
            version: Version::Http11,
            fields,
        },
        original_target: Bytes::from_static(b"/old?q=1"),
        peer: peer(),
        started: Instant::now(),
        started_at: UNIX_EPOCH + Duration::from_millis(1_583_020_799_007),
        route: Some(Name::new("api-route")),
        flag: "-",
        metadata: vec![(Name::new("user"), Bytes::from_static(b"ann"))],
        upstream: Upstream {
            cluster: Some(Name::new("up")),
            host: Some(Rc::from("192.0.2.1:80")),
            attempts: 2,
        },
        rpc: None,
    }
}

fn response() -> ResponseHead {
    let mut fields = Fields::new();
    fields.push("Content-Type", "text/plain");
    ResponseHead {
        status: 200,
        reason: Bytes::new(),
        version: Version::Http11,
        fields,
    }
}

fn outcome() -> Outcome {
    Outcome {
        status: 200,
        flag: "-",
        details: "via_upstream",
        bytes_received: 0,
        bytes_sent: 1234,
        duration: Duration::from_micros(15_900),
        response_duration: Some(Duration::from_millis(12)),
        upstream_service_time: Some(Duration::from_millis(11)),
        cluster: Some(Name::new("api")),
        upstream_host: Some(Rc::from("127.0.0.1:9001")),
        transport_failure: None,
        attempts: 2,
        grpc_status: None,
    }
}

fn line(format: &LogFormat) -> String {
    let format = Format::compile(format).expect("a sound format");
    let (peer, request, response, outcome) = (peer(), request(), response(), outcome());
    let mut out = Vec::new();
    format.render(
        &Record {
            peer: &peer,
            started_at: request.started_at,
            request: Some(&request),
            response: Some(&response),
            outcome: &outcome,
        },
        &mut out,
    );
    String::from_utf8(out).expect("lines are UTF-8")
}

fn check(format: &str, expect: &str) {
    assert_eq!(
        line(&LogFormat::Text(format.to_owned())),
        expect,
        "{format}"
    );
}

fn json(members: &[(&str, &str)]) -> LogFormat {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    LogFormat::Json(members.iter().map(owned).collect())
}

#[test]
fn the_default_line_is_envoys() {
    check(
        DEFAULT_FORMAT,
        "[2020-02-29T23:59:59.007Z] \"GET /old?q=1 HTTP/1.1\" 200 - 0 1234 15 11 \"-\" \
         \"a\\x22b\\x5cc\\x1b[31m\\x00\\xff\\xc3\\xa9\" \"id-1\" \"example.com:8080\" \"127.0.0.1:9001\"",
    );
}

#[test]
fn operators_say_what_they_read() {
    check(
        "%REQ(:PATH)% %REQ(host)% %REQ(X-None?x-request-id):2%",
        "/new?q=1 example.com:8080 id",
    );
    check(
        "%RESP(content-type)% %RESP(X-None)% %RESP(:status)%",
        "text/plain - 200",
    );
    check(
        "%RESPONSE_CODE_DETAILS% %RESPONSE_DURATION%",
        "via_upstream 12",
    );
    check(
        "%ROUTE_NAME% %UPSTREAM_CLUSTER% %UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "api-route api 2",
    );
    check(
        "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_PORT%",
        "192.0.2.7:0 -",
    );
    check("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "192.0.2.7");
    check(
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_PORT%",
        "10.0.0.1:5000 10.0.0.1 5000",
    );
    check(
        "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%",
        "[::1]:8080 ::1 8080",
    );
    check(
        "%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT% %UPSTREAM_CLUSTER_RAW%",
        "127.0.0.1:9001 127.0.0.1 9001 api",
    );
    check("%DYNAMIC_METADATA(user)% %DYNAMIC_METADATA(none)%", "ann -");
    check(
        "%START_TIME(%d/%b/%Y:%T %s)% 100%%",
        "29/Feb/2020:23:59:59 1583020799 100%",
    );
    check("%ENVIRONMENT(RINGWAY_NO_SUCH_VARIABLE)%", "-");
    assert_ne!(line(&LogFormat::Text("%HOSTNAME%".to_owned())), "-");
    check("a line of Envoy's\n", "a line of Envoy's");
}

#[test]
fn a_request_without_a_head_still_says_who_and_when() {
    let format = Format::compile(&LogFormat::Text(DEFAULT_FORMAT.to_owned())).expect("sound");
    let (peer, mut outcome) = (peer(), outcome());
    (outcome.status, outcome.flag, outcome.upstream_host) = (400, "DPE", None);
    outcome.upstream_service_time = None;
    let mut out = Vec::new();
    let record = Record {
        peer: &peer,
        started_at: UNIX_EPOCH,
        request: None,
        response: None,
        outcome: &outcome,
    };
    format.render(&record, &mut out);
    let expect =
        "[1970-01-01T00:00:00.000Z] \"- - -\" 400 DPE 0 1234 15 - \"-\" \"-\" \"-\" \"-\" \"-\"";
    assert_eq!(String::from_utf8_lossy(&out), expect);
}

#[test]
fn json_keeps_types_and_stays_json() {
    let line = line(&json(&[
        ("code", "%RESPONSE_CODE%"),
        ("agent", "%REQ(user-agent)%"),
        ("none", "%REQ(x-none)%"),
        ("flags", "%RESPONSE_FLAGS%"),
        ("both \"\n", "\"%PROTOCOL%\" %DURATION% %REQ(x-none)%"),
        ("port", "%DOWNSTREAM_LOCAL_PORT%"),
    ]));
    assert!(!line.contains(['\n', '\x1b', '\0']), "{line}");
    let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let expect = serde_json::json!({
        "code": 200,
        "agent": "a\"b\\c\u{1b}[31m\0\u{fffd}é",
        "none": null,
        "flags": null,
        "both \"\n": "\"HTTP/1.1\" 15 -",
        "port": 8080,
    });
    assert_eq!(read, expect);
    assert_eq!(super::tests::line(&json(&[])), "{}");
}

#[test]
fn wrong_formats_say_what_to_write() {
    let refuse = |format: &str, expect: &[&str]| {
        let errors = Format::compile(&LogFormat::Text(format.to_owned())).expect_err(format);
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), expect.len(), "{said:?}");
        for (said, expect) in said.iter().zip(expect) {
            assert!(said.contains(expect), "{said} should contain {expect}");
        }
    };
    refuse(
        "%RESPONSE_COD% %NOPE%",
        &[
            "did you mean `%RESPONSE_CODE%`?",
            "the operators are START_TIME, REQ",
        ],
    );
    refuse("100% sure", &["`% sure` has no closing `%`; write `%%`"]);
    refuse("%REQ(X", &["`%REQ(X` has no closing"]);
    refuse(
        "%REQ% %REQ()% %PROTOCOL(x)%",
        &["`%REQ(NAME)%`", "`%REQ(NAME)%`", "takes no argument"],
    );
    refuse(
        "%REQ(a):0% %REQ(a):x% %DURATION:3%",
        &["after `REQ`", "above 0", "after `DURATION`"],
    );
    refuse("%START_TIME(%Q)%", &["`%Q` cannot stand in a time"]);
    let errors =
        Format::compile(&json(&[("a", "%X%"), ("a", "%REQ(b)%")])).expect_err("two errors");
    assert_eq!(errors[0].key.as_deref(), Some("a"));
    assert_eq!(errors[1].kind, FormatErrorKind::DuplicateKey);
}

#[test]
fn values_of_fields_hold_no_line_ends() {
    let mut request = request();
    request.metadata = vec![(Name::new("bad"), Bytes::from_static(b"a\r\nX: 1\0\tb\x7f"))];
    let render = |text: &str, when, response: Option<&ResponseHead>| {
        let mut out = Vec::new();
        let template = Template::compile(text, when).expect("sound");
        template.render_value(&request, response, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    let at_request = |text| render(text, When::Request, None);
    assert_eq!(at_request("%DYNAMIC_METADATA(bad)%"), "a  X: 1 \tb ");
    assert_eq!(at_request("<%REQ(x-none)%>"), "<>");
    assert_eq!(
        at_request("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        "192.0.2.7"
    );
    let response = response();
    let text = "%RESPONSE_CODE% %RESP(content-type)%";
    assert_eq!(
        render(text, When::Response, Some(&response)),
        "200 text/plain"
    );
    let text = "%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %UPSTREAM_REQUEST_ATTEMPT_COUNT%";
    assert_eq!(
        render(text, When::Response, Some(&response)),
        "192.0.2.1:80 up 2"
    );
}

#[test]
fn templates_refuse_what_is_not_known_yet() {
    let kinds = |text: &str, when| {
        let errors = Template::compile(text, when).expect_err(text);
        errors
            .into_iter()
            .map(|error| error.kind)
            .collect::<Vec<_>>()
    };
    let early = |name, when| FormatErrorKind::TooEarly(name, when);
    assert_eq!(
        kinds("%DURATION% %RESP(a)%", When::Request),
        [
            early("DURATION", When::Request),
            early("RESP", When::Request)
        ]
    );
    assert_eq!(
        kinds("%UPSTREAM_HOST%", When::Request),
        [early("UPSTREAM_HOST", When::Request)]
    );
    assert_eq!(
        kinds("%RESP(X-Envoy-Upstream-Service-Time)%", When::Response),
        [early("RESP", When::Response)]
    );
    assert_eq!(
        kinds("a\r\nb: c", When::Request),
        [FormatErrorKind::ControlCharacter]
    );
    let literal = Template::compile("50%% off", When::Request).expect("sound");
    assert_eq!(literal.literal(), Some("50% off"));
}

#[test]
fn only_formats_that_ask_need_the_answers_head() {
    let needs = |text: &str| {
        let format = Format::compile(&LogFormat::Text(text.to_owned())).expect("sound");
        format.needs_response()
    };
    assert!(needs("%RESP(content-type)%"));
    assert!(!needs(DEFAULT_FORMAT));
}
