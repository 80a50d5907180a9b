//! The PROXY protocol to upstreams: each connection says whose it is, and serves nobody else.

use ringway_tests::proxy::run;
use ringway_tests::{
    Driver, Origin, Proxy, TempDir, Wire, WireServer, both_drivers, wait_equal, wait_until,
};

use crate::tls::{Site, listener, take};

both_drivers! {
    hosts_are_told_whose_a_connection_is,
    a_connection_serves_one_client,
    so_do_those_of_http2,
    bytes_passed_on_come_behind_the_header,
    the_header_comes_before_tls,
    fields_say_what_is_asked_for,
    probes_are_the_proxys_own,
    groups_beyond_the_limit_are_closed,
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A listener `web`, and hosts that are told this.
fn telling(sent: &str, server: &WireServer) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes: [{{ match: {{ prefix: / }}, cluster: up }}]\nclusters:\n  - name: up\n    endpoints: [\"{}\"]\n    proxy_protocol: {sent}\n",
        server.addr()
    )
}

/// The line that a client's connection is told by.
fn line(proxy: &Proxy, client: std::net::SocketAddr) -> String {
    let own = proxy.addr("web");
    format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        client.port(),
        own.port()
    )
}

fn hosts_are_told_whose_a_connection_is(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::start(driver, &telling("v1", &server));
    let mut client = proxy.client();
    client.send(ASK);
    let mut wire = server.accept();
    wire.expect(&line(&proxy, client.local()));
    assert!(wire.head().starts_with("GET / HTTP/1.1\r\n"));
    wire.send(OK);
    assert_eq!(client.read("GET").status, 200);

    let proxy = Proxy::start(driver, &telling("v2", &server));
    let mut client = proxy.client();
    client.send(ASK);
    let mut wire = server.accept();
    let head = wire.take(28);
    assert_eq!(&head[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    let port = client.local().port().to_be_bytes();
    assert_eq!(
        (&head[16..20], &head[24..26]),
        (&[127, 0, 0, 1][..], &port[..])
    );
    assert!(wire.head().starts_with("GET / HTTP/1.1\r\n"));
    wire.send(OK);
    assert_eq!(client.read("GET").status, 200);
}

fn a_connection_serves_one_client(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&telling("v1", &server));
    let mut clients: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    let mut wires: Vec<Wire> = Vec::new();
    for client in &mut clients {
        client.send(ASK);
        let mut wire = server.accept();
        wire.expect(&line(&proxy, client.local()));
        wire.head();
        wire.send(OK);
        assert_eq!(client.read("GET").status, 200);
        wires.push(wire);
    }
    // Kept, each for its own.
    for (client, wire) in clients.iter_mut().zip(&mut wires) {
        client.send(ASK);
        assert!(wire.head().starts_with("GET / HTTP/1.1\r\n"));
        wire.send(OK);
        assert_eq!(client.read("GET").status, 200);
    }
    assert!(server.try_accept().is_none());
}

/// The same with an upstream of HTTP/2: a proxy of ours that believes the header.
fn so_do_those_of_http2(driver: Driver) {
    let origin = Origin::start("one");
    let inner = Proxy::start(
        driver,
        &listener(
            "proxy_protocol: { trusted: [127.0.0.1] }\nforwarded: { x_forwarded_for: false }\nprotocol: http2\naccess_log: [{ stdout: true, format: \"%DOWNSTREAM_REMOTE_ADDRESS%|\" }]",
            &origin,
        ),
    );
    let config = listener("", &origin).replace(
        &format!("endpoints: [\"{}\"]", origin.addr()),
        &format!(
            "protocol: http2, proxy_protocol: v2, endpoints: [\"{}\"]",
            inner.addr("web")
        ),
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(client.ask(ASK).status, 200);
        }
    }
    for client in &clients {
        let line = format!("{}|\n", client.local());
        wait_until("two lines", || inner.stdout().matches(&line).count() == 2);
    }
    wait_equal(3.0, || inner.metric("ringway_listener_http2_cx_total", &[]));
}

fn bytes_passed_on_come_behind_the_header(driver: Driver) {
    let server = WireServer::bind();
    let config = telling("v1", &server).replace(
        "    routes: [{ match: { prefix: / }, cluster: up }]",
        "    tcp: { cluster: up }",
    );
    let proxy = Proxy::start(driver, &config);
    let mut client = Wire::connect(proxy.addr("web"));
    let mut host = server.accept();
    // Before the client says anything.
    host.expect(&line(&proxy, client.stream().local_addr().unwrap()));
    client.send("hello").finish();
    host.expect("hello");
    host.send("bye").finish();
    client.expect("bye");
}

