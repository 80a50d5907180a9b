//! A change of configuration touches what it changes and nothing else; a bad one touches nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ringway_tests::http::Framing;
use ringway_tests::proxy::run;
use ringway_tests::wire::steady_port;
use ringway_tests::{
    Broken, Client, Driver, Origin, Proxy, Site, TempDir, Until, both_drivers, site, wait_until,
};

both_drivers! {
    a_hundred_reloads_disturb_nobody,
    a_reload_keeps_pools_of_untouched_clusters,
    a_bad_configuration_is_refused_and_the_old_one_serves,
    a_changed_file_is_taken,
    a_swapped_symlink_is_taken,
    hup_and_the_command_reload,
    a_new_listener_serves_and_a_removed_one_closes,
    a_hundred_removals_under_a_storm_reset_nobody,
    a_removed_listener_may_come_back_at_once,
    an_address_in_use_is_refused_and_changes_nothing,
    what_needs_a_restart_is_refused,
    a_request_under_way_keeps_its_world,
}

fn respond(body: &str) -> String {
    format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200, body: {body} }} }}] }}\n"
    )
}

fn a_hundred_reloads_disturb_nobody(driver: Driver) {
    let origin = Origin::start("a");
    let config = |n: usize| {
        let routes = format!(
            "- {{ match: {{ path: /version }}, respond: {{ status: 200, body: v{n} }} }}\n- {{ match: {{ prefix: / }}, cluster: up, timeout: 0s }}"
        );
        site(&routes, &[("up", &[origin.addr()])])
    };
    let proxy = Proxy::start(driver, &config(0));
    let addr = proxy.addr("web");
    let done = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (done, served, origin) = (&done, &served, &origin);
        let until = Until(done);
        let download = scope.spawn(move || {
            let mut client = Client::connect(addr);
            client.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
            let (status, _, framing) = client.head("GET");
            assert_eq!((status, framing), (200, Framing::Chunked));
            client.pattern_body(framing)
        });
        let socket = scope.spawn(move || {
            let mut client = Client::connect(addr);
            let ask =
                "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            assert!(client.send(ask).try_head().unwrap().start.contains("101"));
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                let text = format!("message {count:06}");
                client.send(&text);
                assert_eq!(client.take(text.len()), text.as_bytes());
                count += 1;
            }
            count
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(client.get("/").text(), "a");
                    assert!(client.get("/version").text().starts_with('v'));
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for n in 1..=100 {
            proxy.reload(&config(n));
            let goal = served.load(Ordering::SeqCst) + 1;
            wait_until("requests go on", || served.load(Ordering::SeqCst) >= goal);
        }
        wait_until("the last version serves", || {
            Client::connect(addr).get("/version").text() == "v100"
        });
        drop(until);
        assert!(socket.join().unwrap() > 100);
        origin.release();
        assert!(
            download
                .join()
                .unwrap()
                .is_ok_and(|length| length > 100_000)
        );
    });
    assert_eq!(proxy.addr("web"), addr);
    // The cluster never changed: its pools live on, so few connections served it all.
    assert!(
        origin.connections() <= 8,
        "{} upstream connections",
        origin.connections()
    );
}

