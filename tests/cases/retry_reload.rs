//! Further tries of a request whose cluster a reload has made another meanwhile.

use ringway_tests::proxy::site;
use ringway_tests::wire::Full;
use ringway_tests::{
    Client, Driver, Proxy, Site, Wire, WireServer, both_drivers, wait_for, wait_until,
};

use crate::tcp::passing;

both_drivers! {
    a_host_that_a_reload_removed_gets_no_further_try,
    a_host_removed_during_the_back_off_gets_no_further_try,
    a_new_host_in_the_place_of_one_that_was_tried_may_be_asked,
    a_host_that_was_tried_is_not_asked_again_after_a_reload,
    a_cluster_that_a_reload_removed_gets_no_further_try,
    a_try_that_had_not_begun_goes_to_the_newest_hosts,
    a_connection_passed_on_goes_to_no_host_that_a_reload_removed,
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NO: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

/// These hosts, asked in this order.
fn in_order(hosts: &[&WireServer], retry: &str) -> String {
    let addrs: Vec<_> = hosts.iter().map(|host| host.addr()).collect();
    let site = Site::to(&addrs).cluster("balance: request_round_robin");
    site.route(&format!("retry: {{ on: [gateway_error], {retry} }}"))
        .text()
}

fn try_at(host: &WireServer) -> Wire {
    let mut wire = host.accept();
    wire.head();
    wire
}

/// A request whose first try is under way, and the end of that at its host.
fn under_way(driver: Driver, config: &str, first: &WireServer) -> (Proxy, Client, Wire) {
    let proxy = Proxy::start(driver, config);
    let mut client = proxy.client();
    client.send(GET);
    let wire = try_at(first);
    (proxy, client, wire)
}

/// The next try goes to this host, whose answer is the client's.
fn goes_to(host: &WireServer, client: &mut Client) {
    try_at(host).send(OK);
    assert_eq!(client.read("GET").text(), "ok");
}

fn a_host_that_a_reload_removed_gets_no_further_try(driver: Driver) {
    let [first, gone, new] = [(); 3].map(|()| WireServer::bind());
    let hosts = in_order(&[&first, &gone], "back_off: 0");
    let (proxy, mut client, mut wire) = under_way(driver, &hosts, &first);
    proxy.reload(&in_order(&[&first, &new], "back_off: 0"));
    wire.send(NO);
    goes_to(&new, &mut client);
    assert!(gone.try_accept().is_none());
}

/// Shows something in which a reload must be quicker than a wait of so many seconds: once more with a longer one, where a busy
/// machine showed nothing.
fn show(mut scene: impl FnMut(u32) -> bool) {
    let shown = [1, 4, 15].into_iter().any(&mut scene);
    assert!(shown, "no reload was quicker than its wait");
}

fn a_host_removed_during_the_back_off_gets_no_further_try(driver: Driver) {
    let keys = "wait_headers: [{ name: retry-after }]";
    show(|seconds| {
        let [first, gone, new] = [(); 3].map(|()| WireServer::bind());
        let hosts = in_order(&[&first, &gone], keys);
        let (proxy, mut client, mut wire) = under_way(driver, &hosts, &first);
        let wait = format!("\r\nRetry-After: {seconds}\r\nContent-Length");
        wire.send(NO.replace("\r\nContent-Length", &wait));
        proxy.reload(&in_order(&[&first, &new], keys));
        if gone.try_accept().is_some() {
            return false;
        }
        goes_to(&new, &mut client);
        assert!(gone.try_accept().is_none());
        true
    });
}

fn a_new_host_in_the_place_of_one_that_was_tried_may_be_asked(driver: Driver) {
    let [first, second, new] = [(); 3].map(|()| WireServer::bind());
    let hosts = in_order(&[&first, &second], "back_off: 0");
    let (proxy, mut client, mut wire) = under_way(driver, &hosts, &first);
    // Whatever the proxy keeps of the first host by its place is now said of the new one.
    proxy.reload(&in_order(&[&new, &second], "back_off: 0"));
    wire.send(NO);
    goes_to(&new, &mut client);
    assert!(second.try_accept().is_none());
}

fn a_host_that_was_tried_is_not_asked_again_after_a_reload(driver: Driver) {
    let [first, second, new] = [(); 3].map(|()| WireServer::bind());
    let keys = "back_off: 0, retries: 3";
    let hosts = in_order(&[&first, &second], keys);
    let (proxy, mut client, mut wire) = under_way(driver, &hosts, &first);
    // In another order, with another weight and with one more.
    let more = in_order(&[&new, &first, &second, &first], keys);
    proxy.reload(&more);
    wire.send(NO);
    let mut others = [Some(&second), Some(&new)];
    for answer in [NO, OK] {
        let mut wire = wait_for("a try at a host not yet tried", || {
            assert!(first.try_accept().is_none());
            let accept = |place: &mut Option<&WireServer>| {
                let wire = place.as_ref()?.try_accept();
                wire.inspect(|_| *place = None)
            };
            others.iter_mut().find_map(accept)
        });
        wire.head();
        wire.send(answer);
    }
    assert_eq!(client.read("GET").text(), "ok");
    assert!(first.try_accept().is_none());
}

fn a_cluster_that_a_reload_removed_gets_no_further_try(driver: Driver) {
    let [first, gone] = [(); 2].map(|()| WireServer::bind());
    let hosts = in_order(&[&first, &gone], "back_off: 0");
    let (proxy, mut client, mut wire) = under_way(driver, &hosts, &first);
    let respond = "- { match: { prefix: / }, respond: { status: 204 } }";
    proxy.reload(&site(respond, &[("other", &[gone.addr()])]));
    // What is under way ends as it would have; and its answer is the last.
    wire.send(NO);
    assert_eq!(client.read("GET").status, 503);
    assert!(gone.try_accept().is_none());
}

fn a_try_that_had_not_begun_goes_to_the_newest_hosts(driver: Driver) {
    show(|seconds| {
        let [gone, new] = [(); 2].map(|()| WireServer::bind());
        let delayed = |host: &WireServer| {
            let filter = format!("filters: [{{ fault: {{ delay: {{ for: {seconds}s }} }} }}]");
            Site::to(&[host.addr()]).route(&filter).text()
        };
        let proxy = Proxy::start(driver, &delayed(&gone));
        let mut client = proxy.client();
        client.send(GET);
        let active = || proxy.metric("ringway_listener_downstream_rq_active", &["web"]);
        wait_until("the filter has it", || active() > 0.5);
        proxy.reload(&delayed(&new));
        if gone.try_accept().is_some() {
            return false;
        }
        goes_to(&new, &mut client);
        assert!(gone.try_accept().is_none());
        true
    });
}

fn a_connection_passed_on_goes_to_no_host_that_a_reload_removed(driver: Driver) {
    show(|seconds| {
        let full = Full::new();
        let [gone, new] = [(); 2].map(|()| WireServer::bind());
        let keys = format!("name: up, balance: request_round_robin, connect_timeout: {seconds}s,");
        let config = |other: &WireServer| {
            passing("", "", &[full.addr(), other.addr()]).replace("name: up,", &keys)
        };
        let proxy = Proxy::start(driver, &config(&gone));
        let mut client = Wire::connect(proxy.addr("web"));
        let active = || proxy.metric("ringway_listener_tcp_cx_active", &["web"]);
        wait_until("it is on its way", || active() > 0.5);
        proxy.reload(&config(&new));
        if gone.try_accept().is_some() {
            return false;
        }
        new.accept().send("here");
        client.expect("here");
        assert!(gone.try_accept().is_none());
        true
    });
}
