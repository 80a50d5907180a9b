//! How fast a client must be: bytes a second, over a while, counted only while we wait for it.

use std::cell::Cell;
use std::time::Duration;

use ringway_config::HttpLimits;

use crate::time::{Deadline, now_millis};

/// A body's pace in one direction.
pub(super) struct Pace {
    /// Bytes that have to move in each window.
    quota: u64,
    grace: Duration,
    /// It is not asked for now.
    lifted: Cell<bool>,
    moved: Cell<u64>,
    /// When the window ends; not running while nobody waits.
    window: Cell<Deadline>,
    /// When the last wait ended.
    stopped: Cell<u64>,
}

impl Pace {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        let millis = u64::try_from(limits.body_rate_grace.as_millis()).unwrap_or(u64::MAX);
        Self {
            quota: limits.body_rate.0.saturating_mul(millis) / 1000,
            grace: limits.body_rate_grace,
            lifted: Cell::new(false),
            moved: Cell::new(0),
            window: Cell::new(Deadline::NEVER),
            stopped: Cell::new(0),
        }
    }

    /// Asks for none, until it is asked for again.
    pub(super) fn lift(&self) {
        self.lifted.set(true);
    }

    /// Asks for it, from now on.
    pub(super) fn ask(&self) {
        if self.lifted.replace(false) {
            self.moved.set(0);
            self.window.set(Deadline::NEVER);
            self.stopped.set(0);
        }
    }

    /// Bytes have moved.
    pub(super) fn moved(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes as u64);
    }

    /// A wait begins or goes on: when it is over, at the latest. `None` if no pace is asked for.
    pub(super) fn deadline(&self) -> Deadline {
        if self.quota == 0 || self.lifted.get() {
            return Deadline::NEVER;
        }
        if self.window.get() == Deadline::NEVER {
            self.window.set(Deadline::after(self.grace));
        } else if self.stopped.get() != 0 {
            let paused = now_millis().saturating_sub(self.stopped.get());
            self.window
                .set(self.window.get().later(Duration::from_millis(paused)));
        }
        self.stopped.set(0);
        self.window.get()
    }

    /// The wait is over: the time until the next does not count.
    pub(super) fn stop(&self) {
        if self.window.get() != Deadline::NEVER && self.stopped.get() == 0 {
            self.stopped.set(now_millis());
        }
    }

    /// The deadline came: whether enough has moved. If so, the next window begins.
    pub(super) fn is_kept(&self) -> bool {
        let kept = self.moved.replace(0) >= self.quota;
        self.window.set(Deadline::after(self.grace));
        kept
    }
}
