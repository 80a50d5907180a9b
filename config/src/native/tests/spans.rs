//! Paths of the model lead to the lines of the file, whichever form the file has.

use super::yaml;
use crate::PathError;

const SITE: &str = "\
route_tables:
  - name: shared
    routes:
      - { cluster: app }
listeners:
  - name: flat
    address: 127.0.0.1:0
    access_log: [{ stdout: true, format: x }]
    filters: [{ headers: { request: { set: { a: b } } } }]
    routes:
      - { match: { regex: first }, cluster: app }
  - name: long
    address: 127.0.0.1:0
    chains:
      - match: { source: [10.0.0.0/8] }
        route_table: shared
      - virtual_hosts:
          - domains: [x.org]
            routes:
              - { match: { regex: second }, cluster: app, filters: [mine: { b: c }] }
clusters:
  - { name: app, endpoints: [\"127.0.0.1:1\"] }
";

#[test]
fn paths_of_the_model_find_their_place_in_the_file() {
    let parsed = yaml(SITE).unwrap();
    let tables: Vec<_> = parsed
        .config
        .route_tables
        .iter()
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(tables, ["shared", "flat", "long#2"]);
    for (path, expect) in [
        ("route_tables[0].virtual_hosts[0].routes[0].cluster", "app"),
        (
            "route_tables[1].virtual_hosts[0].routes[0].match.regex",
            "first",
        ),
        (
            "route_tables[2].virtual_hosts[0].routes[0].match.regex",
            "second",
        ),
        ("route_tables[2].virtual_hosts[0].domains[0]", "x.org"),
        ("listeners[0].access_logs[0].format", "x"),
        ("listeners[0].chains[0].filters[0].request.set.a", "b"),
        (
            "route_tables[2].virtual_hosts[0].routes[0].filters[0].b",
            "c",
        ),
        ("listeners[1].chains[0].match.source[0]", "10.0.0.0/8"),
        (
            "listeners[1].chains[0].routes",
            "match: { source: [10.0.0.0/8] }",
        ),
    ] {
        let span = parsed.spans.span(path);
        let line = SITE[span.clone()].lines().next().unwrap();
        assert_eq!(line, expect, "{path}");
    }
}

#[test]
fn errors_of_a_snapshot_are_shown_at_their_lines() {
    let parsed = yaml(SITE).unwrap();
    let errors = parsed.spans.errors(vec![
        PathError::new(
            "route_tables[2].virtual_hosts[0].routes[0].match.regex",
            "b",
        ),
        PathError::new(
            "route_tables[1].virtual_hosts[0].routes[0].match.regex",
            "a",
        ),
    ]);
    let expect = "\
error: listeners[0].routes[0].match.regex: a
  --> site:11:27
   |
11 |       - { match: { regex: first }, cluster: app }
   |                           ^^^^^

error: listeners[1].chains[1].virtual_hosts[0].routes[0].match.regex: b
  --> site:20:35
   |
20 |               - { match: { regex: second }, cluster: app, filters: [mine: { b: c }] }
   |                                   ^^^^^^";
    assert_eq!(errors.to_string(), expect);
}
