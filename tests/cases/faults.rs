//! When one side breaks, the other sees it, and nobody else sees anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringway_tests::{
    Broken, Client, Driver, Origin, Proxy, Site, WireServer, both_drivers, site, wait_until,
};

both_drivers! {
    a_cut_answer_looks_cut,
    a_client_gone_mid_body_breaks_the_upstream_request,
    a_client_gone_while_waiting_lets_go_of_the_upstream,
    a_client_gone_mid_answer_lets_go_of_the_upstream,
    an_early_answer_comes_while_the_body_is_still_coming,
    an_early_answer_drains_or_closes,
    bytes_after_an_answer_are_never_the_next_answer,
    late_bytes_on_an_idle_connection_are_never_an_answer,
    a_body_on_head_or_204_never_becomes_the_next_answer,
    nonsense_from_the_upstream_is_502,
    a_malformed_chunk_from_the_client_breaks_the_upstream_request,
    aborted_requests_never_mix_answers,
    no_host_is_503,
}

fn a_cut_answer_looks_cut(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    for path in [
        "/cut/100",
        "/cut/1000000",
        "/cut-chunked/100",
        "/cut-chunked/1000000",
    ] {
        for version in ["1.1", "1.0"] {
            let mut client = proxy.client();
            let result = client.try_ask(&format!("GET {path} HTTP/{version}\r\nHost: t\r\n\r\n"));
            let broken = result.map(|answer| (answer.status, answer.body.len()));
            let cut = match broken {
                // To HTTP/1.0 a chunked answer has no length: only a reset tells.
                Err(Broken::Closed | Broken::Truncated | Broken::Reset) => true,
                // The head may not have gone on yet.
                Ok((status, _)) => status == 502,
                Err(_) => false,
            };
            assert!(cut, "{path} {version}: {broken:?}");
        }
    }
}

fn a_client_gone_mid_body_breaks_the_upstream_request(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut count = 0;
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        for reset in [false, true] {
            let mut client = proxy.client();
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n5\r\nhello\r\n"
            ));
            count += 1;
            wait_until("the request is under way", || origin.begun() == count);
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            let seen = origin.nth(count);
            assert!(
                seen.broken.is_some(),
                "{framing}: a short body that looks whole"
            );
        }
    }
    assert_eq!(proxy.client().get("/").status, 200);
}

fn a_client_gone_while_waiting_lets_go_of_the_upstream(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    for reset in [false, true] {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut wire = server.accept();
        wire.head();
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        assert!(wire.until_closed().is_empty());
    }
}

fn a_client_gone_mid_answer_lets_go_of_the_upstream(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    let mut client = proxy.client();
    client.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.head("GET").0, 200);
    assert_eq!(origin.open(), 1);
    drop(client);
    wait_until("the upstream connection is let go", || origin.open() == 0);
}

fn an_early_answer_comes_while_the_body_is_still_coming(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\nfirst");
    let mut wire = server.accept();
    wire.head();
    wire.expect("first");
    wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    let answer = client.read("POST");
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    // Ten megabytes are beyond what is read for nothing.
    assert!(answer.closes());
}

fn an_early_answer_drains_or_closes(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::to(driver, &[server.addr()]);
    let inner = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n",
        inner.len()
    ));
    let mut wire = server.accept();
    wire.head();
    wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.read("POST");
    assert_eq!(answer.status, 403);
    // The rest of the body looks like a request; it must never be one.
    let _ = client.try_send(format!("{inner}GET /next HTTP/1.1\r\nHost: t\r\n\r\n"));
    let done = AtomicBool::new(false);
    let server_saw = std::thread::scope(|scope| {
        let serve = scope.spawn(|| {
            let mut saw = String::new();
            if let Ok(text) = wire.try_until("/next HTTP/1.1\r\n") {
                saw += &text;
                let _ = wire.try_until("\r\n\r\n");
                wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
                return saw;
            }
            let mut next = None;
            ringway_tests::wait_until("another connection, or the client's end", || {
                next = server.try_accept();
                next.is_some() || done.load(Ordering::SeqCst)
            });
            if let Some(mut wire) = next {
                saw += &wire.head();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
            }
            saw
        });
        let next = client.try_read("GET");
        done.store(true, Ordering::SeqCst);
        if let Ok(next) = next {
            assert_eq!(next.text(), "next");
        }
        drop(client);
        serve.join().unwrap()
    });
    // On the first wire the bytes may stand as the body they are, never as a request passed on by the proxy.
    assert!(
        !server_saw.contains("GET /smuggled HTTP/1.1\r\nvia"),
        "{server_saw:?}"
    );
    assert!(
        !server_saw.starts_with("GET /smuggled") || server_saw.starts_with(inner),
        "{server_saw:?}"
    );
}

