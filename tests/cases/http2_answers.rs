//! Answers of HTTP/2 upstreams that say too much: what HTTP/1 would take for something else never reaches its client.

use ringway_tests::frames::{END_STREAM, frame, headers, kind};
use ringway_tests::{Client, Driver, Frames, Proxy, WireServer, both_drivers, wait_equal};

use crate::http2_upstream::{one_core, site2};

both_drivers! {
    what_follows_an_answer_without_a_body_is_nobodys,
    an_answer_without_a_body_need_not_be_ended,
    a_length_that_says_nothing_is_not_passed_on,
    what_breaks_an_interim_answer_or_trailers_is_refused,
    trailers_frame_nothing,
}

const EVIL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

/// A proxy whose upstream's connections serve one request each, and a client of it.
fn start(driver: Driver, wire: &WireServer) -> (Proxy, Client) {
    let one = ", pool: { max_requests: 1 }";
    let proxy = one_core(
        driver,
        &site2(&[wire.addr()], one, ", retry: { retries: 0 }"),
    );
    let client = proxy.client();
    (proxy, client)
}

/// The next request at the upstream: its end of the connection, and the stream.
fn take(wire: &WireServer) -> (Frames, u32) {
    let mut peer = Frames::server(wire.accept(), &[]);
    let stream = peer.request();
    (peer, stream)
}

/// That a client's connection is in step: what it asks next is answered by what is said next.
#[track_caller]
fn in_step(wire: &WireServer, client: &mut Client, what: &str) {
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (mut peer, stream) = take(wire);
    peer.send(headers(stream, 0, &[(":status", "200")]));
    peer.send(frame(kind::DATA, END_STREAM, stream, b"good"));
    assert_eq!(client.read("GET").text(), "good", "{what}");
}

fn what_follows_an_answer_without_a_body_is_nobodys(driver: Driver) {
    let wire = WireServer::bind();
    let (proxy, mut client) = start(driver, &wire);
    let mut count = 0.0;
    for status in ["204", "304"] {
        for (flags, at_once) in [
            (0, true),
            (END_STREAM, true),
            (0, false),
            (END_STREAM, false),
        ] {
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
            let (mut peer, stream) = take(&wire);
            let head = headers(stream, 0, &[(":status", status)]);
            let data = frame(kind::DATA, flags, stream, EVIL);
            if at_once {
                peer.send([head, data].concat());
                count += 1.0;
            } else {
                peer.send(head);
            }
            assert_eq!(client.read("GET").status.to_string(), status);
            if !at_once {
                peer.send(frame(kind::DATA, flags, stream, EVIL));
            }
            in_step(&wire, &mut client, &format!("{status} {flags} {at_once}"));
        }
    }
    wait_equal(count, || {
        proxy.metric("ringway_cluster_stray_bytes_total", &[])
    });
}

fn an_answer_without_a_body_need_not_be_ended(driver: Driver) {
    let wire = WireServer::bind();
    let (_proxy, mut client) = start(driver, &wire);
    for (method, status) in [("GET", "204"), ("GET", "304"), ("HEAD", "200")] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: t\r\n\r\n"));
        let (mut peer, stream) = take(&wire);
        peer.send(headers(stream, 0, &[(":status", status)]));
        assert_eq!(client.read(method).status.to_string(), status);
        peer.await_kind(kind::RST_STREAM);
        in_step(&wire, &mut client, status);
    }
}

fn a_length_that_says_nothing_is_not_passed_on(driver: Driver) {
    let wire = WireServer::bind();
    let (_proxy, mut client) = start(driver, &wire);
    for (status, length, kept) in [
        ("204", "5", None),
        ("204", "0", None),
        ("304", "5", Some("5")),
    ] {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let (mut peer, stream) = take(&wire);
        let list = [(":status", status), ("content-length", length)];
        peer.send(headers(stream, END_STREAM, &list));
        let answer = client.read("GET");
        assert_eq!(answer.get("content-length"), kept, "{status}");
        in_step(&wire, &mut client, status);
    }
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (mut peer, stream) = take(&wire);
    peer.send(headers(
        stream,
        0,
        &[
            (":status", "103"),
            ("content-length", "0"),
            ("link", "</a>"),
        ],
    ));
    peer.send(headers(stream, END_STREAM, &[(":status", "200")]));
    let answer = client.read("GET");
    assert_eq!((answer.status, answer.interim.len()), (200, 1));
    assert_eq!(answer.interim[0].get("content-length"), None);
    assert_eq!(answer.interim[0].get("link"), Some("</a>"));
}

fn what_breaks_an_interim_answer_or_trailers_is_refused(driver: Driver) {
    let wire = WireServer::bind();
    let (proxy, mut client) = start(driver, &wire);
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (mut peer, stream) = take(&wire);
    let early = headers(stream, 0, &[(":status", "103"), ("content-length", "4")]);
    let last = headers(stream, 0, &[(":status", "200")]);
    let data = frame(kind::DATA, END_STREAM, stream, b"evil");
    peer.send([early, last, data].concat());
    let answer = client.read("GET");
    assert_eq!((answer.status, answer.interim.len()), (502, 0));
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (mut peer, stream) = take(&wire);
    let names: Vec<String> = (0..129).map(|at| format!("x{at}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    peer.send(headers(stream, 0, &[(":status", "200")]));
    peer.send(frame(kind::DATA, 0, stream, b"data"));
    peer.send(headers(stream, END_STREAM, &many));
    assert!(client.try_read("GET").is_err(), "it looks whole");
    for rule in ["interim_body", "trailers_too_many"] {
        let rule = format!("rule=\"{rule}\"");
        wait_equal(1.0, || {
            proxy.metric("ringway_cluster_protocol_error_total", &[&rule])
        });
    }
}

fn trailers_frame_nothing(driver: Driver) {
    let wire = WireServer::bind();
    let (_proxy, mut client) = start(driver, &wire);
    client.send("GET / HTTP/1.1\r\nHost: t\r\nTE: trailers\r\n\r\n");
    let (mut peer, stream) = take(&wire);
    peer.send(headers(stream, 0, &[(":status", "200")]));
    peer.send(frame(kind::DATA, 0, stream, b"data"));
    let trailers = [("content-length", "9"), ("x-sum", "1"), ("host", "other")];
    peer.send(headers(stream, END_STREAM, &trailers));
    let answer = client.read("GET");
    assert_eq!(answer.text(), "data");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}
