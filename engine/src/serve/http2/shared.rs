//! What a connection of HTTP/2 and the tasks of its streams share: who may begin, and what a client may not do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use h2::Reason;
use ringway_protocols::http2::{Breach, Budgets, FrameKind, FrameScanner};

use crate::http2::Window;
use crate::net::Observer;
use crate::serve::Client;
use crate::serve::root::Keeper;
use crate::time::now_millis;
use crate::view::{Listener, Local};

/// A stream that ends without its whole answer so soon after it began was begun for that, if most are.
const PREMATURE_MILLIS: u64 = 1000;

/// See above.
pub(super) struct Shared {
    pub(super) local: Rc<Local>,
    /// The listener as the connection found it: its numbers and its limits.
    pub(super) listener: Rc<Listener>,
    scanner: RefCell<FrameScanner>,
    breach: Cell<Option<Breach>>,
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
        let budgets = Budgets {
            control: http2.control_frames,
            empty: http2.empty_frames,
        };
        Rc::new(Self {
            local: Rc::clone(&client.local),
            listener: Rc::clone(&client.listener),
            scanner: RefCell::new(FrameScanner::new(budgets)),
            breach: Cell::new(None),
            resets: Resets::new(http2.resets_window),
            in_flight: Cell::new(0),
            window: Window::new(
                http2.stream_window,
                http2.stream_window_max,
                http2.connection_window_max,
                http2.concurrent_streams,
            ),
            memory: Memory::default(),
            waker: RefCell::default(),
        })
    }

    /// What sees the client's bytes before the codec does.
    pub(super) fn observer(self: &Rc<Self>) -> Observer {
        let shared = Rc::clone(self);
        Box::new(move |bytes| {
            let stats = &shared.listener.stats;
            let mut scanner = shared.scanner.borrow_mut();
            let scanned = scanner.scan(bytes, |kind| match kind {
                FrameKind::Ping => stats.http2_frames_ping.inc(),
                FrameKind::Settings => stats.http2_frames_settings.inc(),
                FrameKind::WindowUpdate => stats.http2_frames_window_update.inc(),
                FrameKind::Priority => stats.http2_frames_priority.inc(),
                FrameKind::Reset => stats.http2_frames_reset.inc(),
                FrameKind::Continuation => stats.http2_frames_continuation.inc(),
                FrameKind::EmptyData => stats.http2_frames_empty_data.inc(),
                FrameKind::Unknown => stats.http2_frames_unknown.inc(),
                FrameKind::Data | FrameKind::Headers | FrameKind::Push | FrameKind::GoAway => {}
            });
            let data = scanner.take_data();
            drop(scanner);
            if data > 0 {
                shared.came(data);
            }
            if let Err(breach) = scanned {
                match breach {
                    Breach::Control => stats.limit_http2_control_frames.inc(),
                    Breach::Empty => stats.limit_http2_empty_frames.inc(),
                    Breach::FrameSize
                    | Breach::StreamClosed
                    | Breach::Push
                    | Breach::Window
                    | Breach::Preface
                    | Breach::PseudoTrailer => stats.http2_cx_errors.inc(),
                }
                shared.breach.set(Some(breach));
            }
            scanned.is_ok()
        })
    }

    /// The client has taken so many bytes, and so much time has passed: it may send more frames that carry nothing.
    pub(super) fn refill(&self, sent: u64, millis: u64) {
        let mut scanner = self.scanner.borrow_mut();
        scanner.sent(sent);
        scanner.waited(millis);
    }

    /// Bytes of bodies have come.
    fn came(&self, bytes: u64) {
        // What is not taken any more, of streams that were reset, is not told apart; more than its window no connection holds.
        let most = u64::from(self.window.connection());
        let held = self.memory.held.get().saturating_add(bytes).min(most);
        self.hold(held);
    }

    /// Bytes of them have been passed on, or dropped.
    pub(super) fn passed(&self, bytes: usize) {
        self.hold(self.memory.held.get().saturating_sub(bytes as u64));
    }

    fn hold(&self, bytes: u64) {
        let before = self.memory.held.replace(bytes);
        let change = bytes.cast_signed() - before.cast_signed();
        self.listener.stats.http2_held.change(change);
    }

    /// The connection's window is open, or has grown.
    pub(super) fn widened(&self) {
        let now = self.window.connection();
        let before = self.memory.window.replace(now);
        let change = i64::from(now) - i64::from(before);
        self.listener.stats.http2_window.change(change);
    }

    /// Whether a header block has begun and not ended.
    pub(super) fn is_in_block(&self) -> bool {
        self.scanner.borrow().is_in_block()
    }

    /// Why the connection cannot go on, if it cannot.
    pub(super) fn breach(&self) -> Option<Reason> {
        match self.breach.get() {
            Some(Breach::Control | Breach::Empty) => Some(Reason::ENHANCE_YOUR_CALM),
            Some(Breach::FrameSize) => Some(Reason::FRAME_SIZE_ERROR),
            Some(Breach::StreamClosed) => Some(Reason::STREAM_CLOSED),
            Some(Breach::Push | Breach::Preface | Breach::PseudoTrailer) => {
                Some(Reason::PROTOCOL_ERROR)
            }
            Some(Breach::Window) => Some(Reason::FLOW_CONTROL_ERROR),
            None => {
                let exceeded = self.resets.exceeded.get();
                exceeded.then_some(Reason::ENHANCE_YOUR_CALM)
            }
        }
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

impl Drop for Shared {
    fn drop(&mut self) {
        self.hold(0);
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
        if last == 1 {
            // Nothing is left of what bodies brought.
            self.shared.hold(0);
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
