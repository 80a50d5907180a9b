//! gRPC through the proxy, from `tonic` to `tonic`: every kind of call, its time, its end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringway_tests::rpc::{self, RpcClient, RpcOrigin, within};
use ringway_tests::{
    Driver, H2Origin, Http2, Proxy, both_drivers, pattern, wait_equal, wait_until,
};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::http2_upstream::{one_core, site2};

both_drivers! {
    all_kinds_of_calls_pass,
    streams_are_not_gathered,
    metadata_pass_both_ways,
    statuses_pass_as_the_upstream_says_them,
    the_proxy_answers_in_grpc,
    a_calls_time_is_kept_and_said_to_the_upstream,
    what_is_left_of_the_time_shrinks_with_each_try,
    a_cancelled_call_is_cancelled_upstream,
    a_status_may_be_tried_again,
    one_stream_at_a_time_is_enough,
    an_upstream_that_leaves_loses_no_call,
    a_reload_loses_no_call,
    a_call_cut_off_ends_with_a_status,
    a_call_without_a_limit_ends_with_silence,
    a_call_may_take_its_time,
    calls_are_logged_and_counted_by_method,
}

fn start(driver: Driver, origin: &RpcOrigin, cluster: &str, route: &str) -> Proxy {
    one_core(driver, &site2(&[origin.addr()], cluster, route))
}

fn message(len: usize) -> Bytes {
    pattern::bytes(len).into()
}

fn client<T>(proxy: &Proxy, work: impl AsyncFnOnce(RpcClient) -> T) -> T {
    let addr = proxy.addr("web");
    rpc::run(async { work(RpcClient::connect(addr).await).await })
}

async fn every_kind(mut client: RpcClient) {
    for len in [0, 1, 1000, 100_000, 4 << 20] {
        let answer = client.unary("Unary", Request::new(message(len))).await;
        assert_eq!(answer.unwrap().into_inner(), message(len), "{len}");
    }
    let mut many = vec![20_u8];
    many.extend(pattern::bytes(50_000));
    let many = Bytes::from(many);
    let answer = client.down(many.clone()).await.unwrap().into_inner();
    assert_eq!(rpc::all(answer).await.unwrap(), vec![many; 20]);
    let parts: Vec<Bytes> = (0..30).map(|at| message(at * 1000)).collect();
    let answer = client.up(tokio_stream::iter(parts.clone())).await;
    assert_eq!(answer.unwrap().into_inner(), Bytes::from(parts.concat()));
    let answer = client.both(tokio_stream::iter(parts.clone())).await;
    let echoed = rpc::all(answer.unwrap().into_inner()).await.unwrap();
    assert_eq!(echoed, parts);
    let none = client.both(tokio_stream::empty()).await.unwrap();
    assert_eq!(rpc::all(none.into_inner()).await.unwrap().len(), 0);
}

fn all_kinds_of_calls_pass(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", "");
    client(&proxy, every_kind);
}

fn streams_are_not_gathered(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", "");
    client(&proxy, async |mut client| {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let answer = client.both(ReceiverStream::new(receive)).await;
        let mut answer = answer.unwrap().into_inner();
        for at in 0..50 {
            send.send(message(at)).await.unwrap();
            assert_eq!(answer.next().await.unwrap().unwrap(), message(at));
        }
        drop(send);
        assert!(answer.next().await.is_none());
    });
}

fn metadata_pass_both_ways(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", "");
    client(&proxy, async |mut client| {
        let mut request = Request::new(message(3));
        let binary = MetadataValue::from_bytes(&[0, 255, 128, 10]);
        let metadata = request.metadata_mut();
        metadata.insert("x-text", "some text".parse().unwrap());
        metadata.insert_bin("x-data-bin", binary.clone());
        let answer = client.unary("Unary", request).await.unwrap();
        assert_eq!(answer.metadata().get("x-text").unwrap(), "some text");
        assert_eq!(answer.metadata().get_bin("x-data-bin").unwrap(), binary);
    });
}

