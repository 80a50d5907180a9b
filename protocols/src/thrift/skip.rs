//! Where a struct ends, for messages whose length nobody says. It goes on where it stopped, so that no byte is looked at twice
//! however slowly they come.

use super::message::{Protocol, varint};
use crate::codec::{DecodeError, Limits};
use crate::reader::Reader;

/// What a value is, whichever protocol names it how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// Of so many bytes.
    Fixed(usize),
    Varint,
    Text,
    Struct,
    /// A list or a set.
    List,
    Map,
}

/// What is still open around a value.
#[derive(Clone, Copy, Debug)]
enum Open {
    Struct,
    /// So many values, of these types in turn.
    Values {
        left: usize,
        next: Type,
        then: Type,
    },
}

/// Passes over one struct.
#[derive(Debug)]
pub(super) struct Skip {
    protocol: Protocol,
    at: usize,
    /// Bytes that have to be there before going on is of use.
    wanted: usize,
    open: Vec<Open>,
    values: usize,
    depth: usize,
    /// Where a frame must have ended.
    limit: usize,
}

impl Skip {
    /// A struct that begins at `at`.
    pub(super) fn new(protocol: Protocol, at: usize, limits: &Limits) -> Self {
        Self {
            protocol,
            at,
            wanted: at + 1,
            open: vec![Open::Struct],
            values: limits.values,
            depth: limits.depth,
            limit: limits.frame,
        }
    }

    /// How many bytes have to be there before going on is of use.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Goes on as far as the bytes are there; says where the struct ended once it has.
    pub(super) fn run(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        while let Some(open) = self.open.last().copied() {
            let mut reader = Reader::starting_at(bytes, self.at);
            let done = match open {
                Open::Struct => self.field(&mut reader)?,
                Open::Values { left: 0, .. } => {
                    self.open.pop();
                    continue;
                }
                Open::Values { left, next, then } => {
                    let depth = self.open.len();
                    let done = self.value(&mut reader, next)?;
                    // What the value opened stands above the list that it is in.
                    if let (Some(()), Some(list)) = (done, self.open.get_mut(depth - 1)) {
                        *list = Open::Values {
                            left: left - 1,
                            next: then,
                            then: next,
                        };
                    }
                    done
                }
            };
            if done.is_none() {
                self.wanted = self.wanted.max(bytes.len() + 1);
                self.within(self.wanted)?;
                return Ok(None);
            }
            self.at = reader.position();
            self.within(self.at)?;
            self.values = self
                .values
                .checked_sub(1)
                .ok_or(DecodeError::TooManyValues)?;
        }
        Ok(Some(self.at))
    }

    fn within(&self, end: usize) -> Result<(), DecodeError> {
        match end > self.limit {
            true => Err(DecodeError::FrameTooLarge),
            false => Ok(()),
        }
    }

    /// A field with its value, or the end of the struct.
    fn field(&mut self, reader: &mut Reader<'_>) -> Result<Option<()>, DecodeError> {
        let Some(byte) = reader.u8() else {
            return Ok(None);
        };
        let kind = match self.protocol {
            _ if byte == 0 => {
                self.open.pop();
                return Ok(Some(()));
            }
            Protocol::Binary | Protocol::Lax => {
                if reader.u16().is_none() {
                    return Ok(None);
                }
                self.kind(byte)?
            }
            Protocol::Compact => {
                if byte >> 4 == 0 && varint(reader).transpose()?.is_none() {
                    return Ok(None);
                }
                // Of a field, a truth is in its type.
                match byte & 0x0f {
                    1 | 2 => return Ok(Some(())),
                    kind => self.kind(kind)?,
                }
            }
        };
        self.value(reader, kind)
    }

    fn value(&mut self, reader: &mut Reader<'_>, kind: Type) -> Result<Option<()>, DecodeError> {
        match kind {
            Type::Fixed(len) => self.bytes(reader, len),
            Type::Varint => long_varint(reader),
            Type::Text => match self.length(reader)? {
                Some(len) => self.bytes(reader, len),
                None => Ok(None),
            },
            Type::Struct => self.enter(Open::Struct),
            Type::List => self.list(reader),
            Type::Map => self.map(reader),
        }
    }

    fn bytes(&mut self, reader: &mut Reader<'_>, len: usize) -> Result<Option<()>, DecodeError> {
        let end = reader.position().saturating_add(len);
        self.within(end)?;
        let done = reader.skip(len);
        if done.is_none() {
            self.wanted = end;
        }
        Ok(done)
    }

