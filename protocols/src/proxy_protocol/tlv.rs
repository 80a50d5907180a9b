//! The fields behind the addresses of the second version: a type, a length, a value.

use super::ProxyError;
use crate::reader::Reader;

/// The protocol that the client speaks inside of TLS (ALPN).
pub const ALPN: u8 = 0x01;
/// The name that the client asked for (SNI).
pub const AUTHORITY: u8 = 0x02;
/// The checksum of the whole header.
pub const CRC32C: u8 = 0x03;
/// Nothing: padding.
pub const NOOP: u8 = 0x04;
/// What the connection is called in others' logs, 128 bytes at most.
pub const UNIQUE_ID: u8 = 0x05;
/// The client's TLS: a byte of flags, four of a verdict, and fields of its own.
pub const SSL: u8 = 0x20;
/// Within [`SSL`]: its version.
pub const SSL_VERSION: u8 = 0x21;
/// Within [`SSL`]: the common name of the client's certificate.
pub const SSL_CN: u8 = 0x22;
/// Within [`SSL`]: the cipher suite.
pub const SSL_CIPHER: u8 = 0x23;
/// The name of a network namespace.
pub const NETNS: u8 = 0x30;

/// The flags and the verdict in front of the fields of [`SSL`].
const SSL_HEAD: usize = 5;
const UNIQUE_ID_MAX: usize = 128;

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    /// Its type.
    pub kind: u8,
    /// Its value.
    pub value: Vec<u8>,
}

/// A field as it lies in the block.
pub(super) struct Raw<'a> {
    pub(super) kind: u8,
    pub(super) value: &'a [u8],
    /// Where its value begins.
    pub(super) at: usize,
}

/// Takes the next field. `None` at the end.
pub(super) fn next<'a>(reader: &mut Reader<'a>) -> Result<Option<Raw<'a>>, ProxyError> {
    if reader.is_empty() {
        return Ok(None);
    }
    let mut take = || {
        let kind = reader.u8()?;
        let length = usize::from(reader.u16()?);
        let at = reader.position();
        let value = reader.take(length)?;
        Some(Raw { kind, value, at })
    };
    take().map(Some).ok_or(ProxyError::Tlv)
}

/// Holds a value against its type. Types that nobody has registered may hold anything.
pub(super) fn check(kind: u8, value: &[u8]) -> Result<(), ProxyError> {
    let is_text = |value: &[u8]| {
        let text = std::str::from_utf8(value);
        text.is_ok_and(|text| !text.is_empty() && !text.contains(char::is_control))
    };
    let good = match kind {
        ALPN => !value.is_empty(),
        AUTHORITY | SSL_VERSION | SSL_CN | SSL_CIPHER | NETNS => is_text(value),
        UNIQUE_ID => value.len() <= UNIQUE_ID_MAX,
        CRC32C => value.len() == size_of::<u32>(),
        SSL => return check_ssl(value),
        _ => true,
    };
    if good { Ok(()) } else { Err(ProxyError::Tlv) }
}

fn check_ssl(value: &[u8]) -> Result<(), ProxyError> {
    let mut reader = Reader::new(value);
    reader.skip(SSL_HEAD).ok_or(ProxyError::Tlv)?;
    while let Some(inner) = next(&mut reader)? {
        if inner.kind == SSL {
            return Err(ProxyError::Tlv);
        }
        check(inner.kind, inner.value)?;
    }
    Ok(())
}

/// Whether it may be there once at most.
pub(super) fn is_single(kind: u8) -> bool {
    matches!(kind, ALPN | AUTHORITY | CRC32C | UNIQUE_ID | SSL | NETNS)
}
