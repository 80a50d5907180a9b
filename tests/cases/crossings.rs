//! Every version of clients to every version of upstreams: what must be the same whatever is spoken on either side.

use ringway_tests::hpack::Field;
use ringway_tests::{
    Driver, H2Origin, Http2, Origin, Proxy, WireServer, both_drivers, pattern, wait_until,
};

use crate::http2_upstream::one_core;

both_drivers! {
    bodies_cross_whole,
    empty_bodies_are_empty,
    heads_alone_have_no_body,
    trailers_cross_where_there_are_some,
    interim_answers_cross,
    early_answers_are_whole,
    answers_cut_off_never_look_whole,
    an_upstream_that_resets_is_a_502,
    a_client_that_leaves_is_gone_upstream_too,
    via_says_in_which_version_each_message_came,
    same_as_client_speaks_what_the_client_does,
    calls_of_grpc_cross_to_http1,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Http10,
    Http11,
    Http2,
}

const CLIENTS: [Client; 3] = [Client::Http10, Client::Http11, Client::Http2];

/// What an upstream speaks, and the origin that does.
enum Upstream {
    Http1(Origin),
    Http2(H2Origin),
}

impl Upstream {
    fn addr(&self) -> std::net::SocketAddr {
        match self {
            Self::Http1(origin) => origin.addr(),
            Self::Http2(origin) => origin.addr(),
        }
    }

    /// The path of so many bytes without a length ahead of them.
    fn unmeasured(&self, size: usize) -> String {
        match self {
            Self::Http1(_) => format!("/chunked/{size}"),
            Self::Http2(_) => format!("/data/{size}"),
        }
    }

    /// Length, whether it was the pattern, and trailers of the `count`th request's body.
    fn body(&self, count: usize) -> (u64, bool, usize) {
        match self {
            Self::Http1(origin) => {
                let seen = origin.nth(count);
                (seen.length, seen.pattern, seen.trailers.len())
            }
            Self::Http2(origin) => {
                let seen = origin.nth(count);
                let trailers = seen.trailers.map_or(0, |trailers| trailers.len());
                (seen.length, seen.pattern, trailers)
            }
        }
    }
}

/// An answer as its client read it.
#[derive(Debug)]
struct Got {
    status: u16,
    interim: usize,
    fields: Vec<Field>,
    body: Vec<u8>,
    trailers: Vec<Field>,
    whole: bool,
}

impl Got {
    fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter();
        let mut field = field.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        field.next().map(|(_, value)| value.as_str())
    }
}

/// What is asked.
#[derive(Clone, Copy, Default)]
struct Ask<'a> {
    fields: &'a [(&'a str, &'a str)],
    body: Option<&'a [u8]>,
    trailers: &'a [(&'a str, &'a str)],
}

impl Client {
    fn ask(self, proxy: &Proxy, method: &str, path: &str, ask: Ask<'_>) -> Got {
        match self {
            Self::Http2 => ask_http2(proxy, method, path, ask),
            Self::Http10 | Self::Http11 => ask_http1(self, proxy, method, path, ask),
        }
    }

    fn get(self, proxy: &Proxy, path: &str) -> Got {
        self.ask(proxy, "GET", path, Ask::default())
    }
}

fn ask_http2(proxy: &Proxy, method: &str, path: &str, ask: Ask<'_>) -> Got {
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start(method, path, ask.fields, ask.body.is_none());
    if let Some(body) = ask.body {
        client.data(stream, body, ask.trailers.is_empty());
        if !ask.trailers.is_empty() {
            client.trailers(stream, ask.trailers);
        }
    }
    let answer = client.answer(stream);
    Got {
        status: answer.status,
        interim: answer.interim.len(),
        fields: answer.fields,
        body: answer.body,
        trailers: answer.trailers,
        whole: answer.ended,
    }
}

