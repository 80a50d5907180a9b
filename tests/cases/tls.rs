//! TLS with clients: certificates by name, versions, chains, who is let in.

use ringway_tests::pattern::Pattern;
use ringway_tests::secure::{BOTH, ONLY_12, ONLY_13};
use ringway_tests::{
    Authority, Broken, Client, Driver, Leaf, Origin, Proxy, Secure, TempDir, Wanted, Wire,
    both_drivers, wait_equal, wait_until,
};
use rustls::ProtocolVersion;

both_drivers! {
    requests_go_through_under_both_versions,
    a_certificate_is_chosen_by_name_and_algorithm,
    a_host_of_another_certificate_is_misdirected,
    chains_are_chosen_by_name_and_some_pass_tls_through,
    a_permissive_listener_takes_both,
    large_bodies_go_both_ways,
    an_answer_that_ends_with_the_connection_ends_with_a_close_notify,
    a_cut_request_is_no_request,
    clients_need_a_certificate_where_one_is_asked_for,
    names_and_pins_narrow_who_comes_in,
    revoked_clients_stay_out,
    the_session_is_logged_and_counted,
    http2_is_agreed_on_by_alpn,
}

/// A folder with a site's certificate, and who signed it.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) ca: Authority,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            dir: TempDir::new(),
            ca: Authority::new("test authority"),
        };
        site.dir.write("ca.pem", &site.ca.pem);
        site.ca.issue(&["localhost"]).write(&site.dir, "site");
        site
    }

    /// `{ cert: …, key: … }` of the certificate with this name.
    pub(crate) fn pair(&self, name: &str) -> String {
        let dir = self.dir.path().display();
        format!("{{ cert: {dir}/{name}.pem, key: {dir}/{name}.key }}")
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A listener `web` with `tls` of the site's certificate and these keys, before an origin.
    pub(crate) fn config(&self, keys: &str, origin: &Origin) -> String {
        let pair = self.pair("site");
        listener(&format!("tls: {{ certificates: [{pair}]{keys} }}"), origin)
    }

    pub(crate) fn client(&self) -> Secure {
        Secure::new(&self.ca)
    }
}

/// A listener `web` with these keys, before an origin.
pub(crate) fn listener(keys: &str, origin: &Origin) -> String {
    let mut text = "listeners:\n  - name: web\n    address: 127.0.0.1:0\n".to_owned();
    for line in keys.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    if !keys.contains("chains:") {
        text.push_str("    routes: [{ match: { prefix: / }, cluster: up }]\n");
    }
    text.push_str(&format!(
        "clusters:\n  - {{ name: up, endpoints: [\"{}\"] }}\n",
        origin.addr()
    ));
    text
}

/// Has a configuration taken by every core.
pub(crate) fn take(proxy: &Proxy, config: &str) {
    proxy.reload(config);
    wait_until("every core has it", || {
        let text = proxy.admin("GET", "/server_info").text();
        let info: serde_json::Value = serde_json::from_str(&text).unwrap();
        info["config_version"] == info["config_version_applied"]
    });
}

