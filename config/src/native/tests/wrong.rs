//! What is wrong in one part of a configuration, and what is said to it.

use super::{said, site};

/// One wrong route, and a part of the only message.
#[track_caller]
fn wrong_route(route: &str, expect: &str) {
    let said = said(&site(&format!("- {route}\n")));
    assert!(
        said.len() == 1 && said[0].contains(expect),
        "{route}: {said:#?}"
    );
}

/// Routes, and what is said of each.
const WRONG_ROUTES: &[(&str, &str)] = &[
    (
        "{ match: { prefix: / } }",
        "write one of `cluster`, `respond` or `redirect`",
    ),
    (
        "{ cluster: app, respond: { status: 200 } }",
        "either `cluster` or `respond`, not both",
    ),
    (
        "{ respond: { status: 200 }, timeout: 5s }",
        "leave `timeout` out",
    ),
    (
        "{ redirect: { path: / }, retry: { retries: 1 } }",
        "leave `retry` out",
    ),
    ("{ cluster: {} }", "at least one cluster"),
    ("{ cluster: { app: 0, other: 0 } }", "a weight above zero"),
    (
        "{ cluster: { app: 1, othr: 1 } }",
        "unknown cluster `othr`: did you mean `other`?",
    ),
    ("{ cluster: [app] }", "not a list"),
    (
        "{ cluster: app, mirror: { cluster: nobody } }",
        "unknown cluster `nobody`: write `app` or `other`",
    ),
    (
        "{ cluster: app, match: { path: x } }",
        "a path that begins with `/`",
    ),
    (
        "{ cluster: app, match: { prefix: \"/a?b\" } }",
        "without `?`",
    ),
    (
        "{ cluster: app, match: { path: /a, prefix: /b } }",
        "either `path` or `prefix`",
    ),
    (
        "{ cluster: app, match: { methods: [] } }",
        "at least one item",
    ),
    ("{ cluster: app, match: { method: get } }", "in capitals"),
    (
        "{ cluster: app, match: { method: \"G T\" } }",
        "a method such as",
    ),
    (
        "{ cluster: app, match: { headers: [{ name: \"a b\" }] } }",
        "a header name",
    ),
    (
        "{ cluster: app, match: { headers: [{ exact: b }] } }",
        "`name` is missing",
    ),
    (
        "{ cluster: app, match: { headers: [{ name: a, exact: b, regex: c }] } }",
        "either `exact` or `regex`",
    ),
    (
        "{ cluster: app, match: { headers: [{ name: a, present: false }] } }",
        "`absent: true` instead",
    ),
    (
        "{ cluster: app, match: { headers: [{ name: a, exact: 1 }] } }",
        "needs quotes",
    ),
    (
        "{ cluster: app, match: { regex: a }, rewrite: { prefix: / } }",
        "or write a regex here too",
    ),
    (
        "{ cluster: app, rewrite: { prefix: /, regex: { pattern: a, substitution: b } } }",
        "either `prefix` or `regex`",
    ),
    (
        "{ cluster: app, rewrite: { host: \"a b\" } }",
        "a host such as",
    ),
    (
        "{ cluster: app, rewrite: { host: \"a:99999\" } }",
        "a port from 1 to 65535",
    ),
    (
        "{ cluster: app, rewrite: { host: \"a:\" } }",
        "a port from 1 to 65535",
    ),
    (
        "{ cluster: app, rewrite: { host: \"::1\" } }",
        "a host such as",
    ),
    (
        "{ cluster: app, rewrite: { host: \"[::g]\" } }",
        "a host such as",
    ),
    ("{ cluster: app, hash: [] }", "at least one item"),
    (
        "{ cluster: app, filters: [{ ip_access: { allow: [] } }] }",
        "at least one item",
    ),
    (
        "{ cluster: app, request_headers: { set: { a: \"b\\r\\nc: d\" } } }",
        "leave line breaks and NUL out",
    ),
    (
        "{ cluster: app, request_headers: { set: { \"a b\": c } } }",
        "a header name",
    ),
    (
        "{ cluster: app, request_headers: { add: { content-length: \"3\" } } }",
        "the proxy writes it itself",
    ),
    (
        "{ cluster: app, request_headers: { set: { host: a } } }",
        "`rewrite: {host: ...}`",
    ),
    (
        "{ cluster: app, response_headers: { remove: [\"x y\"] } }",
        "a header name",
    ),
    ("{ respond: { status: 199 } }", "from 200 to 599"),
    ("{ respond: { status: \"200\" } }", "not `200`"),
    ("{ respond: { status: 204, body: x } }", "has none"),
    ("{ respond: {} }", "`status` is missing"),
    ("{ redirect: {} }", "write where to"),
    ("{ redirect: { code: 200, path: / } }", "not the number 200"),
    (
        "{ redirect: { path: /a, prefix: /b } }",
        "either `path` or `prefix`",
    ),
    ("{ redirect: { scheme: ftp } }", "`http` or `https`"),
    ("{ cluster: app, timeout: }", "not nothing"),
    ("{ cluster: app, idle_timeout: 0s }", "longer than zero"),
    ("{ cluster: app, retry: { on: [] } }", "at least one item"),
    (
        "{ cluster: app, mirror: { cluster: app, share: 120% } }",
        "from `0%` to `100%`",
    ),
    (
        "{ cluster: app, filters: [{ a: 1, b: 2 }] }",
        "an item of its own",
    ),
    ("{ cluster: app, filters: [7] }", "not the number 7"),
    (
        "{ cluster: app, filters: [{ headers: { requst: {} } }] }",
        "did you mean `request`?",
    ),
    (
        "{ cluster: app, filters: [{ ip_access: { allow: [10.0.0.0/40] } }] }",
        "an address or range",
    ),
    (
        "{ cluster: app, filters: [{ fault: { delay: { share: 1% } } }] }",
        "`for` is missing",
    ),
    ("{ cluster: app, filters: [fault] }", "not nothing"),
    ("7", "not the number 7"),
];

