//! Bytes passed on: each direction by itself, whole or reset, never faster than who reads them.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ringway_tests::pattern::Pattern;
use ringway_tests::wire::Refusing;
use ringway_tests::{
    Broken, Driver, Proxy, Until, Wire, WireServer, both_drivers, sys, wait_equal, wait_for,
    wait_until,
};

both_drivers! {
    each_direction_ends_by_itself,
    large_data_goes_both_ways_at_once,
    bytes_through_pipes_are_the_same_as_copied,
    a_reset_client_resets_the_host,
    a_reset_host_resets_the_client,
    a_slow_reader_stalls_the_sender,
    silence_ends_a_connection,
    bytes_in_one_direction_are_no_silence,
    a_connection_ends_at_its_longest,
    a_refused_connect_goes_to_the_next_host,
    no_more_hosts_are_tried_than_said,
    no_host_resets_the_client,
    weights_share_connections_out,
    a_client_stays_with_the_host_of_its_address,
    reloads_leave_connections_alone,
    a_drain_waits_for_connections_and_then_cuts_them,
    connections_are_logged_and_counted,
    quiet_connections_hold_no_buffers,
    a_unix_socket_is_passed_on_to,
}

/// A listener `web` whose connections go to `up`, with more keys of `tcp`, and more of the listener.
pub(crate) fn passing(keys: &str, more: &str, addrs: &[SocketAddr]) -> String {
    let mut text = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    tcp: {{ cluster: up{keys} }}\n"
    );
    for line in more.lines() {
        let _ = writeln!(text, "    {line}");
    }
    let addrs: Vec<String> = addrs.iter().map(|addr| format!("\"{addr}\"")).collect();
    let _ = writeln!(
        text,
        "clusters:\n  - {{ name: up, endpoints: [{}] }}",
        addrs.join(", ")
    );
    text
}

fn start(driver: Driver, server: &WireServer) -> Proxy {
    Proxy::start(driver, &passing("", "", &[server.addr()]))
}

/// A client and the host's end of its connection.
fn joined(proxy: &Proxy, server: &WireServer) -> (Wire, Wire) {
    let client = Wire::connect(proxy.addr("web"));
    (client, server.accept())
}

/// Writes so many bytes of the pattern, and then its end.
fn pour(mut to: &TcpStream, length: u64) {
    let mut pattern = Pattern::default();
    while pattern.at() < length {
        let left = usize::try_from(length - pattern.at()).unwrap_or(usize::MAX);
        to.write_all(pattern.take(left))
            .expect("the other end reads");
    }
    to.shutdown(Shutdown::Write).unwrap();
}

/// Reads to the end: so many bytes of the pattern, and no other.
fn drain(mut from: &TcpStream) -> u64 {
    let mut pattern = Pattern::default();
    let mut piece = vec![0; 256 << 10];
    loop {
        match from.read(&mut piece).expect("no reset") {
            0 => return pattern.at(),
            read => assert!(pattern.check(&piece[..read]), "near {}", pattern.at()),
        }
    }
}

fn each_direction_ends_by_itself(driver: Driver) {
    let server = WireServer::bind();
    let proxy = start(driver, &server);
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("question").finish();
    assert_eq!(host.ending(), (b"question".to_vec(), Broken::Closed));
    host.send("answer");
    client.expect("answer");
    host.send(", and more").finish();
    assert_eq!(client.ending(), (b", and more".to_vec(), Broken::Closed));

    let (mut client, mut host) = joined(&proxy, &server);
    host.send("greeting").finish();
    assert_eq!(client.ending(), (b"greeting".to_vec(), Broken::Closed));
    client.send("still here");
    host.expect("still here");
    client.finish();
    assert_eq!(host.ending(), (Vec::new(), Broken::Closed));
    wait_until("both are closed", || {
        proxy.metric("ringway_listener_tcp_cx_active", &[]) == 0.0
    });
    assert_eq!(
        proxy.metric("ringway_listener_tcp_cx_reset_total", &[]),
        0.0
    );
}

