//! In which of its forms a frame is: each says so itself, by its first bytes.
//!
//! ```text
//!  framed     length(4) · message
//!  unframed   message, and nothing says how long it is
//!  THeader    length(4) · 0x0fff · flags(2) · sequence(4) · words(2) · protocol · transforms · infos, padded to words of 4 · message
//! ```

use bytes::Bytes;

use super::message::{Message, NAME_MAX, Protocol, varint, write_varint};
use crate::codec::{AmendError, Change, DecodeError, Limits, Span};
use crate::reader::Reader;
use crate::{FieldId, Fields};

/// Where THeader's number of the message is.
const SEQUENCE_AT: usize = 8;
/// Where THeader's own headers begin.
const HEADER_AT: usize = 14;
/// The kind of information that headers are.
const PAIRS: u32 = 1;

/// How a message is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Framed,
    Unframed,
    /// Its protocol is said inside.
    Header,
}

/// Transport and protocol; of THeader the protocol is only known once the header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) transport: Transport,
    pub(super) protocol: Protocol,
}

/// The two bytes that begin a message in a protocol that says so.
fn protocol(first: u8, second: u8) -> Option<Protocol> {
    match (first, second) {
        (0x80, 1) => Some(Protocol::Binary),
        (0x82, second) if second & 0x1f == 1 => Some(Protocol::Compact),
        _ => None,
    }
}

/// Tells the form by the first eight bytes; none while they are not here.
pub(super) fn detect(bytes: &[u8]) -> Result<Option<Form>, DecodeError> {
    let form = |transport, protocol| {
        Ok(Some(Form {
            transport,
            protocol,
        }))
    };
    let mut reader = Reader::new(bytes);
    let Some(first) = reader.peek() else {
        return Ok(None);
    };
    if first >= 0x80 {
        let _first = reader.u8();
        return match reader.peek().map(|second| protocol(first, second)) {
            None if matches!(first, 0x80 | 0x82) => Ok(None),
            Some(Some(protocol)) => form(Transport::Unframed, protocol),
            None | Some(None) => Err(DecodeError::BadMagic),
        };
    }
    let Some(length) = reader.length().transpose()? else {
        return Ok(None);
    };
    if length == 0 {
        return Err(DecodeError::BadLength);
    }
    let name = reader;
    let (Some(first), Some(second)) = (reader.u8(), reader.u8()) else {
        return Ok(None);
    };
    if (first, second) == (0x0f, 0xff) {
        return form(Transport::Header, Protocol::Binary);
    }
    if let Some(protocol) = protocol(first, second) {
        return form(Transport::Framed, protocol);
    }
    if first.is_ascii_graphic() && length <= NAME_MAX {
        return form(Transport::Unframed, Protocol::Lax);
    }
    let mut name = name;
    match name.length() {
        None if first == 0 => Ok(None),
        Some(Ok(name)) if (1..=NAME_MAX).contains(&name) && name + 9 < length => {
            form(Transport::Framed, Protocol::Lax)
        }
        None | Some(_) => Err(DecodeError::BadMagic),
    }
}

/// THeader's own headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    protocol: u32,
    /// Where the pairs are; empty if there are none.
    pairs: Span,
    /// Whether there is more than pairs, so that they cannot be written anew.
    is_more: bool,
    /// Where the message begins.
    pub(super) message: usize,
}

impl Header {
    /// Reads those of a whole frame.
    pub(super) fn read(frame: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::starting_at(frame, HEADER_AT - 2);
        let words = reader.u16().ok_or(DecodeError::BadHeader)?;
        let message = HEADER_AT + usize::from(words) * 4;
        if message > frame.len() {
            return Err(DecodeError::BadHeader);
        }
        if message - HEADER_AT > limits.header_bytes {
            return Err(DecodeError::HeadersTooLarge);
        }
        let inside = Span::new(HEADER_AT, message).ok_or(DecodeError::BadHeader)?;
        let mut reader = Reader::within(frame, inside);
        let protocol = number(&mut reader)?;
        // Compressed or signed: what is called cannot be read.
        if number(&mut reader)? != 0 {
            return Err(DecodeError::Unsupported);
        }
        let start = reader.position();
        let mut header = Self {
            protocol,
            pairs: Span::default(),
            is_more: false,
            message,
        };
        match reader
            .is_empty()
            .then_some(0)
            .map_or_else(|| number(&mut reader), Ok)?
        {
            0 => {}
            PAIRS => header.find_pairs(frame, start, reader, limits)?,
            _ => header.is_more = true,
        }
        Ok(header)
    }

    fn find_pairs(
        &mut self,
        frame: &[u8],
        start: usize,
        mut reader: Reader<'_>,
        limits: &Limits,
    ) -> Result<(), DecodeError> {
        let inside = Span::new(start, self.message).ok_or(DecodeError::BadHeader)?;
        walk(frame, inside, limits, |_, _, _| ())?;
        let count = number(&mut reader)?;
        for _ in 0..count.saturating_mul(2) {
            let len = number(&mut reader)? as usize;
            reader.skip(len).ok_or(DecodeError::BadHeader)?;
        }
        self.pairs = Span::new(start, reader.position()).ok_or(DecodeError::BadHeader)?;
        self.is_more = reader.rest().iter().any(|byte| *byte != 0);
        Ok(())
    }

