//! The server's side of HTTP/2 (RFC 9113), without a socket: bytes in, requests and bodies out, and frames for the other end gathered.
//!
//! ```text
//!   receive(bytes) ─┬─► accept() ─► a request and its stream's key
//!                   ├─► poll_data, take_trailers, poll_broken, poll_room: wake who serves the stream
//!                   └─► SETTINGS, PING, windows: answered in `out`
//!   send_head, send_data, send_trailers, reset ─► `out` ─► one send at the end of the core's turn
//! ```
//!
//! Nothing waits in the codec for being sent: who has data for a stream asks for room ([`Codec::poll_room`]), which is the least of the
//! stream's window, the connection's, and what `out` has left, and sends no more than that. Streams that wait for the last two get
//! room in the order in which they began to wait, a frame's worth each, so that none waits for another's whole body.
//!
//! What came and was not given back ([`Codec::release`]) is missing from the other end's windows; a window is filled up again once half of it is.

mod block;
mod budget;
mod control;
mod frame;
mod reason;
mod receive;
mod send;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::hpack::{Decoder, Encoder};
use super::request::Parts;
use crate::Fields;

pub use budget::{Budgets, FrameKind};
pub use reason::{Broken, By, Cause, Failure, Reason};
pub use send::Unsent;
pub use stream::Key;

use budget::Budget;
use frame::setting;
use send::ENDED;
use stream::Streams;

/// The preface of a client.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113 §6.9.2, as long as SETTINGS have said nothing else.
const WINDOW: u32 = (64 << 10) - 1;
/// RFC 9113 §6.9.1.
const WINDOW_MAX: i64 = (1 << 31) - 1;
/// The highest number of a stream: what the first GOAWAY names, so that it refuses none.
const LAST: u32 = (1 << 31) - 1;
/// RFC 7541 §4.2, as long as SETTINGS say nothing else.
const TABLE: u32 = 4096;
/// So much output waits at most beside what has room of its own: then nothing more is read, whose answers would come on top.
const CLOGGED: usize = 2;
/// What is asked of who measures, and of who is told to leave.
const MEASURE: [u8; 8] = *b"ringway?";
const FAREWELL: [u8; 8] = *b"ringway.";

/// What a connection is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Streams that may be open at once.
    pub concurrent_streams: u32,
    /// Bytes of a request's fields, with 32 for each.
    pub header_list: u32,
    /// What a stream may bring before any of it has been given back.
    pub stream_window: u32,
    /// The same of all streams together.
    pub connection_window: u32,
    /// Extended CONNECT is offered (RFC 8441).
    pub connect_protocol: bool,
    /// Streams that may be reset for a broken rule.
    pub stream_errors: u32,
    /// Requests that may be reset before they are accepted.
    pub unseen_resets: usize,
    /// Bytes of output that may wait before bodies do.
    pub output: usize,
    /// Frames without use that may come.
    pub budgets: Budgets,
}

/// A request that came.
#[derive(Debug)]
pub struct Incoming {
    /// Its stream.
    pub key: Key,
    /// Its head.
    pub parts: Parts,
}

/// How far a connection is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It has said nothing of an end.
    Open,
    /// It was told that there will be one, and has not yet answered.
    Warned,
    /// Streams beyond this one are not served any more.
    Leaving(u32),
    /// Nothing comes or goes but what waits in `out`.
    Over,
}

/// A field block whose end has not come.
struct OpenBlock {
    id: u32,
    ended: bool,
    depends_on_itself: bool,
    bytes: BytesMut,
    frames: usize,
}

/// A connection.
pub struct Codec {
    config: Config,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    incoming: VecDeque<Incoming>,
    /// Requests in `incoming` that were reset.
    unseen: usize,
    /// The first bytes, and the first SETTINGS, have come.
    begun: bool,
    greeted: bool,
    phase: Phase,
    /// The other end sends no more requests.
    is_left: bool,
    /// The latest stream that the other end has begun.
    latest: u32,
    block: Option<OpenBlock>,
    /// What the other end said of streams' windows.
    peer_window: u32,
    /// What we have said of streams' windows, and what was said and not yet acknowledged.
    window: u32,
    asked_window: Option<u32>,
    /// The connection's windows: what the other end may still send, what is held of it, and how large it is to be.
    received_window: i64,
    held: u64,
    target: u32,
    /// And what we may.
    room: i64,
    /// Streams that wait for it.
    waiting: VecDeque<Key>,
    /// How often some of them were told that there is, and to how many that was the last time who have not used it.
    round: u64,
    promised: u32,
    /// And those that wait for `out` alone.
    untaken: Vec<Key>,
    /// Frames for the other end.
    out: BytesMut,
    /// Bytes of `out` that were taken and have not gone.
    backlog: usize,
    /// Answers to `MEASURE`.
    pong: bool,
    errors_left: u32,
    budget: Budget,
}

