//! Windows of HTTP/2, at both sides: what they hold, that they grow for who fills them, and that they shrink without anybody being stuck.

use ringway_tests::frames::{ACK, END_STREAM, frame, headers};
use ringway_tests::http2::{END, kind};
use ringway_tests::{
    Driver, Frames, Http2, Origin, Proxy, Site, WireServer, both_drivers, site, wait_equal,
};

use crate::http2_connections::{all_200, answers, ask};
use crate::http2_limits::limited;
use crate::http2_upstream::{one_core, site2};

both_drivers! {
    windows_hold_what_they_say,
    windows_grow_for_who_fills_them,
    windows_shrink_where_streams_are_many,
    a_window_that_shrinks_opens_again,
    what_windows_hold_is_told,
}

fn windows_hold_what_they_say(driver: Driver) {
    let server = WireServer::bind();
    let site = Site::to(&[server.addr()]);
    let windows =
        "http2: { stream_window: 64KiB, stream_window_max: 64KiB, connection_window_max: 128KiB }";
    let proxy = site.listener(windows).start(driver);
    let mut client = Http2::connect(proxy.addr("web"));
    assert_eq!(client.settings.get(&4), Some(&65_536));
    client.until("the connection's window", |client| {
        (client.room(0) == 128 << 10).then_some(())
    });
}

fn windows_grow_for_who_fills_them(driver: Driver) {
    let (_origin, proxy) = limited(
        driver,
        "stream_window: 16KiB, stream_window_max: 1MiB, connection_window_max: 4MiB",
        "",
    );
    let mut client = Http2::connect(proxy.addr("web"));
    // A path that holds more than a window: whoever is asked how long it is answers after that.
    client.polite = false;
    let stream = client.start("POST", "/x", &[], false);
    for _ in 0..20 {
        client.data(stream, &[7; 16_000], false);
        while let Some(ping) = client.pings.pop() {
            client.data(stream, &[7; 40_000], false);
            client.frame(kind::PING, END, 0, &ping);
        }
        if client.settings[&4] > 16 << 10 {
            return;
        }
    }
    panic!("the window is still {}", client.settings[&4]);
}

/// One that sends as much as its windows allow, and answers PINGs so late that the path seems to hold most of a window.
struct Far {
    peer: Frames,
    stream: u32,
    /// What a stream's window is at first, as the last SETTINGS said.
    window: u32,
    /// What is left of this one's.
    room: i64,
    ping: Option<Vec<u8>>,
    /// Sent since the PING came.
    since: u32,
}

impl Far {
    const PART: u32 = 16 << 10;

    fn read(&mut self) {
        let came = self.peer.frame();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match came.kind {
            kind::SETTINGS if came.flags & ACK == 0 => {
                self.peer.send(frame(kind::SETTINGS, ACK, 0, &[]));
                let entries = came.payload.chunks_exact(6);
                for entry in entries.filter(|entry| entry[..2] == [0, 4]) {
                    let window = number(&entry[2..]);
                    self.room += i64::from(window) - i64::from(self.window);
                    self.window = window;
                }
            }
            kind::WINDOW_UPDATE if came.stream == self.stream => {
                self.room += i64::from(number(&came.payload));
            }
            kind::PING if came.flags & ACK == 0 => {
                (self.ping, self.since) = (Some(came.payload), 0)
            }
            _ => {}
        }
    }

    fn send(&mut self) {
        while self.room < i64::from(Self::PART) {
            self.read();
        }
        let part = vec![b'x'; Self::PART as usize];
        self.peer.send(frame(kind::DATA, 0, self.stream, &part));
        self.room -= i64::from(Self::PART);
        self.since += Self::PART;
        if self.since * 4 >= self.window * 3
            && let Some(ping) = self.ping.take()
        {
            self.peer.send(frame(kind::PING, ACK, 0, &ping));
        }
    }
}

