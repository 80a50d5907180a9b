//! RPC protocols from outside: calls of Bolt and Dubbo on the wire, byte by byte, on both sides of the proxy.

use std::time::Duration;

use ringway_tests::{Driver, Proxy, Wire, WireServer, both_drivers, wait_until};

both_drivers! {
    calls_of_two_clients_share_a_connection_under_ids_of_the_proxys_own,
    answers_come_back_in_any_order,
    calls_are_routed_by_service_method_and_header,
    a_call_that_no_route_takes_is_refused_in_the_protocol,
    a_call_to_nobody_is_refused_in_the_protocol,
    a_call_in_vain_times_out_by_its_own_limit_and_its_late_answer_is_dropped,
    a_one_way_call_is_passed_on_and_never_answered,
    pings_are_answered_here_on_both_sides,
    quiet_upstreams_are_asked_whether_they_live,
    an_upstream_that_dies_mid_call_is_an_error_for_its_calls,
    an_upstream_that_says_goodbye_gets_no_more_calls,
    versions_of_bolt_never_share_a_connection,
    headers_of_the_route_are_written_into_the_frame,
    large_calls_pass_whole,
    what_is_no_frame_ends_its_connection_alone,
    a_frame_over_the_limit_is_answered_and_passed_over,
    a_frame_that_comes_too_slowly_ends_its_connection,
    answers_that_a_client_does_not_read_cut_it_off_alone,
    a_dubbo_provider_that_leaves_is_left,
    a_dubbo_consumer_is_told_when_the_proxy_leaves,
    auto_finds_the_protocol_by_the_first_bytes,
    a_call_in_flight_outlives_a_reload_and_a_drain,
    mirrored_calls_go_to_both,
}

/// A listener of that protocol with these routes, and clusters of one host each.
pub(crate) fn proxy(
    driver: Driver,
    protocol: &str,
    routes: &str,
    clusters: &[(&str, &WireServer)],
) -> Proxy {
    let mut config = format!(
        "listeners:\n  - name: main\n    address: 127.0.0.1:0\n    protocol: {protocol}\n    routes:\n"
    );
    for line in routes.lines() {
        config.push_str(&format!("      {line}\n"));
    }
    config.push_str("clusters:\n");
    for (name, server) in clusters {
        let cluster_protocol = if protocol == "auto" { "bolt" } else { protocol };
        config.push_str(&format!(
            "  - {{ name: {name}, protocol: {cluster_protocol}, endpoints: [\"{}\"] }}\n",
            server.addr()
        ));
    }
    Proxy::with(driver).process("cores: 1").start(&config)
}

pub(crate) fn one(driver: Driver, protocol: &str) -> (WireServer, Proxy) {
    let server = WireServer::bind();
    let proxy = proxy(driver, protocol, "- cluster: up", &[("up", &server)]);
    (server, proxy)
}

pub(crate) fn client(proxy: &Proxy) -> Wire {
    Wire::connect(proxy.addr("main"))
}

/// A frame of Bolt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bolt {
    /// 1, or 2 with its sub-version 1.
    pub(crate) proto: u8,
    pub(crate) kind: u8,
    pub(crate) command: u16,
    pub(crate) id: u32,
    /// The timeout of a call, the status of an answer.
    pub(crate) last: u32,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
}

pub(crate) const ANSWER: u8 = 0;
pub(crate) const CALL: u8 = 1;
pub(crate) const ONE_WAY: u8 = 2;

pub(crate) fn call(id: u32, headers: &[(&str, &str)], content: &str) -> Bolt {
    Bolt {
        proto: 1,
        kind: CALL,
        command: 1,
        id,
        last: 5000,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        content: content.as_bytes().to_vec(),
    }
}

pub(crate) fn answer(to: &Bolt, content: &str) -> Bolt {
    Bolt {
        kind: ANSWER,
        command: if to.command == 0 { 0 } else { 2 },
        last: 0,
        headers: Vec::new(),
        content: content.as_bytes().to_vec(),
        ..to.clone()
    }
}