fn ask_http1(version: Client, proxy: &Proxy, method: &str, path: &str, ask: Ask<'_>) -> Got {
    let version = if version == Client::Http10 { 0 } else { 1 };
    let mut head = format!("{method} {path} HTTP/1.{version}\r\nHost: test.example\r\n");
    for (name, value) in ask.fields {
        head += &format!("{name}: {value}\r\n");
    }
    let mut body = ask.body.unwrap_or_default().to_vec();
    if version == 1 && !ask.trailers.is_empty() {
        head += "Transfer-Encoding: chunked\r\n";
        body = ringway_tests::client::chunk(&body);
        body.extend(b"0\r\n");
        for (name, value) in ask.trailers {
            body.extend(format!("{name}: {value}\r\n").bytes());
        }
        body.extend(b"\r\n");
    } else if ask.body.is_some() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut client = proxy.client();
    client.send(format!("{head}\r\n"));
    // Answered while it is sent, a large body would fill both ways.
    let mut sender = client.again();
    let sending = std::thread::spawn(move || sender.try_send(&body));
    let answer = client.try_read(method);
    let _answered_perhaps = sending.join();
    match answer {
        Ok(answer) => Got {
            status: answer.status,
            interim: answer.interim.len(),
            fields: answer.head.fields.clone(),
            trailers: answer.trailers.clone(),
            body: answer.body,
            whole: true,
        },
        Err(_) => Got {
            status: 0,
            interim: 0,
            fields: Vec::new(),
            trailers: Vec::new(),
            body: Vec::new(),
            whole: false,
        },
    }
}

/// Has each client ask each upstream.
fn each(driver: Driver, case: impl Fn(Client, &Upstream, &Proxy)) {
    for client in CLIENTS {
        let upstreams = [
            Upstream::Http1(Origin::start("one")),
            Upstream::Http2(H2Origin::start("two")),
        ];
        for upstream in upstreams {
            let protocol = match upstream {
                Upstream::Http1(_) => "http1",
                Upstream::Http2(_) => "http2",
            };
            let proxy = one_core(driver, &site(&upstream, protocol));
            case(client, &upstream, &proxy);
        }
    }
}

fn site(upstream: &Upstream, protocol: &str) -> String {
    format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, cluster: up, retry: {{ retries: 0 }} }}] }}\n\
         clusters:\n  - {{ name: up, protocol: {protocol}, endpoints: [\"{}\"] }}\n",
        upstream.addr()
    )
}

fn bodies_cross_whole(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        for (count, size) in [1, 16_385, 400_000].into_iter().enumerate() {
            let body = pattern::bytes(size);
            let ask = Ask {
                body: Some(&body),
                ..Ask::default()
            };
            let answer = client.ask(proxy, "POST", "/bytes/3", ask);
            assert_eq!((answer.status, answer.body.len()), (200, 3), "{client:?}");
            let (length, right, _) = upstream.body(count * 3 + 1);
            assert!((length, right) == (size as u64, true), "{client:?} {size}");
            for path in [format!("/bytes/{size}"), upstream.unmeasured(size)] {
                let answer = client.get(proxy, &path);
                let right = answer.whole && answer.body == body;
                assert!(right, "{client:?} {path}: {}", answer.body.len());
            }
        }
    });
}

fn empty_bodies_are_empty(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        let ask = Ask {
            body: Some(b""),
            ..Ask::default()
        };
        for path in ["/bytes/0".to_owned(), upstream.unmeasured(0)] {
            let answer = client.ask(proxy, "POST", &path, ask);
            let empty = answer.whole && answer.body.is_empty();
            assert!(answer.status == 200 && empty, "{client:?}: {answer:?}");
            let answer = client.get(proxy, &path);
            assert!(answer.whole && answer.body.is_empty(), "{client:?}");
        }
        for count in 1..=4 {
            assert_eq!(upstream.body(count).0, 0);
        }
    });
}

fn heads_alone_have_no_body(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        let head = |path: &str| client.ask(proxy, "HEAD", path, Ask::default());
        let answer = head("/bytes/1234");
        assert_eq!(answer.get("content-length"), Some("1234"), "{client:?}");
        assert!(answer.whole && answer.body.is_empty());
        assert!(head(&upstream.unmeasured(5)).whole);
        for status in [204, 304] {
            let answer = client.get(proxy, &format!("/status/{status}"));
            assert_eq!(answer.status, status, "{client:?}");
            assert!(answer.whole && answer.body.is_empty());
        }
    });
}

