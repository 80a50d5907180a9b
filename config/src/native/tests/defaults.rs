//! What a file says by saying nothing is what the model says by default.

use super::{site, yaml};
use crate::{
    Action, ByteSize, ClientHttp2, Forward, Forwarded, HttpLimits, ListenAddress, LogFormat,
    LogTarget, Pool, Process, Retry,
};

#[test]
fn absent_keys_are_the_models_defaults() {
    let config = yaml(&site("- cluster: app\n")).unwrap().config;
    assert_eq!(config.process, Process::default());
    let listener = &config.listeners[0];
    assert_eq!(listener.limits, HttpLimits::default());
    assert_eq!(listener.http2, ClientHttp2::default());
    assert_eq!(listener.forwarded, Forwarded::default());
    assert_eq!(listener.backlog, 4096);
    assert_eq!(config.clusters[0].pool, Pool::default());
    let Action::Forward(forward) = &config.route_tables[0].virtual_hosts[0].routes[0].action else {
        panic!("a forward");
    };
    let default = Forward {
        clusters: forward.clusters.clone(),
        ..Forward::default()
    };
    assert_eq!(**forward, default);
    assert_eq!(forward.retry, Retry::default());
}

#[test]
fn values_from_the_environment_stand_for_any_type() {
    let text = site("- { cluster: app, upgrade: \"${TRUE}\", timeout: \"${NONE:-3s}\" }\n")
        .replace("127.0.0.1:0", "127.0.0.1:${PORT}")
        + "process: { cores: \"${NONE:-3}\" }\n";
    let config = yaml(&text).unwrap().config;
    assert_eq!(config.process.cores, Some(3));
    let address = ListenAddress::Tcp("127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.listeners[0].address, address);
}

#[test]
fn relative_paths_begin_at_the_file() {
    let text = "listeners:\n  - name: a\n    address: unix:run/a.sock\n    mode: \"0600\"\n    access_log: [{ file: log/a.log, format: x }, { stdout: true, json: { b: y, a: z } }]\n    routes: []\n";
    let config = yaml(text).unwrap().config;
    let listener = &config.listeners[0];
    let address = ListenAddress::Unix {
        path: "/etc/ringway/run/a.sock".into(),
        mode: 0o600,
    };
    assert_eq!(listener.address, address);
    let target = LogTarget::File("/etc/ringway/log/a.log".into());
    assert_eq!(listener.access_logs[0].target, target);
    let json = [("b", "y"), ("a", "z")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(
        listener.access_logs[1].format,
        LogFormat::Json(json.to_vec())
    );
}

#[test]
fn sizes_have_units() {
    let size = |text: &str| {
        let text = site("- cluster: app\n").replace(
            "    routes:",
            &format!("    limits: {{ body: {text} }}\n    routes:"),
        );
        yaml(&text).map(|parsed| parsed.config.listeners[0].limits.body)
    };
    for (text, expect) in [
        ("0", Some(0)),
        ("1000", Some(1000)),
        ("64KiB", Some(65536)),
        ("1.5 MiB", Some(1_572_864)),
        ("1MB", Some(1_000_000)),
        ("10B", Some(10)),
        ("18446744073709551615B", Some(u64::MAX)),
        ("18446744073709551616B", None),
        ("1XB", None),
        ("-1", None),
        ("1.5", None),
        ("KiB", None),
        ("1e3", Some(1000)),
    ] {
        let found = size(text).ok().flatten();
        assert_eq!(found, expect.map(ByteSize), "{text}");
    }
}

#[test]
fn durations_have_units() {
    let timeout = |text: &str| {
        let parsed = yaml(&site(&format!("- {{ cluster: app, timeout: {text} }}\n")));
        let config = parsed.ok()?.config;
        match &config.route_tables[0].virtual_hosts[0].routes[0].action {
            Action::Forward(forward) => forward.timeout.map(|limit| limit.as_micros()),
            Action::Respond(_) | Action::Redirect(_) => None,
        }
    };
    for (text, expect) in [
        ("0", Some(0)),
        ("0s", Some(0)),
        ("5s", Some(5_000_000)),
        ("3ms", Some(3000)),
        ("1m30s", Some(90_000_000)),
        ("1.5h", Some(5_400_000_000)),
        ("366d", Some(31_622_400_000_000)),
        ("367d", None),
        ("5", None),
        ("5 s", None),
        ("s", None),
        ("\"\"", None),
        ("-5s", None),
        ("1e3s", None),
        (".5s", None),
        ("99999999999999999999s", None),
        ("5s5", None),
    ] {
        assert_eq!(timeout(text), expect, "{text}");
    }
}

#[test]
fn shares_have_units() {
    let share = |text: &str| {
        let route = format!("- {{ cluster: app, mirror: {{ cluster: other, share: {text} }} }}\n");
        let config = yaml(&site(&route)).ok()?.config;
        match &config.route_tables[0].virtual_hosts[0].routes[0].action {
            Action::Forward(forward) => Some(forward.mirror.as_ref()?.share.basis_points()),
            Action::Respond(_) | Action::Redirect(_) => None,
        }
    };
    for (text, expect) in [
        ("10%", Some(1000)),
        ("0.25%", Some(25)),
        ("5", Some(500)),
        ("0.5", Some(50)),
        ("100%", Some(10_000)),
        ("101%", None),
        ("-1%", None),
        ("half", None),
        ("nan%", None),
        (".nan", None),
    ] {
        assert_eq!(share(text), expect, "{text}");
    }
}
