//! ClientHellos: cut anywhere, never finished, and thousands of those.

use std::io::Write;
use std::net::TcpStream;

use ringway_tests::{Client, Driver, Origin, Proxy, Wire, both_drivers, sys, wait_until};

use crate::tls::{Site, listener};

both_drivers! {
    hellos_cut_at_every_byte_are_served,
    silent_and_half_open_clients_are_closed_in_time,
    half_open_clients_keep_nobody_out,
}

fn hellos_cut_at_every_byte_are_served(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::start(driver, &site.config("", &origin));
    let mut socket = TcpStream::connect(proxy.addr("web")).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut session = site.client().session("localhost");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    for byte in &hello {
        socket.write_all(&[*byte]).unwrap();
    }
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    assert_eq!(Client::secure(session, socket).get("/").status, 200);
}

fn silent_and_half_open_clients_are_closed_in_time(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let pair = site.pair("site");
    let keys = format!(
        "tls: {{ certificates: [{pair}] }}\nlimits: {{ client_hello_timeout: 300ms, tls_handshake_timeout: 400ms }}"
    );
    let proxy = Proxy::start(driver, &listener(&keys, &origin));
    let mut hello = Vec::new();
    site.client()
        .session("localhost")
        .write_tls(&mut hello)
        .unwrap();
    for (cut, limit) in [
        (0, "client_hello_timeout"),
        (1, "client_hello_timeout"),
        (hello.len() / 2, "client_hello_timeout"),
        (hello.len(), "tls_handshake_timeout"),
    ] {
        let before = proxy.metric("ringway_listener_limit_total", &[limit]);
        let mut wire = Wire::connect(proxy.addr("web"));
        wire.send(&hello[..cut]);
        wire.until_closed();
        wait_until("the limit counts", || {
            proxy.metric("ringway_listener_limit_total", &[limit]) > before
        });
    }
}

/// Many clients that say half a hello, or a whole one, and no more, while others come and go.
fn half_open_clients_keep_nobody_out(driver: Driver) {
    const HALF_OPEN: usize = 5_000;
    let _crowd = sys::crowd();
    assert!(
        sys::raise_nofile(8_192) > 5_500,
        "too few open files for this test"
    );
    let (site, origin) = (Site::new(), Origin::start("one"));
    let pair = site.pair("site");
    let keys = format!("tls: {{ certificates: [{pair}] }}\nlimits: {{ tls_handshakes: 100 }}");
    let proxy = Proxy::with(driver)
        .process("cores: 1")
        .start(&listener(&keys, &origin));
    let addr = proxy.addr("web");
    let mut hello = Vec::new();
    site.client()
        .session("localhost")
        .write_tls(&mut hello)
        .unwrap();
    let mut early = site.client().connect(addr, "localhost");
    let mut half_open = Vec::new();
    for round in 0..HALF_OPEN {
        let mut socket = TcpStream::connect(addr).unwrap();
        // Every other one goes on to its handshake, and stops there.
        let said = hello.len() / (1 + round % 2);
        socket.write_all(&hello[..said]).unwrap();
        half_open.push(socket);
        if round % 100 == 0 {
            let mut client = site.client().connect(addr, "localhost");
            assert_eq!(client.get("/").status, 200);
            assert_eq!(early.get("/").status, 200);
        }
    }
    let bites = || proxy.metric("ringway_listener_limit_total", &["tls_handshakes"]);
    wait_until("the limit bites", || bites() >= (HALF_OPEN - 100) as f64);
    wait_until("the oldest are closed", || {
        proxy.metric("ringway_listener_downstream_cx_active", &[]) <= 102.0
    });
    assert_eq!(early.get("/").status, 200);
}
