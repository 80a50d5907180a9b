//! A body, piece by piece, never copied: RFC 9112 §6 and §7.
//!
//! ```text
//!            Length ──(n bytes)──────────────────────────────┐
//!            Close ───(the stream's end)                     ▼
//!   Size ──"5;ext CRLF"──▶ Data ──5 bytes──▶ DataEnd       Done
//!    ▲                                         │ CRLF        ▲
//!    └─────────────────────────────────────────┘             │
//!   Size ──"0 CRLF"──▶ Trailers ──(empty line)───────────────┘
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::rules;
use super::scan::{Cap, LineScanner};
use super::section::{Kind, Section, SectionLimits};
use super::{HeadLimits, Violation};
use crate::Fields;
use crate::message::Framing;

/// Limits of a chunked body's surroundings; the body itself is the caller's to limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of a chunk's size with its extensions.
    pub chunk_line: usize,
    /// Bytes of all chunk extensions of one body.
    pub extensions_total: usize,
    /// Bytes of one trailer field.
    pub trailer: usize,
    /// Bytes of all trailer fields.
    pub trailers_total: usize,
    /// How many trailer fields.
    pub trailers: usize,
}

impl Default for BodyLimits {
    /// Nobody reads extensions, so that room for a signature here and there is plenty; trailers as a small head.
    fn default() -> Self {
        Self {
            chunk_line: 1 << 10,
            extensions_total: 16 << 10,
            trailer: 8 << 10,
            trailers_total: 16 << 10,
            trailers: 64,
        }
    }
}

impl From<&HeadLimits> for BodyLimits {
    /// Trailers may be as large as the fields of a head.
    fn from(limits: &HeadLimits) -> Self {
        Self {
            trailer: limits.field,
            trailers_total: limits.fields_total,
            trailers: limits.fields,
            ..Self::default()
        }
    }
}

/// The next part of a body.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes of the body; never empty.
    Data(Bytes),
    /// Nothing more in the input so far.
    NeedMore,
    /// The body is over. The trailer fields if there was a trailer section with fields in it, without those that must not be there.
    End(Option<Fields>),
}

#[derive(Debug)]
enum State {
    Length(u64),
    Close,
    Size(LineScanner),
    Data(u64),
    DataEnd,
    /// Boxed, for most bodies never come here with a field.
    Trailers(Box<(LineScanner, Section)>),
    Done,
}

/// Takes a body out of a connection's bytes.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    limits: BodyLimits,
    extensions: usize,
}

impl BodyDecoder {
    /// For a body framed like that.
    pub fn new(framing: Framing, limits: BodyLimits) -> Self {
        let state = match framing {
            Framing::Empty => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(LineScanner::default()),
            Framing::Close => State::Close,
        };
        Self {
            state,
            limits,
            extensions: 0,
        }
    }

    /// Whether the body has ended. A body of no bytes has from the start.
    pub fn is_done(&self) -> bool {
        match self.state {
            State::Done | State::Length(0) => true,
            State::Length(_)
            | State::Close
            | State::Size(_)
            | State::Data(_)
            | State::DataEnd
            | State::Trailers(_) => false,
        }
    }

    /// How many bytes are sure to come: of the body, or of the chunk where it is chunked.
    pub fn remaining_hint(&self) -> Option<u64> {
        match self.state {
            State::Length(left) | State::Data(left) => Some(left),
            State::Done => Some(0),
            State::Close | State::Size(_) | State::DataEnd | State::Trailers(_) => None,
        }
    }

    /// Takes the next piece off the front of `input`; bytes behind the body's end stay.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Piece, Violation> {
        loop {
            let left = match &mut self.state {
                State::Done => return Ok(Piece::End(None)),
                State::Length(0) => {
                    self.state = State::Done;
                    continue;
                }
                _ if input.is_empty() => return Ok(Piece::NeedMore),
                State::Close => return Ok(Piece::Data(input.split().freeze())),
                State::Length(left) | State::Data(left) => left,
                State::Size(_) => {
                    if !self.read_size(input)? {
                        return Ok(Piece::NeedMore);
                    }
                    continue;
                }
                State::DataEnd => {
                    if !read_data_end(input)? {
                        return Ok(Piece::NeedMore);
                    }
                    self.state = State::Size(LineScanner::default());
                    continue;
                }
                State::Trailers(_) => return self.read_trailers(input),
            };
            let data = take(input, left);
            if let State::Data(0) = self.state {
                self.state = State::DataEnd;
            }
            return Ok(Piece::Data(data));
        }
    }

    /// Says whether the stream may end here: an unfinished body was cut off, and must not look whole to anybody.
    pub fn on_eof(&self) -> Result<(), Violation> {
        match self.state {
            State::Done | State::Close | State::Length(0) => Ok(()),
            State::Length(_)
            | State::Size(_)
            | State::Data(_)
            | State::DataEnd
            | State::Trailers(_) => Err(Violation::Truncated),
        }
    }

    /// Reads a chunk's first line; says whether it is here.
    fn read_size(&mut self, input: &mut BytesMut) -> Result<bool, Violation> {
        let State::Size(scanner) = &mut self.state else {
            return Ok(false);
        };
        let cap = Cap::new(0, self.limits.chunk_line, Violation::ChunkLineTooLong);
        let Some((start, end)) = scanner.next(input, cap)? else {
            return Ok(false);
        };
        let line = rules::chunk_line(input.get(start..end).unwrap_or_default())?;
        self.extensions = self.extensions.saturating_add(line.extensions);
        if self.extensions > self.limits.extensions_total {
            return Err(Violation::ChunkExtensionsTooLong);
        }
        input.advance(end + 2);
        self.state = match line.size {
            0 if input.starts_with(b"\r\n") => {
                input.advance(2);
                State::Done
            }
            0 => State::Trailers(Box::default()),
            size => State::Data(size),
        };
        Ok(true)
    }

    fn read_trailers(&mut self, input: &mut BytesMut) -> Result<Piece, Violation> {
        let State::Trailers(reading) = &mut self.state else {
            return Ok(Piece::NeedMore);
        };
        let limits = SectionLimits {
            field: self.limits.trailer,
            total: self.limits.trailers_total,
            count: self.limits.trailers,
            too_long: Violation::TrailersTooLong,
            too_many: Violation::TrailersTooMany,
        };
        let (scanner, section) = &mut **reading;
        if !section.read(input, scanner, limits, Kind::Trailers)? {
            return Ok(Piece::NeedMore);
        }
        let raw = input.split_to(scanner.start()).freeze();
        let mut fields = std::mem::take(section).into_fields(raw);
        fields.retain(|field| !rules::is_forbidden_trailer(field.id, field.name));
        self.state = State::Done;
        Ok(Piece::End((!fields.is_empty()).then_some(fields)))
    }
}

/// Up to `left` bytes, and so many fewer left.
fn take(input: &mut BytesMut, left: &mut u64) -> Bytes {
    let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left = left.saturating_sub(len as u64);
    input.split_to(len).freeze()
}

/// The CRLF after a chunk's data; says whether it is here. A wrong byte is refused without waiting for the next.
fn read_data_end(input: &mut BytesMut) -> Result<bool, Violation> {
    match **input {
        [] | [b'\r'] => Ok(false),
        [b'\r', b'\n', ..] => {
            input.advance(2);
            Ok(true)
        }
        _ => Err(Violation::ChunkEnd),
    }
}
