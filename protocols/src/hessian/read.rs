//! Hessian 2 decoded: values of any kind, within limits.
//!
//! What others may refer to (lists, maps, objects) lies in one list, in the order in which it begins, so that a reference is a place in it
//! and a value that holds itself is no riddle.

use std::rc::Rc;

use super::{Result, Skipper};
use crate::codec::{DecodeError, Limits, Span};
use crate::reader::Reader;

/// However deep [`Limits::depth`] lets values lie in each other: what is deeper could end the stack.
const DEPTH_MAX: usize = 256;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth.
    Bool(bool),
    /// A number of 32 bits.
    Int(i32),
    /// A number of 64 bits.
    Long(i64),
    /// A number with a fraction.
    Double(f64),
    /// A moment: milliseconds since 1970.
    Date(i64),
    /// A text.
    Text(Rc<str>),
    /// Bytes.
    Binary(Rc<[u8]>),
    /// A list, a map or an object, by its place in [`Tree::nodes`].
    Node(usize),
}

/// What others lie in.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The name of its class or type, where it has one.
    pub class: Option<Rc<str>>,
    /// What lies in it.
    pub body: Body,
}

/// What lies in a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Values.
    List(Vec<Value>),
    /// Pairs; of an object, the names of its fields with their values.
    Map(Vec<(Value, Value)>),
}

/// All lists, maps and objects that were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// In the order in which they begin.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// A node of it.
    pub fn node(&self, value: &Value) -> Option<&Node> {
        match value {
            Value::Node(at) => self.nodes.get(*at),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Long(_)
            | Value::Double(_)
            | Value::Date(_)
            | Value::Text(_)
            | Value::Binary(_) => None,
        }
    }

    /// A field of an object, or what a map has under that text.
    pub fn field(&self, value: &Value, name: &str) -> Option<&Value> {
        let Body::Map(pairs) = &self.node(value)?.body else {
            return None;
        };
        let is_named = |key: &Value| matches!(key, Value::Text(text) if &**text == name);
        let mut found = pairs.iter().filter(|(key, _)| is_named(key));
        found.next_back().map(|(_, value)| value)
    }
}

/// A definition of a class.
#[derive(Clone, Debug)]
struct Class {
    name: Rc<str>,
    fields: Rc<[Rc<str>]>,
}

/// Reads the values of one body, one after the other.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    skipper: Skipper<'a>,
    tree: Tree,
    types: Vec<Rc<str>>,
    classes: Vec<Class>,
    depth: usize,
}

