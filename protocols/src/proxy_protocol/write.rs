//! Headers for the servers behind.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use super::crc::crc32c;
use super::{Ends, HEAD, PATH, ProxyVersion, SIGNATURE, Tlv, tlv};

/// The client's TLS, for a field of the second version.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ssl<'a> {
    /// The version, as `TLSv1.3`.
    pub version: Option<&'a str>,
    /// The cipher suite.
    pub cipher: Option<&'a str>,
    /// The client showed a certificate, and it was found good.
    pub verified: bool,
    /// The common name in it.
    pub common_name: Option<&'a str>,
}

impl Ssl<'_> {
    /// As a field.
    pub fn tlv(&self) -> Tlv {
        // 1: the client speaks TLS; 2: it showed a certificate on this connection; 4: in this session. Verdict 0: it is good.
        let flags = if self.verified { 1 | 2 | 4 } else { 1 };
        let mut value = vec![flags];
        value.extend_from_slice(&u32::from(!self.verified).to_be_bytes());
        let inner = [
            (tlv::SSL_VERSION, self.version),
            (tlv::SSL_CN, self.common_name),
            (tlv::SSL_CIPHER, self.cipher),
        ];
        for (kind, text) in inner {
            if let Some(text) = text.filter(|text| tlv::check(kind, text.as_bytes()).is_ok()) {
                // One that is too long for a field is none of those that there are.
                let _fits = push(&mut value, kind, text.as_bytes());
            }
        }
        Tlv {
            kind: tlv::SSL,
            value,
        }
    }
}

/// More than the second version's length can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of a PROXY header are longer than 64 KiB")
    }
}

impl std::error::Error for TooMuch {}

/// The header of a connection for a client: `ends`, and with the second version these fields, and a checksum if it is wanted. Where
/// nothing is known of its ends there are no fields either: receivers pass over them.
pub fn write(
    version: ProxyVersion,
    ends: Option<&Ends>,
    tlvs: &[Tlv],
    checksum: bool,
) -> Result<Vec<u8>, TooMuch> {
    match version {
        ProxyVersion::V1 => Ok(line(ends)),
        ProxyVersion::V2 => block(ends, tlvs, checksum),
    }
}

/// The header of a connection of the proxy's own, such as a health check.
pub fn write_local(version: ProxyVersion) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => line(None),
        ProxyVersion::V2 => {
            let mut out = SIGNATURE.to_vec();
            out.extend_from_slice(&[0x20, 0, 0, 0]);
            out
        }
    }
}

/// Both ends in one family: an IPv4 address among IPv6 ones is written as theirs.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(four) => SocketAddr::new(four.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (mapped(source), mapped(destination))
}

fn line(ends: Option<&Ends>) -> Vec<u8> {
    let Some(Ends::Tcp {
        source,
        destination,
    }) = ends
    else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (source, destination) = same_family(*source, *destination);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    out.into_bytes()
}

fn block(ends: Option<&Ends>, tlvs: &[Tlv], checksum: bool) -> Result<Vec<u8>, TooMuch> {
    let mut out = SIGNATURE.to_vec();
    out.extend_from_slice(&[0x21, 0, 0, 0]);
    let family = addresses(&mut out, ends);
    let is_known = ends.is_some();
    for tlv in tlvs.iter().filter(|_| is_known) {
        push(&mut out, tlv.kind, &tlv.value)?;
    }
    let checksum = checksum && is_known;
    if checksum {
        push(&mut out, tlv::CRC32C, &[0; size_of::<u32>()])?;
    }
    let length = u16::try_from(out.len() - HEAD).map_err(|_long| TooMuch)?;
    let [high, low] = length.to_be_bytes();
    if let Some(kind) = out.get_mut(HEAD - 3..HEAD) {
        kind.copy_from_slice(&[family, high, low]);
    }
    if checksum {
        let sum = crc32c(&[&out]).to_be_bytes();
        let at = out.len() - sum.len();
        if let Some(place) = out.get_mut(at..) {
            place.copy_from_slice(&sum);
        }
    }
    Ok(out)
}

/// Appends the addresses; returns the byte of their family and transport.
fn addresses(out: &mut Vec<u8>, ends: Option<&Ends>) -> u8 {
    match ends {
        None => 0,
        Some(Ends::Unix {
            source,
            destination,
        }) => {
            for path in [source, destination] {
                let path = path.get(..PATH).unwrap_or(path);
                let end = out.len() + PATH;
                out.extend_from_slice(path);
                out.resize(end, 0);
            }
            0x31
        }
        Some(Ends::Tcp {
            source,
            destination,
        }) => {
            let (source, destination) = same_family(*source, *destination);
            for end in [source, destination] {
                match end.ip() {
                    IpAddr::V4(four) => out.extend_from_slice(&four.octets()),
                    IpAddr::V6(six) => out.extend_from_slice(&six.octets()),
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
            if source.is_ipv4() { 0x11 } else { 0x21 }
        }
    }
}

fn push(out: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), TooMuch> {
    let length = u16::try_from(value.len()).map_err(|_long| TooMuch)?;
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}
