//! The PROXY protocol from proxies in front: whom it is believed from, and what the client is from then on.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringway_tests::{
    Client, Driver, Http2, Origin, Proxy, TempDir, Wire, WireServer, both_drivers, wait_until,
};
use socket2::{Domain, Socket, Type};

use crate::tls::{Site, listener};

both_drivers! {
    the_client_is_who_the_header_says,
    the_proxys_own_connections_are_its_own,
    a_header_may_be_cut_anywhere,
    headers_from_elsewhere_are_none,
    what_is_no_header_closes_the_connection,
    a_header_that_never_ends_times_out,
    a_header_may_be_left_out_where_that_is_said,
    tls_comes_behind_the_header,
    chains_are_chosen_by_what_the_header_says,
    http2_comes_behind_the_header,
    a_unix_socket_takes_headers_from_whoever_may_connect,
    fields_are_logged,
}

const LOG: &str = "access_log: [{ stdout: true, format: \"%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS% %PROXY_PROTOCOL_TLV(authority)% %PROXY_PROTOCOL_TLV(0xE0):3%\" }]";
const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n";
/// The same in the second version.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc7\x38\x01\xbb";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A listener that believes 127.0.0.1.
fn believing(more: &str, origin: &Origin) -> String {
    let keys = format!("proxy_protocol: {{ trusted: [127.0.0.1]{more} }}\n{LOG}");
    listener(&keys, origin)
}

fn errors(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric("ringway_listener_proxy_protocol_error_total", &[reason])
}

/// A connection from an address of ours.
fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn the_client_is_who_the_header_says(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing("", &origin));
    for (round, header) in [V1, V2].into_iter().enumerate() {
        let mut client = proxy.client();
        client.send(header);
        for _ in 0..2 {
            assert_eq!(client.ask(ASK).status, 200);
        }
        let seen = origin.nth(2 * round + 2);
        assert_eq!(seen.get("x-forwarded-for"), Some("192.0.2.7"));
    }
    let line = "192.0.2.7:51000 127.0.0.1 198.51.100.1:443 - -\n";
    wait_until("four lines", || proxy.stdout().matches(line).count() == 4);
    let headers = proxy.metric("ringway_listener_proxy_protocol_headers_total", &[]);
    assert_eq!(headers, 2.0);
    // Filters go by it too.
    let only = "filters: [{ ip_access: { allow: [192.0.2.0/24] } }]";
    let config = believing("", &origin).replace("    routes:", &format!("    {only}\n    routes:"));
    let proxy = Proxy::start(driver, &config);
    for (header, status) in [(V1, 200), (V2_LOCAL, 403)] {
        let mut client = proxy.client();
        client.send(header);
        assert_eq!(client.ask(ASK).status, status);
    }
}

fn the_proxys_own_connections_are_its_own(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing("", &origin));
    for (round, header) in [V2_LOCAL, b"PROXY UNKNOWN\r\n"].into_iter().enumerate() {
        let mut client = proxy.client();
        client.send(header);
        assert_eq!(client.ask(ASK).status, 200);
        let seen = origin.nth(round + 1);
        assert_eq!(seen.get("x-forwarded-for"), Some("127.0.0.1"));
    }
}

fn a_header_may_be_cut_anywhere(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing("", &origin));
    for header in [V1, V2] {
        let mut client = proxy.client();
        for byte in [header, ASK.as_bytes()].concat() {
            client.send([byte]);
        }
        assert_eq!(client.read("GET").status, 200);
        // In one piece with the request, and with half of it.
        for cut in [ASK.len(), ASK.len() / 2] {
            let mut client = proxy.client();
            client.send([header, &ASK.as_bytes()[..cut]].concat());
            client.send(&ASK[cut..]);
            assert_eq!(client.read("GET").status, 200);
        }
    }
    let from_it = |seen: &ringway_tests::Seen| seen.get("x-forwarded-for") == Some("192.0.2.7");
    assert!(origin.seen().iter().all(from_it));
}

fn headers_from_elsewhere_are_none(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing("", &origin));
    let mut stranger = connect_from("127.0.0.2", proxy.addr("web"));
    stranger.write_all(V1).unwrap();
    stranger.write_all(ASK.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stranger, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // Without one it is served, as who it is.
    let mut stranger = connect_from("127.0.0.2", proxy.addr("web"));
    let ask = ASK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stranger.write_all(ask.as_bytes()).unwrap();
    std::io::Read::read_to_string(&mut stranger, &mut answer).unwrap();
    assert_eq!(origin.only().get("x-forwarded-for"), Some("127.0.0.2"));
}

fn what_is_no_header_closes_the_connection(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing(", header: 300B", &origin));
    let long = [&V2[..14], &[0xff, 0xff], &[0; 400]].concat();
    let broken = [&V2[..12], b"\x31\x11\0\x0c"].concat();
    for (bytes, reason) in [
        (ASK.as_bytes(), "absent"),
        (b"\x16\x03\x01", "absent"),
        (b"PROXY TCP4 1.2.3.4\r\n", "line"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.400 1 1\r\n", "address"),
        (&long, "too_long"),
        (&broken, "version"),
    ] {
        let before = errors(&proxy, reason);
        let mut wire = Wire::connect(proxy.addr("web"));
        wire.send(bytes);
        assert!(wire.until_closed().is_empty(), "{reason}");
        wait_until(reason, || errors(&proxy, reason) == before + 1.0);
    }
    assert!(origin.seen().is_empty());
}

