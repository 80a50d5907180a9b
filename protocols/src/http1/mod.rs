//! HTTP/1, both sides, without a socket: bytes in, heads and pieces of bodies out, and back.
//!
//! There are two readers of heads, and one set of rules (`rules`). A head that is all here when it is first looked at, and right,
//! is taken apart by `httparse` in one pass (`whole`). Any other is read line by line as the bytes come, each byte once, within
//! its limits, and refused at the first byte that breaks a rule (`scan`, `section`): `httparse` takes bare line feeds, knows no
//! limits, and tells too few of its errors apart for a counter per rule.

mod body;
mod hop;
mod request;
mod response;
mod rules;
mod scan;
mod section;
#[cfg(test)]
mod tests;
mod violation;
mod whole;
mod write;

pub(crate) use rules::{
    authority as is_authority, field_name, is_forbidden_trailer, is_token, path_and_query,
    unambiguous,
};

pub use body::{BodyDecoder, BodyLimits, Piece};
pub use hop::{is_hop_by_hop, strip_hop_by_hop, switches_as_asked};
pub use request::{Request, RequestParser, Scheme};
pub(crate) use response::drop_announced_length;
pub use response::{Response, ResponseParser};
pub use violation::Violation;
pub use write::{
    LAST_CHUNK, end_head, reason, write_chunk_header, write_field, write_field_number,
    write_request_head, write_request_line, write_response_head, write_status_line, write_trailers,
};

/// Limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line or status line, without its end.
    pub start_line: usize,
    /// Bytes of one field line, without its end.
    pub field: usize,
    /// Bytes of all field lines, with their ends.
    pub fields_total: usize,
    /// How many field lines.
    pub fields: usize,
    /// How many interim answers before the final one.
    pub interim: u32,
}

impl Default for HeadLimits {
    /// What browsers' largest heads (cookies, long queries) fit into twice over; RFC 9112 §3 asks for 8000 bytes of request line.
    fn default() -> Self {
        Self {
            start_line: 16 << 10,
            field: 16 << 10,
            fields_total: 64 << 10,
            fields: 128,
            interim: 64,
        }
    }
}
