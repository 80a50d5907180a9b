//! What an operator reads when something is wrong.

use super::{Format, paths_with, read, site, yaml};

/// The messages, with their paths, of a text that must be refused.
fn said(text: &str) -> Vec<String> {
    let Err(errors) = yaml(text) else {
        panic!("should be refused:\n{text}");
    };
    let problems = errors.problems.iter();
    problems
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect()
}

/// One wrong route, and a part of the only message.
#[track_caller]
fn wrong_route(route: &str, expect: &str) {
    let said = said(&site(&format!("- {route}\n")));
    assert!(
        said.len() == 1 && said[0].contains(expect),
        "{route}: {said:#?}"
    );
}

#[test]
fn all_errors_appear_at_once_each_with_its_line() {
    let text = "\
listeners:
  - name: web
    adress: 0.0.0.0:8080
    routes:
      - match: { prefix: /api/ }
        cluster: apu
        tiemout: 5s
        retry: { on: [connect_failure, rset], retries: two }
      - match: { path: /api/x }
        respond: { status: 700 }
clusters:
  - name: api
    endpoints: [127.0.0.1]
  - name: web
";
    let expect = "\
error: listeners[0]: unknown key `adress`: did you mean `address`?
 --> site:3:5
  |
3 |     adress: 0.0.0.0:8080
  |     ^^^^^^

error: listeners[0].routes[0].cluster: unknown cluster `apu`: did you mean `api`?
 --> site:6:18
  |
6 |         cluster: apu
  |                  ^^^

error: listeners[0].routes[0]: unknown key `tiemout`: did you mean `timeout`?
 --> site:7:9
  |
7 |         tiemout: 5s
  |         ^^^^^^^

error: listeners[0].routes[0].retry.on[1]: write `connect_failure`, `reset`, `gateway_error`, `server_error`, `cancelled`, `deadline_exceeded`, `internal`, `resource_exhausted`, `unavailable`, `reset_before_request`, `refused_stream`, `retriable_4xx`, `status_codes` or `headers` here, not `rset`: did you mean `reset`?
 --> site:8:40
  |
8 |         retry: { on: [connect_failure, rset], retries: two }
  |                                        ^^^^

error: listeners[0].routes[0].retry.retries: write a whole number from 0 to 100 here, not `two`
 --> site:8:56
  |
8 |         retry: { on: [connect_failure, rset], retries: two }
  |                                                        ^^^

error: listeners[0].routes[1]: no request comes to this route: listeners[0].routes[0] before it takes all of them; move this one up or leave it out
 --> site:9:9
  |
9 |       - match: { path: /api/x }
  |         ^^^^^^^^^^^^^^^^^^^^^^^

error: listeners[0].routes[1].respond.status: write a whole number from 200 to 599 here, not the number 700
  --> site:10:28
   |
10 |         respond: { status: 700 }
   |                            ^^^

error: clusters[0].endpoints[0]: write a port after the address, as in `127.0.0.1:8080` or `[::1]:8080`
  --> site:13:17
   |
13 |     endpoints: [127.0.0.1]
   |                 ^^^^^^^^^

error: clusters[1]: write one of `endpoints` or `discovery` here
  --> site:14:5
   |
14 |   - name: web
   |     ^^^^^^^^^";
    assert_eq!(yaml(text).unwrap_err().to_string(), expect);
}