    /// The protocol of the message; its own first bytes have to agree.
    pub(super) fn protocol(&self, frame: &[u8]) -> Result<Protocol, DecodeError> {
        let mut reader = Reader::starting_at(frame, self.message);
        let said = (reader.u8(), reader.u8());
        let (Some(first), Some(second)) = said else {
            return Err(DecodeError::BadBody);
        };
        match (self.protocol, protocol(first, second)) {
            (0, Some(Protocol::Binary)) => Ok(Protocol::Binary),
            (2, Some(Protocol::Compact)) => Ok(Protocol::Compact),
            _ => Err(DecodeError::Unsupported),
        }
    }

    /// The headers.
    pub(super) fn fields(&self, frame: &Bytes, limits: &Limits) -> Fields {
        let mut fields = Fields::over(frame.clone(), 8);
        // They were walked when the frame came in.
        let _walked = walk(frame, self.pairs, limits, |_, name, value| {
            fields.put_span(FieldId::of(name.of(frame)), name.place(), value.place());
        });
        fields
    }

    /// The frame with other headers.
    pub(super) fn amended(
        &self,
        frame: &[u8],
        changes: &[Change<'_>],
        limits: &Limits,
    ) -> Result<Vec<u8>, AmendError> {
        if self.is_more {
            return Err(AmendError::Unsupported);
        }
        let (mut pairs, mut count) = (Vec::new(), 0_u32);
        walk(frame, self.pairs, limits, |pair, name, _| {
            let name = name.of(frame);
            if !changes.iter().any(|c| c.name.eq_ignore_ascii_case(name)) {
                pairs.extend_from_slice(pair.of(frame));
                count += 1;
            }
        })
        .map_err(|_| AmendError::Unsupported)?;
        for change in changes {
            let Some(value) = change.value else { continue };
            for text in [change.name, value] {
                let len = u32::try_from(text.len()).map_err(|_| AmendError::TooLarge)?;
                write_varint(len, &mut pairs);
                pairs.extend_from_slice(text);
            }
            count += 1;
        }
        if count as usize > limits.headers || pairs.len() + 16 > limits.header_bytes {
            return Err(AmendError::TooLarge);
        }
        let mut infos = Vec::with_capacity(pairs.len() + 8);
        if count > 0 {
            write_varint(PAIRS, &mut infos);
            write_varint(count, &mut infos);
            infos.extend_from_slice(&pairs);
        }
        let message = frame.get(self.message..).unwrap_or_default();
        let fixed = frame.get(4..HEADER_AT - 2).unwrap_or_default();
        Ok(wrapped(fixed, self.protocol, &infos, message))
    }
}

/// Of a frame of THeader whose message is compressed, or of a protocol that is not spoken here: what it takes to answer it.
pub(super) fn sealed(frame: &[u8]) -> Option<(Form, Message)> {
    let form = detect(frame).ok()??;
    if form.transport != Transport::Header {
        return None;
    }
    let mut fixed = Reader::starting_at(frame, SEQUENCE_AT);
    let sequence = fixed.u32()?.cast_signed();
    let protocol = match number(&mut Reader::starting_at(frame, HEADER_AT)).ok()? {
        2 => Protocol::Compact,
        _ => Protocol::Binary,
    };
    Some((form, Message::nameless(protocol, sequence)))
}

/// The pairs; `see` gets where a pair lies, its name and its value.
fn walk(
    frame: &[u8],
    pairs: Span,
    limits: &Limits,
    mut see: impl FnMut(Span, Span, Span),
) -> Result<(), DecodeError> {
    let mut reader = Reader::within(frame, pairs);
    if reader.is_empty() {
        return Ok(());
    }
    let (_kind, count) = (number(&mut reader)?, number(&mut reader)?);
    if count as usize > limits.headers {
        return Err(DecodeError::HeadersTooLarge);
    }
    for _ in 0..count {
        let start = reader.position();
        let mut text = || {
            let len = number(&mut reader)? as usize;
            reader.span(len).ok_or(DecodeError::BadHeader)
        };
        let (name, value) = (text()?, text()?);
        let pair = Span::new(start, reader.position()).ok_or(DecodeError::BadHeader)?;
        see(pair, name, value);
    }
    Ok(())
}

fn number(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    varint(reader)
        .ok_or(DecodeError::BadHeader)?
        .map_err(|_| DecodeError::BadHeader)
}

/// A frame of THeader; `fixed` is its magic, flags and sequence.
fn wrapped(fixed: &[u8], protocol: u32, infos: &[u8], message: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(infos.len() + 8);
    write_varint(protocol, &mut header);
    write_varint(0, &mut header);
    header.extend_from_slice(infos);
    header.resize(header.len().next_multiple_of(4), 0);
    let length = HEADER_AT - 4 + header.len() + message.len();
    let words = u16::try_from(header.len() / 4).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length + 4);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(fixed);
    bytes.extend_from_slice(&words.to_be_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(message);
    bytes
}

/// Wraps a message of the proxy's own as the frame was that it answers.
pub(super) fn wrap(form: Form, to: &Message, frame: &[u8], message: &[u8]) -> Vec<u8> {
    match form.transport {
        Transport::Unframed => message.to_vec(),
        Transport::Framed => {
            let length = u32::try_from(message.len()).unwrap_or(0);
            [&length.to_be_bytes(), message].concat()
        }
        Transport::Header => {
            let protocol = if to.protocol == Protocol::Compact {
                2
            } else {
                0
            };
            let mut fixed = [0x0f, 0xff, 0, 0, 0, 0, 0, 0];
            if let (Some(sequence), Some(theirs)) = (fixed.get_mut(4..), frame.get(8..12)) {
                sequence.copy_from_slice(theirs);
            }
            wrapped(&fixed, protocol, &[], message)
        }
    }
}
