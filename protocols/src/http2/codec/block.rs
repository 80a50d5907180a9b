//! Field blocks: the lines of a request or its trailers gathered into one buffer, and held against RFC 9113 §8.1 to §8.3 as far as the
//! framing of messages is concerned. The other rules are in [`request`](super::super::request).

use bytes::{Bytes, BytesMut};

use super::super::hpack::{self, Decoder, Line};
use super::super::request::Parts;
use crate::http1::{is_hop_by_hop, is_token};
use crate::message::Method;
use crate::{FieldId, Fields};

/// What each line costs beside its bytes (RFC 9113 §6.5.2).
const LINE: usize = 32;
/// Fields that a request mostly has, with those that are added on its way.
const FIELDS: usize = 12;
/// Room for the lines of a block that refers to tables.
const ROOM: usize = 256;

/// What is wrong with a block that could be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// RFC 9113 §8.1.1.
    Malformed,
    /// More than our SETTINGS_MAX_HEADER_LIST_SIZE.
    TooLarge,
}

/// What blocks may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Bytes of all lines.
    pub(super) list: usize,
    /// `:protocol` is known here (RFC 8441).
    pub(super) connect_protocol: bool,
}

type Span = (u32, u32);

/// A block's lines, as they come.
#[derive(Default)]
struct Lines {
    raw: BytesMut,
    fields: Fields,
    size: usize,
    limit: usize,
    fault: Option<Fault>,
    /// A field that is none of the message's control data has come.
    begun: bool,
    /// No pseudo-fields here.
    is_trailer: bool,
    method: Option<Method>,
    scheme: Option<Span>,
    authority: Option<Span>,
    path: Option<Span>,
    protocol: Option<Span>,
    length: Option<u64>,
    cookies: usize,
    /// The pieces of `cookie`, joined, if there are several.
    cookie: BytesMut,
}

/// Decodes a request's head; beside it, how long the body is said to be.
pub(super) fn request(
    decoder: &mut Decoder,
    block: &[u8],
    ended: bool,
    rules: Rules,
) -> Result<Result<(Parts, Option<u64>), Fault>, hpack::Bad> {
    let mut lines = Lines::new(block.len(), rules.list);
    decoder.decode(block, &mut |line| lines.take(line))?;
    Ok(lines.into_parts(ended, rules))
}

/// Decodes trailers.
pub(super) fn trailers(
    decoder: &mut Decoder,
    block: &[u8],
    rules: Rules,
) -> Result<Result<Fields, Fault>, hpack::Bad> {
    let mut lines = Lines::new(block.len(), rules.list);
    lines.is_trailer = true;
    decoder.decode(block, &mut |line| lines.take(line))?;
    Ok(match lines.fault {
        Some(fault) => Err(fault),
        None => Ok(lines.into_fields()),
    })
}

impl Lines {
    fn new(block: usize, limit: usize) -> Self {
        Self {
            raw: BytesMut::with_capacity(2 * block + ROOM),
            fields: Fields::over(Bytes::new(), FIELDS),
            limit,
            ..Self::default()
        }
    }

    fn take(&mut self, line: Line<'_>) {
        self.size += line.name.len() + line.value.len() + LINE;
        if self.size > self.limit {
            self.fault = Some(Fault::TooLarge);
        }
        if self.fault.is_some() {
            return;
        }
        let taken = match line.name {
            [b':', ..] => self.control(line.name, line.value),
            _ => self.field(&line),
        };
        if taken.is_none() {
            self.fault = Some(Fault::Malformed);
        }
    }

    /// A pseudo-field (RFC 9113 §8.3): each once, and before all others. None: it may not stand here.
    fn control(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if self.begun || self.is_trailer {
            return None;
        }
        if name == b":method" {
            let fresh = self.method.is_none() && is_token(value);
            return fresh.then(|| self.method = Some(Method::from_token(value)));
        }
        is_value(value).then_some(())?;
        let span = self.put(value);
        let place = match name {
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return None,
        };
        place.replace(span).is_none().then_some(())
    }