    fn length(&self, reader: &mut Reader<'_>) -> Result<Option<usize>, DecodeError> {
        match self.protocol {
            Protocol::Binary | Protocol::Lax => reader.length().transpose(),
            Protocol::Compact => Ok(varint(reader).transpose()?.map(|len| len as usize)),
        }
    }

    fn list(&mut self, reader: &mut Reader<'_>) -> Result<Option<()>, DecodeError> {
        let Some(byte) = reader.u8() else {
            return Ok(None);
        };
        let (kind, short) = match self.protocol {
            Protocol::Binary | Protocol::Lax => (byte, None),
            Protocol::Compact if byte >> 4 == 15 => (byte & 0x0f, None),
            Protocol::Compact => (byte & 0x0f, Some(usize::from(byte >> 4))),
        };
        let len = match short {
            Some(len) => Some(len),
            None => self.length(reader)?,
        };
        let Some(len) = len else {
            return Ok(None);
        };
        if len == 0 {
            // Of any type, or none.
            return Ok(Some(()));
        }
        let kind = self.element(kind)?;
        if let Type::Fixed(size) = kind {
            // All at once.
            return self.bytes(reader, len.saturating_mul(size));
        }
        self.enter(Open::Values {
            left: len,
            next: kind,
            then: kind,
        })
    }

    fn map(&mut self, reader: &mut Reader<'_>) -> Result<Option<()>, DecodeError> {
        let (kinds, len) = match self.protocol {
            Protocol::Binary | Protocol::Lax => {
                let kinds = (reader.u8(), reader.u8());
                (kinds, self.length(reader)?)
            }
            Protocol::Compact => match self.length(reader)? {
                Some(0) => return Ok(Some(())),
                len => {
                    let kinds = reader.u8();
                    (
                        (
                            kinds.map(|kinds| kinds >> 4),
                            kinds.map(|kinds| kinds & 0x0f),
                        ),
                        len,
                    )
                }
            },
        };
        let ((Some(key), Some(value)), Some(len)) = (kinds, len) else {
            return Ok(None);
        };
        if len == 0 {
            return Ok(Some(()));
        }
        let open = Open::Values {
            left: len.checked_mul(2).ok_or(DecodeError::BadLength)?,
            next: self.element(key)?,
            then: self.element(value)?,
        };
        self.enter(open)
    }

    fn enter(&mut self, open: Open) -> Result<Option<()>, DecodeError> {
        if self.open.len() >= self.depth {
            return Err(DecodeError::TooDeep);
        }
        self.open.push(open);
        Ok(Some(()))
    }

    /// A type as it is named in a list: there a truth of the compact protocol has a byte.
    fn element(&self, kind: u8) -> Result<Type, DecodeError> {
        match (self.protocol, kind) {
            (Protocol::Compact, 1 | 2) => Ok(Type::Fixed(1)),
            _ => self.kind(kind),
        }
    }

    fn kind(&self, kind: u8) -> Result<Type, DecodeError> {
        let kind = match (self.protocol, kind) {
            (Protocol::Binary | Protocol::Lax, 2 | 3) | (Protocol::Compact, 3) => Type::Fixed(1),
            (Protocol::Binary | Protocol::Lax, 6) => Type::Fixed(2),
            (Protocol::Binary | Protocol::Lax, 8) => Type::Fixed(4),
            (Protocol::Binary | Protocol::Lax, 4 | 10) | (Protocol::Compact, 7) => Type::Fixed(8),
            (Protocol::Binary | Protocol::Lax, 16) | (Protocol::Compact, 13) => Type::Fixed(16),
            (Protocol::Compact, 4..=6) => Type::Varint,
            (Protocol::Binary | Protocol::Lax, 11) | (Protocol::Compact, 8) => Type::Text,
            (_, 12) => Type::Struct,
            (Protocol::Binary | Protocol::Lax, 13) | (Protocol::Compact, 11) => Type::Map,
            (Protocol::Binary | Protocol::Lax, 14 | 15) | (Protocol::Compact, 9 | 10) => Type::List,
            _ => return Err(DecodeError::BadBody),
        };
        Ok(kind)
    }
}

/// Passes over a number of up to 64 bits.
fn long_varint(reader: &mut Reader<'_>) -> Result<Option<()>, DecodeError> {
    const BYTES_MAX: usize = 10;
    for _ in 0..BYTES_MAX {
        match reader.u8() {
            None => return Ok(None),
            Some(byte) if byte < 0x80 => return Ok(Some(())),
            Some(_) => {}
        }
    }
    Err(DecodeError::BadBody)
}
