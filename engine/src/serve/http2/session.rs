//! The task of a client's HTTP/2 connection: drives the codec, begins streams, and knows when to end.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_protocols::http2::codec::{Cause, Failure, Incoming, Reason};

use super::shared::{InFlight, Pings, Shared};
use super::stream::Stream;
use crate::http2::{Beat, Pulse};
use crate::net::{PollIo, Pump, QUIET_AFTER, spawn};
use crate::serve::Client;
use crate::serve::pace::Pace;
use crate::serve::root::{Root, boxed, guarded};
use crate::time::{Deadline, now_millis};
use crate::view::Ticket;

/// How long a client that was told to leave is waited for without a stream: for the round trip of the second GOAWAY.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// By the client.
    Close,
    /// By us: it has been told, and may not have read it.
    Linger,
    /// It takes nothing.
    Cut,
}

/// A connection in service.
pub(super) struct Session<'p> {
    pub(super) client: Client,
    pub(super) ticket: Ticket,
    pub(super) io: PollIo,
    pump: &'p Pump,
    shared: Rc<Shared>,
    /// Requests that came while as many as announced were in flight: of streams whose predecessors were reset just now.
    waiting: VecDeque<Incoming>,
    pulse: Pulse<Pings>,
    /// It was told that no more requests are wanted.
    leaving: bool,
    /// It was told to go at once.
    ending: bool,
    /// What has come was not all looked at: the client does not take what it is answered.
    paused: bool,
    clock: Clock,
}

/// What a connection waits for.
struct Clock {
    /// When it has to be asked to leave.
    age: Deadline,
    /// Since when it has had no stream.
    idle: Option<u64>,
    /// It has given its buffers up.
    quiet: bool,
    /// Since when a header block is open.
    block: Deadline,
    /// How fast the client takes what waits for it.
    pace: Pace,
    /// What it has taken, and when that was looked at.
    sent: u64,
    looked: u64,
}

impl<'p> Session<'p> {
    pub(super) fn new(
        client: Client,
        ticket: Ticket,
        io: PollIo,
        pump: &'p Pump,
        shared: Rc<Shared>,
    ) -> Self {
        let config = &client.listener.spec.config;
        let clock = Clock {
            age: Deadline::after_opt(config.http2.max_age),
            idle: Some(now_millis()),
            quiet: false,
            block: Deadline::NEVER,
            pace: Pace::new(&config.limits),
            sent: pump.sent(),
            looked: now_millis(),
        };
        let http2 = &config.http2;
        // Without keep-alive only the path is measured, and who does not answer that is not thereby gone.
        let timeout = http2.keep_alive.map(|_| http2.keep_alive_timeout);
        let pulse = Pulse::new(Some(Pings(Rc::clone(&shared))), http2.keep_alive, timeout);
        Self {
            pulse,
            client,
            ticket,
            io,
            pump,
            shared,
            waiting: VecDeque::new(),
            leaving: false,
            ending: false,
            paused: false,
            clock,
        }
    }