    /// Any other field (RFC 9113 §8.2). None: it may not stand in a message of HTTP/2.
    fn field(&mut self, line: &Line<'_>) -> Option<()> {
        self.begun = true;
        (line.is_static || is_name(line.name)).then_some(())?;
        is_value(line.value).then_some(())?;
        if line.id == FieldId::Te {
            line.value.eq_ignore_ascii_case(b"trailers").then_some(())?;
        } else if is_hop_by_hop(line.id) {
            return None;
        } else if line.id == FieldId::ContentLength {
            self.length = self.length.or_else(|| number(line.value));
        } else if line.name == b"cookie" {
            return self.crumb(line);
        }
        self.push(line);
        Some(())
    }

    /// A piece of `cookie`: they are joined (RFC 9113 §8.2.3), at the place of the first.
    fn crumb(&mut self, line: &Line<'_>) -> Option<()> {
        self.cookies += 1;
        if self.cookies == 1 {
            self.push(line);
        } else {
            self.cookie.extend_from_slice(b"; ");
            self.cookie.extend_from_slice(line.value);
        }
        Some(())
    }

    fn push(&mut self, line: &Line<'_>) {
        let name = self.put(line.name);
        let value = self.put(line.value);
        self.fields.push_span(line.id, name, value);
    }

    fn put(&mut self, bytes: &[u8]) -> Span {
        // A list of fields is limited to far less than 4 GiB.
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let at = length(self.raw.len());
        self.raw.extend_from_slice(bytes);
        (at, length(bytes.len()))
    }

    /// The fields, over the bytes gathered.
    fn into_fields(mut self) -> Fields {
        let raw = self.raw.split().freeze();
        self.finish(raw)
    }

    fn finish(self, raw: Bytes) -> Fields {
        let mut fields = self.fields;
        fields.lie_in(raw);
        if self.cookies > 1 {
            let first = fields.get(b"cookie").unwrap_or_default();
            let joined = [first, &self.cookie[..]].concat();
            fields.set("cookie", joined);
        }
        fields
    }

    fn into_parts(mut self, ended: bool, rules: Rules) -> Result<(Parts, Option<u64>), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let method = self.method.take().ok_or(Fault::Malformed)?;
        let is_connect = method == Method::Connect;
        let is_whole = match self.protocol {
            // RFC 8441 §4.
            Some(_) => rules.connect_protocol && is_connect,
            None => true,
        } && match is_connect && self.protocol.is_none() {
            // RFC 9113 §8.5.
            true => self.scheme.is_none() && self.path.is_none(),
            false => self.scheme.is_some() && self.path.is_some_and(|(_, len)| len > 0),
        };
        // What it says it is, it has to be (RFC 9113 §8.1.1).
        if !is_whole || ended && self.length.is_some_and(|length| length > 0) {
            return Err(Fault::Malformed);
        }
        let raw = self.raw.split().freeze();
        let part =
            |span: Option<Span>| span.map(|(at, len)| raw.slice(at as usize..(at + len) as usize));
        let (scheme, authority) = (part(self.scheme), part(self.authority));
        let (path, protocol) = (part(self.path), part(self.protocol));
        let (length, cookies) = (self.length, self.cookies);
        let parts = Parts {
            method,
            scheme,
            authority,
            path,
            protocol,
            fields: self.finish(raw),
            cookies,
            ended,
        };
        Ok((parts, length))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// A name without what makes a message malformed (RFC 9113 §8.2.1); whether it is a token is looked at later.
fn is_name(name: &[u8]) -> bool {
    let is_bad = |byte: u8| !byte.is_ascii_graphic() || byte.is_ascii_uppercase() || byte == b':';
    !name.is_empty() && !name.iter().fold(false, |bad, byte| bad | is_bad(*byte))
}

/// A value without control bytes (RFC 9110 §5.5).
pub(super) fn is_value(value: &[u8]) -> bool {
    // Without an early end, so that it is done by vectors.
    let is_bad = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    !value.iter().fold(false, |bad, byte| bad | is_bad(*byte))
}

/// Whether a field of ours can go out (RFC 9113 §8.2).
pub(super) fn is_sendable(id: FieldId, name: &[u8], value: &[u8]) -> bool {
    let is_name = id != FieldId::Other || is_token(name);
    is_name && !is_hop_by_hop(id) && is_value(value)
}
