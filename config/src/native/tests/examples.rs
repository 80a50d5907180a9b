//! The files in `config/examples` and the starter: all load, in every format, and no cut of them makes the parser fall over.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Format, read, root, yaml};
use crate::starter;

pub(super) fn files() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root().join("config/examples")).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "one for each feature");
    files
}

#[test]
fn every_example_loads_without_a_warning() {
    for (path, text) in files() {
        let format = Format::of_path(&path).unwrap();
        match read(&text, format) {
            Ok(parsed) => assert!(parsed.warnings.is_empty(), "{}", path.display()),
            Err(errors) => panic!("{}:\n{errors}", path.display()),
        }
    }
}

#[test]
fn the_starter_loads_with_and_without_its_comments() {
    yaml(starter()).unwrap();
    // Each commented key is a sound key: taking `# ` away must not make it wrong.
    let text: String = starter()
        .lines()
        .map(|line| {
            let spaces = line.len() - line.trim_start().len();
            match line.trim_start().strip_prefix("# ") {
                Some(rest)
                    if !rest.starts_with(char::is_uppercase) && !rest.starts_with("file") =>
                {
                    format!("{}{rest}\n", &line[..spaces])
                }
                Some(_) | None => format!("{line}\n"),
            }
        })
        .collect();
    let config = yaml(&text).unwrap().config;
    assert_eq!(config.clusters[0].endpoints.len(), 3);
    assert_eq!(config.process.cores, Some(2));
}

#[test]
fn yaml_is_a_superset_of_json() {
    for (path, text) in files() {
        if Format::of_path(&path) == Some(Format::Json) {
            let json = read(&text, Format::Json).unwrap().config;
            assert_eq!(json, read(&text, Format::Yaml).unwrap().config);
        }
    }
}

#[test]
fn the_three_formats_say_the_same() {
    let listen = r#"{"listeners": [{"name": "a", "address": "[::1]:80", "routes": [{"respond": {"status": 200}}]}]}"#;
    let json = read(listen, Format::Json).unwrap().config;
    let toml = "[[listeners]]\nname = \"a\"\naddress = \"[::1]:80\"\n[[listeners.routes]]\nrespond.status = 200\n";
    let yaml =
        "listeners:\n- name: a\n  address: '[::1]:80'\n  routes:\n  - respond: {status: 200}\n";
    assert_eq!(json, read(toml, Format::Toml).unwrap().config);
    assert_eq!(json, read(yaml, Format::Yaml).unwrap().config);
}

#[test]
fn formats_are_told_by_path_or_text() {
    assert_eq!(Format::of_path(Path::new("a/B.YAML")), Some(Format::Yaml));
    assert_eq!(Format::of_path(Path::new("a.yml")), Some(Format::Yaml));
    assert_eq!(Format::of_path(Path::new("a.toml")), Some(Format::Toml));
    assert_eq!(Format::of_path(Path::new("a.conf")), None);
    assert_eq!(Format::of_path(Path::new("-")), None);
    assert_eq!(Format::sniff("\n  {"), Format::Json);
    assert_eq!(Format::sniff("listeners: []"), Format::Yaml);
}

#[test]
fn no_cut_of_an_example_makes_the_parser_panic() {
    for (path, text) in files() {
        // A prime step, so that over all files each kind of place is met; every byte would take too long.
        for cut in (0..text.len()).step_by(7) {
            if !text.is_char_boundary(cut) {
                continue;
            }
            for format in [Format::of_path(&path).unwrap(), Format::Toml] {
                if let Err(errors) = read(&text[..cut], format) {
                    assert!(!errors.problems.is_empty());
                    assert!(errors.to_string().starts_with("error: "));
                }
            }
        }
    }
}

#[test]
fn no_changed_byte_makes_the_parser_panic() {
    let strange = [
        "\0", "\t", "\"", "'", "{", "[", "]", ":", "&a ", "*a", "é", "\u{2028}", "- ", "#", "|",
        "%",
    ];
    for (path, text) in files().into_iter().take(8) {
        let format = Format::of_path(&path).unwrap();
        for at in (0..text.len()).step_by(7) {
            if let (Some(before), Some(after)) = (text.get(..at), text.get(at + 1..)) {
                let changed = format!("{before}{}{after}", strange[at % strange.len()]);
                if let Err(errors) = read(&changed, format) {
                    assert!(!errors.to_string().is_empty());
                }
            }
        }
    }
}
