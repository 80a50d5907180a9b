//! TLS: sessions of rustls, driven by us, behind the same `Reader` and `Writer` as a bare connection. Nothing outside of this
//! folder names rustls.
//!
//! rustls is used through its unbuffered interface: it decrypts in the buffer that the socket was read into and encrypts into
//! one that is sent whole, so that an answer of several records is one send, and a quiet connection holds no buffer at all.

mod certs;
mod client;
mod conn;
mod files;
mod handshake;
mod keys;
mod outgoing;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tickets;
mod trust;
mod x509;

use std::io;

pub use client::ForProbes;
pub(crate) use client::{Client, ServerName};
pub use files::Files;
pub(crate) use handshake::{HandshakeError, accept, connect};
pub(crate) use keys::take_keys;
pub(super) use outgoing::Outgoing;
pub use server::Material;
pub(crate) use server::Server;
pub(super) use session::{Incoming, Session};
pub use tickets::{TICKET_LIFETIME, TicketSecrets};
pub use x509::{AltName, Described};

/// The data of a record at most (RFC 8446 §5.1).
pub(super) const RECORD: usize = 16 << 10;
/// The data that is encrypted for one send at most: more would hold two buffers of its size for as long as a slow peer takes.
pub(super) const CHUNK: usize = 64 << 10;

/// A peer that keeps a core busy without ever saying anything.
pub(super) fn fruitless() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the peer sends records without data, one after the other",
    )
}
