//! The `record!` macro, and the reading of a map whose keys are ours.

use serde_json::Value as Json;

use super::{Cx, Field, Shape, Wire};
use crate::native::tree::{Entry, Node, Value};
use crate::nearest;

/// Declares a record: its doc comments are its documentation, `= …` after a type is the default, written as in a file.
/// Besides its keys, each record holds its path (`at`) and which keys were there (`keys`).
macro_rules! record {
    (
        $(#[doc = $doc:literal])*
        $name:ident {
            $($(#[doc = $about:literal])* $field:ident: $type:ty $(= $default:tt)?,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        #[allow(dead_code, reason = "not every record is asked where it stands and what it holds")]
        pub(crate) struct $name {
            /// Its path in the file.
            pub at: String,
            /// The keys that were there.
            pub keys: Vec<&'static str>,
            $($(#[doc = $about])* pub $field: $type,)*
        }

        impl $crate::native::wire::Wire for $name {
            fn read(
                node: &$crate::native::tree::Node,
                cx: &mut $crate::native::wire::Cx,
            ) -> Option<Self> {
                const KEYS: &[&str] = &[$($crate::native::wire::fields::bare(stringify!($field)),)*];
                #[allow(unused_mut, reason = "a record may have no keys")]
                let mut fields = $crate::native::wire::Fields::open(node, KEYS, Self::shape, cx)?;
                Some(Self {
                    $($field: fields.take(
                        $crate::native::wire::fields::bare(stringify!($field)),
                        record!(@default $($default)?),
                        cx,
                    ),)*
                    at: node.path.clone(),
                    keys: fields.given,
                })
            }

            fn shape() -> $crate::native::wire::Shape {
                $crate::native::wire::Shape::Record($crate::native::wire::Record {
                    name: stringify!($name),
                    about: concat!($($doc, "\n",)*).trim().to_owned(),
                    fields: vec![$($crate::native::wire::entry_shape::<$type>(
                        $crate::native::wire::fields::bare(stringify!($field)),
                        concat!($($about, "\n",)*),
                        record!(@default $($default)?),
                    ),)*],
                })
            }

            fn hole() -> Self {
                Self {
                    at: String::new(),
                    keys: Vec::new(),
                    $($field: <$type as $crate::native::wire::Wire>::hole(),)*
                }
            }
        }
    };
    (@default) => { None };
    (@default $default:tt) => { Some(serde_json::json!($default)) };
}
pub(crate) use record;

/// The key of a field: `match` of `r#match`.
pub(crate) const fn bare(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// A key of a record, described.
pub(crate) fn entry_shape<T: Wire>(
    key: &'static str,
    about: &'static str,
    default: Option<Json>,
) -> Field {
    Field {
        key,
        about: about.trim().to_owned(),
        shape: T::shape(),
        required: default.is_none() && T::absent().is_none(),
        default,
    }
}

/// A map being read as a record.
pub(crate) struct Fields<'a> {
    node: &'a Node,
    entries: &'a [Entry],
    /// The keys that were there.
    pub given: Vec<&'static str>,
    /// The keys that were probably meant by unknown ones: they are not also missed.
    meant: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Checks that it is a map and that each of its keys is one of ours.
    pub(crate) fn open(
        node: &'a Node,
        keys: &'static [&'static str],
        shape: fn() -> Shape,
        cx: &mut Cx,
    ) -> Option<Self> {
        let Some(entries) = node.entries() else {
            wrong_shape(node, &shape(), cx);
            return None;
        };
        let mut meant = Vec::new();
        for entry in entries {
            if keys.contains(&entry.key.as_str()) {
                continue;
            }
            let near = nearest(&entry.key, keys.iter().copied());
            meant.extend(keys.iter().find(|key| near == Some(**key)));
            let instead = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if entry.key == "<<" => {
                    "merge keys are not supported, write the keys out or alias a whole value"
                        .to_owned()
                }
                None => format!("the keys here are `{}`", keys.join("`, `")),
            };
            let message = format!("unknown key `{}`: {instead}", entry.key);
            cx.problem_at(&node.path, entry.span.clone(), message);
        }
        let given = keys
            .iter()
            .copied()
            .filter(|key| entries.iter().any(|entry| entry.key == *key));
        Some(Self {
            node,
            entries,
            given: given.collect(),
            meant,
        })
    }

    /// Reads the value of a key, or what stands for it.
    pub(crate) fn take<T: Wire>(&mut self, key: &str, default: Option<Json>, cx: &mut Cx) -> T {
        let found = self.entries.iter().find(|entry| entry.key == key);
        let value = match (found, default) {
            (Some(entry), _) => T::read(&entry.node, cx),
            (None, Some(default)) => T::read(&Node::from_json(&default), cx),
            (None, None) if self.meant.contains(&key) => None,
            (None, None) => T::absent().or_else(|| {
                let message = format!("`{key}` is missing: write {}", T::shape().what());
                cx.problem(&self.node.path, message);
                None
            }),
        };
        value.unwrap_or_else(|| {
            cx.holes.push(join(&self.node.path, key));
            T::hole()
        })
    }
}

/// The path of a key below a path.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Notes that a value has the wrong shape.
pub(crate) fn wrong_shape(node: &Node, shape: &Shape, cx: &mut Cx) {
    if matches!(node.value, Value::Unknown) {
        return;
    }
    let message = format!("write {} here, not {}", shape.what(), node.shown());
    cx.problem_at(&node.path, node.span.clone(), message);
}
