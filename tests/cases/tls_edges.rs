//! TLS where names, chains and sessions meet: who may say what to whom, and what is written down.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use ringway_tests::proxy::run;
use ringway_tests::secure::{BOTH, ONLY_12, ONLY_13};
use ringway_tests::{
    Authority, Driver, Origin, Proxy, Secure, Wanted, WireServer, both_drivers, wait_equal,
    wait_until,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::tls::{Site, listener, take};

both_drivers! {
    a_host_of_another_chain_is_misdirected,
    secrets_are_written_where_that_is_asked_for,
    an_ocsp_response_is_stapled,
    the_quantum_safe_exchange_comes_first,
    each_certificate_has_its_expiry,
    the_name_for_hosts_is_the_requests,
    the_name_for_hosts_of_bytes_is_the_clients,
    a_client_certificate_is_passed_on_as_told,
    a_refused_client_is_told_why,
    what_is_no_record_ends_its_connection_in_order,
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn a_host_of_another_chain_is_misdirected(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    // One certificate for both: it alone would not tell them apart.
    site.ca
        .issue(&["open.test", "strict.test", "third.test"])
        .write(&site.dir, "both");
    let tls = |more: &str| format!("tls: {{ certificates: [{}]{more} }}", site.pair("both"));
    let strict = tls(&format!(", client_ca: {}", site.file("ca.pem")));
    let text = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    chains:\n      - {{ match: {{ sni: [open.test] }}, {}, route_table: all }}\n      - {{ match: {{ sni: [strict.test] }}, {strict}, route_table: all }}\nroute_tables:\n  - {{ name: all, virtual_hosts: [{{ domains: [\"*\"], routes: [{{ match: {{ prefix: / }}, cluster: up }}] }}] }}\nclusters:\n  - {{ name: up, endpoints: [\"{}\"] }}\n",
        tls(""),
        origin.addr()
    );
    let proxy = Proxy::start(driver, &text);
    let mut client = site.client().connect(proxy.addr("web"), "open.test");
    for (host, status) in [
        ("open.test", 200),
        ("strict.test", 421),
        ("STRICT.test.:443", 421),
        // No chain is for it.
        ("third.test", 200),
        ("open.test:8443", 200),
    ] {
        let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, status, "{host}");
    }
    wait_equal(2.0, || {
        proxy.metric("ringway_listener_tls_misdirected_total", &[])
    });
    assert_eq!(origin.seen().len(), 3);
    // With a certificate, by its own name.
    let own = site.ca.issue(&["partner.test"]);
    let partner = Secure::with(&site.ca, BOTH, Some(&own));
    let mut client = partner.connect(proxy.addr("web"), "strict.test");
    let ask = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(client.ask(&ask("strict.test")).status, 200);
    assert_eq!(client.ask(&ask("open.test")).status, 421);
}

fn secrets_are_written_where_that_is_asked_for(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let (down, up) = (site.file("down.keys"), site.file("up.keys"));
    let inner = Proxy::start(driver, &site.config("", &origin));
    let tls = format!(
        "tls: {{ server_name: localhost, ca: {}, key_log: {up} }}, protocol: http1, ",
        site.file("ca.pem")
    );
    let config = site.config(&format!(", key_log: {down}"), &origin).replace(
        &format!("endpoints: [\"{}\"]", origin.addr()),
        &format!("{tls}endpoints: [\"{}\"]", inner.addr("web")),
    );
    let proxy = Proxy::start(driver, &config);
    proxy.wait_log("the secrets of every session are written down");
    let mut client = Secure::with(&site.ca, ONLY_13, None).connect(proxy.addr("web"), "localhost");
    assert_eq!(client.ask(ASK).status, 200);
    for path in [&down, &up] {
        let read = || std::fs::read_to_string(path).unwrap_or_default();
        for label in [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_TRAFFIC_SECRET_0",
            "SERVER_TRAFFIC_SECRET_0",
            "EXPORTER_SECRET",
        ] {
            wait_until(label, || {
                read().lines().any(|line| {
                    let mut words = line.split(' ');
                    let own = words.next() == Some(label);
                    own && words
                        .all(|word| word.len() >= 64 && word.bytes().all(|b| b.is_ascii_hexdigit()))
                })
            });
        }
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(!inner.stderr().contains("secrets"));
    let file = site.dir.write("ringway.yaml", &config);
    let (code, _, err) = run(&["validate", "-c", file.to_str().unwrap()], "");
    assert_eq!(code, 0);
    assert_eq!(err.matches("take `key_log` out").count(), 2, "{err}");
}

/// Keeps the OCSP response that a server shows, and believes it.
#[derive(Debug, Default)]
struct Stapled(Mutex<Vec<u8>>);

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}

fn an_ocsp_response_is_stapled(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    site.dir.write("site.ocsp", "a response");
    let pair = site.pair("site");
    let stapled = format!(
        "{}, ocsp: {} }}",
        pair.trim_end_matches(" }"),
        site.file("site.ocsp")
    );
    let proxy = Proxy::start(driver, &site.config("", &origin).replace(&pair, &stapled));
    let kept = Arc::new(Stapled::default());
    let secure = site.client().set(|config| {
        let kept = Arc::clone(&kept);
        config.dangerous().set_certificate_verifier(kept);
    });
    secure.connect(proxy.addr("web"), "localhost");
    assert_eq!(*kept.0.lock().unwrap(), b"a response");
    site.dir.write("site.ocsp", "a newer one");
    wait_until("the newer one is shown", || {
        secure.connect(proxy.addr("web"), "localhost");
        *kept.0.lock().unwrap() == b"a newer one"
    });
}

fn the_quantum_safe_exchange_comes_first(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let hybrid = rustls::NamedGroup::X25519MLKEM768;
    for knows_it in [true, false] {
        let secure = site.client().set(|config| {
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            let is_hybrid = |group: &&dyn rustls::crypto::SupportedKxGroup| group.name() == hybrid;
            // As browsers do: keys for the hybrid and for the plain one, where both are known.
            provider.kx_groups.sort_by_key(|group| !is_hybrid(group));
            provider
                .kx_groups
                .retain(|group| knows_it || !is_hybrid(group));
            let roots = crate::tls::rustls_roots(&site.ca);
            *config = rustls::ClientConfig::builder_with_provider(provider.into())
                .with_protocol_versions(ONLY_13)
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        });
        let mut client = secure.connect(proxy.addr("web"), "localhost");
        let group = client.session().negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name() == hybrid, knows_it, "{:?}", group.name());
    }
}

fn each_certificate_has_its_expiry(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let other = site.ca.issue(&["other.test"]);
    other.write(&site.dir, "other");
    let pairs = ["site", "other"].map(|name| site.pair(name)).join(", ");
    let config = listener(&format!("tls: {{ certificates: [{pairs}] }}"), &origin);
    let proxy = Proxy::start(driver, &config);
    let expiry = |labels: &[&str]| proxy.metric("ringway_certificate_not_after_seconds", labels);
    let path = site.file("other.pem");
    assert!(expiry(&[&path, &other.serial]) > 1.7e9);
    assert!(expiry(&[&site.file("site.pem")]) > 1.7e9);
    let new = site.ca.issue(&["other.test"]);
    new.write(&site.dir, "other");
    wait_until("the new one is shown", || {
        let page = proxy.admin("GET", "/stats/prometheus").text();
        page.contains(&format!("serial=\"{}\"", new.serial))
            && !page.contains(&format!("serial=\"{}\"", other.serial))
    });
}

fn the_name_for_hosts_is_the_requests(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    for name in ["a.test", "b.test"] {
        site.ca.issue(&[name]).write(&site.dir, name);
    }
    let pairs = ["a.test", "b.test"].map(|name| site.pair(name)).join(", ");
    let log =
        "access_log: [{ stdout: true, format: \"%REQUESTED_SERVER_NAME% %REQ(:AUTHORITY)%|\" }]";
    let inner = Proxy::start(
        driver,
        &listener(
            &format!("tls: {{ certificates: [{pairs}] }}\n{log}"),
            &origin,
        ),
    );
    for protocol in ["http1", "http2"] {
        let tls = format!(
            "protocol: {protocol}, tls: {{ server_name_from_host: true, ca: {} }}, ",
            site.file("ca.pem")
        );
        let config = listener("", &origin).replace(
            &format!("endpoints: [\"{}\"]", origin.addr()),
            &format!("{tls}endpoints: [\"{}\"]", inner.addr("web")),
        );
        let proxy = Proxy::with(driver).process("cores: 1").start(&config);
        let mut client = proxy.client();
        let ask = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        for host in ["a.test", "b.test:443", "A.test", "b.test"] {
            assert_eq!(client.ask(&ask(host)).status, 200, "{host}");
        }
        // One that bears another name is not believed; what is no name is asked for nowhere.
        assert_eq!(client.ask(&ask("c.test")).status, 503);
        assert_eq!(client.ask(&ask("a_.-test")).status, 503);
        let handshakes = proxy.metric("ringway_cluster_upstream_tls_handshakes_total", &[]);
        assert_eq!(
            handshakes, 2.0,
            "{protocol}: a connection for each name, and kept"
        );
    }
    for line in [
        "a.test a.test|\n",
        "b.test b.test:443|\n",
        "b.test b.test|\n",
    ] {
        wait_until(line, || inner.stdout().matches(line).count() == 2);
    }
}

fn the_name_for_hosts_of_bytes_is_the_clients(driver: Driver) {
    let (site, host) = (Site::new(), WireServer::bind());
    let tls = format!(
        "tls: {{ server_name_from_host: true, ca: {} }}, ",
        site.file("ca.pem")
    );
    let config = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    tls: {{ certificates: [{}] }}\n    tcp: {{ cluster: up }}\nclusters:\n  - {{ name: up, {tls}endpoints: [\"{}\"] }}\n",
        site.pair("site"),
        host.addr()
    );
    let proxy = Proxy::start(driver, &config);
    let _client = site.client().connect(proxy.addr("web"), "localhost");
    let mut wire = host.accept();
    let mut hello = wire.take(5);
    let length = usize::from(hello[3]) << 8 | usize::from(hello[4]);
    hello.extend(wire.take(length));
    assert!(hello.windows(9).any(|window| window == b"localhost"));
}

fn a_client_certificate_is_passed_on_as_told(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let clients = Authority::new("partners");
    site.dir.write("partners.pem", &clients.pem);
    let keys = format!(
        ", client_ca: {}, client_certificate: optional",
        site.file("partners.pem")
    );
    let own = clients.make(&Wanted::names(&["edge.test"]).uri("spiffe://test/edge"));
    let proxy = Proxy::start(driver, &site.config(&keys, &origin));
    let brought =
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Client-Cert: Hash=made-up\r\n\r\n";
    let mut count = 0;
    for (how, with, without) in [
        ("sanitize", (false, false), (false, false)),
        ("forward", (true, false), (false, false)),
        ("set", (false, true), (false, false)),
        ("append", (true, true), (false, false)),
    ] {
        let config = site.config(&keys, &origin).replace(
            "    routes:",
            &format!("    forwarded: {{ x_forwarded_client_cert: {how} }}\n    routes:"),
        );
        take(&proxy, &config);
        for (leaf, (theirs, ours)) in [(Some(&own), with), (None, without)] {
            let secure = Secure::with(&site.ca, BOTH, leaf);
            let mut client = secure.connect(proxy.addr("web"), "localhost");
            assert_eq!(client.ask(brought).status, 200);
            count += 1;
            let seen = origin.nth(count);
            let field = seen.get("x-forwarded-client-cert").unwrap_or_default();
            assert_eq!(field.contains("made-up"), theirs, "{how}: {field}");
            assert_eq!(
                field.contains("URI=spiffe://test/edge"),
                ours,
                "{how}: {field}"
            );
        }
    }
}

/// The alert, and not a reset that overtakes it, though the client has sent a request behind its handshake.
fn a_refused_client_is_told_why(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let keys = format!(", client_ca: {}", site.file("ca.pem"));
    let proxy = Proxy::start(driver, &site.config(&keys, &origin));
    let stranger = Authority::new("strangers").issue(&["partner.test"]);
    for (own, alert) in [
        (None, "CertificateRequired"),
        (Some(&stranger), "UnknownCA"),
    ] {
        let secure = Secure::with(&site.ca, ONLY_13, own);
        // In TLS 1.3 the client is through before it is judged.
        let (session, socket) = secure.handshake(proxy.addr("web"), "localhost").unwrap();
        let mut stream = rustls::StreamOwned::new(session, socket);
        std::io::Write::write_all(&mut stream, ASK.repeat(20).as_bytes()).unwrap();
        let error = std::io::Read::read(&mut stream, &mut [0]).unwrap_err();
        assert!(error.to_string().contains(alert), "{error}");
    }
}

/// After the handshake, with a request under way, and after the last answer: the client is told what was wrong, and nothing panics.
fn what_is_no_record_ends_its_connection_in_order(driver: Driver) {
    const UNSEALED: &[u8] = b"\x17\x03\x03\x00\x20................................";
    const CASES: &[(&str, &[u8])] = &[
        ("sealed by nobody", UNSEALED),
        ("too long", b"\x17\x03\x03\xff\xff"),
        ("of no version", b"\x17\x09\x09\x00\x01x"),
        ("of no kind", b"\x63\x03\x03\x00\x01x"),
        ("an alert in the clear", b"\x15\x03\x03\x00\x02\x02\x28"),
        ("an empty one in the clear", b"\x16\x03\x03\x00\x00"),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ];
    let (site, host) = (Site::new(), WireServer::bind());
    let pair = site.pair("site");
    let config = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    tls: {{ certificates: [{pair}] }}\n    routes: [{{ match: {{ prefix: / }}, cluster: up }}]\nclusters:\n  - {{ name: up, endpoints: [\"{}\"] }}\n",
        host.addr()
    );
    let proxy = Proxy::start(driver, &config);
    for versions in [ONLY_12, ONLY_13] {
        let secure = Secure::with(&site.ca, versions, None);
        for (what, bytes) in CASES {
            for asked in [false, true] {
                let connected = secure.handshake(proxy.addr("web"), "localhost");
                let (mut session, mut socket) = connected.unwrap();
                if asked {
                    session.writer().write_all(ASK.as_bytes()).unwrap();
                    session.complete_io(&mut socket).unwrap();
                    host.accept().head();
                }
                // Twice: what is behind the first is not looked at.
                socket.write_all(&bytes.repeat(2)).unwrap();
                let mut said = Vec::new();
                let _reset_perhaps = socket.read_to_end(&mut said);
                assert!(!said.starts_with(b"HTTP"), "{what}: {said:?}");
            }
        }
    }
    assert_eq!(proxy.metric("ringway_core_panics_total", &[]), 0.0);
}
