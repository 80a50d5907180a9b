//! Problems, where they stand in the file, and how they are shown: all at once, each with its line and a caret.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::PathError;

/// What is wrong, or doubtful, in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the value as the file writes it; empty: the whole file.
    pub path: String,
    /// One sentence that says what to write instead.
    pub message: String,
    /// Bytes of the source.
    pub span: Range<usize>,
}

/// The text that spans point into, and its name.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    name: String,
    text: String,
}

/// Where each value of a configuration stands in its file.
///
/// Paths may be those of the file (`listeners[0].routes[2].match`) or of the model
/// (`route_tables[1].virtual_hosts[0].routes[2].match`); an unknown one falls back to its nearest known parent.
#[derive(Clone, Debug)]
pub struct SpanMap {
    source: Arc<Source>,
    spans: HashMap<String, Range<usize>>,
    /// Model paths whose place in the file is another: the inline route tables, the only chain of a flat listener.
    aliases: HashMap<String, String>,
    /// File paths of filters whose configuration stands below their name.
    filters: HashMap<String, String>,
    /// File paths, in lower case, of texts that the environment filled in.
    variables: HashSet<String>,
}

impl SpanMap {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self {
            source: Arc::new(Source {
                name: name.to_owned(),
                text: text.to_owned(),
            }),
            spans: HashMap::new(),
            aliases: HashMap::new(),
            filters: HashMap::new(),
            variables: HashSet::new(),
        }
    }

    pub(crate) fn with_variables(mut self, paths: &HashSet<String>) -> Self {
        self.variables = paths.iter().map(|path| path.to_ascii_lowercase()).collect();
        self
    }

    /// Whether the environment filled in (a part of) the text at a path: it may be a secret, and is not to be shown. Names of
    /// fields in the path may be in any case.
    pub fn has_variables(&self, path: &str) -> bool {
        let path = self.file_path(path).to_ascii_lowercase();
        self.variables.contains(&path)
    }

    pub(crate) fn insert(&mut self, path: &str, span: Range<usize>) {
        self.spans.insert(path.to_owned(), span);
    }

    pub(crate) fn alias(&mut self, model: String, file: String) {
        if model != file {
            self.aliases.insert(model, file);
        }
    }

    pub(crate) fn filter(&mut self, path: String, config: String) {
        self.filters.insert(path, config);
    }

    /// The bytes of the source where a path stands, or its nearest known parent; empty at the start for none.
    pub fn span(&self, path: &str) -> Range<usize> {
        let path = self.file_path(path);
        ancestors(&path)
            .find_map(|path| self.spans.get(path))
            .cloned()
            .unwrap_or(0..0)
    }

    /// The path as the file writes it.
    pub fn file_path(&self, path: &str) -> String {
        let path = replace_prefix(&self.aliases, path);
        replace_prefix(&self.filters, &path)
    }

    /// Joins errors that know only their path, as those of `Snapshot::build`, with their places.
    pub fn errors(&self, errors: Vec<PathError>) -> Errors {
        let problems = errors.into_iter().map(|error| Problem {
            span: self.span(&error.path),
            path: self.file_path(&error.path),
            message: error.message,
        });
        Errors::new(self, problems.collect())
    }

    /// Warnings as they are shown, each with its line; empty for none.
    pub fn render_warnings(&self, warnings: &[Problem]) -> String {
        render(&self.source, warnings, Level::WARNING)
    }
}

/// The path with the longest prefix that has another name replaced by it.
fn replace_prefix(names: &HashMap<String, String>, path: &str) -> String {
    let found = ancestors(path).find_map(|parent| Some((parent, names.get(parent)?)));
    match found {
        Some((parent, name)) => format!("{name}{}", path.get(parent.len()..).unwrap_or("")),
        None => path.to_owned(),
    }
}

/// A path and its parents, the nearest first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        (!path.is_empty()).then(|| {
            let end = path.rfind(['.', '[']).unwrap_or(0);
            path.get(..end).unwrap_or("")
        })
    })
}

