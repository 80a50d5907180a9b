//! A stream as polled I/O, for codecs that want tokio's traits (`h2`) and must not know what they run on.
//!
//! ```text
//!   codec ── poll_read ◄── Reader: a receive always in flight; taken back while the connection is quiet
//!         ── poll_write ─► gathered, up to GATHER ─► one send in flight, begun by `Pump::poll` at the end of a turn
//! ```
//!
//! A codec flushes after each frame or so; a send for each would cost more than all else (and wake the peer as often). So
//! `poll_flush` does nothing: whoever polls the codec polls its [`Pump`] afterwards, once, and all that was written meanwhile goes
//! in one send. What is written while a send is in flight goes with the next. Where `GATHER` bytes wait, writing blocks: the peer
//! reads too slowly, and the codec's own limits bite next.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Reader, Stream, Writer};

/// What a receive makes room for: a frame of the default size with its head, and small ones behind it.
const READ: usize = 17 << 10;
/// The same while receives come back full: much is on its way, and takes fewer turns.
const READ_MAX: usize = 4 * READ;
/// How much is gathered for the next send, beside what is in flight: four frames of the default size.
const GATHER: usize = 64 << 10;
/// A buffer that has grown beyond that is not kept for the next send.
const KEEP: usize = 2 * GATHER;

/// Sees bytes that came in before anybody else does.
pub(crate) type Observer = Box<dyn FnMut(&[u8])>;

type Sending = Pin<Box<dyn Future<Output = (Writer, io::Result<()>, BytesMut)>>>;

/// The codec's side.
pub(crate) struct PollIo {
    shared: Rc<Shared>,
}

/// The side of who polls the codec.
pub(crate) struct Pump {
    shared: Rc<Shared>,
}

struct Shared {
    input: RefCell<Input>,
    output: RefCell<Output>,
    /// Bytes that the peer's side has taken, ever.
    sent: Rc<Cell<u64>>,
    /// Bytes that have come, ever.
    received: Cell<u64>,
}

struct Input {
    reader: Reader,
    observer: Option<Observer>,
    /// Bytes of `reader.input` that the observer has seen.
    seen: usize,
    /// Bytes that came as a receive was taken back, of which [`PollIo::poll_more`] has not told.
    unsaid: usize,
    /// What the next receive makes room for.
    room: usize,
    /// That has become less than there is.
    roomy: bool,
    mode: Mode,
}

/// How the next bytes are waited for.
enum Mode {
    /// With a receive in flight.
    Receiving,
    /// A receive is being taken back.
    Retracting,
    /// For readiness, without a buffer.
    Waiting(Pin<Box<dyn Future<Output = io::Result<()>>>>),
}

struct Output {
    /// Here while nothing is in flight.
    writer: Option<Writer>,
    gathered: BytesMut,
    /// An empty buffer to gather in next.
    spare: BytesMut,
    sending: Option<Sending>,
    /// Somebody wanted to write and could not.
    blocked: bool,
    failed: Option<io::ErrorKind>,
}

/// A stream's two sides. The observer, if there is one, sees all that comes in.
pub(crate) fn poll_io(stream: Stream, observer: Option<Observer>) -> (PollIo, Pump) {
    let Stream { reader, writer } = stream;
    let shared = Rc::new(Shared {
        input: RefCell::new(Input {
            reader,
            observer,
            seen: 0,
            unsaid: 0,
            room: READ,
            roomy: false,
            mode: Mode::Receiving,
        }),
        output: RefCell::new(Output {
            writer: Some(writer),
            gathered: BytesMut::new(),
            spare: BytesMut::new(),
            sending: None,
            blocked: false,
            failed: None,
        }),
        sent: Rc::default(),
        received: Cell::new(0),
    });
    let io = PollIo {
        shared: Rc::clone(&shared),
    };
    (io, Pump { shared })
}

impl PollIo {
    /// Reads once more, whatever of what came before has not been taken: how much came, 0 at the end.
    pub(crate) fn poll_more(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let came = ready!(self.shared.input.borrow_mut().poll_more(cx))?;
        let received = &self.shared.received;
        received.set(received.get() + came as u64);
        Poll::Ready(Ok(came))
    }

