//! A hashed wheel of deadlines: a ring of ticks, each with a list of those that are due in it.
//!
//! A deadline that moves later stays where it hangs, and is moved when the wheel comes to it.

use std::task::Waker;

use super::{NEVER, TICK_MILLIS};

/// Ticks of the wheel; a deadline beyond its horizon (33 s) waits in the last one and is put anew from there.
const SLOTS: usize = 4096;
const NIL: u32 = u32::MAX;

struct Slot {
    deadline: u64,
    /// Where it hangs on the wheel: a slot's number, or `NIL`.
    bucket: u32,
    next: u32,
    previous: u32,
    waker: Option<Waker>,
}

/// The deadlines of a core, by the tick in which they are due.
pub(super) struct Wheel {
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

impl Wheel {
    /// A wheel that stands at a tick, with nothing on it.
    pub(super) fn new(tick: u64) -> Self {
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

    /// A slot without a deadline.
    pub(super) fn insert(&mut self) -> u32 {
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
    pub(super) fn remove(&mut self, key: u32) -> Option<Waker> {
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

    /// Sets a deadline and who is woken by it.
    pub(super) fn arm(&mut self, key: u32, deadline: u64, waker: &Waker) {
        let slot = &mut self.slots[key as usize];
        let known = slot.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(waker)) {
            slot.waker = Some(waker.clone());
        }
        if slot.deadline != deadline {
            self.set(key, deadline);
        }
    }

    /// The tick until which nothing is due; who sleeps until then is woken where an earlier deadline is set.
    pub(super) fn sleep(&mut self, driver: &Waker) -> u64 {
        self.driver = Some(driver.clone());
        self.armed = self.next_tick();
        self.armed
    }

    /// Turns to `tick`; the wakers of what is due go to `woken`.
    pub(super) fn turn(&mut self, tick: u64, woken: &mut Vec<Waker>) {
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