impl Bolt {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut block = Vec::new();
        for text in self.headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        let mut bytes = vec![self.proto];
        if self.proto == 2 {
            bytes.push(1);
        }
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.command.to_be_bytes());
        bytes.push(1);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.push(1);
        if self.proto == 2 {
            bytes.push(0);
        }
        match self.kind {
            ANSWER => bytes.extend_from_slice(&(self.last as u16).to_be_bytes()),
            _ => bytes.extend_from_slice(&self.last.to_be_bytes()),
        }
        bytes.extend_from_slice(&0_u16.to_be_bytes());
        bytes.extend_from_slice(&(block.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&(self.content.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(&self.content);
        bytes
    }

    /// Takes the next frame off a wire; the class of an answer is passed over.
    #[track_caller]
    pub(crate) fn take(wire: &mut Wire) -> Self {
        let proto = wire.take(1)[0];
        if proto == 2 {
            wire.take(1);
        }
        let head = wire.take(9);
        if proto == 2 {
            wire.take(1);
        }
        let kind = head[0];
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0_u32, |n, byte| n << 8 | u32::from(*byte))
        };
        let last = number(&wire.take(if kind == ANSWER { 2 } else { 4 }));
        let lengths = wire.take(8);
        wire.take(number(&lengths[..2]) as usize);
        let block = wire.take(number(&lengths[2..4]) as usize);
        let content = wire.take(number(&lengths[4..]) as usize);
        let (mut texts, mut rest) = (Vec::new(), &block[..]);
        while !rest.is_empty() {
            let len = number(&rest[..4]) as usize;
            texts.push(String::from_utf8(rest[4..4 + len].to_vec()).unwrap());
            rest = &rest[4 + len..];
        }
        Self {
            proto,
            kind,
            command: number(&head[1..3]) as u16,
            id: number(&head[4..8]),
            last,
            headers: texts
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect(),
            content,
        }
    }

    /// The next frame that is no heartbeat; those are answered.
    #[track_caller]
    pub(crate) fn take_call(wire: &mut Wire) -> Self {
        loop {
            let frame = Self::take(wire);
            if frame.command != 0 {
                return frame;
            }
            wire.send(answer(&frame, "").bytes());
        }
    }
}

fn calls_of_two_clients_share_a_connection_under_ids_of_the_proxys_own(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let (mut a, mut b) = (client(&proxy), client(&proxy));
    let asked = call(7, &[("service", "echo:1.0")], "a");
    a.send(asked.bytes());
    let mut wire = server.accept();
    let first = Bolt::take_call(&mut wire);
    b.send(call(7, &[("service", "echo:1.0")], "b").bytes());
    let second = Bolt::take_call(&mut wire);
    assert_ne!(first.id, second.id);
    wire.send(answer(&second, "to b").bytes());
    wire.send(answer(&first, "to a").bytes());
    let to_b = Bolt::take(&mut b);
    assert_eq!((to_b.id, &to_b.content[..]), (7, &b"to b"[..]));
    let to_a = Bolt::take(&mut a);
    assert_eq!((to_a.id, &to_a.content[..]), (7, &b"to a"[..]));
    assert_eq!((first.headers, first.last), (asked.headers, 5000));
}

fn answers_come_back_in_any_order(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    let ids = [1, 0xffff_ffff, 0, 0x8000_0000];
    let all: Vec<u8> = ids
        .iter()
        .flat_map(|id| call(*id, &[], &id.to_string()).bytes())
        .collect();
    client.send(all);
    let mut wire = server.accept();
    let mut calls: Vec<_> = ids.iter().map(|_| Bolt::take_call(&mut wire)).collect();
    calls.reverse();
    for asked in &calls {
        let content = String::from_utf8(asked.content.clone()).unwrap();
        wire.send(answer(asked, &content).bytes());
    }
    for id in ids.iter().rev() {
        let got = Bolt::take(&mut client);
        assert_eq!((got.id, got.content), (*id, id.to_string().into_bytes()));
    }
}

