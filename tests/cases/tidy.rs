//! The house's rules, held: manifests and `use` lines point down, cores start no threads, files say what they are and stay short.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use ringway_tests::proxy::root;

/// A crate's folder and the crates of ours that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("protocols", &[]),
    ("engine", &["ringway-config", "ringway-protocols"]),
    (
        "control",
        &["ringway-config", "ringway-engine", "ringway-protocols"],
    ),
];

/// Crates that a folder's crate must not depend on: runtimes and sockets below the engine, another runtime in it.
const NEVER: &[(&str, &[&str])] = &[
    (
        "config",
        &["tokio", "monoio", "socket2", "libc", "hyper", "bytes"],
    ),
    (
        "protocols",
        &["tokio", "monoio", "socket2", "libc", "hyper", "serde"],
    ),
    ("engine", &["hyper", "tonic", "clap", "notify", "toml"]),
];

/// The floors within `engine`: a module imports only from lower ones.
const FLOORS: &[(&str, u8)] = &[
    ("fault", 0),
    ("grpc", 0),
    ("observe", 0),
    ("time", 0),
    ("rng", 0),
    ("request", 0),
    ("header_ops", 1),
    ("http2", 1),
    ("net", 1),
    ("route", 2),
    ("filter", 2),
    ("cluster", 2),
    ("snapshot", 3),
    ("view", 4),
    ("proxy", 5),
    ("serve", 7),
    ("core", 8),
    ("handle", 9),
    ("lib", 9),
];

/// Of floor 0, what the others of it may import: the plain facts of a request and its fault.
const FACTS: &[&str] = &["fault", "grpc", "request", "rng", "time"];

/// What a core must not touch, and why.
const BANNED: &[(&str, &str)] = &[
    ("thread::spawn", "threads start in handle alone"),
    ("std::thread::Builder", "threads start in handle alone"),
    ("Mutex", "cores share nothing"),
    ("RwLock", "cores share nothing"),
    ("std::fs", "control reads files"),
    ("std::net::TcpStream", "blocking I/O"),
    ("std::net::TcpListener", "blocking I/O"),
    ("to_socket_addrs", "control resolves names"),
];

/// Files of `engine` that use some of it, and why they may.
const ALLOWED: &[(&str, &[&str])] = &[
    // This is where the cores' threads start.
    ("engine/src/handle.rs", &["std::thread::Builder"]),
    // The registry is control's: a core has its numbers with its snapshot.
    ("engine/src/observe/stats.rs", &["Mutex"]),
    // The list of log targets is control's and the writer's: a core has their numbers with its snapshot.
    ("engine/src/observe/log_ring.rs", &["Mutex"]),
    // A Unix socket left over by a process that died is removed before binding: on the control thread, at a publish.
    ("engine/src/net/listen.rs", &["std::fs"]),
    // Why the ring is refused is read from /proc: on the control thread, at the start.
    ("engine/src/net/runtime.rs", &["std::fs"]),
];

fn sources(folder: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                into.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "nothing is looked at in {folder}");
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// A file's code: without its tests (by house rule last) and without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text
        .split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |all, line| all + line + "\n")
}

fn is_test(path: &Path) -> bool {
    let name = name(path);
    name.ends_with("/tests.rs") || name.split('/').any(|part| part == "tests")
}

/// The names of a manifest's section, as `dependencies`.
fn section(manifest: &str, wanted: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == format!("[{wanted}]");
        } else if inside && let Some((key, _)) = line.split_once(['.', '=', ' ']) {
            names.push(key.to_owned());
        }
    }
    names
}

#[test]
fn manifests_point_down() {
    for (folder, may) in CRATES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        for dependency in section(&manifest, "dependencies") {
            let ours = dependency.starts_with("ringway");
            assert!(
                !ours || may.contains(&dependency.as_str()),
                "{folder} depends on {dependency}"
            );
            let never = NEVER
                .iter()
                .find(|(of, _)| of == folder)
                .map_or(&[][..], |(_, names)| names);
            assert!(
                !never.contains(&dependency.as_str()),
                "{folder} depends on {dependency}"
            );
        }
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let part = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    for line in part
        .lines()
        .filter(|line| line.contains('=') && !line.starts_with("ringway"))
    {
        assert!(line.contains('#'), "no word on what it is for: {line}");
    }
}

