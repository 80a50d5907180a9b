//! A head that is all here at the first look, as nearly all are: `httparse` takes it apart with its vector loops, in one pass.
//!
//! `httparse` is lenient where we are not, and knows nothing of limits and framing, so that its tokens go through our rules:
//!
//! - it takes a bare line feed for a line end: each line's last two bytes are looked at;
//! - it skips empty lines before the head: the head has to begin with the first byte;
//! - it takes other bytes in a target, and any status: the same `rules` settle both as for a head that comes in portions;
//! - it gives no reason phrase that is not ASCII: only where the phrase begins and ends is taken from it.
//!
//! Whatever is not beyond doubt gives `None`, an error too, and nothing has happened: the reader of lines, which tells the rules
//! apart and knows which is broken first, then reads the same bytes and has the say. So a head is accepted here only if that one
//! accepts it, with the same fields; a test holds the two together.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::HeadLimits;
use super::rules::{self, RequestLine, StatusLine};
use super::section::{Kind, Part, Section, offset};
use crate::message::{Method, Version};

/// Fields for which there is room on the stack (2 KiB of it); a head with more is rare enough for the slower reader.
const FIELDS_MAX: usize = 64;

/// Room that is not cleared: most of it is never used.
type Headers<'a> = [MaybeUninit<Header<'a>>; FIELDS_MAX];

/// A head, taken apart.
pub(super) struct Whole<Line> {
    pub(super) line: Line,
    pub(super) section: Section,
    /// Bytes of the head, its empty line too.
    pub(super) len: usize,
}

/// Reads a request's head if it is all here and beyond doubt.
pub(super) fn request(input: &[u8], limits: &HeadLimits) -> Option<Whole<RequestLine>> {
    let mut headers: Headers<'_> = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut []);
    let Ok(Status::Complete(len)) = head.parse_with_uninit_headers(input, &mut headers) else {
        return None;
    };
    let (method, path, version) = (head.method?, head.path?, head.version?);
    if offset(input, method.as_bytes()) != 0 || method == "PRI" {
        return None;
    }
    let section = fields(input, len, head.headers, limits, Kind::Request)?;
    let target = offset(input, path.as_bytes());
    let line = RequestLine {
        method: Method::from_token(method.as_bytes()),
        version: self::version(version)?,
        target: (target, target + path.len()),
    };
    Some(Whole { line, section, len })
}

/// Reads an answer's head if it is all here and beyond doubt.
pub(super) fn response(input: &[u8], limits: &HeadLimits) -> Option<Whole<StatusLine>> {
    if input.first() != Some(&b'H') {
        return None;
    }
    let mut headers: Headers<'_> = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut []);
    let Ok(Status::Complete(len)) = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut head, input, &mut headers)
    else {
        return None;
    };
    let (version, status) = (self::version(head.version?)?, head.code?);
    if !rules::is_status(status) {
        return None;
    }
    let section = fields(input, len, head.headers, limits, Kind::Response)?;
    let line = StatusLine {
        version,
        status,
        reason: rules::reason(section.start().saturating_sub(2)),
    };
    Some(Whole { line, section, len })
}

/// Puts the fields through the rules, and what lies between them.
fn fields(
    input: &[u8],
    len: usize,
    headers: &[Header<'_>],
    limits: &HeadLimits,
    kind: Kind,
) -> Option<Section> {
    let last = line_end(input, len)?;
    let first = headers.first();
    let start = first.map_or(last, |header| offset(input, header.name.as_bytes()));
    if last.checked_sub(start)? > limits.fields_total || headers.len() > limits.fields {
        return None;
    }
    let mut section = Section::expecting(start, headers.len());
    let section_limits = limits.into();
    // Each line's end is known where the next begins.
    let (mut from, mut limit) = (0, limits.start_line);
    for header in headers {
        let name = Part::new(input, header.name.as_bytes());
        let value = Part::new(input, header.value);
        if line_end(input, name.at)?.checked_sub(from)? > limit {
            return None;
        }
        section.add(name, value, section_limits, kind).ok()?;
        (from, limit) = (name.at, limits.field);
    }
    if line_end(input, last)?.checked_sub(from)? > limit {
        return None;
    }
    Some(section)
}

/// The end of the line before the one that begins there, if it is a whole CRLF.
fn line_end(input: &[u8], next: usize) -> Option<usize> {
    let end = next.checked_sub(2)?;
    (input.get(end..next)? == b"\r\n").then_some(end)
}

/// `httparse` takes no minor version but these two.
fn version(minor: u8) -> Option<Version> {
    match minor {
        0 => Some(Version::Http10),
        1 => Some(Version::Http11),
        _ => None,
    }
}
