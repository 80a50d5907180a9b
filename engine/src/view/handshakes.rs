//! The connections of a core that have not yet said which chain they are for, or not yet ended their handshake.
//!
//! There are at most so many. Half-open ones cost their sender nothing, so it is not newcomers that are turned away: at the
//! limit the oldest one ends, however far it has come. Clients in earnest are through long before. Were those first whose ClientHello
//! is not whole, a crowd that stops after its own would have whoever has just come cut off in its place.

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
    /// The oldest first.
    taken: BTreeMap<u64, RawFd>,
}

impl Handshakes {
    /// One more, and whether another had to end for it. The descriptor must stay open as long as the place is held.
    pub(crate) fn enter(self: &Rc<Self>, fd: RawFd, max: u32) -> (Handshake, bool) {
        let mut places = self.0.borrow_mut();
        let full = places.taken.len() >= max as usize;
        if full && let Some((_, oldest)) = places.taken.pop_first() {
            net::cut(oldest);
        }
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, fd);
        let all = Rc::clone(self);
        (Handshake { all, number }, full)
    }
}

/// A connection's place among them, until it is dropped.
pub(crate) struct Handshake {
    all: Rc<Handshakes>,
    number: u64,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.0.borrow_mut().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let all = Rc::new(Handshakes::default());
        // No descriptor has such a number: to cut it does nothing.
        let enter = |number: RawFd| all.enter(1_000_000 + number, 3);
        let ((first, _), (second, _), (third, full)) = (enter(1), enter(2), enter(3));
        assert!(!full);
        let there = || {
            let places = all.0.borrow();
            let fds = places.taken.values().map(|fd| fd - 1_000_000);
            fds.collect::<Vec<_>>()
        };
        let (_fourth, full) = enter(4);
        assert!(full);
        assert_eq!(there(), [2, 3, 4]);
        drop((first, second));
        let (_fifth, full) = enter(5);
        assert!(!full);
        assert_eq!(there(), [3, 4, 5]);
        drop(third);
        assert_eq!(there(), [4, 5]);
    }
}
