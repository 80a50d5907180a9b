//! Routes as they are found, beside a search that asks every route in turn.

use std::collections::HashMap;

use ringway_config::{
    Domain, HeaderOps as Ops, Pattern, Respond, RouteMatch, ValueMatch, ValueTest, VirtualHost,
    WeightedCluster,
};

use super::*;
use crate::request::sample;
use crate::rng::Rng;

fn route(matches: RouteMatch) -> config::Route {
    config::Route {
        name: None,
        matches,
        action: config::Action::Respond(Respond {
            status: 200,
            body: String::new(),
            content_type: None,
        }),
        request_headers: Ops::default(),
        response_headers: Ops::default(),
        filters: Vec::new(),
    }
}

fn by_path(path: PathMatch) -> RouteMatch {
    RouteMatch {
        path,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        rpc: Vec::new(),
    }
}

fn table(hosts: Vec<(Vec<Domain>, Vec<config::Route>)>) -> RouteTable {
    RouteTable {
        name: Name::new("t"),
        path_normalize: PathNormalize::Strict,
        merge_slashes: false,
        virtual_hosts: hosts
            .into_iter()
            .map(|(domains, routes)| VirtualHost {
                name: Name::new("v"),
                domains,
                routes,
            })
            .collect(),
    }
}

/// A router with one virtual host whose routes match so.
fn router(matches: Vec<RouteMatch>) -> Router {
    let routes = matches.into_iter().map(route).collect();
    Router::build(&table(vec![(vec![Domain::Any], routes)])).unwrap()
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.to_owned())
}
fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.to_owned())
}
fn starts_with(path: &str) -> PathMatch {
    PathMatch::StartsWith(path.to_owned())
}
fn regex(pattern: &str) -> PathMatch {
    PathMatch::Regex(Pattern(pattern.to_owned()))
}

fn found(router: &Router, head: &RequestHead) -> Option<u32> {
    router.find(head).map(|found| found.route.index)
}

fn check_path(path: PathMatch, cases: &[(&str, bool)]) {
    let router = router(vec![by_path(path.clone())]);
    for (target, expect) in cases {
        let got = found(&router, &sample("GET", target, &[]).head);
        assert_eq!(got.is_some(), *expect, "{path:?} {target}");
    }
}

#[test]
fn paths_match_as_they_say() {
    let segments = [
        ("/foo", true),
        ("/foo/", true),
        ("/foo/bar?x", true),
        ("/foobar", false),
        ("/fo", false),
        ("/", false),
    ];
    check_path(prefix("/foo"), &segments);
    check_path(prefix("/foo/"), &segments);
    check_path(
        prefix("/"),
        &[("/", true), ("/x", true), ("*", true), ("//x", true)],
    );
    check_path(
        exact("/foo"),
        &[
            ("/foo", true),
            ("/foo?a=/b", true),
            ("/foo/", false),
            ("/fo", false),
            ("*", false),
        ],
    );
    check_path(
        starts_with("/foo"),
        &[
            ("/foo", true),
            ("/foobar", true),
            ("/fo", false),
            ("*", false),
        ],
    );
    check_path(
        starts_with("/a/.h"),
        &[("/a/.htaccess", true), ("/a/b", false)],
    );
    check_path(
        regex("/u/[0-9]+"),
        &[
            ("/u/12", true),
            ("/u/12?x", true),
            ("/u/", false),
            ("/u/1/", false),
            ("/x/u/1", false),
            ("/u/1x", false),
        ],
    );
}

#[test]
fn the_first_match_wins() {
    let router = router(vec![
        by_path(exact("/a/b")),
        by_path(regex("/a/[a-z]")),
        by_path(prefix("/a")),
        by_path(exact("/a/c")),
        by_path(starts_with("/aa")),
        by_path(prefix("/")),
    ]);
    for (target, expect) in [
        ("/a/b", 0),
        ("/a/c", 1),
        ("/a/cc", 2),
        ("/a", 2),
        ("/aab", 4),
        ("/ab", 5),
        ("/", 5),
        ("*", 5),
    ] {
        assert_eq!(
            found(&router, &sample("GET", target, &[]).head),
            Some(expect),
            "{target}"
        );
    }
}

#[test]
fn methods_are_case_sensitive_tokens() {
    let methods = vec!["GET".to_owned(), "PURGE".to_owned()];
    let router = router(vec![RouteMatch {
        methods,
        ..by_path(prefix("/"))
    }]);
    for (method, expect) in [
        ("GET", true),
        ("PURGE", true),
        ("get", false),
        ("HEAD", false),
        ("purge", false),
    ] {
        assert_eq!(
            found(&router, &sample(method, "/", &[]).head).is_some(),
            expect,
            "{method}"
        );
    }
}