fn bytes_after_an_answer_are_never_the_next_answer(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&Site::to(&[server.addr()]).text());
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 None\r\n\r\n",
        "HTTP/1.1 304 Same\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut first = server.accept();
        first.head();
        first.send(format!("{answer}{evil}"));
        let status = client.read("GET").status;
        assert!(
            answer.contains(&format!(" {status} ")) || status == 502,
            "{status}"
        );
        assert!(
            first.until_closed().is_empty(),
            "the connection was used again"
        );
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut second = server.accept();
        second.head();
        second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood");
        assert_eq!(client.read("GET").text(), "good", "{answer:?}");
    }
}

fn late_bytes_on_an_idle_connection_are_never_an_answer(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&Site::to(&[server.addr()]).text());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut first = server.accept();
    first.head();
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read("GET").text(), "ok");
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    first.arrived();
    // Either it is closed at once, or at the next use; an answer it is not.
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut second = server.accept();
    second.head();
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    assert_eq!(client.read("GET").text(), "good");
}

fn a_body_on_head_or_204_never_becomes_the_next_answer(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&Site::to(&[server.addr()]).text());
    let mut client = proxy.client();
    client.send("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut first = server.accept();
    first.head();
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil...");
    assert_eq!(client.read("HEAD").status, 200);
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut second = server.accept();
    second.head();
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    assert_eq!(client.read("GET").text(), "good");
}

fn nonsense_from_the_upstream_is_502(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { prefix: / }, cluster: up, retry: { retries: 0 } }";
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[server.addr()])]));
    for bad in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "\r\n",
    ] {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut wire = server.accept();
        wire.head();
        wire.send(bad);
        drop(wire);
        assert_eq!(client.read("GET").status, 502, "{bad:?}");
        // The client's own connection is none the worse.
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut wire = server.accept();
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.read("GET").text(), "ok", "{bad:?}");
    }
}

fn a_malformed_chunk_from_the_client_breaks_the_upstream_request(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = Proxy::to(driver, &[origin.addr()]);
    for bad in [
        "xyz\r\n",
        "5\r\nhelloXX",
        "-1\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
    ] {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        let _ = client.try_send(bad);
        if let Ok(answer) = client.try_read("POST") {
            assert_eq!(answer.status, 400, "{bad:?}");
            assert!(answer.closes());
        }
    }
    assert!(
        origin.seen().iter().all(|seen| seen.broken.is_some()),
        "a broken body looked whole"
    );
}

fn aborted_requests_never_mix_answers(driver: Driver) {
    // Clients leave at every moment; those who stay must get their own answer, always.
    let origin = Origin::start("a");
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&Site::to(&[origin.addr()]).text());
    let addr = proxy.addr("web");
    std::thread::scope(|scope| {
        for thread in 0..2_usize {
            scope.spawn(move || {
                for n in 0..150_usize {
                    let mut client = Client::connect(addr);
                    let ask = format!(
                        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nleft{n:05}GET /bytes/90000 HTTP/1.1\r\nHost: t\r\n\r\n"
                    );
                    let cut = (n * 7 + thread * 3) % (ask.len() + 1);
                    let _ = client.try_send(&ask[..cut]);
                    if n % 3 == 0 {
                        client.set_timeout(Duration::from_millis(20));
                        let _ = client.try_head();
                    }
                    if n % 2 == 0 {
                        client.reset();
                    }
                }
            });
        }
        scope.spawn(move || {
            let mut client = Client::connect(addr);
            for n in 0..300 {
                let text = format!("stay{n}");
                assert_eq!(client.post("/echo", &text).text(), text);
            }
        });
    });
    wait_until("every upstream connection is idle or gone", || {
        proxy.admin("GET", "/ready").status == 200
    });
    assert_eq!(proxy.client().get("/").text(), "a");
}

fn no_host_is_503(driver: Driver) {
    let routes = "- { match: { prefix: / }, cluster: up }";
    let gone = ringway_tests::wire::Refusing::new();
    let proxy = Proxy::start(driver, &site(routes, &[("up", &[gone.addr()])]));
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.get("/");
        assert_eq!(answer.status, 503);
        assert!(
            !answer.closes(),
            "the client's connection is none the worse"
        );
    }
}
