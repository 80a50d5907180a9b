//! The reading side of a stream.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, CancelableAsyncReadRent, Canceller};

use super::Socket;
use crate::net::runtime;
use crate::net::tls::{self, Incoming};

/// Reads of the socket that give no data, though each found something there: rather than go on, the connection ends. A record
/// of 16 KiB in segments of a byte comes to fewer, since what lies in the socket is read as one.
const FRUITLESS_MAX: u32 = 64;

pub(super) type Flight = Pin<Box<dyn Future<Output = (io::Result<usize>, Tail)>>>;

/// The reading side: what has come in and not been taken, and the read in flight.
pub(crate) struct Reader {
    pub(super) socket: Rc<Socket>,
    /// Bytes that came in. While a read is in flight on a bare connection it is empty: they travel with the read.
    pub(crate) input: BytesMut,
    pub(super) flight: Option<Flight>,
    /// Takes the read in flight back, if it is a retractable one.
    pub(super) canceller: Option<Canceller>,
    /// The read in flight is being taken back.
    pub(super) retracting: bool,
    pub(super) ended: bool,
    pub(super) tls: Option<Box<Incoming>>,
}

/// Whether a read can be taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Retractable,
}

impl Reader {
    /// Reads once, appending to `input`; room for at least `want` bytes is made. 0 at the end of the stream, which under TLS
    /// only a `close_notify` makes: a connection that ends without one was cut, and is an error.
    /// May be dropped and called again at will: the read goes on by itself.
    pub(crate) fn poll_fill(
        &mut self,
        want: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll(want, Kind::Plain, cx)
    }

    fn poll(&mut self, want: usize, kind: Kind, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let result = match self.tls {
            None => ready!(self.poll_socket(want, kind, cx)),
            Some(_) => ready!(self.poll_records(want, kind, cx)),
        };
        self.ended = !matches!(result, Ok(1..));
        Poll::Ready(result)
    }

