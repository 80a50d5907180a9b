//! Hosts that fail: found by probes and by their errors, passed over, and taken back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use ringway_tests::wait::wait_until;
use ringway_tests::wire::Refusing;
use ringway_tests::{Driver, Origin, Proxy, both_drivers};

both_drivers! {
    a_host_whose_probe_fails_is_passed_over_and_comes_back,
    a_host_that_answers_the_wrong_body_is_not_well,
    a_tcp_probe_wants_what_it_expects,
    a_unix_socket_is_probed_too,
    a_new_host_waits_for_its_first_probe,
    without_the_check_a_host_counts_as_healthy_again,
    a_change_of_health_wakes_every_core,
    a_host_of_five_errors_in_a_row_is_ejected_and_comes_back,
    a_host_that_refuses_is_ejected,
    no_more_than_allowed_are_ejected,
}

/// A host that answers every request with the status that it is told.
pub(crate) struct Moody {
    pub(crate) addr: SocketAddr,
    status: Arc<AtomicU16>,
    stop: Arc<AtomicBool>,
}

impl Moody {
    pub(crate) fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&status), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(mut stream), status) = (stream, Arc::clone(&shared)) else {
                    return;
                };
                std::thread::spawn(move || {
                    let mut text = Vec::new();
                    let mut buf = [0; 4096];
                    while let Ok(n @ 1..) = stream.read(&mut buf) {
                        text.extend_from_slice(&buf[..n]);
                        while let Some(at) = text.windows(4).position(|w| w == b"\r\n\r\n") {
                            text.drain(..at + 4);
                            let status = status.load(Ordering::SeqCst);
                            let answer =
                                format!("HTTP/1.1 {status} S\r\nContent-Length: 5\r\n\r\nmoody");
                            if stream.write_all(answer.as_bytes()).is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, status, stop }
    }

    pub(crate) fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.addr);
    }
}

pub(crate) fn config(keys: &str, endpoints: &[String]) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes: [{{ match: {{ prefix: / }}, cluster: up, retry: {{ retries: 0 }} }}]\n\
         clusters:\n  - {{ name: up, endpoints: [{}], {keys} }}\n",
        endpoints.join(", ")
    )
}

pub(crate) fn quoted(addrs: &[SocketAddr]) -> Vec<String> {
    addrs.iter().map(|addr| format!("\"{addr}\"")).collect()
}

/// Waits until `/clusters` says this of a host.
pub(crate) fn wait_flags(proxy: &Proxy, host: &str, flags: &str) {
    let line = format!("up::{host}::health_flags::{flags}\n");
    wait_until(&line, || {
        proxy.admin("GET", "/clusters").text().contains(&line)
    });
}

pub(crate) const QUICK: &str = "interval: 50ms, timeout: 5s, unhealthy_after: 2, healthy_after: 2";

/// No request of these goes to the moody host.
pub(crate) fn all_good(proxy: &Proxy) -> bool {
    let mut client = proxy.client();
    (0..12).all(|_| client.get("/").text() == "good")
}

fn a_host_whose_probe_fails_is_passed_over_and_comes_back(driver: Driver) {
    let (good, moody) = (Origin::start("good"), Moody::start(200));
    let keys = format!(
        "health_check: {{ http: {{ path: /healthz, statuses: [200, 300-302] }}, {QUICK} }}"
    );
    let proxy = Proxy::start(driver, &config(&keys, &quoted(&[good.addr(), moody.addr])));
    let name = moody.addr.to_string();
    wait_flags(&proxy, &name, "healthy");
    wait_flags(&proxy, &good.addr().to_string(), "healthy");
    wait_until("both are asked", || !all_good(&proxy));
    moody.set(503);
    wait_flags(&proxy, &name, "/failed_active_hc");
    let said = format!("up::{name}::health_reason::its status is 503\n");
    assert!(proxy.admin("GET", "/clusters").text().contains(&said));
    wait_until("the cores know", || all_good(&proxy));
    assert!(
        (proxy.metric("ringway_cluster_membership_healthy", &["cluster=\"up\""]) - 1.0).abs() < 0.1
    );
    moody.set(301);
    wait_flags(&proxy, &name, "healthy");
    wait_until("it is asked again", || !all_good(&proxy));
}