fn windows_shrink_where_streams_are_many(driver: Driver) {
    let wire = WireServer::bind();
    let windows = "stream_window: 64KiB, stream_window_max: 1MiB, connection_window_max: 1MiB";
    let http2 = format!(", http2: {{ {windows} }}");
    let proxy = one_core(driver, &site2(&[wire.addr()], &http2, ""));
    let large = ask(&proxy, 1, "/");
    let mut peer = Frames::server(wire.accept(), &[]);
    let first = peer.await_kind(kind::SETTINGS);
    assert!(
        first
            .payload
            .windows(6)
            .any(|entry| entry == [0, 4, 0, 1, 0, 0])
    );
    let stream = peer.request();
    peer.send(frame(kind::SETTINGS, ACK, 0, &[]));
    peer.send(headers(stream, 0, &[(":status", "200")]));
    let mut far = Far {
        peer,
        stream,
        window: 64 << 10,
        room: 64 << 10,
        ping: None,
        since: 0,
    };
    // Half of the connection's is as much as one alone may have.
    while far.window < 512 << 10 {
        far.send();
    }
    // It uses almost a third of that, which is not yet given back when a second stream leaves less: less than nothing, for this one.
    while far.room > 360 << 10 {
        far.send();
    }
    let small = ask(&proxy, 1, "/");
    while far.window > 64 << 10 {
        far.read();
    }
    while far.room < 3 {
        far.read();
    }
    let Far { mut peer, .. } = far;
    let second = stream + 2;
    peer.send(headers(second, END_STREAM, &[(":status", "204")]));
    peer.send(frame(kind::DATA, END_STREAM, stream, b"end"));
    assert_eq!(answers(small)[0].0, 204);
    all_200(large);
}

/// What a stream has taken off its window is given back when that shrinks, though nothing more of it comes that would remind of it.
fn a_window_that_shrinks_opens_again(driver: Driver) {
    let windows = "stream_window: 64KiB, stream_window_max: 1MiB, connection_window_max: 1MiB";
    let (origin, proxy) = limited(driver, windows, "");
    let mut client = Http2::connect(proxy.addr("web"));
    let stream = client.start("POST", "/x", &[], false);
    // It answers PINGs when it has sent most of a window, so that the path seems to hold that.
    client.holds_pings = true;
    while client.settings[&4] < 512 << 10 {
        client.data(stream, &[7; 16 << 10], false);
        if let Some(ping) = client.pings.pop() {
            let most = client.settings[&4] as usize / 4 * 3;
            client.data(stream, &vec![7; most], false);
            client.frame(kind::PING, END, 0, &ping);
        }
    }
    while client.room(stream) > 360 << 10 {
        client.data(stream, &[7; 16 << 10], false);
    }
    // Whoever is answered has come behind all of that, and so has the second body.
    client.get("/y");
    let second = client.start("POST", "/z", &[], false);
    client.until("a smaller window", |client| {
        (client.settings[&4] == 64 << 10).then_some(())
    });
    client.until("room", |client| (client.room(stream) > 0).then_some(()));
    for stream in [stream, second] {
        client.data(stream, b"end", true);
        assert_eq!(client.answer(stream).status, 200);
    }
    assert_eq!(origin.seen().len(), 3);
}

fn what_windows_hold_is_told(driver: Driver) {
    let origin = Origin::start("a");
    // A filter that waits has the body wait too.
    let waits = "filters: [{ fault: { delay: { for: 60s, share: 100% } } }]";
    let routes = format!(
        "- {{ match: {{ prefix: /held }}, cluster: up, {waits} }}\n- {{ match: {{ prefix: / }}, cluster: up }}"
    );
    let windows = "    http2: { stream_window: 64KiB, stream_window_max: 64KiB, connection_window_max: 128KiB }\n    routes:";
    let config = site(&routes, &[("up", &[origin.addr()])]).replace("    routes:", windows);
    let proxy = Proxy::start(driver, &config);
    let gauge = |name: &str| proxy.metric(&format!("ringway_listener_http2_{name}_bytes"), &[]);
    let mut clients = [(); 2].map(|()| Http2::connect(proxy.addr("web")));
    wait_equal(f64::from(256 << 10), || gauge("window"));
    let mut held = Vec::new();
    for client in &mut clients {
        let stream = client.start("POST", "/held", &[], false);
        client.data(stream, &[7; 50_000], false);
        held.push(stream);
    }
    wait_equal(100_000.0, || gauge("held"));
    // What passes is held no more, and neither is what was given up.
    assert_eq!(clients[0].post("/echo", &[7; 60_000]).body.len(), 60_000);
    wait_equal(100_000.0, || gauge("held"));
    clients[0].reset(held[0]);
    wait_equal(50_000.0, || gauge("held"));
    drop(clients);
    wait_equal((0.0, 0.0), || (gauge("held"), gauge("window")));
}