fn statuses_pass_as_the_upstream_says_them(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", "");
    client(&proxy, async |mut client| {
        for code in 1..=16_u8 {
            let text = [&[code][..], "warum? 100% \u{fc}".as_bytes()].concat();
            let answer = client.unary("Fail", Request::new(text.into())).await;
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::from(i32::from(code)));
            assert_eq!(status.message(), "warum? 100% \u{fc}");
            assert_eq!(status.metadata().get("x-why").unwrap(), "asked");
        }
        let answer = client.unary("None", Request::new(message(1))).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    });
}

/// A unary call, and the status it ends with.
fn call(proxy: &Proxy, method: &'static str, message: Request<Bytes>) -> Status {
    client(proxy, async |mut client| {
        client.unary(method, message).await.unwrap_err()
    })
}

fn the_proxy_answers_in_grpc(driver: Driver) {
    let refusing = ringway_tests::wire::Refusing::new();
    let route = ", retry: { retries: 0 }";
    let proxy = one_core(driver, &site2(&[refusing.addr()], "", route));
    let status = call(&proxy, "Unary", Request::new(message(1)));
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "the upstream could not be reached");
    let config = site2(&[refusing.addr()], "", route).replace("prefix: /", "prefix: /elsewhere");
    proxy.reload(&config);
    wait_until("nothing is served", || {
        call(&proxy, "Unary", Request::new(message(1))).code() == Code::Unimplemented
    });
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", ", timeout: 200ms");
    let status = call(&proxy, "Keep", Request::new(message(1)));
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let config =
        site2(&[origin.addr()], "", "").replace("name: web,", "name: web, limits: { body: 1KiB },");
    let proxy = one_core(driver, &config);
    let status = call(&proxy, "Unary", Request::new(message(2000)));
    assert_eq!(status.code(), Code::ResourceExhausted);
    let config = site2(&[origin.addr()], "", "").replace(
        "routes: [{",
        "filters: [ip_access: { deny: [127.0.0.0/8] }], routes: [{",
    );
    let proxy = one_core(driver, &config);
    let status = call(&proxy, "Unary", Request::new(message(1)));
    assert_eq!(status.code(), Code::PermissionDenied);
}

