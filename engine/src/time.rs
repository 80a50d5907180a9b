//! Time on a core: one coarse clock, one wheel of deadlines, one timerfd.
//!
//! A task owns one [`Timer`], a slot on its core's wheel. Moving a deadline later costs a store: the wheel finds the slot
//! at its old place, sees that it is not due, and moves it then. So a connection that arms and disarms a deadline with
//! every request touches the wheel once in a while, not twice a request. Deadlines are good to [`TICK`].
//!
//! A core is a thread, so the wheel is a thread-local, and none of this is shared.

mod both;
mod wheel;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

pub(crate) use both::try_both;
use wheel::Wheel;

/// How coarse deadlines are: it bounds how often an idle core wakes for them.
pub const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 8;
/// How far the coarse clock may be behind: two ticks of a kernel with 250 of them a second, as distributions build it. One is its
/// grain; on virtual machines it was seen to miss every other.
const GRAIN_MILLIS: u64 = 8;
const NEVER: u64 = u64::MAX;

/// A point in time: milliseconds of the kernel's coarse monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self(NEVER);

    /// So much from now.
    pub fn after(duration: Duration) -> Self {
        // The coarse clock is behind by up to its grain: without that a wait would be too short.
        let millis = u64::try_from(duration.as_millis()).unwrap_or(NEVER);
        Self(
            now_millis()
                .saturating_add(GRAIN_MILLIS)
                .saturating_add(millis),
        )
    }

    /// `after`, or never.
    pub fn after_opt(duration: Option<Duration>) -> Self {
        duration.map_or(Self::NEVER, Self::after)
    }

    /// So much after a reading of the coarse clock.
    pub fn since(millis: u64, duration: Duration) -> Self {
        Self(millis.saturating_add(GRAIN_MILLIS)).later(duration)
    }

    /// So much later.
    #[must_use]
    pub fn later(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(NEVER)),
        )
    }

    /// Whether it has come.
    pub fn has_passed(self) -> bool {
        self.0 != NEVER && now_millis() >= self.0
    }

    /// How long until it comes; `None` for never.
    pub fn remaining(self) -> Option<Duration> {
        (self.0 != NEVER).then(|| Duration::from_millis(self.0.saturating_sub(now_millis())))
    }
}

/// Milliseconds of `CLOCK_MONOTONIC_COARSE`: behind by up to `GRAIN_MILLIS`, for 5 ns a read.
#[expect(
    unsafe_code,
    reason = "clock_gettime has no safe wrapper for the coarse clock in std"
)]
pub fn now_millis() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    #[cfg(debug_assertions)]
    if let Some(feigned) = FEIGNED.get() {
        return feigned;
    }
    // SAFETY: `now` is a valid place for a timespec, and the clock id exists since Linux 2.6.32.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    (now.tv_sec as u64) * 1000 + (now.tv_nsec as u64) / 1_000_000
}

#[cfg(debug_assertions)]
thread_local! {
    static FEIGNED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Has the coarse clock of this thread stand still there, for who counts time; none: it is the kernel's again.
#[cfg(debug_assertions)]
pub(crate) fn feign(millis: Option<u64>) {
    FEIGNED.set(millis);
}

/// The deadline came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

thread_local! {
    /// Not dropped with its thread, after the runtime that its wakers want: see [`crate::net::run`].
    static WHEEL: RefCell<ManuallyDrop<Wheel>> = RefCell::new(ManuallyDrop::new(Wheel::new(now_millis() / TICK_MILLIS)));
}

/// A task's place on its core's wheel.
#[derive(Debug)]
pub struct Timer {
    key: u32,
    /// The earliest of the deadlines that are being waited for.
    current: Cell<u64>,
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer {
    /// A place without a deadline.
    pub fn new() -> Self {
        Self {
            key: WHEEL.with_borrow_mut(|wheel| wheel.insert()),
            current: Cell::new(NEVER),
        }
    }

    /// Runs `future` until `deadline`. Deadlines nest: the earliest of those around counts for waking, each for itself.
    /// On `Elapsed` the future is dropped, so it must be one that loses nothing by that (a read lives in its stream).
    pub fn within<F: Future>(&self, deadline: Deadline, future: F) -> Within<'_, F> {
        Within {
            timer: self,
            deadline,
            outer: None,
            future,
        }
    }

    /// Whether `deadline` has come; if not, the task is woken when it has.
    pub fn poll_until(&self, deadline: Deadline, cx: &mut Context<'_>) -> Poll<()> {
        if deadline.has_passed() {
            return Poll::Ready(());
        }
        self.current.set(deadline.0);
        self.arm(cx);
        Poll::Pending
    }

    /// Waits until `deadline`.
    pub async fn sleep_until(&self, deadline: Deadline) {
        let _elapsed = self.within(deadline, std::future::pending::<()>()).await;
    }

    fn arm(&self, cx: &Context<'_>) {
        WHEEL.with_borrow_mut(|wheel| wheel.arm(self.key, self.current.get(), cx.waker()));
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // The wheel is gone before the last timers when a thread ends; then there is nothing to give back.
        let waker = WHEEL.try_with(|wheel| wheel.borrow_mut().remove(self.key));
        drop(waker);
    }
}

pin_project! {
    /// What [`Timer::within`] returns. A type of its own, since an `async fn` would hold the future twice, and nested
    /// deadlines would double it each time.
    pub struct Within<'t, F> {
        timer: &'t Timer,
        deadline: Deadline,
        // The deadline around, from the first poll to the end.
        outer: Option<u64>,
        #[pin]
        future: F,
    }

    impl<F> PinnedDrop for Within<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(outer) = this.outer.take() {
                this.timer.current.set(outer);
            }
        }
    }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let timer = *this.timer;
        let outer = *this.outer.get_or_insert_with(|| timer.current.get());
        let output = match this.future.poll(cx) {
            Poll::Ready(value) => Ok(value),
            Poll::Pending if this.deadline.has_passed() => Err(Elapsed),
            Poll::Pending => {
                // At every poll and not only at the first: an inner wait that ended has put back what it had found.
                timer.current.set(this.deadline.0.min(timer.current.get()));
                timer.arm(cx);
                return Poll::Pending;
            }
        };
        timer.current.set(outer);
        *this.outer = None;
        Poll::Ready(output)
    }
}

/// Waits, with a place on the wheel of its own.
pub async fn sleep(duration: Duration) {
    Timer::new().sleep_until(Deadline::after(duration)).await;
}

/// What the core's driver task does: turn the wheel, and say for how long it may sleep (`None`: until told).
/// The caller's waker is woken when an earlier deadline is set.
pub(crate) fn turn(cx: &Context<'_>) -> Option<Duration> {
    let mut woken = Vec::new();
    let sleep = WHEEL.with_borrow_mut(|wheel| {
        wheel.turn(now_millis() / TICK_MILLIS, &mut woken);
        let next = wheel.sleep(cx.waker());
        (next != NEVER).then(|| {
            let millis = (next * TICK_MILLIS).saturating_sub(now_millis());
            Duration::from_millis(millis.max(1))
        })
    });
    for waker in woken {
        waker.wake();
    }
    sleep
}
