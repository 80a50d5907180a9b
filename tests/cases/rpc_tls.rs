//! RPC protocols under TLS: with clients, with upstreams, and both at once, each end showing a certificate.

use ringway_tests::{
    Authority, Driver, Proxy, Secure, TempDir, Wire, WireServer, both_drivers, wait_equal,
};

use crate::rpc::{Bolt, answer, call};

both_drivers! {
    calls_pass_tls_on_both_sides_on_one_connection,
    a_host_that_is_not_who_it_must_be_gets_no_call,
    a_client_of_tls_meets_the_protocol_behind_it,
}

/// Certificates of a client and of a server, in files.
struct Certificates {
    dir: TempDir,
    authority: Authority,
}

impl Certificates {
    fn new() -> Self {
        let (dir, authority) = (TempDir::new(), Authority::new("rpc"));
        dir.write("ca.pem", &authority.pem);
        dir.write("stranger.pem", &Authority::new("stranger").pem);
        authority.issue(&["localhost"]).write(&dir, "server");
        authority.issue(&["client.test"]).write(&dir, "client");
        Self { dir, authority }
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn pair(&self, name: &str) -> String {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        format!("cert: {}, key: {}", self.file(&cert), self.file(&key))
    }

    /// A proxy that ends TLS of clients with certificates, before a host.
    fn inner(&self, driver: Driver, host: &WireServer, more: &str) -> Proxy {
        let pair = self.pair("server");
        let text = format!(
            "listeners:\n  - name: main\n    address: 127.0.0.1:0\n    protocol: bolt\n    tls: {{ certificates: [{{ {pair} }}]{more} }}\n    routes: [{{ cluster: up }}]\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
            host.addr()
        );
        Proxy::with(driver).process("cores: 1").start(&text)
    }

    /// A proxy that speaks TLS to that one.
    fn outer(&self, driver: Driver, inner: &Proxy, ca: &str) -> Proxy {
        let pair = self.pair("client");
        let text = format!(
            "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, routes: [{{ cluster: up }}] }}\nclusters:\n  - name: up\n    protocol: bolt\n    endpoints: [\"{}\"]\n    tls: {{ server_name: localhost, ca: {}, certificate: {{ {pair} }} }}\n",
            inner.addr("main"),
            self.file(ca)
        );
        Proxy::with(driver).process("cores: 1").start(&text)
    }
}

fn calls_pass_tls_on_both_sides_on_one_connection(driver: Driver) {
    let (certificates, host) = (Certificates::new(), WireServer::bind());
    let ca = format!(", client_ca: {}", certificates.file("ca.pem"));
    let inner = certificates.inner(driver, &host, &ca);
    let outer = certificates.outer(driver, &inner, "ca.pem");
    let mut a = Wire::connect(outer.addr("main"));
    let mut b = Wire::connect(outer.addr("main"));
    let large: String = "0123456789".repeat(30_000);
    a.send(call(7, &[("service", "echo:1.0")], &large).bytes());
    let mut wire = host.accept();
    let first = Bolt::take_call(&mut wire);
    assert!(first.content == large.as_bytes());
    b.send(call(7, &[], "b").bytes());
    let second = Bolt::take_call(&mut wire);
    wire.send(answer(&second, "to b").bytes());
    wire.send(answer(&first, &large).bytes());
    assert_eq!(Bolt::take(&mut b).content, b"to b");
    assert!(Bolt::take(&mut a).content == large.as_bytes());
    let handshakes =
        |proxy: &Proxy, of: &str| proxy.metric(&format!("ringway_{of}_tls_handshakes_total"), &[]);
    assert_eq!(handshakes(&outer, "cluster_upstream"), 1.0);
    assert_eq!(handshakes(&inner, "listener"), 1.0);
}

fn a_host_that_is_not_who_it_must_be_gets_no_call(driver: Driver) {
    let (certificates, host) = (Certificates::new(), WireServer::bind());
    let inner = certificates.inner(driver, &host, "");
    let outer = certificates.outer(driver, &inner, "stranger.pem");
    let mut client = Wire::connect(outer.addr("main"));
    client.send(call(1, &[], "x").bytes());
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 0x10));
    wait_equal(1.0, || {
        outer.metric("ringway_cluster_upstream_tls_error_total", &[])
    });
}

fn a_client_of_tls_meets_the_protocol_behind_it(driver: Driver) {
    let (certificates, host) = (Certificates::new(), WireServer::bind());
    let inner = certificates.inner(driver, &host, "");
    // What it offers to speak means nothing to a listener that speaks one thing.
    let secure = Secure::new(&certificates.authority).alpn(&["h2", "http/1.1"]);
    let mut client = secure.connect(inner.addr("main"), "localhost");
    client.send(call(1, &[], "x").bytes());
    let mut wire = host.accept();
    let asked = Bolt::take_call(&mut wire);
    assert_eq!(asked.content, b"x");
}