    /// Has `take` take of what has come. Of a connection without an observer only.
    pub(crate) fn with_input<T>(&self, take: impl FnOnce(&mut BytesMut) -> T) -> T {
        take(&mut self.shared.input.borrow_mut().reader.input)
    }

    /// Takes what is to be sent with all else that is.
    pub(crate) fn gather(&self, bytes: &mut BytesMut) {
        let mut output = self.shared.output.borrow_mut();
        if output.failed.is_some() {
            bytes.clear();
        } else if output.gathered.is_empty() {
            std::mem::swap(&mut output.gathered, bytes);
        } else {
            output.gathered.unsplit(bytes.split());
        }
    }

    /// How much waits for a send in flight.
    pub(crate) fn backlog(&self) -> usize {
        self.shared.output.borrow().gathered.len()
    }

    /// Whether a send failed.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.shared.output.borrow().check()
    }
}

impl Pump {
    /// Polls a codec's future, and then sends what it has written.
    pub(crate) fn poll_with<F: Future + Unpin>(
        &self,
        codec: &mut F,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        loop {
            let polled = Pin::new(&mut *codec).poll(cx);
            if polled.is_ready() || !self.poll(cx) {
                return polled;
            }
        }
    }

    /// Sends what was written since. To be called after the codec was polled, by the same task; says whether the codec was blocked
    /// and has room again, and so has to be polled once more.
    #[must_use]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> bool {
        let mut output = self.shared.output.borrow_mut();
        output.pump(&self.shared.sent, cx);
        output.blocked && output.has_room() && !std::mem::take(&mut output.blocked)
    }

    /// Bytes that have gone to the peer's side, ever.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.get()
    }

    /// Bytes that have come and been taken, ever.
    pub(crate) fn received(&self) -> u64 {
        self.shared.received.get()
    }

    /// Bytes that have gone either way, ever.
    pub(crate) fn moved(&self) -> u64 {
        self.shared.sent.get() + self.shared.received.get()
    }

    /// Whether bytes wait to be taken by the peer's side.
    pub(crate) fn is_sending(&self) -> bool {
        self.shared.output.borrow().is_busy()
    }

    /// Gives up the buffers of a connection on which nothing happens; it is read on without one. Afterwards the codec has to be
    /// polled, so that it waits for readiness.
    pub(crate) fn poll_quieten(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.output.borrow_mut().shrink();
        let mut input = self.shared.input.borrow_mut();
        match input.mode {
            Mode::Waiting(_) => return Poll::Ready(()),
            Mode::Receiving => input.mode = Mode::Retracting,
            Mode::Retracting => {}
        }
        input.poll_retract(cx)
    }

    /// The stream itself, when the codec has been dropped and no send is in flight. What was read and not taken is in it; what was
    /// gathered and not sent is lost.
    pub(crate) fn into_stream(self) -> Option<Stream> {
        let Shared { input, output, .. } = Rc::into_inner(self.shared)?;
        let reader = input.into_inner().reader;
        let writer = output.into_inner().writer?;
        Some(Stream { reader, writer })
    }
}

impl Input {
    /// Takes a receive back, whoever asks first when it has come back: were it begun anew here because the codec was polled before
    /// [`Pump::poll_quieten`], that would take it back again, for ever.
    fn poll_retract(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Its outcome is kept: bytes in `input`, an end or a failure in `has_ended`.
        let came = ready!(self.reader.poll_retract(cx)).unwrap_or(0);
        self.unsaid += came;
        self.mode = if came == 0 && !self.reader.has_ended() {
            Mode::Waiting(Box::pin(self.reader.becoming_readable()))
        } else {
            Mode::Receiving
        };
        Poll::Ready(())
    }

