//! Every limit, at its value and one beyond.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ringway_tests::client::chunk;
use ringway_tests::{Broken, Client, Driver, Origin, Proxy, Site, both_drivers, wait_until};

both_drivers! {
    a_request_line_of_the_limit_passes_and_one_byte_more_is_414,
    a_field_of_the_limit_passes_and_one_byte_more_is_431,
    all_fields_of_the_limit_pass_and_one_byte_more_is_431,
    so_many_fields_pass_and_one_more_is_431,
    a_body_of_the_limit_passes_and_one_byte_more_is_413,
    a_chunked_body_of_the_limit_passes_and_one_byte_more_is_413,
    a_head_that_takes_too_long_is_408,
    a_body_slower_than_the_rate_is_cut,
    a_reader_slower_than_the_rate_is_cut,
    the_last_request_of_a_connection_says_close,
    a_listener_admits_so_many_connections,
    the_process_admits_so_many_connections,
    a_reload_shares_out_the_open_files_anew,
    an_endless_head_is_refused_before_it_ends,
    a_limit_that_bites_is_counted,
}

fn limited(driver: Driver, limits: &str) -> (Origin, Proxy) {
    let origin = Origin::start("a");
    let config = Site::to(&[origin.addr()]).text().replace(
        "    routes:",
        &format!("    limits: {{ {limits} }}\n    routes:"),
    );
    let proxy = Proxy::start(driver, &config);
    (origin, proxy)
}

/// Whether this head is let through, else the status of the refusal.
fn verdict(proxy: &Proxy, head: &str) -> u16 {
    let mut client = proxy.client();
    let answer = client.try_ask(head).unwrap();
    if answer.status != 200 {
        assert!(answer.closes());
        client.expect_closed();
    }
    answer.status
}

fn a_request_line_of_the_limit_passes_and_one_byte_more_is_414(driver: Driver) {
    let (_origin, proxy) = limited(driver, "request_line: 300B");
    // "GET /" and " HTTP/1.1" are 14 bytes.
    for (length, status) in [(300, 200), (301, 414), (5000, 414)] {
        let path = "a".repeat(length - 14);
        assert_eq!(
            verdict(&proxy, &format!("GET /{path} HTTP/1.1\r\nHost: t\r\n\r\n")),
            status,
            "{length}"
        );
    }
}

fn a_field_of_the_limit_passes_and_one_byte_more_is_431(driver: Driver) {
    let (_origin, proxy) = limited(driver, "field: 300B");
    for (length, status) in [(300, 200), (301, 431), (5000, 431)] {
        let value = "a".repeat(length - 5);
        assert_eq!(
            verdict(
                &proxy,
                &format!("GET / HTTP/1.1\r\nHost: t\r\nX-A: {value}\r\n\r\n")
            ),
            status,
            "{length}"
        );
    }
}

fn all_fields_of_the_limit_pass_and_one_byte_more_is_431(driver: Driver) {
    let (_origin, proxy) = limited(driver, "fields_total: 1000B");
    for (length, status) in [(900, 200), (1100, 431)] {
        let mut head = String::from("GET / HTTP/1.1\r\n");
        let mut fields = String::from("Host: t\r\n");
        while fields.len() + 60 < length {
            let _ = write!(fields, "X-A: {}\r\n", "a".repeat(43));
        }
        head += &fields;
        // One field that fills it up, its line end counted or not: the margin above is wider than that.
        let _ = write!(
            head,
            "X-B: {}\r\n\r\n",
            "b".repeat(length - fields.len() - 7)
        );
        assert_eq!(verdict(&proxy, &head), status, "{length}");
    }
}

