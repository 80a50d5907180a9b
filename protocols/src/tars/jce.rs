//! JCE, the encoding of Tars, passed over and not decoded.
//!
//! A field is a head (tag and type, in one byte, or two for tags from 15 up) and a value. Integers are written in the shortest
//! type that holds them, so that any integer type may stand where one is expected.

use crate::codec::{DecodeError, Limits, Span};
use crate::reader::Reader;

type Result<T> = std::result::Result<T, DecodeError>;

const MAP: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 10;
const STRUCT_END: u8 = 11;
const ZERO: u8 = 12;
const BYTES: u8 = 13;

/// Tag and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) tag: u8,
    kind: u8,
}

/// What a value was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Int(i64),
    Text(Span),
    /// A map; its number of pairs is next.
    Map,
    Other,
}

/// What is still open around a value.
#[derive(Clone, Copy, Debug)]
enum Open {
    Fields(usize),
    Struct,
}

/// Walks the fields of a packet.
pub(super) struct Fields<'a> {
    reader: Reader<'a>,
    open: Vec<Open>,
    values: usize,
    depth: usize,
}

impl<'a> Fields<'a> {
    /// Over what is left of `reader`.
    pub(super) fn new(reader: Reader<'a>, limits: &Limits) -> Self {
        Self {
            reader,
            open: Vec::new(),
            values: limits.values,
            depth: limits.depth,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.reader.position()
    }

    /// The next field's head; none at the end.
    pub(super) fn head(&mut self) -> Result<Option<Head>> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.some_head().map(Some)
    }

    fn some_head(&mut self) -> Result<Head> {
        let byte = self.byte()?;
        let tag = match byte >> 4 {
            15 => self.byte()?,
            tag => tag,
        };
        let kind = byte & 0x0f;
        self.values = self
            .values
            .checked_sub(1)
            .ok_or(DecodeError::TooManyValues)?;
        Ok(Head { tag, kind })
    }

    /// Reads a value; of a map only that it is one, so that its pairs can be walked.
    pub(super) fn value(&mut self, head: Head) -> Result<Value> {
        match head.kind {
            MAP => Ok(Value::Map),
            _ => {
                let value = self.one(head.kind)?;
                self.close()?;
                Ok(value)
            }
        }
    }

    /// Passes over a value, with all that lies in it.
    pub(super) fn skip(&mut self, head: Head) -> Result<()> {
        self.one(head.kind)?;
        self.close()
    }

    /// A number of pairs, or of bytes: an integer with a head of its own.
    pub(super) fn count(&mut self) -> Result<usize> {
        let head = self.some_head()?;
        match self.one(head.kind)? {
            Value::Int(count) => usize::try_from(count).map_err(|_| DecodeError::BadLength),
            Value::Text(_) | Value::Map | Value::Other => Err(DecodeError::BadBody),
        }
    }

    /// One pair of a map: a text, and a value.
    pub(super) fn pair(&mut self) -> Result<(Option<Span>, Value)> {
        let head = self.some_head()?;
        let key = match self.value(head)? {
            Value::Text(key) => Some(key),
            Value::Map => return Err(DecodeError::BadBody),
            Value::Int(_) | Value::Other => None,
        };
        let head = self.some_head()?;
        if head.kind == MAP {
            self.skip(head)?;
            return Ok((key, Value::Other));
        }
        Ok((key, self.value(head)?))
    }

    /// Passes over what is open until nothing is.
    fn close(&mut self) -> Result<()> {
        while let Some(open) = self.open.last_mut() {
            match open {
                Open::Fields(0) => {
                    self.open.pop();
                    continue;
                }
                Open::Fields(left) => *left -= 1,
                Open::Struct => {}
            }
            let inside = matches!(open, Open::Struct);
            let head = self.some_head()?;
            match (head.kind, inside) {
                (STRUCT_END, true) => {
                    self.open.pop();
                }
                (kind, _) => {
                    self.one(kind)?;
                }
            }
        }
        Ok(())
    }

    /// One value, or the beginning of one that others lie in.
    fn one(&mut self, kind: u8) -> Result<Value> {
        let int = match kind {
            0 => self.reader.i8().map(i64::from),
            1 => self.reader.i16().map(i64::from),
            2 => self.reader.i32().map(i64::from),
            3 => self.reader.u64().map(u64::cast_signed),
            4 => return self.bytes(4),
            5 => return self.bytes(8),
            6 => {
                let len = self.byte()?;
                return self.text(usize::from(len));
            }
            7 => {
                let len = self.reader.length().ok_or(DecodeError::BadBody)??;
                return self.text(len);
            }
            MAP => {
                let pairs = self.count()?;
                return self.enter(Open::Fields(
                    pairs.checked_mul(2).ok_or(DecodeError::BadBody)?,
                ));
            }
            LIST => {
                let len = self.count()?;
                return self.enter(Open::Fields(len));
            }
            STRUCT => return self.enter(Open::Struct),
            ZERO => Some(0),
            BYTES => {
                // Bytes, by the head of what would be its first element.
                if self.some_head()?.kind != 0 {
                    return Err(DecodeError::BadBody);
                }
                let len = self.count()?;
                return self.bytes(len);
            }
            _ => None,
        };
        int.map(Value::Int).ok_or(DecodeError::BadBody)
    }

    fn enter(&mut self, open: Open) -> Result<Value> {
        if self.open.len() >= self.depth {
            return Err(DecodeError::TooDeep);
        }
        self.open.push(open);
        Ok(Value::Other)
    }

    fn text(&mut self, len: usize) -> Result<Value> {
        self.reader
            .span(len)
            .map(Value::Text)
            .ok_or(DecodeError::BadBody)
    }

    fn bytes(&mut self, len: usize) -> Result<Value> {
        self.reader
            .skip(len)
            .map(|()| Value::Other)
            .ok_or(DecodeError::BadBody)
    }

    fn byte(&mut self) -> Result<u8> {
        self.reader.u8().ok_or(DecodeError::BadBody)
    }
}

/// Writes an integer field in the shortest type. Tags are below 15.
pub(super) fn write_int(tag: u8, value: i32, out: &mut Vec<u8>) {
    let head = tag << 4;
    if value == 0 {
        out.push(head | ZERO);
    } else if let Ok(value) = i8::try_from(value) {
        out.push(head);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(head | 1);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(head | 2);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes a text field.
pub(super) fn write_text(tag: u8, text: &[u8], out: &mut Vec<u8>) {
    let head = tag << 4;
    match u8::try_from(text.len()) {
        Ok(len) => out.extend_from_slice(&[head | 6, len]),
        Err(_) => {
            out.push(head | 7);
            let len = u32::try_from(text.len()).unwrap_or(0);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Writes the head of a map and its number of pairs.
pub(super) fn write_map(tag: u8, pairs: usize, out: &mut Vec<u8>) {
    out.push(tag << 4 | MAP);
    write_int(0, i32::try_from(pairs).unwrap_or(0), out);
}

/// Writes a field of bytes.
pub(super) fn write_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[tag << 4 | BYTES, 0]);
    write_int(0, i32::try_from(bytes.len()).unwrap_or(0), out);
    out.extend_from_slice(bytes);
}
