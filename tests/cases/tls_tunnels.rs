//! TLS that carries bytes both ways at once: passed on, WebSocket, HTTP/2; with new keys on the way, and with ends that are none.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use ringway_tests::bridge::bridge;
use ringway_tests::pattern::Pattern;
use ringway_tests::secure::{BOTH, ONLY_12, ONLY_13};
use ringway_tests::{
    Broken, Client, Driver, Http2, Leaf, Origin, Proxy, Secure, Wire, WireServer, both_drivers,
    sys, wait_until,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::{Site, listener};

both_drivers! {
    each_direction_ends_by_itself_under_tls_at_both_ends,
    much_goes_both_ways_with_new_keys,
    a_client_that_is_cut_resets_the_host,
    a_host_that_is_cut_resets_the_client,
    an_answer_that_is_cut_is_no_answer,
    a_websocket_goes_both_ways_with_new_keys,
    http2_goes_both_ways_with_new_keys,
    bytes_agree_on_no_protocol,
    quiet_sessions_hold_no_buffers,
    a_drain_resets_what_is_left_of_tls,
}

/// How much goes between two updates of keys.
const UPDATES: usize = 100 << 10;

/// Two proxies with TLS between them and to the client: the outer's address, and the host behind the inner.
struct Chain {
    site: Site,
    host: WireServer,
    _inner: Proxy,
    outer: Proxy,
}

impl Chain {
    fn start(driver: Driver) -> Self {
        let (site, host) = (Site::new(), WireServer::bind());
        let inner = passing(&site, &host.addr().to_string(), "");
        let inner = Proxy::start(driver, &inner);
        let tls = format!(
            "tls: {{ server_name: localhost, ca: {} }}, ",
            site.file("ca.pem")
        );
        let outer = passing(&site, &inner.addr("web").to_string(), &tls);
        let outer = Proxy::start(driver, &outer);
        Self {
            site,
            host,
            _inner: inner,
            outer,
        }
    }

    fn secure(&self) -> Secure {
        self.site.client()
    }
}

/// TLS that ends here, and bytes that go on to a host.
fn passing(site: &Site, host: &str, more: &str) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    tls: {{ certificates: [{}] }}\n    tcp: {{ cluster: up }}\nclusters:\n  - {{ name: up, {more}endpoints: [\"{host}\"] }}\n",
        site.pair("site")
    )
}

fn each_direction_ends_by_itself_under_tls_at_both_ends(driver: Driver) {
    let chain = Chain::start(driver);
    for versions in [ONLY_12, ONLY_13] {
        let secure = Secure::with(&chain.site.ca, versions, None);
        for client_first in [true, false] {
            let addr = bridge(&secure, chain.outer.addr("web"), "localhost", UPDATES);
            let mut client = Wire::connect(addr);
            client.send("hello");
            let mut host = chain.host.accept();
            host.expect("hello");
            let (first, second) = if client_first {
                (&mut client, &mut host)
            } else {
                (&mut host, &mut client)
            };
            first.send("the end").finish();
            assert_eq!(second.ending(), (b"the end".to_vec(), Broken::Closed));
            // The other direction goes on.
            second.send("still");
            first.expect("still");
            second.send("here").finish();
            assert_eq!(first.ending(), (b"here".to_vec(), Broken::Closed));
        }
    }
    let resets = chain
        .outer
        .metric("ringway_listener_tcp_cx_reset_total", &[]);
    assert_eq!(resets, 0.0);
}

fn pour(mut to: &TcpStream, length: u64) {
    let mut pattern = Pattern::default();
    while pattern.at() < length {
        let left = usize::try_from(length - pattern.at()).unwrap();
        to.write_all(pattern.take(left)).unwrap();
    }
    to.shutdown(Shutdown::Write).unwrap();
}

fn drain(mut from: &TcpStream) -> u64 {
    let (mut pattern, mut piece) = (Pattern::default(), vec![0; 1 << 16]);
    loop {
        match from.read(&mut piece).unwrap() {
            0 => return pattern.at(),
            read => assert!(pattern.check(&piece[..read])),
        }
    }
}

/// Pours so much each way at once.
fn both_ways(a: &Wire, b: &Wire, length: u64) {
    std::thread::scope(|scope| {
        for (from, to) in [(a, b), (b, a)] {
            scope.spawn(move || pour(from.stream(), length));
            scope.spawn(move || assert_eq!(drain(to.stream()), length));
        }
    });
}

fn much_goes_both_ways_with_new_keys(driver: Driver) {
    let chain = Chain::start(driver);
    let addr = bridge(
        &chain.secure(),
        chain.outer.addr("web"),
        "localhost",
        UPDATES,
    );
    let mut client = Wire::connect(addr);
    client.send("x");
    let mut host = chain.host.accept();
    host.expect("x");
    both_ways(&client, &host, 5_000_000);
}

fn a_client_that_is_cut_resets_the_host(driver: Driver) {
    let chain = Chain::start(driver);
    let mut client = chain.secure().connect(chain.outer.addr("web"), "localhost");
    client.send("half");
    let mut host = chain.host.accept();
    host.expect("half");
    // A FIN without a goodbye: somebody between may have cut it.
    client.finish();
    assert_eq!(host.ending(), (Vec::new(), Broken::Reset));
}

/// The server's side of a connection, with a certificate of the site.
fn serve(leaf: &Leaf, socket: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(BOTH)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let session = ServerConnection::new(Arc::new(config)).unwrap();
    socket.set_nonblocking(false).unwrap();
    StreamOwned::new(session, socket)
}

/// A host that speaks TLS by itself, and the cluster that believes it.
fn own_host() -> (Site, Leaf, WireServer, String) {
    let (site, host) = (Site::new(), WireServer::bind());
    let leaf = site.ca.issue(&["host.test"]);
    let tls = format!(
        "tls: {{ server_name: host.test, ca: {} }}, ",
        site.file("ca.pem")
    );
    (site, leaf, host, tls)
}

fn a_host_that_is_cut_resets_the_client(driver: Driver) {
    let (site, leaf, host, tls) = own_host();
    let proxy = Proxy::start(driver, &passing(&site, &host.addr().to_string(), &tls));
    for says_goodbye in [true, false] {
        let addr = bridge(&site.client(), proxy.addr("web"), "localhost", UPDATES);
        let mut client = Wire::connect(addr);
        let wire = host.accept();
        let mut server = serve(&leaf, wire.stream().try_clone().unwrap());
        server.write_all(b"some").unwrap();
        client.expect("some");
        if says_goodbye {
            server.conn.send_close_notify();
        }
        server.flush().unwrap();
        server.sock.shutdown(Shutdown::Write).unwrap();
        let expect = if says_goodbye {
            Broken::Closed
        } else {
            Broken::Reset
        };
        assert_eq!(client.ending(), (Vec::new(), expect), "{says_goodbye}");
    }
}

/// An answer whose end is the connection's.
fn an_answer_that_is_cut_is_no_answer(driver: Driver) {
    let (site, leaf, host, tls) = own_host();
    let origin = Origin::start("none");
    let config = listener(
        &format!("tls: {{ certificates: [{}] }}", site.pair("site")),
        &origin,
    )
    .replace(
        &format!("endpoints: [\"{}\"]", origin.addr()),
        &format!("protocol: http1, {tls}endpoints: [\"{}\"]", host.addr()),
    );
    let proxy = Proxy::start(driver, &config);
    for says_goodbye in [true, false] {
        let mut client = site.client().connect(proxy.addr("web"), "localhost");
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let wire = host.accept();
        let mut server = serve(&leaf, wire.stream().try_clone().unwrap());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            server.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        server
            .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
            .unwrap();
        if says_goodbye {
            server.conn.send_close_notify();
        }
        server.flush().unwrap();
        server.sock.shutdown(Shutdown::Write).unwrap();
        let answer = client.try_read("GET");
        assert_eq!(answer.is_ok(), says_goodbye, "{answer:?}");
    }
    wait_until("it counts", || {
        proxy.metric("ringway_cluster_body_truncated_total", &[]) == 1.0
    });
}

fn a_websocket_goes_both_ways_with_new_keys(driver: Driver) {
    let (site, host) = (Site::new(), WireServer::bind());
    let origin = Origin::start("none");
    let config = site
        .config("", &origin)
        .replace(&origin.addr().to_string(), &host.addr().to_string());
    let proxy = Proxy::start(driver, &config);
    let secure = site.client().alpn(&["http/1.1"]);
    let addr = bridge(&secure, proxy.addr("web"), "localhost", UPDATES);
    let mut client = Wire::connect(addr);
    client.send("GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n");
    let mut wire = host.accept();
    wire.head();
    wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    client.head();
    both_ways(&client, &wire, 5_000_000);
}

fn http2_goes_both_ways_with_new_keys(driver: Driver) {
    const LENGTH: usize = 1_000_000;
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let secure = site.client().alpn(&["h2"]);
    let addr = bridge(&secure, proxy.addr("web"), "localhost", UPDATES);
    let mut client = Http2::connect(addr);
    let down = client.start("GET", &format!("/bytes/{LENGTH}"), &[], true);
    let up = client.start("POST", "/", &[], false);
    client.data(up, &ringway_tests::pattern::bytes(LENGTH), true);
    assert_eq!(client.answer(up).status, 200);
    let answer = client.answer(down);
    assert_eq!(answer.body.len(), LENGTH);
    assert!(Pattern::default().check(&answer.body));
    let seen = origin.seen();
    let post = seen.iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!((post.length, post.pattern), (LENGTH as u64, true));
}

/// Bytes of whatever kind are nothing that ALPN has a name for: a host that insists on another would refuse them.
fn bytes_agree_on_no_protocol(driver: Driver) {
    let (site, leaf, host, tls) = own_host();
    let proxy = Proxy::start(driver, &passing(&site, &host.addr().to_string(), &tls));
    let mut client: Client = site.client().connect(proxy.addr("web"), "localhost");
    let wire = host.accept();
    let mut server = serve(&leaf, wire.stream().try_clone().unwrap());
    server.write_all(b"hello").unwrap();
    assert_eq!(client.take(5), b"hello");
    assert_eq!(server.conn.alpn_protocol(), None);
    assert_eq!(server.conn.server_name(), Some("host.test"));
}

fn quiet_sessions_hold_no_buffers(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let secure = site.client();
    let quiet = |count: usize| -> Vec<Client> {
        let connect = |_| {
            let mut client = secure.connect(proxy.addr("web"), "localhost");
            assert_eq!(client.get("/").status, 200);
            client
        };
        (0..count).map(connect).collect()
    };
    let mut all = quiet(40);
    let before = sys::rss_kib(proxy.pid());
    all.extend(quiet(300));
    // Some 6 KiB each; the two buffers of a record that a session usually has would be 32 KiB more.
    wait_until("the buffers are given back", || {
        sys::rss_kib(proxy.pid()) < before + 300 * 16
    });
    for client in &mut all {
        assert_eq!(client.get("/").status, 200);
    }
}

fn a_drain_resets_what_is_left_of_tls(driver: Driver) {
    let (site, host) = (Site::new(), WireServer::bind());
    let more = passing(&site, &host.addr().to_string(), "").replace(
        "    tcp:",
        "    access_log: [{ stdout: true, format: \"%BYTES_RECEIVED% %RESPONSE_FLAGS%\" }]\n    tcp:",
    );
    let setup = Proxy::with(driver).process("drain_timeout: 300ms");
    let mut proxy = setup.start(&more);
    let mut client = site.client().connect(proxy.addr("web"), "localhost");
    client.send("left");
    let mut wire = host.accept();
    wire.expect("left");
    proxy.signal(libc::SIGTERM);
    assert_eq!(wire.ending(), (Vec::new(), Broken::Reset));
    // No goodbye: what came is not all.
    assert!(client.rest().1.is_err());
    proxy.wait_end();
    wait_until("its line", || proxy.stdout().contains("4 DC"));
}
