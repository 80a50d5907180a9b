//! YAML, JSON and TOML into the model, with errors that point at the line: all of them at once.
//!
//! A file becomes a tree of values that know their place (`tree`), variables are put in (`expand`), the tree is read as
//! records (`wire`), and the records become the model (`lower`). The first two steps stop at an error, the others never.

mod expand;
mod lower;
mod report;
mod schema;
mod tree;
mod wire;

use std::path::Path;

pub use report::{Errors, Problem, SpanMap};
pub use schema::{reference, schema};
pub(crate) use wire::{FaultRecord, HeadersRecord, IpAccessRecord};

use crate::{Config, PathError};
use tree::{Node, SyntaxError, Value};
use wire::{Cx, Known, Root, Wire};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
    /// TOML 1.1.
    Toml,
}

impl Format {
    /// By the ending of the path; `None`: it says nothing.
    pub fn of_path(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }

    /// By the text, as of standard input: a `{` begins JSON, and all else is YAML.
    pub fn sniff(text: &str) -> Self {
        let start = text.trim_start_matches('\u{feff}').trim_start();
        if start.starts_with('{') {
            Self::Json
        } else {
            Self::Yaml
        }
    }
}

/// A configuration, where its values stand in the file, and what is doubtful about them.
#[derive(Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// Where its values stand.
    pub spans: SpanMap,
    /// What is doubtful; `SpanMap::render_warnings` shows it.
    pub warnings: Vec<Problem>,
}

/// A file to begin with, with comments: it serves, and sends everything to one upstream.
pub fn starter() -> &'static str {
    include_str!("starter.yaml")
}

/// Reads a configuration. `source_name` is the file's name, for errors; `env` gives environment variables; relative paths
/// begin at `base_dir`.
pub fn parse(
    text: &str,
    format: Format,
    source_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
    base_dir: &Path,
) -> Result<Parsed, Errors> {
    parse_and(text, format, source_name, env, base_dir, &|_| Vec::new())
}

/// As [`parse`]. Where the file is wrong, `build` is asked what else is wrong with as much of it as could be read, so that the
/// errors of all floors come at once; where it is right, `build` is not asked.
pub fn parse_and(
    text: &str,
    format: Format,
    source_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
    base_dir: &Path,
    build: &dyn Fn(&Config) -> Vec<PathError>,
) -> Result<Parsed, Errors> {
    let mut cx = Cx::new(SpanMap::new(source_name, text), base_dir);
    let Some(tree) = tree(text, format, &mut cx) else {
        return Err(Errors::new(&cx.spans, cx.problems));
    };
    let tree = settle(tree, text, env, &mut cx);
    cx.clusters = names(&tree, "clusters");
    cx.route_tables = names(&tree, "route_tables");
    let root = if let Value::Null = tree.value {
        cx.problem(
            "",
            "the file is empty: `ringway init` prints one to begin with",
        );
        None
    } else {
        Root::read(&tree, &mut cx)
    };
    let config = root.map(|root| lower::config(root, &mut cx));
    match config {
        Some(config) if cx.problems.is_empty() => Ok(Parsed {
            config,
            spans: cx.spans.with_variables(&cx.secret),
            warnings: cx.warnings,
        }),
        Some(config) => {
            let more = further(&cx, build(&config));
            Err(Errors::new(&cx.spans, [cx.problems, more].concat()))
        }
        None => Err(Errors::new(&cx.spans, cx.problems)),
    }
}

/// Of the errors of a configuration with holes, those that no hole has made, and that are not told yet.
fn further(cx: &Cx, errors: Vec<PathError>) -> Vec<Problem> {
    let within = |path: &str, hole: &String| {
        let below = path.strip_prefix(hole.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let problems = cx.spans.errors(errors).problems.into_iter();
    problems
        .filter(|new| !cx.holes.iter().any(|hole| within(&new.path, hole)))
        .filter(|new| !cx.problems.iter().any(|old| old.path == new.path))
        .collect()
}

fn tree(text: &str, format: Format, cx: &mut Cx) -> Option<Node> {
    let mut errors: Vec<SyntaxError> = Vec::new();
    let tree = match format {
        Format::Yaml => tree::yaml::read(text, &mut errors),
        Format::Json => tree::json::read(text, &mut errors),
        Format::Toml => tree::toml::read(text, &mut errors),
    };
    for error in errors {
        cx.problem_at("", error.span, error.message);
    }
    tree
}

/// Gives every value its path and puts variables in.
fn settle(mut tree: Node, text: &str, env: &dyn Fn(&str) -> Option<String>, cx: &mut Cx) -> Node {
    tree.settle_paths(String::new());
    settle_below(&mut tree, text, env, cx);
    tree
}

fn settle_below(node: &mut Node, source: &str, env: &dyn Fn(&str) -> Option<String>, cx: &mut Cx) {
    cx.spans.insert(&node.path, node.span.clone());
    match &mut node.value {
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {}
        Value::Text(text) => match expand::expand(text, env) {
            None => {}
            Some(Ok(done)) => {
                *text = done.text;
                node.expanded = done.variables;
                if done.variables {
                    cx.secret.insert(node.path.clone());
                }
            }
            Some(Err(wrong)) => {
                let written = source.get(node.span.clone()).unwrap_or("");
                let span = match written.find(&wrong.part) {
                    Some(at) => {
                        let start = node.span.start + at;
                        start..start + wrong.part.len()
                    }
                    None => node.span.clone(),
                };
                cx.problem_at(&node.path, span, wrong.message);
                // What it would have been is not known: no second problem may follow from it.
                node.value = Value::Unknown;
            }
        },
        Value::List(items) => {
            for item in items {
                settle_below(item, source, env, cx);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                settle_below(&mut entry.node, source, env, cx);
            }
        }
        Value::Unknown => {}
    }
}

/// The names of the items of a list, before anything is read: what refers to them may stand before them, and an item
/// with a problem of its own is still there.
fn names(tree: &Node, list: &str) -> Known {
    let items = tree.child(list).and_then(Node::items).unwrap_or(&[]);
    let mut known = Known::default();
    for node in items.iter().filter_map(|item| item.child("name")) {
        let Some(name) = node.text() else { continue };
        if known.names.insert(name.to_owned()) && !node.expanded {
            known.shown.push(name.to_owned());
        }
    }
    known
}

/// Reads a part of a configuration from plain JSON, as a filter does.
pub(crate) fn read_part<T: Wire>(value: &serde_json::Value) -> Result<T, Vec<PathError>> {
    let node = Node::from_json(value);
    let mut cx = Cx::new(SpanMap::new("", ""), Path::new(""));
    let read = T::read(&node, &mut cx);
    match read {
        Some(part) if cx.problems.is_empty() => Ok(part),
        Some(_) | None => Err(cx
            .problems
            .into_iter()
            .map(|problem| PathError::new(problem.path, problem.message))
            .collect()),
    }
}

#[cfg(test)]
mod tests;