fn calls_are_routed_by_service_method_and_header(driver: Driver) {
    let servers: Vec<_> = (0..4).map(|_| WireServer::bind()).collect();
    let routes = "- { match: { rpc: { service: \"echo:1.0\", method: say }, headers: [{ name: tenant, exact: blue }] }, cluster: c0 }
- { match: { rpc: { service: \"echo:1.0\" } }, cluster: c1 }
- { match: { rpc: { service: \"com.test.*\", version: \"2.0\" } }, cluster: c2 }
- { cluster: c3 }";
    let clusters = [
        ("c0", &servers[0]),
        ("c1", &servers[1]),
        ("c2", &servers[2]),
        ("c3", &servers[3]),
    ];
    let proxy = proxy(driver, "bolt", routes, &clusters);
    let (service, method) = ("service", "sofa_head_method_name");
    for (at, headers) in [
        (
            0,
            &[(service, "echo:1.0"), (method, "say"), ("tenant", "blue")][..],
        ),
        (
            1,
            &[(service, "echo:1.0"), (method, "say"), ("tenant", "red")],
        ),
        (1, &[(service, "echo:1.0")]),
        (2, &[(service, "com.test.Other:2.0")]),
        (3, &[(service, "com.test.Other:1.0")]),
        // No header can pretend to be a service.
        (3, &[(":service", "echo:1.0")]),
        (3, &[]),
    ] {
        let mut client = client(&proxy);
        client.send(call(1, headers, "x").bytes());
        let mut wire = servers[at].accept();
        let asked = Bolt::take_call(&mut wire);
        wire.send(answer(&asked, "y").bytes());
        assert_eq!(Bolt::take(&mut client).content, b"y", "{headers:?}");
        drop(wire);
        wait_until("the proxy sees the end of its connection", || {
            proxy.metric(
                "ringway_cluster_upstream_cx_active",
                &[&format!("cluster=\"c{at}\"")],
            ) == 0.0
        });
    }
}

fn a_call_that_no_route_takes_is_refused_in_the_protocol(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { match: { rpc: { service: other } }, cluster: up }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    let mut bytes = call(1, &[("service", "echo:1.0")], "x").bytes();
    let one_way = Bolt {
        kind: ONE_WAY,
        id: 2,
        ..call(2, &[], "x")
    };
    bytes.extend_from_slice(&one_way.bytes());
    bytes.extend_from_slice(&call(3, &[], "x").bytes());
    client.send(bytes);
    let mut answers = [Bolt::take(&mut client), Bolt::take(&mut client)];
    answers.sort_by_key(|answer| answer.id);
    let said: Vec<_> = answers
        .iter()
        .map(|answer| (answer.kind, answer.id, answer.last))
        .collect();
    assert_eq!(said, [(ANSWER, 1, 6), (ANSWER, 3, 6)]);
}

fn a_call_to_nobody_is_refused_in_the_protocol(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    drop(server);
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.kind, refused.id, refused.last), (ANSWER, 1, 0x10));
}

fn a_call_in_vain_times_out_by_its_own_limit_and_its_late_answer_is_dropped(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(
        Bolt {
            last: 200,
            ..call(1, &[], "slow")
        }
        .bytes(),
    );
    let mut wire = server.accept();
    let slow = Bolt::take_call(&mut wire);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 7));
    client.send(call(1, &[], "quick").bytes());
    let quick = Bolt::take_call(&mut wire);
    assert_eq!(quick.content, b"quick");
    wire.send(answer(&slow, "late").bytes());
    wire.send(answer(&quick, "in time").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"in time");
    assert_eq!(
        proxy.metric("ringway_cluster_rpc_late_total", &["cluster=\"up\""]),
        1.0
    );
}

fn a_one_way_call_is_passed_on_and_never_answered(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(
        Bolt {
            kind: ONE_WAY,
            ..call(1, &[], "fire")
        }
        .bytes(),
    );
    let mut wire = server.accept();
    let fired = Bolt::take_call(&mut wire);
    assert_eq!((fired.kind, &fired.content[..]), (ONE_WAY, &b"fire"[..]));
    client.send(call(2, &[], "x").bytes());
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut client).id, 2);
}