/// The first module that each `crate::` path in a text names, through `use crate::{a, b::c}` too.
fn imports(text: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for rest in text.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut word, mut fresh) = (0, String::new(), true);
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(std::mem::take(&mut word));
                        fresh = true;
                    }
                    c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => word.push(c),
                    c if c.is_whitespace() => {}
                    _ => fresh = fresh && depth == 0 && word.is_empty(),
                }
            }
            found.insert(word);
        } else {
            found.insert(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    found
}

#[test]
fn imports_reads_both_forms() {
    let text =
        "use crate::{fault::{Fault, FaultKind}, net, request};\nlet x = crate::view::View::new();";
    let mut found: Vec<_> = imports(text).into_iter().collect();
    found.sort();
    assert_eq!(found, ["fault", "net", "request", "view"]);
}

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

#[test]
fn engine_modules_import_downwards() {
    for path in sources("engine/src").iter().filter(|path| !is_test(path)) {
        let inside = path.strip_prefix(root().join("engine/src")).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = first.trim_end_matches(".rs");
        let Some(own) = floor(module) else {
            panic!("{}: {module} has no floor", name(path))
        };
        for import in imports(&code(path)) {
            let Some(other) = floor(&import) else {
                continue;
            };
            let down = import == module
                || other < own
                || (own == 0 && FACTS.contains(&import.as_str()))
                || own == 9;
            assert!(
                down,
                "{}: {module} (floor {own}) imports {import} (floor {other})",
                name(path)
            );
        }
    }
}

#[test]
fn cores_share_nothing_and_never_block() {
    for path in sources("engine/src").iter().filter(|path| !is_test(path)) {
        let file = name(path);
        let allowed = ALLOWED
            .iter()
            .find(|(of, _)| *of == file)
            .map_or(&[][..], |(_, what)| what);
        let code = code(path);
        for (word, why) in BANNED {
            // `net` makes sockets in std's types and never blocks on them.
            if *why == "blocking I/O" && file.starts_with("engine/src/net/") {
                continue;
            }
            assert!(
                !code.contains(word) || allowed.contains(word),
                "{file}: {word} ({why})"
            );
            assert!(
                code.contains(word) || !allowed.contains(word),
                "{file} may use {word} and does not"
            );
        }
    }
}

#[test]
fn lower_floors_do_no_io() {
    for folder in ["config/src", "protocols/src"] {
        for path in sources(folder).iter().filter(|path| !is_test(path)) {
            let code = code(path);
            for word in [
                "std::fs",
                "std::thread",
                "Instant::now",
                "SystemTime::now",
                "TcpStream",
                "std::process",
            ] {
                assert!(!code.contains(word), "{}: {word}", name(path));
            }
        }
    }
}

#[test]
fn only_net_names_monoio() {
    for path in sources("engine/src") {
        let file = name(&path);
        assert!(
            file.starts_with("engine/src/net/") || !code(&path).contains("monoio::"),
            "{file} names monoio"
        );
    }
}

#[test]
fn files_begin_with_what_they_are_and_stay_short() {
    for folder in ["config", "protocols", "engine", "control", "tests", "bench"] {
        for path in sources(folder) {
            if name(&path).contains("/target/") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let first = text
                .lines()
                .find(|line| !line.starts_with("#!"))
                .unwrap_or_default();
            assert!(
                first.starts_with("//!"),
                "{} does not say what it is",
                name(&path)
            );
            let lines = if is_test(&path) {
                0
            } else {
                text.split("\n#[cfg(test)]")
                    .next()
                    .unwrap_or_default()
                    .lines()
                    .count()
            };
            assert!(lines <= 600, "{}: {lines} lines", name(&path));
        }
    }
}

#[test]
fn no_case_sleeps() {
    // `wait` paces its looks; whoever else waits names a condition, or reads with a deadline.
    let files = [sources("tests/cases"), sources("tests/harness")].concat();
    for path in files {
        let file = name(&path);
        let may = file == "tests/harness/wait.rs" || file == "tests/cases/tidy.rs";
        let text = fs::read_to_string(&path).unwrap();
        assert!(may || !text.contains("sleep("), "{file} sleeps");
    }
}

/// The tests that `tests/rpc.md` names for what RPC protocols do.
#[test]
fn tests_that_are_named_are_there() {
    let folders = ["tests/cases", "protocols/src", "engine/src"];
    let texts: String = folders
        .into_iter()
        .flat_map(sources)
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let page = fs::read_to_string(root().join("tests/rpc.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let tests = rows.filter_map(|row| row.split(" | ").nth(1));
    // Between backticks stands every second part.
    let names: Vec<_> = tests
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 60, "{} names", names.len());
    for name in names {
        assert!(texts.contains(&format!("fn {name}(")), "no test {name}");
    }
}

#[test]
fn nothing_is_left_to_do_later() {
    for folder in ["config", "protocols", "engine", "control", "bench"] {
        for path in sources(folder) {
            let text = fs::read_to_string(&path).unwrap();
            for word in ["TODO", "FIXME", "XXX", "unimplemented!", "todo!"] {
                assert!(!text.contains(word), "{}: {word}", name(&path));
            }
        }
    }
}
