//! An upstream's head: RFC 9112 §4.

use bytes::{Bytes, BytesMut};

use super::hop::Options;
use super::rules::{self, Coding, StatusLine};
use super::scan::{Cap, LineScanner};
use super::section::{Kind, Section};
use super::{HeadLimits, Violation, whole};
use crate::Fields;
use crate::message::{Framing, Method, ResponseHead, Version};

/// What an answer begins with, whatever its version.
const PREFIX: &[u8] = b"HTTP/";

/// An answer's head and what follows from it.
#[derive(Clone, Debug)]
pub struct Response {
    /// The head. Fields of one hop are still in it: see [`super::strip_hop_by_hop`]. Boxed, for it goes through many hands.
    pub head: Box<ResponseHead>,
    /// How the body is framed here. `Content-Length` may be another where there is no body: HEAD, 304.
    pub framing: Framing,
    /// Whether another request may be sent on the connection once the body has ended.
    pub keep_alive: bool,
}

impl Response {
    /// Whether another head follows for the same request; a 101 is final.
    pub fn is_interim(&self) -> bool {
        is_interim(self.head.status)
    }
}

fn is_interim(status: u16) -> bool {
    status < 200 && status != 101
}

/// Reads the heads of one connection's answers, one after the other.
#[derive(Debug, Default)]
pub struct ResponseParser {
    scanner: LineScanner,
    interim: u32,
    /// Once the status line is here.
    reading: Option<(StatusLine, Section)>,
}

impl ResponseParser {
    /// Before the first head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a head off the front of `input`, or says that it is not all here yet; then more bytes have to be put behind.
    ///
    /// 1xx heads come out too; the next call reads the head after it. After an error the connection is of no more use.
    pub fn parse(
        &mut self,
        input: &mut BytesMut,
        request: &Method,
        limits: &HeadLimits,
    ) -> Result<Option<Response>, Violation> {
        if self.reading.is_none() {
            // Once a head, so that one that comes in small portions is not read again with each.
            if self.scanner.is_new()
                && let Some(head) = whole::response(input, limits)
            {
                let raw = input.split_to(head.len).freeze();
                let response = finish(head.line, head.section, raw, request)?;
                self.count(&response, limits.interim)?;
                return Ok(Some(response));
            }
            if !self.read_line(input, limits)? {
                return Ok(None);
            }
        }
        let Some((_, section)) = &mut self.reading else {
            return Ok(None);
        };
        if !section.read(input, &mut self.scanner, limits.into(), Kind::Response)? {
            return Ok(None);
        }
        let len = self.scanner.start();
        let Some((line, section)) = self.reading.take() else {
            return Ok(None);
        };
        self.scanner = LineScanner::default();
        let response = finish(line, section, input.split_to(len).freeze(), request)?;
        self.count(&response, limits.interim)?;
        Ok(Some(response))
    }

    /// Reads the status line; says whether it is here.
    fn read_line(&mut self, input: &mut BytesMut, limits: &HeadLimits) -> Result<bool, Violation> {
        // Not HTTP, perhaps without a line end; an empty line too, which no server has reason to send.
        let start = input.get(..PREFIX.len()).unwrap_or(input);
        if !PREFIX.starts_with(start) {
            return Err(Violation::StatusLine);
        }
        let cap = Cap::new(0, limits.start_line, Violation::StartLineTooLong);
        let Some((start, end)) = self.scanner.next(input, cap)? else {
            return Ok(false);
        };
        let line = rules::status_line(input.get(start..end).unwrap_or_default())?;
        self.reading = Some((line, Section::at(self.scanner.start())));
        Ok(true)
    }

    fn count(&mut self, response: &Response, most: u32) -> Result<(), Violation> {
        if !response.is_interim() {
            self.interim = 0;
            return Ok(());
        }
        if self.interim >= most {
            return Err(Violation::InterimFlood);
        }
        self.interim += 1;
        Ok(())
    }
}

/// Holds the parts against each other.
fn finish(
    line: StatusLine,
    section: Section,
    raw: Bytes,
    request: &Method,
) -> Result<Response, Violation> {
    let StatusLine {
        version,
        status,
        reason,
    } = line;
    let (framing, clean) = framing(&section, &line, request)?;
    let connection = section.connection;
    let reason = match raw.get(reason.0..reason.1) {
        Some(_) => raw.slice(reason.0..reason.1),
        None => Bytes::new(),
    };
    let mut fields = section.into_fields(raw);
    drop_announced_length(status, &mut fields);
    let options = match connection {
        true => Options::of(&fields),
        false => Options::default(),
    };
    let persistent = !options.close && (version == Version::Http11 || options.keep_alive);
    Ok(Response {
        framing,
        keep_alive: persistent && clean && framing != Framing::Close,
        head: Box::new(ResponseHead {
            status,
            reason,
            version,
            fields,
        }),
    })
}

/// RFC 9110 §8.6: neither 1xx nor 204 has a `Content-Length`; passed on, it would mislead the next recipient.
pub(crate) fn drop_announced_length(status: u16, fields: &mut Fields) {
    if status < 200 || status == 204 {
        fields.remove(b"content-length");
    }
}

/// RFC 9112 §6.3 for answers, and whether the upstream's next byte is sure to be the next answer's.
fn framing(
    section: &Section,
    line: &StatusLine,
    request: &Method,
) -> Result<(Framing, bool), Violation> {
    let announced = section.coding.is_some() || section.length.is_some_and(|length| length > 0);
    match (section.coding, section.length) {
        (Some(_), _) if line.version == Version::Http10 => Err(Violation::CodingInHttp10),
        (Some(_), Some(_)) => Err(Violation::LengthWithCoding),
        _ if line.status < 200 && announced => Err(Violation::InterimBody),
        _ if line.status < 200 => Ok((Framing::Empty, true)),
        // A body announced for a 204 may well be coming: nothing after the head can be trusted.
        _ if line.status == 204 => Ok((Framing::Empty, !announced)),
        _ if line.status == 304 || *request == Method::Head => Ok((Framing::Empty, true)),
        (Some(Coding::Chunked), None) => Ok((Framing::Chunked, true)),
        (None, Some(0)) => Ok((Framing::Empty, true)),
        (None, Some(length)) => Ok((Framing::Length(length), true)),
        (None, None) => Ok((Framing::Close, true)),
    }
}
