//! Hosts found by DNS: names, services, what lives how long, and what becomes of failures.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_tests::wire::Refusing;
use ringway_tests::{Driver, Mood, NameServer, Origin, Proxy, both_drivers, wait_for, wait_until};

both_drivers! {
    each_address_is_a_host_and_changes_are_followed,
    a_failure_keeps_the_hosts_that_are_known,
    half_an_answer_takes_no_hosts_away,
    a_name_that_never_resolved_is_asked_for_again,
    what_lives_shorter_is_asked_for_sooner,
    a_long_answer_comes_over_tcp,
    a_logical_name_is_one_host_and_keeps_its_connections,
    a_logical_name_is_connected_to_where_somebody_answers,
    a_new_connection_goes_to_the_first_address_of_the_newest_answer,
    services_bring_ports_weights_and_priorities,
    a_target_that_fails_keeps_its_hosts,
    a_family_of_addresses_can_be_chosen,
    names_of_listed_hosts_are_asked_for_in_the_same_way,
    where_a_reload_says_so_another_server_is_asked,
}

/// Origins at one port of several addresses of this machine.
fn origins<const N: usize>(names: [&str; N]) -> ([Origin; N], u16) {
    wait_for("a port that is free at all of them", || {
        let port = ringway_tests::wire::steady_port();
        let mut last = 0;
        let all = names.map(|name| {
            last += 1;
            Origin::try_start_at(name, SocketAddr::from(([127, 0, 77, last], port))).ok()
        });
        let all: Option<Vec<Origin>> = all.into_iter().collect();
        Some((all?.try_into().ok()?, port))
    })
}

fn config(discovery: &str) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes: [{{ match: {{ prefix: / }}, cluster: up, retry: {{ retries: 0 }} }}]\n\
         clusters:\n  - {{ name: up, {discovery} }}\n"
    )
}

fn start(driver: Driver, server: &NameServer, discovery: &str) -> Proxy {
    Proxy::with(driver)
        .process(&format!("cores: 1, {}", server.key()))
        .start(&config(discovery))
}

/// Who answers, each once, in order.
fn who(proxy: &Proxy) -> String {
    let mut client = proxy.client();
    let mut names: Vec<String> = (0..12).map(|_| client.get("/").text()).collect();
    names.sort();
    names.dedup();
    names.join(" ")
}

fn each_address_is_a_host_and_changes_are_followed(driver: Driver) {
    let ([a, b, c], port) = origins(["a", "b", "c"]);
    let server = NameServer::new();
    server.set("api.test", 60, &["127.0.77.1", "127.0.77.2"]);
    let discovery = format!("discovery: {{ dns: \"API.test:{port}\", refresh: 200ms }}");
    let proxy = start(driver, &server, &discovery);
    assert_eq!(who(&proxy), "a b");
    server.set("api.test", 60, &["127.0.77.3", "127.0.77.2"]);
    wait_until("the change is followed", || who(&proxy) == "b c");
    assert_eq!(who(&proxy), "b c");
    let listed = proxy.admin("GET", "/clusters").text();
    assert!(listed.contains(&format!("up::{}::", c.addr())), "{listed}");
    assert!(!listed.contains(&format!("up::{}::", a.addr())), "{listed}");
    drop(b);
}

fn a_failure_keeps_the_hosts_that_are_known(driver: Driver) {
    let ([_a], port) = origins(["a"]);
    let server = NameServer::new();
    server.set("api.test", 0, &["127.0.77.1"]);
    let discovery = format!("discovery: {{ dns: \"api.test:{port}\", refresh: 200ms }}");
    let proxy = start(driver, &server, &discovery);
    assert_eq!(who(&proxy), "a");
    for mood in [Mood::Failing, Mood::Silent] {
        server.be(mood);
        let before = server.asked("api.test").len();
        wait_until("it was asked in vain", || {
            server.asked("api.test").len() > before + 3
        });
        assert_eq!(who(&proxy), "a", "{mood:?}");
    }
    server.be(Mood::Well);
    server.forget("api.test");
    proxy.wait_log("name not resolved");
    let before = server.asked("api.test").len();
    wait_until("it does not exist any more", || {
        server.asked("api.test").len() > before + 3
    });
    assert_eq!(who(&proxy), "a");
}

fn half_an_answer_takes_no_hosts_away(driver: Driver) {
    let server = NameServer::new();
    server.set("api.test", 0, &["127.0.77.1", "::ffff"]);
    let discovery = "discovery: { dns: \"api.test:80\", refresh: 200ms }";
    let proxy = start(driver, &server, discovery);
    let lists = |address: &str| {
        let listed = proxy.admin("GET", "/clusters").text();
        listed.contains(&format!("up::{address}:80::"))
    };
    assert!(lists("127.0.77.1") && lists("[::ffff]"));
    server.be(Mood::Half);
    let before = server.asked("api.test").len();
    wait_until("one family was asked for in vain", || {
        server.asked("api.test").len() > before + 3
    });
    assert!(lists("127.0.77.1") && lists("[::ffff]"));
    proxy.wait_log("name not resolved");
    // What the name servers say is not there is not there.
    server.be(Mood::Well);
    server.set("api.test", 0, &["127.0.77.1"]);
    wait_until("it is gone", || !lists("[::ffff]"));
    assert!(lists("127.0.77.1"));
}