fn pings_are_answered_here_on_both_sides(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    let ping = Bolt {
        command: 0,
        last: 0xffff_ffff,
        ..call(9, &[], "")
    };
    client.send(ping.bytes());
    let pong = Bolt::take(&mut client);
    assert_eq!((pong.kind, pong.command, pong.id), (ANSWER, 0, 9));
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    Bolt::take_call(&mut wire);
    wire.send(Bolt { id: 77, ..ping }.bytes());
    loop {
        // Heartbeats of the proxy's own may come between.
        let frame = Bolt::take(&mut wire);
        if frame.kind == ANSWER {
            assert_eq!((frame.command, frame.id), (0, 77));
            return;
        }
    }
}

fn quiet_upstreams_are_asked_whether_they_live(driver: Driver) {
    let server = WireServer::bind();
    let proxy = Proxy::with(driver).process("cores: 1").start(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"], rpc: {{ heartbeat: 300ms, heartbeat_timeout: 200ms }} }}\n",
        server.addr()
    ));
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    Bolt::take(&mut client);
    for _ in 0..3 {
        let ping = Bolt::take(&mut wire);
        assert_eq!((ping.kind, ping.command), (CALL, 0));
    }
    // The third that goes without an answer is the last.
    wire.until_closed();
    assert_eq!(
        proxy.metric(
            "ringway_cluster_upstream_cx_ping_timeout_total",
            &["cluster=\"up\""]
        ),
        1.0
    );
}

fn an_upstream_that_dies_mid_call_is_an_error_for_its_calls(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    Bolt::take_call(&mut wire);
    drop(wire);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 0x10));
    client.send(call(2, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut client).id, 2);
}

fn an_upstream_that_says_goodbye_gets_no_more_calls(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut old = server.accept();
    let asked = Bolt::take_call(&mut old);
    old.send(
        Bolt {
            command: 100,
            ..call(0, &[], "")
        }
        .bytes(),
    );
    wait_until("the goodbye is seen", || {
        proxy.metric(
            "ringway_cluster_upstream_cx_goaway_total",
            &["cluster=\"up\""],
        ) == 1.0
    });
    client.send(call(2, &[], "x").bytes());
    let mut new = server.accept();
    let second = Bolt::take_call(&mut new);
    old.send(answer(&asked, "from the old").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"from the old");
    old.until_closed();
    new.send(answer(&second, "from the new").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"from the new");
}

fn versions_of_bolt_never_share_a_connection(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "one").bytes());
    let mut one = server.accept();
    Bolt::take_call(&mut one);
    client.send(
        Bolt {
            proto: 2,
            ..call(2, &[], "two")
        }
        .bytes(),
    );
    let mut two = server.accept();
    let asked = Bolt::take_call(&mut two);
    assert_eq!((asked.proto, &asked.content[..]), (2, &b"two"[..]));
    two.send(answer(&asked, "y").bytes());
    let got = Bolt::take(&mut client);
    assert_eq!((got.proto, got.id), (2, 2));
}

fn headers_of_the_route_are_written_into_the_frame(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { cluster: up, request_headers: { set: { tenant: blue, trace: \"1\" }, remove: [secret] } }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    let headers = [("service", "echo:1.0"), ("tenant", "red"), ("secret", "x")];
    client.send(call(1, &headers, "content").bytes());
    let asked = Bolt::take_call(&mut server.accept());
    let mut got = asked.headers;
    got.sort();
    let expect = [("service", "echo:1.0"), ("tenant", "blue"), ("trace", "1")];
    let expect = expect.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        (got, &asked.content[..]),
        (expect.to_vec(), &b"content"[..])
    );
}

fn large_calls_pass_whole(driver: Driver) {
    let server = WireServer::bind();
    let routes = "- { cluster: up, timeout: 0s }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server)]);
    let mut client = client(&proxy);
    let large: String = (0..3_000_000)
        .map(|at| char::from(b'a' + (at % 23) as u8))
        .collect();
    // However long a busy machine takes.
    let bytes = Bolt {
        last: 0,
        ..call(1, &[], &large)
    }
    .bytes();
    let sending = std::thread::spawn(move || {
        client.send(bytes);
        client
    });
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    assert!(asked.content == large.as_bytes());
    let mut client = sending.join().unwrap();
    let sending = std::thread::spawn(move || {
        wire.send(answer(&asked, &large).bytes());
        large
    });
    let got = Bolt::take(&mut client);
    assert_eq!(got.last, 0);
    assert!(got.content == sending.join().unwrap().as_bytes());
}

fn what_is_no_frame_ends_its_connection_alone(driver: Driver) {
    let (server, proxy) = one(driver, "bolt");
    let (mut good, mut bad) = (client(&proxy), client(&proxy));
    good.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    bad.send(b"GET / HTTP/1.1\r\n\r\n");
    bad.ending();
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut good).content, b"y");
    let reason = ["listener=\"main\"", "reason=\"bad_magic\""];
    assert_eq!(
        proxy.metric("ringway_listener_rpc_malformed_total", &reason),
        1.0
    );
}