fn trailers_cross_where_there_are_some(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        let te = [("te", "trailers")];
        // RFC 9110 §6.5.1: HTTP/1.1 says on its connection that it takes them.
        let listed = [("te", "trailers"), ("connection", "te")];
        let fields = match client {
            Client::Http2 => &te[..],
            Client::Http10 | Client::Http11 => &listed[..],
        };
        let ask = Ask {
            fields,
            ..Ask::default()
        };
        let answer = client.ask(proxy, "GET", "/trailers", ask);
        let expected = match client {
            Client::Http10 => 0,
            Client::Http11 | Client::Http2 => 2,
        };
        assert_eq!(answer.trailers.len(), expected, "{client:?}: {answer:?}");
        assert!(answer.whole);
        let ask = Ask {
            fields,
            body: Some(b"abc"),
            trailers: &[("x-end", "yes")],
        };
        let answer = client.ask(proxy, "POST", "/echo", ask);
        assert_eq!(answer.body, b"abc", "{client:?}");
        let sent = usize::from(client != Client::Http10);
        let (length, _, trailers) = upstream.body(2);
        assert_eq!((length, trailers), (3, sent), "{client:?}");
        assert_eq!(answer.trailers.len(), sent, "{client:?}");
    });
}

fn interim_answers_cross(driver: Driver) {
    each(driver, |client, _, proxy| {
        let answer = client.get(proxy, "/hints");
        // RFC 9110 §15.2: HTTP/1.0 has none.
        let expected = usize::from(client != Client::Http10);
        assert_eq!((answer.status, answer.interim), (200, expected));
    });
}

fn early_answers_are_whole(driver: Driver) {
    each(driver, |client, _, proxy| {
        let body = pattern::bytes(30_000);
        let ask = Ask {
            body: Some(&body),
            ..Ask::default()
        };
        let answer = client.ask(proxy, "POST", "/early", ask);
        assert_eq!((answer.status, &answer.body[..]), (200, &b"early"[..]));
    });
}

fn answers_cut_off_never_look_whole(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        let unmeasured = match upstream {
            Upstream::Http1(_) => "/cut-chunked/100000",
            Upstream::Http2(_) => "/cut/100000",
        };
        for path in ["/cut/100000", unmeasured] {
            let answer = client.get(proxy, path);
            assert!(!answer.whole, "{client:?} {path}");
        }
        assert!(client.get(proxy, "/bytes/10").whole, "others go on");
    });
}

fn an_upstream_that_resets_is_a_502(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        let path = match upstream {
            Upstream::Http1(_) => "/reset",
            Upstream::Http2(_) => "/reset/internal",
        };
        assert_eq!(client.get(proxy, path).status, 502, "{client:?}");
        assert_eq!(client.get(proxy, "/bytes/1").status, 200);
    });
}

fn a_client_that_leaves_is_gone_upstream_too(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        let under_way = || match upstream {
            Upstream::Http1(origin) => origin.open(),
            Upstream::Http2(origin) => origin.active(),
        };
        // An origin of HTTP/1 that answers nothing does not look whether it is still wanted.
        let paths = match upstream {
            Upstream::Http1(_) => &["/stream"][..],
            Upstream::Http2(_) => &["/hold", "/stream"],
        };
        for path in paths {
            let leave: Box<dyn FnOnce()> = if client == Client::Http2 {
                let mut client = Http2::connect(proxy.addr("web"));
                let stream = client.start("GET", path, &[], true);
                Box::new(move || client.reset(stream))
            } else {
                let mut client = proxy.client();
                client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
                Box::new(move || drop(client))
            };
            wait_until("it is under way", || under_way() == 1);
            leave();
            wait_until("it is gone", || under_way() == 0);
        }
    });
}

fn via_says_in_which_version_each_message_came(driver: Driver) {
    each(driver, |client, upstream, proxy| {
        let ask = Ask {
            fields: &[("via", "1.0 first")],
            ..Ask::default()
        };
        let answer = client.ask(proxy, "GET", "/", ask);
        let (seen, came) = match upstream {
            Upstream::Http1(origin) => {
                let fields = origin.nth(1).head;
                let all: Vec<&str> = fields.all("via");
                let all = all.into_iter().map(str::to_owned);
                (all.collect::<Vec<_>>(), "1.1 ringway")
            }
            Upstream::Http2(origin) => {
                let head = origin.nth(1).head;
                let all = head.headers().get_all("via").iter();
                let all = all.map(|via| via.to_str().unwrap().to_owned());
                (all.collect(), "2 ringway")
            }
        };
        let went = match client {
            Client::Http10 => "1.0 ringway",
            Client::Http11 => "1.1 ringway",
            Client::Http2 => "2 ringway",
        };
        assert_eq!(seen, ["1.0 first", went]);
        assert_eq!(answer.get("via"), Some(came), "{client:?}");
    });
}

