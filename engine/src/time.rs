//! Time on a core: one coarse clock, one wheel of deadlines, one timerfd.
//!
//! A task owns one [`Timer`], a slot on its core's wheel. Moving a deadline later costs a store: the wheel finds the slot
//! at its old place, sees that it is not due, and moves it then. So a connection that arms and disarms a deadline with
//! every request touches the wheel once in a while, not twice a request. Deadlines are good to [`TICK`].
//!
//! A core is a thread, so the wheel is a thread-local, and none of this is shared.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

/// How coarse deadlines are: it bounds how often an idle core wakes for them.
pub const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 8;
/// The grain of the coarse clock: one tick of a kernel with 250 of them a second, as distributions build it.
const GRAIN_MILLIS: u64 = 4;
/// Slots of the wheel; a deadline beyond its horizon (33 s) waits in the last one and is put anew from there.
const SLOTS: usize = 4096;
const NEVER: u64 = u64::MAX;
const NIL: u32 = u32::MAX;

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

/// Milliseconds of `CLOCK_MONOTONIC_COARSE`: 4 ms of grain for 5 ns a read.
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

struct Slot {
    deadline: u64,
    /// Where it hangs on the wheel: a slot's number, or `NIL`.
    bucket: u32,
    next: u32,
    previous: u32,
    waker: Option<Waker>,
}

struct Wheel {
    slots: Vec<Slot>,
    free: Vec<u32>,
    buckets: Box<[u32]>,
    /// One bit for each bucket that is not empty.
    occupied: Box<[u64]>,
    /// The tick up to which the wheel has turned.
    turned: u64,
    /// The tick that the driver sleeps until.
    armed: u64,
    driver: Option<Waker>,
}

thread_local! {
    /// Not dropped with its thread, after the runtime that its wakers want: see [`crate::net::run`].
    static WHEEL: RefCell<ManuallyDrop<Wheel>> = RefCell::new(ManuallyDrop::new(Wheel::new(now_millis() / TICK_MILLIS)));
}

impl Wheel {
    fn new(tick: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            buckets: vec![NIL; SLOTS].into_boxed_slice(),
            occupied: vec![0; SLOTS / 64].into_boxed_slice(),
            turned: tick,
            armed: NEVER,
            driver: None,
        }
    }

    fn insert(&mut self) -> u32 {
        let slot = Slot {
            deadline: NEVER,
            bucket: NIL,
            next: NIL,
            previous: NIL,
            waker: None,
        };
        if let Some(key) = self.free.pop() {
            self.slots[key as usize] = slot;
            return key;
        }
        self.slots.push(slot);
        (self.slots.len() - 1) as u32
    }

    /// Gives a slot back. Its waker is the caller's to drop, when the wheel is no longer borrowed.
    fn remove(&mut self, key: u32) -> Option<Waker> {
        self.unlink(key);
        self.free.push(key);
        self.slots[key as usize].waker.take()
    }

    /// The tick at which a deadline's bucket is turned; never before the deadline, never beyond the horizon.
    fn due_tick(&self, deadline: u64) -> u64 {
        deadline
            .div_ceil(TICK_MILLIS)
            .clamp(self.turned + 1, self.turned + SLOTS as u64 - 1)
    }

    fn link(&mut self, key: u32) {
        let due = self.due_tick(self.slots[key as usize].deadline);
        let bucket = (due % SLOTS as u64) as usize;
        let head = self.buckets[bucket];
        if head != NIL {
            self.slots[head as usize].previous = key;
        }
        let slot = &mut self.slots[key as usize];
        slot.bucket = bucket as u32;
        slot.next = head;
        slot.previous = NIL;
        self.buckets[bucket] = key;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        if due < self.armed {
            self.armed = due;
            if let Some(driver) = &self.driver {
                driver.wake_by_ref();
            }
        }
    }

    fn unlink(&mut self, key: u32) {
        let Slot {
            bucket,
            next,
            previous,
            ..
        } = self.slots[key as usize];
        if bucket == NIL {
            return;
        }
        if previous == NIL {
            self.buckets[bucket as usize] = next;
            if next == NIL {
                self.occupied[bucket as usize / 64] &= !(1 << (bucket % 64));
            }
        } else {
            self.slots[previous as usize].next = next;
        }
        if next != NIL {
            self.slots[next as usize].previous = previous;
        }
        self.slots[key as usize].bucket = NIL;
    }

    /// Sets a deadline. Only one that comes before its place on the wheel moves it there.
    fn set(&mut self, key: u32, deadline: u64) {
        self.slots[key as usize].deadline = deadline;
        if deadline == NEVER {
            return;
        }
        let bucket = self.slots[key as usize].bucket;
        if bucket == NIL {
            return self.link(key);
        }
        // How far its bucket is from where the wheel stands now, against how far it should be.
        let due = self.due_tick(deadline) - self.turned;
        let hangs = (u64::from(bucket) + SLOTS as u64 - self.turned % SLOTS as u64) % SLOTS as u64;
        if due < hangs {
            self.unlink(key);
            self.link(key);
        }
    }

    /// Turns to `tick`; the wakers of what is due go to `woken`.
    fn turn(&mut self, tick: u64, woken: &mut Vec<Waker>) {
        let steps = (tick.saturating_sub(self.turned)).min(SLOTS as u64);
        let first = self.turned + 1;
        self.turned = tick.max(self.turned);
        for step in 0..steps {
            let bucket = ((first + step) % SLOTS as u64) as usize;
            if self.occupied[bucket / 64] & (1 << (bucket % 64)) == 0 {
                continue;
            }
            let mut key = std::mem::replace(&mut self.buckets[bucket], NIL);
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            while key != NIL {
                let slot = &mut self.slots[key as usize];
                let next = slot.next;
                slot.bucket = NIL;
                if slot.deadline <= tick * TICK_MILLIS {
                    slot.deadline = NEVER;
                    woken.extend(slot.waker.clone());
                } else if slot.deadline != NEVER {
                    self.link(key);
                }
                key = next;
            }
        }
    }

    /// The next tick with something in its bucket.
    fn next_tick(&self) -> u64 {
        let mut ahead = 1;
        while ahead < SLOTS as u64 {
            let bucket = ((self.turned + ahead) % SLOTS as u64) as usize;
            let word = self.occupied[bucket / 64] >> (bucket % 64);
            if word != 0 {
                return self.turned + ahead + u64::from(word.trailing_zeros());
            }
            ahead += 64 - (bucket % 64) as u64;
        }
        NEVER
    }
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
        WHEEL.with_borrow_mut(|wheel| {
            let slot = &mut wheel.slots[self.key as usize];
            if !slot
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                slot.waker = Some(cx.waker().clone());
            }
            if slot.deadline != self.current.get() {
                wheel.set(self.key, self.current.get());
            }
        });
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
        wheel.driver = Some(cx.waker().clone());
        wheel.armed = wheel.next_tick();
        (wheel.armed != NEVER).then(|| {
            Duration::from_millis(
                (wheel.armed * TICK_MILLIS)
                    .saturating_sub(now_millis())
                    .max(1),
            )
        })
    });
    for waker in woken {
        waker.wake();
    }
    sleep
}