#[test]
fn routes_are_checked() {
    for (route, expect) in WRONG_ROUTES {
        wrong_route(route, expect);
    }
}

#[test]
fn tls_is_checked() {
    let flat = |keys: &str| {
        format!("listeners:\n  - {{ name: a, address: \"127.0.0.1:0\", routes: [], {keys} }}\n")
    };
    let tls = |keys: &str| {
        flat(&format!(
            "tls: {{ certificates: [{{ cert: a.pem, key: a.key }}], {keys} }}"
        ))
    };
    for (text, expect) in [
        (flat("tls: { certificates: [] }"), "at least one item"),
        (
            tls("client_ca: ca.pem, client_sans: []"),
            "at least one item",
        ),
        (
            tls("client_sans: [{ exact: a }]"),
            "with `client_ca` beside `client_sans`",
        ),
        (
            tls("client_ca: ca.pem, client_sans: [{ exact: a, prefix: b }]"),
            "`exact`",
        ),
        (
            tls("client_ca: ca.pem, client_pins: [{ key: 00ff }]"),
            "64 hexadecimal digits",
        ),
        (tls("profile: old"), "`modern` or `intermediate`"),
        (
            tls("profile: modern, ciphers: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"),
            "no cipher suite here is for TLS 1.3",
        ),
        (
            tls(
                "versions: [\"1.3\"], ciphers: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
            ),
            "its version of TLS is not among",
        ),
    ] {
        let said = said(&text);
        assert!(
            said.iter().any(|line| line.contains(expect)),
            "{text}: {said:#?}"
        );
    }
}