fn same_as_client_speaks_what_the_client_does(driver: Driver) {
    let upstream = Upstream::Http2(H2Origin::start("two"));
    let proxy = one_core(driver, &site(&upstream, "same_as_client"));
    assert_eq!(Client::Http2.get(&proxy, "/bytes/5").body.len(), 5);
    let upstream = Upstream::Http1(Origin::start("one"));
    let proxy = one_core(driver, &site(&upstream, "same_as_client"));
    for client in [Client::Http10, Client::Http11] {
        assert_eq!(client.get(&proxy, "/bytes/5").body.len(), 5);
    }
    // One host may be both, and keeps its connections apart.
    let wire = WireServer::bind();
    let site = site(&upstream, "same_as_client");
    let proxy = one_core(
        driver,
        &site.replace(&upstream.addr().to_string(), &wire.addr().to_string()),
    );
    let mut first = Http2::connect(proxy.addr("web"));
    first.start("GET", "/", &[], true);
    let mut spoken = wire.accept();
    spoken.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut second = proxy.client();
    second.send("GET /one HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut spoken = wire.accept();
    assert!(spoken.head().starts_with("GET /one HTTP/1.1\r\n"));
}

fn calls_of_grpc_cross_to_http1(driver: Driver) {
    let wire = WireServer::bind();
    let origin = Upstream::Http1(Origin::start("none"));
    let site = site(&origin, "http1");
    let proxy = one_core(
        driver,
        &site.replace(&origin.addr().to_string(), &wire.addr().to_string()),
    );
    let mut client = Http2::connect(proxy.addr("web"));
    let call = |client: &mut Http2, path| {
        let fields = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("grpc-timeout", "5S"),
        ];
        let stream = client.start("POST", path, &fields, false);
        client.data(stream, MESSAGE, true);
        stream
    };
    let stream = call(&mut client, "/test.Echo/Unary");
    let mut spoken = wire.accept();
    is_a_call_of_grpc(&spoken.head().to_ascii_lowercase());
    spoken.expect("8\r\n\0\0\0\0\x03abc\r\n0\r\n\r\n");
    spoken.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
         8\r\n\0\0\0\0\x03abc\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n",
    );
    let answer = client.answer(stream);
    assert_eq!((answer.status, &answer.body[..]), (200, MESSAGE));
    let trailer = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        answer.trailers,
        [trailer("grpc-status", "0"), trailer("grpc-message", "fine")]
    );
    // An answer that is nothing but a status has no body in HTTP/1.1 either.
    let stream = call(&mut client, "/test.Echo/Fail");
    spoken.head();
    spoken.expect("8\r\n\0\0\0\0\x03abc\r\n0\r\n\r\n");
    spoken.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\nGrpc-Status: 5\r\n\r\n",
    );
    let answer = client.answer(stream);
    assert_eq!(answer.get("grpc-status"), Some("5"));
    assert!(answer.ended && answer.trailers.is_empty());
    // An upstream that breaks off is one with a status too.
    let stream = call(&mut client, "/test.Echo/Cut");
    spoken.head();
    spoken.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n\0\0\0\0\x03abc\r\n",
    );
    client.until("the message", |client| {
        (client.answers.get(&stream)?.body == MESSAGE).then_some(())
    });
    spoken.reset();
    let answer = client.answer(stream);
    assert_eq!(answer.trailers[0], trailer("grpc-status", "14"));
}

/// A gRPC message of three bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

/// What an HTTP/1.1 upstream must read of a call: what gRPC needs to pass a gateway, and a limit no longer than the client's 5 s.
fn is_a_call_of_grpc(head: &str) {
    for line in [
        "te: trailers",
        "connection: te",
        "transfer-encoding: chunked",
        "content-type: application/grpc",
    ] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {head}"
        );
    }
    let left = head.split("\r\ngrpc-timeout: ").nth(1);
    let left = left
        .and_then(|line| line.split_once("\r\n"))
        .expect("a limit")
        .0;
    let (number, unit) = left.split_at(left.len() - 1);
    let millis = number.parse::<u64>().expect("a number")
        / match unit {
            "m" => 1,
            "u" => 1000,
            _ => panic!("{left}"),
        };
    assert!((1..=5000).contains(&millis), "{left}");
}
