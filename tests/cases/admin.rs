//! The admin interface: Envoy's paths, changes by POST only, nothing secret.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ringway_tests::wire::{Refusing, steady_port};
use ringway_tests::{Client, Driver, Origin, Proxy, Site, both_drivers, site, wait_until};

both_drivers! {
    every_path_answers,
    changing_paths_refuse_get,
    listeners_and_clusters_are_listed,
    metrics_are_well_formed_and_count,
    the_log_level_changes_at_run_time,
    a_foreign_host_is_refused,
    the_driver_in_use_is_told,
    standard_stats_have_envoys_form,
    a_crowd_of_idle_clients_keeps_nobody_out,
    what_never_counted_is_shown_if_asked_for,
}

fn proxy(driver: Driver) -> (Origin, Proxy) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    (origin, proxy)
}

fn every_path_answers(driver: Driver) {
    let (_origin, proxy) = proxy(driver);
    for path in [
        "/",
        "/help",
        "/ready",
        "/stats",
        "/stats/prometheus",
        "/stats?format=prometheus",
        "/stats?format=json",
        "/stats?usedonly",
        "/config_dump",
        "/clusters",
        "/clusters?format=json",
        "/listeners",
        "/listeners?format=json",
        "/server_info",
    ] {
        let answer = proxy.admin("GET", path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.is_empty(), "{path}");
        let is_json = path.contains("json") || ["/config_dump", "/server_info"].contains(&path);
        if is_json {
            serde_json::from_slice::<serde_json::Value>(&answer.body)
                .unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
    assert_eq!(proxy.admin("GET", "/nothing").status, 404);
}

fn changing_paths_refuse_get(driver: Driver) {
    let (_origin, mut proxy) = proxy(driver);
    for path in [
        "/quitquitquit",
        "/reload",
        "/drain_listeners",
        "/logging?level=debug",
        "/reopen_logs",
    ] {
        let answer = proxy.admin("GET", path);
        assert_eq!(
            (answer.status, answer.get("allow")),
            (405, Some("POST")),
            "{path}"
        );
    }
    assert!(proxy.ended().is_none());
    assert_eq!(proxy.client().get("/").status, 200);
}

fn listeners_and_clusters_are_listed(driver: Driver) {
    let (origin, proxy) = proxy(driver);
    assert_eq!(proxy.client().get("/").status, 200);
    let listed = proxy.admin("GET", "/listeners").text();
    assert_eq!(listed.trim(), format!("web::{}", proxy.addr("web")));
    let prefix = format!("up::{}::", origin.addr());
    let text = proxy.admin("GET", "/clusters").text();
    assert!(text.lines().any(|line| line.starts_with(&prefix)), "{text}");
    assert!(
        text.lines()
            .any(|line| line == format!("{prefix}rq_total::1")),
        "{text}"
    );
}

fn metrics_are_well_formed_and_count(driver: Driver) {
    let origin = Origin::start("a");
    let gone = Refusing::new();
    let routes =
        "- { match: { prefix: /gone }, cluster: gone }\n- { match: { prefix: / }, cluster: up }";
    let proxy = Proxy::start(
        driver,
        &site(
            routes,
            &[("up", &[origin.addr()]), ("gone", &[gone.addr()])],
        ),
    );
    let mut client = proxy.client();
    for _ in 0..5 {
        client.get("/");
    }
    client.get("/gone");
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let near = |value: f64, expect: f64| (value - expect).abs() < 0.1;
    wait_until("the requests are counted", || {
        near(
            proxy.metric("ringway_cluster_upstream_rq_total", &["cluster=\"up\""]),
            5.0,
        )
    });
    assert!(near(
        proxy.metric(
            "ringway_listener_downstream_cx_total",
            &["listener=\"web\""]
        ),
        1.0
    ));
    assert!(near(
        proxy.metric("ringway_cluster_upstream_cx_total", &["cluster=\"up\""]),
        1.0
    ));
    assert!(
        proxy.metric(
            "ringway_cluster_upstream_cx_connect_fail_total",
            &["cluster=\"gone\""]
        ) >= 1.0
    );
    let text = proxy.admin("GET", "/stats/prometheus").text();
    check_families(&text);
    check_histograms(&text);
}

/// Each family is declared once, before its samples, and every value is a number.
fn check_families(text: &str) {
    let mut families = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                families.insert(rest.split(' ').next().unwrap().to_owned()),
                "twice: {line}"
            );
        } else if !line.starts_with('#') && !line.is_empty() {
            let (key, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = key.split('{').next().unwrap();
            assert!(name.starts_with("ringway_"), "{line}");
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(
                families.contains(name) || base.is_some_and(|base| families.contains(base)),
                "no TYPE before {line}"
            );
        }
    }
}