fn a_reload_keeps_pools_of_untouched_clusters(driver: Driver) {
    let (kept, changed) = (Origin::start("kept"), Origin::start("changed"));
    let routes = "- { match: { prefix: /kept }, cluster: kept }\n- { match: { prefix: / }, cluster: changed }";
    let config = site(
        routes,
        &[("kept", &[kept.addr()]), ("changed", &[changed.addr()])],
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut client = proxy.client();
    client.get("/kept");
    client.get("/");
    // A cluster that changes keeps the connections to the hosts that it keeps.
    proxy.reload(&config.replace("name: changed,", "name: changed, connect_timeout: 1s,"));
    assert_eq!(client.get("/").text(), "changed");
    assert_eq!((kept.connections(), changed.connections()), (1, 1));
    let other = Origin::start("other");
    proxy.reload(&config.replace(&changed.addr().to_string(), &other.addr().to_string()));
    wait_until("the pool of the host that is gone is closed", || {
        changed.open() == 0
    });
    assert_eq!(client.get("/kept").text(), "kept");
    assert_eq!(client.get("/").text(), "other");
    assert_eq!((kept.connections(), changed.connections()), (1, 1));
}

fn a_bad_configuration_is_refused_and_the_old_one_serves(driver: Driver) {
    let proxy = Proxy::start(driver, &respond("old"));
    let mut client = proxy.client();
    for (bad, says) in [
        (respond("new").replace("prefix: /", "prefxi: /"), "prefix"),
        (
            respond("new").replace("respond: { status: 200, body: new }", "cluster: nowhere"),
            "nowhere",
        ),
        (respond("new").replace("prefix: /", "regex: \"(\""), "regex"),
        (respond("new") + "clusters: [\n", "ringway.yaml"),
    ] {
        let answer = proxy.try_reload(&bad);
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.text().contains(says), "{says}: {}", answer.text());
        assert_eq!(client.get("/").text(), "old");
    }
    let failed = proxy.metric("ringway_reloads_failed_total", &[]);
    assert!(failed >= 4.0, "{failed}");
    proxy.wait_log("nowhere");
    proxy.reload(&respond("new"));
    wait_until("the good one is taken", || client.get("/").text() == "new");
}

fn a_changed_file_is_taken(driver: Driver) {
    let proxy = Proxy::start(driver, &respond("old"));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "old");
    proxy.write(&respond("new"));
    wait_until("the new file is taken", || client.get("/").text() == "new");
    // A bad one is refused, in the log.
    proxy.write("listeners: nonsense\n");
    wait_until("the log tells", || proxy.stderr().contains("nonsense"));
    assert_eq!(client.get("/").text(), "new");
}

fn a_swapped_symlink_is_taken(driver: Driver) {
    // As Kubernetes mounts a ConfigMap: FILE -> ..data/FILE, ..data -> ..VERSION, swapped by renaming a new link over it.
    use std::os::unix::fs::symlink;
    let dir = TempDir::new();
    let path = dir.join("ringway.yaml");
    let version = |name: &str, body: &str| {
        std::fs::create_dir(dir.join(name)).unwrap();
        std::fs::write(dir.join(name).join("ringway.yaml"), respond(body)).unwrap();
    };
    version("..one", "old");
    version("..two", "new");
    symlink("..one", dir.join("..data")).unwrap();
    symlink("..data/ringway.yaml", &path).unwrap();
    let (swap, data) = (dir.join("..tmp"), dir.join("..data"));
    let mut proxy = Proxy::with(driver)
        .process("cores: 1")
        .spawn_in(dir, &path, &respond("old"));
    proxy.wait_ready();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "old");
    symlink("..two", &swap).unwrap();
    std::fs::write(
        proxy.dir().join("..two/ringway.yaml"),
        proxy.whole(&respond("new")),
    )
    .unwrap();
    std::fs::rename(&swap, &data).unwrap();
    wait_until("the new version is taken", || {
        client.get("/").text() == "new"
    });
}

fn hup_and_the_command_reload(driver: Driver) {
    let proxy = Proxy::start(driver, &respond("one"));
    let mut client = proxy.client();
    proxy.write(&respond("two"));
    proxy.signal(libc::SIGHUP);
    wait_until("HUP reloads", || client.get("/").text() == "two");
    proxy.write(&respond("three"));
    let admin = format!("unix:{}", proxy.admin_socket().display());
    let (code, out, err) = run(&["reload", "--admin", &admin], "");
    assert_eq!(code, 0, "{out}{err}");
    wait_until("the command reloads", || client.get("/").text() == "three");
    proxy.write(&respond("three").replace("status", "statsu"));
    let (code, out, err) = run(&["reload", "--admin", &admin], "");
    assert_eq!(code, 1, "{out}{err}");
    assert!((out + &err).contains("statsu"), "it prints why not");
}

