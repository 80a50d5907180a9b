//! Headers read from the front of what has come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc::crc32c;
use super::{
    Ends, HEAD, LINE_MAX, PATH, ProxyError, ProxyHeader, ProxyLimits, ProxyVersion, SIGNATURE, Tlv,
    WORD, tlv,
};
use crate::reader::Reader;

/// Reads the header at the front of `input`, which is all that has come on the connection: the header, and how long it is.
/// `None`: it is not all here yet.
pub fn read(
    input: &[u8],
    limits: &ProxyLimits,
) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let begins = |mark: &[u8]| input.iter().zip(mark).all(|(a, b)| a == b);
    if begins(WORD) {
        line(input, limits)
    } else if begins(SIGNATURE) {
        block(input, limits)
    } else {
        Err(ProxyError::Absent)
    }
}

fn line(input: &[u8], limits: &ProxyLimits) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let limit = limits.header.min(LINE_MAX);
    let here = input.get(..limit).unwrap_or(input);
    let Some(end) = here.iter().position(|byte| *byte == b'\n') else {
        // Nothing but text stands in a line, so that what follows no header is told at once.
        let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r');
        return if !here.iter().all(is_text) {
            Err(ProxyError::Line)
        } else if input.len() >= limit {
            Err(ProxyError::TooLong)
        } else {
            Ok(None)
        };
    };
    let text = here.get(..end).unwrap_or_default();
    let text = text.strip_suffix(b"\r").ok_or(ProxyError::Line)?;
    let is_text = text.iter().all(|byte| (b' '..=b'~').contains(byte));
    let text = std::str::from_utf8(text).ok().filter(|_| is_text);
    let header = ProxyHeader {
        version: ProxyVersion::V1,
        ends: ends_of(text.ok_or(ProxyError::Line)?)?,
        tlvs: Vec::new(),
    };
    Ok(Some((header, end + 1)))
}

/// The addresses of a line without its end.
fn ends_of(line: &str) -> Result<Option<Ends>, ProxyError> {
    let mut words = line.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // Whatever stands behind it is to be ignored.
        return Ok(None);
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, from, to] = words.as_slice() else {
        return Err(ProxyError::Line);
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).ok(),
        "TCP6" => text.parse().map(IpAddr::V6).ok(),
        _ => None,
    };
    if !matches!(family, "TCP4" | "TCP6") {
        return Err(ProxyError::Line);
    }
    let end = |host: &str, number: &str| {
        let host = address(host).ok_or(ProxyError::Address)?;
        let number = port(number).ok_or(ProxyError::Address)?;
        Ok(SocketAddr::new(host, number))
    };
    Ok(Some(Ends::Tcp {
        source: end(source, from)?,
        destination: end(destination, to)?,
    }))
}

/// A port without signs and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| plain && canonical)
}

fn block(input: &[u8], limits: &ProxyLimits) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let mut reader = Reader::new(input);
    if reader.skip(SIGNATURE.len()).is_none() {
        return Ok(None);
    }
    let Some(version) = reader.u8() else {
        return Ok(None);
    };
    if version >> 4 != 2 {
        return Err(ProxyError::Version);
    }
    let is_proxied = match version & 15 {
        0 => false,
        1 => true,
        _ => return Err(ProxyError::Command),
    };
    let Some(kind) = reader.u8() else {
        return Ok(None);
    };
    let family = Family::of(kind)?;
    let Some(length) = reader.u16() else {
        return Ok(None);
    };
    let total = HEAD + usize::from(length);
    if total > limits.header {
        return Err(ProxyError::TooLong);
    }
    let Some(whole) = input.get(..total) else {
        return Ok(None);
    };
    let mut header = ProxyHeader {
        version: ProxyVersion::V2,
        ends: None,
        tlvs: Vec::new(),
    };
    // What the proxy itself does, and what it knows nothing of, says nothing: the rest of the block is to be passed over.
    if is_proxied && family != Family::None {
        let mut rest = Reader::starting_at(whole, HEAD);
        header.ends = Some(family.ends(&mut rest).ok_or(ProxyError::Length)?);
        header.tlvs = fields(&mut rest, whole)?;
    }
    Ok(Some((header, total)))
}

/// What the addresses of a block are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    None,
    V4,
    V6,
    Unix,
}

impl Family {
    fn of(byte: u8) -> Result<Self, ProxyError> {
        // The lower half is the transport: 1 is a stream.
        match byte {
            0x00 => Ok(Self::None),
            0x11 => Ok(Self::V4),
            0x21 => Ok(Self::V6),
            0x31 => Ok(Self::Unix),
            _ => Err(ProxyError::Family),
        }
    }

    fn ends(self, reader: &mut Reader<'_>) -> Option<Ends> {
        let (source, destination) = match self {
            Self::None => return None,
            Self::V4 => {
                let mut address = || Some(IpAddr::V4(Ipv4Addr::from(reader.u32()?)));
                (address()?, address()?)
            }
            Self::V6 => {
                let mut address = || {
                    let (high, low) = (reader.u64()?, reader.u64()?);
                    let bits = u128::from(high) << 64 | u128::from(low);
                    Some(IpAddr::V6(Ipv6Addr::from(bits)))
                };
                (address()?, address()?)
            }
            Self::Unix => {
                let mut path = || Some(path(reader.take(PATH)?));
                return Some(Ends::Unix {
                    source: path()?,
                    destination: path()?,
                });
            }
        };
        Some(Ends::Tcp {
            source: SocketAddr::new(source, reader.u16()?),
            destination: SocketAddr::new(destination, reader.u16()?),
        })
    }
}

/// Up to the first NUL. A name of the abstract kind begins with one.
fn path(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes
        .get(..end.unwrap_or(bytes.len()))
        .unwrap_or_default()
        .to_vec()
}

fn fields(reader: &mut Reader<'_>, whole: &[u8]) -> Result<Vec<Tlv>, ProxyError> {
    let mut tlvs = Vec::new();
    let mut seen = [false; 256];
    while let Some(raw) = tlv::next(reader)? {
        tlv::check(raw.kind, raw.value)?;
        let before = seen.get_mut(usize::from(raw.kind));
        let before = before.is_some_and(|seen| std::mem::replace(seen, true));
        if before && tlv::is_single(raw.kind) {
            return Err(ProxyError::DuplicateTlv);
        }
        match raw.kind {
            tlv::NOOP => {}
            tlv::CRC32C => checked(raw.value, whole, raw.at)?,
            kind => tlvs.push(Tlv {
                kind,
                value: raw.value.to_vec(),
            }),
        }
    }
    Ok(tlvs)
}

/// The sum is that of the header with zeros in its own place.
fn checked(value: &[u8], whole: &[u8], at: usize) -> Result<(), ProxyError> {
    let end = at + size_of::<u32>();
    let parts = [
        whole.get(..at).unwrap_or_default(),
        &[0; size_of::<u32>()],
        whole.get(end..).unwrap_or_default(),
    ];
    if crc32c(&parts).to_be_bytes() == value {
        Ok(())
    } else {
        Err(ProxyError::Checksum)
    }
}
