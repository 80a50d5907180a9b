//! What answers become: values, errors, and what JSON cannot say.

use bytes::BytesMut;
use ringway_protocols::codec::DecodeError;
use ringway_protocols::dubbo::{GenericAnswer, generic_answer};
use ringway_protocols::hessian::{Body, Tree, Value as Hessian, Writer};

use super::super::*;
use super::config;

fn text(text: &str) -> Hessian {
    Hessian::Text(text.into())
}

fn node(class: Option<&str>, body: Body) -> ringway_protocols::hessian::Node {
    ringway_protocols::hessian::Node {
        class: class.map(Into::into),
        body,
    }
}

/// Writes each value with no further keys, and with all that change how it is written.
fn check(tree: &Tree, cases: &[(Hessian, &str, &str)]) {
    let plain = config(json!({ "to": "dubbo", "service": "s", "method": "m" }));
    let other = config(
        json!({ "to": "dubbo", "service": "s", "method": "m", "longs": "text", "class_names": true }),
    );
    for (value, expect, expect_other) in cases {
        for (config, expect) in [(&plain, expect), (&other, expect_other)] {
            let written = json::write(value, tree, config).unwrap();
            assert_eq!(String::from_utf8_lossy(&written), **expect);
        }
    }
}

#[test]
fn plain_values_are_written_as_json() {
    let cases = [
        (Hessian::Null, "null", "null"),
        (Hessian::Double(1.0), "1.0", "1.0"),
        (
            Hessian::Long((1 << 53) - 1),
            "9007199254740991",
            "9007199254740991",
        ),
        (
            Hessian::Long(1 << 53),
            "9007199254740992",
            "\"9007199254740992\"",
        ),
        (
            Hessian::Long(i64::MIN),
            "-9223372036854775808",
            "\"-9223372036854775808\"",
        ),
        (
            Hessian::Date(1_700_000_000_000),
            "1700000000000",
            "1700000000000",
        ),
        (
            Hessian::Binary((*b"\x01\x02").into()),
            "\"AQI=\"",
            "\"AQI=\"",
        ),
    ];
    check(&Tree::default(), &cases);
}

