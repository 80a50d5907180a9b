//! Values of Hessian written as JSON.
//!
//! | Hessian | JSON |
//! |---|---|
//! | a number of 64 bits | a number, all of its digits; or a text where JavaScript would round it |
//! | a double | a number; what is none (NaN, infinite) null |
//! | a date | its milliseconds since 1970, as Java's writers of JSON have it |
//! | bytes | a text of base64 |
//! | an object, a map | an object; keys that are no texts as texts |
//! | a `java.math.BigDecimal` | a number, all of its digits |
//! | what was there before | the same again; within itself an error, for there is no end to it |

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ringway_config::transcode::{Longs, Transcode};
use ringway_protocols::codec::DecodeError;
use ringway_protocols::hessian::{Body, Node, Tree, Value};

/// The largest whole number up to which doubles have all of them.
const SAFE: u64 = (1 << 53) - 1;
/// How deep values may lie in each other. References make them deeper than they were read.
const DEPTH_MAX: usize = 128;

/// Why an answer cannot be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    TooLarge,
    TooDeep,
    WithinItself,
    Key,
    /// The server writes another serialization.
    NotJson,
    /// It breaks its serialization.
    Unread(DecodeError),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the answer is too large",
            Self::TooDeep => "values of the answer lie too deep in each other",
            Self::WithinItself => "a value of the answer lies within itself, which JSON cannot say",
            Self::Key => "a key of the answer is no text or number, which JSON cannot say",
            Self::NotJson => "the server's answer is not JSON",
            Self::Unread(error) => {
                return write!(f, "the provider's answer cannot be read: {error}");
            }
        })
    }
}

/// A value as JSON.
pub(super) fn write(value: &Value, tree: &Tree, config: &Transcode) -> Result<Bytes, Unfit> {
    let mut writer = Writer {
        tree,
        config,
        limit: usize::try_from(config.max_answer.0).unwrap_or(usize::MAX),
        around: Vec::new(),
        out: Vec::new(),
    };
    writer.value(value)?;
    writer.check()?;
    Ok(writer.out.into())
}

struct Writer<'t> {
    tree: &'t Tree,
    config: &'t Transcode,
    limit: usize,
    /// The places of what is being written, from the outside in.
    around: Vec<usize>,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn check(&self) -> Result<(), Unfit> {
        match self.out.len() > self.limit {
            true => Err(Unfit::TooLarge),
            false => Ok(()),
        }
    }

    fn value(&mut self, value: &Value) -> Result<(), Unfit> {
        self.check()?;
        match value {
            Value::Null => self.put("null"),
            Value::Bool(true) => self.put("true"),
            Value::Bool(false) => self.put("false"),
            Value::Int(int) => self.whole(i64::from(*int)),
            Value::Long(long) => match self.config.longs {
                Longs::Text if long.unsigned_abs() > SAFE => self.text(&long.to_string()),
                Longs::Text | Longs::Number => self.whole(*long),
            },
            Value::Double(double) => {
                let number = serde_json::Number::from_f64(*double);
                self.put(&number.map_or("null".to_owned(), |number| number.to_string()));
            }
            Value::Date(millis) => self.whole(*millis),
            Value::Text(text) => self.text(text),
            Value::Binary(bytes) => {
                self.put("\"");
                self.put(&STANDARD.encode(bytes));
                self.put("\"");
            }
            Value::Node(at) => return self.node(*at),
        }
        Ok(())
    }

    fn node(&mut self, at: usize) -> Result<(), Unfit> {
        let tree = self.tree;
        let Some(node) = tree.nodes.get(at) else {
            self.put("null");
            return Ok(());
        };
        if let Some(digits) = decimal(node, tree, at) {
            self.put(digits);
            return Ok(());
        }
        if self.around.contains(&at) {
            return Err(Unfit::WithinItself);
        }
        if self.around.len() >= DEPTH_MAX {
            return Err(Unfit::TooDeep);
        }
        self.around.push(at);
        match &node.body {
            Body::List(items) => self.list(items)?,
            Body::Map(pairs) => self.map(node, pairs)?,
        }
        self.around.pop();
        Ok(())
    }

    fn list(&mut self, items: &[Value]) -> Result<(), Unfit> {
        self.put("[");
        for (at, item) in items.iter().enumerate() {
            self.put(if at > 0 { "," } else { "" });
            self.value(item)?;
        }
        self.put("]");
        Ok(())
    }

    fn map(&mut self, node: &Node, pairs: &[(Value, Value)]) -> Result<(), Unfit> {
        self.put("{");
        let mut is_first = true;
        let is_class = |key: &Value| matches!(key, Value::Text(text) if &**text == "class");
        if let Some(class) = &node.class
            && self.config.class_names
            && !pairs.iter().any(|(key, _)| is_class(key))
        {
            self.put("\"class\":");
            self.text(class);
            is_first = false;
        }
        for (key, value) in pairs {
            if is_class(key) && !self.config.class_names {
                continue;
            }
            self.put(if is_first { "" } else { "," });
            is_first = false;
            self.key(key)?;
            self.put(":");
            self.value(value)?;
        }
        self.put("}");
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<(), Unfit> {
        match key {
            Value::Text(text) => self.text(text),
            Value::Null => self.put("\"null\""),
            Value::Bool(_) | Value::Int(_) | Value::Date(_) | Value::Long(_) | Value::Double(_) => {
                let (start, is_text) = (self.out.len(), self.config.longs == Longs::Text);
                self.value(key)?;
                if !(is_text && self.out.get(start) == Some(&b'"')) {
                    self.out.insert(start, b'"');
                    self.put("\"");
                }
            }
            Value::Binary(_) | Value::Node(_) => return Err(Unfit::Key),
        }
        Ok(())
    }

    fn whole(&mut self, number: i64) {
        self.put(itoa::Buffer::new().format(number));
    }

    fn text(&mut self, text: &str) {
        // Writing to memory does not fail.
        let _written = serde_json::to_writer(&mut self.out, text);
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// The digits of a decimal number, which Java's writers of Hessian make an object with a text.
fn decimal<'t>(node: &Node, tree: &'t Tree, at: usize) -> Option<&'t str> {
    if node.class.as_deref() != Some("java.math.BigDecimal") {
        return None;
    }
    let Some(Value::Text(digits)) = tree.field(&Value::Node(at), "value") else {
        return None;
    };
    let is_number = serde_json::from_str::<serde_json::Number>(digits).is_ok();
    is_number.then_some(&**digits)
}
