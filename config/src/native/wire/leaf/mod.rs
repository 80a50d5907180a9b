//! Texts that mean something: durations, sizes, addresses, names, and so on. Each says its form once; what it is not is
//! refused with that form.

mod address;
mod text;
mod tls;
mod units;

pub(crate) use address::*;
pub(crate) use text::*;
pub(crate) use tls::*;
pub(crate) use units::*;

use super::{ANY_TEXT, Cx, Form, Known, Shape, Wire, whole};
use crate::Name;
use crate::native::tree::{Node, Value};
use crate::nearest;

/// Why a text is not of the form.
pub(crate) enum Wrong {
    /// It just is not.
    Form,
    /// A sentence that says more. It shows the text as `{shown}` only, because that may have come from the environment.
    Because(String),
}

/// Where the sentence of a `Wrong::Because` shows the value.
const SHOWN: &str = "{shown}";

/// A text of some form.
pub(crate) trait Leaf: Sized {
    /// The form.
    const FORM: Form;
    /// Reads it.
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong>;
    /// What stands in after a problem.
    fn hole() -> Self;
    /// Reads what is no text, where a number is short for one.
    fn number(_: f64) -> Option<Self> {
        None
    }
    /// The numbers that `number` takes.
    fn numbers() -> Option<Shape> {
        None
    }
}

impl<T: Leaf> Wire for T {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let result = match &node.value {
            Value::Unknown => return None,
            Value::Text(text) => T::parse(text, cx),
            Value::Integer(_) => whole(node)
                .and_then(|number| T::number(number as f64))
                .ok_or(Wrong::Form),
            Value::Float(number) => T::number(*number).ok_or(Wrong::Form),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => Err(Wrong::Form),
        };
        match result {
            Ok(value) => Some(value),
            Err(Wrong::Form) => {
                let quotes = match (&node.value, T::numbers()) {
                    (Value::Integer(_) | Value::Float(_) | Value::Bool(_), None) => {
                        " (a text that looks like a number or boolean needs quotes)"
                    }
                    _ => "",
                };
                let what = T::shape().what();
                let message = format!("write {what} here, not {}{quotes}", node.shown());
                cx.problem_at(&node.path, node.span.clone(), message);
                None
            }
            Err(Wrong::Because(message)) => {
                let message = message.replace(SHOWN, &node.shown());
                cx.problem_at(&node.path, node.span.clone(), message);
                None
            }
        }
    }
    fn shape() -> Shape {
        match T::numbers() {
            None => Shape::Text(T::FORM),
            Some(numbers) => Shape::AnyOf(vec![Shape::Text(T::FORM), numbers]),
        }
    }
    fn hole() -> Self {
        <T as Leaf>::hole()
    }
}

fn because<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Because(message.into()))
}

impl Leaf for String {
    const FORM: Form = ANY_TEXT;
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        Ok(text.to_owned())
    }
    fn hole() -> Self {
        Self::new()
    }
}

impl Leaf for Name {
    const FORM: Form = Form {
        name: "name",
        what: "a name such as `web`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            return because("write a name of 1 to 128 characters, without control characters");
        }
        Ok(Self::new(text))
    }
    fn hole() -> Self {
        Self::new("")
    }
}

/// The name of a cluster that exists.
#[derive(Clone, Debug)]
pub(crate) struct ClusterRef(pub Name);

impl Leaf for ClusterRef {
    const FORM: Form = Form {
        name: "cluster name",
        what: "the name of a cluster",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        known(text, &cx.clusters, "cluster", "clusters").map(Self)
    }
    fn hole() -> Self {
        Self(Name::new(""))
    }
}

/// The name of a route table that exists.
#[derive(Clone, Debug)]
pub(crate) struct RouteTableRef(pub Name);

impl Leaf for RouteTableRef {
    const FORM: Form = Form {
        name: "route table name",
        what: "the name of a route table",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        known(text, &cx.route_tables, "route table", "route_tables").map(Self)
    }
    fn hole() -> Self {
        Self(Name::new(""))
    }
}

fn known(text: &str, known: &Known, kind: &str, list: &str) -> Result<Name, Wrong> {
    if known.names.contains(text) {
        return Ok(Name::new(text));
    }
    let shown = &known.shown;
    let hint = match nearest(text, shown.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if shown.is_empty() => format!("add it to `{list}`"),
        None => {
            let some: Vec<_> = shown
                .iter()
                .take(8)
                .map(|name| format!("`{name}`"))
                .collect();
            format!("write {}, or add it to `{list}`", super::either(&some))
        }
    };
    because(format!("unknown {kind} {SHOWN}: {hint}"))
}
