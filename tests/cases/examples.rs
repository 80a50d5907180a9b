//! Every file in `config/examples` loads, starts and answers, with its ports and paths made ours.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ringway_tests::proxy::{root, run};
use ringway_tests::secure::BOTH;
use ringway_tests::{
    Authority, Client, Driver, H2Origin, Origin, Proxy, Secure, TempDir, Wanted, Wire, both_drivers,
};

both_drivers! { every_example_starts_and_answers }

fn examples() -> Vec<PathBuf> {
    let dir = root().join("config/examples");
    let known = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end == "yaml" || end == "json" || end == "toml")
    };
    let entries =
        std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(known)
        .collect();
    files.sort();
    assert!(files.len() >= 10, "one for each feature: {files:?}");
    files
}

#[test]
fn every_example_validates() {
    for path in examples() {
        let dir = TempDir::new();
        let text = std::fs::read_to_string(&path).unwrap();
        let (text, _) = with_certificates(&text, &dir);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let copy = dir.write(name, &text);
        let (code, out, err) = run(&["validate", "-c", copy.to_str().unwrap()], "");
        assert_eq!(code, 0, "{}: {out}{err}", path.display());
    }
}

/// The example with certificates of our own in the place of those that it names.
fn with_certificates(text: &str, dir: &TempDir) -> (String, Option<Secure>) {
    const THEIRS: &str = "/etc/ringway/tls/";
    let mut secure = None;
    if text.contains(THEIRS) {
        let ca = Authority::new("example");
        let partner = Wanted::names(&["a.partners.example"]).uri("spiffe://partners.example/a");
        secure = Some(Secure::with(&ca, BOTH, Some(&ca.make(&partner))));
        dir.write("ca.pem", &ca.pem);
        dir.write("partners.pem", &ca.pem);
        dir.write("partners.crl", &ca.revoke(&[]));
        dir.write("tickets", &format!("{}\n", "0a".repeat(32)));
        ca.issue(&["localhost"]).write(dir, "site");
        ca.issue(&["edge.example"]).write(dir, "edge");
    }
    let ours = format!("{}/", dir.path().display());
    (text.replace(THEIRS, &ours), secure)
}

/// The example with its listeners (ports 8080 to 8099) on free ports, its upstreams ours (9100 to 9199: those that speak HTTP/2), its
/// files in `DIR`.
fn remap(text: &str, origin: &Origin, http2: &H2Origin) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || ".:-".contains(c);
    let mut out = String::new();
    let text = text
        .replace("[::]:", "127.0.0.1:")
        .replace("[::1]:", "127.0.0.1:");
    let mut rest = text.as_str();
    while let Some(at) = rest.find(part) {
        let (before, from) = rest.split_at(at);
        let (word, after) = from.split_at(from.find(|c| !part(c)).unwrap_or(from.len()));
        out += before;
        let is_listener = |port: u16| (8080..8100).contains(&port);
        match (word.parse::<SocketAddr>(), word.rsplit_once(':')) {
            (Ok(addr), _) if addr.port() == 9901 => out += "unix:DIR/admin.sock",
            (Ok(addr), _) if is_listener(addr.port()) => out += "127.0.0.1:0",
            (Ok(addr), _) if (9100..9200).contains(&addr.port()) => {
                out += &http2.addr().to_string();
            }
            (Ok(_), _) => out += &origin.addr().to_string(),
            (Err(_), Some((host, port))) if host == "localhost" && port.parse::<u16>().is_ok() => {
                out += &format!("localhost:{}", origin.addr().port());
            }
            (Err(_), _) => out += word,
        }
        rest = after;
    }
    out += rest;
    for dir in ["/var/log/ringway", "/run/ringway", "/tmp"] {
        out = out.replace(&format!("{dir}/"), "DIR/");
    }
    out
}

/// What listeners of RPC protocols are asked, by the words that tell them, and what they answer.
const HEARTBEATS: [(&str, &[u8], &[u8]); 2] = [
    (
        "protocol: bolt",
        b"\x01\x01\0\0\x01\0\0\0\x01\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
        b"\x01\0\0\0\x01\0\0\0\x01\x01\0\0\0\0\0\0\0\0\0\0",
    ),
    (
        "protocol: dubbo",
        b"\xda\xbb\xe2\0\0\0\0\0\0\0\0\x01\0\0\0\x01N",
        b"\xda\xbb\x22\x14\0\0\0\0\0\0\0\x01\0\0\0\x01N",
    ),
];

/// Adds the driver and an admin socket where the example has none of its own.
fn complete(text: &str, end: &str, driver: Driver) -> String {
    let (process, admin) = (!text.contains("process"), !text.contains("admin"));
    let name = driver.name();
    let mut out = text.to_owned();
    match end {
        "json" => {
            let mut head = String::from("{");
            if process {
                head += &format!("\"process\": {{\"io_driver\": \"{name}\", \"cores\": 2}},");
            }
            if admin {
                head += "\"admin\": {\"address\": \"unix:DIR/admin.sock\"},";
            }
            out = out.replacen('{', &head, 1);
        }
        "toml" => {
            if process {
                out += &format!("\n[process]\nio_driver = \"{name}\"\ncores = 2\n");
            }
            if admin {
                out += "\n[admin]\naddress = \"unix:DIR/admin.sock\"\n";
            }
        }
        _ => {
            if process {
                out += &format!("\nprocess: {{ io_driver: {name}, cores: 2 }}\n");
            }
            if admin {
                out += "\nadmin: { address: \"unix:DIR/admin.sock\" }\n";
            }
        }
    }
    out
}

fn every_example_starts_and_answers(driver: Driver) {
    for path in examples() {
        let (origin, http2) = (Origin::start("example"), H2Origin::start("example"));
        let dir = TempDir::new();
        let text = std::fs::read_to_string(&path).unwrap();
        let (text, secure) = with_certificates(&remap(&text, &origin, &http2), &dir);
        let end = path.extension().and_then(|end| end.to_str()).unwrap();
        let file = dir.join(&format!("ringway.{end}"));
        let text = complete(&text, end, driver);
        let mut proxy = Proxy::with(driver).verbatim().spawn_in(dir, &file, &text);
        proxy.wait_ready();
        let listeners = proxy.admin("GET", "/listeners").text();
        assert!(!listeners.trim().is_empty(), "{}", path.display());
        for line in listeners.lines() {
            let at = line.split_once("::").unwrap().1;
            let mut heartbeats = HEARTBEATS.iter();
            let clients = text.split("clusters:").next().unwrap_or_default();
            if let Some((_, ping, pong)) = heartbeats.find(|(words, ..)| clients.contains(words)) {
                let mut wire = Wire::connect(at.parse().unwrap());
                wire.send(ping);
                assert_eq!(wire.take(pong.len()), *pong);
                continue;
            }
            let mut client = match at.parse() {
                Ok(addr) => Client::connect(addr),
                Err(_) => Client::try_unix(Path::new(at.trim_start_matches("unix:"))).unwrap(),
            };
            // An example whose upstream is a Unix socket or speaks TLS finds nobody there.
            let plain = client.try_ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let status = match (plain, &secure, at.parse()) {
                (Ok(response), ..) => response.status,
                (Err(_), Some(secure), Ok(addr)) => {
                    secure.connect(addr, "localhost").get("/").status
                }
                (Err(broken), ..) => panic!("{}: {broken} from {at}", path.display()),
            };
            assert!(
                status < 500
                    || ["[\"unix:", "server_name:"]
                        .iter()
                        .any(|word| text.contains(word)),
                "{}: {status} from {at}",
                path.display()
            );
        }
    }
}
