//! A section of field lines, read as they come: of a head, or of a trailer.

use bytes::Bytes;

use super::rules::{self, Coding};
use super::scan::{Cap, LineScanner};
use super::{HeadLimits, Violation};
use crate::{FieldId, Fields};

/// Most heads have fewer fields, so that the list is allocated once.
const FIELDS_EXPECTED: usize = 12;

/// Room for a few that routes and filters add.
const FIELDS_ADDED: usize = 4;

/// Of what: the rules differ in a few places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A client's head: `Host` is taken out.
    Request,
    /// An upstream's head.
    Response,
    /// What follows a chunked body: nothing in it says anything of the message.
    Trailers,
}

/// The limits of a section, and what it is to break them.
#[derive(Clone, Copy)]
pub(super) struct SectionLimits {
    pub(super) field: usize,
    pub(super) total: usize,
    pub(super) count: usize,
    pub(super) too_long: Violation,
    pub(super) too_many: Violation,
}

impl From<&HeadLimits> for SectionLimits {
    fn from(limits: &HeadLimits) -> Self {
        Self {
            field: limits.field,
            total: limits.fields_total,
            count: limits.fields,
            too_long: Violation::FieldsTooLong,
            too_many: Violation::FieldsTooMany,
        }
    }
}

/// A part of the read buffer and where it lies there.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) at: usize,
    text: &'a [u8],
}

impl<'a> Part<'a> {
    /// A slice of `input`.
    pub(super) fn new(input: &[u8], text: &'a [u8]) -> Self {
        Self {
            at: offset(input, text),
            text,
        }
    }

    fn span(self) -> Option<(u32, u32)> {
        let len = u32::try_from(self.text.len()).ok()?;
        Some((u32::try_from(self.at).ok()?, len))
    }
}

/// Where a slice of `input` begins in it. One of other bytes would give a number that is of no use, and no more harm.
pub(super) fn offset(input: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr().wrapping_sub(input.as_ptr().addr())
}

/// The fields so far, as spans of bytes that are still in the read buffer.
#[derive(Debug, Default)]
pub(super) struct Section {
    fields: Fields,
    /// Where the section begins.
    start: usize,
    /// Field lines so far, `Host` too.
    count: usize,
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// `Transfer-Encoding`.
    pub(super) coding: Option<Coding>,
    /// Where the value of `Host` lies.
    pub(super) host: Option<(usize, usize)>,
    /// Whether there is a `Connection`.
    pub(super) connection: bool,
    /// Whether there is an `Expect`.
    pub(super) expect: bool,
    /// Whether there is a `TE`.
    pub(super) te: bool,
}

impl Section {
    /// A section that begins at that offset.
    pub(super) fn at(start: usize) -> Self {
        Self::expecting(start, FIELDS_EXPECTED)
    }

    /// A section that begins at that offset and has so many lines.
    pub(super) fn expecting(start: usize, lines: usize) -> Self {
        Self {
            fields: Fields::over(Bytes::new(), lines + FIELDS_ADDED),
            start,
            count: 0,
            length: None,
            coding: None,
            host: None,
            connection: false,
            expect: false,
            te: false,
        }
    }

    /// Where it begins.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Reads lines up to the empty one; says whether it was reached.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        scanner: &mut LineScanner,
        limits: SectionLimits,
        kind: Kind,
    ) -> Result<bool, Violation> {
        loop {
            let cap = self.cap(scanner.start(), limits);
            let Some((start, end)) = scanner.next(input, cap)? else {
                return Ok(false);
            };
            if start == end {
                return Ok(true);
            }
            if self.count >= limits.count {
                return Err(limits.too_many);
            }
            self.count += 1;
            let line = input.get(start..end).unwrap_or_default();
            let field = rules::field(line)?;
            let value = line.get(field.value.0..field.value.1);
            let name = Part {
                at: start,
                text: line.get(..field.name).unwrap_or_default(),
            };
            let value = Part {
                at: start + field.value.0,
                text: value.unwrap_or_default(),
            };
            self.add(name, value, limits, kind)?;
        }
    }

    /// The fields, over the bytes in which they lie.
    pub(super) fn into_fields(mut self, raw: Bytes) -> Fields {
        self.fields.lie_in(raw);
        self.fields
    }

    fn cap(&self, start: usize, limits: SectionLimits) -> Cap {
        Cap::new(start, limits.field, Violation::FieldTooLong).or(Cap::new(
            self.start,
            limits.total,
            limits.too_long,
        ))
    }

    /// Takes a field that is well-formed beside those before it.
    // For each field of each head: the call costs as much as what is done.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        name: Part<'_>,
        value: Part<'_>,
        limits: SectionLimits,
        kind: Kind,
    ) -> Result<(), Violation> {
        let id = FieldId::of(name.text);
        match id {
            _ if kind == Kind::Trailers => {}
            FieldId::ContentLength => rules::length(&mut self.length, value.text)?,
            FieldId::TransferEncoding => rules::coding(&mut self.coding, value.text)?,
            FieldId::Host if kind == Kind::Request => {
                if self.host.is_some() {
                    return Err(Violation::HostDuplicate);
                }
                self.host = Some((value.at, value.at + value.text.len()));
                return Ok(());
            }
            FieldId::Connection => self.connection = true,
            FieldId::Expect => self.expect = true,
            FieldId::Te => self.te = true,
            FieldId::Other if kind == Kind::Request => rules::unambiguous(name.text)?,
            FieldId::ContentType
            | FieldId::Date
            | FieldId::Host
            | FieldId::KeepAlive
            | FieldId::ProxyAuthenticate
            | FieldId::ProxyConnection
            | FieldId::Server
            | FieldId::Trailer
            | FieldId::Upgrade
            | FieldId::UserAgent
            | FieldId::Via
            | FieldId::XEnvoyUpstreamRqTimeoutMs
            | FieldId::XForwardedClientCert
            | FieldId::XForwardedFor
            | FieldId::XForwardedHost
            | FieldId::XForwardedProto
            | FieldId::XRequestId
            | FieldId::Other => {}
        }
        let (Some(name), Some(value)) = (name.span(), value.span()) else {
            return Err(limits.too_long);
        };
        self.fields.push_span(id, name, value);
        Ok(())
    }
}
