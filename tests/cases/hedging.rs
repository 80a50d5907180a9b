//! Tries beside one another to upstreams of HTTP/2: streams that begin, win and are given up.

use ringway_tests::frames::{END_STREAM, headers, kind};
use ringway_tests::{
    Driver, Frames, H2Origin, Proxy, WireServer, both_drivers, wait_equal, wait_for, wait_until,
};

use crate::http2_upstream::{one_core, site2};

both_drivers! {
    the_slower_stream_is_reset_and_its_connection_goes_on,
    the_first_stream_may_still_be_the_one_that_counts,
    a_body_goes_to_both_streams,
    an_error_of_one_stream_waits_for_the_other,
    without_another_host_nothing_is_hedged,
}

const HEDGE: &str = ", retry: { on: [reset, gateway_error], hedge: true, per_try_timeout: 1s, retries: 1, non_idempotent: true }";

fn start(driver: Driver, hosts: &[&WireServer]) -> Proxy {
    let addrs: Vec<_> = hosts.iter().map(|host| host.addr()).collect();
    one_core(driver, &site2(&addrs, "", HEDGE))
}

fn counted(proxy: &Proxy, what: &str) -> u32 {
    let name = format!("ringway_cluster_{what}_total");
    proxy.metric(&name, &["cluster=\"up\""]).round() as u32
}

/// The next connection of whichever gets it, up to its request, and the stream of that.
#[track_caller]
fn next(hosts: &[&WireServer]) -> (usize, Frames, u32) {
    let (at, wire) = wait_for("a try", || {
        let mut tries = hosts.iter().enumerate();
        tries.find_map(|(at, host)| Some((at, host.try_accept()?)))
    });
    let mut frames = Frames::server(wire, &[]);
    let stream = frames.request();
    (at, frames, stream)
}

fn answer(stream: u32, status: &str, name: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &[(":status", status), ("x-host", name)])
}

fn the_slower_stream_is_reset_and_its_connection_goes_on(driver: Driver) {
    let hosts = [&WireServer::bind(), &WireServer::bind()];
    let proxy = start(driver, &hosts);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (first, mut slow, given_up) = next(&hosts);
    let (second, mut quick, stream) = next(&hosts);
    assert_ne!(first, second);
    quick.send(answer(stream, "200", "quick"));
    assert_eq!(client.read("GET").get("x-host"), Some("quick"));
    let reset = slow.await_kind(kind::RST_STREAM);
    assert_eq!(reset.stream, given_up);
    wait_equal(1, || counted(&proxy, "upstream_rq_hedged"));
    wait_equal(1, || counted(&proxy, "upstream_rq_per_try_timeout"));
    // Both connections serve on: the next two requests take no others.
    let mut one = proxy.client();
    let mut other = proxy.client();
    one.send("GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    other.send("GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    let (at_slow, at_quick) = (slow.request(), quick.request());
    slow.send(answer(at_slow, "200", "slow"));
    quick.send(answer(at_quick, "200", "quick"));
    assert_eq!(one.read("GET").status, 200);
    assert_eq!(other.read("GET").status, 200);
    assert!(hosts.iter().all(|host| host.try_accept().is_none()));
}

fn the_first_stream_may_still_be_the_one_that_counts(driver: Driver) {
    let hosts = [&WireServer::bind(), &WireServer::bind()];
    let proxy = start(driver, &hosts);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (_, mut slow, stream) = next(&hosts);
    let (_, mut second, given_up) = next(&hosts);
    slow.send(answer(stream, "200", "slow"));
    assert_eq!(client.read("GET").get("x-host"), Some("slow"));
    assert_eq!(second.await_kind(kind::RST_STREAM).stream, given_up);
}

fn a_body_goes_to_both_streams(driver: Driver) {
    let hosts = [&WireServer::bind(), &WireServer::bind()];
    let proxy = start(driver, &hosts);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nabcdef");
    let (_, mut slow, _) = next(&hosts);
    assert_eq!(slow.await_kind(kind::DATA).payload, b"abcdef");
    let (_, mut quick, stream) = next(&hosts);
    assert_eq!(quick.await_kind(kind::DATA).payload, b"abcdef");
    quick.send(answer(stream, "200", "quick"));
    assert_eq!(client.read("POST").get("x-host"), Some("quick"));
}

fn an_error_of_one_stream_waits_for_the_other(driver: Driver) {
    let hosts = [&WireServer::bind(), &WireServer::bind()];
    let proxy = start(driver, &hosts);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let (_, mut slow, stream) = next(&hosts);
    let (_, mut second, failed) = next(&hosts);
    second.send(answer(failed, "503", "second"));
    wait_until("one is left", || {
        let active = proxy.metric("ringway_cluster_upstream_rq_active", &["cluster=\"up\""]);
        active < 1.5
    });
    slow.send(answer(stream, "200", "slow"));
    assert_eq!(client.read("GET").get("x-host"), Some("slow"));
}

fn without_another_host_nothing_is_hedged(driver: Driver) {
    let origin = H2Origin::start("only");
    let proxy = one_core(driver, &site2(&[origin.addr()], "", HEDGE));
    let mut client = proxy.client();
    client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    wait_until("it is slow", || {
        counted(&proxy, "upstream_rq_per_try_timeout") == 1
    });
    origin.release();
    assert_eq!(client.read("GET").status, 200);
    assert_eq!(
        (origin.begun(), counted(&proxy, "upstream_rq_hedged")),
        (1, 0)
    );
}
