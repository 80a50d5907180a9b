//! A client's head: RFC 9112 §3.

use bytes::{Buf, Bytes, BytesMut};

use super::hop::{self, Options};
use super::rules::{self, Coding, RequestLine, Target};
use super::scan::{Cap, LineScanner};
use super::section::{Kind, Section};
use super::{HeadLimits, Violation, whole};
use crate::message::{Framing, Method, RequestHead, Version};
use crate::{FieldId, Fields};

/// RFC 9112 §2.2 asks for one at least: old clients send one after a body. More is harmless while it is not a flood.
const BLANK_LINES_MAX: u8 = 100;

/// The scheme of an absolute-form target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scheme {
    Http,
    Https,
}

/// A request's head and what follows from it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The head. Fields of one hop are still in it: see [`super::strip_hop_by_hop`].
    pub head: RequestHead,
    /// Never [`Framing::Close`].
    pub framing: Framing,
    /// Whether the client may send another request on the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body; `Expect` is among the fields only if so.
    pub expect_continue: bool,
    /// What to upgrade to, if the client asks for it and `Connection` says so. Never `h2c`: RFC 9113 §3.1 took it back, and
    /// passed on it is a way around the proxy's rules.
    pub upgrade: Option<Bytes>,
    /// Whether the client takes trailers (`TE: trailers`).
    pub te_trailers: bool,
    /// The scheme, if the target was in absolute-form.
    pub scheme: Option<Scheme>,
}

/// Reads the heads of one connection's requests, one after the other.
#[derive(Debug, Default)]
pub struct RequestParser {
    scanner: LineScanner,
    blank_lines: u8,
    /// Once the request line is here.
    reading: Option<(RequestLine, Section)>,
}

impl RequestParser {
    /// Before the first head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a head off the front of `input`, or says that it is not all here yet; then more bytes have to be put behind.
    ///
    /// After an error the connection is of no more use, and so is this.
    pub fn parse(
        &mut self,
        input: &mut BytesMut,
        limits: &HeadLimits,
    ) -> Result<Option<Request>, Violation> {
        if self.reading.is_none() {
            // Once a head, so that one that comes in small portions is not read again with each.
            if self.scanner.is_new()
                && let Some(head) = whole::request(input, limits)
            {
                self.blank_lines = 0;
                let raw = input.split_to(head.len).freeze();
                return finish(head.line, head.section, raw).map(Some);
            }
            if !self.read_line(input, limits)? {
                return Ok(None);
            }
        }
        let Some((_, section)) = &mut self.reading else {
            return Ok(None);
        };
        if !section.read(input, &mut self.scanner, limits.into(), Kind::Request)? {
            return Ok(None);
        }
        let len = self.scanner.start();
        let Some((line, section)) = self.reading.take() else {
            return Ok(None);
        };
        *self = Self::default();
        finish(line, section, input.split_to(len).freeze()).map(Some)
    }

    /// Reads the request line, dropping empty lines before it; says whether it is here.
    fn read_line(&mut self, input: &mut BytesMut, limits: &HeadLimits) -> Result<bool, Violation> {
        loop {
            match input.first() {
                // Not a method: another protocol, which may never send a line end.
                Some(byte) if !rules::is_tchar(*byte) && !b"\r\n\0".contains(byte) => {
                    return Err(Violation::Method);
                }
                Some(_) | None => {}
            }
            let cap = Cap::new(0, limits.start_line, Violation::StartLineTooLong);
            let Some((start, end)) = self.scanner.next(input, cap)? else {
                return Ok(false);
            };
            if start < end {
                let line = rules::request_line(input.get(start..end).unwrap_or_default())?;
                self.reading = Some((line, Section::at(self.scanner.start())));
                return Ok(true);
            }
            if self.blank_lines >= BLANK_LINES_MAX {
                return Err(Violation::BlankLines);
            }
            self.blank_lines += 1;
            input.advance(self.scanner.start());
            self.scanner = LineScanner::default();
        }
    }
}

