//! The two kinds of rustls' connections behind one face: records in, data and records out.

use bytes::{Buf, BytesMut};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, Error};

use super::Outgoing;

/// A connection, and whether it has failed: rustls is asked for nothing after that, as it would look at the same bytes again.
pub(super) struct Conn {
    side: Side,
    failed: Option<Error>,
}

/// The server's or the client's side. Boxed: a client's is some hundred bytes larger.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl From<UnbufferedServerConnection> for Conn {
    fn from(conn: UnbufferedServerConnection) -> Self {
        let side = Side::Server(Box::new(conn));
        Self { side, failed: None }
    }
}

impl From<UnbufferedClientConnection> for Conn {
    fn from(conn: UnbufferedClientConnection) -> Self {
        let side = Side::Client(Box::new(conn));
        Self { side, failed: None }
    }
}

/// What records told beside their data.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The peer says nothing more (`close_notify`).
    pub(super) closed: bool,
}

impl Conn {
    /// What both sides have.
    pub(super) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(conn) => conn,
            Side::Client(conn) => conn,
        }
    }

    /// Takes whole records off the front of `cipher`: their data goes to `plain`, what they make us say to `out`. After an
    /// error `out` has the alert that says so.
    pub(super) fn absorb(
        &mut self,
        cipher: &mut BytesMut,
        plain: &mut BytesMut,
        out: &mut Outgoing,
    ) -> Result<Told, Error> {
        self.has_not_failed()?;
        let told = match &mut self.side {
            Side::Server(conn) => absorb(&mut **conn, cipher, plain, out),
            Side::Client(conn) => absorb(&mut **conn, cipher, plain, out),
        };
        self.failed = told.as_ref().err().cloned();
        told
    }

    fn has_not_failed(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Encrypts `parts`, one after the other. `unread` is what `absorb` left if it has a part of a message in it.
    pub(super) fn seal(
        &mut self,
        parts: &[&[u8]],
        unread: &mut [u8],
        out: &mut Outgoing,
    ) -> Result<(), Error> {
        self.say(What::Data(parts), unread, out)
    }

    /// Encrypts a `close_notify`.
    pub(super) fn close(&mut self, unread: &mut [u8], out: &mut Outgoing) -> Result<(), Error> {
        self.say(What::CloseNotify, unread, out)
    }

    fn say(&mut self, what: What<'_>, unread: &mut [u8], out: &mut Outgoing) -> Result<(), Error> {
        self.has_not_failed()?;
        match &mut self.side {
            Side::Server(conn) => say(&mut **conn, what, unread, out),
            Side::Client(conn) => say(&mut **conn, what, unread, out),
        }
    }
}

/// What rustls gives each side under the same names without a trait.
trait Records {
    type Data;
    fn records<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
    /// Whether it has something to say.
    fn wants_write(&self) -> bool;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn records<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn records<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

/// What is left to do after a state of rustls.
enum Next {
    More,
    Done,
    Closed,
    Failed(Error),
}

fn absorb<R: Records>(
    conn: &mut R,
    cipher: &mut BytesMut,
    plain: &mut BytesMut,
    out: &mut Outgoing,
) -> Result<Told, Error> {
    let mut told = Told::default();
    loop {
        let UnbufferedStatus { mut discard, state } = conn.records(cipher);
        let mut data = false;
        let next = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        data = true;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Some(Err(error)) => break Next::Failed(error),
                    None => break Next::More,
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                put(out, |room| data.encode(room))?;
                Next::More
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Next::More
            }
            Ok(ConnectionState::PeerClosed) => {
                told.closed = true;
                Next::More
            }
            Ok(ConnectionState::Closed) => Next::Closed,
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Next::Done,
            // Data before the handshake is off, and there are no other states.
            Ok(_) => Next::Failed(Error::HandshakeNotComplete),
            Err(error) => Next::Failed(error),
        };
        cipher.advance(discard.min(cipher.len()));
        match next {
            // With a record of data as the last of what has come there is nothing to ask for again, which most of the time it is.
            Next::More if data && cipher.is_empty() && !conn.wants_write() => return Ok(told),
            Next::More => {}
            Next::Done => return Ok(told),
            Next::Closed => {
                told.closed = true;
                return Ok(told);
            }
            Next::Failed(error) => {
                alerts(conn, out)?;
                return Err(error);
            }
        }
    }
}

/// What an error made rustls say. It is asked only while it has such, which it gives before it looks at any bytes.
fn alerts<R: Records>(conn: &mut R, out: &mut Outgoing) -> Result<(), Error> {
    while conn.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = conn.records(&mut []).state else {
            break;
        };
        put(out, |room| data.encode(room))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum What<'p> {
    Data(&'p [&'p [u8]]),
    CloseNotify,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is another library's and grows with it"
)]
fn say<R: Records>(
    conn: &mut R,
    what: What<'_>,
    unread: &mut [u8],
    out: &mut Outgoing,
) -> Result<(), Error> {
    loop {
        match conn.records(unread).state? {
            ConnectionState::WriteTraffic(mut traffic) => return write(&mut traffic, what, out),
            ConnectionState::EncodeTlsData(mut data) => put(out, |room| data.encode(room))?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            // Closed by both sides, or not open yet.
            _ => return Err(Error::HandshakeNotComplete),
        }
    }
}

fn write<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    what: What<'_>,
    out: &mut Outgoing,
) -> Result<(), Error> {
    match what {
        What::CloseNotify => put(out, |room| traffic.queue_close_notify(room)),
        What::Data(parts) => {
            for part in parts {
                put(out, |room| traffic.encrypt(part, room))?;
            }
            Ok(())
        }
    }
}

/// Why a record was not written: there is too little room, or never will be.
enum Short {
    Room(usize),
    Never(Error),
}

impl From<EncodeError> for Short {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Room(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Never(Error::EncryptError),
        }
    }
}

impl From<EncryptError> for Short {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Room(required_size)
            }
            EncryptError::EncryptExhausted => Self::Never(Error::EncryptError),
        }
    }
}

fn put<E: Into<Short>>(
    out: &mut Outgoing,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    for _ in 0..2 {
        match write(out.room()).map_err(Into::into) {
            Ok(written) => {
                out.filled(written);
                return Ok(());
            }
            Err(Short::Room(needed)) => out.grow(needed),
            Err(Short::Never(error)) => return Err(error),
        }
    }
    Err(Error::EncryptError)
}