fn a_host_that_answers_the_wrong_body_is_not_well(driver: Driver) {
    let (good, moody) = (Origin::start("good"), Moody::start(200));
    let keys = format!("health_check: {{ http: {{ path: /, body: good }}, {QUICK} }}");
    let proxy = Proxy::start(driver, &config(&keys, &quoted(&[good.addr(), moody.addr])));
    wait_flags(&proxy, &moody.addr.to_string(), "/failed_active_hc");
    wait_flags(&proxy, &good.addr().to_string(), "healthy");
    wait_until("the cores know", || all_good(&proxy));
    let text = proxy.admin("GET", "/clusters?format=json").text();
    assert!(
        text.contains("its body does not hold what is expected"),
        "{text}"
    );
}

fn a_tcp_probe_wants_what_it_expects(driver: Driver) {
    let (good, gone) = (Origin::start("good"), Refusing::new());
    let moody = Moody::start(404);
    let keys = format!(
        "health_check: {{ tcp: {{ send: \"GET / HTTP/1.1\\r\\nHost: t\\r\\n\\r\\n\", expect: \"good\" }}, {QUICK} }}"
    );
    let hosts = quoted(&[good.addr(), moody.addr, gone.addr()]);
    let proxy = Proxy::start(driver, &config(&keys, &hosts));
    wait_flags(&proxy, &good.addr().to_string(), "healthy");
    wait_flags(&proxy, &gone.addr().to_string(), "/failed_active_hc");
    wait_flags(&proxy, &moody.addr.to_string(), "/failed_active_hc");
}

fn a_unix_socket_is_probed_too(driver: Driver) {
    let good = Origin::start("good");
    let keys = format!("health_check: {{ tcp: {{}}, {QUICK} }}");
    let hosts = [
        format!("\"{}\"", good.addr()),
        "\"unix:DIR/admin.sock\"".to_owned(),
        "\"unix:DIR/none\"".to_owned(),
    ];
    let proxy = Proxy::start(driver, &config(&keys, &hosts));
    let path = |name: &str| proxy.dir().join(name).display().to_string();
    wait_flags(&proxy, &path("admin.sock"), "healthy");
    wait_flags(&proxy, &path("none"), "/failed_active_hc");
}

fn a_new_host_waits_for_its_first_probe(driver: Driver) {
    let (good, moody) = (Origin::start("good"), Moody::start(500));
    let keys = format!("health_check: {{ http: {{ path: / }}, {QUICK} }}");
    let proxy = Proxy::start(driver, &config(&keys, &quoted(&[good.addr()])));
    wait_flags(&proxy, &good.addr().to_string(), "healthy");
    wait_until("the cores know", || all_good(&proxy));
    proxy.reload(&config(&keys, &quoted(&[good.addr(), moody.addr])));
    assert!(all_good(&proxy), "nobody knows the new one yet");
    moody.set(200);
    wait_until("it is asked", || !all_good(&proxy));
}

fn without_the_check_a_host_counts_as_healthy_again(driver: Driver) {
    let (good, moody) = (Origin::start("good"), Moody::start(500));
    let hosts = quoted(&[good.addr(), moody.addr]);
    let keys = format!("health_check: {{ http: {{ path: / }}, {QUICK} }}");
    let proxy = Proxy::start(driver, &config(&keys, &hosts));
    wait_flags(&proxy, &moody.addr.to_string(), "/failed_active_hc");
    proxy.reload(&config("", &hosts));
    wait_flags(&proxy, &moody.addr.to_string(), "healthy");
    wait_until("it is asked", || !all_good(&proxy));
}

/// Asks until the moody host was asked so often, or the deadline is over.
pub(crate) fn until_ejected(proxy: &Proxy, host: &str) -> usize {
    let mut client = proxy.client();
    let line = format!("up::{host}::health_flags::/failed_outlier_check\n");
    let mut asked = 0;
    wait_until("it is ejected", || {
        for _ in 0..2 {
            asked += usize::from(client.get("/").text() != "good");
        }
        proxy.admin("GET", "/clusters").text().contains(&line)
    });
    asked
}

