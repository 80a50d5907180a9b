//! What a connection of HTTP/2 and the tasks of its streams share: who may begin, and what a client may not do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_protocols::http2::codec::{Budgets, Codec, Config, FrameKind};

use crate::http2::{Gone, Pinger, Window};
use crate::serve::Client;
use crate::serve::root::Keeper;
use crate::time::now_millis;
use crate::view::{Listener, Local};

/// A stream that ends without its whole answer so soon after it began was begun for that, if most are.
const PREMATURE_MILLIS: u64 = 1000;

/// Streams that were reset before they were seen, which wait for their turn; one turn's worth at most.
const UNSEEN_RESETS: usize = 20;

/// See above.
pub(super) struct Shared {
    pub(super) local: Rc<Local>,
    /// The listener as the connection found it: its numbers and its limits.
    pub(super) listener: Rc<Listener>,
    pub(super) codec: RefCell<Codec>,
    resets: Resets,
    /// Streams with a task: what may be in flight to upstreams.
    in_flight: Cell<u32>,
    pub(super) window: Window,
    memory: Memory,
    /// The connection's task.
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    pub(super) fn new(client: &Client) -> Rc<Self> {
        let http2 = &client.listener.spec.config.http2;
        let window = Window::new(
            http2.stream_window,
            http2.stream_window_max,
            http2.connection_window_max,
            http2.concurrent_streams,
        );
        Rc::new(Self {
            local: Rc::clone(&client.local),
            listener: Rc::clone(&client.listener),
            codec: RefCell::new(codec(&client.listener, &window)),
            resets: Resets::new(http2.resets_window),
            in_flight: Cell::new(0),
            window,
            memory: Memory::default(),
            waker: RefCell::default(),
        })
    }

    /// Counts a frame that came.
    pub(super) fn saw(&self, kind: FrameKind) {
        let stats = &self.listener.stats;
        match kind {
            FrameKind::Ping => stats.http2_frames_ping.inc(),
            FrameKind::Settings => stats.http2_frames_settings.inc(),
            FrameKind::WindowUpdate => stats.http2_frames_window_update.inc(),
            FrameKind::Priority => stats.http2_frames_priority.inc(),
            FrameKind::Reset => stats.http2_frames_reset.inc(),
            FrameKind::Continuation => stats.http2_frames_continuation.inc(),
            FrameKind::EmptyData => stats.http2_frames_empty_data.inc(),
            FrameKind::Unknown => stats.http2_frames_unknown.inc(),
            FrameKind::Data | FrameKind::Headers | FrameKind::Push | FrameKind::GoAway => {}
        }
    }

    /// Bytes of bodies have come, or have been passed on.
    pub(super) fn hold(&self) {
        let held = self.codec.borrow().held();
        let before = self.memory.held.replace(held);
        if held != before {
            let change = held.cast_signed() - before.cast_signed();
            self.listener.stats.http2_held.change(change);
        }
    }

    /// The connection's window is open, or has grown.
    pub(super) fn widened(&self) {
        let now = self.window.connection();
        let before = self.memory.window.replace(now);
        let change = i64::from(now) - i64::from(before);
        self.listener.stats.http2_window.change(change);
    }

    /// Whether most of its streams were reset at once.
    pub(super) fn is_exceeded(&self) -> bool {
        self.resets.exceeded.get()
    }

    /// Whether no stream has a task.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// A place in flight, unless there are as many as announced.
    pub(super) fn enter(self: &Rc<Self>) -> Option<InFlight> {
        if self.in_flight.get() >= self.listener.spec.config.http2.concurrent_streams {
            return None;
        }
        self.in_flight.set(self.in_flight.get() + 1);
        Some(InFlight {
            shared: Rc::clone(self),
            began: now_millis(),
            whole: Cell::new(false),
        })
    }

    /// Says which task is the connection's.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut own = self.waker.borrow_mut();
        if !own.as_ref().is_some_and(|own| own.will_wake(waker)) {
            *own = Some(waker.clone());
        }
    }

    /// Wakes the connection's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// The codec of a listener's connections.