fn requests_go_through_under_both_versions(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    for (versions, expect) in [
        (ONLY_12, ProtocolVersion::TLSv1_2),
        (ONLY_13, ProtocolVersion::TLSv1_3),
    ] {
        let secure = Secure::with(&site.ca, versions, None).alpn(&["http/1.1"]);
        let mut client = secure.connect(proxy.addr("web"), "localhost");
        for _ in 0..3 {
            assert_eq!(client.get("/").status, 200);
        }
        let session = client.session();
        assert_eq!(session.protocol_version(), Some(expect));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    let seen = origin.nth(6);
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    let modern = format!(
        "tls: {{ certificates: [{}], profile: modern }}",
        site.pair("site")
    );
    take(&proxy, &listener(&modern, &origin));
    assert!(
        Secure::with(&site.ca, ONLY_12, None)
            .try_connect(proxy.addr("web"), "localhost")
            .is_err()
    );
    assert_eq!(
        site.client()
            .connect(proxy.addr("web"), "localhost")
            .get("/")
            .status,
        200
    );
}

fn a_certificate_is_chosen_by_name_and_algorithm(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let mut serials = Vec::new();
    for (file, wanted) in [
        ("rsa", Wanted::names(&["a.test", "*.wild.test"]).rsa()),
        ("ec", Wanted::names(&["a.test"])),
        ("exact", Wanted::names(&["x.wild.test"])),
    ] {
        let leaf = site.ca.make(&wanted);
        leaf.write(&site.dir, file);
        serials.push(leaf.serial);
    }
    let pairs = ["rsa", "ec", "exact"]
        .map(|name| site.pair(name))
        .join(", ");
    let proxy = Proxy::start(
        driver,
        &listener(&format!("tls: {{ certificates: [{pairs}] }}"), &origin),
    );
    let addr = proxy.addr("web");
    for (name, expect) in [
        ("a.test", 1),
        ("A.test", 1),
        ("y.wild.test", 0),
        ("x.wild.test", 2),
    ] {
        let mut client = site.client().connect(addr, name);
        assert_eq!(serial_of(&mut client), serials[expect], "{name}");
    }
    // A client that knows RSA alone gets the other certificate for the same name.
    let rsa_only = site.client().set(|config| {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| format!("{:?}", suite.suite()).contains("ECDHE_RSA"));
        let roots = rustls_roots(&site.ca);
        *config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(ONLY_12)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    });
    let mut client = rsa_only.connect(addr, "a.test");
    assert_eq!(serial_of(&mut client), serials[0]);
    // A name that none bears gets the first, which the client may take or not.
    let error = site.client().try_connect(addr, "b.test").err().unwrap();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

pub(crate) fn rustls_roots(ca: &Authority) -> rustls::RootCertStore {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
        .unwrap();
    roots
}

/// The number of the certificate that a client was shown.
pub(crate) fn serial_of(client: &mut Client) -> String {
    let chain = client.session().peer_certificates().unwrap();
    let der: &[u8] = &chain[0];
    // The tests' numbers have two bytes, right behind the version: `02 02 hh ll`.
    let at = der
        .windows(7)
        .position(|window| window[..5] == [0xa0, 3, 2, 1, 2])
        .unwrap()
        + 5;
    let length = usize::from(der[at + 1]);
    let digits: String = der[at + 2..at + 2 + length]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.trim_start_matches('0').to_owned()
}

fn a_host_of_another_certificate_is_misdirected(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    site.ca.issue(&["other.test"]).write(&site.dir, "other");
    let pairs = ["site", "other"].map(|name| site.pair(name)).join(", ");
    let proxy = Proxy::start(
        driver,
        &listener(&format!("tls: {{ certificates: [{pairs}] }}"), &origin),
    );
    let mut client = site.client().connect(proxy.addr("web"), "localhost");
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8443", 200),
        ("unknown.test", 200),
        ("other.test", 421),
        ("other.test:443", 421),
        ("localhost", 200),
    ] {
        let response = client.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(response.status, status, "{host}");
    }
    assert_eq!(origin.seen().len(), 4);
}