    /// More bytes behind those that are here: how many, 0 at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.mode {
                Mode::Retracting => ready!(self.poll_retract(cx)),
                Mode::Waiting(ready) => {
                    // A failure shows when it is read.
                    let _readable = ready!(ready.as_mut().poll(cx));
                    self.mode = Mode::Receiving;
                }
                Mode::Receiving if self.unsaid > 0 => {
                    return Poll::Ready(Ok(std::mem::take(&mut self.unsaid)));
                }
                Mode::Receiving => {
                    let roomy = std::mem::take(&mut self.roomy);
                    if roomy && self.reader.input.is_empty() {
                        self.reader.input = BytesMut::new();
                    }
                    let came = ready!(self.reader.poll_fill_retractably(self.room, cx))?;
                    if came > 0 {
                        self.adapt(came);
                    }
                    return Poll::Ready(Ok(came));
                }
            }
        }
    }

    /// Bytes to take, which the observer has seen. None at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reader.input.is_empty() {
            self.seen = 0;
            ready!(self.poll_more(cx))?;
        }
        // They are here, and so said.
        self.unsaid = 0;
        let new = self.reader.input.get(self.seen..).unwrap_or_default();
        if let Some(observer) = &mut self.observer
            && !new.is_empty()
        {
            observer(new);
        }
        self.seen = self.reader.input.len();
        Poll::Ready(Ok(()))
    }

    /// More room where it was filled, or nearly (records of TLS are never quite); less where most of it was not.
    fn adapt(&mut self, came: usize) {
        if came > self.room / 4 * 3 {
            self.room = (2 * self.room).min(READ_MAX);
        } else if came < self.room / 4 {
            self.roomy = self.room > READ;
            self.room = (self.room / 2).max(READ);
        }
    }
}

impl Output {
    fn is_busy(&self) -> bool {
        self.sending.is_some() || !self.gathered.is_empty()
    }

    fn has_room(&self) -> bool {
        self.failed.is_some() || self.gathered.len() < GATHER
    }

    /// Takes the end of a send, and begins the next.
    fn pump(&mut self, sent: &Rc<Cell<u64>>, cx: &mut Context<'_>) {
        loop {
            if let Some(sending) = &mut self.sending {
                let Poll::Ready((writer, result, buffer)) = sending.as_mut().poll(cx) else {
                    return;
                };
                self.sending = None;
                self.writer = Some(writer);
                if buffer.capacity() <= KEEP {
                    self.spare = buffer;
                }
                if let Err(error) = result {
                    self.fail(&error);
                }
            }
            if self.gathered.is_empty() || self.failed.is_some() {
                return;
            }
            let Some(mut writer) = self.writer.take() else {
                return;
            };
            let next = std::mem::take(&mut self.spare);
            let data = std::mem::replace(&mut self.gathered, next);
            let sent = Rc::clone(sent);
            self.sending = Some(Box::pin(async move {
                let count = |moved: usize| sent.set(sent.get() + moved as u64);
                let (result, buffer) = writer.write_out(data, count).await;
                (writer, result, buffer)
            }));
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.failed = Some(error.kind());
        self.gathered = BytesMut::new();
        self.spare = BytesMut::new();
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn shrink(&mut self) {
        if !self.is_busy() {
            self.gathered = BytesMut::new();
            self.spare = BytesMut::new();
        }
    }
}

impl AsyncRead for PollIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut input = self.shared.input.borrow_mut();
        ready!(input.poll_fill(cx))?;
        let bytes = input.reader.input.len().min(buf.remaining());
        buf.put_slice(&input.reader.input[..bytes]);
        input.reader.input.advance(bytes);
        let received = &self.shared.received;
        received.set(received.get() + bytes as u64);
        input.seen -= bytes.min(input.seen);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PollIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut output = self.shared.output.borrow_mut();
        if !output.has_room() {
            output.pump(&self.shared.sent, cx);
        }
        output.check()?;
        if !output.has_room() {
            output.blocked = true;
            return Poll::Pending;
        }
        output.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Nothing: see the head of this file.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shared.output.borrow().check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output = self.shared.output.borrow_mut();
        output.pump(&self.shared.sent, cx);
        output.check()?;
        match &output.writer {
            Some(writer) if !output.is_busy() => {
                writer.finish();
                Poll::Ready(Ok(()))
            }
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