impl<'a> Decoder<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8], limits: &Limits) -> Self {
        Self {
            bytes,
            skipper: Skipper::new(Reader::new(bytes), limits),
            tree: Tree::default(),
            types: Vec::new(),
            classes: Vec::new(),
            depth: limits.depth.min(DEPTH_MAX),
        }
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.skipper.is_empty()
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.skipper.position()
    }

    /// What the values read so far are made of.
    pub fn into_tree(self) -> Tree {
        self.tree
    }

    /// The next value.
    pub fn value(&mut self) -> Result<Value> {
        self.within(0)
    }

    fn within(&mut self, depth: usize) -> Result<Value> {
        self.spend(1)?;
        let tag = self.skipper.byte()?;
        match tag {
            b'N' => Ok(Value::Null),
            b'T' | b'F' => Ok(Value::Bool(tag == b'T')),
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => self.text(tag).map(Value::Text),
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => self.binary(tag),
            0x80..=0xd7 | b'I' => {
                let number = self.skipper.number(tag)?;
                let int = i32::try_from(number).map_err(|_| DecodeError::BadBody)?;
                Ok(Value::Int(int))
            }
            0xd8..=0xff | 0x38..=0x3f | b'L' | b'Y' => self.skipper.number(tag).map(Value::Long),
            0x5b..=0x5f | b'D' => self.double(tag).map(Value::Double),
            b'J' | b'K' => self.date(tag).map(Value::Date),
            b'C' | b'O' | 0x60..=0x6f => self.object(tag, depth),
            b'H' | b'M' => self.map(tag, depth),
            b'U' | b'V' | b'W' | b'X' | 0x70..=0x7f => self.list(tag, depth),
            b'Q' => {
                let at = self.skipper.count()?;
                let known = at < self.tree.nodes.len();
                known.then_some(Value::Node(at)).ok_or(DecodeError::BadBody)
            }
            b'@' | b'E' | b'G' | b'P' | b'Z' => Err(DecodeError::BadBody),
        }
    }

    /// So many more values.
    fn spend(&mut self, count: usize) -> Result<()> {
        let left = self.skipper.values.checked_sub(count);
        self.skipper.values = left.ok_or(DecodeError::TooManyValues)?;
        Ok(())
    }

    fn double(&mut self, tag: u8) -> Result<f64> {
        let reader = &mut self.skipper.reader;
        let double = match tag {
            0x5b => Some(0.0),
            0x5c => Some(1.0),
            0x5d => reader.i8().map(f64::from),
            0x5e => reader.i16().map(f64::from),
            0x5f => reader.i32().map(|mills| f64::from(mills) / 1000.0),
            _ => reader.u64().map(f64::from_bits),
        };
        double.ok_or(DecodeError::BadBody)
    }

    /// Milliseconds, or in the short form minutes.
    fn date(&mut self, tag: u8) -> Result<i64> {
        let reader = &mut self.skipper.reader;
        let millis = match tag {
            b'J' => reader.u64().map(u64::cast_signed),
            _ => reader.i32().map(|minutes| i64::from(minutes) * 60_000),
        };
        millis.ok_or(DecodeError::BadBody)
    }

    /// A text where only a text may stand.
    fn name(&mut self) -> Result<Rc<str>> {
        let tag = self.skipper.byte()?;
        self.text(tag)
    }

    fn text(&mut self, tag: u8) -> Result<Rc<str>> {
        let mut chunks = Chunks::default();
        self.skipper.text_in(tag, |span| chunks.push(span))?;
        if let (Some(span), None) = (chunks.first, &chunks.others)
            && let Ok(text) = std::str::from_utf8(span.of(self.bytes))
        {
            return Ok(text.into());
        }
        let mut bytes = Vec::new();
        for span in chunks.first.iter().chain(chunks.others.iter().flatten()) {
            bytes.extend_from_slice(span.of(self.bytes));
        }
        decode(&bytes).map(Into::into)
    }

    fn binary(&mut self, tag: u8) -> Result<Value> {
        let mut bytes = Vec::new();
        let all = self.bytes;
        self.skipper
            .binary_in(tag, |span| bytes.extend_from_slice(span.of(all)))?;
        Ok(Value::Binary(bytes.into()))
    }

    /// Begins a node: its place is known before what lies in it.
    fn begin(&mut self, class: Option<Rc<str>>, depth: usize) -> Result<usize> {
        if depth >= self.depth {
            return Err(DecodeError::TooDeep);
        }
        let class = class.filter(|class| !class.is_empty());
        let body = Body::List(Vec::new());
        self.tree.nodes.push(Node { class, body });
        Ok(self.tree.nodes.len() - 1)
    }

    fn end(&mut self, at: usize, body: Body) -> Value {
        if let Some(node) = self.tree.nodes.get_mut(at) {
            node.body = body;
        }
        Value::Node(at)
    }

    fn object(&mut self, mut tag: u8, depth: usize) -> Result<Value> {
        while tag == b'C' {
            self.definition()?;
            tag = self.skipper.byte()?;
        }
        let class = match tag {
            b'O' => self.skipper.count()?,
            0x60..=0x6f => usize::from(tag - 0x60),
            _ => return Err(DecodeError::BadBody),
        };
        let class = self.classes.get(class).ok_or(DecodeError::BadBody)?.clone();
        let at = self.begin(Some(class.name), depth)?;
        let mut pairs = Vec::new();
        for field in class.fields.iter() {
            let value = self.within(depth + 1)?;
            pairs.push((Value::Text(Rc::clone(field)), value));
        }
        Ok(self.end(at, Body::Map(pairs)))
    }

    fn definition(&mut self) -> Result<()> {
        let name = self.name()?;
        let count = self.skipper.count()?;
        self.spend(count.saturating_add(1))?;
        let mut fields = Vec::new();
        for _ in 0..count {
            fields.push(self.name()?);
        }
        let fields = fields.into();
        self.classes.push(Class { name, fields });
        Ok(())
    }

    fn map(&mut self, tag: u8, depth: usize) -> Result<Value> {
        let class = match tag {
            b'M' => Some(self.type_name()?),
            _ => None,
        };
        let at = self.begin(class, depth)?;
        let mut pairs = Vec::new();
        while !self.skipper.is_end() {
            let key = self.within(depth + 1)?;
            pairs.push((key, self.within(depth + 1)?));
        }
        Ok(self.end(at, Body::Map(pairs)))
    }

    fn list(&mut self, tag: u8, depth: usize) -> Result<Value> {
        let class = match tag {
            b'U' | b'V' | 0x70..=0x77 => Some(self.type_name()?),
            _ => None,
        };
        let len = match tag {
            b'U' | b'W' => None,
            b'V' | b'X' => Some(self.skipper.count()?),
            _ => Some(usize::from(tag & 7)),
        };
        let at = self.begin(class, depth)?;
        let mut items = Vec::new();
        match len {
            Some(len) => {
                for _ in 0..len {
                    items.push(self.within(depth + 1)?);
                }
            }
            None => {
                while !self.skipper.is_end() {
                    items.push(self.within(depth + 1)?);
                }
            }
        }
        Ok(self.end(at, Body::List(items)))
    }

    /// A type's name, or the number of one that came before.
    fn type_name(&mut self) -> Result<Rc<str>> {
        let tag = self.skipper.byte()?;
        if matches!(tag, 0x00..=0x1f | 0x30..=0x33 | b'R' | b'S') {
            let name = self.text(tag)?;
            self.types.push(Rc::clone(&name));
            return Ok(name);
        }
        let at = usize::try_from(self.skipper.number(tag)?).ok();
        let known = at.and_then(|at| self.types.get(at)).cloned();
        known.ok_or(DecodeError::BadBody)
    }
}

