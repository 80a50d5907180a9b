//! Chains chosen by what TLS says first, which goes on untouched.

use ringway_tests::hello::{client_hello, in_records};
use ringway_tests::{
    Broken, Client, Driver, Proxy, Wire, WireServer, both_drivers, wait_equal, wait_until,
};

both_drivers! {
    each_name_goes_to_its_server_untouched,
    a_hello_may_come_byte_by_byte_and_in_many_records,
    a_hello_that_is_never_finished_times_out,
    silence_times_out_as_well,
    a_hello_that_is_none_is_refused_by_its_reason,
    a_name_of_no_chain_is_refused,
    plain_requests_go_to_the_chain_without_names,
    a_reload_moves_new_connections_only,
    the_name_is_in_the_log,
}

/// Servers `exact`, `deep`, `wide`, `alpn` and `rest`, and a proxy that tells them apart.
struct Site {
    servers: Vec<(&'static str, WireServer)>,
    proxy: Proxy,
}

const CHAINS: &str = r#"
      - match: { sni: ["*.example.test"] }
        tcp: { cluster: wide }
      - match: { sni: ["*.example.test"], alpn: [h2, spdy] }
        tcp: { cluster: alpn }
      - match: { sni: ["*.deep.example.test"] }
        tcp: { cluster: deep }
      - match: { sni: [other.test, WWW.example.test] }
        tcp: { cluster: exact }
"#;

impl Site {
    fn config(servers: &[(&str, WireServer)], limits: &str, last: &str) -> String {
        let clusters: String = servers
            .iter()
            .map(|(name, server)| {
                format!(
                    "  - {{ name: {name}, endpoints: [\"{}\"] }}\n",
                    server.addr()
                )
            })
            .collect();
        format!(
            "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    limits: {{ {limits} }}\n    access_log: [{{ stdout: true, format: \"%REQUESTED_SERVER_NAME% %UPSTREAM_CLUSTER%\" }}]\n    chains:{CHAINS}      - {last}\nclusters:\n{clusters}"
        )
    }

    fn start(driver: Driver, limits: &str, last: &str) -> Self {
        let names = ["exact", "deep", "wide", "alpn", "rest"];
        let servers: Vec<_> = names.map(|name| (name, WireServer::bind())).into();
        let proxy = Proxy::start(driver, &Self::config(&servers, limits, last));
        Self { servers, proxy }
    }

    fn plain(driver: Driver) -> Self {
        Self::start(driver, "", "tcp: { cluster: rest }")
    }

    fn server(&self, name: &str) -> &WireServer {
        let found = self.servers.iter().find(|(known, _)| *known == name);
        &found.unwrap().1
    }

    fn connect(&self) -> Wire {
        Wire::connect(self.proxy.addr("web"))
    }

    /// Whoever sends these bytes is served by that server, which gets them as they are.
    #[track_caller]
    fn check(&self, hello: &[u8], server: &str) {
        let mut client = self.connect();
        client.send(hello);
        let mut host = self.server(server).accept();
        host.send("hello, client");
        client.expect("hello, client");
        client.send("more").finish();
        let (got, end) = host.ending();
        assert_eq!(end, Broken::Closed);
        assert!(got == [hello, b"more"].concat(), "{server} got other bytes");
    }