fn a_frame_over_the_limit_is_answered_and_passed_over(driver: Driver) {
    let server = WireServer::bind();
    let config = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, rpc: {{ max_frame: 1KiB }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut client = client(&proxy);
    let mut bytes = call(1, &[], &"x".repeat(5000)).bytes();
    bytes.extend_from_slice(&call(2, &[], "small").bytes());
    client.send(bytes);
    let refused = Bolt::take(&mut client);
    assert_eq!((refused.id, refused.last), (1, 9));
    assert_eq!(Bolt::take_call(&mut server.accept()).content, b"small");
}

fn a_frame_that_comes_too_slowly_ends_its_connection(driver: Driver) {
    let server = WireServer::bind();
    let config = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, limits: {{ body_rate: 1KiB, body_rate_grace: 200ms }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let mut slow = client(&proxy);
    let mut bytes = call(1, &[], &"x".repeat(5000)).bytes();
    bytes.truncate(100);
    slow.send(bytes);
    slow.ending();
    let slow = ["listener=\"main\"", "limit=\"body_too_slow\""];
    assert_eq!(proxy.metric("ringway_listener_limit_total", &slow), 1.0);
}

fn answers_that_a_client_does_not_read_cut_it_off_alone(driver: Driver) {
    let server = WireServer::bind();
    let config = format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, rpc: {{ queue: 1MiB }}, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        server.addr()
    );
    let proxy = Proxy::with(driver).process("cores: 1").start(&config);
    let (mut deaf, mut good) = (client(&proxy), client(&proxy));
    let all: Vec<u8> = (0..64).flat_map(|id| call(id, &[], "x").bytes()).collect();
    deaf.send(all);
    let mut wire = server.accept();
    let large = "y".repeat(1 << 20);
    for _ in 0..64 {
        let asked = Bolt::take_call(&mut wire);
        wire.send(answer(&asked, &large).bytes());
    }
    wait_until("the client is cut off", || {
        let queue = ["listener=\"main\"", "limit=\"rpc_queue\""];
        proxy.metric("ringway_listener_limit_total", &queue) == 1.0
    });
    good.send(call(1, &[], "x").bytes());
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "z").bytes());
    assert_eq!(Bolt::take(&mut good).content, b"z");
}

/// A frame of Dubbo.
pub(crate) fn dubbo(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xda, 0xbb, flags, status];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Takes the next frame off a wire: flags, status, id and body.
#[track_caller]
pub(crate) fn take_dubbo(wire: &mut Wire) -> (u8, u8, u64, Vec<u8>) {
    let head = wire.take(16);
    assert_eq!(head[..2], [0xda, 0xbb]);
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u64, |n, byte| n << 8 | u64::from(*byte))
    };
    let body = wire.take(number(&head[12..]) as usize);
    (head[2], head[3], number(&head[4..12]), body)
}

/// The next call; heartbeats are answered.
#[track_caller]
pub(crate) fn take_dubbo_call(wire: &mut Wire) -> (u8, u8, u64, Vec<u8>) {
    loop {
        let frame = take_dubbo(wire);
        if frame.0 & 0x20 == 0 {
            return frame;
        }
        wire.send(dubbo(0x22, 20, frame.2, b"N"));
    }
}

pub(crate) const DUBBO_CALL: &[u8] =
    b"\x052.0.2\x04Echo\x051.0.0\x03say\x02II\x91\x92H\x05group\x04blueZ";

