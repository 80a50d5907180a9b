//! The command line: verbs, exit codes, and errors that say what to write instead.

use ringway_tests::proxy::run;
use ringway_tests::{Proxy, TempDir};

const GOOD: &str = "listeners:\n  - { name: web, address: 127.0.0.1:0, routes: [{ match: { prefix: / }, respond: { status: 200 } }] }\n";

#[test]
fn validate_says_good_or_lists_every_error() {
    let dir = TempDir::new();
    let good = dir.write("good.yaml", GOOD);
    let (code, out, err) = run(&["validate", "-c", good.to_str().unwrap()], "");
    assert_eq!(code, 0, "{out}{err}");
    let bad = dir.write(
        "bad.yaml",
        "listeners:\n  - name: web\n    adress: 127.0.0.1:0\n    routes:\n      - match: { prefix: / }\n        cluster: nowhere\n        timeout: 5 parsecs\n      - { match: { regex: \"a(\" }, redirect: { host: x } }\n",
    );
    let (code, out, err) = run(&["validate", "-c", bad.to_str().unwrap()], "");
    assert_eq!(code, 1, "{out}{err}");
    let all = out + &err;
    // All of them, with file, line, column, the line itself, a caret and what to write instead.
    for part in [
        "bad.yaml:3:",
        "adress",
        "address",
        "nowhere",
        "5 parsecs",
        "unclosed group",
        "^",
    ] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
}

#[test]
fn validate_reads_standard_input_and_all_three_formats() {
    assert_eq!(run(&["validate", "-c", "-"], GOOD).0, 0);
    assert_eq!(run(&["validate", "-c", "-"], "listeners: 7\n").0, 1);
    let dir = TempDir::new();
    let json = r#"{"listeners": [{"name": "web", "address": "127.0.0.1:0", "routes": [{"match": {"prefix": "/"}, "respond": {"status": 200}}]}]}"#;
    let toml = "[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\nroutes = [{ match = { prefix = \"/\" }, respond = { status = 200 } }]\n";
    for (name, text) in [("a.json", json), ("a.toml", toml), ("a.yaml", GOOD)] {
        let path = dir.write(name, text);
        let (code, out, err) = run(&["validate", "-c", path.to_str().unwrap()], "");
        assert_eq!(code, 0, "{name}: {out}{err}");
    }
}

#[test]
fn an_error_inside_a_filter_points_at_its_value() {
    let text = GOOD.replace(
        "routes:",
        "filters: [{ headers: { request: { set: { X-A: \"%NONSENSE%\" } } } }], routes:",
    );
    let (code, out, err) = run(&["validate", "-c", "-"], &text);
    assert_eq!(code, 1, "{out}{err}");
    let all = out + &err;
    let path = "listeners[0].filters[0].headers.request.set.X-A: there is no operator";
    let column = text.lines().nth(1).unwrap().find("\"%N").unwrap() + 1;
    for part in [path, &format!("<stdin>:2:{column}")] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
}

#[test]
fn semantic_errors_are_found() {
    let listener = |name: &str, address: &str| {
        format!(
            "  - {{ name: {name}, address: \"{address}\", routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200 }} }}] }}\n"
        )
    };
    let shadowed = "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes:\n      - { match: { prefix: / }, respond: { status: 200 } }\n      - { match: { path: /never }, respond: { status: 200 } }\n";
    for (text, says) in [
        (
            format!(
                "listeners:\n{}{}",
                listener("a", "127.0.0.1:0"),
                listener("a", "127.0.0.1:0")
            ),
            "a",
        ),
        (
            format!(
                "listeners:\n{}{}",
                listener("a", "127.0.0.1:8080"),
                listener("b", "127.0.0.1:8080")
            ),
            "8080",
        ),
        (
            format!(
                "listeners:\n{}{}",
                listener("a", "0.0.0.0:8080"),
                listener("b", "127.0.0.1:8080")
            ),
            "8080",
        ),
        (shadowed.to_owned(), "line"),
        (GOOD.replace("status: 200", "status: 999"), "999"),
        (
            GOOD.to_owned() + "clusters: [{ name: up, endpoints: [] }]\n",
            "endpoints",
        ),
        (
            GOOD.replace("respond: { status: 200 }", "redirect: { code: 200 }"),
            "200",
        ),
    ] {
        let (code, out, err) = run(&["validate", "-c", "-"], &text);
        assert_eq!(code, 1, "accepted:\n{text}{out}{err}");
        assert!(
            (out.clone() + &err).contains(says) || says == "line",
            "{says}: {out}{err}"
        );
    }
}