fn both_ways(proxy: &Proxy, server: &WireServer, up: u64, down: u64) {
    let (client, host) = joined(proxy, server);
    let (client, host) = (client.stream(), host.stream());
    std::thread::scope(|scope| {
        scope.spawn(|| pour(client, up));
        scope.spawn(|| pour(host, down));
        let got_down = scope.spawn(|| drain(client));
        assert_eq!(drain(host), up);
        assert_eq!(got_down.join().unwrap(), down);
    });
}

fn large_data_goes_both_ways_at_once(driver: Driver) {
    let server = WireServer::bind();
    let proxy = start(driver, &server);
    both_ways(&proxy, &server, 50_000_017, 30_000_001);
    both_ways(&proxy, &server, 0, 10_000_019);
    both_ways(&proxy, &server, 10_000_019, 0);
}

fn bytes_through_pipes_are_the_same_as_copied(driver: Driver) {
    let server = WireServer::bind();
    let spliced = |proxy: &Proxy| proxy.metric("ringway_core_splice_bytes_total", &[]);
    for (pipes, expect) in [("64", true), ("0", false)] {
        let setup = Proxy::with(driver).process(&format!("splice_pipes: {pipes}"));
        let proxy = setup.start(&passing("", "", &[server.addr()]));
        both_ways(&proxy, &server, 200_000_003, 1000);
        assert_eq!(spliced(&proxy) > 100e6, expect, "{}", spliced(&proxy));
    }
}

fn a_reset_client_resets_the_host(driver: Driver) {
    let server = WireServer::bind();
    let proxy = start(driver, &server);
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("half of it");
    host.expect("half of it");
    client.reset();
    assert_eq!(host.ending(), (Vec::new(), Broken::Reset));
    wait_until("it is counted", || {
        proxy.metric("ringway_listener_tcp_cx_reset_total", &[]) == 1.0
    });

    // Also while much is on its way to it.
    let (client, host) = joined(&proxy, &server);
    std::thread::scope(|scope| {
        let pouring = scope.spawn(|| {
            let mut host = host.stream();
            let mut pattern = Pattern::default();
            while host.write_all(pattern.take(1 << 16)).is_ok() {}
        });
        let mut some = vec![0; 1 << 20];
        client.stream().read_exact(&mut some).unwrap();
        client.reset();
        pouring.join().unwrap();
    });
}

fn a_reset_host_resets_the_client(driver: Driver) {
    let server = WireServer::bind();
    let proxy = start(driver, &server);
    let (mut client, mut host) = joined(&proxy, &server);
    host.send("half of it");
    client.expect("half of it");
    host.reset();
    assert_eq!(client.ending(), (Vec::new(), Broken::Reset));

    // After the client has ended its own direction, too.
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("all").finish();
    host.expect("all");
    host.reset();
    assert_eq!(client.ending().1, Broken::Reset);
}

/// Writes until nothing more goes for a while: how much went.
fn fill_up(mut to: &TcpStream) -> u64 {
    to.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut went = 0;
    let piece = vec![7; 64 << 10];
    loop {
        match to.write(&piece) {
            Ok(written) => went += written as u64,
            Err(error) => {
                assert!(
                    matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ),
                    "{error}"
                );
                return went;
            }
        }
    }
}

fn a_slow_reader_stalls_the_sender(driver: Driver) {
    let server = WireServer::bind();
    let proxy = start(driver, &server);
    let before = sys::rss_kib(proxy.pid());
    let pairs: Vec<_> = (0..4).map(|_| joined(&proxy, &server)).collect();
    let went: Vec<u64> = pairs
        .iter()
        .map(|(client, _)| fill_up(client.stream()))
        .collect();
    let after = sys::rss_kib(proxy.pid());
    // What the kernel's buffers hold of loopback sockets is some MiB; the proxy holds a buffer a direction.
    assert!(after < before + (8 << 10), "{before} KiB, then {after}");
    for ((client, host), went) in pairs.iter().zip(went) {
        client.finish();
        let mut host = host.stream();
        let mut got = 0;
        let mut piece = vec![0; 1 << 20];
        loop {
            match host.read(&mut piece).unwrap() {
                0 => break,
                read => got += read as u64,
            }
        }
        assert_eq!(got, went);
    }
}

