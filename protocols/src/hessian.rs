//! Hessian 2 passed over, not decoded: where a value ends, and what short texts and numbers say, without a copy of anything. For who
//! makes calls of HTTP's requests, values are also decoded ([`Decoder`]) and written ([`Writer`]).
//!
//! All that has to be remembered is how many fields each class has that was defined on the way. Values lie in each other on a
//! stack of our own, so that depth is a limit and not a crash. The grammar: <http://hessian.caucho.com/doc/hessian-serialization.html>.

mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::codec::{DecodeError, Limits, Span};
use crate::reader::Reader;

pub use read::{Body, Decoder, Node, Tree, Value};
pub use write::Writer;

type Result<T> = std::result::Result<T, DecodeError>;

/// What a value was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Null,
    Bool(bool),
    /// An int or a long.
    Int(i64),
    /// A text in one piece, as its bytes.
    Text(Span),
    /// A text in chunks.
    Chunks,
    /// Something else that nothing later can refer to: bytes, a double, a date.
    Plain,
    /// A list, a map, an object or a reference to one.
    Compound,
}

/// What is still open around a value.
#[derive(Clone, Copy, Debug)]
enum Open {
    /// So many values are to come.
    Values(usize),
    /// Values, or pairs, until an end mark.
    UntilEnd {
        pairs: bool,
        /// Of a pair, the value is to come.
        half: bool,
    },
}

/// Passes over the values of one body.
#[derive(Clone, Debug)]
pub(crate) struct Skipper<'a> {
    reader: Reader<'a>,
    /// How many fields each class has.
    classes: Vec<usize>,
    open: Vec<Open>,
    /// How many values may still be passed over.
    values: usize,
    depth: usize,
}

impl<'a> Skipper<'a> {
    /// Over what is left of `reader`.
    pub(crate) fn new(reader: Reader<'a>, limits: &Limits) -> Self {
        Self {
            reader,
            classes: Vec::new(),
            open: Vec::new(),
            values: limits.values,
            depth: limits.depth,
        }
    }

    /// Where it is.
    pub(crate) fn position(&self) -> usize {
        self.reader.position()
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    /// The next byte.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.reader.peek()
    }

    /// Passes over an end mark, if that is next.
    pub(crate) fn is_end(&mut self) -> bool {
        let is_end = self.peek() == Some(b'Z');
        if is_end {
            let _here = self.reader.u8();
        }
        is_end
    }

