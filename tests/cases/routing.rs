//! Requests go where the configuration says, and what is matched is what is forwarded.

use ringway_tests::{Driver, Origin, Proxy, both_drivers, site};

both_drivers! {
    the_first_matching_route_wins,
    matches_methods_fields_and_queries,
    the_most_particular_host_wins,
    several_listeners_share_a_route_table,
    weights_share_out_requests,
    endpoint_weights_share_out_connections,
    round_robin_takes_hosts_in_turn,
    rewrites_path_and_host,
    redirects,
    responds_by_itself,
    changes_fields_both_ways,
    what_is_matched_is_forwarded,
    refuses_paths_that_two_parsers_read_differently,
    merges_slashes_where_told,
    absolute_targets_name_the_host,
    chains_are_chosen_by_source,
    no_route_is_404,
}

fn the_first_matching_route_wins(driver: Driver) {
    let proxy = Proxy::start(
        driver,
        &site(
            r#"
            - { match: { path: /exact }, respond: { status: 200, body: exact } }
            - { match: { prefix: /api/v2/ }, respond: { status: 200, body: v2 } }
            - { match: { prefix: /api }, respond: { status: 200, body: api } }
            - { match: { starts_with: /st }, respond: { status: 200, body: starts } }
            - { match: { regex: "/r/[0-9]+" }, respond: { status: 200, body: regex } }
            - { match: { prefix: /q, query: [{ name: a, exact: "1" }] }, respond: { status: 200, body: query } }
            - { match: { prefix: / }, respond: { status: 200, body: rest } }
            "#,
            &[],
        )
        .replace("clusters:\n", ""),
    );
    let mut client = proxy.client();
    for (path, body) in [
        ("/exact", "exact"),
        ("/exact?x", "exact"),
        ("/exact/", "rest"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/v2", "v2"),
        ("/api/v2/x", "v2"),
        ("/api/v20", "api"),
        ("/apix", "rest"),
        ("/stuff", "starts"),
        ("/r/12", "regex"),
        ("/r/12x", "rest"),
        ("/x/r/12", "rest"),
        ("/q?a=1", "query"),
        ("/q?b=2&a=1", "query"),
        ("/q?a=2", "rest"),
        ("/", "rest"),
    ] {
        assert_eq!(client.get(path).text(), body, "{path}");
    }
}

fn matches_methods_fields_and_queries(driver: Driver) {
    let proxy = Proxy::start(
        driver,
        &site(
            r#"
            - { match: { prefix: /, method: DELETE }, respond: { status: 200, body: delete } }
            - { match: { prefix: /, headers: [{ name: X-A, exact: one }] }, respond: { status: 200, body: exact } }
            - { match: { prefix: /, headers: [{ name: X-A, prefix: tw }] }, respond: { status: 200, body: prefix } }
            - { match: { prefix: /, headers: [{ name: X-A, suffix: ee }] }, respond: { status: 200, body: suffix } }
            - { match: { prefix: /, headers: [{ name: X-A, regex: "f.*r" }] }, respond: { status: 200, body: regex } }
            - { match: { prefix: /, headers: [{ name: X-B, present: true }] }, respond: { status: 200, body: present } }
            - { match: { prefix: /, query: [{ name: q, present: true }, { name: z, absent: true }] }, respond: { status: 200, body: q } }
            - { match: { prefix: /, headers: [{ name: X-C, exact: no, invert: true }] }, respond: { status: 200, body: invert } }
            - { match: { prefix: / }, respond: { status: 200, body: rest } }
            "#,
            &[],
        )
        .replace("clusters:\n", ""),
    );
    let mut client = proxy.client();
    for (method, path, field, body) in [
        ("DELETE", "/", "X-A: one", "delete"),
        ("GET", "/", "x-a: one", "exact"),
        ("GET", "/", "X-A: two", "prefix"),
        ("GET", "/", "X-A: three", "suffix"),
        ("GET", "/", "X-A: four", "regex"),
        ("GET", "/", "X-B: ", "present"),
        ("GET", "/?q", "X-C: no", "q"),
        ("GET", "/?q&z=1", "X-C: no", "rest"),
        ("GET", "/", "X-C: yes", "invert"),
    ] {
        let answer = client.ask(&format!(
            "{method} {path} HTTP/1.1\r\nHost: t\r\n{field}\r\n\r\n"
        ));
        assert_eq!(answer.text(), body, "{method} {path} {field}");
    }
}

const HOSTS: &str = r#"
listeners:
  - name: web
    address: 127.0.0.1:0
    virtual_hosts:
      - { name: any, domains: ["*"], routes: [{ match: { prefix: / }, respond: { status: 200, body: any } }] }
      - { name: prefix, domains: ["www.*"], routes: [{ match: { prefix: / }, respond: { status: 200, body: prefix } }] }
      - { name: suffix, domains: ["*.example.com"], routes: [{ match: { prefix: / }, respond: { status: 200, body: suffix } }] }
      - { name: longer, domains: ["*.eu.example.com"], routes: [{ match: { prefix: / }, respond: { status: 200, body: longer } }] }
      - { name: exact, domains: [www.example.com], routes: [{ match: { prefix: / }, respond: { status: 200, body: exact } }] }
"#;

fn the_most_particular_host_wins(driver: Driver) {
    let proxy = Proxy::start(driver, HOSTS);
    let mut client = proxy.client();
    for (host, body) in [
        ("www.example.com", "exact"),
        ("WWW.Example.COM:8080", "exact"),
        ("a.example.com", "suffix"),
        ("a.eu.example.com", "longer"),
        ("www.example.org", "prefix"),
        ("example.com", "any"),
        ("[::1]:80", "any"),
    ] {
        let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.text(), body, "{host}");
    }
}