fn a_header_that_never_ends_times_out(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing(", timeout: 500ms", &origin));
    let limit = || proxy.metric("ringway_listener_limit_total", &["proxy_protocol_timeout"]);
    for (cut, count) in [(0, 1.0), (1, 2.0), (20, 3.0)] {
        let mut wire = Wire::connect(proxy.addr("web"));
        wire.send(&V1[..cut]);
        assert!(wire.until_closed().is_empty());
        wait_until("it counts", || limit() == count);
    }
    // Once it is there, the limits of requests go on from there.
    let mut client = proxy.client();
    client.send(V1);
    client.expect_silence(Duration::from_millis(1000));
    assert_eq!(client.ask(ASK).status, 200);
}

fn a_header_may_be_left_out_where_that_is_said(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing(", optional: true", &origin));
    assert_eq!(proxy.client().ask(ASK).status, 200);
    assert_eq!(origin.nth(1).get("x-forwarded-for"), Some("127.0.0.1"));
    let mut client = proxy.client();
    client.send(V2);
    assert_eq!(client.ask(ASK).status, 200);
    assert_eq!(origin.nth(2).get("x-forwarded-for"), Some("192.0.2.7"));
    let mut wire = Wire::connect(proxy.addr("web"));
    wire.send("PROXY nonsense\r\n");
    assert!(wire.until_closed().is_empty());
}

fn tls_comes_behind_the_header(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let config = site.config("", &origin).replace(
        "    tls:",
        "    proxy_protocol: { trusted: [127.0.0.1] }\n    tls:",
    );
    let proxy = Proxy::start(driver, &config);
    let mut socket = TcpStream::connect(proxy.addr("web")).unwrap();
    let mut session = site.client().session("localhost");
    let mut first = V2.to_vec();
    // In one segment with the ClientHello.
    session.write_tls(&mut first).unwrap();
    socket.write_all(&first).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    assert_eq!(Client::secure(session, socket).get("/").status, 200);
    let seen = origin.only();
    assert_eq!(seen.get("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
}

fn chains_are_chosen_by_what_the_header_says(driver: Driver) {
    let servers: Vec<WireServer> = (0..3).map(|_| WireServer::bind()).collect();
    let mut text = "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    proxy_protocol: { trusted: [127.0.0.1] }\n    chains:\n".to_owned();
    let matches = [
        "{ source: [203.0.113.0/24] }",
        "{ destination_ports: [80, 8000-8999] }",
        "{}",
    ];
    for (at, asked) in matches.iter().enumerate() {
        text += &format!("      - {{ match: {asked}, tcp: {{ cluster: c{at} }} }}\n");
    }
    text += "clusters:\n";
    for (at, server) in servers.iter().enumerate() {
        text += &format!(
            "  - {{ name: c{at}, endpoints: [\"{}\"] }}\n",
            server.addr()
        );
    }
    let proxy = Proxy::start(driver, &text);
    for (header, server) in [
        ("PROXY TCP4 203.0.113.9 198.51.100.1 1 443\r\n", 0),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1 80\r\n", 1),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1 8999\r\n", 1),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1 9000\r\n", 2),
        ("PROXY UNKNOWN\r\n", 2),
    ] {
        let mut client = Wire::connect(proxy.addr("web"));
        client.send(format!("{header}hello"));
        let mut host = servers[server].accept();
        // The header itself went no further.
        host.expect("hello");
        host.send("yes");
        client.expect("yes");
    }
}

fn http2_comes_behind_the_header(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing("", &origin));
    let mut client = Http2::raw(proxy.addr("web"));
    client.send(V1);
    client.hello(&[]);
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 200);
    }
    for seen in origin.seen() {
        assert_eq!(seen.get("x-forwarded-for"), Some("192.0.2.7"));
    }
}

fn a_unix_socket_takes_headers_from_whoever_may_connect(driver: Driver) {
    let (dir, origin) = (TempDir::new(), Origin::start("one"));
    let path = dir.join("web.sock");
    let config = listener("proxy_protocol: {}", &origin)
        .replace("127.0.0.1:0", &format!("unix:{}", path.display()));
    let _proxy = Proxy::start(driver, &config);
    let mut client = Client::try_unix(&path).unwrap();
    client.send(V2);
    assert_eq!(client.ask(ASK).status, 200);
    assert_eq!(origin.only().get("x-forwarded-for"), Some("192.0.2.7"));
}

fn fields_are_logged(driver: Driver) {
    let origin = Origin::start("one");
    let proxy = Proxy::start(driver, &believing("", &origin));
    let fields = b"\x02\0\x06a.test\xe0\0\x04abcd";
    let mut header = V2.to_vec();
    header[15] += fields.len() as u8;
    header.extend_from_slice(fields);
    let mut client = proxy.client();
    client.send(header);
    assert_eq!(client.ask(ASK).status, 200);
    wait_until("its line", || {
        proxy.stdout().contains("198.51.100.1:443 a.test abc\n")
    });
}

#[test]
fn whom_to_believe_must_be_said() {
    let origin = Origin::start("one");
    let check = |keys: &str| {
        let dir = TempDir::new();
        let file = dir.write("ringway.yaml", &listener(keys, &origin));
        let (code, _, err) =
            ringway_tests::proxy::run(&["validate", "-c", file.to_str().unwrap()], "");
        (code, err)
    };
    let (code, err) = check("proxy_protocol: {}");
    assert_eq!(code, 1);
    assert!(err.contains("name the proxies with `trusted`"), "{err}");
    assert_eq!(check("proxy_protocol: { trusted: [10.0.0.0/8] }").0, 0);
    let (code, err) =
        check("access_log: [{ stdout: true, format: \"%PROXY_PROTOCOL_TLV(nonsense)%\" }]");
    assert_eq!(code, 1);
    assert!(err.contains("is no field of a PROXY header"), "{err}");
}