/// Runs two futures to their ends, or to the first that fails: the other is dropped then.
pub(crate) async fn try_both<E>(
    a: impl Future<Output = Result<(), E>>,
    b: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    std::future::poll_fn(move |cx| {
        poll_into(a.as_mut(), &mut left, cx);
        poll_into(b.as_mut(), &mut right, cx);
        match (left.take(), right.take()) {
            (Some(Err(error)), _) | (_, Some(Err(error))) => Poll::Ready(Err(error)),
            (Some(Ok(())), Some(Ok(()))) => Poll::Ready(Ok(())),
            (a, b) => {
                (left, right) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

fn poll_into<F: Future>(future: Pin<&mut F>, into: &mut Option<F::Output>, cx: &mut Context<'_>) {
    if into.is_none()
        && let Poll::Ready(value) = future.poll(cx)
    {
        *into = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, tick: u64) -> usize {
        let mut woken = Vec::new();
        wheel.turn(tick, &mut woken);
        woken.len()
    }

    fn slot(wheel: &mut Wheel, deadline: u64) -> u32 {
        let key = wheel.insert();
        wheel.slots[key as usize].waker = Some(Waker::noop().clone());
        wheel.set(key, deadline);
        key
    }

    #[test]
    fn a_deadline_fires_once_and_never_early() {
        let mut wheel = Wheel::new(1000);
        slot(&mut wheel, 1003 * TICK_MILLIS - 1);
        assert_eq!(wheel.next_tick(), 1003);
        assert_eq!(due(&mut wheel, 1002), 0);
        assert_eq!(due(&mut wheel, 1003), 1);
        assert_eq!(due(&mut wheel, 9000), 0);
    }

    #[test]
    fn a_later_deadline_is_found_where_it_hung_and_moved() {
        let mut wheel = Wheel::new(0);
        let key = slot(&mut wheel, 10 * TICK_MILLIS);
        wheel.set(key, 500 * TICK_MILLIS);
        assert_eq!(wheel.next_tick(), 10);
        assert_eq!(due(&mut wheel, 499), 0);
        assert_eq!(due(&mut wheel, 500), 1);
    }

    #[test]
    fn an_earlier_deadline_moves_at_once() {
        let mut wheel = Wheel::new(77);
        let key = slot(&mut wheel, 5_000 * TICK_MILLIS);
        wheel.set(key, 80 * TICK_MILLIS);
        assert_eq!(due(&mut wheel, 80), 1);
    }

    #[test]
    fn a_removed_timer_does_not_fire() {
        let mut wheel = Wheel::new(0);
        let key = slot(&mut wheel, 5 * TICK_MILLIS);
        let other = slot(&mut wheel, 5 * TICK_MILLIS);
        wheel.remove(key);
        assert_eq!(due(&mut wheel, 5), 1);
        wheel.remove(other);
        assert_eq!(wheel.next_tick(), NEVER);
    }

    #[test]
    fn random_deadlines_fire_in_their_tick() {
        let rng = crate::rng::Rng::new(3);
        let mut wheel = Wheel::new(10);
        let mut expect = std::collections::BTreeMap::<u64, usize>::new();
        for _ in 0..5_000 {
            let deadline = (11 + rng.below(20_000)) * TICK_MILLIS;
            let key = slot(&mut wheel, deadline);
            let moved = (11 + rng.below(20_000)) * TICK_MILLIS;
            wheel.set(key, moved);
            *expect.entry(moved / TICK_MILLIS).or_default() += 1;
        }
        for tick in 11..=20_011 {
            assert_eq!(
                due(&mut wheel, tick),
                expect.get(&tick).copied().unwrap_or(0),
                "tick {tick}"
            );
        }
    }
}