#[test]
fn listeners_are_checked() {
    let listener = |keys: &str| format!("listeners:\n  - {{ name: a, {keys} }}\n");
    let flat = |keys: &str| listener(&format!("address: \"127.0.0.1:0\", routes: [], {keys}"));
    for (text, expect) in [
        (
            listener("address: \":80\", routes: []"),
            "write the address before the port",
        ),
        (
            listener("address: \"::1:80\", routes: []"),
            "or `[::1]:8080`",
        ),
        (
            listener("address: \"localhost:80\", routes: []"),
            "an address, not a name",
        ),
        (listener("address: 80, routes: []"), "not the number 80"),
        (
            listener("address: \"127.0.0.1:0\""),
            "write one of `routes`",
        ),
        (
            flat("route_table: x"),
            "unknown route table `x`: add it to `route_tables`",
        ),
        (
            flat("virtual_hosts: [{ domains: [\"*\"] }]"),
            "either `routes` or `virtual_hosts`",
        ),
        (
            flat("chains: [{ routes: [] }]"),
            "move `routes` into an item of `chains`",
        ),
        (flat("mode: \"0600\""), "only a Unix socket"),
        (flat("quic: {}"), "unknown key `quic`: the keys here are"),
        (flat("tls: {}"), "`certificates` is missing"),
        (
            flat("limits: { tls_handshake_timeout: 1s }"),
            "no chain here has `tls`",
        ),
        (flat("protocol: [http]"), "here, not a list"),
        (flat("limits: { fields_total: 5 }"), "from 256"),
        (flat("limits: { header_timeout: 0s }"), "longer than zero"),
        (flat("forwarded: { via: \"a b\" }"), "a word of letters"),
        (flat("forwarded: { trusted: [all] }"), "an address or range"),
        (
            flat("access_log: [{ format: x }]"),
            "write one of `file` or `stdout`",
        ),
        (
            flat("access_log: [{ file: x, stdout: true }]"),
            "either `file` or `stdout`",
        ),
        (
            flat("access_log: [{ stdout: true, format: x, json: { a: b } }]"),
            "either `format` or `json`",
        ),
    ] {
        let said = said(&text);
        assert!(
            said.iter().any(|line| line.contains(expect)),
            "{text}: {said:#?}"
        );
    }
}

#[test]
fn discoveries_and_sockets_are_checked() {
    let cluster = |keys: &str| format!("listeners: []\nclusters:\n  - {{ name: a, {keys} }}\n");
    for (text, expect) in [
        (
            cluster("endpoints: [\"a:1\"], discovery: { dns: \"a:1\" }"),
            "either `endpoints` or `discovery`",
        ),
        (cluster("discovery: { dns: a }"), "a port after the name"),
        (cluster("discovery: { dns: \"a:0\" }"), "a name such as"),
        (
            cluster("discovery: { dns: \"10.0.0.1:80\" }"),
            "belongs into",
        ),
        (
            cluster("discovery: { dns: \"a:1\", records: srv }"),
            "leave the port out",
        ),
        (
            cluster("discovery: { dns: a, records: srv, kind: logical }"),
            "write `strict`",
        ),
        (
            cluster("endpoints: [\"a:1\"], socket: { bind: [\"10.0.0.1:80\"] }"),
            "without a port",
        ),
    ] {
        let said = said(&text);
        assert!(
            said.iter().any(|line| line.contains(expect)),
            "{text}: {said:#?}"
        );
    }
}

#[test]
fn connections_are_made_ahead_only_where_it_is_known_for_whom() {
    let cluster = |keys: &str| format!("listeners: []\nclusters:\n  - {{ name: a, {keys} }}\n");
    for (text, expect) in [
        (
            cluster("endpoints: [\"a:1\"], protocol: dubbo, pool: { preconnect: 10% }"),
            "leave `preconnect` out: calls of an RPC protocol",
        ),
        (
            cluster("endpoints: [\"a:1\"], proxy_protocol: v1, pool: { preconnect: 10% }"),
            "leave `preconnect` out: with `proxy_protocol`",
        ),
        (
            cluster(
                "endpoints: [\"a:1\"], tls: { server_name_from_host: true }, pool: { preconnect: 10% }",
            ),
            "leave `preconnect` out: with `tls.server_name_from_host`",
        ),
    ] {
        let said = said(&text);
        assert!(
            said.iter().any(|line| line.contains(expect)),
            "{text}: {said:#?}"
        );
    }
}

