//! `transcode` from requests to calls: where arguments come from, which fit their types, and what is refused.

mod answers;

use std::borrow::Cow;

use ringway_protocols::codec::Kind;
use ringway_protocols::hessian::{Decoder, Value as Hessian, Writer};

use super::*;
use crate::filter::testing::response;
use crate::filter::{Chain, Running};
use crate::request::sample;

fn config(value: Value) -> Transcode {
    Transcode::parse(&value).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The call that is made of a request, or what its client is told.
fn made(
    filter: &Value,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Result<Frame, String> {
    let spec = parse(filter).unwrap_or_else(|errors| panic!("{errors:?}"));
    let (chain, rng) = (Chain::new(&[], &[spec]), Rng::new(1));
    let mut running: Running<'_> = chain.start(&rng);
    let mut request = sample("POST", target, fields);
    let flow = crate::filter::testing::finish(running.on_request(&mut request));
    assert!(matches!(flow, Flow::Continue));
    assert_eq!(running.wants_body(), Some(1 << 20));
    match running.on_body(&mut request, &Bytes::copy_from_slice(body.as_bytes())) {
        Flow::Continue => Ok(request.rpc.unwrap().frame.clone()),
        Flow::Respond(reply) => {
            assert_eq!((reply.status, reply.details), (400, BAD_REQUEST));
            let said: Value = serde_json::from_slice(&reply.body).unwrap();
            Err(said["error"]["message"].as_str().unwrap().to_owned())
        }
        Flow::Abort => panic!("aborted"),
    }
}

/// All values of a call's body, decoded, as JSON.
fn told(frame: &Frame) -> Vec<Value> {
    let config =
        config(json!({ "to": "dubbo", "service": "s", "method": "m", "class_names": true }));
    let mut decoder = Decoder::new(&frame.bytes[16..], &Limits::default());
    let mut values = Vec::new();
    while !decoder.is_empty() {
        values.push(decoder.value().unwrap());
    }
    let tree = decoder.into_tree();
    let as_json =
        |value| serde_json::from_slice(&json::write(value, &tree, &config).unwrap()).unwrap();
    values.iter().map(as_json).collect()
}

#[test]
fn a_request_becomes_a_generic_call_of_dubbo() {
    let filter = json!({
        "to": "dubbo",
        "service": "com.test.{path.1}",
        "method": "{query.do}",
        "version": "1.0.0",
        "group": "blue",
        "parameters": [
            { "type": "java.lang.String", "from": "path.2" },
            { "type": "long", "from": "query.id" },
            { "type": "boolean", "from": "header.x-dry" },
            { "type": "com.test.User", "from": "body.user" },
            { "type": "java.util.List", "from": "body.tags.1" },
        ],
    });
    let body = r#"{"user": {"name": "J\u00fcrgen", "age": 42}, "tags": [1, ["a", null, 1.5]]}"#;
    let fields = [("X-Dry", "true")];
    let frame = made(&filter, "/Users/a%20b?id=7&do=find", &fields, body).unwrap();
    assert_eq!(frame.kind, Kind::Request);
    assert_eq!(frame.service(), b"com.test.Users");
    // Of a generic call it is the method that is called.
    assert_eq!(
        (frame.method(), frame.version(), frame.group()),
        (&b"find"[..], &b"1.0.0"[..], &b"blue"[..])
    );
    let told = told(&frame);
    assert_eq!(told[3], "$invoke");
    assert_eq!(told[5], "find");
    let types = json!({ "list": ["java.lang.String", "long", "boolean", "com.test.User", "java.util.List"] });
    assert_eq!(told[6], types["list"]);
    let user = json!({ "name": "J\u{fc}rgen", "age": 42 });
    assert_eq!(told[7], json!(["a b", 7, true, user, ["a", null, 1.5]]));
    let attachments = json!({
        "path": "com.test.Users", "interface": "com.test.Users", "version": "1.0.0", "group": "blue", "generic": "true", "timeout": "86400000",
    });
    assert_eq!(told[8], attachments);
    assert_eq!(told.len(), 9);
}

#[test]
fn the_body_is_a_list_of_arguments_or_says_their_types_too() {
    let mut filter = json!({ "to": "dubbo", "service": "s", "method": "m", "parameters": [{ "type": "int" }, { "type": "java.lang.String" }] });
    let frame = made(&filter, "/", &[], r#"[1, "a"]"#).unwrap();
    assert_eq!(told(&frame)[7], json!([1, "a"]));
    assert_eq!(
        (told(&frame)[2].as_str(), frame.version()),
        (Some("0.0.0"), &b"0.0.0"[..])
    );
    filter["parameters"] = json!([]);
    let frame = made(&filter, "/", &[], "").unwrap();
    assert_eq!(
        (&told(&frame)[6], &told(&frame)[7]),
        (&json!([]), &json!([]))
    );
    filter.as_object_mut().unwrap().remove("parameters");
    let frame = made(
        &filter,
        "/",
        &[],
        r#"{"types": ["int", "x.Y"], "values": [1, {"a": [true]}]}"#,
    )
    .unwrap();
    assert_eq!(
        (&told(&frame)[6], &told(&frame)[7]),
        (&json!(["int", "x.Y"]), &json!([1, { "a": [true] }]))
    );
}

#[test]
fn a_request_becomes_a_call_of_sofarpc_with_json() {
    let mut filter = json!({ "to": "bolt", "service": "com.test.Echo:1.0:blue", "method": "m" });
    let content = |frame: &Frame| {
        let content = ringway_protocols::bolt::json_content(frame).unwrap();
        String::from_utf8(content.to_vec()).unwrap()
    };
    let frame = made(&filter, "/", &[], "[1, 2.50]").unwrap();
    assert_eq!(
        (frame.service(), frame.method()),
        (&b"com.test.Echo:1.0:blue"[..], &b"m"[..])
    );
    assert_eq!(
        (frame.version(), frame.group()),
        (&b"1.0"[..], &b"blue"[..])
    );
    assert_eq!(
        (content(&frame).as_str(), frame.timeout, frame.pin),
        ("[1, 2.50]", None, 1 << 8)
    );
    filter["parameters"] =
        json!([{ "type": "int", "from": "query.a" }, { "type": "x.Y", "from": "body" }]);
    let frame = made(&filter, "/?a=5", &[], r#"{"k": 1}"#).unwrap();
    assert_eq!(content(&frame), r#"[5,{"k":1}]"#);
    filter["parameters"] = json!([{ "type": "x.Y" }]);
    assert_eq!(
        content(&made(&filter, "/", &[], r#"[{"k": 1}]"#).unwrap()),
        r#"{"k":1}"#
    );
    // Its servers make objects of their methods' own types, whatever a client says.
    let body = r#"[{"class": "x"}]"#;
    assert!(made(&filter, "/", &[], body).is_ok());
    filter["parameters"] = json!([]);
    assert_eq!(content(&made(&filter, "/", &[], "").unwrap()), "[]");
}

/// What clients are told of each body.
fn told_of(filter: &Value, target: &str, cases: &[(&str, &str)]) {
    for (body, says) in cases {
        let told = made(filter, target, &[], body).unwrap_err();
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn what_makes_no_call_is_told_in_a_sentence() {
    const FITS: &str = "parameter 1 (int): write a whole number that fits";
    let mut filter =
        json!({ "to": "dubbo", "service": "s", "method": "m", "parameters": [{ "type": "int" }] });
    let bodies = [
        ("", "the body is empty, and JSON is wanted"),
        ("<a/>", "not JSON: expected value at line 1 column 1"),
        ("[1] x", "the body is not JSON: trailing"),
        ("{}", "has to be a list of the call's arguments"),
        ("[1, 2]", "has 2 values, and the call 1 parameters"),
        ("[null]", "parameter 1 (int): it cannot be null"),
        ("[\"x\"]", FITS),
        ("[2147483648]", FITS),
        ("[{\"a\": [{\"class\": 1}]}]", "`class` is not taken"),
    ];
    told_of(&filter, "/", &bodies);
    filter["method"] = json!("{header.x-do}");
    told_of(&filter, "/", &[("[1]", "nothing is in header.x-do")]);
    filter["method"] = json!("m");
    filter["parameters"] = json!([{ "type": "int", "from": "query.n" }]);
    told_of(&filter, "/", &[("", "nothing is in query.n")]);
    told_of(&filter, "/?n=1.5", &[("", FITS)]);
    // Where the operator lets them, clients choose classes.
    filter["class_names"] = json!(true);
    filter["parameters"] = json!([{ "type": "x.Y" }]);
    assert!(made(&filter, "/", &[], "[{\"class\": \"x\"}]").is_ok());
}

#[test]
fn a_body_that_has_to_say_the_types_and_does_not_is_told_so() {
    let filter = json!({ "to": "dubbo", "service": "s", "method": "m" });
    let bodies = [
        ("[1]", "`types`"),
        (r#"{"types": [1], "values": [1]}"#, "`types`"),
        (r#"{"types": ["a"], "values": []}"#, "the body has 0 values"),
        (
            r#"{"types": ["a"], "values": [18446744073709551615]}"#,
            "more than 64 bits",
        ),
    ];
    told_of(&filter, "/", &bodies);
}

#[test]
fn what_makes_no_call_of_bolt_is_told_in_a_sentence() {
    let mut filter = json!({ "to": "bolt", "service": "s", "method": "m" });
    told_of(&filter, "/", &[("no", "the body is not JSON")]);
    filter["service"] = json!("{query.s}");
    let target = format!("/?s={}", "x".repeat(40_000));
    told_of(&filter, &target, &[("[]", "too long")]);
}

#[test]
fn arguments_fit_their_types() {
    let fit = |kind: &str, value: Value| {
        let parameter = ringway_config::transcode::Parameter {
            kind: kind.to_owned(),
            from: None,
        };
        values::fit(Cow::Owned(value), 0, &parameter)
            .ok()
            .map(Cow::into_owned)
    };
    for (kind, value, expect) in [
        ("int", json!("5"), Some(json!(5))),
        ("int", json!(5.5), None),
        ("byte", json!(-128), Some(json!(-128))),
        ("byte", json!(128), None),
        ("short", json!(32768), None),
        ("long", json!("9223372036854775807"), Some(json!(i64::MAX))),
        ("java.lang.Long", json!(null), Some(json!(null))),
        ("long", json!(null), None),
        ("double", json!("1.5"), Some(json!(1.5))),
        ("double", json!("NaN"), None),
        ("double", json!(1), Some(json!(1))),
        ("boolean", json!("true"), Some(json!(true))),
        ("boolean", json!("yes"), None),
        ("java.lang.String", json!(1), Some(json!("1"))),
        ("java.lang.String", json!({}), None),
        ("char", json!("a"), Some(json!("a"))),
        ("char", json!("ab"), None),
        ("byte[]", json!("AQI="), Some(json!("AQI="))),
        ("byte[]", json!("?"), None),
        ("java.util.Date", json!(5), Some(json!(5))),
        (
            "java.util.Date",
            json!("2024-01-01 00:00:00"),
            Some(json!("2024-01-01 00:00:00")),
        ),
        ("x.Y", json!([1]), Some(json!([1]))),
    ] {
        assert_eq!(fit(kind, value.clone()), expect, "{kind} {value}");
    }
    let written = |kind: &str, value: Value| {
        let mut writer = Writer::default();
        values::write(&value, kind, &mut writer).unwrap();
        Decoder::new(&writer.into_bytes(), &Limits::default())
            .value()
            .unwrap()
    };
    assert_eq!(written("long", json!(5)), Hessian::Long(5));
    assert_eq!(written("int", json!(5)), Hessian::Int(5));
    assert_eq!(written("double", json!(5)), Hessian::Double(5.0));
    assert_eq!(
        written("byte[]", json!("AQI=")),
        Hessian::Binary((*b"\x01\x02").into())
    );
    assert_eq!(written("java.util.Date", json!(5)), Hessian::Date(5));
    assert_eq!(written("x.Y", json!(1_u64 << 40)), Hessian::Long(1 << 40));
    assert_eq!(written("x.Y", json!("5")), Hessian::Text("5".into()));
}

#[test]
fn answers_of_the_proxys_own_become_json_too() {
    let spec = parse(&json!({ "to": "bolt", "service": "s", "method": "m" }))
        .unwrap_or_else(|_| panic!("valid"));
    let (chain, rng) = (Chain::new(&[], &[spec]), Rng::new(1));
    let mut running = chain.start(&rng);
    let mut request = sample("POST", "/", &[]);
    use crate::filter::testing::finish;
    finish(running.on_request(&mut request));
    running.on_body(&mut request, &Bytes::from_static(b"1"));
    let mut head = response(504);
    finish(running.on_response(&request, &mut head));
    assert_eq!(
        head.fields.get(b"content-type"),
        Some(&b"application/json"[..])
    );
    let mut transforms = running.response_body().unwrap();
    let body = transforms.all(Bytes::from_static(b"too slow\n")).unwrap();
    assert_eq!(&body[..], br#"{"error":{"message":"too slow"}}"#);
    assert!(running.response_body().is_none());
}
