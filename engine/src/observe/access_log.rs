//! Access log lines: a format compiled once per snapshot, rendered without allocating beyond the line itself.
//!
//! What comes from the network is escaped, so that nobody can forge a line, leave a quoted field or drive a terminal.
//! The same language gives values to header fields, as a [`Template`].

use std::io::Write as _;

use ringway_config::LogFormat;
use ringway_protocols::message::ResponseHead;

use super::fact::{Datum, Facts, Operator};
use super::operator::{self, Piece};
pub use super::operator::{FormatError, FormatErrorKind, When};
use crate::request::{Record, RequestCx};

/// Envoy's default line.
pub const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"",
);

/// What the lines of an access log say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Layout);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    Text(Vec<Piece>),
    Json(Vec<Member>),
}

/// A member of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// `{"key":` or `,"key":`.
    lead: Vec<u8>,
    value: Vec<Piece>,
}

impl Format {
    /// Compiles a format, or returns all that is wrong with it. Operators of the environment are read now.
    pub fn compile(format: &LogFormat) -> Result<Self, Vec<FormatError>> {
        match format {
            LogFormat::Text(text) => {
                // A line ends by itself; formats made for Envoy end it themselves.
                let text = text.strip_suffix('\n').unwrap_or(text);
                let pieces = operator::compile(text, When::End);
                let pieces = pieces.map_err(|kinds| errors(None, kinds))?;
                Ok(Self(Layout::Text(pieces)))
            }
            LogFormat::Json(members) => compile_json(members),
        }
    }

    /// Whether lines say something of the answer's head, so that it must be kept until they are written.
    pub fn needs_response(&self) -> bool {
        let needs = |pieces: &[Piece]| {
            pieces.iter().any(|piece| match piece {
                Piece::Literal(_) => false,
                Piece::Operator(operator) => operator.needs_response(),
            })
        };
        match &self.0 {
            Layout::Text(pieces) => needs(pieces),
            Layout::Json(members) => members.iter().any(|member| needs(&member.value)),
        }
    }

    /// Appends a line, without its end.
    pub fn render(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let facts = Facts {
            peer: record.peer,
            started_at: record.started_at,
            request: record.request,
            response: record.response,
            outcome: Some(record.outcome),
        };
        match &self.0 {
            Layout::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Operator(operator) => match operator.read(&facts) {
                            None => out.push(b'-'),
                            Some(datum) => write(datum, Escape::Text, out),
                        },
                    }
                }
            }
            Layout::Json(members) => render_json(members, &facts, out),
        }
    }
}

fn errors(key: Option<&str>, kinds: Vec<FormatErrorKind>) -> Vec<FormatError> {
    let with_key = |kind| FormatError {
        key: key.map(str::to_owned),
        kind,
    };
    kinds.into_iter().map(with_key).collect()
}

fn compile_json(members: &[(String, String)]) -> Result<Format, Vec<FormatError>> {
    let mut wrong = Vec::new();
    let mut compiled = Vec::with_capacity(members.len());
    for (at, (key, text)) in members.iter().enumerate() {
        let before = members.get(..at).unwrap_or_default();
        if before.iter().any(|(other, _)| other == key) {
            wrong.extend(errors(Some(key), vec![FormatErrorKind::DuplicateKey]));
        }
        let mut lead = if at == 0 {
            b"{\"".to_vec()
        } else {
            b",\"".to_vec()
        };
        Escape::Json.write(key.as_bytes(), &mut lead);
        lead.extend_from_slice(b"\":");
        match operator::compile(text, When::End) {
            Ok(value) => compiled.push(Member { lead, value }),
            Err(kinds) => wrong.extend(errors(Some(key), kinds)),
        }
    }
    if wrong.is_empty() {
        Ok(Format(Layout::Json(compiled)))
    } else {
        Err(wrong)
    }
}

fn render_json(members: &[Member], facts: &Facts<'_>, out: &mut Vec<u8>) {
    if members.is_empty() {
        out.push(b'{');
    }
    for member in members {
        out.extend_from_slice(&member.lead);
        match member.value.as_slice() {
            [Piece::Operator(operator)] => render_json_value(operator, facts, out),
            pieces => {
                out.push(b'"');
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => Escape::Json.write(text.as_bytes(), out),
                        Piece::Operator(operator) => match operator.read(facts) {
                            None => out.push(b'-'),
                            Some(datum) => write(datum, Escape::Json, out),
                        },
                    }
                }
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
}

/// A value that is one operator keeps its type.
fn render_json_value(operator: &Operator, facts: &Facts<'_>, out: &mut Vec<u8>) {
    match operator.read(facts) {
        None => out.extend_from_slice(b"null"),
        Some(number @ Datum::Number(_)) => write(number, Escape::Json, out),
        Some(datum) => {
            out.push(b'"');
            write(datum, Escape::Json, out);
            out.push(b'"');
        }
    }
}

/// The value of a header field, which may hold operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Compiles a value that is rendered at `when`, or returns all that is wrong with it.
    pub fn compile(text: &str, when: When) -> Result<Self, Vec<FormatError>> {
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(errors(None, vec![FormatErrorKind::ControlCharacter]));
        }
        let pieces = operator::compile(text, when).map_err(|kinds| errors(None, kinds))?;
        Ok(Self(pieces))
    }

    /// The value itself, if it holds no operator.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the value, in which what is missing is empty and a control character of a client's becomes a space: what is
    /// appended is always sound as a field's value (RFC 9110 §5.5).
    pub fn render_value(
        &self,
        request: &RequestCx,
        response: Option<&ResponseHead>,
        out: &mut Vec<u8>,
    ) {
        let facts = Facts {
            peer: &request.peer,
            started_at: request.started_at,
            request: Some(request),
            response,
            outcome: None,
        };
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Operator(operator) => {
                    if let Some(datum) = operator.read(&facts) {
                        write(datum, Escape::Field, out);
                    }
                }
            }
        }
    }
}

/// Where bytes go, and so how they are made harmless.
#[derive(Clone, Copy)]
enum Escape {
    /// A line of text whose fields may be in quotes.
    Text,
    /// Inside a JSON string.
    Json,
    /// A header field's value.
    Field,
}

impl Escape {
    fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text => write_text(bytes, out),
            Self::Json => write_json(bytes, out),
            Self::Field => out.extend(bytes.iter().map(|byte| match byte {
                b'\t' => b'\t',
                0..=0x1f | 0x7f => b' ',
                other => *other,
            })),
        }
    }
}

fn write(datum: Datum<'_>, escape: Escape, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = match datum {
        Datum::Number(number) => {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            Ok(())
        }
        Datum::Bytes(bytes) => {
            escape.write(bytes, out);
            Ok(())
        }
        Datum::Ip(ip) => write!(out, "{ip}"),
        Datum::Socket(socket) => write!(out, "{socket}"),
        Datum::Time(format, time) => {
            // Its format was checked: it holds nothing to escape.
            format.render(time, out);
            Ok(())
        }
    };
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(byte: u8) -> [u8; 2] {
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// Printable ASCII but for quotes and backslashes as it is, all else as `\xNN`.
fn write_text(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&hex(*byte));
            }
            plain => out.push(*plain),
        }
    }
}

/// The inside of a JSON string. Bytes that are no UTF-8 become U+FFFD, control characters of both sets `\u00NN`.
fn write_json(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                control if control.is_control() => {
                    out.extend_from_slice(b"\\u00");
                    // Control characters end at U+009F.
                    out.extend_from_slice(&hex(control as u8));
                }
                plain => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
