//! The two packets, and what is read of them.
//!
//! ```text
//!  RequestPacket    1 version · 2 packet type · 3 message type · 4 id · 5 servant · 6 function · 7 bytes · 8 timeout · 9 context · 10 status
//!  ResponsePacket   1 version · 2 packet type · 3 id · 4 message type · 5 code · 6 bytes · 7 status · 8 description · 9 context
//! ```
//!
//! TUP (versions 2 and 3) answers with a RequestPacket, its code and description in the status: which packet it is, only the
//! direction tells.

use bytes::Bytes;

use super::jce::{self, Fields as Jce, Value};
use crate::codec::{AmendError, Change, DecodeError, Limits, Span};
use crate::reader::Reader;
use crate::{FieldId, Fields};

/// The length, which counts itself.
pub(super) const LENGTH: usize = 4;
/// What a packet begins with, behind its length: version as a number of one byte.
pub(super) const VERSION_HEAD: u8 = 0x10;
/// Versions: Tars, TUP, TUP again, XML and JSON in a packet of Tars.
pub(super) const VERSIONS: std::ops::RangeInclusive<u8> = 1..=5;
/// The same of what a server of Tars for Go pushes: nobody asked, so it answers no version.
const NO_VERSION: u8 = 0x1c;
/// The heads that a packet type may have.
pub(super) const PACKET_TYPE_HEADS: [u8; 2] = [0x20, 0x2c];

/// Keys of a TUP answer's status.
pub(super) const TUP_CODE: &[u8] = b"STATUS_RESULT_CODE";
/// See [`TUP_CODE`].
pub(super) const TUP_DESCRIPTION: &[u8] = b"STATUS_RESULT_DESC";

/// The tag of a request's timeout.
pub(super) const TIMEOUT: u8 = 8;
/// The tag of the context in both packets.
const CONTEXT: u8 = 9;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Request,
    Response,
    /// A RequestPacket that is an answer.
    TupResponse,
}

/// Whether a version is TUP's.
pub(super) fn is_tup(version: u8) -> bool {
    matches!(version, 2 | 3)
}

/// What a packet says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) version: u8,
    pub(super) packet_type: i64,
    pub(super) id: i32,
    /// Where the id's field lies, head and all.
    pub(super) id_field: Span,
    pub(super) servant: Span,
    pub(super) function: Span,
    pub(super) timeout: i64,
    /// Where the timeout's field lies, head and all.
    pub(super) timeout_field: Span,
    pub(super) code: i64,
    pub(super) description: Span,
    /// Where the context's field lies; where it would begin if there is none.
    pub(super) context: Span,
}

/// Reads a whole frame.
pub(super) fn read(frame: &[u8], layout: Layout, limits: &Limits) -> Result<Packet, DecodeError> {
    read_to(frame, layout, limits, u8::MAX)
}

/// Reads the beginning of a frame, as far as its id: what it takes to answer it.
pub(super) fn read_start(
    frame: &[u8],
    layout: Layout,
    limits: &Limits,
) -> Result<Packet, DecodeError> {
    read_to(frame, layout, limits, layout.id_tag())
}

fn read_to(
    frame: &[u8],
    layout: Layout,
    limits: &Limits,
    last_tag: u8,
) -> Result<Packet, DecodeError> {
    let (version, packet_type) = match *frame.get(LENGTH..).unwrap_or_default() {
        [VERSION_HEAD, version, packet_type, ..] if VERSIONS.contains(&version) => {
            (version, packet_type)
        }
        [NO_VERSION, packet_type, ..] if layout == Layout::Response => (0, packet_type),
        _ => return Err(DecodeError::BadVersion),
    };
    if !PACKET_TYPE_HEADS.contains(&packet_type) {
        return Err(DecodeError::BadVersion);
    }
    let mut packet = Packet {
        version,
        ..Packet::default()
    };
    let mut fields = Jce::new(Reader::starting_at(frame, LENGTH), limits);
    let (mut last, mut context) = (None, None);
    loop {
        let start = fields.position();
        let Some(head) = fields.head()? else { break };
        // Fields come in the order of their tags: one that comes twice could be read in two ways.
        if last.is_some_and(|last| last >= head.tag) {
            return Err(DecodeError::BadBody);
        }
        last = Some(head.tag);
        if head.tag > CONTEXT && context.is_none() {
            context = Span::new(start, start);
        }
        let value = fields.value(head)?;
        packet.take(frame, layout, head.tag, value, &mut fields)?;
        let field = Span::new(start, fields.position()).unwrap_or_default();
        if head.tag == CONTEXT && value == Value::Map {
            walk(frame, field, limits, |_, _, _| ())?;
            context = Some(field);
        }
        if head.tag == layout.id_tag() {
            packet.id_field = field;
        }
        if head.tag == TIMEOUT {
            packet.timeout_field = field;
        }
        if head.tag == last_tag {
            break;
        }
    }
    if packet.id_field.is_empty() {
        return Err(DecodeError::BadBody);
    }
    packet.context = context
        .or_else(|| Span::new(frame.len(), frame.len()))
        .unwrap_or_default();
    Ok(packet)
}

