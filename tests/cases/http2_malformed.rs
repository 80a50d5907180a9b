//! What must not become a request of HTTP/1: malformed heads, bodies and trailers, each refused before an upstream hears of it.

use ringway_tests::hpack::{self, literal};
use ringway_tests::http2::{Answer, END, END_HEADERS, code, kind};
use ringway_tests::{Driver, Http2, Origin, Proxy, WireServer, both_drivers};

use crate::http2::echo;

both_drivers! {
    an_empty_body_is_awaited_before_it_goes_on,
    malformed_requests_are_reset_and_counted,
    requests_that_are_refused_get_a_status,
    no_field_that_means_something_else_in_http1_passes,
    no_pseudo_field_passes_that_is_not_what_it_should_be,
    pseudo_fields_come_once_each_and_first,
    one_host_is_named_and_it_is_one,
    a_length_that_is_none_passes_nowhere,
    what_is_unusual_and_right_passes_as_it_is,
    trailers_that_are_malformed_break_the_request,
    pieces_of_cookies_are_one_field,
}

fn an_empty_body_is_awaited_before_it_goes_on(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let zero = [("content-length", "0")];
    let stream = client.start("POST", "/x", &zero, false);
    client.get("/first");
    client.data(stream, b"", true);
    assert_eq!(client.answer(stream).status, 200);
    let stream = client.start("POST", "/smuggled", &zero, false);
    client.get("/second");
    client.data(stream, b"GET /inner HTTP/1.1\r\nHost: t\r\n\r\n", true);
    assert_eq!(client.answer(stream).reset, Some(code::PROTOCOL_ERROR));
    client.get("/third");
    let targets: Vec<String> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/first", "/x", "/second", "/third"]);
}

/// A GET with these pseudo-fields in place of its own, and these fields.
fn head<'a>(
    instead: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let usual = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "test.example"),
    ];
    let own = |name: &str| instead.iter().find(|(own, _)| *own == name);
    let mut all: Vec<_> = usual
        .into_iter()
        .map(|field| own(field.0).copied().unwrap_or(field))
        .filter(|(_, value)| *value != "none")
        .collect();
    all.extend(more);
    all
}

