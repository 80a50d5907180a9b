//! What an operator reads when something is wrong: how it is said, and what concerns several parts at once.

use super::{Format, paths_with, read, said, site, yaml};

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
fn what_no_cluster_heeds_is_a_warning() {
    let keys = "hash: HASH, metadata_match: { version: v2 }";
    let route = format!("routes: [{{ match: {{ prefix: / }}, cluster: app, {keys} }}]");
    let route = route.replace("HASH", "[{ header: x-user }]");
    let tcp = format!("tcp: {{ cluster: app, {keys} }}").replace("HASH", "source");
    for (service, at) in [
        (route.as_str(), "listeners[0].routes[0]"),
        (tcp.as_str(), "listeners[0].tcp"),
    ] {
        for (cluster, keys) in [
            ("", &["hash", "metadata_match"][..]),
            ("balance: maglev,", &["metadata_match"]),
            ("subsets: { selectors: [[version]] },", &["hash"]),
            (
                "balance: ring_hash, subsets: { selectors: [[version]] },",
                &[],
            ),
        ] {
            let text = format!(
                "listeners:\n- {{ name: a, address: 127.0.0.1:1, {service} }}\nclusters:\n- {{ name: app, {cluster} endpoints: [127.0.0.1:2] }}\n"
            );
            let parsed = yaml(&text).unwrap();
            let paths: Vec<_> = parsed.warnings.iter().map(|one| &one.path).collect();
            let expect: Vec<_> = keys.iter().map(|key| format!("{at}.{key}")).collect();
            assert_eq!(paths, expect.iter().collect::<Vec<_>>(), "{text}");
        }
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