fn a_dubbo_provider_that_leaves_is_left(driver: Driver) {
    let (server, proxy) = one(driver, "dubbo");
    let mut client = client(&proxy);
    client.send(dubbo(0xc2, 0, u64::MAX, DUBBO_CALL));
    let mut old = server.accept();
    let (flags, _, id, body) = take_dubbo_call(&mut old);
    assert_eq!((flags, &body[..]), (0xc2, DUBBO_CALL));
    old.send(dubbo(0xa2, 0, 0, b"\x01R"));
    wait_until("the word is heard", || {
        proxy.metric(
            "ringway_cluster_upstream_cx_goaway_total",
            &["cluster=\"up\""],
        ) == 1.0
    });
    client.send(dubbo(0xc2, 0, 1, DUBBO_CALL));
    let mut new = server.accept();
    let second = take_dubbo_call(&mut new).2;
    old.send(dubbo(0x02, 20, id, b"\x91\x93"));
    let (_, status, id, body) = take_dubbo(&mut client);
    assert_eq!((status, id, &body[..]), (20, u64::MAX, &b"\x91\x93"[..]));
    new.send(dubbo(0x02, 20, second, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut client).2, 1);
}

fn a_dubbo_consumer_is_told_when_the_proxy_leaves(driver: Driver) {
    let (server, mut proxy) = one(driver, "dubbo");
    let mut client = client(&proxy);
    client.send(dubbo(0xc2, 0, 5, DUBBO_CALL));
    let mut wire = server.accept();
    let asked = take_dubbo_call(&mut wire).2;
    proxy.signal(libc::SIGTERM);
    let (flags, _, _, body) = take_dubbo(&mut client);
    assert_eq!((flags, &body[..]), (0xa2, &b"\x01R"[..]));
    wire.send(dubbo(0x02, 20, asked, b"\x91\x93"));
    assert_eq!(take_dubbo(&mut client).2, 5);
    client.until_closed();
    proxy.wait_end();
}

fn auto_finds_the_protocol_by_the_first_bytes(driver: Driver) {
    let (server, proxy) = one(driver, "auto");
    let mut bolt = client(&proxy);
    bolt.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut bolt).content, b"y");
    // Its calls find no cluster that speaks it, and are answered in Dubbo all the same.
    let mut dubbo_client = client(&proxy);
    dubbo_client.send(dubbo(0xc2, 0, 3, DUBBO_CALL));
    let (flags, status, id, _) = take_dubbo(&mut dubbo_client);
    assert_eq!((flags, status, id), (0x02, 80, 3));
    let mut http = client(&proxy);
    http.send("GET / HTTP/1.1\r\n\r\n");
    http.ending();
}

fn a_call_in_flight_outlives_a_reload_and_a_drain(driver: Driver) {
    let (server, mut proxy) = one(driver, "bolt");
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    let other = WireServer::bind();
    proxy.reload(&format!(
        "listeners:\n  - {{ name: main, address: \"127.0.0.1:0\", protocol: bolt, routes: [{{ cluster: up }}] }}\nclusters:\n  - {{ name: up, protocol: bolt, endpoints: [\"{}\"] }}\n",
        other.addr()
    ));
    client.send(call(2, &[], "x").bytes());
    let mut new = other.accept();
    let second = Bolt::take_call(&mut new);
    wire.send(answer(&asked, "from the old").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"from the old");
    proxy.signal(libc::SIGTERM);
    new.send(answer(&second, "before the end").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"before the end");
    client.until_closed();
    proxy.wait_end();
}

fn mirrored_calls_go_to_both(driver: Driver) {
    let (server, copy) = (WireServer::bind(), WireServer::bind());
    let routes = "- { cluster: up, mirror: { cluster: copy } }";
    let proxy = proxy(driver, "bolt", routes, &[("up", &server), ("copy", &copy)]);
    let mut client = client(&proxy);
    client.send(call(1, &[], "x").bytes());
    let mut wire = server.accept();
    let asked = Bolt::take_call(&mut wire);
    assert_eq!(Bolt::take_call(&mut copy.accept()).content, b"x");
    wire.send(answer(&asked, "y").bytes());
    assert_eq!(Bolt::take(&mut client).content, b"y");
    client.expect_silence(Duration::from_millis(100));
}
