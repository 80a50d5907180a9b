//! Asking the other end of a connection whether it is there, by PING; and lending PINGs to who measures the path.

use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};

use crate::time::{Deadline, Timer};

/// Who sends PINGs, one at a time.
pub(crate) trait Pinger {
    /// Asks; says whether it could.
    fn ping(&mut self) -> bool;
    /// Whether the answer is here, or never will be.
    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;
}

/// No answer will come: the connection has ended.
pub(crate) struct Gone;

impl Pinger for PingPong {
    fn ping(&mut self) -> bool {
        self.send_ping(Ping::opaque()).is_ok()
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let pong = PingPong::poll_pong(self, cx);
        pong.map(|pong| pong.map(|_| ()).map_err(|_| Gone))
    }
}

/// One PING at a time is under way.
pub(crate) struct Pulse<P> {
    /// The codec has one, and lends it once.
    pinger: Option<P>,
    interval: Option<Duration>,
    /// How long an answer may take; absent: nobody minds.
    timeout: Option<Duration>,
    /// What is waited for: until when, and how much had moved by the last look.
    asked: Option<(Deadline, u64)>,
    /// When to ask next, unasked.
    next: Deadline,
    timer: Timer,
}

/// What came of a look at the pulse.
pub(crate) enum Beat {
    Nothing,
    /// A PING goes out: the codec has something to do.
    Asked,
    /// It was answered.
    Answered,
    /// It was not, and nothing else came or went either.
    Dead,
}

impl<P: Pinger> Pulse<P> {
    /// Asks after each `interval`, and waits for answers no longer than `timeout`.
    pub(crate) fn new(
        pinger: Option<P>,
        interval: Option<Duration>,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            pinger,
            interval,
            timeout,
            asked: None,
            next: Deadline::after_opt(interval),
            timer: Timer::new(),
        }
    }

    /// Goes on with it. `moved`: bytes of the connection, both ways, ever; `quiet`: nothing is under way on it, and nobody would miss
    /// it; `wanted`: a PING is wanted now, asked only if one can be sent.
    pub(crate) fn poll(
        &mut self,
        moved: u64,
        quiet: bool,
        wanted: impl FnOnce() -> bool,
        cx: &mut Context<'_>,
    ) -> Beat {
        let Some(pinger) = &mut self.pinger else {
            return Beat::Nothing;
        };
        if let Some((deadline, before)) = self.asked {
            match pinger.poll_pong(cx) {
                Poll::Ready(Ok(())) => {
                    self.asked = None;
                    self.next = Deadline::after_opt(self.interval);
                    return Beat::Answered;
                }
                Poll::Ready(Err(Gone)) => return Beat::Nothing,
                Poll::Pending => {}
            }
            if self.timer.poll_until(deadline, cx).is_pending() {
                return Beat::Nothing;
            }
            if moved == before {
                return Beat::Dead;
            }
            // It stands in line behind what the other end is busy with: who takes or sends bytes is there.
            let again = Deadline::after_opt(self.timeout);
            self.asked = Some((again, moved));
            let _later = self.timer.poll_until(again, cx);
            return Beat::Nothing;
        }
        let due = if quiet {
            // An idle connection must not be kept from being closed.
            self.next = Deadline::after_opt(self.interval);
            false
        } else {
            self.timer.poll_until(self.next, cx).is_ready()
        };
        if !(wanted() || due) || !pinger.ping() {
            return Beat::Nothing;
        }
        self.asked = Some((Deadline::after_opt(self.timeout), moved));
        Beat::Asked
    }
}
