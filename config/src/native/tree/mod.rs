//! A file as a tree of values that know where they stand: what the three formats have in common.
//!
//! The tree is what makes all errors appear at once: it is walked by hand, so that a wrong value stops nothing but itself.

pub(crate) mod json;
pub(crate) mod toml;
pub(crate) mod yaml;

use std::ops::Range;

/// Nesting beyond this is an error: a real configuration needs a dozen levels, and the walks below are recursive.
pub(crate) const DEPTH_LIMIT: usize = 64;

/// A value, where it stands in the text, and its path.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// `clusters[3].endpoints[0]`; set once the tree is whole.
    pub path: String,
    /// Bytes of the source.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value,
    /// Whether an environment variable went into it: it may then stand for a number or a boolean, and no error shows it.
    pub expanded: bool,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A problem was noted already, and nothing more is to be said of it.
    Unknown,
}

/// A key of a map, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub span: Range<usize>,
    /// The value.
    pub node: Node,
}

/// What keeps a text from being a tree.
#[derive(Clone, Debug)]
pub(crate) struct SyntaxError {
    /// Where.
    pub span: Range<usize>,
    /// What to write instead.
    pub message: String,
}

impl SyntaxError {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }

    pub(crate) fn too_deep(span: Range<usize>) -> Self {
        let message = format!("nest values at most {DEPTH_LIMIT} levels deep");
        Self::new(span, message)
    }

    pub(crate) fn twice(span: Range<usize>, key: &str) -> Self {
        Self::new(span, format!("write the key `{key}` only once in a map"))
    }
}

impl Node {
    /// A value somewhere.
    pub(crate) fn new(span: Range<usize>, value: Value) -> Self {
        Self {
            path: String::new(),
            span,
            value,
            expanded: false,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        let entries = self.entries()?;
        entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// The entries of a map.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Unknown => None,
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Map(_)
            | Value::Unknown => None,
        }
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Unknown => None,
        }
    }

    /// How an error names this value: without showing what came from the environment.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            _ if self.expanded => "what the environment gives".to_owned(),
            Value::Null | Value::Unknown => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Integer(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(text) if text.chars().count() > 60 => {
                let start: String = text.chars().take(57).collect();
                format!("`{}...`", start.escape_debug())
            }
            Value::Text(text) if text.is_empty() => "an empty text".to_owned(),
            Value::Text(text) => format!("`{}`", text.replace(char::is_control, "\u{fffd}")),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// As plain JSON, for filters.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Unknown => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => i64::try_from(*value)
                .map(serde_json::Value::from)
                .or_else(|_| u64::try_from(*value).map(serde_json::Value::from))
                .unwrap_or_else(|_| serde_json::Value::from(*value as f64)),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect(),
            ),
        }
    }

    /// From plain JSON: without a place in a text, but with its paths.
    pub(crate) fn from_json(value: &serde_json::Value) -> Self {
        let mut node = Self::new(0..0, Self::value_from_json(value));
        node.settle_paths(String::new());
        node
    }

    fn value_from_json(value: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        let node = |value| Self::new(0..0, Self::value_from_json(value));
        match value {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => number
                .as_i128()
                .map(Value::Integer)
                .unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN))),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(node).collect()),
            Json::Object(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        span: 0..0,
                        node: node(value),
                    })
                    .collect(),
            ),
        }
    }

    /// Gives each node its path.
    pub(crate) fn settle_paths(&mut self, path: String) {
        match &mut self.value {
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Unknown => {}
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    item.settle_paths(format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.node.settle_paths(join(&path, &entry.key));
                }
            }
        }
        self.path = path;
    }
}

/// The path of a key below a path: `a.b`, or `a."b.c"` where the key is no plain word.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let dot = if path.is_empty() { "" } else { "." };
    if plain {
        format!("{path}{dot}{key}")
    } else {
        format!("{path}{dot}{key:?}")
    }
}