/// Where the parts of a text are: almost always one.
#[derive(Default)]
struct Chunks {
    first: Option<Span>,
    others: Option<Vec<Span>>,
}

impl Chunks {
    fn push(&mut self, span: Span) {
        match self.first {
            None => self.first = Some(span),
            Some(_) => self.others.get_or_insert_default().push(span),
        }
    }
}

/// UTF-8 in which a letter beyond the first plane may be two halves of three bytes each. Half of such a pair becomes the letter that
/// stands for what is not one.
fn decode(bytes: &[u8]) -> Result<String> {
    let mut units: Vec<u16> = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let low = |byte: u8| (byte & 0xc0 == 0x80).then(|| u32::from(byte & 0x3f));
    while let [first, after @ ..] = rest {
        let lead = u32::from(*first);
        let letter = match (*first, after) {
            (0..=0x7f, _) => Some((lead, 0)),
            (0xc0..=0xdf, [a, ..]) => low(*a).map(|a| ((lead & 0x1f) << 6 | a, 1)),
            (0xe0..=0xef, [a, b, ..]) => low(*a)
                .zip(low(*b))
                .map(|(a, b)| ((lead & 0x0f) << 12 | a << 6 | b, 2)),
            (0xf0..=0xf7, [a, b, c, ..]) => low(*a)
                .zip(low(*b).zip(low(*c)))
                .map(|(a, (b, c))| ((lead & 7) << 18 | a << 12 | b << 6 | c, 3)),
            _ => None,
        };
        let (letter, taken) = letter.ok_or(DecodeError::BadBody)?;
        match u16::try_from(letter) {
            Ok(unit) => units.push(unit),
            Err(_) => {
                let letter = char::from_u32(letter).ok_or(DecodeError::BadBody)?;
                units.extend_from_slice(letter.encode_utf16(&mut [0; 2]));
            }
        }
        rest = after.get(taken..).unwrap_or_default();
    }
    let letters = char::decode_utf16(units);
    Ok(letters
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect())
}