/// Two of ours, one behind the other: what the first was told reaches the origin through TLS.
fn the_header_comes_before_tls(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let inner = Proxy::start(
        driver,
        &site.config("", &origin).replace(
            "    tls:",
            "    proxy_protocol: { trusted: [127.0.0.1] }\n    tls:",
        ),
    );
    let tls = format!(
        "tls: {{ server_name: localhost, ca: {} }}",
        site.file("ca.pem")
    );
    let outer = listener(
        "proxy_protocol: { trusted: [127.0.0.1] }\nforwarded: { x_forwarded_for: false }",
        &origin,
    )
    .replace(
        &format!("endpoints: [\"{}\"]", origin.addr()),
        &format!(
            "{tls}, proxy_protocol: v2, endpoints: [\"{}\"]",
            inner.addr("web")
        ),
    );
    let proxy = Proxy::start(driver, &outer);
    for round in 1..3 {
        let mut client = proxy.client();
        client.send("PROXY TCP6 2001:db8::7 2001:db8::1 1000 443\r\n");
        assert_eq!(client.ask(ASK).status, 200);
        let seen = origin.nth(round);
        assert_eq!(seen.get("x-forwarded-for"), Some("2001:db8::7"));
    }
}

fn fields_say_what_is_asked_for(driver: Driver) {
    let (site, server) = (Site::new(), WireServer::bind());
    let tls = format!(
        "    proxy_protocol: {{ trusted: [127.0.0.1], optional: true }}\n    tls: {{ certificates: [{}] }}\n    tcp:",
        site.pair("site")
    );
    let config = |fields: &str| {
        telling(&format!("{{ version: v2, fields: [{fields}] }}"), &server).replace(
            "    routes: [{ match: { prefix: / }, cluster: up }]",
            &format!("{tls} {{ cluster: up }}"),
        )
    };
    let proxy = Proxy::start(driver, &config("authority, ssl, crc32c"));
    let _client = site.client().connect(proxy.addr("web"), "localhost");
    let mut host = server.accept();
    let text = |host: &mut Wire| {
        let head = host.take(16);
        let length = usize::from(head[14]) << 8 | usize::from(head[15]);
        String::from_utf8_lossy(&host.take(length)[12..]).into_owned()
    };
    let got = text(&mut host);
    assert!(got.starts_with("\u{2}\0\u{9}localhost \0"), "{got:?}");
    assert!(
        got.contains("TLSv1.3") && got.contains("TLS_AES_256_GCM_SHA384"),
        "{got:?}"
    );
    take(&proxy, &config("received, authority"));
    // What the proxy in front said goes on, but for what is said here.
    let mut header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1d\xc0\0\x02\x07\xc6\x33\x64\x01\xc7\x38\x01\xbb"
            .to_vec();
    header.extend_from_slice(b"\x02\0\x07in.test\x05\0\x04id-1");
    let mut socket = std::net::TcpStream::connect(proxy.addr("web")).unwrap();
    std::io::Write::write_all(&mut socket, &header).unwrap();
    let mut session = site.client().session("localhost");
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    let got = text(&mut server.accept());
    assert_eq!(got, "\u{2}\0\u{9}localhost\u{5}\0\u{4}id-1");
}

fn probes_are_the_proxys_own(driver: Driver) {
    let server = WireServer::bind();
    let config = telling("v1", &server).replace(
        "    proxy_protocol",
        "    health_check: { interval: 100ms, tcp: {} }\n    proxy_protocol",
    );
    let _proxy = Proxy::start(driver, &config);
    let mut wire = server.accept();
    wire.expect("PROXY UNKNOWN\r\n");
}

fn groups_beyond_the_limit_are_closed(driver: Driver) {
    let server = WireServer::bind();
    let config = telling("v1", &server).replace(
        "    proxy_protocol",
        "    pool: { groups: 2 }\n    proxy_protocol",
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut wires = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = proxy.client();
        client.send(ASK);
        let mut wire = server.accept();
        wire.expect(&line(&proxy, client.local()));
        wire.head();
        wire.send(OK);
        assert_eq!(client.read("GET").status, 200);
        wires.push(wire);
        clients.push(client);
    }
    // The first client's was unused for longest.
    assert!(wires[0].until_closed().is_empty());
    wait_equal(1.0, || {
        proxy.metric("ringway_cluster_limit_total", &["pool_groups"])
    });
    clients[2].send(ASK);
    wires[2].head();
    wires[2].send(OK);
    assert_eq!(clients[2].read("GET").status, 200);
}

#[test]
fn a_line_of_text_has_no_fields() {
    let (dir, server) = (TempDir::new(), WireServer::bind());
    let config = telling("{ version: v1, fields: [authority] }", &server);
    let file = dir.write("ringway.yaml", &config);
    let (code, _, err) = run(&["validate", "-c", file.to_str().unwrap()], "");
    assert_eq!(code, 1);
    assert!(err.contains("a line of text has none"), "{err}");
}
