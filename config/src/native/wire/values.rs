//! Values made of others: lists, maps, options, numbers, and what has two forms.

use super::{Cx, Form, Leaf, Shape, Wire, fields::wrong_shape};
use crate::native::tree::{Node, Value};

impl<T: Wire> Wire for Option<T> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        T::read(node, cx).map(Some)
    }
    fn shape() -> Shape {
        T::shape()
    }
    fn hole() -> Self {
        None
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(items) = node.items() else {
            wrong_shape(node, &Self::shape(), cx);
            return None;
        };
        let read: Vec<T> = items.iter().filter_map(|item| T::read(item, cx)).collect();
        if read.len() < items.len() {
            cx.holes.push(node.path.clone());
        }
        Some(read)
    }
    fn shape() -> Shape {
        Shape::List {
            of: Box::new(T::shape()),
            min: 0,
        }
    }
    fn hole() -> Self {
        Self::new()
    }
    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

/// A list that must be there and have an item.
#[derive(Clone, Debug)]
pub(crate) struct NonEmpty<T>(pub Vec<T>);

impl<T: Wire> Wire for NonEmpty<T> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.items().is_some_and(<[_]>::is_empty) {
            let message = format!(
                "write at least one item in this list: {}",
                T::shape().what()
            );
            cx.problem_at(&node.path, node.span.clone(), message);
            return None;
        }
        Vec::read(node, cx).map(Self)
    }
    fn shape() -> Shape {
        Shape::List {
            of: Box::new(T::shape()),
            min: 1,
        }
    }
    fn hole() -> Self {
        Self(Vec::new())
    }
}

/// A list that has an item where it is there: as `[]` it would mean the opposite of what it says, everything in place of nothing.
#[derive(Clone, Debug)]
pub(crate) struct Listed<T>(pub Vec<T>);

impl<T: Wire> Wire for Listed<T> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        NonEmpty::read(node, cx).map(|list| Self(list.0))
    }
    fn shape() -> Shape {
        NonEmpty::<T>::shape()
    }
    fn hole() -> Self {
        Self(Vec::new())
    }
    fn absent() -> Option<Self> {
        Some(Self::hole())
    }
}

/// A list that must be there, if only as `[]`.
#[derive(Clone, Debug)]
pub(crate) struct Stated<T>(pub Vec<T>);

impl<T: Wire> Wire for Stated<T> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        Vec::read(node, cx).map(Self)
    }
    fn shape() -> Shape {
        Vec::<T>::shape()
    }
    fn hole() -> Self {
        Self(Vec::new())
    }
}

/// A map whose keys are the operator's, in the order of the file; each pair with its path.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<K, V>(pub Vec<(K, V)>);

impl<K: Leaf, V: Wire> Wire for Pairs<K, V> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(entries) = node.entries() else {
            wrong_shape(node, &Self::shape(), cx);
            return None;
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut key = Node::new(entry.span.clone(), Value::Text(entry.key.clone()));
            key.path.clone_from(&entry.node.path);
            let key = K::read(&key, cx);
            let value = V::read(&entry.node, cx);
            pairs.extend(key.zip(value));
        }
        Some(Self(pairs))
    }
    fn shape() -> Shape {
        Shape::Map {
            key: K::FORM,
            of: Box::new(V::shape()),
        }
    }
    fn hole() -> Self {
        Self(Vec::new())
    }
    fn absent() -> Option<Self> {
        Some(Self::hole())
    }
}

impl Wire for bool {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let found = match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) if node.expanded => text.parse().ok(),
            Value::Null
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Unknown => None,
        };
        if found.is_none() {
            wrong_shape(node, &Self::shape(), cx);
        }
        found
    }
    fn shape() -> Shape {
        Shape::Bool
    }
    fn hole() -> Self {
        false
    }
}