fn so_many_fields_pass_and_one_more_is_431(driver: Driver) {
    let (_origin, proxy) = limited(driver, "fields: 10");
    for (count, status) in [(10, 200), (11, 431), (1000, 431)] {
        let fields = "X-A: 1\r\n".repeat(count - 1);
        assert_eq!(
            verdict(
                &proxy,
                &format!("GET / HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
            ),
            status,
            "{count}"
        );
    }
}

fn a_body_of_the_limit_passes_and_one_byte_more_is_413(driver: Driver) {
    let (origin, proxy) = limited(driver, "body: 1KiB");
    assert_eq!(proxy.client().post("/", "a".repeat(1024)).status, 200);
    let mut client = proxy.client();
    assert_eq!(client.post("/", "a".repeat(1025)).status, 413);
    assert!(
        origin.seen().iter().all(|seen| seen.length == 1024),
        "a body known to be too long was sent on"
    );
}

fn a_chunked_body_of_the_limit_passes_and_one_byte_more_is_413(driver: Driver) {
    let (origin, proxy) = limited(driver, "body: 1KiB");
    for (length, status) in [(1024_usize, 200), (1025, 413)] {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
        client
            .send(chunk(&vec![b'a'; 1000]))
            .send(chunk(&vec![b'a'; length - 1000]));
        let _ = client.try_send("0\r\n\r\n");
        assert_eq!(client.read("POST").status, status, "{length}");
    }
    wait_until("both seen", || origin.seen().len() <= 2);
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| seen.broken.is_some() || seen.length == 1024)
    );
}

fn a_head_that_takes_too_long_is_408(driver: Driver) {
    let (_origin, proxy) = limited(driver, "header_timeout: 300ms");
    let start = Instant::now();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n");
    // A line now and then does not put it off: it would for ever.
    let trickle = client.trickle("X-A: 1\r\n");
    assert_eq!(client.try_read("GET").map(|answer| answer.status), Ok(408));
    assert!(start.elapsed() >= Duration::from_millis(290));
    client.expect_closed();
    trickle.join().unwrap();
}

fn a_body_slower_than_the_rate_is_cut(driver: Driver) {
    let (origin, proxy) = limited(driver, "body_rate: 10KiB, body_rate_grace: 300ms");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
    let trickle = client.trickle("x");
    match client.try_read("POST") {
        Ok(answer) => assert_eq!(answer.status, 408),
        Err(broken) => assert_ne!(broken, Broken::TimedOut),
    }
    assert!(
        origin.nth(1).broken.is_some(),
        "the upstream must see a broken request"
    );
    trickle.join().unwrap();
}

fn a_reader_slower_than_the_rate_is_cut(driver: Driver) {
    let (origin, proxy) = limited(driver, "body_rate: 100KiB, body_rate_grace: 300ms");
    let mut client = proxy.client();
    client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: t\r\n\r\n");
    let (status, _, framing) = client.head("GET");
    assert_eq!(status, 200);
    // Nothing is read; the proxy gives up on this client and lets go of the upstream.
    wait_until("the upstream connection is let go", || origin.open() == 0);
    assert!(matches!(
        client.pattern_body(framing),
        Err(Broken::Truncated | Broken::Reset)
    ));
}

fn the_last_request_of_a_connection_says_close(driver: Driver) {
    let (_origin, proxy) = limited(driver, "requests_per_connection: 3");
    let mut client = proxy.client();
    assert!(!client.get("/").closes());
    assert!(!client.get("/").closes());
    assert!(client.get("/").closes());
    client.expect_closed();
}

fn a_listener_admits_so_many_connections(driver: Driver) {
    let (_origin, proxy) = limited(driver, "connections: 5");
    let mut inside: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    for client in &mut inside {
        assert_eq!(client.get("/").status, 200);
    }
    // The sixth waits in the kernel's queue (or is turned away) and is served once there is room.
    let mut sixth = proxy.client();
    sixth.set_timeout(Duration::from_millis(200));
    sixth.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(
        sixth.try_read("GET").map(|answer| answer.status),
        Err(Broken::TimedOut)
    );
    sixth.set_timeout(ringway_tests::DEADLINE);
    drop(inside.pop());
    assert_eq!(sixth.read("GET").status, 200);
    for client in &mut inside {
        assert_eq!(client.get("/").status, 200);
    }
}

