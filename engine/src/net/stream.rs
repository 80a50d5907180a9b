//! A connected stream socket (TCP or Unix) with reads that live in it.

use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf};
use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent, Canceller};
use monoio::net::TcpStream;

use super::Ready;

/// The socket that a reader and a writer share.
struct Socket {
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
    fn shutdown(&self, how: libc::c_int) {
        // SAFETY: no pointers; the descriptor is open as long as `self`.
        unsafe { libc::shutdown(self.get().as_raw_fd(), how) };
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
            },
            writer: Writer {
                socket,
                broken: false,
            },
        }
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.writer.socket.get().as_raw_fd()
    }

    /// Closes at once and in one call where nothing is in flight; else the driver closes it when the kernel lets go.
    #[expect(
        unsafe_code,
        reason = "close(2) of a descriptor that was taken out of its owner"
    )]
    pub(crate) fn close(self) {
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
        self.close();
    }
}

type Flight = Pin<Box<dyn Future<Output = (io::Result<usize>, Tail)>>>;

/// The reading side: what has come in and not been taken, and the read in flight.
pub(crate) struct Reader {
    socket: Rc<Socket>,
    /// Bytes that came in. While a read is in flight it is empty: they travel with the read.
    pub(crate) input: BytesMut,
    flight: Option<Flight>,
    /// Takes retractable reads back.
    canceller: Option<Canceller>,
    /// The read in flight is being taken back.
    retracting: bool,
    ended: bool,
}

impl Reader {
    /// Reads once, appending to `input`; room for at least `want` bytes is made. 0 at the end of the stream.
    /// May be dropped and called again at will: the read goes on by itself.
    pub(crate) fn poll_fill(
        &mut self,
        want: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.flight.is_none() {
            let tail = self.tail(want);
            let socket = Rc::clone(&self.socket);
            self.flight = Some(Box::pin(async move { socket.get().read(tail).await }));
        }
        let Some(flight) = &mut self.flight else {
            return Poll::Pending;
        };
        let (result, Tail(buffer)) = ready!(flight.as_mut().poll(cx));
        self.flight = None;
        self.input = buffer;
        self.ended = !matches!(result, Ok(1..));
        Poll::Ready(result)
    }

    /// [`Self::poll_fill`], awaited.
    pub(crate) async fn fill(&mut self, want: usize) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(want, cx)).await
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
        if self.flight.is_none() && !self.ended {
            let tail = self.tail(want);
            let socket = Rc::clone(&self.socket);
            let handle = self.canceller.get_or_insert_default().handle();
            self.flight = Some(Box::pin(async move {
                socket.get().cancelable_read(tail, handle).await
            }));
        }
        self.poll_fill(want, cx)
    }

    /// Takes the read in flight back, if it is a retractable one, and waits for what it did: bytes that came meanwhile are
    /// in `input`. The memory of an empty `input` is given back, so that waiting for [`Self::readable`] pins none.
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
            self.input = buffer;
        }
        Poll::Ready(match result {
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(0),
            result => {
                self.ended = !matches!(result, Ok(1..));
                result
            }
        })
    }

    /// Until a read would not block. May be dropped.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// [`Self::readable`], as a future that holds the socket and not this.
    pub(crate) fn becoming_readable(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let socket = Rc::clone(&self.socket);
        async move { socket.readable().await }
    }

    /// The socket's descriptor, if what it brings is what is meant, and all of that is still in it.
    pub(super) fn bare_fd(&self) -> Option<RawFd> {
        let nothing_here = self.flight.is_none() && self.input.is_empty();
        nothing_here.then(|| self.socket.get().as_raw_fd())
    }

    /// Whether the other end has ended, or the connection failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    fn tail(&mut self, want: usize) -> Tail {
        let mut buffer = std::mem::take(&mut self.input);
        buffer.reserve(want);
        Tail(buffer)
    }
}

/// The writing side.
pub(crate) struct Writer {
    socket: Rc<Socket>,
    /// A write was begun and not ended: the peer may have got a part of it.
    broken: bool,
}

impl Writer {
    /// Whether a write was cut off, so that nothing more can be said on this connection.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The socket's descriptor, if it takes what is meant as it is.
    pub(super) fn bare_fd(&self) -> Option<RawFd> {
        (!self.broken).then(|| self.socket.get().as_raw_fd())
    }

    /// Until a write would not block. May be dropped.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Sends once: some of `data`. What went is taken off its front.
    async fn send<B: Buf + IoBuf>(&mut self, mut data: B) -> (io::Result<usize>, B) {
        self.broken = true;
        let (result, mut rest) = self.socket.get().write(data).await;
        if let Ok(sent) = result {
            rest.advance(sent);
            self.broken = false;
        }
        data = rest;
        (result, data)
    }

    /// Sends all of `data`; `moved` hears of each part that went.
    pub(crate) async fn write_all<B: Buf + IoBuf>(
        &mut self,
        mut data: B,
        mut moved: impl FnMut(usize),
    ) -> io::Result<()> {
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

    /// Ends our side: the peer reads an end of stream.
    pub(crate) fn finish(&self) {
        self.socket.shutdown(libc::SHUT_WR);
    }
}

/// A buffer whose free end is read into.
struct Tail(BytesMut);

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
