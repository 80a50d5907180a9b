//! What a value may look like: the one description from which the schema, the reference page and error texts are made.

use serde_json::Value as Json;

/// What a value may look like.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer { min: u64, max: u64 },
    /// Any number in a range.
    Number { min: u64, max: u64 },
    /// A text of some form.
    Text(Form),
    /// One of some words.
    Choice(&'static [(&'static str, &'static str)]),
    /// Exactly this.
    Only(Json),
    /// A list.
    List { of: Box<Shape>, min: usize },
    /// A map whose keys are the operator's.
    Map { key: Form, of: Box<Shape> },
    /// A map whose keys are ours.
    Record(Record),
    /// A map of one key: one of these, or another name with anything at all.
    Tagged(Vec<(&'static str, Shape)>),
    /// Any of these, told apart by their types.
    AnyOf(Vec<Shape>),
}

/// The form of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Its name in the reference page.
    pub name: &'static str,
    /// What it is with an example: "a duration such as `5s`".
    pub what: &'static str,
}

/// A map whose keys are ours.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Its name, in the schema and on the reference page.
    pub name: &'static str,
    /// What it is.
    pub about: String,
    /// Its keys.
    pub fields: Vec<Field>,
}

/// A key of a record.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The key.
    pub key: &'static str,
    /// What it means.
    pub about: String,
    /// What its value may look like.
    pub shape: Shape,
    /// What stands for it where it is absent.
    pub default: Option<Json>,
    /// Whether it must be there.
    pub required: bool,
}

impl Shape {
    /// As an error says it: "a duration such as `5s`".
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer { min, max: u64::MAX } => {
                format!("a whole number of at least {min}")
            }
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Text(form) => form.what.to_owned(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                either(&words)
            }
            Self::Only(value) => format!("`{value}`"),
            Self::List { of, .. } => format!("a list, each item {}", of.what()),
            Self::Map { key, of } => {
                format!("a map from {} to {}", key.what, of.what())
            }
            Self::Record(record) => match record.fields.as_slice() {
                [only] => format!("a map with the key `{}`", only.key),
                [first, second] => {
                    format!("a map with the keys `{}` and `{}`", first.key, second.key)
                }
                [first, second, third, ..] => format!(
                    "a map with keys such as `{}`, `{}` and `{}`",
                    first.key, second.key, third.key
                ),
                [] => "an empty map".to_owned(),
            },
            Self::Tagged(kinds) => {
                let first = kinds.first().map_or("name", |(name, _)| name);
                format!("a map of one key such as `{first}: {{ ... }}`")
            }
            Self::AnyOf(shapes) => {
                let shapes: Vec<_> = shapes.iter().map(Self::what).collect();
                either(&shapes)
            }
        }
    }
}

/// "a, b or c".
pub(crate) fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}
