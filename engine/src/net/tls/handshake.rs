//! The handshake, as server or as client: from a bare stream to one under TLS.

use std::fmt;
use std::io;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::BytesMut;
use ringway_config::TlsVersion;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{CertificateError, CommonState, Error, HandshakeKind, ProtocolVersion};

use super::conn::Conn;
use super::server::cipher_of;
use super::session::Session;
use super::x509::{AltName, Described};
use super::{Client, Outgoing, Server, ServerName};
use crate::net::Stream;
use crate::observe::TlsFailure;
use crate::request::{PeerCertificate, Secured};

/// What a read in a handshake makes room for: a ClientHello with a key for a quantum-safe exchange, or a short chain of certificates.
const READ: usize = 4 << 10;

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The connection failed.
    Io(io::Error),
    /// The other end left.
    Ended,
    /// The other end said or is what is not accepted, or says so of us.
    Tls(Error),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Ended => f.write_str("the other end closed the connection in the handshake"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl HandshakeError {
    /// What it is counted as.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is another library's and grows with it"
    )]
    pub(crate) fn failure(&self) -> TlsFailure {
        use CertificateError as Bad;
        match self {
            Self::Io(_) => TlsFailure::Io,
            Self::Ended => TlsFailure::Closed,
            Self::Tls(Error::AlertReceived(_)) => TlsFailure::Alert,
            Self::Tls(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => {
                TlsFailure::Incompatible
            }
            Self::Tls(Error::NoCertificatesPresented) => TlsFailure::NoCertificate,
            Self::Tls(Error::InvalidCertificate(bad)) => match bad {
                Bad::Expired
                | Bad::ExpiredContext { .. }
                | Bad::NotValidYet
                | Bad::NotValidYetContext { .. } => TlsFailure::Expired,
                Bad::UnknownIssuer => TlsFailure::UnknownIssuer,
                Bad::Revoked | Bad::UnknownRevocationStatus => TlsFailure::Revoked,
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => TlsFailure::Name,
                Bad::ApplicationVerificationFailure => TlsFailure::Pin,
                _ => TlsFailure::BadCertificate,
            },
            Self::Tls(_) => TlsFailure::Protocol,
        }
    }
}

impl From<Error> for HandshakeError {
    fn from(error: Error) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Serves a handshake. What has come of it may be in the stream's `input` already. Takes as long as the client does; the caller
/// bounds it, and a stream whose handshake was not ended is closed.
pub(crate) async fn accept(
    stream: &mut Stream,
    server: &Server,
    server_name: Option<Box<str>>,
) -> Result<(), HandshakeError> {
    let conn = UnbufferedServerConnection::new(server.config())?;
    shake(stream, conn.into(), server_name).await
}

/// Begins a handshake, as [`accept`].
pub(crate) async fn connect(
    stream: &mut Stream,
    client: &Client,
    name: &ServerName,
    alpn: &[&[u8]],
) -> Result<(), HandshakeError> {
    let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let conn = UnbufferedClientConnection::new_with_alpn(client.config(), name.0.clone(), alpn)?;
    shake(stream, conn.into(), None).await
}

async fn shake(
    stream: &mut Stream,
    mut conn: Conn,
    server_name: Option<Box<str>>,
) -> Result<(), HandshakeError> {
    let mut plain = BytesMut::new();
    loop {
        let mut out = Outgoing::with_room(0, 0, 0);
        let told = conn.absorb(&mut stream.reader.input, &mut plain, &mut out);
        if let Err(error) = told {
            stream.writer.send_now(out.bytes());
            return Err(error.into());
        }
        if !conn.common().is_handshaking() {
            let facts = facts(&conn, server_name);
            let ended = told.is_ok_and(|told| told.closed);
            finish(stream, conn, facts, plain, out).await?;
            stream.reader.end_if(ended);
            return Ok(());
        }
        stream.writer.send_raw(out).await?;
        if stream.reader.fill(READ).await? == 0 {
            return Err(HandshakeError::Ended);
        }
    }
}

/// The last records of a handshake go with the first answer where the peer has said something already: one send less.
async fn finish(
    stream: &mut Stream,
    conn: Conn,
    facts: Secured,
    plain: BytesMut,
    out: Outgoing,
) -> Result<(), HandshakeError> {
    let owed = if plain.is_empty() {
        stream.writer.send_raw(out).await?;
        Vec::new()
    } else {
        out.bytes().to_vec()
    };
    if stream.reader.input.is_empty() {
        stream.reader.input = BytesMut::new();
    }
    stream.secure(Session::new(conn, facts, &owed), plain);
    Ok(())
}

fn facts(conn: &Conn, server_name: Option<Box<str>>) -> Secured {
    let common: &CommonState = conn.common();
    Secured {
        version: match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::V13),
            Some(ProtocolVersion::TLSv1_2) => Some(TlsVersion::V12),
            _ => None,
        },
        cipher: common.negotiated_cipher_suite().and_then(cipher_of),
        alpn: common.alpn_protocol().map(Into::into),
        server_name,
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        peer: common
            .peer_certificates()
            .and_then(|chain| peer(chain.first()?))
            .map(Box::new),
    }
}

fn peer(der: &[u8]) -> Option<PeerCertificate> {
    let described = Described::read(der).ok()?;
    let digest = digest(&SHA256, der);
    let digest: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let named = |wanted: fn(&AltName) -> Option<&str>| -> Vec<&str> {
        described.names.iter().filter_map(wanted).collect()
    };
    let (dns, uri) = (named(AltName::dns), named(AltName::uri));
    let element = element(&digest, &described.subject, &uri, &dns);
    Some(PeerCertificate {
        der: der.into(),
        dns: dns.join(","),
        uri: uri.join(","),
        digest,
        element: element.into(),
        subject: described.subject,
        issuer: described.issuer,
        serial: described.serial,
    })
}

/// An element of `X-Forwarded-Client-Cert`. What could end a value early stands in quotes.
fn element(digest: &str, subject: &str, uris: &[&str], hosts: &[&str]) -> String {
    let quoted = |value: &str| {
        if value.contains([',', ';', '=', '"', ' ']) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{value}\"")
        } else {
            value.to_owned()
        }
    };
    // Field values are visible ASCII: what a certificate says otherwise is not repeated.
    let plain = |value: &&str| value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let mut out = format!("Hash={digest}");
    if plain(&subject) {
        out += &format!(
            ";Subject=\"{}\"",
            subject.replace('\\', "\\\\").replace('"', "\\\"")
        );
    }
    for uri in uris.iter().copied().filter(plain) {
        out += &format!(";URI={}", quoted(uri));
    }
    for host in hosts.iter().copied().filter(plain) {
        out += &format!(";DNS={}", quoted(host));
    }
    out
}
