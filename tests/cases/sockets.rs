//! Sockets of every kind, and none of them lost: addresses, host names, descriptors, the manager's socket.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use ringway_tests::wire::{Full, Refusing, steady_port};
use ringway_tests::{
    Client, Driver, Origin, Proxy, TempDir, both_drivers, site, sys, wait_for, wait_steady,
    wait_until,
};

both_drivers! {
    listens_on_unix_sockets,
    a_file_that_is_no_socket_is_left_alone,
    listens_and_connects_over_ipv6,
    resolves_host_names,
    keeps_no_more_idle_connections_than_told,
    given_up_connects_leave_no_descriptor,
    listeners_that_come_and_go_leave_no_descriptor,
    rests_when_there_is_nothing_to_do,
    tells_the_service_manager,
    an_upstream_that_comes_back_is_used_again,
    upstream_sockets_are_as_asked_for,
}

const ALL: &str = "- { match: { prefix: / }, cluster: up, retry: { retries: 0 } }";

fn listens_on_unix_sockets(driver: Driver) {
    let origin = Origin::start("a");
    let config =
        site(ALL, &[("up", &[origin.addr()])]).replace("127.0.0.1:0", "\"unix:DIR/web.sock\"");
    let mut proxy = Proxy::start(driver, &config);
    let path = proxy.dir().join("web.sock");
    let mut client = Client::try_unix(&path).unwrap();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "a");
    }
    drop(client);
    proxy.signal(libc::SIGTERM);
    assert_eq!(proxy.wait_end(), Some(0));
    // A socket left over by a process that died is no obstacle.
    let mut again = Proxy::with(driver).spawn(&config);
    again.wait_ready();
    assert_eq!(
        Client::try_unix(&again.dir().join("web.sock"))
            .unwrap()
            .get("/")
            .text(),
        "a"
    );
}

fn a_file_that_is_no_socket_is_left_alone(driver: Driver) {
    let origin = Origin::start("a");
    let good = site(ALL, &[("up", &[origin.addr()])]);
    let proxy = Proxy::start(driver, &good);
    let (file, link, left) = (
        proxy.dir().join("file"),
        proxy.dir().join("link"),
        proxy.dir().join("left"),
    );
    std::fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let at = |path: &std::path::Path| {
        let listener = format!(
            "listeners:\n  - {{ name: unix, address: \"unix:{}\", routes: [] }}",
            path.display()
        );
        good.replacen("listeners:", &listener, 1)
    };
    for path in [&file, &link] {
        let refused = proxy.try_reload(&at(path));
        assert_ne!(refused.status, 200, "{}", refused.text());
        assert!(refused.text().contains("no socket"), "{}", refused.text());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    }
    // What a process left when it died is taken over.
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    proxy.reload(&at(&left));
    std::os::unix::net::UnixStream::connect(&left).unwrap();
    assert_eq!(proxy.client().get("/").status, 200);
}

fn listens_and_connects_over_ipv6(driver: Driver) {
    let loopback: SocketAddr = "[::1]:0".parse().unwrap();
    if TcpListener::bind(loopback).is_err() {
        eprintln!("skipped: no IPv6 here");
        return;
    }
    let origin = Origin::start_at("six", loopback);
    let config = site(ALL, &[("up", &[origin.addr()])])
        .replace("address: 127.0.0.1:0", "address: \"[::1]:0\"");
    let proxy = Proxy::start(driver, &config);
    assert!(proxy.addr("web").is_ipv6());
    assert_eq!(proxy.client().get("/").text(), "six");
    assert_eq!(origin.only().get("x-forwarded-for"), Some("::1"));
}

fn resolves_host_names(driver: Driver) {
    let origin = Origin::start("a");
    let routes = ALL.replace("retries: 0", "retries: 3");
    let name = format!("localhost:{}", origin.addr().port());
    let config =
        site(&routes, &[("up", &[origin.addr()])]).replace(&origin.addr().to_string(), &name);
    let proxy = Proxy::start(driver, &config);
    assert_eq!(proxy.client().get("/").text(), "a");
}

fn keeps_no_more_idle_connections_than_told(driver: Driver) {
    let origin = Origin::start("a");
    let config = site(ALL, &[("up", &[origin.addr()])])
        .replace("name: up,", "name: up, pool: { max_idle: 1 },");
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    origin.nth(4);
    assert_eq!(origin.open(), 4);
    origin.release();
    for client in &mut clients {
        assert_eq!(client.read("GET").status, 200);
    }
    wait_until("all but one are closed", || origin.open() == 1);
}