    /// Goes on with it, until it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.shared.listen(cx.waker());
        self.ticket.ends_itself(cx.waker());
        loop {
            self.begin_waiting();
            let came = self.receive(cx);
            if let Came::Ended(end) = came {
                return Poll::Ready(end);
            }
            self.accept_all();
            let told = self.told_codec();
            let beat = self.pulse(cx);
            if let Beat::Dead = beat {
                self.client.listener.stats.limit_http2_keep_alive.inc();
                return Poll::Ready(End::Cut);
            }
            self.send(cx);
            if self.is_done() {
                return Poll::Ready(End::Linger);
            }
            let beats = matches!(beat, Beat::Asked | Beat::Answered);
            let goes_on = match came {
                Came::Some => true,
                Came::Waits => !self.shared.codec.borrow().is_clogged(),
                Came::Nothing | Came::Ended(_) => false,
            };
            if goes_on || told || beats {
                continue;
            }
            return match self.wait(cx) {
                Next::Wait => Poll::Pending,
                Next::Again => continue,
                Next::Cut => Poll::Ready(End::Cut),
            };
        }
    }

    /// Has the codec take what has come.
    fn receive(&mut self, cx: &mut Context<'_>) -> Came {
        let shared = &self.shared;
        if self.ending {
            return Came::Nothing;
        }
        if shared.codec.borrow().is_clogged() {
            return Came::Waits;
        }
        if !std::mem::take(&mut self.paused) {
            match self.io.poll_more(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => {
                    shared.codec.borrow_mut().cut(Reason::NO_ERROR);
                    return Came::Ended(End::Close);
                }
                Poll::Pending => return Came::Nothing,
            }
        }
        let mut codec = shared.codec.borrow_mut();
        let received = self
            .io
            .with_input(|input| codec.receive(input, &mut |kind| shared.saw(kind)));
        self.paused = codec.is_clogged();
        drop(codec);
        shared.hold();
        if let Err(failure) = received {
            self.failed(failure);
        }
        Came::Some
    }

    /// Gives what is to be sent to who sends it.
    fn send(&mut self, cx: &mut Context<'_>) {
        let mut codec = self.shared.codec.borrow_mut();
        loop {
            if !codec.output().is_empty() {
                self.io.gather(codec.output());
            }
            let _has_room = self.pump.poll(cx);
            codec.set_backlog(self.io.backlog());
            if codec.output().is_empty() {
                return;
            }
        }
    }

    /// Whether both ends are through, and all has been sent, or cannot be.
    fn is_done(&self) -> bool {
        !self.pump.is_sending() && self.shared.codec.borrow().is_done()
    }

    /// Begins streams that waited for a place.
    fn begin_waiting(&mut self) {
        while !self.waiting.is_empty() {
            let Some(place) = self.shared.enter() else {
                return;
            };
            if let Some(incoming) = self.waiting.pop_front() {
                begin(&self.client, place, incoming);
            }
        }
    }

    fn accept_all(&mut self) {
        loop {
            // Not borrowed while a stream begins: that one uses it.
            let incoming = self.shared.codec.borrow_mut().accept();
            match incoming {
                Some(incoming) => self.accept(incoming),
                None => return,
            }
        }
    }

    fn accept(&mut self, incoming: Incoming) {
        self.clock.idle = None;
        self.client.requests += 1;
        let stays = self.client.refresh();
        let listener = Rc::clone(&self.client.listener);
        let config = &listener.spec.config;
        let max = config.limits.requests_per_connection;
        if max.is_some_and(|max| self.client.requests >= max) && !self.leaving {
            listener.stats.limit_requests_per_connection.inc();
            self.leave();
        } else if !stays {
            self.leave();
        }
        if let Some(place) = self.shared.enter() {
            begin(&self.client, place, incoming);
        } else if self.waiting.len() < config.http2.concurrent_streams as usize {
            self.waiting.push_back(incoming);
        } else {
            listener.stats.limit_http2_streams.inc();
            let mut codec = self.shared.codec.borrow_mut();
            codec.reset(incoming.key, Reason::REFUSED_STREAM);
            codec.let_go(incoming.key);
        }
    }

    /// No more requests, and then an end: GOAWAY twice, a round trip apart.
    fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.shared.codec.borrow_mut().leave();
        }
    }

    /// An end now.
    fn go(&mut self, why: Reason) {
        if !self.ending {
            self.ending = true;
            let mut codec = self.shared.codec.borrow_mut();
            codec.end(why);
            for incoming in self.waiting.drain(..) {
                codec.let_go(incoming.key);
            }
        }
    }

    /// Tells the codec what it cannot know. Says whether it has something to do now.
    fn told_codec(&mut self) -> bool {
        if self.ending {
            return false;
        }
        if self.shared.is_exceeded() {
            self.go(Reason::ENHANCE_YOUR_CALM);
            return true;
        }
        let mut told = false;
        if !self.leaving {
            if self.client.is_leaving() {
                self.client.listener.stats.downstream_cx_drain_close.inc();
                self.leave();
                told = true;
            } else if self.clock.age.has_passed() {
                self.client.listener.stats.limit_http2_max_age.inc();
                self.leave();
                told = true;
            }
        }
        let tell = |size| self.shared.codec.borrow_mut().set_window(size);
        self.shared.window.tell(tell) || told
    }

    /// Asks the client whether it is there, and how much the path holds: the windows grow with that.
    fn pulse(&mut self, cx: &mut Context<'_>) -> Beat {
        if self.ending {
            return Beat::Nothing;
        }
        let window = &self.shared.window;
        let (moved, came) = (self.pump.moved(), self.pump.received());
        let quiet = self.shared.is_idle();
        let beat = self.pulse.poll(moved, quiet, || window.begin(came), cx);
        if let Beat::Answered = beat
            && window.end(came)
        {
            self.shared.codec.borrow_mut().widen(window.connection());
            self.shared.widened();
        }
        beat
    }

    /// The client broke what it may not, and is told so.
    #[cold]
    fn failed(&mut self, failure: Failure) {
        tracing::debug!(%failure, "HTTP/2 connection failed");
        let stats = &self.client.listener.stats;
        match failure.cause {
            Cause::Rule => stats.http2_cx_errors.inc(),
            Cause::Control => stats.limit_http2_control_frames.inc(),
            Cause::Empty => stats.limit_http2_empty_frames.inc(),
            Cause::Bound => stats.limit_http2_codec.inc(),
        }
        self.go(failure.reason);
    }

    fn has_streams(&self) -> bool {
        self.shared.codec.borrow().has_streams()
    }

    /// Sees to the time, when there is nothing else to do.
    fn wait(&mut self, cx: &mut Context<'_>) -> Next {
        let now = now_millis();
        let sent = self.pump.sent();
        let clock = &mut self.clock;
        let mut codec = self.shared.codec.borrow_mut();
        codec.refill(sent - clock.sent, now.saturating_sub(clock.looked));
        drop(codec);
        clock
            .pace
            .moved(usize::try_from(sent - clock.sent).unwrap_or(usize::MAX));
        (clock.sent, clock.looked) = (sent, now);

        let taking = match self.pump.is_sending() {
            true => clock.pace.deadline(),
            false => {
                clock.pace.stop();
                Deadline::NEVER
            }
        };
        if taking.has_passed() && !clock.pace.is_kept() {
            self.client.listener.stats.limit_body_too_slow.inc();
            return Next::Cut;
        }
        if self.ending {
            return self.until(taking, cx);
        }
        if self.io.check().is_err() {
            return Next::Cut;
        }
        let block = self.block();
        if block.has_passed() {
            self.client.listener.stats.limit_header_timeout.inc();
            self.go(Reason::ENHANCE_YOUR_CALM);
            return Next::Again;
        }
        let idle = match self.idle(now, cx) {
            Ok(idle) => idle,
            Err(next) => return next,
        };
        let age = if self.leaving {
            Deadline::NEVER
        } else {
            self.clock.age
        };
        self.until(taking.min(block).min(idle).min(age), cx)
    }

    fn until(&self, deadline: Deadline, cx: &mut Context<'_>) -> Next {
        match self.client.timer.poll_until(deadline, cx) {
            Poll::Ready(()) => Next::Again,
            Poll::Pending => Next::Wait,
        }
    }

    /// Until when the preface, or an open header block, has to end.
    fn block(&mut self) -> Deadline {
        let codec = self.shared.codec.borrow();
        if codec.is_greeted() && !codec.is_in_block() {
            self.clock.block = Deadline::NEVER;
        } else if self.clock.block == Deadline::NEVER {
            let limits = &self.client.listener.spec.config.limits;
            self.clock.block = Deadline::after(limits.header_timeout);
        }
        self.clock.block
    }

    /// What a connection without streams waits for; or what is to be done now.
    fn idle(&mut self, now: u64, cx: &mut Context<'_>) -> Result<Deadline, Next> {
        let busy = !self.shared.is_idle() || self.pump.is_sending() || self.has_streams();
        self.ticket.set_idle(!busy);
        if busy {
            (self.clock.idle, self.clock.quiet) = (None, false);
            return Ok(Deadline::NEVER);
        }
        let since = *self.clock.idle.get_or_insert(now);
        let leaves = self.leaving || self.shared.codec.borrow().is_left();
        let limit = match leaves {
            true => LEAVE_WITHIN,
            false => self.client.listener.spec.config.limits.idle_timeout,
        };
        let passed = Duration::from_millis(now.saturating_sub(since));
        if passed >= limit {
            if !leaves {
                self.client.listener.stats.limit_idle_timeout.inc();
            }
            self.go(Reason::NO_ERROR);
            return Err(Next::Again);
        }
        if self.clock.quiet {
            return Ok(Deadline::after(limit - passed));
        }
        if passed < QUIET_AFTER {
            return Ok(Deadline::after(QUIET_AFTER - passed));
        }
        if self.pump.poll_quieten(cx).is_pending() {
            return Err(Next::Wait);
        }
        self.clock.quiet = true;
        // The codec has to be polled, so that it waits for what may come.
        Err(Next::Again)
    }
}

/// What has come.
enum Came {
    Nothing,
    Some,
    /// Nobody looks: the client takes too little of what it is answered.
    Waits,
    Ended(End),
}

enum Next {
    /// Something will wake us.
    Wait,
    /// There is more to do.
    Again,
    /// An end without words.
    Cut,
}

/// Begins a stream's task.
fn begin(client: &Client, place: InFlight, incoming: Incoming) {
    let place = Rc::new(place);
    let keeper = Rc::clone(&place);
    // A panic here ends the stream, as one in its task does, and not the connection: what was taken from the codec resets it.
    let admit = || Stream::admit(client.beside(), place, incoming);
    if let Some(stream) = guarded(&keeper, admit) {
        // Boxed, or the whole of it is copied on the way into the runtime's own box, and again on the way to that.
        spawn(Root::new(boxed(|| stream.serve()), keeper));
    }
}
