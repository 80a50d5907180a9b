//! The writing side of a stream.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use monoio::buf::{IoBuf, IoVecBuf};
use monoio::io::AsyncWriteRent;

use super::Socket;
use crate::net::tls::{CHUNK, Outgoing, RECORD, Session};

/// The writing side.
pub(crate) struct Writer {
    pub(super) socket: Rc<Socket>,
    /// A write was begun and not ended: the peer may have got a part of it.
    pub(super) broken: bool,
    pub(super) tls: Option<Rc<Session>>,
}

impl Writer {
    /// Whether a write was cut off, so that nothing more can be said on this connection.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The socket's descriptor, if it takes what is meant as it is.
    pub(in crate::net) fn bare_fd(&self) -> Option<RawFd> {
        (!self.broken && self.tls.is_none()).then(|| self.socket.get().as_raw_fd())
    }

    /// Until a write would not block. May be dropped.
    pub(in crate::net) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Sends once: some of `data`. What went is taken off its front.
    async fn send<B: Buf + IoBuf>(&mut self, data: B) -> (io::Result<usize>, B) {
        self.broken = true;
        let (result, mut rest) = self.socket.send(data).await;
        if let Ok(sent) = result {
            rest.advance(sent);
            self.broken = false;
        }
        (result, rest)
    }

    /// Sends all of `data`; `moved` hears of each part that went.
    pub(crate) async fn write_all<B: Buf + IoBuf>(
        &mut self,
        mut data: B,
        mut moved: impl FnMut(usize),
    ) -> io::Result<()> {
        if let Some(session) = self.tls.clone() {
            return self.seal_all(&session, &mut data, &mut moved).await;
        }
        while data.has_remaining() {
            let (result, rest) = self.send(data).await;
            match result? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => moved(sent),
            }
            data = rest;
        }
        Ok(())
    }

    /// [`Self::write_all`] that gives the buffer back, emptied, so that it can be filled again.
    pub(crate) async fn write_out(
        &mut self,
        mut data: BytesMut,
        mut moved: impl FnMut(usize),
    ) -> (io::Result<()>, BytesMut) {
        if let Some(session) = self.tls.clone() {
            let result = self.seal_all(&session, &mut data, &mut moved).await;
            data.clear();
            return (result, data);
        }
        while data.has_remaining() {
            let (result, rest) = self.send(data).await;
            data = rest;
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), data),
                Ok(sent) => moved(sent),
                Err(error) => return (Err(error), data),
            }
        }
        data.clear();
        (Ok(()), data)
    }

    /// Sends `head` and then `body`, in one call where the socket takes it.
    pub(crate) async fn write_both(
        &mut self,
        head: BytesMut,
        body: Bytes,
        mut moved: impl FnMut(usize),
    ) -> io::Result<()> {
        if let Some(session) = self.tls.clone() {
            return self.seal_both(&session, head, body, moved).await;
        }
        self.broken = true;
        let (result, pair) = self.socket.get().writev(Pair::new(head, body)).await;
        let sent = result?;
        self.broken = false;
        moved(sent);
        let Pair {
            mut head, mut body, ..
        } = pair;
        let of_head = sent.min(head.len());
        head.advance(of_head);
        body.advance((sent - of_head).min(body.len()));
        self.write_all(head, &mut moved).await?;
        self.write_all(body, moved).await
    }

    /// Encrypts and sends, a part after the other.
    async fn seal_all(
        &mut self,
        session: &Session,
        data: &mut impl Buf,
        moved: &mut impl FnMut(usize),
    ) -> io::Result<()> {
        while data.has_remaining() {
            let chunk = data.chunk();
            let chunk = chunk.get(..CHUNK).unwrap_or(chunk);
            let taken = chunk.len();
            let records = self.seal(session, &[chunk])?;
            data.advance(taken);
            self.send_records(session, records, taken, moved).await?;
        }
        Ok(())
    }

    /// What is small goes in one record, for which the body is copied: that costs less than a record does.
    async fn seal_both(
        &mut self,
        session: &Session,
        mut head: BytesMut,
        mut body: Bytes,
        mut moved: impl FnMut(usize),
    ) -> io::Result<()> {
        let (records, taken) = if head.len() + body.len() <= RECORD {
            head.extend_from_slice(&std::mem::take(&mut body));
            (self.seal(session, &[&head])?, head.len())
        } else if let Some(room) = CHUNK.checked_sub(head.len()) {
            let first = body.split_to(room.min(body.len()));
            let records = self.seal(session, &[&head, &first])?;
            (records, head.len() + first.len())
        } else {
            self.write_all(head, &mut moved).await?;
            return self.write_all(body, moved).await;
        };
        self.send_records(session, records, taken, &mut moved)
            .await?;
        self.write_all(body, moved).await
    }

    /// Encrypts. From here on the records must all be sent, in order.
    fn seal(&mut self, session: &Session, parts: &[&[u8]]) -> io::Result<Outgoing> {
        let records = session.seal(parts)?;
        self.broken = true;
        Ok(records)
    }

    /// Sends records of `plain` bytes, of which `moved` hears as they go.
    async fn send_records(
        &mut self,
        session: &Session,
        mut records: Outgoing,
        mut plain: usize,
        moved: &mut impl FnMut(usize),
    ) -> io::Result<()> {
        while !records.is_empty() {
            let (result, back) = self.socket.send(records).await;
            records = back;
            let sent = match result? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => sent,
            };
            records.advance(sent);
            let of_plain = if records.is_empty() {
                plain
            } else {
                sent.min(plain)
            };
            plain -= of_plain;
            moved(of_plain);
        }
        session.end_sending(&self.socket);
        self.broken = false;
        Ok(())
    }

    /// Sends what the kernel takes at once: the last words of a handshake that failed.
    pub(crate) fn send_now(&self, records: &[u8]) {
        // Who does not take them now has gone or is not reading.
        let _sent = self.socket.send_now(records);
    }

    /// Sends records of a handshake.
    pub(in crate::net) async fn send_raw(&mut self, mut records: Outgoing) -> io::Result<()> {
        while !records.is_empty() {
            let (result, back) = self.socket.send(records).await;
            records = back;
            match result? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => records.advance(sent),
            }
        }
        Ok(())
    }

    /// Ends our side: the peer reads an end of stream.
    pub(crate) fn finish(&self) {
        if self.tls.is_none() || self.broken {
            self.socket.shutdown(libc::SHUT_WR);
        } else {
            self.bid_farewell(Some(libc::SHUT_WR));
        }
    }

    /// Says under TLS that nothing more comes, then shuts the socket down as told. A write that was cut off says it by itself:
    /// after half a record nothing can be said.
    pub(super) fn bid_farewell(&self, then: Option<libc::c_int>) {
        if let Some(session) = &self.tls
            && !self.broken
        {
            session.bid_farewell(&self.socket, then);
        }
    }
}

/// Two buffers sent by one vectored write. The vector is on the heap: the kernel reads it when the ring is entered,
/// after this value has moved.
struct Pair {
    head: BytesMut,
    body: Bytes,
    vector: Box<[libc::iovec; 2]>,
}

impl Pair {
    fn new(head: BytesMut, body: Bytes) -> Self {
        let part = |bytes: &[u8]| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let vector = Box::new([part(&head), part(&body)]);
        Self { head, body, vector }
    }
}

#[expect(unsafe_code, reason = "monoio's contract for vectored buffers")]
// SAFETY: the vector and the bytes it points to are on the heap and live, unmoved, as long as `Pair`.
unsafe impl IoVecBuf for Pair {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.vector.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.vector.len()
    }
}
