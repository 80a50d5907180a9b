//! Which host a request goes to: hashes, cookies, subsets, priorities.

use std::net::SocketAddr;

use ringway_tests::wire::Refusing;
use ringway_tests::{Driver, Origin, Proxy, both_drivers};

both_drivers! {
    every_way_of_balancing_serves,
    a_hash_leads_to_one_host_on_every_core,
    a_client_gets_the_cookie_that_its_hash_is_made_of,
    a_sticky_client_stays_with_its_host,
    a_route_asks_for_a_subset,
    a_request_for_no_subset_is_a_503,
    a_selector_falls_back_to_fewer_of_its_keys,
    a_connection_passed_on_goes_to_its_subset,
    the_second_priority_is_asked_when_the_first_is_used_up,
    a_change_of_one_host_keeps_the_connections_of_the_others,
}

/// A configuration of one route and one cluster with these keys.
fn config(route: &str, cluster: &str, endpoints: &[String]) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes:\n      - {{ match: {{ prefix: / }}, cluster: up{route} }}\n\
         clusters:\n  - {{ name: up{cluster}, endpoints: [{}] }}\n",
        endpoints.join(", ")
    )
}

fn quoted(addrs: &[SocketAddr]) -> Vec<String> {
    addrs.iter().map(|addr| format!("\"{addr}\"")).collect()
}

fn three() -> [Origin; 3] {
    ["a", "b", "c"].map(Origin::start)
}

fn addrs(origins: &[Origin; 3]) -> [SocketAddr; 3] {
    origins.each_ref().map(Origin::addr)
}

fn every_way_of_balancing_serves(driver: Driver) {
    for balance in [
        "random",
        "least_request",
        "{ least_request: { full_scan: 5 } }",
        "least_connection",
        "peak_ewma",
        "ring_hash",
        "{ maglev: { table_size: 61 } }",
    ] {
        let origins = three();
        let text = config(
            "",
            &format!(", balance: {balance}"),
            &quoted(&addrs(&origins)),
        );
        let proxy = Proxy::start(driver, &text);
        let mut client = proxy.client();
        for _ in 0..120 {
            assert_eq!(client.get("/").status, 200);
        }
        let seen = origins.each_ref().map(|origin| origin.seen().len());
        // A moving average may prefer one for long; the others spread.
        let least = if balance == "peak_ewma" { 0 } else { 5 };
        assert!(seen.iter().all(|n| *n >= least), "{balance}: {seen:?}");
    }
}

fn a_hash_leads_to_one_host_on_every_core(driver: Driver) {
    for balance in ["ring_hash", "maglev"] {
        let origins = three();
        let text = config(
            ", hash: [{ header: x-user }]",
            &format!(", balance: {balance}"),
            &quoted(&addrs(&origins)),
        );
        let proxy = Proxy::start(driver, &text);
        let mut hosts = std::collections::BTreeSet::new();
        for user in 0..12 {
            let ask = format!("GET / HTTP/1.1\r\nHost: t\r\nX-User: u{user}\r\n\r\n");
            let first = proxy.client().ask(&ask).text();
            for _ in 0..6 {
                // Another connection may be another core's.
                assert_eq!(proxy.client().ask(&ask).text(), first, "{balance}");
            }
            hosts.insert(first);
        }
        assert!(hosts.len() > 1, "{balance}: all on {hosts:?}");
    }
}

fn a_client_gets_the_cookie_that_its_hash_is_made_of(driver: Driver) {
    let origins = three();
    let text = config(
        ", hash: [{ cookie: { name: sid, ttl: 1h, path: /x } }]",
        ", balance: maglev",
        &quoted(&addrs(&origins)),
    );
    let proxy = Proxy::start(driver, &text);
    for _ in 0..8 {
        let first = proxy.client().get("/");
        let given = first.head.get("set-cookie").expect("a cookie").to_owned();
        assert!(
            given.ends_with("; Max-Age=3600; Path=/x; HttpOnly"),
            "{given}"
        );
        let cookie = given.split(';').next().unwrap();
        let ask = format!("GET / HTTP/1.1\r\nHost: t\r\nCookie: a=b; {cookie}\r\n\r\n");
        for _ in 0..4 {
            let again = proxy.client().ask(&ask);
            assert_eq!(again.text(), first.text());
            assert_eq!(again.head.get("set-cookie"), None);
        }
    }
}