fn a_name_that_never_resolved_is_asked_for_again(driver: Driver) {
    let ([_a], port) = origins(["a"]);
    let server = NameServer::new();
    let discovery = format!("discovery: {{ dns: \"api.test:{port}\", refresh: 1h }}");
    let proxy = start(driver, &server, &discovery);
    assert_eq!(proxy.client().get("/").status, 503);
    server.set("api.test", 60, &["127.0.77.1"]);
    wait_until("it is found", || proxy.client().get("/").status == 200);
}

fn what_lives_shorter_is_asked_for_sooner(driver: Driver) {
    let ([_a], port) = origins(["a"]);
    let server = NameServer::new();
    server.set("short.test", 1, &["127.0.77.1"]);
    server.set("long.test", 60, &["127.0.77.1"]);
    let of = |name: &str| {
        format!(
            "  - {{ name: {name}, discovery: {{ dns: \"{name}.test:{port}\", refresh: 1h }} }}\n"
        )
    };
    let text = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes: [{{ match: {{ prefix: / }}, cluster: short }}]\nclusters:\n{}{}",
        of("short"),
        of("long")
    );
    let _proxy = Proxy::with(driver).process(&server.key()).start(&text);
    wait_until("it is asked for as often as it dies", || {
        server.asked("short.test").len() >= 4
    });
    let asked = server.asked("short.test");
    // A second each, less the tenth that chance may take.
    for pair in asked.windows(2) {
        let pause = pair[1].duration_since(pair[0]);
        assert!(pause >= Duration::from_millis(880), "{pause:?}");
    }
    assert_eq!(server.asked("long.test").len(), 1);
}

fn a_long_answer_comes_over_tcp(driver: Driver) {
    let ([_a], port) = origins(["a"]);
    let server = NameServer::new();
    server.set("api.test", 60, &["127.0.77.1"]);
    server.be(Mood::Cut);
    let discovery = format!("discovery: {{ dns: \"api.test:{port}\" }}");
    let proxy = start(driver, &server, &discovery);
    assert_eq!(who(&proxy), "a");
    assert!(server.was_asked_over_tcp());
}

fn a_logical_name_is_one_host_and_keeps_its_connections(driver: Driver) {
    let ([a, b], port) = origins(["a", "b"]);
    let server = NameServer::new();
    server.set("api.test", 60, &["127.0.77.1"]);
    let discovery =
        format!("discovery: {{ dns: \"api.test:{port}\", kind: logical, refresh: 200ms }}");
    let proxy = start(driver, &server, &discovery);
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "a");
    let listed = proxy.admin("GET", "/clusters").text();
    assert!(
        listed.contains(&format!("up::api.test:{port}::")),
        "{listed}"
    );
    server.set("api.test", 60, &["127.0.77.2"]);
    proxy.wait_log("addresses changed");
    wait_until("every core has it", || {
        let text = proxy.admin("GET", "/server_info").text();
        text.contains("\"config_version_applied\": 2")
            || text.contains("\"config_version_applied\":2")
    });
    // What is open stays in use.
    assert_eq!(client.get("/").text(), "a");
    assert_eq!((a.open(), b.open()), (1, 0));
    a.close_all();
    wait_until("a new connection goes to the new address", || {
        client.get("/").text() == "b"
    });
}

fn a_logical_name_is_connected_to_where_somebody_answers(driver: Driver) {
    let ([_gone, b], port) = origins(["gone", "b"]);
    drop(_gone);
    let server = NameServer::new();
    // One that refuses, one where nobody is, and one that answers; the families by turns.
    server.set("api.test", 60, &["127.0.77.1", "::1", "127.0.77.2"]);
    let discovery = format!("discovery: {{ dns: \"api.test:{port}\", kind: logical }}");
    let proxy = start(driver, &server, &discovery);
    for _ in 0..5 {
        assert_eq!(proxy.client().get("/").text(), "b");
        b.close_all();
    }
}

fn a_new_connection_goes_to_the_first_address_of_the_newest_answer(driver: Driver) {
    let ([a, b, c], port) = origins(["a", "b", "c"]);
    let server = NameServer::new();
    server.set("api.test", 60, &["127.0.77.2", "127.0.77.1"]);
    let discovery =
        format!("discovery: {{ dns: \"api.test:{port}\", kind: logical, refresh: 200ms }}");
    let proxy = start(driver, &server, &discovery);
    let fresh = || {
        // What is kept is of the answer before.
        for origin in [&a, &b, &c] {
            origin.close_all();
        }
        proxy.client().get("/").text()
    };
    assert_eq!(fresh(), "b");
    for (answer, first) in [
        (["127.0.77.3", "127.0.77.1"], "c"),
        (["127.0.77.1", "127.0.77.3"], "a"),
        (["127.0.77.3", "127.0.77.1"], "c"),
    ] {
        server.set("api.test", 60, &answer);
        wait_until("the new order is followed", || fresh() == first);
    }
    // The first refuses: the next takes it.
    drop(c);
    assert_eq!(proxy.client().get("/").text(), "a");
}

