//! HTTP with JSON made calls of Dubbo and Bolt: the calls on the wire, byte by byte, and what becomes of their answers.

use ringway_tests::client::chunk;
use ringway_tests::proxy::run;
use ringway_tests::{Client, Driver, Proxy, TempDir, Wire, WireServer, both_drivers, wait_equal};

use crate::rpc::{Bolt, answer as bolt_answer};

both_drivers! {
    a_request_becomes_a_generic_call_of_dubbo_and_its_answer_json,
    calls_of_many_clients_share_a_connection_and_find_their_answers,
    headers_go_along_and_each_try_says_what_time_is_left,
    a_request_becomes_a_call_of_bolt_and_its_answer_json,
    exceptions_and_refusals_become_statuses_with_json,
    faults_become_statuses_with_json,
    a_cluster_that_is_full_is_a_503,
    a_call_is_tried_again_at_another_host,
    a_body_over_the_limit_is_a_413,
    a_body_in_parts_is_taken_whole,
    what_is_no_json_is_told_in_a_sentence,
    calls_are_counted_by_method,
    mirrored_requests_are_calls_too,
}

const DUBBO: &str = "{ to: dubbo, service: com.test.Users, version: 1.0.0, group: blue, method: \"{path.2}\", \
    parameters: [{ type: int, from: query.id }, { type: com.test.User, from: body.user }], headers: { tenant: x-tenant, trace: x-trace } }";
const BOLT: &str = "{ to: bolt, service: \"com.test.Echo:1.0\", method: say }";

