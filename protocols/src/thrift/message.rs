//! The beginning of a message, in both protocols, and the exceptions that the proxy writes.
//!
//! ```text
//!  binary   0x80010000|type(4) · length(4) · name · sequence(4)        of old, "lax":  length(4) · name · type(1) · sequence(4)
//!  compact  0x82 · type<<5|1 · sequence(varint) · length(varint) · name
//! ```

use crate::codec::{DecodeError, Kind, Span, Verdict, Why};
use crate::reader::Reader;

/// No service has methods with longer names; with more, a length could be anything.
pub(super) const NAME_MAX: usize = 1024;

const CALL: u8 = 1;
const REPLY: u8 = 2;
const EXCEPTION: u8 = 3;
const ONE_WAY: u8 = 4;

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    #[default]
    Binary,
    /// Binary without the version in front.
    Lax,
    Compact,
}

/// The beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) protocol: Protocol,
    kind: u8,
    pub(super) name: Span,
    pub(super) sequence: i32,
    /// Where its struct begins.
    pub(super) body: usize,
}

impl Message {
    /// Reads it at the reader's place; none if it is not all here.
    pub(super) fn read(
        mut reader: Reader<'_>,
        protocol: Protocol,
    ) -> Result<Option<Self>, DecodeError> {
        let message = match protocol {
            Protocol::Binary => Self::binary(&mut reader),
            Protocol::Lax => Self::lax(&mut reader),
            Protocol::Compact => Self::compact(&mut reader),
        };
        match message.transpose()? {
            Some(message) if !(CALL..=ONE_WAY).contains(&message.kind) => Err(DecodeError::BadKind),
            message => Ok(message),
        }
    }

    /// A call of which nothing is known but its number.
    pub(super) fn nameless(protocol: Protocol, sequence: i32) -> Self {
        Self {
            protocol,
            kind: CALL,
            name: Span::default(),
            sequence,
            body: 0,
        }
    }

    fn binary(reader: &mut Reader<'_>) -> Option<Result<Self, DecodeError>> {
        let [_, _, _, kind] = reader.u32()?.to_be_bytes();
        let name = match name(reader)? {
            Ok(name) => name,
            Err(error) => return Some(Err(error)),
        };
        let sequence = reader.i32()?;
        Some(Ok(Self {
            protocol: Protocol::Binary,
            kind,
            name,
            sequence,
            body: reader.position(),
        }))
    }

    fn lax(reader: &mut Reader<'_>) -> Option<Result<Self, DecodeError>> {
        let name = match name(reader)? {
            Ok(name) => name,
            Err(error) => return Some(Err(error)),
        };
        let (kind, sequence) = (reader.u8()?, reader.i32()?);
        Some(Ok(Self {
            protocol: Protocol::Lax,
            kind,
            name,
            sequence,
            body: reader.position(),
        }))
    }

    fn compact(reader: &mut Reader<'_>) -> Option<Result<Self, DecodeError>> {
        reader.u8()?;
        let kind = reader.u8()? >> 5;
        let (Ok(sequence), Ok(length)) = (varint(reader)?, varint(reader)?) else {
            return Some(Err(DecodeError::BadLength));
        };
        let length = length as usize;
        if length > NAME_MAX {
            return Some(Err(DecodeError::BadLength));
        }
        let name = reader.span(length)?;
        Some(Ok(Self {
            protocol: Protocol::Compact,
            kind,
            name,
            sequence: sequence.cast_signed(),
            body: reader.position(),
        }))
    }

    /// What its frame is.
    pub(super) fn kind(&self) -> Kind {
        match self.kind {
            CALL => Kind::Request,
            ONE_WAY => Kind::OneWay,
            _ => Kind::Response,
        }
    }