fn given_up_connects_leave_no_descriptor(driver: Driver) {
    let full = Full::new();
    let gone = Refusing::new();
    let routes = format!("- {{ match: {{ prefix: /gone }}, cluster: gone }}\n{ALL}");
    let config = site(&routes, &[("up", &[full.addr()]), ("gone", &[gone.addr()])])
        .replace("name: up,", "name: up, connect_timeout: 30ms,");
    let proxy = Proxy::start(driver, &config);
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 503);
    assert_eq!(client.get("/gone").status, 503);
    let before = sys::open_files(proxy.pid());
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 503);
        assert_eq!(client.get("/gone").status, 503);
    }
    wait_until("its descriptors are given back", || {
        sys::open_files(proxy.pid()) <= before + 2
    });
}

fn listeners_that_come_and_go_leave_no_descriptor(driver: Driver) {
    let origin = Origin::start("a");
    let config = site(ALL, &[("up", &[origin.addr()])]);
    let extra = format!(
        "  - {{ name: other, address: 127.0.0.1:{}, routes: [{{ match: {{ prefix: / }}, cluster: up }}] }}\nclusters:",
        steady_port()
    );
    let both = config.replace("clusters:", &extra);
    let proxy = Proxy::start(driver, &config);
    proxy.reload(&both);
    proxy.reload(&config);
    let before = wait_steady("it has come to rest", || sys::open_files(proxy.pid()));
    for _ in 0..30 {
        wait_until("its address is free", || {
            proxy.try_reload(&both).status == 200
        });
        assert_eq!(Client::connect(proxy.addr("other")).get("/").text(), "a");
        proxy.reload(&config);
    }
    wait_until("its descriptors are given back", || {
        sys::open_files(proxy.pid()) <= before + 4
    });
}

fn rests_when_there_is_nothing_to_do(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut clients: Vec<Client> = (0..100).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    // Over whole seconds, since a tick of CPU time is 10 ms; the best of three, since the end of the work counts too.
    let least = (0..3).map(|_| {
        let ticks = sys::cpu_ticks(proxy.pid());
        clients[0].expect_silence(Duration::from_secs(1));
        sys::cpu_ticks(proxy.pid()) - ticks
    });
    let least = least.min().unwrap();
    assert!(
        least <= 5,
        "{least} ticks of 10 ms in a second with nothing to do"
    );
}

fn tells_the_service_manager(driver: Driver) {
    let dir = TempDir::new();
    let path = dir.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(ringway_tests::DEADLINE))
        .unwrap();
    let origin = Origin::start("a");
    let config = site(ALL, &[("up", &[origin.addr()])]);
    let proxy = Proxy::with(driver)
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .start(&config);
    let hear = |word: &str| {
        wait_for(&format!("{word} to the manager"), || {
            let mut buf = [0; 4096];
            let n = socket.recv(&mut buf).ok()?;
            String::from_utf8_lossy(&buf[..n])
                .lines()
                .any(|line| line.starts_with(word))
                .then_some(())
        });
    };
    hear("READY=1");
    proxy.signal(libc::SIGHUP);
    hear("RELOADING=1");
    hear("READY=1");
    proxy.signal(libc::SIGTERM);
    hear("STOPPING=1");
}

fn an_upstream_that_comes_back_is_used_again(driver: Driver) {
    let port = steady_port();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let proxy = Proxy::start(driver, &site(ALL, &[("up", &[addr])]));
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 503);
    let origin = Origin::start_at("back", addr);
    wait_until("it is used again", || client.get("/").status == 200);
    drop(origin);
}

/// The timer of a connection to this port, as the kernel's table has it: 2 is that of keep-alive.
fn timer_of(to: SocketAddr) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", to.port());
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, remote, state, _, timer, ..] = words[..] else {
            return None;
        };
        (remote.ends_with(&port) && state == "01").then(|| timer.to_owned())
    })
}

fn upstream_sockets_are_as_asked_for(driver: Driver) {
    let server = ringway_tests::WireServer::bind();
    for (keys, from, timer) in [
        (
            "bind: [\"::1\", 127.0.77.9], keep_alive: 60s",
            "127.0.77.9",
            "02:",
        ),
        ("keep_alive: 0, user_timeout: 5s", "127.0.0.1", "00:"),
    ] {
        let config = site(ALL, &[("up", &[server.addr()])])
            .replace("name: up,", &format!("name: up, socket: {{ {keys} }},"));
        let proxy = Proxy::with(driver).process("cores: 1").start(&config);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut wire = server.accept();
        wire.head();
        let peer = wire.stream().peer_addr().unwrap();
        assert_eq!(peer.ip().to_string(), from);
        let found = wait_for("the request is acknowledged", || {
            timer_of(server.addr()).filter(|timer| !timer.starts_with("01"))
        });
        assert!(found.starts_with(timer), "{keys}: {found}");
    }
}