/// A proxy that makes calls of that protocol of all requests; `route` and `cluster` have further keys.
fn proxy(
    driver: Driver,
    (protocol, filter): (&str, &str),
    route: &str,
    cluster: &str,
    servers: &[&WireServer],
) -> Proxy {
    let endpoints: Vec<_> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.addr()))
        .collect();
    let endpoints = endpoints.join(", ");
    Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:
  - name: web
    address: 127.0.0.1:0
    routes: [{{ cluster: up{route}, filters: [{{ transcode: {filter} }}, {{ headers: {{ response: {{ set: {{ x-status: \"%RESPONSE_CODE%\" }} }} }} }}] }}]
clusters:
  - {{ name: up, protocol: {protocol}, endpoints: [{endpoints}]{cluster} }}
"
    ))
}

fn dubbo(driver: Driver) -> (WireServer, Proxy) {
    let server = WireServer::bind();
    let proxy = proxy(driver, ("dubbo", DUBBO), ", timeout: 5s", "", &[&server]);
    (server, proxy)
}

/// A request of Dubbo: its id and its body. Heartbeats are passed over.
#[track_caller]
fn take(wire: &mut Wire) -> ([u8; 8], Vec<u8>) {
    loop {
        let head = wire.take(16);
        assert_eq!(head[..2], [0xda, 0xbb]);
        let body = wire.take(u32::from_be_bytes(head[12..].try_into().unwrap()) as usize);
        if head[2] & 0x20 == 0 {
            assert_eq!(head[2], 0xc2);
            return (head[4..12].try_into().unwrap(), body);
        }
    }
}

/// An answer of Dubbo with that status and body.
fn answer(id: [u8; 8], status: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0xda, 0xbb, 2, status][..], &id, &len, body].concat()
}

fn ask(client: &mut Client, target: &str, body: &str) {
    send(client, target, "", body);
}

fn send(client: &mut Client, target: &str, fields: &str, body: &str) {
    client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: t\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

fn a_request_becomes_a_generic_call_of_dubbo_and_its_answer_json(driver: Driver) {
    let (server, proxy) = dubbo(driver);
    let mut client = proxy.client();
    let mut wire = None;
    for id in [7, 8] {
        ask(
            &mut client,
            &format!("/users/find?id={id}"),
            r#"{"user": {"name": "J\u00fcrgen"}}"#,
        );
        let wire = wire.get_or_insert_with(|| server.accept());
        let (call, body) = take(wire);
        let expect = b"\x052.0.2\x0ecom.test.Users\x051.0.0\x07$invoke";
        assert!(body.starts_with(expect), "{body:x?}");
        let arguments = [
            b"\x04find\x72\x07[string\x03int\x0dcom.test.User\x72\x07[object",
            &[0x90 + id][..],
            b"H\x04name\x06J\xc3\xbcrgenZ",
        ]
        .concat();
        assert!(holds(&body, &arguments), "{body:x?}");
        for pair in [
            &b"\x07generic\x04true"[..],
            b"\x05group\x04blue",
            b"\x07version\x051.0.0",
        ] {
            assert!(holds(&body, pair), "{body:x?}");
        }
        // A value, as an object of a class with a number that JavaScript would round; attachments behind it.
        let value = b"\x94C\x0dcom.test.User\x92\x04name\x02id\x60\x02ab\x4c\0\x20\0\0\0\0\0\x01H\x01a\x01bZ";
        wire.send(answer(call, 20, value));
        let response = client.read("POST");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, r#"{"name":"ab","id":9007199254740993}"#)
        );
        assert_eq!(response.get("content-type"), Some("application/json"));
        assert_eq!(response.get("x-status"), Some("200"));
    }
}

fn calls_of_many_clients_share_a_connection_and_find_their_answers(driver: Driver) {
    let (server, proxy) = dubbo(driver);
    let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    for (id, client) in clients.iter_mut().enumerate() {
        ask(client, &format!("/users/find?id={id}"), r#"{"user": null}"#);
    }
    let mut wire = server.accept();
    let mut calls: Vec<_> = clients.iter().map(|_| take(&mut wire)).collect();
    calls.reverse();
    for (id, body) in &calls {
        let at = body
            .windows(8)
            .position(|window| window == b"\x07[object")
            .unwrap();
        // The argument itself, as an int.
        wire.send(answer(*id, 20, &[0x91, body[at + 8]]));
    }
    for (id, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read("POST").text(), id.to_string());
    }
}

fn headers_go_along_and_each_try_says_what_time_is_left(driver: Driver) {
    let server = WireServer::bind();
    let route = ", timeout: 5s, request_headers: { set: { x-trace: \"%REQ(:METHOD)%-1\" } }";
    let proxy = proxy(driver, ("dubbo", DUBBO), route, "", &[&server]);
    let mut client = proxy.client();
    send(
        &mut client,
        "/users/find?id=1",
        "X-Tenant: red\r\nCookie: secret\r\n",
        "{}",
    );
    let (_, body) = take(&mut server.accept());
    assert!(
        holds(&body, b"\x06tenant\x03red") && holds(&body, b"\x05trace\x06POST-1"),
        "{body:x?}"
    );
    assert!(!holds(&body, b"secret") && !holds(&body, b"86400000"));
    let at = body
        .windows(8)
        .position(|window| window == b"\x07timeout")
        .unwrap();
    let left: u32 = std::str::from_utf8(&body[at + 9..at + 13])
        .unwrap()
        .parse()
        .unwrap();
    assert!((3000..=5000).contains(&left), "{left}");
}

fn a_request_becomes_a_call_of_bolt_and_its_answer_json(driver: Driver) {
    let server = WireServer::bind();
    let proxy = proxy(driver, ("bolt", BOLT), "", "", &[&server]);
    let mut client = proxy.client();
    ask(&mut client, "/", r#"[1, {"a": 2.50}]"#);
    let mut wire = server.accept();
    let call = Bolt::take_call(&mut wire);
    let header = |name: &str| {
        let mut found = call.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    };
    assert_eq!(header("service"), Some("com.test.Echo:1.0"));
    assert_eq!(
        header("sofa_head_target_service"),
        Some("com.test.Echo:1.0")
    );
    assert_eq!(header("sofa_head_method_name"), Some("say"));
    // As it came; and what is left of the route's 15 seconds.
    assert_eq!(call.content, br#"[1, {"a": 2.50}]"#);
    assert!((10_000..=15_000).contains(&call.last), "{}", call.last);
    let mut bytes = bolt_answer(&call, r#"{"b":1}"#).bytes();
    // JSON's number among the serializations.
    bytes[9] = 12;
    wire.send(bytes);
    let response = client.read("POST");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, r#"{"b":1}"#)
    );
    // An error of the service's, and one of the server's.
    for (status, headers, content, expect, text) in [
        (
            0,
            &[("sofa_head_response_error", "true")][..],
            "\"boom\"",
            500,
            "boom",
        ),
        (6, &[], "", 404, "the server has no such service"),
        (4, &[], "", 503, "the server is busy"),
    ] {
        ask(&mut client, "/", "[]");
        let call = Bolt::take_call(&mut wire);
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let answer = Bolt {
            last: status,
            headers: headers.collect(),
            ..bolt_answer(&call, content)
        };
        let mut bytes = answer.bytes();
        bytes[9] = 12;
        wire.send(bytes);
        let response = client.read("POST");
        let error = format!("{{\"error\":{{\"message\":\"{text}\"}}}}");
        assert_eq!((response.status, response.text()), (expect, error));
    }
}

fn exceptions_and_refusals_become_statuses_with_json(driver: Driver) {
    let (server, proxy) = dubbo(driver);
    let mut client = proxy.client();
    let mut wire = None;
    let within_itself = b"\x91\x79Q\x90";
    for (status, body, expect, text) in [
        (
            20,
            &b"\x90C\x03x.Y\x91\x0ddetailMessage\x60\x04boom"[..],
            500,
            r#"{"error":{"message":"boom","exception":"x.Y"}}"#,
        ),
        (20, b"\x92", 200, "null"),
        (
            60,
            b"\x07no such",
            404,
            r#"{"error":{"message":"no such"}}"#,
        ),
        (31, b"\x04slow", 504, r#"{"error":{"message":"slow"}}"#),
        (100, b"\x04busy", 503, r#"{"error":{"message":"busy"}}"#),
        (
            70,
            b"\x03\xe2\x82\xac\nx",
            500,
            "{\"error\":{\"message\":\"\u{20ac}\"}}",
        ),
        (
            20,
            within_itself,
            502,
            r#"{"error":{"message":"a value of the answer lies within itself, which JSON cannot say"}}"#,
        ),
        (
            20,
            b"\x91\x60",
            502,
            r#"{"error":{"message":"the provider's answer cannot be read: bad_body"}}"#,
        ),
    ] {
        ask(&mut client, "/users/find?id=1", "{}");
        let wire = wire.get_or_insert_with(|| server.accept());
        let (id, _) = take(wire);
        wire.send(answer(id, status, body));
        let response = client.read("POST");
        assert_eq!((response.status, response.text().as_str()), (expect, text));
        assert_eq!(response.get("content-type"), Some("application/json"));
        assert_eq!(response.get("x-status"), Some(expect.to_string().as_str()));
    }
    let bad = proxy.metric(
        "ringway_listener_transcode_bad_answer_total",
        &["listener=\"web\""],
    );
    assert_eq!(bad, 2.0);
}

fn faults_become_statuses_with_json(driver: Driver) {
    let server = WireServer::bind();
    let proxy = proxy(driver, ("dubbo", DUBBO), ", timeout: 1s", "", &[&server]);
    let mut client = proxy.client();
    ask(&mut client, "/users/find?id=1", "{}");
    let mut wire = server.accept();
    let (late, _) = take(&mut wire);
    let told = |response: &ringway_tests::Response| (response.status, response.text());
    let error = |text: &str| format!("{{\"error\":{{\"message\":\"{text}\"}}}}");
    assert_eq!(
        told(&client.read("POST")),
        (504, error("the request took too long"))
    );
    // Its late answer finds nobody, and the connection goes on.
    wire.send(answer(late, 20, b"\x91\x92"));
    ask(&mut client, "/users/find?id=1", "{}");
    let (id, _) = take(&mut wire);
    wire.send(answer(id, 20, b"\x91\x93"));
    assert_eq!(told(&client.read("POST")), (200, "3".to_owned()));
    ask(&mut client, "/users/find?id=1", "{}");
    take(&mut wire);
    drop(wire);
    assert_eq!(
        told(&client.read("POST")),
        (502, error("the upstream closed before it answered"))
    );
    let _refusing = server.refuse();
    ask(&mut client, "/users/find?id=1", "{}");
    assert_eq!(
        told(&client.read("POST")),
        (503, error("the upstream could not be reached"))
    );
}

fn a_cluster_that_is_full_is_a_503(driver: Driver) {
    let server = WireServer::bind();
    let cluster = ", rpc: { in_flight: 1, connections: 1 }";
    let proxy = proxy(driver, ("dubbo", DUBBO), "", cluster, &[&server]);
    let (mut first, mut second, mut third) = (proxy.client(), proxy.client(), proxy.client());
    ask(&mut first, "/users/find?id=1", "{}");
    let mut wire = server.accept();
    let (id, _) = take(&mut wire);
    ask(&mut second, "/users/find?id=2", "{}");
    let waited = || {
        proxy.metric(
            "ringway_cluster_upstream_rq_waited_total",
            &["cluster=\"up\""],
        )
    };
    ringway_tests::wait_until("one waits", || waited() >= 1.0);
    ask(&mut third, "/users/find?id=3", "{}");
    let refused = third.read("POST");
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (503, r#"{"error":{"message":"too busy"}}"#)
    );
    wire.send(answer(id, 20, b"\x91\x91"));
    assert_eq!(first.read("POST").text(), "1");
    let (id, _) = take(&mut wire);
    wire.send(answer(id, 20, b"\x91\x92"));
    assert_eq!(second.read("POST").text(), "2");
}

fn a_call_is_tried_again_at_another_host(driver: Driver) {
    let (server, gone) = (WireServer::bind(), WireServer::bind());
    let route = ", retry: { on: [connect_failure], retries: 2 }";
    let proxy = proxy(driver, ("dubbo", DUBBO), route, "", &[&gone, &server]);
    let _refusing = gone.refuse();
    let mut client = proxy.client();
    let mut wire = None;
    for _ in 0..4 {
        ask(&mut client, "/users/find?id=1", "{}");
        let wire = wire.get_or_insert_with(|| server.accept());
        let (id, _) = take(wire);
        wire.send(answer(id, 20, b"\x91\x91"));
        assert_eq!(client.read("POST").status, 200);
    }
}

fn a_body_over_the_limit_is_a_413(driver: Driver) {
    let server = WireServer::bind();
    let filter = DUBBO.replace("to: dubbo", "to: dubbo, max_body: 100B");
    let proxy = proxy(driver, ("dubbo", &filter), "", "", &[&server]);
    let body = format!("{{\"user\": \"{}\"}}", "x".repeat(100));
    let refused = |response: ringway_tests::Response| {
        let text = r#"{"error":{"message":"the request's body is too large"}}"#;
        assert_eq!((response.status, response.text().as_str()), (413, text));
    };
    // Said beforehand, it is not even asked for.
    let mut client = proxy.client();
    client.send(format!(
        "POST /a/b HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    refused(client.read("POST"));
    let mut client = proxy.client();
    client.send("POST /a/b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunk(&body.as_bytes()[..90]));
    client.send(chunk(&body.as_bytes()[90..]));
    client.send("0\r\n\r\n");
    refused(client.read("POST"));
    let limits = proxy.metric("ringway_listener_limit_total", &["limit=\"whole_body\""]);
    assert_eq!(limits, 2.0);
    assert!(server.try_accept().is_none(), "nothing was called");
}

fn a_body_in_parts_is_taken_whole(driver: Driver) {
    let (server, proxy) = dubbo(driver);
    let mut client = proxy.client();
    client.send("POST /a/b?id=1 HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    let proceed = client.try_head().unwrap();
    assert!(
        proceed.start.starts_with("HTTP/1.1 100"),
        "{}",
        proceed.start
    );
    for part in ["{\"user\"", ": \"who", "le\"}"] {
        client.send(chunk(part.as_bytes()));
    }
    client.send("0\r\n\r\n");
    let mut wire = server.accept();
    let (id, body) = take(&mut wire);
    assert!(holds(&body, b"[object\x91\x05whole"), "{body:x?}");
    wire.send(answer(id, 20, b"\x91\x92"));
    assert_eq!(client.read("POST").text(), "2");
    // The connection is where it should be.
    ask(&mut client, "/a/b?id=1", "{}");
    let (id, _) = take(&mut wire);
    wire.send(answer(id, 20, b"\x91\x93"));
    assert_eq!(client.read("POST").text(), "3");
}

fn what_is_no_json_is_told_in_a_sentence(driver: Driver) {
    let (server, proxy) = dubbo(driver);
    let mut client = proxy.client();
    for (target, body, text) in [
        (
            "/a/b?id=1",
            "<a/>",
            "the body is not JSON: expected value at line 1 column 1",
        ),
        ("/a/b?id=1", "", "the body is empty, and JSON is wanted"),
        ("/a/b", "{}", "nothing is in query.id"),
        (
            "/a/b?id=x",
            "{}",
            "parameter 1 (int): write a whole number that fits",
        ),
        ("/a", "{}", "nothing is in path.2"),
        (
            "/a/b?id=1",
            r#"{"user": {"class": "x.Y"}}"#,
            "`class` is not taken from clients",
        ),
    ] {
        ask(&mut client, target, body);
        let response = client.read("POST");
        let error = format!("{{\"error\":{{\"message\":\"{text}\"}}}}");
        assert_eq!((response.status, response.text()), (400, error));
        assert_eq!(response.get("x-status"), Some("400"));
    }
    let refused = proxy.metric(
        "ringway_listener_transcode_bad_request_total",
        &["listener=\"web\""],
    );
    assert_eq!(refused, 6.0);
    assert!(server.try_accept().is_none(), "nothing was called");
}

fn calls_are_counted_by_method(driver: Driver) {
    let (server, proxy) = dubbo(driver);
    let mut client = proxy.client();
    let mut wire = None;
    for (body, status) in [(&b"\x91\x91"[..], 20), (b"\x90\x01x", 20), (b"\x01x", 80)] {
        ask(&mut client, "/users/find?id=1", "{}");
        let wire = wire.get_or_insert_with(|| server.accept());
        let (id, _) = take(wire);
        wire.send(answer(id, status, body));
        client.read("POST");
    }
    for end in ["ok", "exception", "failed"] {
        let labels = ["method=\"com.test.Users/find\"", &format!("end=\"{end}\"")];
        wait_equal(Some(1.0), || {
            proxy.try_metric("ringway_rpc_rq_total", &labels).ok()
        });
    }
}

fn mirrored_requests_are_calls_too(driver: Driver) {
    let (server, shadow) = (WireServer::bind(), WireServer::bind());
    let config = format!(
        "listeners: [{{ name: web, address: \"127.0.0.1:0\", routes: [{{ cluster: up, mirror: {{ cluster: shadow }}, filters: [{{ transcode: {BOLT} }}] }}] }}]
clusters:
  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}
  - {{ name: shadow, protocol: bolt, endpoints: [\"{}\"] }}
",
        server.addr(),
        shadow.addr()
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut client = proxy.client();
    ask(&mut client, "/", "[7]");
    let mut wire = server.accept();
    let call = Bolt::take_call(&mut wire);
    let copy = Bolt::take_call(&mut shadow.accept());
    assert_eq!(
        (&call.content[..], &copy.content[..]),
        (&b"[7]"[..], &b"[7]"[..])
    );
    let mut bytes = bolt_answer(&call, "8").bytes();
    bytes[9] = 12;
    wire.send(bytes);
    assert_eq!(client.read("POST").text(), "8");
}

#[test]
fn filter_and_cluster_have_to_fit() {
    let listener = "listeners: [{ name: main, address: \"127.0.0.1:0\", routes: [";
    let with = |route: &str, cluster: &str| {
        format!(
            "{listener}{route}] }}]\nclusters: [{{ name: up, endpoints: [\"127.0.0.1:1\"]{cluster} }}]\n"
        )
    };
    let route = |filters: &str| format!("{{ cluster: up, filters: [{filters}] }}");
    let one = format!("transcode: {BOLT}");
    for (config, says) in [
        (
            with(&route(&one), ", protocol: dubbo"),
            "write `protocol: bolt` in the cluster `up`",
        ),
        (
            with(&route(&one), ""),
            "write `protocol: bolt` in the cluster `up`",
        ),
        (
            with(&route(&one), ", protocol: bolt, rpc: { bound: true }"),
            "clients of HTTP have none",
        ),
        (
            with(&route(&format!("{one}, {one}")), ", protocol: bolt"),
            "leave the second `transcode` out",
        ),
        (
            with("{ cluster: up }", ", protocol: bolt"),
            "or the route has to have the filter `transcode`",
        ),
        (
            with(
                &format!("{{ respond: {{ status: 204 }}, filters: [{one}] }}"),
                ", protocol: bolt",
            ),
            "the route leads to no cluster",
        ),
        (
            with(&route(&one), ", protocol: bolt").replace("routes:", "protocol: bolt, routes:"),
            "a listener of an RPC protocol: leave it out",
        ),
        (
            with(&route(""), ", protocol: bolt")
                .replace("routes:", &format!("filters: [{one}], routes:")),
            "among the `filters` of a route",
        ),
    ] {
        let dir = TempDir::new();
        let file = dir.write("ringway.yaml", &config);
        let (code, out, err) = run(&["validate", "-c", file.to_str().unwrap()], "");
        assert!(
            code != 0 && (out.contains(says) || err.contains(says)),
            "{config}\n{out}{err}"
        );
    }
}