    fn limit(&self, name: &str) -> f64 {
        let label = format!("limit=\"{name}\"");
        self.proxy.metric("ringway_listener_limit_total", &[&label])
    }
}

fn each_name_goes_to_its_server_untouched(driver: Driver) {
    let site = Site::plain(driver);
    for (name, protocols, server) in [
        ("www.example.test", &["h2", "http/1.1"][..], "exact"),
        ("WWW.Example.Test", &[], "exact"),
        ("other.test", &[], "exact"),
        ("a.example.test", &[], "wide"),
        ("a.example.test", &["http/1.1"], "wide"),
        ("a.b.example.test", &[], "wide"),
        ("a.example.test", &["http/1.1", "h2"], "alpn"),
        // A longer name comes before a protocol.
        ("a.deep.example.test", &["h2"], "deep"),
        ("deep.example.test", &[], "wide"),
        ("example.test", &[], "rest"),
        ("elsewhere.test", &["h2"], "rest"),
        ("", &["h2"], "rest"),
        ("127.0.0.1", &[], "rest"),
    ] {
        site.check(&client_hello(name, protocols), server);
    }
    // What follows the hello at once, as early data does, goes behind it.
    let hello = client_hello("other.test", &[]);
    site.check(&[&hello[..], &[7; 200_000]].concat(), "exact");
    // No TLS at all.
    site.check(b"SSH-2.0-client\r\n", "rest");
}

fn a_hello_may_come_byte_by_byte_and_in_many_records(driver: Driver) {
    // Each byte waits for its acknowledgement, which kernels put off.
    let limits = "client_hello_timeout: 120s";
    let site = Site::start(driver, limits, "tcp: { cluster: rest }");
    site.check(&in_records("www.example.test", &["h2"], 100), "exact");
    let hello = client_hello("a.example.test", &["h2"]);
    let mut client = site.connect();
    for byte in &hello {
        client.send([*byte]);
        client.arrived();
    }
    let mut host = site.server("alpn").accept();
    client.finish();
    assert!(host.ending().0 == hello);
}

fn a_hello_that_is_never_finished_times_out(driver: Driver) {
    let site = Site::start(
        driver,
        "client_hello_timeout: 300ms",
        "tcp: { cluster: rest }",
    );
    let hello = client_hello("www.example.test", &[]);
    for part in [1, 5, 9, 50, hello.len() - 1] {
        let mut client = site.connect();
        client.send(&hello[..part]);
        client.until_closed();
    }
    wait_equal(5.0, || site.limit("client_hello_timeout"));
    for (_, server) in &site.servers {
        assert!(server.try_accept().is_none());
    }
}

fn silence_times_out_as_well(driver: Driver) {
    let site = Site::start(
        driver,
        "client_hello_timeout: 300ms",
        "tcp: { cluster: rest }",
    );
    let mut client = site.connect();
    assert_eq!(client.ending(), (Vec::new(), Broken::Closed));
    wait_equal(1.0, || site.limit("client_hello_timeout"));
}

fn a_hello_that_is_none_is_refused_by_its_reason(driver: Driver) {
    let site = Site::start(driver, "client_hello: 2000B", "tcp: { cluster: rest }");
    let long = "a".repeat(60) + "." + &"b".repeat(60) + ".example.test";
    let mut wrong = client_hello("www.example.test", &[]);
    wrong[5] = 2;
    let mut empty = client_hello("www.example.test", &[]);
    empty[3] = 0;
    empty[4] = 0;
    for (bytes, reason) in [
        (wrong, "not_client_hello"),
        (empty, "record_length"),
        (client_hello("a b.example.test", &[]), "server_name"),
        (client_hello(&long, &["x"; 150]), "too_long"),
        (in_records(&long, &[], 10), "too_many_records"),
    ] {
        let mut client = site.connect();
        client.send(&bytes);
        client.until_closed();
        let label = format!("reason=\"{reason}\"");
        let metric = "ringway_listener_client_hello_error_total";
        wait_equal(1.0, || site.proxy.metric(metric, &[&label]));
    }
}

fn a_name_of_no_chain_is_refused(driver: Driver) {
    let site = Site::start(
        driver,
        "",
        "{ match: { sni: [x.test] }, tcp: { cluster: rest } }",
    );
    for bytes in [
        client_hello("example.test", &[]),
        client_hello("", &[]),
        b"GET /".to_vec(),
    ] {
        let mut client = site.connect();
        client.send(&bytes);
        assert!(client.until_closed().is_empty());
    }
    let metric = "ringway_listener_downstream_cx_no_chain_total";
    wait_until("all are counted", || site.proxy.metric(metric, &[]) == 3.0);
}

fn plain_requests_go_to_the_chain_without_names(driver: Driver) {
    let last = "routes: [{ respond: { status: 200, body: plain } }]";
    let site = Site::start(driver, "", last);
    let mut client = Client::connect(site.proxy.addr("web"));
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "plain");
    }
    site.check(&client_hello("www.example.test", &[]), "exact");
    assert_eq!(client.get("/again").text(), "plain");
}

fn a_reload_moves_new_connections_only(driver: Driver) {
    let site = Site::plain(driver);
    let hello = client_hello("www.example.test", &[]);
    let mut client = site.connect();
    client.send(&hello);
    let mut host = site.server("exact").accept();
    let text = Site::config(&site.servers, "", "tcp: { cluster: rest }");
    site.proxy
        .reload(&text.replace("WWW.example.test", "gone.test"));
    client.send("old");
    host.send("old");
    client.expect("old");
    site.check(&hello, "wide");
    client.finish();
    assert!(host.ending().0.ends_with(b"old"));
}

fn the_name_is_in_the_log(driver: Driver) {
    let site = Site::plain(driver);
    site.check(&client_hello("WWW.example.test", &[]), "exact");
    site.check(b"no TLS, and no name", "rest");
    wait_until("their lines", || {
        let out = site.proxy.stdout();
        out.contains("www.example.test exact\n") && out.contains("- rest\n")
    });
}

/// So that nobody takes a listener that waits for hellos for one that waits for ever.
#[test]
fn a_chain_that_reads_requests_cannot_ask_for_a_name() {
    let text = "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    chains: [{ match: { sni: [a.test] }, routes: [] }]\n";
    let (code, _, err) = ringway_tests::proxy::run(&["validate", "-c", "-"], text);
    assert_eq!(code, 1);
    assert!(
        err.contains("match.sni: leave `sni` out, or write `tcp`"),
        "{err}"
    );
}