fn malformed_requests_are_reset_and_counted(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let cases = [
        (head(&[(":path", "*")], &[]), "target_form"),
        (head(&[(":path", "/\"")], &[]), "target_byte"),
        (
            head(&[(":authority", "u@a.test")], &[]),
            "authority_invalid",
        ),
        (head(&[(":authority", "none")], &[]), "host_missing"),
        (head(&[], &[("host", "other")]), "authority_mismatch"),
        (
            head(&[], &[("host", "test.example"), ("host", "test.example")]),
            "host_duplicate",
        ),
        (head(&[(":scheme", "ftp")], &[]), "scheme_invalid"),
        (head(&[], &[("x", " a")]), "field_value_space"),
        (
            head(&[], &[("content_length", "5")]),
            "field_name_ambiguous",
        ),
        (head(&[], &[("\"quoted", "5")]), "field_name_byte"),
        (
            head(&[], &[("content-length", "0"), ("content-length", "0")]),
            "length_duplicate",
        ),
    ];
    let mut client = Http2::connect(proxy.addr("web"));
    for (fields, rule) in &cases {
        let answer = client.head(fields);
        assert_eq!(
            (answer.status, answer.reset),
            (0, Some(code::PROTOCOL_ERROR)),
            "{fields:?}"
        );
        let label = format!("rule=\"{rule}\"");
        assert!(
            proxy.metric("ringway_listener_violation_total", &[&label]) > 0.0,
            "{rule}"
        );
    }
    // What the codec refuses.
    for fields in [
        head(&[(":path", "http://a.test/")], &[]),
        head(&[(":path", "x")], &[]),
        head(&[], &[("X-Upper", "1")]),
        head(&[], &[("connection", "close")]),
        head(&[], &[("transfer-encoding", "chunked")]),
        head(&[], &[("te", "gzip")]),
        head(&[(":method", "none")], &[]),
        head(&[(":path", "none")], &[]),
        head(&[], &[(":path", "/y")]),
        head(&[], &[("x", "1"), (":late", "1")]),
        head(&[], &[("content-length", "5")]),
    ] {
        // Some of these end the connection, since they leave its table of fields unclear.
        let mut client = Http2::connect(proxy.addr("web"));
        let (stream, flags) = (client.new_stream(), END | END_HEADERS);
        let block: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
            .collect();
        client.frame(kind::HEADERS, flags, stream, &block);
        let refused = client.until("a refusal", |client| {
            let reset = client.answers.get(&stream).and_then(|answer| answer.reset);
            reset.or(client.goaways.first().map(|(_, code)| *code))
        });
        assert_eq!(refused, code::PROTOCOL_ERROR, "{fields:?}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn requests_that_are_refused_get_a_status(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    let many: Vec<(String, String)> = (0..101)
        .map(|n| (format!("x-{n}"), "1".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let crumbs = vec![("cookie", "a=1"); 101];
    let long = format!("/{}", "a".repeat(17_000));
    let value = "a".repeat(17_000);
    for (fields, status) in [
        (head(&[], &many), 431),
        (head(&[], &many[1..]), 200),
        (head(&[], &crumbs), 431),
        (head(&[], &crumbs[1..]), 200),
        (head(&[(":path", &long)], &[]), 414),
        (head(&[], &[("x-a", &value)]), 431),
        (head(&[], &[("expect", "tea")]), 417),
        (
            vec![(":method", "CONNECT"), (":authority", "a.test:443")],
            405,
        ),
    ] {
        assert_eq!(
            client.head(&fields).status,
            status,
            "{:?}",
            &fields[..4.min(fields.len())]
        );
    }
    assert_eq!(origin.seen().len(), 2);
}

/// Sends fields as they are, on a connection of their own, and says what became of them: a status, or none.
fn sent(proxy: &Proxy, fields: &[(&[u8], &[u8])]) -> Result<Answer, u32> {
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.new_stream();
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect();
    client.frame(kind::HEADERS, END | END_HEADERS, stream, &block);
    client.until("what becomes of it", |client| {
        let answer = client.answers.get(&stream);
        if let Some(answer) = answer.filter(|answer| answer.ended || answer.reset.is_some()) {
            return Some(answer.reset.map_or(Ok(answer.clone()), Err));
        }
        client.goaways.first().map(|(_, code)| Err(*code))
    })
}

/// It was refused, by a reset, a GOAWAY or a status.
#[track_caller]
fn refused(proxy: &Proxy, fields: &[(&[u8], &[u8])]) {
    match sent(proxy, fields) {
        Ok(answer) => assert!(
            (400..500).contains(&answer.status) || answer.status == 501,
            "{} for {}",
            answer.status,
            shown(fields)
        ),
        Err(code) => assert!(
            matches!(code, code::PROTOCOL_ERROR),
            "{code} for {}",
            shown(fields)
        ),
    }
}

fn shown(fields: &[(&[u8], &[u8])]) -> String {
    let all = fields
        .iter()
        .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
    all.collect::<Vec<_>>().join(" | ")
}

const METHOD: (&[u8], &[u8]) = (b":method", b"GET");
const SCHEME: (&[u8], &[u8]) = (b":scheme", b"http");
const PATH: (&[u8], &[u8]) = (b":path", b"/x");
const AUTHORITY: (&[u8], &[u8]) = (b":authority", b"test.example");

fn no_field_that_means_something_else_in_http1_passes(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let with = |name: &[u8], value: &[u8]| {
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, (name, value)]);
    };
    for name in [
        &b""[..],
        b"X",
        b"x-Upper",
        b"x ",
        b" x",
        b"x:",
        b"x:y",
        b"x\0",
        b"x\r",
        b"x\n",
        b"x\ty",
        b"x\r\nx-smuggled",
        b"x: y\r\nx-smuggled",
        b"x\x7f",
        b"x\x80",
        b"x\xc3\xa9",
        b"x(y",
        b"x,y",
        b"x;y",
        b"x=y",
        b"x/y",
        b"x@y",
        b"x[y",
        b"x\\y",
        b"x{y",
        b"x\"y",
        b"content_length",
        b"transfer_encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    ] {
        with(name, b"chunked");
    }
    for value in [
        &b"a\0"[..],
        b"\0",
        b"a\r",
        b"a\n",
        b"a\r\nx-smuggled: 1",
        b"a\nx-smuggled: 1",
        b"a\r\n\r\nGET / HTTP/1.1",
        b" a",
        b"a ",
        b"\ta",
        b"a\t",
        b" ",
        b"a\x01b",
        b"a\x1fb",
        b"a\x7fb",
    ] {
        with(b"x-a", value);
    }
    for te in [
        &b"gzip"[..],
        b"chunked",
        b"trailers, gzip",
        b"trailers, chunked",
        b"",
    ] {
        with(b"te", te);
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn no_pseudo_field_passes_that_is_not_what_it_should_be(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let all = [METHOD, SCHEME, PATH, AUTHORITY];
    let other = |at: usize, value: &[u8]| {
        let mut fields = all;
        fields[at].1 = value;
        refused(&proxy, &fields);
    };
    for method in [
        &b""[..],
        b"G ET",
        b"GET ",
        b" GET",
        b"G\0T",
        b"G(T",
        b"GET\r\n",
        b"GET / HTTP/1.1\r\nx: ",
    ] {
        other(0, method);
    }
    for scheme in [
        &b""[..],
        b"ftp",
        b"http:",
        b"http://a/?",
        b"http\r\nx: 1",
        b" http",
        b"ht tp",
    ] {
        other(1, scheme);
    }
    for path in [
        &b""[..],
        b"x",
        b"*",
        b"?q",
        b"/ x",
        b"/x HTTP/1.1\r\nx: 1\r\ny: ",
        b"/\0",
        b"/\t",
        b"/\r",
        b"/\n",
        b"/\x7f",
        b"/\"",
        b"/<",
        b"/x y",
        b"http://other.test/x",
        b"//other.test:x@/ ",
        b"other.test:80",
    ] {
        other(2, path);
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn pseudo_fields_come_once_each_and_first(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let all = [METHOD, SCHEME, PATH, AUTHORITY];
    for at in 0..4 {
        // Twice, one way and the other.
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, all[at]]);
        let mut rest = all.to_vec();
        rest.insert(0, all[at]);
        refused(&proxy, &rest);
        // Behind a field.
        let mut late = all.to_vec();
        let own = late.remove(at);
        late.extend([(&b"x"[..], &b"1"[..]), own]);
        refused(&proxy, &late);
        // Not at all.
        let mut none = all.to_vec();
        none.remove(at);
        refused(&proxy, &none);
    }
    for more in [
        (&b":status"[..], &b"200"[..]),
        (b":unknown", b"1"),
        (b":", b"1"),
        (b":Path", b"/y"),
        (b":protocol", b"websocket"),
    ] {
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, more]);
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn one_host_is_named_and_it_is_one(driver: Driver) {
    let (origin, proxy) = echo(driver);
    for authority in [
        &b""[..],
        b"a b",
        b"a/x",
        b"a?x",
        b"a#x",
        b"u@a",
        b"u:p@a",
        b"a:b",
        b"a:99999",
        b"a:80:80",
        b"a,b",
        b"[::1",
        b"::1]",
        b"a\r\nx: 1",
        b"a\0b",
        b"a\t",
        b" a",
        b"a\\b",
    ] {
        refused(&proxy, &[METHOD, SCHEME, PATH, (b":authority", authority)]);
    }
    for host in [
        &b"other.example"[..],
        b"",
        b"test.example:80",
        b"test.example\r\nx: 1",
        b"test.example/",
    ] {
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, (b"host", host)]);
    }
    for host in [&b""[..], b"a b", b"a/x", b"u@a", b"a,b"] {
        refused(&proxy, &[METHOD, SCHEME, PATH, (b"host", host)]);
    }
    let two = (&b"host"[..], &b"test.example"[..]);
    refused(&proxy, &[METHOD, SCHEME, PATH, two, two]);
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn a_length_that_is_none_passes_nowhere(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let post = (&b":method"[..], &b"POST"[..]);
    for length in [
        &b"+5"[..],
        b"-5",
        b"0x5",
        b"5,5",
        b"5, 5",
        b"5 ",
        b" 5",
        b"5;",
        b"",
        b"5.0",
        b"5e0",
        b"18446744073709551621",
        b"99999999999999999999",
        b"\xd9\xa5",
    ] {
        refused(
            &proxy,
            &[post, SCHEME, PATH, AUTHORITY, (b"content-length", length)],
        );
    }
    let five = (&b"content-length"[..], &b"5"[..]);
    // More than the stream that has ended can have, and twice.
    refused(&proxy, &[post, SCHEME, PATH, AUTHORITY, five]);
    refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, five]);
    refused(&proxy, &[post, SCHEME, PATH, AUTHORITY, five, five]);
    refused(
        &proxy,
        &[
            post,
            SCHEME,
            PATH,
            AUTHORITY,
            five,
            (b"content-length", b"6"),
        ],
    );
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn what_is_unusual_and_right_passes_as_it_is(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let count = std::cell::Cell::new(0);
    let passes = |fields: &[(&[u8], &[u8])]| {
        let answer = sent(&proxy, fields).map(|answer| answer.status);
        assert_eq!(answer, Ok(200), "{}", shown(fields));
        count.set(count.get() + 1);
        origin.nth(count.get())
    };
    for (name, value) in [
        ("x-empty", ""),
        ("x!#$%&'*+-.^`|~9", "1"),
        ("x-a", "a \t b"),
        ("te", "trailers"),
    ] {
        let own = (name.as_bytes(), value.as_bytes());
        let seen = passes(&[METHOD, SCHEME, PATH, AUTHORITY, own]);
        assert_eq!(seen.get(name), Some(value));
    }
    for path in ["/a%20b;p=1?q=/../&r=?", "/x?", "//", "/x#fragment"] {
        let seen = passes(&[METHOD, SCHEME, (b":path", path.as_bytes()), AUTHORITY]);
        assert_eq!(Some(seen.target.as_str()), path.split('#').next());
    }
    let seen = passes(&[(b":method", b"X-1!"), SCHEME, PATH, AUTHORITY]);
    assert_eq!(seen.method, "X-1!");
    let hosts = [AUTHORITY, (b"host", b"TEST.example")];
    let seen = passes(&[METHOD, SCHEME, PATH, hosts[0], hosts[1]]);
    assert_eq!(seen.get("host"), Some("test.example"));
    let seen = passes(&[METHOD, SCHEME, PATH, (b":authority", b"[::1]:8080")]);
    assert_eq!(seen.get("host"), Some("[::1]:8080"));
    passes(&[AUTHORITY, PATH, SCHEME, METHOD]);
}

fn trailers_that_are_malformed_break_the_request(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    for trailer in [
        (&b"x-a"[..], &b"a\r\nx-smuggled: 1"[..]),
        (b"x-a", b"a\0"),
        (b"x-a", b" a"),
        (b"X-A", b"1"),
        (b"x a", b"1"),
        (b"x:a", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"x"),
    ] {
        let mut client = Http2::connect(proxy.addr("web"));
        let stream = client.start("POST", "/", &[], false);
        client.data(stream, b"part", false);
        let mut wire = server.accept();
        wire.until("4\r\npart\r\n");
        let block = literal(trailer.0, trailer.1);
        client.frame(kind::HEADERS, END | END_HEADERS, stream, &block);
        let rest = wire.until_closed();
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    }
    // Some that end no stream are not trailers.
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/", &[], false);
    client.data(stream, b"part", false);
    let mut wire = server.accept();
    wire.until("4\r\npart\r\n");
    client.frame(
        kind::HEADERS,
        END_HEADERS,
        stream,
        &hpack::block(&[("x-a", "1")]),
    );
    assert!(wire.until_closed().is_empty());
}

fn pieces_of_cookies_are_one_field(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut fields = vec![METHOD, SCHEME, PATH, AUTHORITY];
    // Beside a field of each, so that those which come apart are gathered.
    for _ in 0..100 {
        fields.extend([(&b"cookie"[..], &b"a=1"[..])]);
    }
    fields.push((b"x-a", b"1"));
    assert_eq!(sent(&proxy, &fields).map(|answer| answer.status), Ok(200));
    let seen = origin.only();
    assert_eq!(
        seen.get("cookie"),
        Some(vec!["a=1"; 100].join("; ").as_str())
    );
    fields.push((b"cookie", b"b=2"));
    assert_eq!(sent(&proxy, &fields).map(|answer| answer.status), Ok(431));
}
