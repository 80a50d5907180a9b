//! The body of a ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

use super::{HelloError, HelloLimits, MAJOR, name};

/// `server_name` (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
/// `application_layer_protocol_negotiation` (RFC 7301).
const ALPN: u16 = 16;
/// `supported_versions` (RFC 8446 §4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;
/// `legacy_session_id` (RFC 8446 §4.1.2).
const SESSION_MAX: usize = 32;
/// `Random`.
const RANDOM: usize = 32;
/// TLS 1.3, as `supported_versions` says it.
const TLS_13: u16 = 0x0304;

/// What a TLS client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The name of the server: a DNS name in lower case, without a dot at its end. None where there is no such extension, or
    /// where it says an IP address (RFC 6066 §3 has no place for one, some clients send it, servers take it for none).
    pub server_name: Option<Box<str>>,
    /// The versions on offer, as the client orders them; reserved ones (RFC 8701) too.
    pub versions: Vec<u16>,
    /// `ProtocolNameList` without its length: known to be sound.
    alpn: Box<[u8]>,
}

impl ClientHello {
    /// The application protocols on offer, as the client orders them (`h2`, `http/1.1`).
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Cursor(&self.alpn);
        std::iter::from_fn(move || rest.vector8())
    }

    /// The same hello with another name, in lower case.
    #[must_use]
    pub fn asking_for(&self, name: &str) -> Self {
        Self {
            server_name: Some(name.into()),
            ..self.clone()
        }
    }

    /// Whether TLS 1.3 is on offer.
    pub fn offers_tls13(&self) -> bool {
        self.versions.contains(&TLS_13)
    }

    pub(super) fn parse(body: &[u8], limits: &HelloLimits) -> Result<Self, HelloError> {
        let mut rest = Cursor(body);
        let version = rest.u16().ok_or(HelloError::Malformed)?;
        if version >> 8 != u16::from(MAJOR) {
            return Err(HelloError::Version);
        }
        let extensions = Self::skip_to_extensions(&mut rest).ok_or(HelloError::Malformed)?;
        let mut hello = Self::default();
        hello.extensions(Cursor(extensions), limits)?;
        if hello.versions.is_empty() {
            hello.versions.push(version);
        }
        Ok(hello)
    }

    /// Past what no choice is made by. No extensions at all are none: clients of TLS 1.2 may leave out even their length.
    fn skip_to_extensions<'a>(rest: &mut Cursor<'a>) -> Option<&'a [u8]> {
        rest.take(RANDOM)?;
        rest.vector8().filter(|id| id.len() <= SESSION_MAX)?;
        let suites = rest.vector16()?;
        if suites.is_empty() || suites.len() % 2 != 0 {
            return None;
        }
        rest.vector8().filter(|methods| !methods.is_empty())?;
        if rest.0.is_empty() {
            return Some(&[]);
        }
        let extensions = rest.vector16()?;
        rest.0.is_empty().then_some(extensions)
    }

    fn extensions(&mut self, mut rest: Cursor<'_>, limits: &HelloLimits) -> Result<(), HelloError> {
        let mut kinds = Vec::new();
        while !rest.0.is_empty() {
            let (Some(kind), Some(data)) = (rest.u16(), rest.vector16()) else {
                return Err(HelloError::Malformed);
            };
            if kinds.len() >= limits.extensions {
                return Err(HelloError::TooManyExtensions);
            }
            if kinds.contains(&kind) {
                return Err(HelloError::DuplicateExtension);
            }
            kinds.push(kind);
            match kind {
                SERVER_NAME => {
                    self.server_name = server_name(data).ok_or(HelloError::ServerName)?
                }
                ALPN => self.alpn = alpn(data).ok_or(HelloError::Alpn)?.into(),
                SUPPORTED_VERSIONS => {
                    self.versions = versions(data).ok_or(HelloError::SupportedVersions)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// One name, and it is a host's: there is no other kind, and no second of one kind.
fn server_name(data: &[u8]) -> Option<Option<Box<str>>> {
    /// `NameType.host_name`.
    const HOST_NAME: u8 = 0;
    let mut list = Cursor(whole(data, Cursor::vector16)?);
    if list.u8()? != HOST_NAME {
        return None;
    }
    let host = list.vector16().filter(|_| list.0.is_empty())?;
    if name::is_address(host) {
        return Some(None);
    }
    name::dns_name(host).map(Some)
}

fn alpn(data: &[u8]) -> Option<&[u8]> {
    let list = whole(data, Cursor::vector16).filter(|list| !list.is_empty())?;
    let mut rest = Cursor(list);
    while !rest.0.is_empty() {
        rest.vector8().filter(|name| !name.is_empty())?;
    }
    Some(list)
}

fn versions(data: &[u8]) -> Option<Vec<u16>> {
    let mut list = Cursor(whole(data, Cursor::vector8)?);
    let mut versions = Vec::with_capacity(list.0.len() / 2);
    while !list.0.is_empty() {
        versions.push(list.u16()?);
    }
    (!versions.is_empty()).then_some(versions)
}

/// A vector that is all there is.
fn whole<'a>(
    data: &'a [u8],
    vector: impl FnOnce(&mut Cursor<'a>) -> Option<&'a [u8]>,
) -> Option<&'a [u8]> {
    let mut rest = Cursor(data);
    vector(&mut rest).filter(|_| rest.0.is_empty())
}

/// Bytes that are taken from their front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// A vector whose length is one byte.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A vector whose length is two bytes.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}