#[test]
fn objects_lists_and_decimals_are_written_as_json() {
    let tree = Tree {
        nodes: vec![
            node(
                None,
                Body::List(vec![Hessian::Node(1), Hessian::Node(1), Hessian::Null]),
            ),
            node(
                Some("x.Y"),
                Body::Map(vec![
                    (text("a\"\n"), Hessian::Double(f64::NAN)),
                    (Hessian::Long(1 << 60), Hessian::Bool(true)),
                ]),
            ),
            node(
                None,
                Body::Map(vec![
                    (text("class"), text("x.Z")),
                    (text("n"), Hessian::Int(1)),
                ]),
            ),
            node(
                Some("java.math.BigDecimal"),
                Body::Map(vec![(text("value"), text("12345678901234567890.10"))]),
            ),
            node(
                Some("java.math.BigDecimal"),
                Body::Map(vec![(text("value"), text("1}"))]),
            ),
        ],
    };
    let cases = [
        (Hessian::Node(2), r#"{"n":1}"#, r#"{"class":"x.Z","n":1}"#),
        (
            Hessian::Node(3),
            "12345678901234567890.10",
            "12345678901234567890.10",
        ),
        (
            Hessian::Node(4),
            r#"{"value":"1}"}"#,
            r#"{"class":"java.math.BigDecimal","value":"1}"}"#,
        ),
        (
            Hessian::Node(0),
            r#"[{"a\"\n":null,"1152921504606846976":true},{"a\"\n":null,"1152921504606846976":true},null]"#,
            r#"[{"class":"x.Y","a\"\n":null,"1152921504606846976":true},{"class":"x.Y","a\"\n":null,"1152921504606846976":true},null]"#,
        ),
    ];
    check(&tree, &cases);
}

#[test]
fn what_json_cannot_say_is_no_answer() {
    let config =
        config(json!({ "to": "dubbo", "service": "s", "method": "m", "max_answer": "1KiB" }));
    let list = |items| node(None, Body::List(items));
    // Each holds the one before it, by a reference: as deep as there are nodes.
    let deep: Vec<_> = (0_usize..1000)
        .map(|at| list(at.checked_sub(1).map(Hessian::Node).into_iter().collect()))
        .collect();
    // Each holds the one before it ten times.
    let wide: Vec<_> = (0_usize..100)
        .map(|at| {
            list(
                at.checked_sub(1)
                    .map_or(Vec::new(), |before| vec![Hessian::Node(before); 10]),
            )
        })
        .collect();
    let map = |key| vec![node(None, Body::Map(vec![(key, Hessian::Null)]))];
    for (nodes, at, expect) in [
        (
            vec![list(vec![Hessian::Node(0)])],
            0,
            json::Unfit::WithinItself,
        ),
        (deep, 999, json::Unfit::TooDeep),
        (wide, 99, json::Unfit::TooLarge),
        (
            vec![list(vec![text(&"x".repeat(1025))])],
            0,
            json::Unfit::TooLarge,
        ),
        (map(Hessian::Node(0)), 0, json::Unfit::Key),
    ] {
        let tree = Tree { nodes };
        assert_eq!(json::write(&Hessian::Node(at), &tree, &config), Err(expect));
    }
}

fn frame_of(bytes: &[u8], codec: &dyn Codec) -> Frame {
    let mut session = codec.start(Side::Upstream, &Limits::default());
    session.decode(&mut BytesMut::from(bytes)).unwrap().unwrap()
}

/// An answer of Dubbo with that body.
fn dubbo_answer(status: u8, write: impl FnOnce(&mut Writer)) -> Frame {
    let mut body = Writer::default();
    write(&mut body);
    let body = body.into_bytes();
    let head = [
        &[0xda, 0xbb, 2, status, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &(body.len() as u32).to_be_bytes(),
    ];
    frame_of(&[&head.concat()[..], &body].concat(), &Dubbo)
}

fn said(reply: &LocalReply) -> (u16, Value) {
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

type Said = Result<(u16, Value), json::Unfit>;

#[test]
fn answers_of_dubbo_become_statuses_and_json() {
    let config = config(json!({ "to": "dubbo", "service": "s", "method": "m" }));
    let reply = |frame: &Frame| -> Said { Ok(said(&dubbo::answer(&config, frame)?)) };
    for flag in [1, 4] {
        let value = dubbo_answer(20, |out| {
            out.int(flag);
            out.text("hi");
            out.map(None);
            out.end_map();
        });
        assert_eq!(reply(&value), Ok((200, json!("hi"))));
    }
    let nothing = dubbo_answer(20, |out| out.int(2));
    assert_eq!(reply(&nothing), Ok((200, json!(null))));
    let thrown = dubbo_answer(20, |out| {
        out.int(0);
        out.object(
            "java.lang.IllegalStateException",
            &["detailMessage", "cause"],
        );
        out.text("boom\n\tat Somewhere");
        out.null();
    });
    let error =
        json!({ "error": { "message": "boom", "exception": "java.lang.IllegalStateException" } });
    assert_eq!(reply(&thrown), Ok((500, error)));
    let wrapped = dubbo_answer(20, |out| {
        out.int(3);
        out.object(
            "x.GenericException",
            &["exceptionClass", "exceptionMessage", "detailMessage"],
        );
        out.text("x.Y");
        out.null();
        out.text("why");
    });
    let error = json!({ "error": { "message": "why", "exception": "x.Y" } });
    assert_eq!(reply(&wrapped), Ok((500, error)));
    for (status, expect) in [
        (30, 504),
        (31, 504),
        (40, 404),
        (50, 502),
        (60, 404),
        (70, 500),
        (80, 500),
        (100, 503),
    ] {
        let failed = dubbo_answer(status, |out| out.text("no"));
        assert_eq!(
            reply(&failed),
            Ok((expect, json!({ "error": { "message": "no" } })))
        );
    }
    for bad in [
        dubbo_answer(20, |out| out.text("x")),
        dubbo_answer(20, |out| out.int(1)),
        dubbo_answer(20, |_| ()),
    ] {
        assert_eq!(reply(&bad), Err(json::Unfit::Unread(DecodeError::BadBody)));
    }
    // An exception says so without being decoded, too.
    let (answer, _) = generic_answer(&thrown, &Limits::default()).unwrap();
    assert!(matches!(answer, GenericAnswer::Exception(_)));
}

/// An answer of Bolt's version 1 with that status, header block and content.
fn bolt_answer(status: u16, codec: u8, headers: &[&str], content: &str) -> Frame {
    let block: Vec<u8> = headers
        .iter()
        .flat_map(|text| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat())
        .collect();
    let mut bytes = vec![1, 0, 0, 2, 1, 0, 0, 0, 1, codec];
    bytes.extend_from_slice(&status.to_be_bytes());
    bytes.extend_from_slice(&0_u16.to_be_bytes());
    bytes.extend_from_slice(&(block.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&block);
    bytes.extend_from_slice(content.as_bytes());
    frame_of(&bytes, &Bolt)
}

/// An answer, and the status and the JSON that it becomes.
fn check_bolt(answer: &Frame, status: u16, body: Value) {
    let reply = bolt::answer(answer).unwrap();
    assert_eq!(said(&reply), (status, body));
    let told = reply.fields.get(b"content-type");
    assert_eq!(told, Some(&b"application/json"[..]));
}

#[test]
fn answers_of_bolt_become_statuses_and_json() {
    const ERROR: &[&str] = &["sofa_head_response_error", "true"];
    let value = bolt_answer(0, 12, &[], r#"{"a": 1}"#);
    check_bolt(&value, 200, json!({ "a": 1 }));
    check_bolt(&bolt_answer(0, 12, &[], ""), 200, Value::Null);
    for unfit in [bolt_answer(0, 12, &[], "{"), bolt_answer(0, 1, &[], "x")] {
        let answer = bolt::answer(&unfit).map(|_| ());
        assert_eq!(answer, Err(json::Unfit::NotJson));
    }
    for (answer, status, text) in [
        (bolt_answer(0, 12, ERROR, "\"boom\""), 500, "boom"),
        (bolt_answer(0, 12, ERROR, "null"), 500, ""),
    ] {
        check_bolt(&answer, status, json!({ "error": { "message": text } }));
    }
    for (code, status, text) in [
        (2, 500, "the server failed"),
        (4, 503, "the server is busy"),
        (6, 404, "the server has no such service"),
        (7, 504, "the server did not end it in time"),
        (16, 502, "the server could not answer"),
        (18, 400, "the server could not read the arguments"),
    ] {
        let answer = bolt_answer(code, 1, &[], "");
        check_bolt(&answer, status, json!({ "error": { "message": text } }));
    }
}