/// All that is wrong with a configuration: never empty, in the order of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Errors {
    source: Arc<Source>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Errors {
    pub(crate) fn new(spans: &SpanMap, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.span.start, &a.path).cmp(&(b.span.start, &b.path)));
        problems.dedup();
        Self {
            source: spans.source.clone(),
            problems,
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = render(&self.source, &self.problems, Level::ERROR);
        f.write_str(text.trim_end_matches('\n'))
    }
}

/// Short, since the derived form would print the whole source.
impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Errors {}

/// Problems shown in one text; beyond these the first ones are more use than the rest.
const SHOWN_MAX: usize = 100;

fn render(source: &Source, problems: &[Problem], level: Level<'static>) -> String {
    let renderer = Renderer::plain();
    let mut text = String::new();
    let mut place = Place {
        start: 0,
        number: 1,
    };
    for problem in problems.iter().take(SHOWN_MAX) {
        place.advance(&source.text, problem.span.start);
        let (line, caret) = caret(&source.text, place.start, &problem.span);
        let message = match problem.path.as_str() {
            "" => problem.message.clone(),
            path => format!("{path}: {}", problem.message),
        };
        // An own copy of the one line: the renderer would otherwise count the lines of the whole file each time.
        let snippet = Snippet::source(line)
            .path(source.name.as_str())
            .line_start(place.number)
            .annotation(AnnotationKind::Primary.span(caret));
        let group = Group::with_title(level.clone().primary_title(message)).element(snippet);
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    if let Some(more @ 1..) = problems.len().checked_sub(SHOWN_MAX) {
        text.push_str(&format!("... and {more} more\n\n"));
    }
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// The line that a walk over sorted problems has come to.
struct Place {
    start: usize,
    number: usize,
}

impl Place {
    fn advance(&mut self, text: &str, to: usize) {
        if to < self.start {
            *self = Self {
                start: 0,
                number: 1,
            };
        }
        let passed = text.get(self.start..to.min(text.len())).unwrap_or("");
        if let Some(last) = passed.rfind('\n') {
            self.number += passed.matches('\n').count();
            self.start += last + 1;
        }
    }
}

/// The line that begins at `start`, and the part of it to underline. A span of many lines is underlined on its first.
fn caret(text: &str, start: usize, span: &Range<usize>) -> (String, Range<usize>) {
    let rest = text.get(start..).unwrap_or("");
    let line = rest.split('\n').next().unwrap_or("");
    let line = line.trim_end();
    let from = span.start.saturating_sub(start).min(line.len());
    let to = span.end.saturating_sub(start).clamp(from, line.len());
    (line.to_owned(), from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_falls_back_to_its_nearest_parent() {
        let mut spans = SpanMap::new("f", "abcdef");
        spans.insert("a", 1..2);
        spans.insert("a.b[0]", 2..3);
        spans.alias("m[0].x".to_owned(), "a".to_owned());
        for (path, expect) in [
            ("a", 1..2),
            ("a.c.d", 1..2),
            ("a.b[0].c[1]", 2..3),
            ("a.b[1]", 1..2),
            ("m[0].x.b[0]", 2..3),
            ("m[0].y", 0..0),
            ("", 0..0),
        ] {
            assert_eq!(spans.span(path), expect, "{path}");
        }
    }

    #[test]
    fn joins_errors_with_their_lines() {
        let text = "clusters:\n  - name: a\n    tries: é!\n";
        let mut spans = SpanMap::new("site.yaml", text);
        let start = text.find('é').unwrap();
        spans.insert("clusters[0].tries", start..start + 2);
        let errors = spans.errors(vec![PathError::new("clusters[0].tries", "write it well")]);
        let expect = "\
error: clusters[0].tries: write it well
 --> site.yaml:3:12
  |
3 |     tries: é!
  |            ^";
        assert_eq!(errors.to_string(), expect);
    }
}
