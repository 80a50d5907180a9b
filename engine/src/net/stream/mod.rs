//! A connected stream socket (TCP or Unix) with reads that live in it, bare or under TLS.

mod reader;
mod writer;

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use bytes::BytesMut;
use monoio::buf::IoBuf;
use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;

use super::Ready;
use super::tls::{Incoming, Session};
use crate::request::Secured;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// The socket that a reader and a writer share.
pub(super) struct Socket {
    stream: UnsafeCell<TcpStream>,
    /// Waits for readiness that have not ended: one that was dropped never does, and the driver may still have it in hand.
    waits: Cell<u32>,
}

impl Socket {
    /// monoio's stream for one call. Its methods want `&mut`, though a read and a write only submit an operation on the
    /// descriptor and share nothing else: monoio declares so (`Split`) and splits its own streams in the same way.
    #[expect(
        unsafe_code,
        clippy::mut_from_ref,
        reason = "see above: what `TcpStream: Split` promises"
    )]
    fn get(&self) -> &mut TcpStream {
        // SAFETY: one thread, and no reference outlives the call that submits an operation: the operation itself holds
        // only a counted descriptor. `Reader` allows one read at a time and `Writer` one write.
        unsafe { &mut *self.stream.get() }
    }

    async fn readable(&self) -> io::Result<()> {
        self.waits.set(self.waits.get() + 1);
        let ready = self.get().readable(false).await;
        self.waits.set(self.waits.get() - 1);
        ready
    }

    async fn writable(&self) -> io::Result<()> {
        self.waits.set(self.waits.get() + 1);
        let ready = self.get().writable(false).await;
        self.waits.set(self.waits.get() - 1);
        ready
    }

    #[expect(unsafe_code, reason = "shutdown(2) without taking the stream")]
    pub(super) fn shutdown(&self, how: libc::c_int) {
        // SAFETY: no pointers; the descriptor is open as long as `self`.
        unsafe { libc::shutdown(self.get().as_raw_fd(), how) };
    }

    /// Sends what the kernel takes at once.
    #[expect(unsafe_code, reason = "send(2) that does not wait")]
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let fd = self.get().as_raw_fd();
        // SAFETY: the pointer and the length are those of a live slice; the descriptor is open as long as `self`.
        let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
    }

    /// Whether a read would find something now: bytes, an end or a failure.
    #[expect(unsafe_code, reason = "recv(2) that does not wait and takes nothing")]
    fn has_something(&self) -> bool {
        let mut byte = 0_u8;
        let fd = self.get().as_raw_fd();
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: the pointer is that of a live byte, and one is asked for; the descriptor is open as long as `self`.
        let came = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) };
        came >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
    }

    /// Sends once, when the kernel takes it.
    pub(super) async fn send<B: IoBuf>(&self, data: B) -> (io::Result<usize>, B) {
        self.get().write(data).await
    }
}

/// A connection: one reader, one writer.
pub(crate) struct Stream {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Stream {
    #[expect(
        unsafe_code,
        reason = "monoio takes descriptors only through std's socket types"
    )]
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned here and given away.
        let std = unsafe { std::net::TcpStream::from_raw_fd(fd.into_raw_fd()) };
        Ok(Self::over(TcpStream::from_std(std)?))
    }

    pub(crate) fn from_ready(ready: Ready) -> io::Result<Self> {
        Ok(Self::over(ready.into_stream()?))
    }

    fn over(stream: TcpStream) -> Self {
        let socket = Rc::new(Socket {
            stream: UnsafeCell::new(stream),
            waits: Cell::new(0),
        });
        Self {
            reader: Reader {
                socket: Rc::clone(&socket),
                input: BytesMut::new(),
                flight: None,
                canceller: None,
                retracting: false,
                ended: false,
                tls: None,
            },
            writer: Writer {
                socket,
                broken: false,
                tls: None,
            },
        }
    }

    /// Has all that follows go through a session whose handshake is done. `input` holds what of the peer's records has come
    /// and was not decrypted; `plain` is what was.
    pub(super) fn secure(&mut self, session: Rc<Session>, plain: BytesMut) {
        let cipher = std::mem::replace(&mut self.reader.input, plain);
        self.reader.tls = Some(Box::new(Incoming::new(Rc::clone(&session), cipher)));
        self.writer.tls = Some(session);
    }

    /// What the handshake agreed on, if the connection is under TLS.
    pub(crate) fn facts(&self) -> Option<&Rc<Secured>> {
        self.writer.tls.as_ref().map(|session| session.facts())
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.writer.socket.get().as_raw_fd()
    }

    /// Closes in order: under TLS with a `close_notify`, so that the peer knows that nothing was cut off.
    pub(crate) fn close(self) {
        self.writer.bid_farewell(None);
        self.drop_socket();
    }

    /// Closes at once and in one call where nothing is in flight; else the driver closes it when the kernel lets go.
    #[expect(
        unsafe_code,
        reason = "close(2) of a descriptor that was taken out of its owner"
    )]
    fn drop_socket(self) {
        let Self { reader, writer } = self;
        if reader.flight.is_some() || writer.broken {
            return;
        }
        drop(reader.socket);
        if let Ok(socket) = Rc::try_unwrap(writer.socket) {
            if socket.waits.get() > 0 {
                return;
            }
            let fd = socket.stream.into_inner().into_raw_fd();
            // SAFETY: `into_raw_fd` gave the descriptor away, so it is closed once.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    /// Closes with a reset: the peer sees that what it got is not whole (RFC 9112 §8).
    pub(crate) fn abort(self) {
        if socket2::SockRef::from(&super::borrow(&self.raw_fd()))
            .set_linger(Some(std::time::Duration::ZERO))
            .is_err()
        {
            self.writer.socket.shutdown(libc::SHUT_RDWR);
        }
        self.drop_socket();
    }
}