/// A whole number in a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Int<MIN, MAX> {
    /// For a field of 32 bits, where `MAX` fits.
    pub(crate) fn u32(self) -> u32 {
        const { assert!(MAX <= u32::MAX as u64) };
        self.0 as u32
    }

    /// For a field of 8 bits, where `MAX` fits.
    pub(crate) fn u8(self) -> u8 {
        const { assert!(MAX <= u8::MAX as u64) };
        self.0 as u8
    }

    /// For a field of 16 bits, where `MAX` fits.
    pub(crate) fn u16(self) -> u16 {
        const { assert!(MAX <= u16::MAX as u64) };
        self.0 as u16
    }
}

impl<const MIN: u64, const MAX: u64> Wire for Int<MIN, MAX> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let found = whole(node).filter(|number| (MIN..=MAX).contains(number));
        if found.is_none() {
            wrong_shape(node, &Self::shape(), cx);
        }
        found.map(Self)
    }
    fn shape() -> Shape {
        Shape::Integer { min: MIN, max: MAX }
    }
    fn hole() -> Self {
        Self(MIN)
    }
}

/// A whole number that is not negative, if the value is one or the environment gave one.
pub(crate) fn whole(node: &Node) -> Option<u64> {
    match &node.value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Text(text) if node.expanded => text.parse().ok(),
        Value::Null
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Unknown => None,
    }
}

/// `false`, where a word is otherwise wanted.
#[derive(Clone, Debug)]
pub(crate) enum OrFalse<T> {
    /// The word.
    Some(T),
    /// `false`.
    False,
}

impl<T: Wire> Wire for OrFalse<T> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Bool(false) => Some(Self::False),
            Value::Bool(true) | Value::Null | Value::List(_) | Value::Map(_) | Value::Unknown => {
                wrong_shape(node, &Self::shape(), cx);
                None
            }
            Value::Integer(_) | Value::Float(_) | Value::Text(_) => {
                T::read(node, cx).map(Self::Some)
            }
        }
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![T::shape(), Shape::Only(false.into())])
    }
    fn hole() -> Self {
        Self::False
    }
}

/// A value, or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMore<T>(pub Vec<T>);

impl<T: Wire> Wire for OneOrMore<T> {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::List(_) => NonEmpty::read(node, cx).map(|NonEmpty(items)| Self(items)),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Map(_)
            | Value::Unknown => T::read(node, cx).map(|item| Self(vec![item])),
        }
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![T::shape(), NonEmpty::<T>::shape()])
    }
    fn hole() -> Self {
        Self(Vec::new())
    }
}

/// Some words, each of which is a variant of an enum of the model.
macro_rules! choice {
    ($type:ty { $($variant:ident = $word:literal: $about:literal,)* }) => {
        impl $crate::native::wire::Wire for $type {
            fn read(
                node: &$crate::native::tree::Node,
                cx: &mut $crate::native::wire::Cx,
            ) -> Option<Self> {
                match node.text() {
                    $(Some($word) => Some(<$type>::$variant),)*
                    _ => {
                        $crate::native::wire::values::wrong_word(node, &[$($word,)*], cx);
                        None
                    }
                }
            }
            fn shape() -> $crate::native::wire::Shape {
                $crate::native::wire::Shape::Choice(&[$(($word, $about),)*])
            }
            fn hole() -> Self {
                [$(<$type>::$variant,)*][0]
            }
        }
    };
}
pub(crate) use choice;

/// Notes that a word is none of a choice's.
pub(crate) fn wrong_word(node: &Node, words: &[&str], cx: &mut Cx) {
    if matches!(node.value, Value::Unknown) {
        return;
    }
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    let near = node
        .text()
        .filter(|_| !node.expanded)
        .and_then(|word| crate::nearest(word, words.iter().copied()));
    let hint = match near {
        Some(near) => format!(": did you mean `{near}`?"),
        None => String::new(),
    };
    let message = format!(
        "write {} here, not {}{hint}",
        super::either(&quoted),
        node.shown()
    );
    cx.problem_at(&node.path, node.span.clone(), message);
}

/// A form for the keys of a map that may be any text.
pub(crate) const ANY_TEXT: Form = Form {
    name: "text",
    what: "a text",
};
