//! What a peer may send, rule by rule. Strict where two parsers could disagree, lenient nowhere by accident.

mod authority;
mod charset;
mod chunk;
mod field;
mod framing;
mod line;

pub(crate) use authority::authority;
pub(super) use charset::is_tchar;
pub(crate) use charset::is_token;
pub(super) use chunk::chunk_line;
pub(super) use field::field;
pub(crate) use field::{is_forbidden_trailer, name as field_name, unambiguous};
pub(super) use framing::{Coding, coding, length};
pub(crate) use line::path_and_query;
pub(super) use line::{
    RequestLine, StatusLine, Target, is_status, reason, request_line, status_line, target,
};