fn a_calls_time_is_kept_and_said_to_the_upstream(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", "");
    client(&proxy, async |mut client| {
        let request = within(Duration::from_secs(5), message(1));
        client.unary("Unary", request).await.unwrap();
    });
    let said = origin.timeouts().pop().unwrap().unwrap();
    let micros: u64 = said.strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..5_000_000).contains(&micros), "{said}");
    // `tonic` keeps its time itself, at both ends; these leave that to the proxy.
    let patient = H2Origin::start("patient");
    let plain = one_core(driver, &site2(&[patient.addr()], "", ""));
    let begun = Instant::now();
    let answer = plain
        .client()
        .send(
            "POST /hold HTTP/1.1\r\nHost: t\r\nContent-Type: application/grpc\r\nGrpc-Timeout: 200m\r\n\
             Content-Length: 5\r\n\r\n\0\0\0\0\0",
        )
        .read("POST");
    assert_eq!(answer.get("grpc-status"), Some("4"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    wait_until("the upstream is let go", || patient.active() == 0);
    // The route's limit is the shorter one.
    let proxy = start(driver, &origin, "", ", timeout: 10s");
    client(&proxy, async |mut client| {
        let request = within(Duration::from_secs(60), message(1));
        client.unary("Unary", request).await.unwrap();
    });
    let said = origin.timeouts().pop().unwrap().unwrap();
    let micros: u64 = said.strip_suffix('u').unwrap().parse().unwrap();
    assert!(micros <= 10_000_000, "{said}");
}

fn what_is_left_of_the_time_shrinks_with_each_try(driver: Driver) {
    let (first, second) = (RpcOrigin::start(None), RpcOrigin::start(None));
    let addrs = [first.addr(), second.addr()];
    let route = ", retry: { on: [unavailable], retries: 1 }";
    let proxy = one_core(driver, &site2(&addrs, "", route));
    call(&proxy, "Fail", within(Duration::from_secs(5), vec![14]));
    let said = |origin: &RpcOrigin| -> u64 {
        let said = origin.timeouts().pop().unwrap().unwrap();
        said.strip_suffix('u').unwrap().parse().unwrap()
    };
    let (one, other) = (said(&first), said(&second));
    assert!(one != other && one.max(other) < 5_000_000, "{one} {other}");
}

fn a_cancelled_call_is_cancelled_upstream(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", "");
    client(&proxy, async |mut client| {
        let mut asking = std::pin::pin!(client.unary("Keep", Request::new(message(1))));
        while origin.kept() == 0 {
            let polled = tokio::time::timeout(Duration::from_millis(5), asking.as_mut()).await;
            assert!(polled.is_err(), "it answered");
        }
    });
    wait_until("the upstream is let go", || origin.kept() == 0);
    assert_eq!(origin.calls(), 1);
}

fn a_status_may_be_tried_again(driver: Driver) {
    let (first, second) = (RpcOrigin::start(None), RpcOrigin::start(None));
    let addrs = [first.addr(), second.addr()];
    let route = ", retry: { on: [unavailable, internal], retries: 3 }";
    let proxy = one_core(driver, &site2(&addrs, "", route));
    // Each origin fails its first call, and there are two of them.
    let status = call(&proxy, "Fail", Request::new(vec![14].into()));
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(first.calls() + second.calls(), 2);
    let status = call(&proxy, "Fail", Request::new(vec![13].into()));
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(first.calls() + second.calls(), 4);
    let status = call(&proxy, "Fail", Request::new(vec![5].into()));
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(first.calls() + second.calls(), 5);
    assert!(proxy.metric("ringway_cluster_upstream_rq_retry_total", &[]) >= 2.0);
}

fn one_stream_at_a_time_is_enough(driver: Driver) {
    let origin = RpcOrigin::start(Some(1));
    let proxy = start(driver, &origin, "", "");
    client(&proxy, async |client| {
        every_kind(client.clone()).await;
        let calls = (0..40).map(|_| every_kind_soon(client.clone()));
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
    });
}

fn every_kind_soon(mut client: RpcClient) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn(async move {
        let answer = client.unary("Unary", Request::new(message(3000))).await;
        assert_eq!(answer.unwrap().into_inner(), message(3000));
    })
}

fn an_upstream_that_leaves_loses_no_call(driver: Driver) {
    let (first, second) = (RpcOrigin::start(None), RpcOrigin::start(None));
    let addrs = [first.addr(), second.addr()];
    let proxy = one_core(driver, &site2(&addrs, "", ""));
    client(&proxy, async |mut client| {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let answer = client.both(ReceiverStream::new(receive)).await;
        let mut answer = answer.unwrap().into_inner();
        for at in 0..100 {
            if at == 50 {
                first.leave();
            }
            send.send(message(at)).await.unwrap();
            assert_eq!(answer.next().await.unwrap().unwrap(), message(at));
            let unary = client.unary("Unary", Request::new(message(at))).await;
            assert_eq!(unary.unwrap().into_inner(), message(at));
        }
    });
}

fn a_reload_loses_no_call(driver: Driver) {
    let (old, new) = (RpcOrigin::start(None), RpcOrigin::start(None));
    let proxy = start(driver, &old, "", "");
    client(&proxy, async |mut client| {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let answer = client.both(ReceiverStream::new(receive)).await;
        let mut answer = answer.unwrap().into_inner();
        for at in 0..100 {
            if at == 50 {
                proxy.reload(&site2(&[new.addr()], "", ""));
            }
            send.send(message(at)).await.unwrap();
            assert_eq!(answer.next().await.unwrap().unwrap(), message(at));
            let unary = client.unary("Unary", Request::new(message(at))).await;
            assert_eq!(unary.unwrap().into_inner(), message(at));
        }
    });
    assert!(new.calls() > 0);
}