fn silence_ends_a_connection(driver: Driver) {
    let server = WireServer::bind();
    let keys = ", idle_timeout: 1s";
    let proxy = Proxy::start(driver, &passing(keys, "", &[server.addr()]));
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("one");
    host.expect("one");
    assert_eq!(client.ending().1, Broken::Reset);
    assert_eq!(host.ending().1, Broken::Reset);
    let limit = ["limit=\"tcp_idle_timeout\""];
    wait_equal(1.0, || proxy.metric("ringway_listener_limit_total", &limit));
}

fn bytes_in_one_direction_are_no_silence(driver: Driver) {
    let server = WireServer::bind();
    let keys = ", idle_timeout: 1s";
    let proxy = Proxy::start(driver, &passing(keys, "", &[server.addr()]));
    let (mut client, mut host) = joined(&proxy, &server);
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        host.send("x");
        client.expect("x");
        client.expect_silence(Duration::from_millis(100));
    }
    client.send("and back");
    host.expect("and back");
}

fn a_connection_ends_at_its_longest(driver: Driver) {
    let server = WireServer::bind();
    let keys = ", max_duration: 400ms";
    let more =
        "access_log: [{ stdout: true, format: \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" }]";
    let proxy = Proxy::start(driver, &passing(keys, more, &[server.addr()]));
    let (client, host) = joined(&proxy, &server);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent: u64 = 0;
            while (&mut client.stream()).write_all(&[7; 5000]).is_ok() {
                sent += 1;
            }
            sent
        });
        let mut piece = [0; 1 << 16];
        while matches!((&mut host.stream()).read(&mut piece), Ok(1..)) {}
        assert!(sending.join().unwrap() > 0);
    });
    wait_until("its line", || proxy.stdout().contains("DT max_duration"));
    let limit = ["limit=\"tcp_max_duration\""];
    wait_equal(1.0, || proxy.metric("ringway_listener_limit_total", &limit));
}

fn a_refused_connect_goes_to_the_next_host(driver: Driver) {
    let (closed, server) = (Refusing::new(), WireServer::bind());
    let proxy = Proxy::start(driver, &passing("", "", &[closed.addr(), server.addr()]));
    for _ in 0..6 {
        let (mut client, mut host) = joined(&proxy, &server);
        client.send("hello");
        host.expect("hello");
    }
    assert!(proxy.metric("ringway_cluster_tcp_connect_retry_total", &[]) >= 2.0);
}

const ENDING: &str = "access_log: [{ stdout: true, format: \"%RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_CLUSTER%\" }]";

fn no_more_hosts_are_tried_than_said(driver: Driver) {
    let closed: Vec<_> = (0..4).map(|_| Refusing::new()).collect();
    let addrs: Vec<_> = closed.iter().map(Refusing::addr).collect();
    for (keys, expect) in [
        ("", "UF,URX 3 up"),
        (", connect_attempts: 1", "UF 1 up"),
        (", connect_attempts: 100", "UF,URX 4 up"),
    ] {
        let proxy = Proxy::start(driver, &passing(keys, ENDING, &addrs));
        let mut client = Wire::connect(proxy.addr("web"));
        assert_eq!(client.ending(), (Vec::new(), Broken::Reset));
        wait_until(expect, || proxy.stdout().contains(expect));
    }
}

fn no_host_resets_the_client(driver: Driver) {
    let mut config = passing("", ENDING, &[]);
    config = config.replace("endpoints: []", "endpoints: [\"nowhere.invalid:80\"]");
    let proxy = Proxy::start(driver, &config);
    let mut client = Wire::connect(proxy.addr("web"));
    assert_eq!(client.ending(), (Vec::new(), Broken::Reset));
    wait_until("its line", || proxy.stdout().contains("UH 0 up"));
}