fn a_target_that_fails_keeps_its_hosts(driver: Driver) {
    let [a, b, c] = ["a", "b", "c"].map(Origin::start);
    let server = NameServer::new();
    server.set("one.test", 0, &["127.0.0.1"]);
    server.set("two.test", 0, &["127.0.0.1"]);
    let set = |services: &[(&Origin, &str)]| {
        let services: Vec<_> = services
            .iter()
            .map(|(origin, target)| (10, 10, origin.addr().port(), *target))
            .collect();
        server.set_services("_http._tcp.test", 0, &services);
    };
    set(&[(&a, "one.test"), (&b, "two.test")]);
    let proxy = start(
        driver,
        &server,
        "discovery: { dns: _http._tcp.test, records: srv, refresh: 200ms }",
    );
    assert_eq!(who(&proxy), "a b");
    server.forget("two.test");
    let before = server.asked("two.test").len();
    wait_until("it was asked for in vain", || {
        server.asked("two.test").len() > before + 3
    });
    assert_eq!(who(&proxy), "a b");
    proxy.wait_log("target of a service not resolved");
    // What else is news is followed meanwhile.
    set(&[(&c, "one.test"), (&b, "two.test")]);
    wait_until("the change is followed", || who(&proxy) == "b c");
    set(&[(&c, "one.test")]);
    wait_until("no service names it any more", || who(&proxy) == "c");
}

fn services_bring_ports_weights_and_priorities(driver: Driver) {
    let [a, b, c] = ["a", "b", "c"].map(Origin::start);
    let gone = Refusing::new();
    let server = NameServer::new();
    server.set("one.test", 60, &["127.0.0.1"]);
    server.set("two.test", 60, &["127.0.0.1"]);
    server.set_services(
        "_http._tcp.test",
        60,
        &[
            (10, 30, a.addr().port(), "one.test"),
            (10, 10, b.addr().port(), "two.test"),
            (20, 10, c.addr().port(), "one.test"),
            (10, 10, gone.addr().port(), "missing.test"),
        ],
    );
    let proxy = start(
        driver,
        &server,
        "discovery: { dns: _http._tcp.test, records: srv, refresh: 200ms }",
    );
    let mut client = proxy.client();
    for _ in 0..40 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((a.seen().len(), c.seen().len()), (30, 0));
    server.set_services(
        "_http._tcp.test",
        60,
        &[(5, 0, c.addr().port(), "two.test")],
    );
    wait_until("the change is followed", || who(&proxy) == "c");
    drop(b);
}

fn a_family_of_addresses_can_be_chosen(driver: Driver) {
    let ([_a], port) = origins(["a"]);
    let server = NameServer::new();
    server.set("api.test", 60, &["127.0.77.1", "::ffff"]);
    let discovery = format!("discovery: {{ dns: \"api.test:{port}\", family: ipv4 }}");
    let proxy = start(driver, &server, &discovery);
    assert_eq!(who(&proxy), "a");
    proxy.reload(&config(&discovery.replace("ipv4", "ipv6")));
    let listed = proxy.admin("GET", "/clusters").text();
    assert!(
        listed.contains(&format!("up::[::ffff]:{port}::")),
        "{listed}"
    );
    assert!(!listed.contains("up::127.0.77.1"), "{listed}");
}

fn names_of_listed_hosts_are_asked_for_in_the_same_way(driver: Driver) {
    let ([_a, _b], port) = origins(["a", "b"]);
    let server = NameServer::new();
    server.set("one.test", 60, &["127.0.77.1"]);
    let endpoints = format!("endpoints: [\"one.test:{port}\"], dns_refresh: 200ms");
    let proxy = start(driver, &server, &endpoints);
    assert_eq!(who(&proxy), "a");
    server.set("one.test", 60, &["127.0.77.2"]);
    wait_until("the change is followed", || who(&proxy) == "b");
}

fn where_a_reload_says_so_another_server_is_asked(driver: Driver) {
    let ([_a, _b], port) = origins(["a", "b"]);
    let (one, two) = (NameServer::new(), NameServer::new());
    one.set("api.test", 60, &["127.0.77.1"]);
    two.set("api.test", 60, &["127.0.77.2"]);
    let text = |server: &NameServer| {
        format!(
            "process: {{ io_driver: {}, cores: 1, {} }}\nadmin: {{ address: \"unix:DIR/admin.sock\" }}\n{}",
            driver.name(),
            server.key(),
            config(&format!(
                "discovery: {{ dns: \"api.test:{port}\", refresh: 200ms }}"
            ))
        )
    };
    let proxy = Proxy::with(driver).verbatim().start(&text(&one));
    assert_eq!(who(&proxy), "a");
    proxy.reload(&text(&two));
    wait_until("the other one is asked", || who(&proxy) == "b");
}
