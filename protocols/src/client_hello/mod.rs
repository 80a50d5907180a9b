//! The first message of a TLS client, read without taking part: which name, which protocols, which versions it asks for.
//!
//! A listener chooses by it what becomes of a connection before anything is answered, so that TLS can end here for one name
//! and go through untouched for another. Nothing is consumed: whoever serves the connection, this proxy's TLS or the server
//! that it is passed to, reads the same bytes again.
//!
//! ```text
//!  record  22 | 3.x | length | fragment …                      RFC 8446 §5.1, as many as it takes
//!  message                     1 | length | body …             §4.1.2
//!  body                                     version, random, session, suites, compression, extensions
//! ```

mod body;
mod error;
mod name;
#[cfg(test)]
mod tests;

pub use body::ClientHello;
pub use error::HelloError;

/// `ContentType.handshake`.
const HANDSHAKE: u8 = 22;
/// The first byte of every version since SSL 3.
const MAJOR: u8 = 3;
/// `HandshakeType.client_hello`.
const CLIENT_HELLO: u8 = 1;
/// A record's type, version and length.
const RECORD_HEAD: usize = 5;
/// A message's type and length.
const MESSAGE_HEAD: usize = 4;
/// `TLSPlaintext.length` (RFC 8446 §5.1).
const FRAGMENT_MAX: usize = 1 << 14;

/// Limits of a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloLimits {
    /// Bytes of the message, without the heads of its records.
    pub message: usize,
    /// How many records it may come in.
    pub records: usize,
    /// How many extensions.
    pub extensions: usize,
}

impl Default for HelloLimits {
    /// Browsers send 2 KiB with a post-quantum key, in one or two records and with 20 extensions; a ticket of a client with a
    /// certificate adds some KiB. BoringSSL, the strictest of the large servers, takes 16 KiB.
    fn default() -> Self {
        Self {
            message: 32 << 10,
            records: 64,
            extensions: 64,
        }
    }
}

/// Whether a connection that begins so speaks TLS. `None`: not enough is here to tell.
///
/// No request of HTTP begins with the byte of a handshake record, nor does any line of text.
pub fn is_tls(input: &[u8]) -> Option<bool> {
    match input {
        [] | [HANDSHAKE] => None,
        [HANDSHAKE, MAJOR, ..] => Some(true),
        [_, ..] => Some(false),
    }
}

/// Reads a ClientHello as its bytes come. Each byte is looked at once, however they are cut.
#[derive(Debug)]
pub struct HelloReader {
    limits: HelloLimits,
    /// How much of the input has been looked at.
    seen: usize,
    /// What is still to come of the record's fragment.
    fragment: usize,
    records: usize,
    /// The message so far: fragments without their records' heads.
    message: Vec<u8>,
}

impl HelloReader {
    /// A reader of one connection.
    pub fn new(limits: HelloLimits) -> Self {
        Self {
            limits,
            seen: 0,
            fragment: 0,
            records: 0,
            message: Vec::new(),
        }
    }

    /// Looks at `input`: all that has come on the connection, from its first byte. `None`: the message is not all here yet.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        loop {
            let rest = input.get(self.seen..).unwrap_or_default();
            if self.fragment == 0 {
                let Some(fragment) = self.record(rest)? else {
                    return Ok(None);
                };
                self.fragment = fragment;
                self.seen += RECORD_HEAD;
                continue;
            }
            let here = rest.get(..self.fragment.min(rest.len()));
            let here = here.unwrap_or_default();
            self.message.extend_from_slice(here);
            self.seen += here.len();
            self.fragment -= here.len();
            if let Some(length) = self.message_length()? {
                if self.message.len() + self.fragment > length {
                    return Err(HelloError::TrailingBytes);
                }
                if self.message.len() == length {
                    let body = self.message.get(MESSAGE_HEAD..).unwrap_or_default();
                    return ClientHello::parse(body, &self.limits).map(Some);
                }
            }
            if self.fragment > 0 {
                return Ok(None);
            }
        }
    }

    /// Bytes that the records' heads and fragments so far take: what more than this is here came behind the ClientHello.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// The length of the fragment of the record that begins here.
    fn record(&mut self, input: &[u8]) -> Result<Option<usize>, HelloError> {
        let wrong = if self.records == 0 {
            HelloError::NotTls
        } else {
            HelloError::Interleaved
        };
        if is_tls(input) == Some(false) {
            return Err(wrong);
        }
        // The minor version says nothing (RFC 8446 §5.1).
        let Some(([_, _, _, high, low], _)) = input.split_first_chunk() else {
            return Ok(None);
        };
        let fragment = usize::from(u16::from_be_bytes([*high, *low]));
        if fragment == 0 || fragment > FRAGMENT_MAX {
            return Err(HelloError::RecordLength);
        }
        self.records += 1;
        if self.records > self.limits.records {
            return Err(HelloError::TooManyRecords);
        }
        Ok(Some(fragment))
    }

    /// How long the whole message will be, with its head.
    fn message_length(&self) -> Result<Option<usize>, HelloError> {
        if self
            .message
            .first()
            .is_some_and(|kind| *kind != CLIENT_HELLO)
        {
            return Err(HelloError::NotClientHello);
        }
        let Some(([_, high, mid, low], _)) = self.message.split_first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(*high) << 16 | usize::from(*mid) << 8 | usize::from(*low);
        if MESSAGE_HEAD + length > self.limits.message {
            return Err(HelloError::TooLong);
        }
        Ok(Some(MESSAGE_HEAD + length))
    }
}