fn a_sticky_client_stays_with_its_host(driver: Driver) {
    let origins = three();
    let text = config("", ", sticky: { cookie: host }", &quoted(&addrs(&origins)));
    let proxy = Proxy::start(driver, &text);
    for _ in 0..6 {
        let first = proxy.client().get("/");
        let given = first.head.get("set-cookie").expect("a cookie").to_owned();
        assert!(given.ends_with("; Path=/; HttpOnly"), "{given}");
        let port = origins[0].addr().port().to_string();
        assert!(!given.contains(&port), "it says where the host is: {given}");
        let cookie = given.split(';').next().unwrap();
        let ask = format!("GET / HTTP/1.1\r\nHost: t\r\nCookie: {cookie}\r\n\r\n");
        for _ in 0..5 {
            let again = proxy.client().ask(&ask);
            assert_eq!(again.text(), first.text());
            assert_eq!(again.head.get("set-cookie"), None, "it has it already");
        }
    }
    let odd = proxy
        .client()
        .ask("GET / HTTP/1.1\r\nHost: t\r\nCookie: host=zz\r\n\r\n");
    assert_eq!(odd.status, 200);
    assert!(odd.head.get("set-cookie").is_some());
}

fn with_versions(origins: &[Origin; 3]) -> Vec<String> {
    let of = |(addr, version): (&SocketAddr, &str)| {
        format!("{{ address: \"{addr}\", metadata: {{ version: {version} }} }}")
    };
    addrs(origins)
        .iter()
        .zip(["v1", "v2", "v2"])
        .map(of)
        .collect()
}

fn a_route_asks_for_a_subset(driver: Driver) {
    let origins = three();
    let cluster = ", subsets: { selectors: [[version]] }";
    let text = config(
        ", metadata_match: { version: v2 }",
        cluster,
        &with_versions(&origins),
    );
    let proxy = Proxy::start(driver, &text);
    let mut client = proxy.client();
    for _ in 0..20 {
        client.get("/");
    }
    assert_eq!(
        origins.each_ref().map(|origin| origin.seen().len()),
        [0, 10, 10]
    );
}

fn a_request_for_no_subset_is_a_503(driver: Driver) {
    let origins = three();
    let cluster = ", subsets: { selectors: [[version]], fallback: none }";
    let text = config(
        ", metadata_match: { version: v3 }",
        cluster,
        &with_versions(&origins),
    );
    let proxy = Proxy::start(driver, &text);
    assert_eq!(proxy.client().get("/").status, 503);
    let one = config(
        ", metadata_match: { version: v1 }",
        cluster,
        &with_versions(&origins),
    );
    proxy.reload(&one);
    assert_eq!(proxy.client().get("/").text(), "a");
    // To ask for nothing is to ask for no subset.
    proxy.reload(&config("", cluster, &with_versions(&origins)));
    assert_eq!(proxy.client().get("/").status, 503);
}

fn a_selector_falls_back_to_fewer_of_its_keys(driver: Driver) {
    let origins = three();
    let cluster = ", subsets: { selectors: [[version], { by: [stage, version], fallback: keys_subset, fallback_keys_subset: [version] }], fallback: none }";
    let asked = |version: &str| {
        let route = format!(", metadata_match: {{ stage: canary, version: {version} }}");
        config(&route, cluster, &with_versions(&origins))
    };
    let proxy = Proxy::start(driver, &asked("v1"));
    assert_eq!(proxy.client().get("/").text(), "a");
    proxy.reload(&asked("v3"));
    assert_eq!(proxy.client().get("/").status, 503);
}

fn a_connection_passed_on_goes_to_its_subset(driver: Driver) {
    let origins = three();
    let text = format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, tcp: {{ cluster: up, metadata_match: {{ version: v1 }} }} }}\n\
         clusters:\n  - {{ name: up, endpoints: [{}], subsets: {{ selectors: [[version]], fallback: none }} }}\n",
        with_versions(&origins).join(", ")
    );
    let proxy = Proxy::start(driver, &text);
    for _ in 0..10 {
        assert_eq!(proxy.client().get("/").text(), "a");
    }
}

fn the_second_priority_is_asked_when_the_first_is_used_up(driver: Driver) {
    let (gone, spare) = (Refusing::new(), Origin::start("spare"));
    let endpoints = [
        format!("\"{}\"", gone.addr()),
        format!("{{ address: \"{}\", priority: 1 }}", spare.addr()),
    ];
    let proxy = Proxy::start(driver, &config("", "", &endpoints));
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "spare");
    }
}

fn a_change_of_one_host_keeps_the_connections_of_the_others(driver: Driver) {
    let origins = three();
    let all = addrs(&origins);
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&config("", "", &quoted(&all[..2])));
    let mut client = proxy.client();
    for _ in 0..6 {
        client.get("/");
    }
    for hosts in [&all[1..], &all[..], &all[1..2]] {
        proxy.reload(&config("", "", &quoted(hosts)));
        for _ in 0..6 {
            assert_eq!(client.get("/").status, 200);
        }
    }
    assert_eq!(origins[1].connections(), 1, "the host that stayed");
}