impl Layout {
    fn id_tag(self) -> u8 {
        match self {
            Self::Response => 3,
            Self::Request | Self::TupResponse => 4,
        }
    }
}

impl Packet {
    /// One field; the pairs of a map are passed over, or read.
    fn take(
        &mut self,
        frame: &[u8],
        layout: Layout,
        tag: u8,
        value: Value,
        fields: &mut Jce<'_>,
    ) -> Result<(), DecodeError> {
        if value == Value::Map {
            let is_status = layout == Layout::TupResponse && tag == 10;
            return self.take_map(frame, is_status, fields);
        }
        match (layout, tag, value) {
            (_, 2, Value::Int(packet_type)) => self.packet_type = packet_type,
            (_, tag, Value::Int(id)) if tag == layout.id_tag() => {
                self.id = i32::try_from(id).map_err(|_| DecodeError::BadBody)?;
            }
            (Layout::Response, 5, Value::Int(code)) => self.code = code,
            (Layout::Response, 8, Value::Text(text)) => self.description = text,
            (Layout::Request | Layout::TupResponse, 5, Value::Text(text)) => self.servant = text,
            (Layout::Request | Layout::TupResponse, 6, Value::Text(text)) => self.function = text,
            (Layout::Request | Layout::TupResponse, 8, Value::Int(millis)) => self.timeout = millis,
            // An id, a servant or a function of another type than it has.
            (_, tag, _) if tag == layout.id_tag() => return Err(DecodeError::BadBody),
            (Layout::Request, 5 | 6, _) => return Err(DecodeError::BadBody),
            _ => {}
        }
        Ok(())
    }

    fn take_map(
        &mut self,
        frame: &[u8],
        is_status: bool,
        fields: &mut Jce<'_>,
    ) -> Result<(), DecodeError> {
        for _ in 0..fields.count()? {
            let (key, value) = fields.pair()?;
            let (true, Some(key), Value::Text(value)) = (is_status, key, value) else {
                continue;
            };
            if key.of(frame) == TUP_CODE {
                let text = std::str::from_utf8(value.of(frame)).unwrap_or_default();
                self.code = text.parse().unwrap_or(0);
            } else if key.of(frame) == TUP_DESCRIPTION {
                self.description = value;
            }
        }
        Ok(())
    }
}

/// The pairs of the context; `see` gets where a pair lies, head and all, its key and its value.
fn walk(
    frame: &[u8],
    context: Span,
    limits: &Limits,
    mut see: impl FnMut(Span, Option<Span>, Value),
) -> Result<(), DecodeError> {
    if context.len() > limits.header_bytes {
        return Err(DecodeError::HeadersTooLarge);
    }
    let mut fields = Jce::new(Reader::within(frame, context), limits);
    if fields.head()?.is_none() {
        return Ok(());
    }
    let count = fields.count()?;
    if count > limits.headers {
        return Err(DecodeError::HeadersTooLarge);
    }
    for _ in 0..count {
        let start = fields.position();
        let (key, value) = fields.pair()?;
        let pair = Span::new(start, fields.position()).unwrap_or_default();
        see(pair, key, value);
    }
    Ok(())
}

/// The pairs of the context that are texts.
pub(super) fn fields(frame: &Bytes, context: Span, limits: &Limits) -> Fields {
    let mut fields = Fields::over(frame.clone(), 8);
    // Beyond the limits there are none.
    let _walked = walk(frame, context, limits, |_, key, value| {
        if let (Some(key), Value::Text(value)) = (key, value) {
            fields.put_span(FieldId::of(key.of(frame)), key.place(), value.place());
        }
    });
    fields
}

/// The context's field with changes.
pub(super) fn amended(
    frame: &[u8],
    context: Span,
    changes: &[Change<'_>],
    limits: &Limits,
) -> Result<Vec<u8>, AmendError> {
    let (mut pairs, mut count) = (Vec::with_capacity(context.len() + 64), 0);
    walk(frame, context, limits, |pair, key, _| {
        let is_named = |change: &Change<'_>| {
            key.is_some_and(|key| key.of(frame).eq_ignore_ascii_case(change.name))
        };
        if !changes.iter().any(is_named) {
            pairs.extend_from_slice(pair.of(frame));
            count += 1;
        }
    })
    .map_err(|_| AmendError::Unsupported)?;
    for change in changes {
        if let Some(value) = change.value {
            jce::write_text(0, change.name, &mut pairs);
            jce::write_text(1, value, &mut pairs);
            count += 1;
        }
    }
    if count > limits.headers || pairs.len() > limits.header_bytes.saturating_sub(8) {
        return Err(AmendError::TooLarge);
    }
    let mut field = Vec::with_capacity(pairs.len() + 8);
    jce::write_map(CONTEXT, count, &mut field);
    field.extend_from_slice(&pairs);
    Ok(field)
}
