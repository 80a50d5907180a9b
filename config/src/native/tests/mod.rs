//! The three formats from text to model, as an operator meets them.

mod defaults;
mod errors;
mod examples;
mod generated;
mod spans;
mod wrong;

use std::path::{Path, PathBuf};

use super::{Errors, Format, Parsed, parse, parse_and};
use crate::{Config, PathError};

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        "TRUE" => Some("true".to_owned()),
        _ => None,
    }
}

fn read(text: &str, format: Format) -> Result<Parsed, Errors> {
    parse(
        text,
        format,
        "site",
        &environment,
        Path::new("/etc/ringway"),
    )
}

/// The paths of all errors, those among them that `build` adds.
fn paths_with(text: &str, build: &[&str]) -> Vec<String> {
    let errors = |_: &Config| {
        build
            .iter()
            .map(|path| PathError::new(*path, "built"))
            .collect()
    };
    let base = Path::new("/etc/ringway");
    let outcome = parse_and(text, Format::Yaml, "site", &environment, base, &errors);
    let problems = outcome.expect_err("a wrong file").problems;
    problems.into_iter().map(|problem| problem.path).collect()
}

fn yaml(text: &str) -> Result<Parsed, Errors> {
    read(text, Format::Yaml)
}

/// A listener with routes, and clusters `app` and `other`.
fn site(routes: &str) -> String {
    let mut text = "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes:\n".to_owned();
    for line in routes.lines() {
        text.push_str(&format!("      {line}\n"));
    }
    text.push_str("clusters:\n  - { name: app, endpoints: [\"127.0.0.1:1\"] }\n");
    text.push_str("  - { name: other, endpoints: [\"127.0.0.1:2\"] }\n");
    text
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The messages, with their paths, of a text that must be refused.
fn said(text: &str) -> Vec<String> {
    let Err(errors) = yaml(text) else {
        panic!("should be refused:\n{text}");
    };
    let problems = errors.problems.iter();
    problems
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect()
}