    /// Passes over the beginning of a map, if that is next.
    pub(crate) fn begin_map(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b'H') => self.skip(1)?,
            Some(b'M') => {
                self.skip(1)?;
                self.type_name()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Passes over one value, with all that lies in it.
    pub(crate) fn item(&mut self) -> Result<Item> {
        let item = self.one()?;
        while let Some(open) = self.open.last_mut() {
            match open {
                Open::Values(0) => {
                    self.open.pop();
                    continue;
                }
                Open::Values(left) => *left -= 1,
                Open::UntilEnd { pairs, half } => {
                    if !*half && self.reader.peek() == Some(b'Z') {
                        self.open.pop();
                        self.skip(1)?;
                        continue;
                    }
                    *half = *pairs && !*half;
                }
            }
            self.one()?;
        }
        Ok(item)
    }

    /// One value, or the beginning of one that others lie in.
    fn one(&mut self) -> Result<Item> {
        self.values = self
            .values
            .checked_sub(1)
            .ok_or(DecodeError::TooManyValues)?;
        let tag = self.byte()?;
        match tag {
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => self.text(tag),
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => self.binary(tag),
            0x80..=0xd7 | 0xd8..=0xff | 0x38..=0x3f | b'I' | b'L' | b'Y' => {
                self.number(tag).map(Item::Int)
            }
            b'N' => Ok(Item::Null),
            b'T' | b'F' => Ok(Item::Bool(tag == b'T')),
            // Doubles of a whole number: 0, 1, one byte, two bytes, thousandths in four bytes.
            0x5b | 0x5c => Ok(Item::Plain),
            0x5d => self.plain(1),
            0x5e => self.plain(2),
            0x5f | b'K' => self.plain(4),
            b'D' | b'J' => self.plain(8),
            b'C' | b'O' | 0x60..=0x6f => self.object(tag),
            b'H' | b'M' => self.map(tag),
            b'U' | b'V' | b'W' | b'X' | 0x70..=0x7f => self.list(tag),
            b'Q' => self.int().map(|_| Item::Compound),
            b'@' | b'E' | b'G' | b'P' | b'Z' => Err(DecodeError::BadBody),
        }
    }

    fn object(&mut self, mut tag: u8) -> Result<Item> {
        // Definitions may follow each other; the value comes behind them.
        while tag == b'C' {
            self.definition()?;
            tag = self.byte()?;
        }
        let class = match tag {
            b'O' => self.count()?,
            0x60..=0x6f => usize::from(tag - 0x60),
            // What follows a definition is an object of any class, and nothing else.
            _ => return Err(DecodeError::BadBody),
        };
        let fields = *self.classes.get(class).ok_or(DecodeError::BadBody)?;
        self.enter(Open::Values(fields))
    }

    fn definition(&mut self) -> Result<()> {
        self.string()?;
        let fields = self.count()?;
        for _ in 0..fields {
            self.string()?;
        }
        self.values = self
            .values
            .checked_sub(fields.saturating_add(1))
            .ok_or(DecodeError::TooManyValues)?;
        self.classes.push(fields);
        Ok(())
    }

    fn map(&mut self, tag: u8) -> Result<Item> {
        if tag == b'M' {
            self.type_name()?;
        }
        self.enter(Open::UntilEnd {
            pairs: true,
            half: false,
        })
    }

    fn list(&mut self, tag: u8) -> Result<Item> {
        if matches!(tag, b'U' | b'V' | 0x70..=0x77) {
            self.type_name()?;
        }
        let len = match tag {
            b'U' | b'W' => {
                return self.enter(Open::UntilEnd {
                    pairs: false,
                    half: false,
                });
            }
            b'V' | b'X' => self.count()?,
            _ => usize::from(tag & 7),
        };
        self.enter(Open::Values(len))
    }

    fn enter(&mut self, open: Open) -> Result<Item> {
        if self.open.len() >= self.depth {
            return Err(DecodeError::TooDeep);
        }
        self.open.push(open);
        Ok(Item::Compound)
    }

    /// A type: its name, or the number of one that came before.
    fn type_name(&mut self) -> Result<()> {
        let tag = self.byte()?;
        match tag {
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => self.text(tag).map(drop),
            _ => self.number(tag).map(drop),
        }
    }

    /// A text where only a text may stand.
    pub(crate) fn string(&mut self) -> Result<Item> {
        let tag = self.byte()?;
        self.text(tag)
    }

    fn text(&mut self, tag: u8) -> Result<Item> {
        let (mut first, mut whole) = (None, true);
        self.text_in(tag, |span| {
            whole = first.is_none();
            first = first.or(Some(span));
        })?;
        Ok(first.filter(|_| whole).map_or(Item::Chunks, Item::Text))
    }

    /// Passes over a text, and says where each chunk of it is.
    fn text_in(&mut self, tag: u8, mut see: impl FnMut(Span)) -> Result<()> {
        let mut tag = tag;
        loop {
            let units = match tag {
                0x00..=0x1f => usize::from(tag),
                0x30..=0x33 => self.low(tag - 0x30)?,
                b'R' | b'S' => usize::from(self.reader.u16().ok_or(DecodeError::BadBody)?),
                _ => return Err(DecodeError::BadBody),
            };
            let start = self.position();
            self.units(units)?;
            see(Span::new(start, self.position()).ok_or(DecodeError::BadLength)?);
            if tag != b'R' {
                return Ok(());
            }
            tag = self.byte()?;
        }
    }

    /// So many UTF-16 units, written as UTF-8 each by itself, or, by some, in the four bytes of a pair. In no more bytes than it takes: who
    /// reads a letter written longer reads the same text, and who compares bytes another.
    fn units(&mut self, mut units: usize) -> Result<()> {
        while units > 0 {
            let rest = self.reader.rest();
            let ascii = rest.get(..units.min(rest.len())).unwrap_or_default();
            let run = ascii_run(ascii);
            self.skip(run)?;
            units -= run;
            if units == 0 {
                break;
            }
            let mut letter = self.reader;
            let (first, second) = (letter.u8(), letter.u8());
            // What the second byte adds.
            let more = second.unwrap_or_default() & 0x3f;
            let (bytes, taken) = match (first.ok_or(DecodeError::BadBody)?, more) {
                // A zero in two bytes is Java's, and no other letter's.
                (0xc2..=0xdf, _) | (0xc0, 0) => (2, 1),
                (0xe0, 0x20..) | (0xe1..=0xef, _) => (3, 1),
                (0xf0, 0x10..) | (0xf1..=0xf7, _) => (4, 2),
                _ => return Err(DecodeError::BadBody),
            };
            self.skip(bytes)?;
            units = units.checked_sub(taken).ok_or(DecodeError::BadBody)?;
        }
        Ok(())
    }

    fn binary(&mut self, tag: u8) -> Result<Item> {
        self.binary_in(tag, |_| ())?;
        Ok(Item::Plain)
    }

    /// Passes over bytes, and says where each chunk of them is.
    fn binary_in(&mut self, tag: u8, mut see: impl FnMut(Span)) -> Result<()> {
        let mut tag = tag;
        loop {
            let len = match tag {
                0x20..=0x2f => usize::from(tag - 0x20),
                0x34..=0x37 => self.low(tag - 0x34)?,
                b'A' | b'B' => usize::from(self.reader.u16().ok_or(DecodeError::BadBody)?),
                _ => return Err(DecodeError::BadBody),
            };
            see(self.reader.span(len).ok_or(DecodeError::BadBody)?);
            if tag != b'A' {
                return Ok(());
            }
            tag = self.byte()?;
        }
    }

    /// A length whose high bits stand in the tag.
    fn low(&mut self, high: u8) -> Result<usize> {
        Ok(usize::from(high) << 8 | usize::from(self.byte()?))
    }

    fn number(&mut self, tag: u8) -> Result<i64> {
        let tag_and = |zero: u8| i64::from(tag) - i64::from(zero);
        let number = match tag {
            0x80..=0xbf => Some(tag_and(0x90)),
            0xc0..=0xcf => self
                .reader
                .u8()
                .map(|low| tag_and(0xc8) << 8 | i64::from(low)),
            0xd0..=0xd7 => self
                .reader
                .u16()
                .map(|low| tag_and(0xd4) << 16 | i64::from(low)),
            0xd8..=0xef => Some(tag_and(0xe0)),
            0xf0..=0xff => self
                .reader
                .u8()
                .map(|low| tag_and(0xf8) << 8 | i64::from(low)),
            0x38..=0x3f => self
                .reader
                .u16()
                .map(|low| tag_and(0x3c) << 16 | i64::from(low)),
            b'I' | b'Y' => self.reader.i32().map(i64::from),
            b'L' => self.reader.u64().map(u64::cast_signed),
            _ => None,
        };
        number.ok_or(DecodeError::BadBody)
    }

    fn int(&mut self) -> Result<i64> {
        let tag = self.byte()?;
        match tag {
            0x80..=0xd7 | b'I' => self.number(tag),
            _ => Err(DecodeError::BadBody),
        }
    }

    /// A number of values. More than there are bytes cannot come.
    fn count(&mut self) -> Result<usize> {
        usize::try_from(self.int()?).map_err(|_| DecodeError::BadBody)
    }

    fn plain(&mut self, len: usize) -> Result<Item> {
        self.skip(len).map(|()| Item::Plain)
    }

    fn byte(&mut self) -> Result<u8> {
        self.reader.u8().ok_or(DecodeError::BadBody)
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        self.reader.skip(len).ok_or(DecodeError::BadBody)
    }
}

/// How many bytes are ASCII before the first that is not: most texts are nothing else, so that many are looked at together.
fn ascii_run(text: &[u8]) -> usize {
    const MANY: usize = 32;
    let many = text
        .chunks_exact(MANY)
        .take_while(|part| part.is_ascii())
        .count()
        * MANY;
    let rest = text.get(many..).unwrap_or_default();
    many + rest.iter().take_while(|byte| byte.is_ascii()).count()
}

/// Writes a text that is valid UTF-8; chunks of it are as long as others write them.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    /// Above it, Java begins a new chunk.
    const CHUNK: usize = 0x8000;
    let mut rest = text;
    loop {
        let mut units = 0;
        let fits = |c: &char| {
            let more = units + c.len_utf16();
            let fits = more <= CHUNK;
            if fits {
                units = more;
            }
            fits
        };
        let bytes: usize = rest.chars().take_while(fits).map(char::len_utf8).sum();
        let (chunk, more) = rest.split_at_checked(bytes).unwrap_or((rest, ""));
        write_head(units, more.is_empty(), out);
        for unit in chunk.encode_utf16() {
            write_unit(unit, out);
        }
        if more.is_empty() {
            return;
        }
        rest = more;
    }
}

fn write_head(units: usize, is_last: bool, out: &mut Vec<u8>) {
    let [.., high, low] = units.to_be_bytes();
    match (is_last, high) {
        (false, _) => out.extend_from_slice(&[b'R', high, low]),
        (true, 0) if low < 0x20 => out.push(low),
        (true, 0..=3) => out.extend_from_slice(&[0x30 + high, low]),
        (true, _) => out.extend_from_slice(&[b'S', high, low]),
    }
}

/// Each unit by itself, as Java writes it: half a pair becomes three bytes.
fn write_unit(unit: u16, out: &mut Vec<u8>) {
    let [high, low] = unit.to_be_bytes();
    match unit {
        0..=0x7f => out.push(low),
        0x80..=0x7ff => out.extend_from_slice(&[0xc0 | high << 2 | low >> 6, 0x80 | low & 0x3f]),
        _ => out.extend_from_slice(&[
            0xe0 | high >> 4,
            0x80 | (high & 0x0f) << 2 | low >> 6,
            0x80 | low & 0x3f,
        ]),
    }
}