#[test]
fn json_and_toml_errors_point_at_their_lines_too() {
    let json = "{\n  \"listeners\": [\n    {\"name\": 7, \"address\": \"127.0.0.1:0\", \"routes\": []}\n  ]\n}\n";
    let expect = "\
error: listeners[0].name: write a name such as `web` here, not the number 7 (a text that looks like a number or boolean needs quotes)
 --> site:3:14
  |
3 |     {\"name\": 7, \"address\": \"127.0.0.1:0\", \"routes\": []}
  |              ^";
    assert_eq!(read(json, Format::Json).unwrap_err().to_string(), expect);
    let toml = "[[listeners]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\nroute = []\n";
    let expect = "\
error: listeners[0]: write one of `routes`, `virtual_hosts`, `route_table`, `tcp` or `chains` here
 --> site:1:1
  |
1 | [[listeners]]
  | ^^^^^^^^^^^^^

error: listeners[0]: unknown key `route`: did you mean `routes`?
 --> site:4:1
  |
4 | route = []
  | ^^^^^";
    assert_eq!(read(toml, Format::Toml).unwrap_err().to_string(), expect);
}

#[test]
fn syntax_errors_point_at_their_place() {
    for (format, text, expect) in [
        (Format::Yaml, "a: [1, 2\nb: 3\n", "this is no YAML"),
        (Format::Yaml, "a:\n\t- b\n", "never with tabs"),
        (Format::Yaml, "a: 1\na: 2\n", "the key `a` only once"),
        (Format::Yaml, "a: !x 1\n", "leave out the tag"),
        (Format::Yaml, "---\na: 1\n---\nb: 2\n", "one document only"),
        (Format::Yaml, "a: *b\n", "site:1:"),
        (Format::Yaml, "# nothing\n", "the file is empty"),
        (Format::Yaml, "- a\n", "write a map with keys such as"),
        (Format::Json, "{\"a\": }", "write a value here"),
        (Format::Json, "", "the file is empty"),
        (Format::Toml, "a = \n", "this is no TOML"),
        (Format::Toml, "a = 1\na = 2\n", "this is no TOML"),
        (
            Format::Toml,
            "a = 2020-01-01\n",
            "no key of this file takes a date",
        ),
    ] {
        let errors = read(text, format).unwrap_err().to_string();
        assert!(errors.contains(expect), "{text:?}:\n{errors}");
    }
}

#[test]
fn what_the_environment_gives_is_never_shown() {
    let text = site("- { cluster: \"${SECRET}\", timeout: \"${SECRET}\", upgrade: \"${SECRET}\", match: { path: \"${SECRET}\", method: \"${SECRET}\" }, filters: [{ ip_access: { deny: [\"${SECRET}\"] } }] }\n")
        .replace("127.0.0.1:0", "${SECRET}")
        .replace("127.0.0.1:1", "${SECRET}://x")
        + "  - { name: \"${SECRET}x\", balance: \"${SECRET}\", endpoints: [\"${SECRET}\"] }\n"
        + "  - { name: \"${SECRET}x\", endpoints: [\"a:1\"] }\n"
        + "admin: { address: \"${SECRET}\" }\n";
    let errors = yaml(&text).unwrap_err();
    assert!(errors.problems.len() >= 11, "{errors}");
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
}

#[test]
fn an_unset_variable_is_one_error_at_its_place() {
    let text = site("- { cluster: app, timeout: \"1${NONE}\" }\n");
    let expect = "\
error: listeners[0].routes[0].timeout: set the environment variable `NONE`, or write a default: `${NONE:-default}`
 --> site:5:36
  |
5 |       - { cluster: app, timeout: \"1${NONE}\" }
  |                                    ^^^^^^^";
    assert_eq!(yaml(&text).unwrap_err().to_string(), expect);
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
fn names_and_addresses_are_taken_once() {
    let listener = |name: &str, address: &str| {
        format!("  - {{ name: {name}, address: \"{address}\", routes: [] }}\n")
    };
    let two = |a: (&str, &str), b: (&str, &str)| {
        format!("listeners:\n{}{}", listener(a.0, a.1), listener(b.0, b.1))
    };
    for (text, expect) in [
        (two(("a", "127.0.0.1:1"), ("a", "127.0.0.1:2")), "listeners[1].name: the listener name `a` is taken by listeners[0]"),
        (two(("a", "0.0.0.0:80"), ("b", "127.0.0.1:80")), "listeners[1].address: listeners[0] listens on this address"),
        (two(("a", "unix:/x"), ("b", "unix:/x")), "listeners[1].address: listeners[0]"),
        (
            "listeners: []\nclusters:\n  - { name: a, endpoints: [\"a:1\"] }\n  - { name: a, endpoints: [\"a:1\"] }\n".to_owned(),
            "clusters[1].name: the cluster name `a` is taken by clusters[0]",
        ),
        (
            "listeners: []\nroute_tables:\n  - { name: a, routes: [] }\n  - { name: a, routes: [] }\n".to_owned(),
            "route_tables[1].name: the route table name `a`",
        ),
        (
            format!("listeners:\n{}route_tables:\n  - {{ name: a, routes: [] }}\n", listener("a", "127.0.0.1:1")),
            "which is taken by route_tables[0]",
        ),
        (
            "listeners: []\nroute_tables:\n  - name: t\n    virtual_hosts:\n      - { name: x, domains: [a.org, \"*\"] }\n      - { name: x, domains: [b.org, A.org] }\n".to_owned(),
            "virtual_hosts[1].domains[1]: route_tables[0].virtual_hosts[0] answers for this domain already",
        ),
        (
            "listeners: []\nroute_tables:\n  - name: t\n    virtual_hosts:\n      - { name: x, domains: [a.org] }\n      - { name: x, domains: [b.org] }\n".to_owned(),
            "virtual_hosts[1].name: the virtual host name `x` is taken",
        ),
        (
            site("- { name: r, cluster: app, match: { path: /a } }\n- { name: r, cluster: app }\n"),
            "listeners[0].routes[1].name: the route name `r` is taken by listeners[0].routes[0]",
        ),
        (
            "listeners:\n  - { name: a, address: \"127.0.0.1:1\", routes: [] }\nadmin: { address: \"127.0.0.1:1\" }\n".to_owned(),
            "admin.address: listeners[0] listens",
        ),
        (
            "listeners:\n  - { name: a, address: \"127.0.0.1:1\", chains: [{ routes: [] }, { match: { source: [10.0.0.0/8] }, routes: [] }] }\n".to_owned(),
            "listeners[0].chains[1]: no connection comes to this chain",
        ),
    ] {
        let said = said(&text);
        assert!(said.iter().any(|line| line.contains(expect)), "{text}: {said:#?}");
    }
    yaml(&two(("a", "127.0.0.1:0"), ("b", "127.0.0.1:0"))).unwrap();
}

#[test]
fn domains_have_four_forms() {
    let domain = |text: &str| {
        let text = format!(
            "listeners: []\nroute_tables:\n  - name: t\n    virtual_hosts: [{{ domains: [\"{text}\"] }}]\n"
        );
        yaml(&text).map(|parsed| {
            let host = &parsed.config.route_tables[0].virtual_hosts[0];
            format!("{:?} {}", host.domains[0], host.name)
        })
    };
    for (text, expect) in [
        ("*", Some("Any *")),
        (
            "WWW.Example.com",
            Some("Exact(\"www.example.com\") www.example.com"),
        ),
        (
            "*.example.com",
            Some("Suffix(\".example.com\") *.example.com"),
        ),
        ("www.*", Some("Prefix(\"www.\") www.*")),
        ("[::1]", Some("Exact(\"[::1]\") [::1]")),
        ("example.com:80", None),
        ("*example.com", None),
        ("www*", None),
        ("a*b", None),
        ("*.a.*", None),
        ("", None),
        ("a b", None),
        ("*.", None),
    ] {
        assert_eq!(domain(text).ok().as_deref(), expect, "{text}");
    }
}

#[test]
fn unreachable_routes_are_errors_and_others_are_not() {
    let shadowed = |routes: &str| match yaml(&site(routes)) {
        Ok(_) => 0,
        Err(errors) => errors
            .problems
            .iter()
            .filter(|problem| problem.message.starts_with("no request comes"))
            .count(),
    };
    for (routes, expect) in [
        ("- cluster: app\n- cluster: other\n", 1),
        (
            "- { match: { prefix: / }, cluster: app }\n- { match: { path: /x }, cluster: app }\n",
            1,
        ),
        (
            "- { match: { prefix: /, method: GET }, cluster: app }\n- { match: { path: /x }, cluster: app }\n",
            0,
        ),
        (
            "- { match: { prefix: /, methods: [GET, PUT] }, cluster: app }\n- { match: { path: /x, method: PUT }, cluster: app }\n",
            1,
        ),
        (
            "- { match: { path: /x }, cluster: app }\n- { match: { path: /x }, cluster: app }\n",
            1,
        ),
        (
            "- { match: { path: /x, headers: [{ name: A, exact: b }] }, cluster: app }\n- { match: { path: /x, headers: [{ name: a, exact: b }, { name: c }] }, cluster: app }\n",
            1,
        ),
        (
            "- { match: { path: /x, headers: [{ name: a, exact: b }] }, cluster: app }\n- { match: { path: /x, headers: [{ name: a, exact: c }] }, cluster: app }\n",
            0,
        ),
        (
            "- { match: { path: /x, query: [{ name: a }] }, cluster: app }\n- { match: { path: /x }, cluster: app }\n",
            0,
        ),
        // A match that was not read as written proves nothing.
        (
            "- { match: { path: x }, cluster: app }\n- { match: { path: /x }, cluster: app }\n",
            0,
        ),
    ] {
        assert_eq!(shadowed(routes), expect, "{routes}");
    }
}

#[test]
fn a_public_admin_address_is_a_warning() {
    for (address, expect) in [
        ("0.0.0.0:9901", 1),
        ("127.0.0.1:9901", 0),
        ("\"[::1]:9901\"", 0),
        ("unix:/run/x", 0),
    ] {
        let text = format!("listeners: []\nadmin: {{ address: {address} }}\n");
        let parsed = yaml(&text).unwrap();
        assert_eq!(parsed.warnings.len(), expect, "{address}");
        let shown = parsed.spans.render_warnings(&parsed.warnings);
        assert_eq!(
            shown.starts_with("warning: admin.address: anyone"),
            expect == 1
        );
    }
}

#[test]
fn thousands_of_routes_are_read_in_no_time() {
    let routes: String = (0..5000)
        .map(|n| format!("- {{ match: {{ path: /p{n} }}, cluster: app }}\n"))
        .collect();
    let parsed = yaml(&site(&routes)).unwrap();
    assert_eq!(
        parsed.config.route_tables[0].virtual_hosts[0].routes.len(),
        5000
    );
    let Err(errors) = yaml(&site(&routes.replace("cluster", "clutser"))) else {
        panic!("should be refused");
    };
    let shown = errors.to_string();
    assert!(shown.ends_with("more") && shown.len() < 100_000);
}

#[test]
fn errors_of_the_build_come_with_those_of_the_file() {
    let text = "listeners:
  - name: web
    adress: 127.0.0.1:1
    address: 127.0.0.1:0
    filters: [{ headers: {} }]
    routes:
      - { match: { regex: a }, respond: { status: 2 } }
      - { match: { regex: b }, redirect: { host: x } }
clusters:
  - { name: up, endpoints: [x] }
";
    let found = paths_with(
        text,
        &[
            // Beside what is wrong already, through the alias of a flat listener's routes, and below its filter's name.
            "route_tables[0].virtual_hosts[0].routes[1].match.regex",
            "listeners[0].chains[0].filters[0].request",
            // What is wrong already, and a list that has lost an item.
            "route_tables[0].virtual_hosts[0].routes[0].respond.status",
            "clusters[0].endpoints[0].weight",
        ],
    );
    let built: Vec<&str> = found
        .iter()
        .map(String::as_str)
        .filter(|path| {
            path.contains("routes[1]") || path.contains("filters") || path.contains("weight")
        })
        .collect();
    assert_eq!(
        built,
        [
            "listeners[0].filters[0].headers.request",
            "listeners[0].routes[1].match.regex"
        ]
    );
    let status = found.iter().filter(|path| path.ends_with("status")).count();
    assert_eq!(status, 1, "{found:?}");
}