impl Codec {
    /// A connection of which nothing has come. Our SETTINGS are in `out`.
    pub fn new(config: Config) -> Self {
        let mut out = BytesMut::new();
        let mut entries = vec![
            (setting::MAX_CONCURRENT_STREAMS, config.concurrent_streams),
            (setting::INITIAL_WINDOW_SIZE, config.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, config.header_list),
        ];
        if config.connect_protocol {
            entries.push((setting::ENABLE_CONNECT_PROTOCOL, 1));
        }
        frame::settings(&mut out, &entries);
        let mut codec = Self {
            config,
            decoder: Decoder::new(TABLE),
            encoder: Encoder::new(),
            streams: Streams::default(),
            incoming: VecDeque::new(),
            unseen: 0,
            begun: false,
            greeted: false,
            phase: Phase::Open,
            is_left: false,
            latest: 0,
            block: None,
            peer_window: WINDOW,
            window: WINDOW,
            asked_window: Some(config.stream_window),
            received_window: i64::from(WINDOW),
            held: 0,
            target: WINDOW,
            room: i64::from(WINDOW),
            waiting: VecDeque::new(),
            round: 1,
            promised: 0,
            untaken: Vec::new(),
            out,
            backlog: 0,
            pong: false,
            errors_left: config.stream_errors,
            budget: Budget::new(config.budgets),
        };
        codec.widen(config.connection_window);
        codec
    }

    /// The client's preface and its first SETTINGS have come.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// A field block has begun and not ended.
    pub fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Whether any stream is open, or a request has not been accepted.
    pub fn has_streams(&self) -> bool {
        self.streams.len() > 0 || !self.incoming.is_empty()
    }

    /// The other end has said that it begins no more streams.
    pub fn is_left(&self) -> bool {
        self.is_left
    }

    /// Nothing more will come of it: it was ended, or both ends know that there will be no more streams and there are none.
    pub fn is_done(&self) -> bool {
        match self.phase {
            Phase::Over => true,
            Phase::Leaving(_) => !self.has_streams(),
            Phase::Open | Phase::Warned => false,
        }
    }

    /// The next request. One that was reset meanwhile is among them: its stream says so.
    pub fn accept(&mut self) -> Option<Incoming> {
        let incoming = self.incoming.pop_front()?;
        if let Some(stream) = self.streams.get(incoming.key) {
            stream.is_new = false;
            if stream.broken.is_some() {
                self.unseen -= 1;
            }
        }
        Some(incoming)
    }