fn chains_are_chosen_by_name_and_some_pass_tls_through(driver: Driver) {
    let (site, origin, deep) = (Site::new(), Origin::start("one"), Site::new());
    let inner = Proxy::start(driver, &deep.config("", &origin));
    site.ca.issue(&["a.test"]).write(&site.dir, "a");
    let text = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    chains:\n      - match: {{ sni: [a.test] }}\n        tls: {{ certificates: [{}] }}\n        routes: [{{ match: {{ prefix: / }}, cluster: up }}]\n      - match: {{ sni: [localhost] }}\n        tcp: {{ cluster: inner }}\nclusters:\n  - {{ name: up, endpoints: [\"{}\"] }}\n  - {{ name: inner, endpoints: [\"{}\"] }}\n",
        site.pair("a"),
        origin.addr(),
        inner.addr("web"),
    );
    let proxy = Proxy::start(driver, &text);
    let addr = proxy.addr("web");
    assert_eq!(site.client().connect(addr, "a.test").get("/").status, 200);
    assert_eq!(
        deep.client().connect(addr, "localhost").get("/").status,
        200
    );
    assert!(site.client().try_connect(addr, "c.test").is_err());
    let mut plain = Wire::connect(addr);
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(plain.until_closed().is_empty());
}

fn a_permissive_listener_takes_both(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config(", permissive: true", &origin));
    assert_eq!(
        site.client()
            .connect(proxy.addr("web"), "localhost")
            .get("/")
            .status,
        200
    );
    assert_eq!(origin.nth(1).get("x-forwarded-proto"), Some("https"));
    assert_eq!(proxy.client().get("/").status, 200);
    assert_eq!(origin.nth(2).get("x-forwarded-proto"), Some("http"));
    take(&proxy, &site.config("", &origin));
    let mut plain = Wire::connect(proxy.addr("web"));
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(plain.until_closed().is_empty());
}

fn large_bodies_go_both_ways(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let mut client = site.client().connect(proxy.addr("web"), "localhost");
    let response = client.get("/bytes/3000000");
    assert_eq!((response.status, response.body.len()), (200, 3_000_000));
    let mut pattern = Pattern::default();
    assert!(pattern.check(&response.body));
    let body = ringway_tests::pattern::bytes(2_000_000);
    assert_eq!(client.post("/", &body).status, 200);
    let seen = origin.nth(2);
    assert_eq!((seen.length, seen.pattern), (2_000_000, true));
}

fn an_answer_that_ends_with_the_connection_ends_with_a_close_notify(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let mut client = site.client().connect(proxy.addr("web"), "localhost");
    client.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let (bytes, end) = client.rest();
    assert!(bytes.starts_with(b"HTTP/1.1 200"));
    assert_eq!(end, Ok(()));
}

fn a_cut_request_is_no_request(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let mut client = site.client().connect(proxy.addr("web"), "localhost");
    client.send(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    );
    wait_until("the request begins", || {
        proxy.metric("ringway_listener_downstream_rq_active", &[]) == 1.0
    });
    client.finish();
    wait_until("it is aborted", || {
        proxy.metric("ringway_listener_downstream_rq_active", &[]) == 0.0
    });
    // It may not even have got there.
    assert!(origin.seen().iter().all(|seen| seen.broken.is_some()));
}

fn clients_need_a_certificate_where_one_is_asked_for(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let clients = Authority::new("partners");
    site.dir.write("partners.pem", &clients.pem);
    let keys = format!(", client_ca: {}", site.file("partners.pem"));
    let proxy = Proxy::start(driver, &site.config(&keys, &origin));
    let addr = proxy.addr("web");
    let good = clients.issue(&["partner.test"]);
    let expired = clients.make(&Wanted::names(&["partner.test"]).expired());
    let stranger = Authority::new("strangers").issue(&["partner.test"]);
    let ask = |versions, own: Option<&Leaf>| {
        let secure = Secure::with(&site.ca, versions, own);
        let mut client = secure
            .try_connect(addr, "localhost")
            .map_err(|_| Broken::Reset)?;
        client.try_ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    };
    for versions in [ONLY_12, ONLY_13] {
        assert_eq!(ask(versions, Some(&good)).unwrap().status, 200);
        assert!(ask(versions, None).is_err());
        assert!(ask(versions, Some(&expired)).is_err());
        assert!(ask(versions, Some(&stranger)).is_err());
    }
    assert_eq!(origin.seen().len(), 2);
    for reason in [
        "no_certificate",
        "certificate_expired",
        "certificate_unknown_issuer",
    ] {
        wait_until("failures are counted", || {
            proxy.metric("ringway_listener_tls_error_total", &[reason]) == 2.0
        });
    }
    let keys = format!("{keys}, client_certificate: optional");
    take(&proxy, &site.config(&keys, &origin));
    assert_eq!(ask(BOTH, None).unwrap().status, 200);
    assert_eq!(ask(BOTH, Some(&good)).unwrap().status, 200);
    assert!(ask(BOTH, Some(&stranger)).is_err());
}

fn names_and_pins_narrow_who_comes_in(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let web = site
        .ca
        .make(&Wanted::names(&["web.test"]).uri("spiffe://test/web"));
    let api = site.ca.make(
        &Wanted::names(&["api.test"])
            .uri("spiffe://test/api")
            .address("10.0.0.9"),
    );
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let addr = proxy.addr("web");
    let comes_in = |own: &Leaf| {
        let secure = Secure::with(&site.ca, BOTH, Some(own));
        let client = secure.try_connect(addr, "localhost");
        client.is_ok_and(|mut client| {
            client
                .try_ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .is_ok()
        })
    };
    for (rule, expect) in [
        ("client_sans: [{ exact: WEB.test }]", (true, false)),
        ("client_sans: [{ suffix: .test }]", (true, true)),
        (
            "client_sans: [{ kind: uri, prefix: spiffe://test/a }]",
            (false, true),
        ),
        (
            "client_sans: [{ kind: uri, regex: 'spiffe://test/(web|x)' }]",
            (true, false),
        ),
        (
            "client_sans: [{ kind: uri, regex: 'spiffe://test/we' }]",
            (false, false),
        ),
        (
            "client_sans: [{ kind: ip, exact: 10.0.0.9 }]",
            (false, true),
        ),
        (
            "client_sans: [{ kind: email, exact: web.test }]",
            (false, false),
        ),
        (
            "client_sans: [{ exact: none.test }, { exact: api.test }]",
            (false, true),
        ),
        ("client_pins: [{ certificate: \"PIN\" }]", (true, false)),
    ] {
        let rule = rule.replace("PIN", &digest_of(&web));
        let keys = format!(", client_ca: {}, {rule}", site.file("ca.pem"));
        take(&proxy, &site.config(&keys, &origin));
        assert_eq!((comes_in(&web), comes_in(&api)), expect, "{rule}");
    }
}

/// A certificate's SHA-256 digest in hexadecimal.
fn digest_of(leaf: &Leaf) -> String {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap();
    let hash = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = hash.tls13().unwrap();
    let digest = suite.common.hash_provider.hash(&der);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn revoked_clients_stay_out(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let (good, bad) = (site.ca.issue(&["good.test"]), site.ca.issue(&["bad.test"]));
    site.dir.write("list.crl", &site.ca.revoke(&[&bad]));
    let keys = format!(
        ", client_ca: {}, client_crls: [{}]",
        site.file("ca.pem"),
        site.file("list.crl")
    );
    let proxy = Proxy::start(driver, &site.config(&keys, &origin));
    for (leaf, expect) in [(&good, true), (&bad, false)] {
        let secure = Secure::with(&site.ca, BOTH, Some(leaf));
        let client = secure.try_connect(proxy.addr("web"), "localhost");
        let served = client.is_ok_and(|mut client| {
            client
                .try_ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .is_ok()
        });
        assert_eq!(served, expect);
    }
    wait_until("the failure is counted", || {
        proxy.metric("ringway_listener_tls_error_total", &["certificate_revoked"]) == 1.0
    });
}

fn the_session_is_logged_and_counted(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let own = site
        .ca
        .make(&Wanted::names(&["partner.test"]).uri("spiffe://test/web"));
    let log = site.file("access.log");
    let operators = [
        "TLS_VERSION",
        "TLS_CIPHER",
        "PEER_SUBJECT",
        "PEER_ISSUER",
        "PEER_SERIAL",
        "PEER_DNS_SAN",
        "PEER_URI_SAN",
        "PEER_FINGERPRINT_256",
    ]
    .map(|name| format!("%DOWNSTREAM_{name}%"))
    .join("|");
    let pair = site.pair("site");
    let keys = format!(
        "tls: {{ certificates: [{pair}], client_ca: {}, ciphers: [TLS_AES_128_GCM_SHA256], versions: [\"1.3\"] }}\naccess_log: [{{ file: {log}, format: \"{operators}\" }}]",
        site.file("ca.pem")
    );
    let proxy = Proxy::start(driver, &listener(&keys, &origin));
    let secure = Secure::with(&site.ca, BOTH, Some(&own));
    assert_eq!(
        secure
            .connect(proxy.addr("web"), "localhost")
            .get("/")
            .status,
        200
    );
    let serial = u64::from_str_radix(&own.serial, 16).unwrap();
    let expect = format!(
        "TLSv1.3|TLS_AES_128_GCM_SHA256|CN=leaf {serial:x}|CN=test authority|{}|partner.test|spiffe://test/web|{}\n",
        own.serial,
        digest_of(&own),
    );
    wait_until("the line is written", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.ends_with('\n')
            .then(|| assert_eq!(text, expect))
            .is_some()
    });
    wait_equal(1.0, || {
        proxy.metric("ringway_listener_tls_handshakes_total", &[])
    });
    wait_equal(1.0, || {
        proxy.metric("ringway_listener_tls_version_total", &["TLSv1.3"])
    });
    wait_equal(1.0, || {
        proxy.metric(
            "ringway_listener_tls_cipher_total",
            &["TLS_AES_128_GCM_SHA256"],
        )
    });
}

fn http2_is_agreed_on_by_alpn(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    for (offer, expect) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut client = site
            .client()
            .alpn(offer)
            .connect(proxy.addr("web"), "localhost");
        assert_eq!(client.session().alpn_protocol(), expect);
        if expect == Some(b"h2") {
            // The client's preface and empty SETTINGS; the server's SETTINGS come first (RFC 9113 §3.4).
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
            assert_eq!(client.take(9)[3], 4, "SETTINGS");
        } else {
            assert_eq!(client.get("/").status, 200);
        }
    }
    // What is not on offer is no protocol at all (RFC 7301 §3.2).
    let odd = site.client().alpn(&["spdy/3"]);
    assert!(odd.try_connect(proxy.addr("web"), "localhost").is_err());
}