    /// How it ended, if it is an answer. Of a result the field 0 is the value, and every other a declared exception.
    pub(super) fn verdict(&self, frame: &[u8]) -> Verdict {
        let mut reader = Reader::starting_at(frame, self.body);
        let first = (reader.u8(), reader.u8(), reader.u8());
        match (self.kind, self.protocol, first) {
            (EXCEPTION, ..) => Verdict::Failed,
            (REPLY, _, (Some(0) | None, ..)) => Verdict::Good,
            (REPLY, Protocol::Binary | Protocol::Lax, (_, Some(0), Some(0))) => Verdict::Good,
            // The field's number follows where its difference to the last one is no number of 1 to 15.
            (REPLY, Protocol::Compact, (Some(1..=15), Some(0), _)) => Verdict::Good,
            (REPLY, ..) => Verdict::Exception,
            _ => Verdict::Good,
        }
    }

    /// The protocol's code for that: the type of the message.
    pub(super) fn code(&self) -> i32 {
        i32::from(self.kind)
    }

    /// Service and method: of a multiplexed service's call, both are in the name.
    pub(super) fn call(&self, frame: &[u8]) -> (Span, Span) {
        let split = |colon| {
            let colon = self.name.start() + colon;
            let service = Span::new(self.name.start(), colon)?;
            Some((service, Span::new(colon + 1, self.name.end())?))
        };
        memchr::memchr(b':', self.name.of(frame))
            .and_then(split)
            .unwrap_or((Span::default(), self.name))
    }
}

fn name(reader: &mut Reader<'_>) -> Option<Result<Span, DecodeError>> {
    match reader.length()? {
        Ok(length) if length <= NAME_MAX => reader.span(length).map(Ok),
        Ok(_) | Err(_) => Some(Err(DecodeError::BadLength)),
    }
}

/// A number in groups of seven bits, the lowest first: of up to 32 bits.
pub(super) fn varint(reader: &mut Reader<'_>) -> Option<Result<u32, DecodeError>> {
    let mut number = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = reader.u8()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(u32::try_from(number).map_err(|_| DecodeError::BadLength));
        }
    }
    Some(Err(DecodeError::BadLength))
}

/// Writes such a number.
pub(super) fn write_varint(mut number: u32, out: &mut Vec<u8>) {
    loop {
        let [.., low] = number.to_be_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Which of Thrift's own exceptions says it.
fn exception_type(why: Why) -> u8 {
    match why {
        Why::NoRoute => 1,                    // UNKNOWN_METHOD
        Why::Malformed | Why::BadAnswer => 7, // PROTOCOL_ERROR
        Why::NoHost
        | Why::Denied
        | Why::Overloaded
        | Why::Timeout
        | Why::Unreachable
        | Why::Reset
        | Why::Internal => 6, // INTERNAL_ERROR
    }
}

/// A message that is an exception of Thrift's own: `struct { 1: string text, 2: i32 type }`.
pub(super) fn exception(to: &Message, name: &[u8], why: Why, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + text.len() + 40);
    let text = text.as_bytes();
    match to.protocol {
        Protocol::Binary => {
            out.extend_from_slice(&[0x80, 1, 0, EXCEPTION]);
            write_binary_text(name, &mut out);
        }
        Protocol::Lax => {
            write_binary_text(name, &mut out);
            out.push(EXCEPTION);
        }
        Protocol::Compact => {
            out.extend_from_slice(&[0x82, EXCEPTION << 5 | 1]);
            write_varint(to.sequence.cast_unsigned(), &mut out);
            write_compact_text(name, &mut out);
            // Field 1, a text; field 2, a number, whose sign is its lowest bit; the end.
            out.push(0x18);
            write_compact_text(text, &mut out);
            out.extend_from_slice(&[0x15, exception_type(why) << 1, 0]);
            return out;
        }
    }
    out.extend_from_slice(&to.sequence.to_be_bytes());
    out.extend_from_slice(&[11, 0, 1]);
    write_binary_text(text, &mut out);
    out.extend_from_slice(&[8, 0, 2, 0, 0, 0, exception_type(why), 0]);
    out
}

fn write_binary_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(text);
}

fn write_compact_text(text: &[u8], out: &mut Vec<u8>) {
    write_varint(u32::try_from(text.len()).unwrap_or(0), out);
    out.extend_from_slice(text);
}