/// Holds the parts against each other.
fn finish(line: RequestLine, section: Section, raw: Bytes) -> Result<Request, Violation> {
    let RequestLine {
        method,
        version,
        target,
    } = line;
    let host = host(section.host, version, &raw)?;
    let (scheme, authority, target) = target_parts(&method, &raw, target, host)?;
    let framing = framing(&section, version)?;
    let (connection, expect, te) = (section.connection, section.expect, section.te);
    let mut fields = section.into_fields(raw);
    let options = match connection {
        true => Options::of(&fields),
        false => Options::default(),
    };
    let expects = expect && expectation(&fields)?;
    let is_11 = version == Version::Http11;
    // RFC 9110 §10.1.1: it means nothing in HTTP/1.0 and without a body; passed on, it would draw a 100 that nobody waits for.
    let expect_continue = expects && is_11 && framing != Framing::Empty;
    if expects && !expect_continue {
        fields.remove(b"expect");
    }
    let upgrade = match options.upgrade && is_11 {
        true => upgrade(&fields),
        false => None,
    };
    Ok(Request {
        framing,
        keep_alive: !options.close && (is_11 || options.keep_alive),
        expect_continue,
        upgrade,
        te_trailers: te && is_11 && hop::names(&fields, FieldId::Te, b"trailers"),
        scheme,
        head: RequestHead {
            method,
            target,
            authority,
            version,
            fields,
        },
    })
}

fn slice(raw: &Bytes, (from, to): (usize, usize)) -> Bytes {
    // `Bytes::slice` panics beyond the end; the spans come from the same bytes.
    match raw.get(from..to) {
        Some(_) => raw.slice(from..to),
        None => Bytes::new(),
    }
}

/// RFC 9112 §3.2: one `Host` and a good one, even where an absolute-form target overrules it; HTTP/1.0 may have none.
fn host(span: Option<(usize, usize)>, version: Version, raw: &Bytes) -> Result<Bytes, Violation> {
    match span {
        Some((from, to)) => match rules::authority(raw.get(from..to).unwrap_or_default()) {
            true => Ok(slice(raw, (from, to))),
            false => Err(Violation::HostInvalid),
        },
        None if version == Version::Http10 => Ok(Bytes::new()),
        None => Err(Violation::HostMissing),
    }
}

/// The scheme if the target says one, the authority, and the target in origin-form or asterisk-form.
fn target_parts(
    method: &Method,
    raw: &Bytes,
    span: (usize, usize),
    host: Bytes,
) -> Result<(Option<Scheme>, Bytes, Bytes), Violation> {
    let text = raw.get(span.0..span.1).unwrap_or_default();
    match rules::target(method, text)? {
        Target::Origin | Target::Asterisk => Ok((None, host, slice(raw, span))),
        Target::Absolute {
            scheme,
            authority: (from, to),
            path,
        } => {
            let authority = slice(raw, (span.0 + from, span.0 + to));
            let tail = (span.0 + to, span.1);
            let target = match (path, tail.0 == tail.1) {
                (true, _) => slice(raw, tail),
                // RFC 9112 §3.2.4: `OPTIONS http://host` is what a client makes of `OPTIONS *` for a proxy.
                (false, true) if *method == Method::Options => Bytes::from_static(b"*"),
                (false, true) => Bytes::from_static(b"/"),
                (false, false) => {
                    let mut target = BytesMut::from(&b"/"[..]);
                    target.extend_from_slice(raw.get(tail.0..tail.1).unwrap_or_default());
                    target.freeze()
                }
            };
            Ok((Some(scheme), authority, target))
        }
    }
}

/// RFC 9112 §6.3 for requests.
fn framing(section: &Section, version: Version) -> Result<Framing, Violation> {
    match (section.coding, section.length) {
        (Some(_), _) if version == Version::Http10 => Err(Violation::CodingInHttp10),
        (Some(_), Some(_)) => Err(Violation::LengthWithCoding),
        (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
        (None, Some(0) | None) => Ok(Framing::Empty),
        (None, Some(length)) => Ok(Framing::Length(length)),
    }
}

/// RFC 9110 §10.1.1: whether there is the one expectation that exists, and no other.
fn expectation(fields: &Fields) -> Result<bool, Violation> {
    let mut values = fields.all_known(FieldId::Expect);
    match values.all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(true),
        false => Err(Violation::Expectation),
    }
}

/// What `Upgrade` asks for, all its lines joined as RFC 9110 §5.3 has it.
fn upgrade(fields: &Fields) -> Option<Bytes> {
    if hop::names(fields, FieldId::Upgrade, b"h2c") {
        return None;
    }
    let mut joined = BytesMut::new();
    for value in fields.all_known(FieldId::Upgrade) {
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(value);
    }
    match joined.is_empty() {
        true => None,
        false => Some(joined.freeze()),
    }
}