fn the_process_admits_so_many_connections(driver: Driver) {
    let origin = Origin::start("a");
    let config = Site::to(&[origin.addr()]).text();
    let proxy = Proxy::with(driver)
        .process("max_connections: 4")
        .start(&config);
    let mut inside: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut inside {
        assert_eq!(client.get("/").status, 200);
    }
    let mut waiting: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.set_timeout(Duration::from_millis(100));
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(
            client.try_read("GET").map(|answer| answer.status),
            Err(Broken::TimedOut)
        );
        client.set_timeout(ringway_tests::DEADLINE);
    }
    drop(inside);
    // No core starves: whichever core each of them belongs to takes it.
    for client in &mut waiting {
        assert_eq!(client.read("GET").status, 200);
    }
}

/// How many connections the process says that it admits.
fn admitted(proxy: &Proxy) -> u64 {
    let info = proxy.admin("GET", "/server_info").text();
    let after = info.split("\"max_connections\":").nth(1);
    let number = after.and_then(|after| after.split([',', '}']).next());
    number
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("no max_connections in {info}"))
}

fn a_reload_shares_out_the_open_files_anew(driver: Driver) {
    let with = |others: usize| {
        let mut text = String::from("listeners:\n");
        for at in 0..=others {
            let name = if at == 0 {
                "web".to_owned()
            } else {
                format!("other-{at}")
            };
            let route = "match: { prefix: / }, respond: { status: 200, body: a }";
            let _ = writeln!(
                text,
                "  - {{ name: {name}, address: 127.0.0.1:0, routes: [{{ {route} }}] }}"
            );
        }
        text
    };
    let proxy = Proxy::with(driver).nofile(64).start(&with(0));
    let all = admitted(&proxy);
    proxy.reload(&with(2));
    // Two cores, each with a socket of each listener, and a second handle of it: eight files, which four connections had.
    assert_eq!(admitted(&proxy), all - 4);
    let refused = proxy.try_reload(&with(20));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("open files"), "{}", refused.text());
    assert_eq!(admitted(&proxy), all - 4);
    proxy.reload(&with(0));
    assert_eq!(admitted(&proxy), all);
    // The key itself is taken over too, without a restart.
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    let fewer = text.replace("cores: 2", "cores: 2, max_connections: 1");
    std::fs::write(proxy.config_path(), fewer).unwrap();
    assert_eq!(proxy.admin("POST", "/reload").status, 200);
    assert_eq!(admitted(&proxy), 1);
    let mut inside = proxy.client();
    assert_eq!(inside.get("/").status, 200);
    let mut waiting = proxy.client();
    waiting.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    waiting.expect_silence(Duration::from_millis(100));
    drop(inside);
    assert_eq!(waiting.read("GET").status, 200);
}

fn an_endless_head_is_refused_before_it_ends(driver: Driver) {
    let (_origin, proxy) = limited(driver, "fields_total: 4KiB");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n");
    let mut sent = 0;
    while sent < 1 << 20
        && client
            .try_send("X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
            .is_ok()
    {
        sent += 50;
    }
    match client.try_read("GET") {
        Ok(answer) => assert_eq!(answer.status, 431),
        // The refusal may be lost behind the reset that the unread rest brings about.
        Err(broken) => assert_eq!(broken, Broken::Reset),
    }
}

fn a_limit_that_bites_is_counted(driver: Driver) {
    let (_origin, proxy) = limited(driver, "body: 1KiB, header_timeout: 1s");
    assert_eq!(proxy.client().post("/", "a".repeat(2000)).status, 413);
    let mut client = proxy.client();
    assert_eq!(client.send("GET / HT").read("GET").status, 408);
    for name in ["body_too_large", "header_timeout"] {
        let label = format!("limit=\"{name}\"");
        wait_until("the limit is counted", || {
            (proxy.metric(
                "ringway_listener_limit_total",
                &["listener=\"web\"", &label],
            ) - 1.0)
                .abs()
                < 0.1
        });
    }
}
