//! The connections of a core that have not yet said which chain they are for, or not yet ended their handshake.
//!
//! There are at most so many. Half-open ones cost their sender nothing, so it is not newcomers that are turned away: at the
//! limit the oldest one ends, first of those whose ClientHello is not whole. Clients in earnest are through long before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::net;

/// All of a core's.
#[derive(Default)]
pub(crate) struct Handshakes(RefCell<Places>);

#[derive(Default)]
struct Places {
    next: u64,
    /// Without a whole ClientHello, the oldest first.
    waiting: BTreeMap<u64, RawFd>,
    /// With one.
    begun: BTreeMap<u64, RawFd>,
}

impl Places {
    fn pop_oldest(&mut self) -> Option<RawFd> {
        let oldest = self.waiting.pop_first().or_else(|| self.begun.pop_first());
        oldest.map(|(_, fd)| fd)
    }
}

impl Handshakes {
    /// One more, and whether another had to end for it. The descriptor must stay open as long as the place is held.
    pub(crate) fn enter(self: &Rc<Self>, fd: RawFd, max: u32) -> (Handshake, bool) {
        let mut places = self.0.borrow_mut();
        let full = places.waiting.len() + places.begun.len() >= max as usize;
        if full && let Some(oldest) = places.pop_oldest() {
            net::cut(oldest);
        }
        let number = places.next;
        places.next += 1;
        places.waiting.insert(number, fd);
        let all = Rc::clone(self);
        (Handshake { all, number }, full)
    }
}

/// A connection's place among them, until it is dropped.
pub(crate) struct Handshake {
    all: Rc<Handshakes>,
    number: u64,
}

impl Handshake {
    /// The ClientHello is whole.
    pub(crate) fn began(&self) {
        let mut places = self.all.0.borrow_mut();
        if let Some(fd) = places.waiting.remove(&self.number) {
            places.begun.insert(self.number, fd);
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut places = self.all.0.borrow_mut();
        places.waiting.remove(&self.number);
        places.begun.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_without_a_whole_hello_goes_first() {
        let all = Rc::new(Handshakes::default());
        // No descriptor has such a number: to cut it does nothing.
        let enter = |number: RawFd| all.enter(1_000_000 + number, 3);
        let ((first, _), (second, _), (third, full)) = (enter(1), enter(2), enter(3));
        assert!(!full);
        first.began();
        let there = || {
            let places = all.0.borrow();
            let fds = places.waiting.values().chain(places.begun.values());
            fds.map(|fd| fd - 1_000_000).collect::<Vec<_>>()
        };
        let (fourth, full) = enter(4);
        assert!(full);
        assert_eq!(there(), [3, 4, 1]);
        drop(second);
        fourth.began();
        third.began();
        let (_fifth, full) = enter(5);
        assert!(full);
        assert_eq!(there(), [5, 3, 4]);
        drop((first, third, fourth));
        assert_eq!(there(), [5]);
    }
}