fn several_listeners_share_a_route_table(driver: Driver) {
    let proxy = Proxy::start(
        driver,
        r#"
listeners:
  - { name: web, address: 127.0.0.1:0, route_table: shared }
  - { name: other, address: 127.0.0.1:0, route_table: shared }
route_tables:
  - name: shared
    virtual_hosts:
      - { name: all, domains: ["*"], routes: [{ match: { prefix: / }, respond: { status: 200, body: shared } }] }
"#,
    );
    for listener in ["web", "other"] {
        let mut client = ringway_tests::Client::connect(proxy.addr(listener));
        assert_eq!(client.get("/").text(), "shared");
    }
}

fn weights_share_out_requests(driver: Driver) {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let routes = "- { match: { prefix: / }, cluster: { one: 90, two: 10 } }";
    let proxy = Proxy::start(
        driver,
        &site(routes, &[("one", &[one.addr()]), ("two", &[two.addr()])]),
    );
    let mut client = proxy.client();
    for _ in 0..500 {
        assert_eq!(client.get("/").status, 200);
    }
    let ones = one.seen().len();
    assert!(
        (405..=485).contains(&ones),
        "{ones} of 500 where 450 are expected"
    );
    assert_eq!(ones + two.seen().len(), 500);
}

fn endpoint_weights_share_out_connections(driver: Driver) {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let config = format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, cluster: up }}] }}\n\
         clusters:\n  - {{ name: up, balance: round_robin, endpoints: [\"{}\", {{ address: \"{}\", weight: 3 }}] }}\n",
        one.addr(),
        two.addr()
    );
    let proxy = Proxy::start(driver, &config);
    let mut client = proxy.client();
    for _ in 0..40 {
        client.get("/");
    }
    assert_eq!((one.seen().len(), two.seen().len()), (10, 30));
}

fn round_robin_takes_hosts_in_turn(driver: Driver) {
    let origins = [Origin::start("a"), Origin::start("b"), Origin::start("c")];
    let proxy = Proxy::to(driver, &origins.each_ref().map(Origin::addr));
    let mut client = proxy.client();
    let names: Vec<String> = (0..9).map(|_| client.get("/").text()).collect();
    for window in names.windows(3) {
        let mut sorted = window.to_vec();
        sorted.sort();
        assert_eq!(sorted, ["a", "b", "c"], "{names:?}");
    }
}

fn rewrites_path_and_host(driver: Driver) {
    let origin = Origin::start("a");
    let routes = r#"
        - { match: { prefix: /api/ }, cluster: up, rewrite: { prefix: / } }
        - { match: { prefix: /old }, cluster: up, rewrite: { prefix: /new/place } }
        - { match: { starts_with: /re }, cluster: up, rewrite: { regex: { pattern: "^/re/([a-z]+)/(.*)$", substitution: "/$2/$1" } } }
        - { match: { prefix: / }, cluster: up, rewrite: { host: inner.test } }
    "#;
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[origin.addr()])]));
    let mut client = proxy.client();
    for (n, (path, target, host)) in [
        ("/api/x?q=1", "/x?q=1", "test.example"),
        ("/api", "/", "test.example"),
        ("/old/a", "/new/place/a", "test.example"),
        ("/old?q", "/new/place?q", "test.example"),
        ("/re/a/b/c?q", "/b/c/a?q", "test.example"),
        ("/else", "/else", "inner.test"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(client.get(path).status, 200, "{path}");
        let seen = origin.nth(n + 1);
        assert_eq!(
            (seen.target.as_str(), seen.get("host")),
            (target, Some(host)),
            "{path}"
        );
    }
}