/// The last bucket is the count.
fn check_histograms(text: &str) {
    for line in text.lines().filter(|line| line.contains("le=\"+Inf\"")) {
        let (key, value) = line.rsplit_once(' ').unwrap();
        let labels = key
            .split_once('{')
            .unwrap()
            .1
            .replace(",le=\"+Inf\"", "")
            .replace("le=\"+Inf\",", "")
            .replace("le=\"+Inf\"", "");
        let name = key.split_once("_bucket").unwrap().0;
        let count = if labels == "}" {
            format!("{name}_count {value}")
        } else {
            format!("{name}_count{{{labels} {value}")
        };
        assert!(text.contains(&count), "{count:?} missing");
    }
}

fn the_log_level_changes_at_run_time(driver: Driver) {
    let (_origin, proxy) = proxy(driver);
    assert_eq!(proxy.admin("POST", "/logging?level=debug").status, 200);
    assert!(proxy.admin("POST", "/logging").text().contains("debug"));
    assert_eq!(proxy.admin("POST", "/logging?level=loud").status, 400);
}

fn a_foreign_host_is_refused(driver: Driver) {
    // DNS rebinding: a page's script may reach loopback, but only under the page's own name.
    let origin = Origin::start("a");
    let port = steady_port();
    let mut config = Site::to(&[origin.addr()]).text();
    config += &format!("\nadmin: {{ address: 127.0.0.1:{port} }}\n");
    let proxy = Proxy::with(driver).spawn(&config);
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("admin answers", || Client::try_connect(addr).is_ok());
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1", 200),
        (&format!("127.0.0.1:{port}"), 200),
        ("evil.test", 403),
    ] {
        let answer = Client::connect(addr).ask(&format!(
            "GET /server_info HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ));
        let fits =
            answer.status == status || (status == 403 && (400..500).contains(&answer.status));
        assert!(fits, "{host}: {}", answer.status);
    }
    drop(proxy);
}

fn the_driver_in_use_is_told(driver: Driver) {
    let (_origin, proxy) = proxy(driver);
    let text = proxy.admin("GET", "/server_info").text();
    assert!(text.contains(driver.name()), "{text}");
}

fn standard_stats_have_envoys_form(driver: Driver) {
    let (_origin, proxy) = proxy(driver);
    assert_eq!(proxy.client().get("/").status, 200);
    wait_until("the request is counted", || {
        proxy
            .admin("GET", "/stats?filter=^cluster")
            .text()
            .lines()
            .any(|line| line == "cluster.up.upstream_rq_total: 1")
    });
    let text = proxy.admin("GET", "/stats?usedonly").text();
    assert!(
        text.lines()
            .any(|line| line == "listener.web.downstream_cx_total: 1"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.contains(": ")), "{text}");
}

fn a_crowd_of_idle_clients_keeps_nobody_out(driver: Driver) {
    let (_origin, proxy) = proxy(driver);
    let path = proxy.admin_socket();
    // More than there are places, whatever the limit of open files; some have begun to ask, and to send a body.
    let begun = [
        "",
        "GET /ready HTTP/1.1\r\nHost: localhost\r\n",
        "POST /logging HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    ];
    let mut crowd: Vec<UnixStream> = Vec::new();
    for n in 0..150 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(begun[n % begun.len()].as_bytes()).unwrap();
        crowd.push(stream);
    }
    for _ in 0..5 {
        assert_eq!(proxy.admin("GET", "/ready").status, 200);
    }
    // The first have gone, the last have not.
    let first = &mut crowd[0];
    first
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert_eq!(first.read(&mut [0; 16]).unwrap(), 0);
    assert!(proxy.metric("ringway_admin_cx_closed_for_room_total", &[]) >= 80.0);
}

fn what_never_counted_is_shown_if_asked_for(driver: Driver) {
    let (_origin, proxy) = proxy(driver);
    proxy
        .client()
        .ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let shown = |page: &str, what: &str| {
        let text = proxy.admin("GET", page).text();
        text.lines().any(|line| line.contains(what))
    };
    let page = "/stats/prometheus";
    wait_until("the rule is counted", || {
        shown(page, "rule=\"host_duplicate\"} 1")
    });
    assert!(!shown(page, "rule=\"bare_lf\""));
    assert!(!shown(page, "endpoint_rq_time_seconds_bucket"));
    assert!(shown(page, "ringway_listener_upgrades_total"));
    for all in ["/stats/prometheus?zeros", "/stats?format=prometheus&zeros"] {
        assert!(shown(all, "rule=\"bare_lf\"} 0"), "{all}");
        assert!(shown(all, "endpoint_rq_time_seconds_bucket"), "{all}");
    }
    assert!(!shown(
        "/stats/prometheus?usedonly",
        "ringway_listener_upgrades_total"
    ));
}
