//! The documents: their links lead somewhere, their configurations are good, the commands they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ringway_tests::proxy::{root, run};
use ringway_tests::{Authority, Driver, Proxy, Site, TempDir};

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "bench"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        found.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(found.len() >= 8, "{found:?}");
    found
}

/// The text outside of fenced blocks, and the blocks with their languages, indentation taken off.
fn parts(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut open: Option<(usize, String, String)> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        match (&mut open, trimmed.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some((line.len() - trimmed.len(), language.into(), String::new()));
            }
            (Some((_, language, block)), Some(_)) => {
                blocks.push((std::mem::take(language), std::mem::take(block)));
                open = None;
            }
            (Some((indent, _, block)), None) => {
                *block += line.get(*indent..).unwrap_or_default();
                block.push('\n');
            }
            (None, None) => {
                prose += line;
                prose.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block without its end");
    (prose, blocks)
}

/// A heading's anchor.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == ' ';
    let text: String = heading.trim().chars().filter(|c| kept(*c)).collect();
    text.to_lowercase().replace(' ', "-")
}

fn has_anchor(path: &Path, wanted: &str) -> bool {
    let (prose, _) = parts(&fs::read_to_string(path).unwrap());
    prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let (prose, _) = parts(&fs::read_to_string(&path).unwrap());
        for link in prose.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            assert!(
                fragment.is_empty() || has_anchor(&target, fragment),
                "{}: {link}",
                path.display()
            );
        }
    }
}

#[test]
fn configurations_are_good() {
    let mut checked = 0;
    // What documents name is not here; a certificate of ours stands in.
    let (dir, ca) = (TempDir::new(), Authority::new("documents"));
    let (cert, key) = ca.issue(&["localhost"]).write(&dir, "site");
    let certificates = [
        ("site.pem", cert.clone()),
        ("site.key", key.clone()),
        ("site-rsa.pem", cert),
        ("site-rsa.key", key),
        ("ca.pem", dir.write("ca.pem", &ca.pem)),
    ];
    for path in documents() {
        let (_, blocks) = parts(&fs::read_to_string(&path).unwrap());
        for (_, block) in blocks.iter().filter(|(language, _)| language == "yaml") {
            // A recipe shows its routes only.
            let whole = if block.starts_with("routes:") {
                let routes = block.replace('\n', "\n    ");
                let clusters = ["app", "web-v1", "web-v2"]
                    .map(|name| format!("  - {{ name: {name}, endpoints: [127.0.0.1:9001] }}\n"));
                format!(
                    "listeners:\n  - name: web\n    address: 127.0.0.1:8080\n    {routes}\nclusters:\n{}",
                    clusters.concat()
                )
            } else {
                block.clone()
            };
            let whole = certificates.iter().fold(whole, |whole, (theirs, ours)| {
                whole.replace(&format!(" {theirs}"), &format!(" {}", ours.display()))
            });
            let (code, out, err) = run(&["validate", "-c", "-"], &whole);
            assert_eq!(code, 0, "{}: {block}{out}{err}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn commands_exist() {
    let mut commands = BTreeSet::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("`ringway ").skip(1) {
            let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            commands.insert(word);
        }
    }
    commands.remove("");
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let (code, _, err) = run(&[&command, "--help"], "");
        assert_eq!(code, 0, "`ringway {command}`: {err}");
    }
}

#[test]
fn the_code_map_names_every_module() {
    let map = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, map) = map.split_once("## Code map").unwrap();
    // Rows name what lies deeper too: `http1/rules`.
    let named: BTreeSet<&str> = map.split('`').skip(1).step_by(2).collect();
    for folder in ["config", "protocols", "engine", "control"] {
        let entries = fs::read_dir(root().join(folder).join("src")).unwrap();
        for entry in entries {
            let path = entry.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap();
            let below = format!("{module}/");
            let is_named = named
                .iter()
                .any(|name| *name == module || name.starts_with(&below));
            assert!(
                is_named || ["lib", "main"].contains(&module),
                "{folder}: {module}"
            );
        }
    }
}

#[test]
fn every_page_of_the_admin_interface_is_described() {
    let text = fs::read_to_string(root().join("docs/operation.md")).unwrap();
    let proxy = Proxy::start(
        Driver::Epoll,
        &Site::to(&["127.0.0.1:1".parse().unwrap()]).text(),
    );
    let help = proxy.admin("GET", "/help").text();
    let pages = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix('/'));
    let mut count = 0;
    for page in pages {
        let path = page.split([' ', ':']).next().unwrap();
        assert!(text.contains(&format!("| `/{path}` |")), "/{path}");
        count += 1;
    }
    assert!(count > 10, "{help}");
}

#[test]
fn every_script_is_named_where_one_looks_for_it() {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    for folder in ["scripts", "scripts/interop"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // What scripts share is no script.
            let is_script =
                name.ends_with(".sh") && !["lib.sh", "peers.sh", "ports.sh"].contains(&&*name);
            assert!(!is_script || text.contains(&name), "{folder}/{name}");
        }
    }
}
