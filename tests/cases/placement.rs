//! Which part of the requests goes where: priorities, panic, localities and zones, as the configuration has them.

use std::net::SocketAddr;

use ringway_tests::wire::Refusing;
use ringway_tests::{Driver, Origin, Proxy, both_drivers, wait_until};

use crate::health::wait_flags;

both_drivers! {
    the_next_priority_gets_what_the_first_cannot_carry,
    in_panic_all_hosts_are_asked,
    without_a_panic_threshold_nobody_healthy_is_a_503,
    localities_share_by_their_weights,
    requests_stay_in_the_own_zone,
    the_other_zone_gets_what_the_own_cannot_carry,
}

/// One probe decides, and it is the only one.
const ONCE: &str = "health_check: { tcp: {}, interval: 1h, timeout: 30s }";

/// A proxy with one core before hosts of which more is said.
fn start(driver: Driver, keys: &str, hosts: &[(SocketAddr, &str)]) -> Proxy {
    let hosts = hosts
        .iter()
        .map(|(addr, more)| format!("{{ address: \"{addr}\"{more} }}"));
    let hosts: Vec<String> = hosts.collect();
    Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes: [{{ match: {{ prefix: / }}, cluster: up, retry: {{ retries: 0 }} }}]\n\
         clusters:\n  - {{ name: up, endpoints: [{}], {keys} }}\n",
        hosts.join(", ")
    ))
}

/// How many of so many requests this origin answers.
fn share(proxy: &Proxy, name: &str, requests: usize) -> usize {
    let mut client = proxy.client();
    (0..requests)
        .filter(|_| client.get("/").text() == name)
        .count()
}

/// Six standard deviations about a share of two hundred requests.
#[track_caller]
fn is_near(found: usize, percent: usize) {
    let deviation = (2.0 * percent as f64 * (100 - percent) as f64 / 100.0).sqrt();
    let off = found.abs_diff(2 * percent) as f64;
    assert!(
        off <= 6.0 * deviation,
        "{found} of 200, due are {percent} %"
    );
}

fn wait_all(proxy: &Proxy, healthy: &[SocketAddr], gone: &[Refusing]) {
    for addr in healthy {
        wait_flags(proxy, &addr.to_string(), "healthy");
    }
    for host in gone {
        wait_flags(proxy, &host.addr().to_string(), "/failed_active_hc");
    }
    wait_until("the core knows", || {
        let applied = "ringway_cluster_membership_healthy";
        proxy.metric(applied, &["cluster=\"up\""]) > healthy.len() as f64 - 0.5
    });
}

fn the_next_priority_gets_what_the_first_cannot_carry(driver: Driver) {
    // Of so many hosts so many are gone: five of seven carry all, four of seven 80 per cent, two of four 70.
    for (count, out, percent) in [(7, 2, 0), (7, 3, 20), (4, 2, 30)] {
        let first: Vec<Origin> = (out..count).map(|_| Origin::start("first")).collect();
        let gone: Vec<Refusing> = (0..out).map(|_| Refusing::new()).collect();
        let second = Origin::start("second");
        let mut hosts: Vec<(SocketAddr, &str)> = first.iter().map(|h| (h.addr(), "")).collect();
        hosts.extend(gone.iter().map(|host| (host.addr(), "")));
        hosts.push((second.addr(), ", priority: 1"));
        let proxy = start(driver, ONCE, &hosts);
        let well: Vec<SocketAddr> = first.iter().chain([&second]).map(Origin::addr).collect();
        wait_all(&proxy, &well, &gone);
        wait_until("no other host is asked", || {
            let mut client = proxy.client();
            (0..14).all(|_| client.get("/").status == 200)
        });
        is_near(share(&proxy, "second", 200), percent);
    }
}

fn in_panic_all_hosts_are_asked(driver: Driver) {
    // A probe wants what no host says, so that all are marked; and all answer.
    let hosts = ["a", "b", "c"].map(Origin::start);
    let said: Vec<_> = hosts.iter().map(|host| (host.addr(), "")).collect();
    let never = "health_check: { http: { path: /, body: never }, interval: 1h, timeout: 30s }";
    let proxy = start(driver, never, &said);
    for host in &hosts {
        wait_flags(&proxy, &host.addr().to_string(), "/failed_active_hc");
    }
    let mut client = proxy.client();
    for _ in 0..12 {
        assert_eq!(client.get("/").status, 200);
    }
}

fn without_a_panic_threshold_nobody_healthy_is_a_503(driver: Driver) {
    let host = Origin::start("a");
    let never = "placement: { panic_threshold: 0% }, health_check: { http: { path: /, body: never }, interval: 1h, timeout: 30s }";
    let proxy = start(driver, never, &[(host.addr(), "")]);
    wait_flags(&proxy, &host.addr().to_string(), "/failed_active_hc");
    assert_eq!(proxy.client().get("/").status, 503);
}

fn localities_share_by_their_weights(driver: Driver) {
    let [a, b, c] = ["near", "near", "far"].map(Origin::start);
    let (near, far) = (", locality: { zone: a }", ", locality: { zone: b }");
    let weights = "placement: { locality_weights: [{ locality: { zone: a }, weight: 1 }, { locality: { zone: b }, weight: 3 }] }";
    let hosts = [(a.addr(), near), (b.addr(), near), (c.addr(), far)];
    let proxy = start(driver, weights, &hosts);
    is_near(share(&proxy, "far", 200), 75);
}

fn requests_stay_in_the_own_zone(driver: Driver) {
    let [a, b] = ["near", "far"].map(Origin::start);
    let hosts = [
        (a.addr(), ", locality: { zone: a }"),
        (b.addr(), ", locality: { zone: b }"),
    ];
    let aware = "placement: { zone_aware: { zone: a, min_hosts: 2 } }";
    let proxy = start(driver, aware, &hosts);
    assert_eq!(share(&proxy, "near", 60), 60);
}

fn the_other_zone_gets_what_the_own_cannot_carry(driver: Driver) {
    // A quarter of the hosts for what is taken to be half of the requests: half of these stay.
    let [a, b, c, d] = ["near", "far", "far", "far"].map(Origin::start);
    let far = ", locality: { zone: b }";
    let hosts = [
        (a.addr(), ", locality: { zone: a }"),
        (b.addr(), far),
        (c.addr(), far),
        (d.addr(), far),
    ];
    let aware = "placement: { zone_aware: { zone: a, min_hosts: 2 } }";
    let proxy = start(driver, aware, &hosts);
    is_near(share(&proxy, "near", 200), 50);
}
