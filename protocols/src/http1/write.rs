//! Heads, chunks and trailers as bytes. What is written has been parsed by the rules, or comes from the configuration.

use bytes::{BufMut, BytesMut};

use crate::message::Method;
use crate::{Field, Fields};

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes `METHOD target HTTP/1.1 CRLF`: our own version, whatever the client's (RFC 9110 §2.5).
pub fn write_request_line(out: &mut BytesMut, method: &Method, target: &[u8]) {
    let method = method.as_bytes();
    out.reserve(method.len() + target.len() + 12);
    out.put_slice(method);
    out.put_u8(b' ');
    out.put_slice(target);
    out.put_slice(b" HTTP/1.1\r\n");
}

/// Writes a whole request head, `Host` first (RFC 9110 §7.2), the empty line too.
pub fn write_request_head<'a>(
    out: &mut BytesMut,
    method: &Method,
    target: &[u8],
    authority: &[u8],
    fields: impl Iterator<Item = Field<'a>>,
) {
    write_request_line(out, method, target);
    write_field(out, b"Host", authority);
    fields.for_each(|field| field.write(out));
    end_head(out);
}

/// Writes `HTTP/1.1 status reason CRLF`. The space before a missing reason is of the grammar.
pub fn write_status_line(out: &mut BytesMut, status: u16, reason: &[u8]) {
    out.reserve(reason.len() + 18);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(itoa::Buffer::new().format(status).as_bytes());
    out.put_u8(b' ');
    out.put_slice(reason);
    out.put_slice(b"\r\n");
}

/// Writes a whole answer's head, the empty line too.
pub fn write_response_head<'a>(
    out: &mut BytesMut,
    status: u16,
    reason: &[u8],
    fields: impl Iterator<Item = Field<'a>>,
) {
    write_status_line(out, status, reason);
    fields.for_each(|field| field.write(out));
    end_head(out);
}

/// Writes `name: value CRLF`.
pub fn write_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Writes `name: number CRLF`.
pub fn write_field_number(out: &mut BytesMut, name: &[u8], number: u64) {
    write_field(out, name, itoa::Buffer::new().format(number).as_bytes());
}

/// Writes the empty line after a head's fields.
pub fn end_head(out: &mut BytesMut) {
    out.put_slice(b"\r\n");
}

/// Writes the line before a chunk's data. The data follow, then CRLF. A chunk of no bytes would end the body: none is written.
pub fn write_chunk_header(out: &mut BytesMut, len: usize) {
    const DIGITS: usize = 16;
    if len == 0 {
        return;
    }
    let mut line = [b'0'; DIGITS];
    let mut rest = len;
    let mut used = 0;
    for place in line.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *place = hex_digit(rest);
        rest >>= 4;
        used += 1;
    }
    out.reserve(used + 2);
    out.put_slice(line.get(DIGITS - used..).unwrap_or_default());
    out.put_slice(b"\r\n");
}

fn hex_digit(number: usize) -> u8 {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    DIGITS.get(number & 15).copied().unwrap_or(b'0')
}

/// Writes the end of a chunked body: the last chunk, the trailer fields, the empty line.
pub fn write_trailers(out: &mut BytesMut, trailers: Option<&Fields>) {
    out.put_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.iter().for_each(|field| field.write(out));
    }
    end_head(out);
}

/// The reason phrase of a status (RFC 9110 §15 and the registry), empty if it has none.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400..=499 => client_error(status),
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

fn client_error(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_written_as_the_rfc_has_them() {
        let mut fields = Fields::new();
        fields.push("X-A", "1");
        let mut out = BytesMut::new();
        write_request_head(&mut out, &Method::Get, b"/a?b", b"h.test", fields.iter());
        write_response_head(&mut out, 204, b"No Content", fields.iter());
        write_status_line(&mut out, 200, b"");
        write_field_number(&mut out, b"Content-Length", u64::MAX);
        assert_eq!(
            out,
            "GET /a?b HTTP/1.1\r\nHost: h.test\r\nX-A: 1\r\n\r\n\
             HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n\
             HTTP/1.1 200 \r\nContent-Length: 18446744073709551615\r\n"
        );
    }

    #[test]
    fn chunks_are_written_as_the_rfc_has_them() {
        let mut out = BytesMut::new();
        for len in [0, 1, 15, 16, 0xabcd, usize::MAX] {
            write_chunk_header(&mut out, len);
        }
        let mut trailers = Fields::new();
        trailers.push("X-Sum", "1");
        write_trailers(&mut out, Some(&trailers));
        write_trailers(&mut out, None);
        assert_eq!(
            out,
            "1\r\nf\r\n10\r\nabcd\r\nffffffffffffffff\r\n0\r\nX-Sum: 1\r\n\r\n0\r\n\r\n"
        );
    }
}