fn a_call_cut_off_ends_with_a_status(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let proxy = start(driver, &origin, "", ", timeout: 2s");
    client(&proxy, async |mut client| {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        let answer = client.both(ReceiverStream::new(receive)).await;
        let mut answer = answer.unwrap().into_inner();
        send.send(message(5)).await.unwrap();
        assert_eq!(answer.next().await.unwrap().unwrap(), message(5));
        let status = answer.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    });
}

fn a_call_without_a_limit_ends_with_silence(driver: Driver) {
    let origin = H2Origin::start("two");
    let idle = ", idle_timeout: 1s";
    let proxy = one_core(driver, &site2(&[origin.addr()], "", idle));
    let mut client = Http2::connect(proxy.addr("web"));
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let stream = client.start("POST", "/hold", &fields, false);
    let begun = Instant::now();
    // As long as something comes, it may take its time.
    while begun.elapsed() < Duration::from_millis(2500) {
        client.data(stream, &[0; 300], false);
        assert_eq!(client.get("/").status, 200);
    }
    assert!(!client.answers.contains_key(&stream));
    let answer = client.answer(stream);
    assert_eq!(answer.get("grpc-status"), Some("4"));
    wait_until("the upstream is let go", || origin.active() == 0);
}

/// Streams of messages are no slow uploads.
fn a_call_may_take_its_time(driver: Driver) {
    let origin = H2Origin::start("two");
    let limits = "limits: { body_rate: 1KiB, body_rate_grace: 300ms }";
    let config = site2(&[origin.addr()], "", "");
    let proxy = one_core(
        driver,
        &config.replace("name: web,", &format!("name: web, {limits},")),
    );
    let mut client = Http2::connect(proxy.addr("web"));
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let call = client.start("POST", "/echo", &fields, false);
    client.data(call, b"a", false);
    // What began after it and is no call is too slow before it is.
    let upload = client.start("POST", "/upload", &[], false);
    client.data(upload, b"a", false);
    assert_eq!(client.answer(upload).status, 408);
    client.data(call, b"b", true);
    let answer = client.answer(call);
    assert!(answer.ended && answer.body == b"ab", "{answer:?}");
}

fn calls_are_logged_and_counted_by_method(driver: Driver) {
    let origin = RpcOrigin::start(None);
    let log = "access_log: [{ file: DIR/access.log, format: \"%REQ(:PATH)% %GRPC_STATUS% %GRPC_STATUS_NUMBER%\" }],";
    let config =
        site2(&[origin.addr()], "", "").replace("name: web,", &format!("name: web, {log}"));
    let proxy = one_core(driver, &config);
    client(&proxy, async |mut client| {
        for _ in 0..3 {
            let answer = client.unary("Unary", Request::new(message(1))).await;
            answer.unwrap();
        }
        let answer = client.unary("Fail", Request::new(vec![5].into())).await;
        answer.unwrap_err();
        let answer = client.unary("Guess", Request::new(message(1))).await;
        answer.unwrap_err();
    });
    let path = proxy.dir().join("access.log");
    let lines = ringway_tests::wait_for("five lines", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        (text.lines().count() == 5).then_some(text)
    });
    assert!(lines.contains("/test.Echo/Unary OK 0\n"), "{lines}");
    assert!(lines.contains("/test.Echo/Fail NotFound 5\n"), "{lines}");
    assert!(
        lines.contains("/test.Echo/Guess Unimplemented 12\n"),
        "{lines}"
    );
    let count = |method: &str, status: &str| {
        let labels = [
            format!("method=\"{method}\""),
            format!("status=\"{status}\""),
        ];
        proxy.metric("ringway_grpc_rq_total", &[&labels[0], &labels[1]])
    };
    wait_equal(3.0, || count("test.Echo/Unary", "OK"));
    wait_equal(1.0, || count("test.Echo/Fail", "NOT_FOUND"));
    wait_equal(1.0, || count("other", "UNIMPLEMENTED"));
}