fn redirects(driver: Driver) {
    let routes = r#"
        - { match: { prefix: /tls }, redirect: { scheme: https, code: 301 } }
        - { match: { prefix: /host }, redirect: { host: "other.test:81", strip_query: true } }
        - { match: { path: /full }, redirect: { path: /all/else, code: 308 } }
        - { match: { prefix: /pre }, redirect: { prefix: /post, code: 307 } }
    "#;
    let proxy = Proxy::start(driver, &site(routes, &[]).replace("clusters:\n", ""));
    let mut client = proxy.client();
    for (path, code, location) in [
        ("/tls/x?q=1", 301, "https://test.example/tls/x?q=1"),
        ("/host/x?q=1", 302, "http://other.test:81/host/x"),
        ("/full?q=1", 308, "http://test.example/all/else?q=1"),
        ("/pre/x", 307, "http://test.example/post/x"),
    ] {
        let answer = client.get(path);
        assert_eq!(
            (answer.status, answer.get("location")),
            (code, Some(location)),
            "{path}"
        );
    }
}

fn responds_by_itself(driver: Driver) {
    let routes = r#"
        - { match: { path: /healthz }, respond: { status: 200, body: "ok\n" } }
        - { match: { path: /json }, respond: { status: 418, body: "{}", content_type: application/json } }
        - { match: { path: /none }, respond: { status: 204 } }
    "#;
    let proxy = Proxy::start(driver, &site(routes, &[]).replace("clusters:\n", ""));
    let mut client = proxy.client();
    let answer = client.get("/healthz");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
    assert!(
        answer
            .get("content-type")
            .is_some_and(|value| value.starts_with("text/plain"))
    );
    assert!(
        answer.get("date").is_some(),
        "RFC 9110 §6.6.1: an origin with a clock says the date"
    );
    let answer = client.get("/json");
    assert_eq!(
        (answer.status, answer.get("content-type")),
        (418, Some("application/json"))
    );
    assert_eq!(client.get("/none").status, 204);
    let answer = client.ask("HEAD /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(
        (answer.status, answer.get("content-length")),
        (200, Some("3"))
    );
    // A body of the client's is no request of its own.
    let inner = "GET /json HTTP/1.1\r\nHost: t\r\n\r\n";
    assert_eq!(client.post("/healthz", inner).status, 200);
    assert_eq!(client.get("/none").status, 204);
}

fn changes_fields_both_ways(driver: Driver) {
    let origin = Origin::start("a");
    let routes = "- { match: { prefix: / }, cluster: up, \
        request_headers: { remove: [X-Gone], set: { X-Set: new }, add: { X-Add: two } }, \
        response_headers: { remove: [X-Origin], set: { Server: ringway }, add: { X-More: yes } } }";
    let proxy = Proxy::start(
        driver,
        &site(
            &routes.replace("yes", "\"yes\""),
            &[("up", &[origin.addr()])],
        ),
    );
    let answer = proxy
        .client()
        .ask("GET / HTTP/1.1\r\nHost: t\r\nX-Gone: 1\r\nX-Set: old\r\nX-Set: older\r\nX-Add: one\r\n\r\n");
    assert_eq!(
        (
            answer.get("x-origin"),
            answer.get("server"),
            answer.get("x-more")
        ),
        (None, Some("ringway"), Some("yes"))
    );
    let seen = origin.only();
    assert_eq!((seen.get("x-gone"), seen.get("x-set")), (None, Some("new")));
    assert_eq!(seen.head.all("x-add"), ["one", "two"]);
}