#[test]
fn clusters_and_the_rest_are_checked() {
    let cluster = |keys: &str| format!("listeners: []\nclusters:\n  - {{ name: a, {keys} }}\n");
    for (text, expect) in [
        (cluster("endpoints: []"), "at least one item"),
        (cluster("endpoints: [\"127.0.0.1:0\"]"), "a port from 1"),
        (cluster("endpoints: [\"http://a:80\"]"), "without a scheme"),
        (cluster("endpoints: [\"a\"]"), "write a port after the host"),
        (cluster("endpoints: [\"1.2.3:80\"]"), "an address such as"),
        (cluster("endpoints: [\"a:+80\"]"), "an address such as"),
        (
            cluster("endpoints: [{ address: \"a:1\", weight: 129 }]"),
            "from 1 to 128",
        ),
        (
            cluster("endpoints: [\"a:1\"], balance: ring"),
            "did you mean `ring_hash`?",
        ),
        (
            cluster("endpoints: [\"a:1\"], balance: { maglev: { table_size: 8 } }"),
            "write a prime",
        ),
        (
            cluster("endpoints: [\"a:1\"], balance: { ring_hash: { min_size: 9, max_size: 8 } }"),
            "a `min_size` of at most `max_size`",
        ),
        (
            cluster("endpoints: [\"a:1\"], balance: { ring_hash: {}, maglev: {} }"),
            "either `ring_hash` or `maglev`",
        ),
        (
            cluster("endpoints: [\"a:1\"], subsets: { selectors: [[v]], fallback: default }"),
            "write the hosts' metadata in `default`",
        ),
        (
            cluster("endpoints: [\"a:1\"], placement: { zone_aware: { zone: a, source: none } }"),
            "unknown cluster `none`",
        ),
        (
            cluster("endpoints: [\"a:1\"], connect_timeout: 0"),
            "a duration such as",
        ),
        ("clusters: []\n".to_owned(), "`listeners` is missing"),
        ("listeners: {}\n".to_owned(), "write a list"),
        (
            "listeners: []\nprocess: { cores: 0 }\n".to_owned(),
            "from 1 to 1024",
        ),
        (
            "listeners: []\nprocess: { io_driver: uring }\n".to_owned(),
            "`auto`, `io_uring` or `epoll`",
        ),
    ] {
        let said = said(&text);
        assert!(
            said.iter().any(|line| line.contains(expect)),
            "{text}: {said:#?}"
        );
    }
}

#[test]
fn subsets_and_where_they_fall_back_to_are_checked() {
    let cluster = |keys: &str| format!("listeners: []\nclusters:\n  - {{ name: a, {keys} }}\n");
    for (text, expect) in [
        (
            cluster("endpoints: [\"a:1\"], subsets: { selectors: [[v], { by: [v] }] }"),
            "another selector has these keys",
        ),
        (
            cluster(
                "endpoints: [\"a:1\"], subsets: { selectors: [{ by: [v], fallback: default }] }",
            ),
            "write the hosts' metadata in `default`",
        ),
        (
            cluster("endpoints: [\"a:1\"], subsets: { selectors: [[v]], default: { v: a } }"),
            "leave `default` out",
        ),
        (
            cluster(
                "endpoints: [\"a:1\"], subsets: { selectors: [{ by: [v, w], fallback: keys_subset }] }",
            ),
            "write some of the keys in `fallback_keys_subset`",
        ),
        (
            cluster(
                "endpoints: [\"a:1\"], subsets: { selectors: [{ by: [v, w], fallback_keys_subset: [v] }] }",
            ),
            "leave `fallback_keys_subset` out",
        ),
        (
            cluster(
                "endpoints: [\"a:1\"], subsets: { selectors: [{ by: [v, w], fallback: keys_subset, fallback_keys_subset: [w, v] }] }",
            ),
            "write some of the keys in `by`, and not all of them",
        ),
        (
            cluster(
                "endpoints: [\"a:1\"], subsets: { selectors: [{ by: [v, w], fallback: keys_subset, fallback_keys_subset: [x] }] }",
            ),
            "write some of the keys in `by`, and not all of them",
        ),
    ] {
        let said = said(&text);
        assert!(
            said.iter().any(|line| line.contains(expect)),
            "{text}: {said:#?}"
        );
    }
}
