//! Upstreams that fall silent in the middle of an answer: whatever found that out, no client may take what it has for the whole.

use ringway_tests::frames::{frame, headers, kind};
use ringway_tests::{Driver, Frames, Http2, Proxy, WireServer, both_drivers, wait_equal};

use crate::http2_upstream::one_core;

both_drivers! {
    silence_of_http1_never_looks_like_an_end,
    silence_of_http2_never_looks_like_an_end,
    an_upstream_that_answers_no_ping_breaks_its_answers_off,
}

/// One that has asked, by what it speaks.
enum Client {
    Http1(ringway_tests::Client),
    Http2(Box<Http2>, u32),
}

impl Client {
    fn ask(proxy: &Proxy) -> [Self; 3] {
        let http1 = |version: u8| {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/1.{version}\r\nHost: t\r\n\r\n"));
            Self::Http1(client)
        };
        let mut client = Http2::connect(proxy.addr("web"));
        let stream = client.start("GET", "/", &[], true);
        [http1(0), http1(1), Self::Http2(Box::new(client), stream)]
    }

    /// Reads its answer, which has to break off behind `part`.
    #[track_caller]
    fn finds_it_cut_off(self) {
        match self {
            Self::Http1(mut client) => {
                let answer = client.try_read("GET");
                assert!(answer.is_err(), "it looks whole: {answer:?}");
            }
            Self::Http2(mut client, stream) => {
                let answer = client.answer(stream);
                assert_eq!((answer.status, answer.text().as_str()), (200, "part"));
                assert!(!answer.ended && answer.reset.is_some(), "{answer:?}");
            }
        }
    }
}

fn site(server: &WireServer, protocol: &str, route: &str, cluster: &str) -> String {
    format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, cluster: up, retry: {{ retries: 0 }}{route} }}] }}\n\
         clusters:\n  - {{ name: up, protocol: {protocol}, endpoints: [\"{}\"]{cluster} }}\n",
        server.addr()
    )
}

/// What finds it out. The second runs from the request's beginning: the answer's has to get through before.
const LIMITS: [&str; 2] = ["idle_timeout: 500ms", "timeout: 2s"];

/// Does this for each limit and each of these, all at once.
fn with_each_limit<T: Sync>(all: &[T], case: impl Fn(&str, &T) + Sync) {
    let case = &case;
    std::thread::scope(|scope| {
        for limit in LIMITS {
            for one in all {
                scope.spawn(move || case(limit, one));
            }
        }
    });
}

fn silence_of_http1_never_looks_like_an_end(driver: Driver) {
    let begins = [
        "Content-Length: 100\r\n\r\npart",
        "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        "Connection: close\r\n\r\npart",
    ];
    with_each_limit(&begins, |limit, begin| {
        let server = WireServer::bind();
        let proxy = one_core(driver, &site(&server, "http1", &format!(", {limit}"), ""));
        let clients = Client::ask(&proxy);
        // Held, or each would end by its socket's.
        let wires = [(); 3].map(|()| {
            let mut wire = server.accept();
            wire.head();
            wire.send(format!("HTTP/1.1 200 OK\r\n{begin}"));
            wire
        });
        clients.into_iter().for_each(Client::finds_it_cut_off);
        drop(wires);
    });
}

fn silence_of_http2_never_looks_like_an_end(driver: Driver) {
    let heads = [
        vec![(":status", "200")],
        vec![(":status", "200"), ("content-length", "100")],
    ];
    with_each_limit(&heads, |limit, head| {
        let server = WireServer::bind();
        let proxy = one_core(driver, &site(&server, "http2", &format!(", {limit}"), ""));
        let clients = Client::ask(&proxy);
        let peer = begin(&server, head);
        clients.into_iter().for_each(Client::finds_it_cut_off);
        drop(peer);
    });
}

/// Takes three requests, and begins their answers.
fn begin(server: &WireServer, head: &[(&str, &str)]) -> Frames {
    let mut peer = Frames::server(server.accept(), &[]);
    for _ in 0..3 {
        let stream = peer.request();
        peer.send(headers(stream, 0, head));
        peer.send(frame(kind::DATA, 0, stream, b"part"));
    }
    peer
}

fn an_upstream_that_answers_no_ping_breaks_its_answers_off(driver: Driver) {
    let server = WireServer::bind();
    let keys = ", http2: { keep_alive: 100ms, keep_alive_timeout: 2s }";
    let proxy = one_core(driver, &site(&server, "http2", ", timeout: 0s", keys));
    let clients = Client::ask(&proxy);
    // It answers none, also of those that come between the requests.
    let _peer = begin(&server, &[(":status", "200")]);
    clients.into_iter().for_each(Client::finds_it_cut_off);
    wait_equal(1.0, || {
        proxy.metric("ringway_cluster_upstream_cx_ping_timeout_total", &[])
    });
}