fn weights_share_connections_out(driver: Driver) {
    let (a, b) = (WireServer::bind(), WireServer::bind());
    let config = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    tcp: {{ cluster: {{ a: 3, b: 1, c: 0 }} }}\n\
         clusters:\n  - {{ name: a, endpoints: [\"{0}\"] }}\n  - {{ name: b, endpoints: [\"{1}\"] }}\n  - {{ name: c, endpoints: [\"{1}\"] }}\n",
        a.addr(),
        b.addr()
    );
    let proxy = Proxy::start(driver, &config);
    let (mut to_a, mut to_b) = (0, 0);
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(Wire::connect(proxy.addr("web")));
        let wire = wait_for("a connection to either", || match a.try_accept() {
            Some(wire) => Some((0, wire)),
            None => b.try_accept().map(|wire| (1, wire)),
        });
        match wire.0 {
            0 => to_a += 1,
            _ => to_b += 1,
        }
        held.push(wire.1);
    }
    assert!((120..180).contains(&to_a), "{to_a} and {to_b}");
}

fn a_client_stays_with_the_host_of_its_address(driver: Driver) {
    let servers = [(); 3].map(|()| WireServer::bind());
    let addrs = servers.each_ref().map(WireServer::addr);
    for balance in ["ring_hash", "maglev"] {
        let more = "proxy_protocol: { trusted: [127.0.0.1] }";
        let text = passing(", hash: source", more, &addrs)
            .replace("name: up,", &format!("name: up, balance: {balance},"));
        let proxy = Proxy::start(driver, &text);
        let host_of = |client: u8, port: u16| {
            let mut wire = Wire::connect(proxy.addr("web"));
            wire.send(format!(
                "PROXY TCP4 192.0.2.{client} 198.51.100.1 {port} 443\r\n"
            ));
            let (at, _host) = wait_for("a connection to some host", || {
                let mut servers = servers.iter().enumerate();
                servers.find_map(|(at, server)| Some((at, server.try_accept()?)))
            });
            at
        };
        let mut hosts = std::collections::BTreeSet::new();
        for client in 1..16 {
            let host = host_of(client, 1000);
            // Another port, another core: the same client.
            for port in 1001..1005 {
                assert_eq!(host_of(client, port), host, "{balance} {client}");
            }
            hosts.insert(host);
        }
        assert!(hosts.len() > 1, "{balance}: all at {hosts:?}");
    }
}

fn reloads_leave_connections_alone(driver: Driver) {
    let (server, other) = (WireServer::bind(), WireServer::bind());
    let proxy = start(driver, &server);
    let addr = proxy.addr("web");
    let mut quiet = joined(&proxy, &server);
    let stop = AtomicBool::new(false);
    let moved = AtomicU64::new(0);
    let (client, host) = joined(&proxy, &server);
    let (client, host) = (&client, &host);
    std::thread::scope(|scope| {
        let _until = Until(&stop);
        let echoing = scope.spawn({
            let (stop, moved) = (&stop, &moved);
            move || {
                let mut pattern = Pattern::default();
                let mut piece = vec![0; 30_000];
                while !stop.load(Ordering::SeqCst) {
                    let part = pattern.take(30_000);
                    client.stream().write_all(part).unwrap();
                    host.stream().read_exact(&mut piece[..part.len()]).unwrap();
                    assert!(&piece[..part.len()] == part);
                    moved.fetch_add(part.len() as u64, Ordering::SeqCst);
                }
            }
        });
        for round in 0..100 {
            let hosts = match round % 3 {
                0 => vec![other.addr()],
                1 => vec![server.addr()],
                _ => vec![server.addr(), other.addr()],
            };
            proxy.reload(&passing(
                &format!(", connect_attempts: {}", 1 + round % 5),
                "",
                &hosts,
            ));
            let before = moved.load(Ordering::SeqCst);
            wait_until("bytes go on", || {
                moved.load(Ordering::SeqCst) > before || echoing.is_finished()
            });
        }
        stop.store(true, Ordering::SeqCst);
        echoing.join().unwrap();
    });
    // Not the listener either: what it let in goes on.
    proxy.reload(&passing("", "", &[other.addr()]).replace("name: web", "name: other"));
    wait_until("the listener is gone", || {
        std::net::TcpStream::connect(addr).is_err()
    });
    let (client, host) = &mut quiet;
    client.send("still");
    host.expect("still");
    host.send("here").finish();
    client.expect("here");
    assert_eq!(client.ending().1, Broken::Closed);
}

fn a_drain_waits_for_connections_and_then_cuts_them(driver: Driver) {
    let server = WireServer::bind();
    let setup = |timeout: &str| Proxy::with(driver).process(&format!("drain_timeout: {timeout}"));
    let mut proxy = setup("20s").start(&passing("", "", &[server.addr()]));
    let (mut client, mut host) = joined(&proxy, &server);
    proxy.signal(libc::SIGTERM);
    client.send("during");
    host.expect("during");
    host.expect_silence(Duration::from_millis(700));
    host.send("the end").finish();
    client.expect("the end");
    client.finish();
    assert_eq!(proxy.wait_end(), Some(0));

    let more = "access_log: [{ stdout: true, format: \"%BYTES_RECEIVED% %RESPONSE_FLAGS%\" }]";
    let mut proxy = setup("300ms").start(&passing("", more, &[server.addr()]));
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("left");
    host.expect("left");
    proxy.signal(libc::SIGTERM);
    // Neither end takes what it got for the whole.
    assert_eq!(client.ending(), (Vec::new(), Broken::Reset));
    assert_eq!(host.ending(), (Vec::new(), Broken::Reset));
    proxy.wait_end();
    wait_until("its line", || proxy.stdout().contains("4 DC"));
}

fn connections_are_logged_and_counted(driver: Driver) {
    let server = WireServer::bind();
    let format = "%BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %PROTOCOL%";
    let more = format!("access_log: [{{ stdout: true, format: \"{format}\" }}]");
    let proxy = Proxy::start(driver, &passing("", &more, &[server.addr()]));
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("12345").finish();
    host.send("123").finish();
    assert_eq!(host.ending().0, b"12345");
    assert_eq!(client.ending().0, b"123");
    let line = format!("5 3 - {} 127.0.0.1 -", server.addr());
    wait_until("its line", || proxy.stdout().contains(&line));
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("6");
    host.expect("6");
    host.reset();
    client.ending();
    wait_until("its line", || proxy.stdout().contains("1 0 UC "));
    let (mut client, mut host) = joined(&proxy, &server);
    client.send("7");
    host.expect("7");
    client.reset();
    host.ending();
    wait_until("its line", || proxy.stdout().contains("1 0 DC "));
    for (name, expect) in [
        ("ringway_listener_tcp_cx_total", 3.0),
        ("ringway_listener_tcp_cx_reset_total", 2.0),
        ("ringway_listener_received_bytes_total", 7.0),
        ("ringway_listener_sent_bytes_total", 3.0),
        ("ringway_cluster_sent_bytes_total", 7.0),
        ("ringway_cluster_received_bytes_total", 3.0),
        ("ringway_cluster_upstream_cx_total", 3.0),
        ("ringway_cluster_upstream_cx_active", 0.0),
    ] {
        wait_equal(expect, || proxy.metric(name, &[]));
    }
}

fn quiet_connections_hold_no_buffers(driver: Driver) {
    let server = WireServer::bind();
    let proxy = start(driver, &server);
    let mut pairs: Vec<_> = (0..20).map(|_| joined(&proxy, &server)).collect();
    let before = sys::rss_kib(proxy.pid());
    pairs.extend((0..400).map(|_| joined(&proxy, &server)));
    for (client, host) in &mut pairs {
        client.send("a");
        host.expect("a");
        host.send("b");
        client.expect("b");
    }
    // Two buffers of 16 KiB each would be 12 MiB.
    wait_until("the buffers are given back", || {
        sys::rss_kib(proxy.pid()) < before + (6 << 10)
    });
    for (client, host) in &mut pairs {
        client.send("c");
        host.expect("c");
    }
}

fn a_unix_socket_is_passed_on_to(driver: Driver) {
    let dir = ringway_tests::TempDir::new();
    let path = dir.join("host.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let config = passing("", "", &[]).replace(
        "endpoints: []",
        &format!("endpoints: [\"unix:{}\"]", path.display()),
    );
    let proxy = Proxy::start(driver, &config);
    let client = Wire::connect(proxy.addr("web"));
    let (mut host, _) = listener.accept().unwrap();
    let length = 20_000_003;
    std::thread::scope(|scope| {
        scope.spawn(|| pour(client.stream(), length));
        let mut pattern = Pattern::default();
        let mut piece = vec![0; 1 << 20];
        loop {
            match host.read(&mut piece).unwrap() {
                0 => break,
                read => assert!(pattern.check(&piece[..read])),
            }
        }
        assert_eq!(pattern.at(), length);
    });
}
