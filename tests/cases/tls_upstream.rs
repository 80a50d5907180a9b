//! TLS towards upstreams: whom they are believed to be, what is shown to them, sessions that come back.

use std::time::{Duration, Instant};

use ringway_tests::proxy::run;
use ringway_tests::{
    Authority, Driver, Origin, Proxy, Wanted, WireServer, both_drivers, wait_equal, wait_until,
};

use crate::tls::{Site, take};

both_drivers! {
    requests_are_encrypted_again,
    the_host_chooses_between_http1_and_http2,
    hosts_that_are_not_who_they_must_be_are_refused,
    a_certificate_is_shown_to_hosts_that_ask,
    names_pins_and_the_endpoint_s_own_name_count,
    versions_and_ciphers_are_those_of_the_lists,
    a_host_that_never_answers_is_given_up_in_time,
    kept_connections_end_with_the_trust_they_were_made_under,
    probes_are_as_secure_as_requests,
}

/// A plain listener `web` whose cluster speaks TLS with these keys to a host.
fn config(keys: &str, host: &str) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    access_log: [{{ stdout: true, format: \"%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\" }}]\n    routes: [{{ match: {{ prefix: / }}, cluster: up }}]\nclusters:\n  - name: up\n    endpoints: [\"{host}\"]\n    tls: {{ {keys} }}\n"
    )
}

fn count(proxy: &Proxy, name: &str) -> f64 {
    proxy.metric(&format!("ringway_cluster_upstream_tls_{name}"), &[])
}

fn requests_are_encrypted_again(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let inner = Proxy::start(driver, &site.config("", &origin));
    let keys = format!("server_name: localhost, ca: {}", site.file("ca.pem"));
    let text = config(&keys, &inner.addr("web").to_string());
    let text = text.replace("    tls:", "    protocol: http1\n    tls:");
    let once = text.replace("    tls:", "    pool: { max_requests: 1 }\n    tls:");
    let proxy = Proxy::with(driver).process("cores: 1").start(&text);
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(client.get("/bytes/300000").body.len(), 300_000);
    assert_eq!(client.post("/", vec![b'x'; 300_000]).status, 200);
    assert_eq!(origin.nth(5).length, 300_000);
    assert_eq!(
        (
            count(&proxy, "handshakes_total"),
            count(&proxy, "resumed_total")
        ),
        (1.0, 0.0)
    );
    take(&proxy, &once);
    for _ in 0..4 {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(count(&proxy, "resumed_total") >= 2.0);
}

fn the_host_chooses_between_http1_and_http2(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let both = site.config("", &origin);
    let one = both.replace("    tls:", "    protocol: http1\n    tls:");
    let inner = Proxy::start(driver, &both);
    let keys = format!("server_name: localhost, ca: {}", site.file("ca.pem"));
    let auto = config(&keys, &inner.addr("web").to_string());
    let fixed = auto.replace("    tls:", "    protocol: http2\n    tls:");
    let proxy = Proxy::with(driver).process("cores: 1").start(&auto);
    let http2 = || inner.metric("ringway_listener_http2_cx_total", &[]);
    for _ in 0..3 {
        assert_eq!(proxy.client().get("/").status, 200);
    }
    assert_eq!((http2(), count(&proxy, "handshakes_total")), (1.0, 1.0));
    // A host that chooses HTTP/1 is spoken to so; one that must speak HTTP/2 is not believed to without agreeing.
    let plain = Proxy::start(driver, &one);
    let (old, new) = (inner.addr("web").to_string(), plain.addr("web").to_string());
    take(&proxy, &auto.replace(&old, &new));
    for _ in 0..3 {
        assert_eq!(proxy.client().get("/").status, 200);
    }
    take(&proxy, &fixed.replace(&old, &new));
    assert_eq!(proxy.client().get("/").status, 503);
    take(&proxy, &fixed);
    assert_eq!(proxy.client().get("/").status, 200);
}

fn hosts_that_are_not_who_they_must_be_are_refused(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let inner = Proxy::start(driver, &site.config("", &origin));
    let host = inner.addr("web").to_string();
    site.dir
        .write("stranger.pem", &Authority::new("stranger").pem);
    let good = format!("server_name: localhost, ca: {}", site.file("ca.pem"));
    let proxy = Proxy::start(driver, &config(&good, &host));
    assert_eq!(proxy.client().get("/").status, 200);
    for (keys, expect) in [
        (
            good.replace("localhost", "other.test"),
            "not valid for name",
        ),
        (good.replace("ca.pem", "stranger.pem"), "UnknownIssuer"),
        (
            good.replace("server_name: localhost, ", ""),
            "not valid for name",
        ),
        (
            format!("{good}, sans: [{{ exact: x.test }}]"),
            "not valid for name",
        ),
    ] {
        take(&proxy, &config(&keys, &host));
        let answer = proxy.client().get("/");
        assert_eq!(answer.status, 503, "{keys}");
        // Not the last line: lines of several cores come in any order.
        wait_until("the reason is logged", || {
            let out = proxy.stdout();
            out.lines()
                .any(|line| line.starts_with("503 UF") && line.contains(expect))
        });
    }
    assert!(count(&proxy, "error_total") >= 4.0);
    // The system's authorities have not signed it.
    take(&proxy, &config("server_name: localhost", &host));
    assert_eq!(proxy.client().get("/").status, 503);
    take(&proxy, &config("insecure_skip_verify: true", &host));
    assert_eq!(proxy.client().get("/").status, 200);
    let file = site
        .dir
        .write("ringway.yaml", &config("insecure_skip_verify: true", &host));
    let (code, _, err) = run(&["validate", "-c", file.to_str().unwrap()], "");
    assert_eq!(code, 0);
    assert!(err.contains("any host is believed"), "{err}");
}

fn a_certificate_is_shown_to_hosts_that_ask(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let partners = Authority::new("partners");
    site.dir.write("partners.pem", &partners.pem);
    partners
        .make(&Wanted::names(&["edge.test"]).uri("spiffe://test/edge"))
        .write(&site.dir, "edge");
    let asking = site.config(
        &format!(", client_ca: {}", site.file("partners.pem")),
        &origin,
    );
    let asking = asking.replace(
        "    routes:",
        "    forwarded: { x_forwarded_client_cert: set }\n    routes:",
    );
    let inner = Proxy::start(driver, &asking);
    let host = inner.addr("web").to_string();
    let keys = format!("server_name: localhost, ca: {}", site.file("ca.pem"));
    let shown = format!("{keys}, certificate: {}", site.pair("edge"));
    let proxy = Proxy::start(driver, &config(&shown, &host));
    let mut client = proxy.client();
    let answer =
        client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: Hash=made-up\r\n\r\n");
    assert_eq!(answer.status, 200);
    let seen = origin.only();
    let field = seen.get("x-forwarded-client-cert").unwrap();
    assert!(
        field.starts_with("Hash=") && !field.contains("made-up"),
        "{field}"
    );
    assert!(field.contains(";Subject=\"CN=leaf "), "{field}");
    assert!(
        field.ends_with(";URI=spiffe://test/edge;DNS=edge.test"),
        "{field}"
    );
    take(&proxy, &config(&keys, &host));
    assert!(proxy.client().get("/").status >= 500);
}

fn names_pins_and_the_endpoint_s_own_name_count(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    site.ca
        .make(
            &Wanted::names(&["localhost"])
                .address("127.0.0.1")
                .uri("spiffe://test/api"),
        )
        .write(&site.dir, "site");
    let inner = Proxy::start(driver, &site.config("", &origin));
    let (by_address, ca) = (inner.addr("web").to_string(), site.file("ca.pem"));
    let by_name = format!("localhost:{}", inner.addr("web").port());
    let proxy = Proxy::start(driver, &config(&format!("ca: {ca}"), &by_address));
    for (keys, host, status) in [
        (String::new(), &by_address, 200),
        (String::new(), &by_name, 200),
        (
            ", sans: [{ kind: uri, exact: spiffe://test/api }]".to_owned(),
            &by_address,
            200,
        ),
        (
            ", sans: [{ kind: uri, exact: spiffe://test/web }]".to_owned(),
            &by_address,
            503,
        ),
        (
            format!(", pins: [{{ key: \"{}\" }}]", "00".repeat(32)),
            &by_address,
            503,
        ),
        (", profile: modern".to_owned(), &by_address, 200),
    ] {
        take(&proxy, &config(&format!("ca: {ca}{keys}"), host));
        assert_eq!(proxy.client().get("/").status, status, "{keys} {host}");
    }
}

fn versions_and_ciphers_are_those_of_the_lists(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let log = "access_log: [{ stdout: true, format: \"%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER%|\" }]";
    let asked = site
        .config("", &origin)
        .replace("    routes:", &format!("    {log}\n    routes:"));
    let inner = Proxy::start(driver, &asked);
    let keys = format!("server_name: localhost, ca: {}", site.file("ca.pem"));
    let of = |lists: &str| config(&format!("{keys}, {lists}"), &inner.addr("web").to_string());
    let rsa = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let proxy = Proxy::start(driver, &of("profile: modern"));
    for (lists, line) in [
        (
            "ciphers: [TLS_CHACHA20_POLY1305_SHA256], versions: [\"1.3\"]".to_owned(),
            "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256|\n",
        ),
        (
            format!(
                "versions: [\"1.2\"], ciphers: [{rsa}, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"
            ),
            "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256|\n",
        ),
    ] {
        take(&proxy, &of(&lists));
        assert_eq!(proxy.client().get("/").status, 200, "{lists}");
        wait_until(line, || inner.stdout().contains(line));
    }
    // The host's key is none of RSA's.
    take(
        &proxy,
        &of(&format!("versions: [\"1.2\"], ciphers: [{rsa}]")),
    );
    assert_eq!(proxy.client().get("/").status, 503);
}

fn a_host_that_never_answers_is_given_up_in_time(driver: Driver) {
    let (site, server) = (Site::new(), WireServer::bind());
    let keys = format!(
        "server_name: localhost, ca: {}, handshake_timeout: 1s",
        site.file("ca.pem")
    );
    let proxy = Proxy::start(driver, &config(&keys, &server.addr().to_string()));
    let begun = Instant::now();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _silent = server.accept();
    assert_eq!(client.read("GET").status, 503);
    assert!(begun.elapsed() >= Duration::from_millis(990));
    wait_equal(1.0, || count(&proxy, "timeout_total"));
}

fn kept_connections_end_with_the_trust_they_were_made_under(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let inner = Proxy::start(driver, &site.config("", &origin));
    let host = inner.addr("web").to_string();
    let keys = format!("server_name: localhost, ca: {}", site.file("ca.pem"));
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&config(&keys, &host));
    assert_eq!(proxy.client().get("/").status, 200);
    assert_eq!(proxy.client().get("/").status, 200);
    wait_equal(1.0, || count(&proxy, "handshakes_total"));
    site.dir.write("ca.pem", &Authority::new("another").pem);
    wait_until("the old trust is gone", || {
        proxy.client().get("/").status == 503
    });
    site.dir.write("ca.pem", &site.ca.pem);
    wait_until("it is back", || proxy.client().get("/").status == 200);
    wait_equal(2.0, || count(&proxy, "handshakes_total"));
}

fn probes_are_as_secure_as_requests(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let partners = Authority::new("partners");
    site.dir.write("partners.pem", &partners.pem);
    partners.issue(&["edge.test"]).write(&site.dir, "edge");
    let asking = site.config(
        &format!(", client_ca: {}", site.file("partners.pem")),
        &origin,
    );
    let inner = Proxy::start(driver, &asking);
    let host = inner.addr("web").to_string();
    let good = format!(
        "server_name: localhost, ca: {}, certificate: {}",
        site.file("ca.pem"),
        site.pair("edge")
    );
    let probed = |keys: &str, probe: &str| {
        let check = format!("    health_check: {{ interval: 100ms, {probe} }}\n    tls:");
        config(keys, &host).replace("    tls:", &check)
    };
    let proxy = Proxy::start(driver, &probed(&good, "http: { path: / }"));
    let healthy = || proxy.metric("ringway_cluster_membership_healthy", &[]);
    let probes = |outcome: &str| {
        proxy.metric(
            &format!("ringway_cluster_health_check_{outcome}_total"),
            &[],
        )
    };
    for probe in [
        "http: { path: / }",
        "http: { path: /2, http2: true }",
        "tcp: {}",
    ] {
        take(&proxy, &probed(&good, probe));
        let before = probes("success");
        wait_until(probe, || {
            probes("success") > before + 1.0 && healthy() == 1.0
        });
    }
    assert_eq!(probes("failure"), 0.0);
    assert!(origin.seen().iter().any(|seen| seen.target == "/2"));
    // As a request would be refused, so is a probe.
    for keys in [
        good.replace("localhost", "other.test"),
        good.replace(&format!(", certificate: {}", site.pair("edge")), ""),
    ] {
        take(&proxy, &probed(&good, "http: { path: / }"));
        wait_until("it is well", || healthy() == 1.0);
        take(&proxy, &probed(&keys, "http: { path: / }"));
        wait_until("it is not", || healthy() == 0.0);
    }
}
