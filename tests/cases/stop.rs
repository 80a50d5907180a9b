//! Stopping: politely within its time, at once when told twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringway_tests::{
    Broken, Client, Driver, H2Origin, Origin, Proxy, Site, both_drivers, wait_until,
};

use crate::http2_upstream::site2;

both_drivers! {
    term_lets_requests_in_flight_finish,
    drain_delay_keeps_accepting_and_says_close,
    idle_connections_close_at_the_end_of_the_delay,
    drain_timeout_cuts_what_is_left,
    a_second_term_stops_at_once,
    int_stops_politely_too,
    quitquitquit_stops_and_only_by_post,
    drain_listeners_closes_the_gates,
    a_second_process_on_the_address_is_refused,
    a_storm_at_the_stop_is_never_reset,
    connections_of_http2_end_with_the_process,
}

fn everything_to(origin: &Origin) -> String {
    Site::to(&[origin.addr()]).text()
}

fn term_lets_requests_in_flight_finish(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::start(driver, &everything_to(&origin));
    let mut client = proxy.client();
    client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    origin.nth(1);
    proxy.signal(libc::SIGTERM);
    let addr = client.peer();
    wait_until("the gate is closed", || Client::try_connect(addr).is_err());
    assert!(proxy.ended().is_none(), "it must wait for the request");
    origin.release();
    let answer = client.read("GET");
    assert_eq!(answer.text(), "a");
    assert!(answer.closes());
    assert_eq!(proxy.wait_end(), Some(0), "{}", proxy.stderr());
}

fn drain_delay_keeps_accepting_and_says_close(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::with(driver)
        .process("drain_delay: 3s")
        .start(&everything_to(&origin));
    let addr = proxy.addr("web");
    let mut kept = Client::connect(addr);
    assert!(!kept.get("/").closes());
    let start = Instant::now();
    proxy.signal(libc::SIGTERM);
    wait_until("/ready says 503", || {
        proxy
            .try_admin("GET", "/ready")
            .is_some_and(|answer| answer.status == 503)
    });
    let answer = kept.get("/");
    assert!(answer.closes(), "{:?}", answer.head);
    kept.expect_closed();
    let mut fresh = Client::connect(addr);
    assert!(fresh.get("/").closes());
    assert_eq!(proxy.wait_end(), Some(0));
    assert!(
        start.elapsed() >= Duration::from_millis(2900),
        "{:?}",
        start.elapsed()
    );
}

fn idle_connections_close_at_the_end_of_the_delay(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::start(driver, &everything_to(&origin));
    let mut idle: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    for client in idle.iter_mut().skip(10) {
        assert_eq!(client.get("/").status, 200);
    }
    let start = Instant::now();
    proxy.signal(libc::SIGTERM);
    assert_eq!(proxy.wait_end(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "idle connections held it up: {:?}",
        start.elapsed()
    );
    for client in &mut idle {
        client.expect_closed();
    }
}

fn drain_timeout_cuts_what_is_left(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::with(driver)
        .process("drain_timeout: 300ms")
        .start(&everything_to(&origin));
    let mut client = proxy.client();
    client.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    let (_, _, framing) = client.head("GET");
    proxy.signal(libc::SIGTERM);
    let result = client.pattern_body(framing);
    assert!(
        matches!(result, Err(Broken::Truncated | Broken::Reset)),
        "{result:?}"
    );
    assert_eq!(proxy.wait_end(), Some(0), "{}", proxy.stderr());
}

fn a_second_term_stops_at_once(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::with(driver)
        .process("drain_delay: 60s, drain_timeout: 60s")
        .start(&everything_to(&origin));
    let mut client = proxy.client();
    client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    origin.nth(1);
    proxy.signal(libc::SIGTERM);
    wait_until("/ready says 503", || {
        proxy
            .try_admin("GET", "/ready")
            .is_some_and(|answer| answer.status == 503)
    });
    proxy.signal(libc::SIGTERM);
    // Long before the delay would be over.
    proxy.wait_end();
}

fn int_stops_politely_too(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::start(driver, &everything_to(&origin));
    let mut client = proxy.client();
    client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    origin.nth(1);
    proxy.signal(libc::SIGINT);
    let addr = client.peer();
    wait_until("the gate is closed", || Client::try_connect(addr).is_err());
    origin.release();
    assert_eq!(client.read("GET").text(), "a");
    assert_eq!(proxy.wait_end(), Some(0));
}

fn quitquitquit_stops_and_only_by_post(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::start(driver, &everything_to(&origin));
    assert_eq!(proxy.admin("GET", "/quitquitquit").status, 405);
    assert_eq!(proxy.client().get("/").status, 200);
    assert_eq!(proxy.admin("POST", "/quitquitquit").status, 200);
    assert_eq!(proxy.wait_end(), Some(0));
}

fn drain_listeners_closes_the_gates(driver: Driver) {
    let origin = Origin::start("a");
    let mut proxy = Proxy::start(driver, &everything_to(&origin));
    let addr = proxy.addr("web");
    assert_eq!(proxy.admin("GET", "/drain_listeners").status, 405);
    assert_eq!(proxy.admin("POST", "/drain_listeners").status, 200);
    wait_until("the gate is closed", || Client::try_connect(addr).is_err());
    assert!(proxy.ended().is_none());
}

fn a_second_process_on_the_address_is_refused(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::start(driver, &everything_to(&origin));
    let addr = proxy.addr("web");
    let config = everything_to(&origin).replace("127.0.0.1:0", &addr.to_string());
    let mut second = Proxy::with(driver).spawn(&config);
    assert_eq!(second.wait_end(), Some(1));
    wait_until("it says why", || {
        second.stderr().contains(&addr.to_string())
    });
    for _ in 0..20 {
        assert_eq!(proxy.client().get("/").status, 200);
    }
}

fn a_storm_at_the_stop_is_never_reset(driver: Driver) {
    let origin = Origin::start("a");
    for _ in 0..3 {
        let mut proxy = Proxy::with(driver)
            .process("drain_delay: 100ms")
            .start(&everything_to(&origin));
        let addr = proxy.addr("web");
        let served = &AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let storm: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(move || {
                        // Until it refuses: whoever got in is answered.
                        while let Ok(mut client) = Client::try_connect(addr) {
                            let answer = client.try_ask("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
                            assert_eq!(answer.map(|answer| answer.text()), Ok("a".to_owned()));
                            served.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            wait_until("it serves", || served.load(Ordering::SeqCst) > 0);
            proxy.signal(libc::SIGTERM);
            storm.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(proxy.wait_end(), Some(0), "{}", proxy.stderr());
    }
}

/// Their tasks wake each other as they are dropped, which once was an abort.
fn connections_of_http2_end_with_the_process(driver: Driver) {
    let origin = H2Origin::start("two");
    let mut proxy = Proxy::with(driver)
        .process("cores: 1, drain_delay: 0s")
        .start(&site2(&[origin.addr()], "", ""));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "two");
    proxy.signal(libc::SIGTERM);
    assert_eq!(proxy.wait_end(), Some(0), "{}", proxy.stderr());
    assert!(!proxy.stderr().contains("panicked"), "{}", proxy.stderr());
}
