//! Access logs say what happened, one line a request, and never hold anybody up.

use std::path::{Path, PathBuf};

use ringway_tests::wire::Refusing;
use ringway_tests::{Driver, Origin, Proxy, WireServer, both_drivers, site, wait_for, wait_until};

both_drivers! {
    a_text_line_says_what_was_asked,
    the_default_line_is_envoys,
    a_json_line_is_typed,
    flags_say_what_went_wrong,
    tries_that_were_used_up_have_a_flag,
    a_body_that_breaks_http_is_told_from_one_that_is_cut,
    lines_cannot_be_forged,
    usr1_reopens_files,
    standard_output_takes_lines,
    a_full_disk_stalls_nobody,
}

fn logged(
    driver: Driver,
    format: &str,
    routes: &str,
    clusters: &[(&str, &[std::net::SocketAddr])],
) -> Proxy {
    let log = format!("    access_log: [{{ file: DIR/access.log{format} }}]\n    routes:");
    Proxy::start(driver, &site(routes, clusters).replace("    routes:", &log))
}

fn path(proxy: &Proxy) -> PathBuf {
    proxy.dir().join("access.log")
}

#[track_caller]
fn line(path: &Path, holds: &str) -> String {
    wait_for(&format!("a line with {holds:?}"), || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find(|line| line.contains(holds))
            .map(str::to_owned)
    })
}

const ALL: &str = "- { name: main, match: { prefix: / }, cluster: up }";

fn a_text_line_says_what_was_asked(driver: Driver) {
    let origin = Origin::start("abc");
    let format = ", format: \"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% \
        %ROUTE_NAME% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(X-A?:AUTHORITY)% %RESP(X-ORIGIN)%\"";
    let proxy = logged(driver, format, ALL, &[("up", &[origin.addr()])]);
    assert_eq!(proxy.client().post("/p?q=1", "hello").status, 200);
    let expect = format!(
        "POST /p?q=1 HTTP/1.1 200 - 5 3 main up {} 127.0.0.1 test.example abc",
        origin.addr()
    );
    assert_eq!(line(&path(&proxy), "POST"), expect);
}

fn the_default_line_is_envoys(driver: Driver) {
    let origin = Origin::start("abc");
    let proxy = logged(driver, "", ALL, &[("up", &[origin.addr()])]);
    let ask = "GET /d HTTP/1.1\r\nHost: h.test\r\nUser-Agent: me\r\n\r\n";
    assert_eq!(proxy.client().ask(ask).status, 200);
    let line = line(&path(&proxy), "/d");
    assert!(
        line.starts_with("[20") && line.contains("\"GET /d HTTP/1.1\" 200 - 0 3 "),
        "{line}"
    );
    assert!(
        line.contains("\"me\"")
            && line.contains("\"h.test\"")
            && line.ends_with(&format!("\"{}\"", origin.addr())),
        "{line}"
    );
}

fn a_json_line_is_typed(driver: Driver) {
    let origin = Origin::start("abc");
    let format = ", json: { path: \"%REQ(:PATH)%\", code: \"%RESPONSE_CODE%\", ms: \"%DURATION%\", none: \"%REQ(X-NONE)%\", both: \"%PROTOCOL% %RESPONSE_CODE%\" }";
    let proxy = logged(driver, format, ALL, &[("up", &[origin.addr()])]);
    assert_eq!(proxy.client().get("/j").status, 200);
    let value: serde_json::Value = serde_json::from_str(&line(&path(&proxy), "/j")).unwrap();
    assert_eq!(
        (value["path"].as_str(), value["code"].as_u64()),
        (Some("/j"), Some(200))
    );
    assert!(value["ms"].is_u64() && value["none"].is_null(), "{value}");
    assert_eq!(value["both"].as_str(), Some("HTTP/1.1 200"));
}