const GUARDED: &str = r#"
    - { match: { prefix: /admin }, respond: { status: 403 } }
    - { match: { prefix: / }, cluster: up }
"#;

fn what_is_matched_is_forwarded(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::start(driver, &site(GUARDED, &[("up", &[origin.addr()])]));
    let mut client = proxy.client();
    for path in [
        "/admin",
        "/x/../admin",
        "/./admin",
        "/%61dmin",
        "/%2e/admin",
        "/x/%2e%2e/admin",
        "/x/%2E%2E/%61dmin/y",
        "/x/..;/../admin",
    ] {
        let answer = client.get(path);
        assert!(
            [400, 403].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
    for (n, (path, target)) in [
        ("/a/b/../c", "/a/c"),
        ("/%7euser/%41?x=%2f", "/~user/A?x=%2f"),
        ("/a/./b/", "/a/b/"),
        ("/a%20b", "/a%20b"),
        ("/a/..", "/"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(client.get(path).status, 200, "{path}");
        assert_eq!(origin.nth(n + 1).target, target, "{path}");
    }
}

fn refuses_paths_that_two_parsers_read_differently(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::start(driver, &site(GUARDED, &[("up", &[origin.addr()])]));
    for path in [
        "/a%2fb",
        "/a%2Fadmin",
        "/a%5cb",
        "/a\\b",
        "/a%00",
        "/a%23b",
        "/a%",
        "/a%zz",
        "/a#b",
    ] {
        let mut client = proxy.client();
        let answer = client
            .try_ask(&format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"))
            .unwrap();
        assert_eq!(answer.status, 400, "{path}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn merges_slashes_where_told(driver: Driver) {
    let origin = Origin::start("a");
    let config = site(GUARDED, &[("up", &[origin.addr()])]);
    let merging = config.replace("    routes:", "    merge_slashes: true\n    routes:");
    let proxy = Proxy::start(driver, &merging);
    let mut client = proxy.client();
    assert_eq!(client.get("//admin").status, 403);
    assert_eq!(client.get("/a//b///c").status, 200);
    assert_eq!(origin.only().target, "/a/b/c");
    let proxy = Proxy::start(driver, &config);
    assert_eq!(proxy.client().get("/a//b").status, 200);
    assert_eq!(origin.nth(2).target, "/a//b");
}

fn absolute_targets_name_the_host(driver: Driver) {
    let proxy = Proxy::start(driver, HOSTS);
    let mut client = proxy.client();
    let answer =
        client.ask("GET http://www.example.com/x HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    assert_eq!(answer.text(), "exact");
}

fn chains_are_chosen_by_source(driver: Driver) {
    let proxy = Proxy::start(
        driver,
        r#"
listeners:
  - name: web
    address: 127.0.0.1:0
    chains:
      - match: { source: [10.0.0.0/8] }
        routes: [{ match: { prefix: / }, respond: { status: 200, body: ten } }]
      - match: { source: [127.0.0.0/8], destination: [127.0.0.1/32] }
        routes: [{ match: { prefix: / }, respond: { status: 200, body: loopback } }]
"#,
    );
    assert_eq!(proxy.client().get("/").text(), "loopback");
}

fn no_route_is_404(driver: Driver) {
    let routes = "- { match: { path: /only }, respond: { status: 200 } }";
    let proxy = Proxy::start(driver, &site(routes, &[]).replace("clusters:\n", ""));
    let mut client = proxy.client();
    assert_eq!(client.get("/else").status, 404);
    assert_eq!(client.get("/only").status, 200);
}