fn a_host_of_five_errors_in_a_row_is_ejected_and_comes_back(driver: Driver) {
    let (good, moody) = (Origin::start("good"), Moody::start(500));
    let keys = "outlier: { consecutive_5xx: 5, base_ejection: 1s, interval: 1h }";
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&config(keys, &quoted(&[good.addr(), moody.addr])));
    let host = moody.addr.to_string();
    let asked = until_ejected(&proxy, &host);
    assert!((5..=12).contains(&asked), "{asked}");
    let since = Instant::now();
    wait_until("the cores know", || all_good(&proxy));
    moody.set(200);
    wait_flags(&proxy, &host, "healthy");
    assert!(since.elapsed() < Duration::from_secs(10));
    wait_until("it is asked again", || !all_good(&proxy));
    let log = proxy.admin("GET", "/outliers").text();
    for part in [
        "\"eject\"",
        "\"uneject\"",
        "\"consecutive_5xx\"",
        &host,
        "1.0",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert!(
        (proxy.metric(
            "ringway_cluster_outlier_ejections_total",
            &["cluster=\"up\""]
        ) - 1.0)
            .abs()
            < 0.1
    );
}

fn a_host_that_refuses_is_ejected(driver: Driver) {
    let (good, gone) = (Origin::start("good"), Refusing::new());
    let keys = "outlier: { consecutive_5xx: 0, consecutive_local: 3, base_ejection: 1h, max_ejection: 1h }";
    let proxy = Proxy::start(driver, &config(keys, &quoted(&[good.addr(), gone.addr()])));
    until_ejected(&proxy, &gone.addr().to_string());
    wait_until("the cores know", || all_good(&proxy));
    for _ in 0..5 {
        assert!(all_good(&proxy), "an ejected host is not asked");
    }
}

fn no_more_than_allowed_are_ejected(driver: Driver) {
    let moody = [Moody::start(500), Moody::start(500), Moody::start(500)];
    let addrs = moody.each_ref().map(|one| one.addr);
    let keys =
        "outlier: { consecutive_5xx: 2, base_ejection: 1h, max_ejection: 1h, max_ejected: 34% }";
    let proxy = Proxy::start(driver, &config(keys, &quoted(&addrs)));
    let mut client = proxy.client();
    let spared = || {
        proxy.metric(
            "ringway_cluster_outlier_ejections_overflow_total",
            &["cluster=\"up\""],
        )
    };
    wait_until("one is spared", || {
        client.get("/");
        spared() > 0.5
    });
    let active = proxy.metric(
        "ringway_cluster_outlier_ejections_active",
        &["cluster=\"up\""],
    );
    assert!((active - 1.0).abs() < 0.1, "{active}");
}

/// How many changes of health reached a core, and how many of them within 33 ms.
fn told(proxy: &Proxy, core: u32) -> (f64, f64) {
    let core = format!("core=\"{core}\"");
    let of = |name: &str, le: &str| {
        let name = format!("ringway_core_health_told_seconds_{name}");
        proxy.metric(&name, &[&core, le])
    };
    (of("count", ""), of("bucket", "le=\"0.032768\""))
}

fn a_change_of_health_wakes_every_core(driver: Driver) {
    let (good, moody) = (Origin::start("good"), Moody::start(200));
    let keys = "health_check: { http: { path: / }, interval: 20ms, jitter: 0%, unhealthy_after: 1, healthy_after: 1 }";
    let proxy = Proxy::start(driver, &config(keys, &quoted(&[good.addr(), moody.addr])));
    let name = moody.addr.to_string();
    wait_flags(&proxy, &name, "healthy");
    // The next change waits until this one is told, or both might be told as one.
    let change = |status: u16, flags: &str| {
        let before = [told(&proxy, 0).0, told(&proxy, 1).0];
        moody.set(status);
        wait_flags(&proxy, &name, flags);
        wait_until("each core has heard of it", || {
            told(&proxy, 0).0 > before[0] && told(&proxy, 1).0 > before[1]
        });
    };
    let change_often = || {
        let before = [told(&proxy, 0), told(&proxy, 1)];
        for _ in 0..10 {
            change(503, "/failed_active_hc");
            change(200, "healthy");
        }
        let quick = |(_, quick): (f64, f64), at: u32| told(&proxy, at).1 - quick;
        [quick(before[0], 0), quick(before[1], 1)]
    };
    // Nobody asks anything: a core that is not woken sleeps until its tick, a tenth of a second, of which a third comes within that
    // time. Most do where each is woken, though a busy machine may be late with some.
    wait_until("most reach each core at once", || {
        let quick = change_often();
        println!("of 20 changes within 33 ms: {quick:?}");
        quick.iter().all(|quick| *quick > 11.5)
    });
}