fn flags_say_what_went_wrong(driver: Driver) {
    let (origin, gone) = (Origin::start("a"), Refusing::new());
    let routes = "
        - { match: { prefix: /gone }, cluster: gone }
        - { match: { prefix: /hold }, cluster: up, timeout: 100ms }
        - { match: { prefix: /fault }, cluster: up, filters: [{ fault: { abort: { status: 500, share: 100% } } }] }
        - { match: { prefix: /denied }, cluster: up, filters: [{ ip_access: { deny: [127.0.0.1/32] } }] }
        - { match: { prefix: /cut }, cluster: up }
        - { match: { prefix: /stream }, cluster: up }
        - { match: { prefix: /ok }, cluster: up }
    ";
    let format =
        ", format: \"%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\"";
    let proxy = logged(
        driver,
        format,
        routes,
        &[("up", &[origin.addr()]), ("gone", &[gone.addr()])],
    );
    let mut client = proxy.client();
    for path in ["/ok", "/gone", "/hold", "/fault", "/denied", "/nowhere"] {
        client.get(path);
    }
    let _ = proxy
        .client()
        .try_ask("GET /cut/100000 HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut leaving = proxy.client();
    leaving
        .send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n")
        .head("GET");
    drop(leaving);
    for (path_start, expect) in [
        ("/ok", "200 - via_upstream"),
        (
            "/gone",
            "503 UF upstream_reset_before_response_started{connection_refused}",
        ),
        ("/hold", "504 UT response_timeout"),
        ("/fault", "500 FI fault_filter_abort"),
        ("/denied", "403 UAEX ip_access_denied"),
        ("/nowhere", "404 NR route_not_found"),
        (
            "/cut/100000",
            "200 UC upstream_reset_after_response_started{connection_termination}",
        ),
        ("/stream", "200 DC downstream_remote_disconnect"),
    ] {
        assert_eq!(
            line(&path(&proxy), path_start),
            format!("{path_start} {expect}")
        );
    }
}

fn tries_that_were_used_up_have_a_flag(driver: Driver) {
    let (origin, gone) = (Origin::start("a"), Refusing::new());
    let retry = "retry: { on: [connect_failure, reset, gateway_error], retries: 1, hosts: any, back_off: 1ms, buffer: 1KiB";
    let routes = format!(
        "
        - {{ match: {{ prefix: /gone }}, cluster: gone, {retry} }} }}
        - {{ match: {{ prefix: /status/503 }}, cluster: up, {retry} }} }}
        - {{ match: {{ prefix: /reset }}, cluster: up, {retry} }} }}
        - {{ match: {{ prefix: /hold }}, cluster: up, {retry}, per_try_timeout: 50ms }} }}
        - {{ match: {{ prefix: /ok }}, cluster: up, {retry} }} }}
        - {{ match: {{ prefix: /status/502 }}, cluster: up, retry: {{ retries: 0 }} }}
    "
    );
    let format = ", format: \"%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\"";
    let clusters = [("up", &[origin.addr()][..]), ("gone", &[gone.addr()])];
    let proxy = logged(driver, format, &routes, &clusters);
    for (path_asked, expect) in [
        // First, so that no kept connection turns out closed, which is a further try.
        ("/reset", "502 UC,URX 2"),
        ("/ok", "200 - 1"),
        ("/gone", "503 UF,URX 2"),
        ("/status/503", "503 URX 2"),
        ("/hold", "504 UT,URX 2"),
        ("/status/502", "502 - 1"),
    ] {
        proxy.client().get(path_asked);
        let line = line(&path(&proxy), path_asked);
        assert_eq!(line, format!("{path_asked} {expect}"));
    }
}

fn a_body_that_breaks_http_is_told_from_one_that_is_cut(driver: Driver) {
    let server = WireServer::bind();
    let format = ", format: \"%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT%\"";
    let proxy = logged(driver, format, ALL, &[("up", &[server.addr()])]);
    for (path_asked, rest, expect) in [
        (
            "/broken",
            "zz\r\n",
            "200 UPE upstream_reset_after_response_started{protocol_error} 5",
        ),
        (
            "/cut",
            "5\r\n",
            "200 UC upstream_reset_after_response_started{connection_termination} 5",
        ),
    ] {
        let mut client = proxy.client();
        client.send(format!("GET {path_asked} HTTP/1.1\r\nHost: t\r\n\r\n"));
        let mut wire = server.accept();
        wire.head();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{rest}"
        ));
        drop(wire);
        let line = line(&path(&proxy), path_asked);
        assert_eq!(line, format!("{path_asked} {expect}"));
    }
}

fn lines_cannot_be_forged(driver: Driver) {
    let origin = Origin::start("a");
    let format = ", format: \"%REQ(X-A)% end\"";
    let proxy = logged(driver, format, ALL, &[("up", &[origin.addr()])]);
    let answer = proxy
        .client()
        .ask("GET / HTTP/1.1\r\nHost: t\r\nX-A: a\"\tb\u{80}\\x\r\n\r\n");
    assert_eq!(answer.status, 200);
    let line = line(&path(&proxy), " end");
    assert!(line.bytes().all(|b| (32..127).contains(&b)), "{line:?}");
}

fn usr1_reopens_files(driver: Driver) {
    let origin = Origin::start("a");
    let proxy = logged(
        driver,
        ", format: \"%REQ(:PATH)%\"",
        ALL,
        &[("up", &[origin.addr()])],
    );
    let mut client = proxy.client();
    client.get("/before");
    line(&path(&proxy), "/before");
    let old = proxy.dir().join("access.log.1");
    std::fs::rename(path(&proxy), &old).unwrap();
    proxy.signal(libc::SIGUSR1);
    wait_until("the file is made anew", || path(&proxy).exists());
    client.get("/after");
    line(&path(&proxy), "/after");
    assert!(!std::fs::read_to_string(&old).unwrap().contains("/after"));
    // The admin interface does the same.
    std::fs::remove_file(path(&proxy)).unwrap();
    assert_eq!(proxy.admin("POST", "/reopen_logs").status, 200);
    wait_until("the file is made anew", || path(&proxy).exists());
}

fn standard_output_takes_lines(driver: Driver) {
    let origin = Origin::start("a");
    let config = site(ALL, &[("up", &[origin.addr()])]).replace(
        "    routes:",
        "    access_log: [{ stdout: true, format: \"out %REQ(:PATH)%\" }]\n    routes:",
    );
    let proxy = Proxy::start(driver, &config);
    proxy.client().get("/here");
    wait_until("the line", || proxy.stdout().contains("out /here\n"));
}

fn a_full_disk_stalls_nobody(driver: Driver) {
    let origin = Origin::start("a");
    let config = site(ALL, &[("up", &[origin.addr()])]).replace(
        "    routes:",
        "    access_log: [{ file: /dev/full }]\n    routes:",
    );
    let proxy = Proxy::start(driver, &config);
    let mut client = proxy.client();
    for _ in 0..2000 {
        assert_eq!(client.get("/").status, 200);
    }
    wait_until("the loss is counted", || {
        proxy.metric("ringway_access_log_errors_total", &[]) > 0.0
    });
}