    /// Reads until records give data, or the stream ends.
    fn poll_records(
        &mut self,
        want: usize,
        kind: Kind,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut turns = 0;
        loop {
            let Some(tls) = &self.tls else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if tls.is_closed() {
                return Poll::Ready(Ok(0));
            }
            let room = tls.missing().max(want);
            match ready!(self.poll_socket(room, kind, cx)) {
                Ok(1..) => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Some(result) = self.decrypt() {
                return Poll::Ready(result);
            }
            turns += 1;
            if turns == FRUITLESS_MAX {
                return Poll::Ready(Err(tls::fruitless()));
            }
        }
    }

    /// Decrypts what has come. `None`: it is not enough for a record with data.
    fn decrypt(&mut self) -> Option<io::Result<usize>> {
        let tls = self.tls.as_mut()?;
        tls.decrypt(&mut self.input, &self.socket)
    }

    /// Reads once from the socket, appending to what it is read into.
    fn poll_socket(
        &mut self,
        want: usize,
        kind: Kind,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.flight.is_none() {
            self.start(want, kind);
        }
        let Some(flight) = &mut self.flight else {
            return Poll::Pending;
        };
        let (result, Tail(buffer)) = ready!(flight.as_mut().poll(cx));
        self.flight = None;
        *self.buffer() = buffer;
        Poll::Ready(result)
    }

    fn start(&mut self, want: usize, kind: Kind) {
        let mut buffer = std::mem::take(self.buffer());
        buffer.reserve(want);
        let tail = Tail(buffer);
        let socket = Rc::clone(&self.socket);
        self.flight = Some(match kind {
            Kind::Plain => {
                self.canceller = None;
                Box::pin(async move { socket.get().read(tail).await })
            }
            Kind::Retractable => {
                let handle = self.canceller.get_or_insert_default().handle();
                Box::pin(async move { socket.get().cancelable_read(tail, handle).await })
            }
        });
    }

    /// What the socket is read into.
    fn buffer(&mut self) -> &mut BytesMut {
        match &mut self.tls {
            None => &mut self.input,
            Some(tls) => &mut tls.cipher,
        }
    }

    /// [`Self::poll_fill`], awaited.
    pub(crate) async fn fill(&mut self, want: usize) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll(want, Kind::Plain, cx)).await
    }

    /// [`Self::fill`] by a read that [`Self::retract`] can take back. It costs a little more.
    pub(crate) async fn fill_retractably(&mut self, want: usize) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill_retractably(want, cx)).await
    }

    /// [`Self::poll_fill`] by a read that [`Self::poll_retract`] can take back.
    pub(crate) fn poll_fill_retractably(
        &mut self,
        want: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll(want, Kind::Retractable, cx)
    }

    /// Takes the read in flight back, if it is a retractable one, and waits for what it did: bytes that came meanwhile are
    /// in `input`. The memory of an empty buffer is given back, so that waiting for [`Self::readable`] pins none.
    pub(crate) async fn retract(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_retract(cx)).await
    }

    /// [`Self::retract`], to be polled until it is ready and not to be mixed with reading before.
    pub(crate) fn poll_retract(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(canceller) = self.canceller.take() {
            let _cancelled = canceller.cancel();
            self.retracting = true;
        }
        let Some(flight) = self.flight.as_mut().filter(|_| self.retracting) else {
            return Poll::Ready(Ok(0));
        };
        let (result, Tail(buffer)) = ready!(flight.as_mut().poll(cx));
        self.flight = None;
        self.retracting = false;
        if !buffer.is_empty() {
            *self.buffer() = buffer;
        }
        let result = match (result, self.tls.is_some()) {
            (Err(error), _) if error.raw_os_error() == Some(libc::ECANCELED) => {
                return Poll::Ready(Ok(0));
            }
            (Ok(1..), true) => match self.decrypt() {
                None => return Poll::Ready(Ok(0)),
                Some(result) => result,
            },
            (Ok(0), true) => Err(io::ErrorKind::UnexpectedEof.into()),
            (result, _) => result,
        };
        self.ended = !matches!(result, Ok(1..));
        Poll::Ready(result)
    }

    /// Until a read would not block. May be dropped.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.becoming_readable().await
    }

    /// [`Self::readable`], as a future that holds the socket and not this.
    pub(crate) fn becoming_readable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let socket = Rc::clone(&self.socket);
        let closed = self.tls.as_ref().is_some_and(|tls| tls.is_closed());
        async move {
            if closed {
                return Ok(());
            }
            socket.readable().await
        }
    }

    /// The socket's descriptor, if what it brings is what is meant, and all of that is still in it.
    pub(in crate::net) fn bare_fd(&self) -> Option<RawFd> {
        let nothing_here = self.flight.is_none() && self.input.is_empty() && self.tls.is_none();
        nothing_here.then(|| self.socket.get().as_raw_fd())
    }

    /// The peer said nothing but its `close_notify` after the handshake.
    pub(in crate::net) fn end_if(&mut self, ended: bool) {
        if let Some(tls) = &mut self.tls
            && ended
        {
            tls.close();
        }
    }

    /// Whether a part of a message that is spread over records is here.
    #[cfg(test)]
    pub(in crate::net) fn is_half_here(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_half_here())
    }

    /// The memory that a read has in hand, or the next one has.
    #[cfg(test)]
    pub(in crate::net) fn pinned(&self) -> usize {
        let cipher = self.tls.as_ref().map_or(0, |tls| tls.cipher.capacity());
        usize::from(self.flight.is_some()) + cipher + self.input.len()
    }

    /// Whether something lies in the socket that the read in flight has not been told of. With epoll it is told when the core's loop
    /// turns, and a busy client may have its next request read and sent on before that.
    pub(crate) fn has_unseen(&self) -> bool {
        runtime::sees_late() && self.socket.has_something()
    }

    /// Whether the other end has ended, or the connection failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}

/// A buffer whose free end is read into.
pub(super) struct Tail(BytesMut);

#[expect(unsafe_code, reason = "monoio's contract for buffers")]
// SAFETY: the pointer is the start of the spare capacity, which does not move while `Tail` is owned by the operation
// (`BytesMut` keeps its bytes on the heap), and `bytes_total` is exactly that capacity.
unsafe impl IoBufMut for Tail {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.spare_capacity_mut().as_mut_ptr().cast()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.capacity() - self.0.len()
    }

    unsafe fn set_init(&mut self, read: usize) {
        let len = self.0.len() + read;
        debug_assert!(len <= self.0.capacity());
        // SAFETY: the caller says that `read` bytes from `write_ptr` on are written.
        unsafe { self.0.set_len(len) };
    }
}
