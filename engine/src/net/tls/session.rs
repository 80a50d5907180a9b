//! A session after its handshake: what a `Reader` and a `Writer` share of it, and what each keeps.
//!
//! Records must go out in the order in which they were encrypted, whoever had them made. So what the reading side has to say
//! (alerts, answers to renegotiation) is owed until no write is under way: then it is sent at once as far as the kernel takes
//! it, and what is left goes in front of the next write. An answer to an update of keys waits for the next write in any case,
//! inside of rustls: it is due before the next data (RFC 8446 §4.6.3), and a peer that asks for many gets one.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::Outgoing;
use super::conn::Conn;
use crate::net::spawn;
use crate::net::stream::Socket;
use crate::request::Secured;
use crate::time::{Deadline, Timer};

/// How long a last record may take to a peer whose window is full. The kernel goes on trying by itself after that.
const FAREWELL: Duration = Duration::from_secs(5);

/// What both sides share.
pub(in crate::net) struct Session {
    conn: RefCell<Conn>,
    facts: Rc<Secured>,
    /// Records that are to go before all others.
    owed: RefCell<Vec<u8>>,
    /// Records were encrypted and are not sent yet.
    sending: Cell<bool>,
    /// A copy of what has come of a message that is spread over records: rustls asks for it whenever it is asked for anything.
    /// Nearly always empty.
    unread: RefCell<Vec<u8>>,
}

impl Session {
    pub(super) fn new(conn: Conn, facts: Secured, owed: &[u8]) -> Rc<Self> {
        Rc::new(Self {
            conn: RefCell::new(conn),
            facts: Rc::new(facts),
            owed: RefCell::new(owed.to_vec()),
            sending: Cell::new(false),
            unread: RefCell::default(),
        })
    }

    pub(in crate::net) fn facts(&self) -> &Rc<Secured> {
        &self.facts
    }

    /// Encrypts. What comes back must be sent, and the end of that be told by `end_sending`, before anything else is.
    pub(in crate::net) fn seal(&self, parts: &[&[u8]]) -> io::Result<Outgoing> {
        let owed = self.owed.take();
        let plain = parts.iter().map(|part| part.len()).sum();
        let mut out = Outgoing::with_room(plain, parts.len(), owed.len());
        out.put(&owed);
        let mut unread = self.unread.borrow_mut();
        self.conn
            .borrow_mut()
            .seal(parts, &mut unread, &mut out)
            .map_err(io::Error::other)?;
        self.sending.set(true);
        Ok(out)
    }

    /// What `seal` gave has been sent.
    pub(in crate::net) fn end_sending(&self, socket: &Socket) {
        self.sending.set(false);
        self.pay(socket);
    }

    fn owe(&self, records: &[u8]) {
        self.owed.borrow_mut().extend_from_slice(records);
    }

    /// Sends what is owed as far as it goes at once.
    fn pay(&self, socket: &Socket) {
        let mut owed = self.owed.borrow_mut();
        if self.sending.get() || owed.is_empty() {
            return;
        }
        // An error shows at the next read or write.
        if let Ok(sent) = socket.send_now(&owed) {
            let sent = sent.min(owed.len());
            owed.drain(..sent);
        }
        if owed.is_empty() {
            *owed = Vec::new();
        }
    }

    /// Sends a `close_notify`, then shuts the socket down as told. Where the kernel does not take it now, a task of its own waits
    /// for that, though not for long.
    pub(in crate::net) fn bid_farewell(&self, socket: &Rc<Socket>, then: Option<libc::c_int>) {
        let mut out = Outgoing::none();
        out.put(&self.owed.take());
        let mut unread = self.unread.borrow_mut();
        // One that cannot be said was said already, or its session has failed.
        let _said = self.conn.borrow_mut().close(&mut unread, &mut out);
        match socket.send_now(out.bytes()) {
            Ok(sent) => out.advance(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_gone) => out.advance(out.bytes().len()),
        }
        let shut = move |socket: &Socket| {
            if let Some(how) = then {
                socket.shutdown(how);
            }
        };
        if out.is_empty() {
            return shut(socket);
        }
        let socket = Rc::clone(socket);
        spawn(async move {
            let timer = Timer::new();
            let sent = async {
                while !out.is_empty() {
                    let (result, back) = socket.send(out).await;
                    out = back;
                    match result {
                        Ok(sent @ 1..) => out.advance(sent),
                        Ok(0) | Err(_) => break,
                    }
                }
            };
            let _elapsed = timer.within(Deadline::after(FAREWELL), sent).await;
            shut(&socket);
        });
    }
}

/// The reading side's own.
pub(in crate::net) struct Incoming {
    session: Rc<Session>,
    /// What came of records and is not decrypted. While a read is in flight it is empty: the bytes travel with the read.
    pub(in crate::net) cipher: BytesMut,
    /// The peer has said that nothing more comes.
    closed: bool,
}

impl Incoming {
    pub(in crate::net) fn new(session: Rc<Session>, cipher: BytesMut) -> Self {
        Self {
            session,
            cipher,
            closed: false,
        }
    }

    /// The stream ended with the handshake's last record.
    pub(in crate::net) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether a part of a message that is spread over records is here.
    #[cfg(test)]
    pub(in crate::net) fn is_half_here(&self) -> bool {
        !self.session.unread.borrow().is_empty()
    }

    /// Whether the stream has ended in order.
    pub(in crate::net) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many bytes the record that has begun is short of.
    pub(in crate::net) fn missing(&self) -> usize {
        let mut rest: &[u8] = &self.cipher;
        while let Some(length) = record_length(rest) {
            match rest.split_at_checked(length) {
                Some((_, after)) => rest = after,
                None => return length - rest.len(),
            }
        }
        0
    }

    /// Decrypts what has come: the data goes to `input`. `None`: it is not enough for a record with data.
    pub(in crate::net) fn decrypt(
        &mut self,
        input: &mut BytesMut,
        socket: &Socket,
    ) -> Option<io::Result<usize>> {
        let before = input.len();
        let mut out = Outgoing::none();
        let told = {
            let mut conn = self.session.conn.borrow_mut();
            conn.absorb(&mut self.cipher, input, &mut out)
        };
        self.keep_unread();
        if !out.is_empty() {
            self.session.owe(out.bytes());
        }
        self.session.pay(socket);
        let came = input.len() - before;
        match told {
            Err(error) => Some(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
            Ok(told) => {
                self.closed |= told.closed;
                (came > 0 || self.closed).then_some(Ok(came))
            }
        }
    }

    /// A whole record that was left is a part of a message.
    fn keep_unread(&mut self) {
        let whole = record_length(&self.cipher).is_some_and(|length| length <= self.cipher.len());
        let mut unread = self.session.unread.borrow_mut();
        if whole {
            *unread = self.cipher.to_vec();
        } else if !unread.is_empty() {
            *unread = Vec::new();
        }
    }
}

/// The length of the record at the front, with its header (RFC 8446 §5.1).
fn record_length(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = bytes else {
        return None;
    };
    Some(5 + usize::from(u16::from_be_bytes([*high, *low])))
}
