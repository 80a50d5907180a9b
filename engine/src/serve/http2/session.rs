//! The task of a client's HTTP/2 connection: drives the codec, begins streams, and knows when to end.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection as Codec, SendResponse};
use h2::{Reason, RecvStream};

use super::shared::Shared;
use super::stream::Stream;
use crate::http2::{Beat, Pulse};
use crate::net::{PollIo, Pump, spawn};
use crate::serve::Client;
use crate::serve::pace::Pace;
use crate::serve::root::{Root, boxed, guarded};
use crate::time::{Deadline, now_millis};
use crate::view::Ticket;

/// How long a connection without streams keeps its buffers: as HTTP/1's.
const QUIET_AFTER: Duration = Duration::from_millis(16);
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

/// A request that came.
type Incoming = (http::Request<RecvStream>, SendResponse<Bytes>);

/// A connection in service.
pub(super) struct Session<'p> {
    pub(super) client: Client,
    pub(super) ticket: Ticket,
    codec: Codec<PollIo, Bytes>,
    pump: &'p Pump,
    shared: Rc<Shared>,
    /// Requests that came while as many as announced were in flight: of streams whose predecessors were reset just now.
    waiting: VecDeque<Incoming>,
    pulse: Pulse,
    /// It was told that no more requests are wanted.
    leaving: bool,
    /// It was told to go at once.
    ending: bool,
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
        mut codec: Codec<PollIo, Bytes>,
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
        let pulse = Pulse::new(codec.ping_pong(), http2.keep_alive, timeout);
        Self {
            pulse,
            client,
            ticket,
            codec,
            pump,
            shared,
            waiting: VecDeque::new(),
            leaving: false,
            ending: false,
            clock,
        }
    }

    /// Goes on with it, until it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.shared.listen(cx.waker());
        self.ticket.ends_itself(cx.waker());
        loop {
            self.begin_waiting();
            match self.codec.poll_accept(cx) {
                Poll::Ready(Some(Ok(incoming))) => {
                    self.accept(incoming);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.failed(&error)),
                Poll::Ready(None) if self.leaving || self.ending => {
                    return Poll::Ready(End::Linger);
                }
                Poll::Ready(None) => return Poll::Ready(End::Close),
                Poll::Pending => {}
            }
            if self.told_codec() || self.pump.poll(cx) {
                continue;
            }
            match self.pulse(cx) {
                Beat::Nothing => {}
                Beat::Asked | Beat::Answered => continue,
                Beat::Dead => {
                    self.client.listener.stats.limit_http2_keep_alive.inc();
                    return Poll::Ready(End::Cut);
                }
            }
            return match self.wait(cx) {
                Next::Wait => Poll::Pending,
                Next::Again => continue,
                Next::Cut => Poll::Ready(End::Cut),
            };
        }
    }

    /// Begins streams that waited for a place.
    fn begin_waiting(&mut self) {
        while !self.waiting.is_empty() {
            let Some(place) = self.shared.enter() else {
                return;
            };
            if let Some((request, respond)) = self.waiting.pop_front() {
                begin(&self.client, place, request, respond);
            }
        }
    }

    fn accept(&mut self, (request, mut respond): Incoming) {
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
            begin(&self.client, place, request, respond);
        } else if self.waiting.len() < config.http2.concurrent_streams as usize {
            self.waiting.push_back((request, respond));
        } else {
            listener.stats.limit_http2_streams.inc();
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    }

    /// No more requests, and then an end: GOAWAY twice, a round trip apart.
    fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.codec.graceful_shutdown();
        }
    }

    /// An end now.
    fn go(&mut self, why: Reason) {
        if !self.ending {
            self.ending = true;
            self.waiting.clear();
            self.codec.abrupt_shutdown(why);
        }
    }

    /// Tells the codec what it cannot know. Says whether it has something to do now.
    fn told_codec(&mut self) -> bool {
        if self.ending {
            return false;
        }
        if let Some(why) = self.shared.breach() {
            self.go(why);
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
        let codec = &mut self.codec;
        let tell = |size| codec.set_initial_window_size(size).is_ok();
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
            self.codec.set_target_window_size(window.connection());
            self.shared.widened();
        }
        beat
    }

    fn failed(&self, error: &h2::Error) -> End {
        tracing::debug!(%error, "HTTP/2 connection failed");
        let stats = &self.client.listener.stats;
        if error.is_io() || error.is_remote() {
            return End::Close;
        }
        match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) => stats.limit_http2_codec.inc(),
            Some(_) | None => stats.http2_cx_errors.inc(),
        }
        End::Linger
    }

    /// Sees to the time, when there is nothing else to do.
    fn wait(&mut self, cx: &mut Context<'_>) -> Next {
        let now = now_millis();
        let sent = self.pump.sent();
        let clock = &mut self.clock;
        self.shared
            .refill(sent - clock.sent, now.saturating_sub(clock.looked));
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

    /// Until when an open header block has to end.
    fn block(&mut self) -> Deadline {
        if !self.shared.is_in_block() {
            self.clock.block = Deadline::NEVER;
        } else if self.clock.block == Deadline::NEVER {
            let limits = &self.client.listener.spec.config.limits;
            self.clock.block = Deadline::after(limits.header_timeout);
        }
        self.clock.block
    }

    /// What a connection without streams waits for; or what is to be done now.
    fn idle(&mut self, now: u64, cx: &mut Context<'_>) -> Result<Deadline, Next> {
        let busy = !self.shared.is_idle() || self.pump.is_sending() || self.codec.has_streams();
        self.ticket.set_idle(!busy);
        if busy {
            (self.clock.idle, self.clock.quiet) = (None, false);
            return Ok(Deadline::NEVER);
        }
        let since = *self.clock.idle.get_or_insert(now);
        let limit = match self.leaving {
            true => LEAVE_WITHIN,
            false => self.client.listener.spec.config.limits.idle_timeout,
        };
        let passed = Duration::from_millis(now.saturating_sub(since));
        if passed >= limit {
            if !self.leaving {
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

enum Next {
    /// Something will wake us.
    Wait,
    /// There is more to do.
    Again,
    /// An end without words.
    Cut,
}

/// Begins a stream's task.
fn begin(
    client: &Client,
    place: super::shared::InFlight,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let place = Rc::new(place);
    let keeper = Rc::clone(&place);
    // A panic here ends the stream, as one in its task does, and not the connection: what was taken from the codec resets it.
    let admit = || Stream::admit(client.beside(), place, request, respond);
    if let Some(stream) = guarded(&keeper, admit) {
        // Boxed, or the whole of it is copied on the way into the runtime's own box, and again on the way to that.
        spawn(Root::new(boxed(|| stream.serve()), keeper));
    }
}