#[test]
fn validate_says_which_files_cannot_be_written_and_makes_none() {
    let dir = TempDir::new();
    let there = dir.write("there.log", "a line\n");
    let logs = "access_log: [{ file: gone/a.log }, { file: there.log }, { file: new.log }, { file: . }], routes:";
    let bad = dir.write("bad.yaml", &GOOD.replace("routes:", logs));
    let (code, out, err) = run(&["validate", "-c", bad.to_str().unwrap()], "");
    // Whoever starts it may have more rights, and a folder that is made for it.
    assert_eq!(code, 0, "{out}{err}");
    let mut at = err.lines().filter(|line| line.starts_with("warning:"));
    for (log, why) in [(0, "No such file"), (3, "is a directory")] {
        let path =
            format!("warning: listeners[0].access_log[{log}].file: this file cannot be written");
        let line = at.next().unwrap_or_default();
        assert!(line.starts_with(&path) && line.contains(why), "{err}");
    }
    assert_eq!(at.next(), None, "{err}");
    let good = "access_log: [{ file: there.log }, { file: new.log }], routes:";
    let good = dir.write("good.yaml", &GOOD.replace("routes:", good));
    let (code, out, err) = run(&["validate", "-c", good.to_str().unwrap()], "");
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(std::fs::read_to_string(there).unwrap(), "a line\n");
    assert!(!dir.path().join("new.log").exists());
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    assert_eq!(run(&["frobnicate"], "").0, 2);
    assert_eq!(run(&["run"], "").0, 2);
    assert_eq!(run(&["run", "-c", "/nowhere/at/all.yaml"], "").0, 1);
    assert_eq!(run(&["run", "-c", "-"], "listeners: 7\n").0, 1);
    assert_eq!(run(&["reload", "--admin", "127.0.0.1:1"], "").0, 1);
}

#[test]
fn init_writes_a_file_that_validates() {
    let dir = TempDir::new();
    let path = dir.join("new.yaml");
    let args = ["init", path.to_str().unwrap()];
    assert_eq!(run(&args, "").0, 0);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains('#') && text.contains("listeners"), "{text}");
    let (code, out, err) = run(&["validate", "-c", "-"], &text);
    assert_eq!(code, 0, "{out}{err}");
    // What is there is never overwritten.
    assert_eq!(run(&args, "").0, 1);
}

#[test]
fn schema_is_the_one_in_git() {
    let (code, text, _) = run(&["schema"], "");
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    let kept =
        std::fs::read_to_string(ringway_tests::proxy::root().join("config/ringway.schema.json"))
            .unwrap();
    assert_eq!(
        schema,
        serde_json::from_str::<serde_json::Value>(&kept).unwrap()
    );
}

#[test]
fn version_completion_and_man_page_are_there() {
    let (code, text, _) = run(&["version"], "");
    assert!(
        code == 0 && text.contains(env!("CARGO_PKG_VERSION")),
        "{text}"
    );
    let (code, text, _) = run(&["version", "--json"], "");
    assert!(
        code == 0 && serde_json::from_str::<serde_json::Value>(&text).is_ok(),
        "{text}"
    );
    for args in [
        ["completion", "bash"].as_slice(),
        &["completion", "zsh"],
        &["completion", "fish"],
        &["man"],
    ] {
        let (code, text, err) = run(args, "");
        assert!(code == 0 && text.contains("ringway"), "{args:?}: {err}");
    }
}

#[test]
fn secrets_in_variables_are_never_echoed() {
    let dir = TempDir::new();
    let path = dir.write(
        "a.yaml",
        &GOOD.replace("status: 200", "status: \"${SECRET}\""),
    );
    let output = std::process::Command::new(ringway_tests::proxy::binary())
        .args(["validate", "-c", path.to_str().unwrap()])
        .env("SECRET", "s3cr3t-value")
        .output()
        .unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{all}");
    assert!(!all.contains("s3cr3t-value"), "{all}");
}

#[test]
fn variables_take_values_and_defaults() {
    let config = GOOD.replace(
        "respond: { status: 200 }",
        "respond: { status: 200, body: \"${RINGWAY_A} ${RINGWAY_B:-default} $$5\" }",
    );
    let proxy = Proxy::with(ringway_tests::Driver::Epoll)
        .env("RINGWAY_A", "value")
        .start(&config);
    assert_eq!(proxy.client().get("/").text(), "value default $5");
    let (code, out, err) = run(&["validate", "-c", "-"], &config);
    assert_eq!(code, 1, "{out}{err}");
    assert!((out + &err).contains("RINGWAY_A"));
}

#[test]
fn the_demo_serves_what_it_prints() {
    use std::io::{BufRead, BufReader};
    let mut command = std::process::Command::new(ringway_tests::proxy::binary());
    command.args([
        "demo",
        "--port",
        "0",
        "--tls-port",
        "0",
        "--admin-port",
        "0",
    ]);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let rest = line
            .split("curl")
            .nth(1)?
            .split("http://")
            .nth(1)?
            .to_owned();
        rest.split(['/', ' ', '\'', '"']).next().map(str::to_owned)
    });
    // Keep its output flowing.
    let drain = std::thread::spawn(move || lines.map_while(Result::ok).count());
    let addr = url.expect("a curl line").parse().unwrap();
    let mut client = ringway_tests::Client::connect(addr);
    assert_eq!(client.get("/").status, 200);
    for _ in 0..6 {
        assert_eq!(
            client.get("/flaky").status,
            200,
            "the retry hides the flaky back-end"
        );
    }
    assert_eq!(client.get("/slow").status, 200);
    ringway_tests::sys::signal(child.id(), libc::SIGINT);
    ringway_tests::sys::signal(child.id(), libc::SIGINT);
    ringway_tests::wait_until("the demo ends", || child.try_wait().unwrap().is_some());
    drain.join().unwrap();
}
