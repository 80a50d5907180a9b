//! What must not become a request of HTTP/1: malformed heads, bodies and trailers, each refused before an upstream hears of it.

use ringway_tests::hpack::{self, literal};
use ringway_tests::http2::{Answer, END, END_HEADERS, code, kind};
use ringway_tests::{Driver, Http2, Origin, Proxy, WireServer, both_drivers};

use crate::http2::echo;

both_drivers! {
    an_empty_body_is_awaited_before_it_goes_on,
    malformed_requests_are_reset_and_counted,
    requests_that_are_refused_get_a_status,
    a_length_that_is_none_passes_nowhere,
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
pub(crate) fn sent(proxy: &Proxy, fields: &[(&[u8], &[u8])]) -> Result<Answer, u32> {
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
pub(crate) fn refused(proxy: &Proxy, fields: &[(&[u8], &[u8])]) {
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

pub(crate) fn shown(fields: &[(&[u8], &[u8])]) -> String {
    let all = fields
        .iter()
        .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
    all.collect::<Vec<_>>().join(" | ")
}

pub(crate) const METHOD: (&[u8], &[u8]) = (b":method", b"GET");
pub(crate) const SCHEME: (&[u8], &[u8]) = (b":scheme", b"http");
pub(crate) const PATH: (&[u8], &[u8]) = (b":path", b"/x");
pub(crate) const AUTHORITY: (&[u8], &[u8]) = (b":authority", b"test.example");

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
        (b":path", b"/smuggled"),
        (b":status", b"200"),
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