/// A test, and what lines of values meet it.
type Case = (ValueTest, &'static [(&'static [&'static str], bool)]);

fn tests_of_values() -> [Case; 6] {
    let text = str::to_owned;
    [
        (
            ValueTest::Exact(text("a b")),
            &[
                (&["a b"], true),
                (&["a"], false),
                (&[], false),
                (&["x", "a b"], true),
            ],
        ),
        (
            ValueTest::Prefix(text("a")),
            &[
                (&["ab"], true),
                (&["ba"], false),
                (&[], false),
                (&["x", "ab"], true),
            ],
        ),
        (
            ValueTest::Suffix(text("a")),
            &[(&["ba"], true), (&["ab"], false), (&[], false)],
        ),
        (
            ValueTest::Regex(Pattern(text("[ab]+"))),
            &[(&["abba"], true), (&["abc"], false), (&[], false)],
        ),
        (
            ValueTest::Present,
            &[(&["x"], true), (&[""], true), (&[], false)],
        ),
        (
            ValueTest::Absent,
            &[(&["x"], false), (&[""], false), (&[], true)],
        ),
    ]
}

#[test]
fn any_line_of_a_field_may_match() {
    for (test, cases) in tests_of_values() {
        for invert in [false, true] {
            let headers = vec![ValueMatch {
                name: "x-a".to_owned(),
                test: test.clone(),
                invert,
            }];
            let router = router(vec![RouteMatch {
                headers,
                ..by_path(prefix("/"))
            }]);
            for (values, expect) in cases {
                let fields: Vec<(&str, &str)> = [("X-B", "abc"), ("x", "ab")]
                    .into_iter()
                    .chain(values.iter().map(|value| ("X-A", *value)))
                    .collect();
                let got = found(&router, &sample("GET", "/", &fields).head).is_some();
                assert_eq!(got, *expect != invert, "{test:?} {invert} {values:?}");
            }
        }
    }
}

#[test]
fn any_parameter_of_a_name_may_match() {
    for (test, cases) in tests_of_values() {
        for invert in [false, true] {
            let query = vec![ValueMatch {
                name: "k y".to_owned(),
                test: test.clone(),
                invert,
            }];
            let router = router(vec![RouteMatch {
                query,
                ..by_path(prefix("/"))
            }]);
            for (values, expect) in cases {
                let pairs: String = values
                    .iter()
                    .map(|value| format!("&k+y={}", value.replace(' ', "%20")))
                    .collect();
                let got = found(
                    &router,
                    &sample("GET", &format!("/?z=a b{pairs}"), &[]).head,
                )
                .is_some();
                assert_eq!(got, *expect != invert, "{test:?} {invert} {pairs}");
            }
        }
    }
}

#[test]
fn parameters_are_decoded_before_they_are_compared() {
    let query = vec![ValueMatch {
        name: "k".to_owned(),
        test: ValueTest::Exact("a b%".to_owned()),
        invert: false,
    }];
    let router = router(vec![RouteMatch {
        query,
        ..by_path(prefix("/"))
    }]);
    for (target, expect) in [
        ("/?k=a+b%25", true),
        ("/?%6b=%61%20b%", true),
        ("/?x&k=a+b%25&y", true),
        ("/?k=a%2bb%25", false),
        ("/?k", false),
        ("/?", false),
        ("/", false),
        ("/?k=a+b%25x", false),
        ("/?kk=a+b%25", false),
    ] {
        assert_eq!(
            found(&router, &sample("GET", target, &[]).head).is_some(),
            expect,
            "{target}"
        );
    }
}

#[test]
fn a_test_of_host_asks_the_authority() {
    let headers = vec![ValueMatch {
        name: "host".to_owned(),
        test: ValueTest::Suffix(".test".to_owned()),
        invert: false,
    }];
    let router = router(vec![RouteMatch {
        headers,
        ..by_path(prefix("/"))
    }]);
    assert_eq!(found(&router, &sample("GET", "/", &[]).head), Some(0));
}

#[test]
fn all_errors_are_told_with_their_places() {
    let value = |pattern: &str| ValueMatch {
        name: "a".to_owned(),
        test: ValueTest::Regex(Pattern(pattern.to_owned())),
        invert: false,
    };
    let mut wrong = route(RouteMatch {
        headers: vec![value("a"), value("(")],
        query: vec![value("[")],
        ..by_path(regex("*"))
    });
    wrong
        .request_headers
        .set
        .push(("host".to_owned(), "x".to_owned()));
    wrong.action = config::Action::Forward(Box::new(config::Forward {
        rewrite: config::Rewrite {
            path: Some(config::PathRewrite::Prefix("/".to_owned())),
            host: Some("a b".to_owned()),
        },
        ..config::Forward::default()
    }));
    let dead =
        ["/a/../b", "/caf%c3%a9", "/a%2Fb", "/a?b", "/é"].map(|path| route(by_path(exact(path))));
    let table = table(vec![
        (vec![Domain::Any], vec![wrong]),
        (vec![Domain::Any], dead.to_vec()),
    ]);
    let errors = Router::build(&table).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| &*error.path).collect();
    assert_eq!(
        paths,
        [
            "virtual_hosts[1].domains[0]",
            "virtual_hosts[0].routes[0].match.regex",
            "virtual_hosts[0].routes[0].match.headers[1].regex",
            "virtual_hosts[0].routes[0].match.query[0].regex",
            "virtual_hosts[0].routes[0].cluster",
            "virtual_hosts[0].routes[0].rewrite.prefix",
            "virtual_hosts[0].routes[0].rewrite.host",
            "virtual_hosts[0].routes[0].request_headers.set.host",
            "virtual_hosts[1].routes[0].match.path",
            "virtual_hosts[1].routes[1].match.path",
            "virtual_hosts[1].routes[2].match.path",
            "virtual_hosts[1].routes[3].match.path",
            "virtual_hosts[1].routes[4].match.path",
        ]
    );
    assert_eq!(
        errors[8].message,
        "no request has this path once it is normalized; write `/b`"
    );
    assert_eq!(
        errors[9].message,
        "no request has this path once it is normalized; write `/caf%C3%A9`"
    );
}

#[test]
fn what_is_found_says_where_it_goes() {
    let forward = config::Forward {
        clusters: ["b", "a"]
            .map(|name| WeightedCluster {
                cluster: Name::new(name),
                weight: 1,
            })
            .to_vec(),
        rewrite: config::Rewrite {
            path: Some(config::PathRewrite::Prefix("/v2/".to_owned())),
            host: Some("b.test".to_owned()),
        },
        ..config::Forward::default()
    };
    let mut first = route(by_path(prefix("/api/")));
    first.name = Some(Name::new("api"));
    first.action = config::Action::Forward(Box::new(forward));
    let mut second = route(by_path(prefix("/")));
    second.action = config::Action::Redirect(config::Redirect {
        scheme: Some("https".to_owned()),
        host: None,
        path: None,
        code: 308,
        strip_query: false,
    });
    let router = Router::build(&table(vec![(vec![Domain::Any], vec![first, second])]))
        .unwrap()
        .for_core();
    assert_eq!(router.clusters(), [Name::new("b"), Name::new("a")]);

    let head = sample("GET", "/api/x?y", &[]).head;
    let found = router.find(&head).unwrap();
    assert_eq!(
        (
            found.route.name.as_ref().unwrap().as_str(),
            &*found.route.place
        ),
        ("api", "virtual_hosts[0].routes[0]")
    );
    assert_eq!(
        found.rewrite(&head.target),
        Ok(Some(Bytes::from("/v2/x?y")))
    );
    assert!(found.redirect(&head, "http").is_none());
    let Action::Forward(forward) = &found.route.action else {
        panic!("no forward")
    };
    assert_eq!(
        forward.clusters.choose(u64::MAX),
        &ClusterRef {
            index: 1,
            name: Name::new("a")
        }
    );
    assert_eq!(forward.host.as_deref(), Some(&b"b.test"[..]));

    let head = sample("GET", "/x?y", &[]).head;
    let found = router.find(&head).unwrap();
    let reply = found.redirect(&head, "http").unwrap();
    assert_eq!(
        (reply.status, reply.fields.get(b"location")),
        (308, Some(&b"https://a.test/x?y"[..]))
    );
    assert_eq!(found.rewrite(&head.target), Ok(None));
}

/// Asks every domain and every route, as the configuration's own comments say it.
fn naive(
    table: &RouteTable,
    whole: &HashMap<&str, ::regex::Regex>,
    head: &RequestHead,
) -> Option<u32> {
    let authority = std::str::from_utf8(&head.authority).unwrap().to_lowercase();
    let host = authority.split(':').next().unwrap_or_default();
    let rank = |domain: &Domain| match domain {
        Domain::Exact(text) => (text == host).then_some((3, text.len())),
        Domain::Suffix(text) => {
            (host.len() > text.len() && host.ends_with(&**text)).then_some((2, text.len()))
        }
        Domain::Prefix(text) => {
            (host.len() > text.len() && host.starts_with(&**text)).then_some((1, text.len()))
        }
        Domain::Any => Some((0, 0)),
    };
    let best = |host: &VirtualHost| host.domains.iter().filter_map(rank).max();
    let (at, chosen) = table
        .virtual_hosts
        .iter()
        .enumerate()
        .filter(|(_, host)| best(host).is_some())
        .max_by_key(|(_, host)| best(host))?;
    let before: usize = table.virtual_hosts[..at]
        .iter()
        .map(|host| host.routes.len())
        .sum();
    let path = std::str::from_utf8(head.path()).unwrap();
    let takes = |route: &config::Route| {
        let takes_path = match &route.matches.path {
            PathMatch::Exact(text) => path == text,
            PathMatch::StartsWith(text) => path.starts_with(&**text),
            PathMatch::Prefix(text) => {
                let segments =
                    |text: &str| -> Vec<String> { text.split('/').map(str::to_owned).collect() };
                let wanted = segments(text.strip_suffix('/').unwrap_or(text));
                segments(path).starts_with(&wanted)
            }
            // Every pattern is compiled once: the test asks it a hundred thousand times.
            PathMatch::Regex(pattern) => whole[pattern.0.as_str()].is_match(path),
        };
        let methods = &route.matches.methods;
        takes_path
            && (methods.is_empty()
                || methods
                    .iter()
                    .any(|method| method.as_bytes() == head.method.as_bytes()))
    };
    chosen
        .routes
        .iter()
        .position(takes)
        .map(|route| (before + route) as u32)
}

fn pick<T: Copy>(rng: &Rng, list: &[T]) -> T {
    list[rng.below(list.len() as u64) as usize]
}

fn random_path(rng: &Rng) -> String {
    let segments = ["a", "b", "aa", "ab", "a.b", "1", ""];
    (0..=rng.below(3))
        .map(|_| format!("/{}", pick(rng, &segments)))
        .collect()
}

const PATTERNS: [&str; 6] = ["/a/[ab]+", "/(a|b)/.*", "/.*1", "/ab?", "(?i)/A/.*", ".*"];

fn random_match(rng: &Rng) -> RouteMatch {
    let path = match rng.below(4) {
        0 => PathMatch::Exact(random_path(rng)),
        1 => PathMatch::Prefix(random_path(rng)),
        2 => PathMatch::StartsWith(random_path(rng)),
        _ => regex(pick(rng, &PATTERNS)),
    };
    let methods = if rng.below(3) == 0 {
        vec!["POST".to_owned()]
    } else {
        Vec::new()
    };
    RouteMatch {
        methods,
        ..by_path(path)
    }
}

#[test]
fn finds_what_asking_everyone_finds() {
    let rng = Rng::new(2024);
    let whole = PATTERNS.map(|pattern| {
        (
            pattern,
            ::regex::Regex::new(&format!("^(?:{pattern})$")).unwrap(),
        )
    });
    let whole = HashMap::from(whole);
    let names = ["a.test", "b.a.test", "c.b.a.test", "a.org", "test"];
    for _ in 0..150 {
        let mut seen = Vec::new();
        let hosts = (0..=rng.below(4)).map(|_| {
            let domains = (0..=rng.below(2)).map(|_| match rng.below(4) {
                0 => Domain::Exact(pick(&rng, &names).to_owned()),
                1 => Domain::Suffix(pick(&rng, &[".test", ".a.test", "a.test"]).to_owned()),
                2 => Domain::Prefix(pick(&rng, &["a.", "b.", "b.a."]).to_owned()),
                _ => Domain::Any,
            });
            let fresh: Vec<Domain> = domains.filter(|domain| !seen.contains(domain)).collect();
            let mut kept: Vec<Domain> = Vec::new();
            for domain in fresh {
                if !kept.contains(&domain) {
                    kept.push(domain);
                }
            }
            seen.extend(kept.iter().cloned());
            (
                kept,
                (0..rng.below(30))
                    .map(|_| route(random_match(&rng)))
                    .collect(),
            )
        });
        let table = table(hosts.collect());
        let router = Router::build(&table).unwrap().for_core();
        for _ in 0..60 {
            let mut head = sample(pick(&rng, &["GET", "POST"]), &random_path(&rng), &[]).head;
            head.authority = Bytes::from(format!("{}:80", pick(&rng, &names)).to_uppercase());
            assert_eq!(
                found(&router, &head),
                naive(&table, &whole, &head),
                "{table:#?} {head:?}"
            );
        }
    }
}

#[test]
fn a_long_list_asks_only_the_routes_on_its_way() {
    let many = (0..1_000).map(|n| {
        by_path(if n % 2 == 0 {
            prefix(&format!("/s{n}/x"))
        } else {
            regex(&format!("/r{n}/[0-9]+"))
        })
    });
    let router = router(many.chain([by_path(prefix("/"))]).collect());
    let asked = |path: &[u8]| router.index.tries[0].candidates(path).count();
    assert_eq!(
        found(&router, &sample("GET", "/r999/7", &[]).head),
        Some(999)
    );
    assert_eq!(
        (asked(b"/r999/7"), asked(b"/s42/x/y"), asked(b"/none")),
        (2, 2, 1)
    );
}