fn a_new_listener_serves_and_a_removed_one_closes(driver: Driver) {
    let proxy = Proxy::start(driver, &respond("web"));
    let web = proxy.addr("web");
    let mut kept = proxy.client();
    kept.get("/");
    let other = respond("other")
        .replace("name: web", "name: other")
        .replace("listeners:\n", "");
    proxy.reload(&(respond("web") + &other));
    let addr = proxy.addr("other");
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/").text(), "other");
    proxy.reload(&respond("web"));
    // Its idle connections close, its address refuses; the other one is untouched.
    client.expect_closed();
    wait_until("its address refuses", || Client::try_connect(addr).is_err());
    assert_eq!(proxy.addr("web"), web);
    assert_eq!(kept.get("/").text(), "web");
}

fn a_hundred_removals_under_a_storm_reset_nobody(driver: Driver) {
    // Ten listeners leave at a time, ten times over.
    let ports: Vec<u16> = (0..10).map(|_| steady_port()).collect();
    let proxy = Proxy::start(driver, &respond("web"));
    let mut all = respond("web");
    for port in &ports {
        let name = format!("name: other-{port}");
        let other = respond("other")
            .replace("name: web", &name)
            .replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        all += &other.replace("listeners:\n", "");
    }
    let done = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    let (done, served) = (&done, &served);
    std::thread::scope(|scope| {
        let until = Until(done);
        for ports in ports.chunks(3) {
            scope.spawn(move || {
                for port in ports
                    .iter()
                    .cycle()
                    .take_while(|_| !done.load(Ordering::SeqCst))
                {
                    // Refused is fine: the listener is away. Once connected, the answer must come.
                    if let Ok(mut client) = Client::try_connect(([127, 0, 0, 1], *port).into()) {
                        let answer = client.try_ask("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
                        assert_eq!(answer.map(|answer| answer.text()), Ok("other".to_owned()));
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..10 {
            proxy.reload(&all);
            let goal = served.load(Ordering::SeqCst) + 100;
            wait_until("the listeners serve", || {
                served.load(Ordering::SeqCst) >= goal
            });
            proxy.reload(&respond("web"));
        }
        drop(until);
    });
}

fn an_address_in_use_is_refused_and_changes_nothing(driver: Driver) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let proxy = Proxy::start(driver, &respond("old"));
    let other = respond("x")
        .replace("name: web", "name: other")
        .replace("127.0.0.1:0", &addr.to_string());
    let answer = proxy.try_reload(&(respond("new") + &other.replace("listeners:\n", "")));
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains(&addr.to_string()) || answer.text().contains("other"),
        "{}",
        answer.text()
    );
    assert_eq!(proxy.client().get("/").text(), "old");
}

fn what_needs_a_restart_is_refused(driver: Driver) {
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&respond("old"));
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    std::fs::write(proxy.config_path(), text.replace("cores: 1", "cores: 2")).unwrap();
    let answer = proxy.admin("POST", "/reload");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("restart"), "{}", answer.text());
    assert_eq!(proxy.client().get("/").text(), "old");
}

fn a_request_under_way_keeps_its_world(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Site::to(&[origin.addr()]).start(driver);
    let mut client = proxy.client();
    client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    origin.nth(1);
    // Its route and its cluster go; it does not.
    proxy.reload(&respond("new"));
    wait_until("the new one serves", || {
        proxy.client().get("/").text() == "new"
    });
    client.expect_silence(Duration::from_millis(50));
    origin.release();
    assert_eq!(client.read("GET").text(), "a");
    let next = client
        .try_ask("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        .map(|answer| answer.text());
    assert!(
        next == Ok("new".to_owned()) || next == Err(Broken::Closed),
        "{next:?}"
    );
}

fn a_removed_listener_may_come_back_at_once(driver: Driver) {
    let proxy = Proxy::start(driver, &respond("web"));
    let other = respond("other")
        .replace("name: web", "name: other")
        .replace("127.0.0.1:0", &format!("127.0.0.1:{}", steady_port()));
    let both = respond("web") + &other.replace("listeners:\n", "");
    proxy.reload(&both);
    let addr = proxy.addr("other");
    for _ in 0..20 {
        proxy.reload(&respond("web"));
        proxy.reload(&both);
        // Its old sockets would still close now, and keep away the clients whose connection falls to them.
        for _ in 0..8 {
            let mut client = Client::connect(addr);
            assert_eq!(client.retransmitted(), 0, "its connect was put off");
            assert_eq!(client.get("/").text(), "other");
        }
    }
}