    /// Frames for the other end, to be taken whole; what of them has not gone is told by [`Self::set_backlog`].
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Of what was taken from `output`, so much waits.
    pub fn set_backlog(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.backlog, bytes);
        if bytes < before || !self.waiting.is_empty() || !self.untaken.is_empty() {
            self.grant();
        }
    }

    /// The other end does not take what it is answered: nothing more should be read.
    pub fn is_clogged(&self) -> bool {
        self.out.len() + self.backlog > CLOGGED * self.config.output
    }

    /// No more requests after those under way: GOAWAY, and once more when the other end has answered a PING, since requests may
    /// have crossed the first (RFC 9113 §6.8).
    pub fn leave(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Warned;
            frame::go_away(&mut self.out, LAST, Reason::NO_ERROR);
            frame::ping(&mut self.out, FAREWELL, 0);
        }
    }

    /// Ends it: GOAWAY, and all streams are broken.
    pub fn end(&mut self, reason: Reason) {
        if self.phase != Phase::Over {
            // What it was told before must not become more (RFC 9113 §6.8).
            let last = match self.phase {
                Phase::Leaving(last) => last,
                Phase::Open | Phase::Warned | Phase::Over => self.latest,
            };
            frame::go_away(&mut self.out, last, reason);
            self.cut(reason);
        }
    }

    /// It was ended by the other end, or by what carries it.
    pub fn cut(&mut self, reason: Reason) {
        self.phase = Phase::Over;
        self.block = None;
        let by = By::Connection;
        for key in self.streams.keys() {
            self.break_off(key, Broken { reason, by });
        }
        for unseen in std::mem::take(&mut self.incoming) {
            self.let_go(unseen.key);
        }
    }

    /// The other end has taken so many bytes, and so much time has passed: it may send more frames that carry nothing.
    pub fn refill(&mut self, sent: u64, millis: u64) {
        self.budget.sent(sent);
        self.budget.waited(millis);
    }

    /// Asks whether the other end is there; one at a time.
    pub fn ping(&mut self) {
        self.pong = false;
        frame::ping(&mut self.out, MEASURE, 0);
    }

    /// Whether it has answered.
    pub fn take_pong(&mut self) -> bool {
        std::mem::take(&mut self.pong)
    }

    /// Says how much a stream may bring from now on. False: a change is still under way.
    pub fn set_window(&mut self, size: u32) -> bool {
        if self.asked_window.is_some() {
            return false;
        }
        self.asked_window = Some(size);
        frame::settings(&mut self.out, &[(setting::INITIAL_WINDOW_SIZE, size)]);
        true
    }

    /// Makes the connection's window larger.
    pub fn widen(&mut self, size: u32) {
        if size > self.target {
            let more = size - self.target;
            self.target = size;
            self.received_window += i64::from(more);
            frame::window_update(&mut self.out, 0, more);
        }
    }

    /// Bytes of bodies that came and were not given back.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// What has come of a stream's body. `Ok(None)`: all has been taken.
    pub fn poll_data(&mut self, key: Key, cx: &Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let Some(stream) = self.streams.get(key) else {
            return Poll::Ready(Err(ENDED));
        };
        if let Some(broken) = stream.broken {
            return Poll::Ready(Err(broken));
        }
        if let Some(data) = stream.pop() {
            return Poll::Ready(Ok(Some(data)));
        }
        if stream.received {
            return Poll::Ready(Ok(None));
        }
        stream.read_by(cx);
        Poll::Pending
    }

    /// The trailers behind a body that has been taken.
    pub fn take_trailers(&mut self, key: Key) -> Option<Fields> {
        self.streams.get(key)?.trailers.take()
    }

    /// Why the stream is there no more, once it is.
    pub fn poll_broken(&mut self, key: Key, cx: &Context<'_>) -> Poll<Broken> {
        let Some(stream) = self.streams.get(key) else {
            return Poll::Pending;
        };
        if let Some(broken) = stream.broken {
            return Poll::Ready(broken);
        }
        stream.watched_by(cx);
        Poll::Pending
    }

    /// So much of a stream's body has been passed on: its sender may send more.
    pub fn release(&mut self, key: Key, bytes: usize) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(stream.held);
        stream.held -= bytes;
        self.refill_stream(key);
        self.release_all(u64::from(bytes));
    }

    /// Nobody serves the stream any more: if it has not ended, it is reset.
    pub fn let_go(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        stream.is_served = false;
        let held = std::mem::take(&mut stream.held);
        let (closed, sent, waits) = (stream.is_closed(), stream.sent, stream.waits);
        // Its key may be another stream's next.
        if waits {
            self.waiting.retain(|waiting| *waiting != key);
        }
        self.untaken.retain(|waiting| *waiting != key);
        self.release_all(u64::from(held));
        match closed {
            true => self.streams.forget(key),
            // An answer that is whole before its request was is no failure (RFC 9113 §8.1).
            false if sent => self.reset(key, Reason::NO_ERROR),
            false => self.reset(key, Reason::CANCEL),
        }
    }

    /// What a stream's sender may have, filled up if that is worth a frame.
    fn refill_stream(&mut self, key: Key) {
        let (window, over) = (self.window, self.phase == Phase::Over);
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.received || stream.broken.is_some() || over {
            return;
        }
        let more = i64::from(window) - i64::from(stream.held) - stream.window;
        if more > 0 && more >= i64::from(window / 2) {
            stream.window += more;
            let more = u32::try_from(more).unwrap_or(0);
            frame::window_update(&mut self.out, stream.id, more);
        }
    }

    /// The same of the connection, of which so much is held no more.
    fn release_all(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
        let held = i64::try_from(self.held).unwrap_or(i64::MAX);
        let more = i64::from(self.target) - held - self.received_window;
        if more > 0 && more >= i64::from(self.target / 2) && self.phase != Phase::Over {
            self.received_window += more;
            frame::window_update(&mut self.out, 0, u32::try_from(more).unwrap_or(0));
        }
    }

    /// A stream ends before its time.
    fn break_off(&mut self, key: Key, broken: Broken) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.is_closed() {
            return;
        }
        stream.broken = Some(broken);
        // What came and was not taken is nobody's any more; it is given back when the stream is let go.
        stream.queue.clear();
        stream.tail = BytesMut::new();
        stream.wake_all();
        if stream.is_new {
            self.unseen += 1;
        }
        self.streams.close(key);
    }
}