fn codec(listener: &Listener, window: &Window) -> Codec {
    let http2 = &listener.spec.config.http2;
    let number = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    Codec::new(Config {
        concurrent_streams: http2.concurrent_streams,
        header_list: number(http2.header_list.0),
        stream_window: window.stream(),
        connection_window: window.connection(),
        connect_protocol: http2.websocket,
        stream_errors: http2.stream_errors,
        unseen_resets: UNSEEN_RESETS,
        output: usize::try_from(http2.send_buffer.0).unwrap_or(usize::MAX),
        budgets: Budgets {
            control: http2.control_frames,
            empty: http2.empty_frames,
        },
    })
}

/// The codec's PINGs, for the connection's task.
pub(super) struct Pings(pub(super) Rc<Shared>);

impl Pinger for Pings {
    fn ping(&mut self) -> bool {
        self.0.codec.borrow_mut().ping();
        true
    }

    fn poll_pong(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        // Who polls this has been woken by what came.
        match self.0.codec.borrow_mut().take_pong() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let held = self.memory.held.get().cast_signed();
        self.listener.stats.http2_held.change(-held);
        let window = i64::from(self.memory.window.get());
        self.listener.stats.http2_window.change(-window);
    }
}

/// What the listener's gauges have of this connection.
#[derive(Default)]
struct Memory {
    window: Cell<u32>,
    held: Cell<u64>,
}

/// A stream's place in flight. Its end is judged when it is dropped.
pub(super) struct InFlight {
    shared: Rc<Shared>,
    began: u64,
    /// Its answer is whole.
    whole: Cell<bool>,
}

impl InFlight {
    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// The stream has ended as it should.
    pub(super) fn ended_well(&self) {
        self.whole.set(true);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Shared {
            listener,
            resets,
            in_flight,
            ..
        } = &*self.shared;
        let last = in_flight.get();
        in_flight.set(last - 1);
        let whole = self.whole.get();
        if !whole {
            listener.stats.http2_rq_reset.inc();
        }
        let premature = !whole && now_millis().saturating_sub(self.began) < PREMATURE_MILLIS;
        if resets.count(premature) {
            listener.stats.limit_http2_resets.inc();
            self.shared.wake();
        }
        // Others may wait for this place, or the connection for its last stream.
        if last == 1 || last >= listener.spec.config.http2.concurrent_streams {
            self.shared.wake();
        }
    }
}

impl Keeper for Rc<InFlight> {
    fn panicked(&self) {
        self.shared.local.stats.panics.inc();
        let listener = &self.shared.listener.spec.config.name;
        tracing::error!(%listener, "a panic ended a stream");
    }
}

/// The share of streams that were reset early, over so many in a row (CVE-2023-44487, CVE-2025-8671).
struct Resets {
    window: u32,
    ended: Cell<u32>,
    premature: Cell<u32>,
    exceeded: Cell<bool>,
}

impl Resets {
    fn new(window: u32) -> Self {
        Self {
            window,
            ended: Cell::new(0),
            premature: Cell::new(0),
            exceeded: Cell::new(false),
        }
    }

    /// Counts the end of a stream. Says whether with it the limit is exceeded.
    fn count(&self, premature: bool) -> bool {
        if self.ended.get() == self.window {
            self.ended.set(0);
            self.premature.set(0);
        }
        self.ended.set(self.ended.get() + 1);
        self.premature
            .set(self.premature.get() + u32::from(premature));
        // More than half of the window's, whatever the rest of it will be.
        let exceeded = self.premature.get() > self.window / 2;
        exceeded && !self.exceeded.replace(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_streams_may_be_reset_and_no_more() {
        let resets = Resets::new(10);
        for stream in 0..100 {
            assert!(!resets.count(stream % 2 == 0));
        }
        let in_a_row = (1..100).find(|_| resets.count(true));
        assert_eq!(in_a_row, Some(6));
        assert!(!resets.count(true), "it is said once");
        assert!(resets.exceeded.get());
    }
}
