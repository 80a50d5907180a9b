//! The client connections of a core: so that the idle ones can be ended when the core drains, and all when it stops.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

use super::ListenerId;
use crate::net::{end_reading, reset};
use crate::time::now_millis;

struct Entry {
    fd: RawFd,
    listener: ListenerId,
    /// Between requests: nothing is lost if it ends.
    idle: bool,
    /// When it came in, until its first request.
    born: Option<u64>,
    /// It ends itself when it is told to: one that has words for it.
    waker: Option<Waker>,
}

/// How long a connection that came in may take to send its first request before it counts as idle, in milliseconds:
/// a client that was let in while a listener closed is about to speak.
const FRESH_MILLIS: u64 = 500;

impl Entry {
    fn is_idle(&self, now: u64) -> bool {
        self.idle
            && self
                .born
                .is_none_or(|born| now.saturating_sub(born) >= FRESH_MILLIS)
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Connections {
    entries: RefCell<Vec<Option<Entry>>>,
    free: RefCell<Vec<usize>>,
}

impl Connections {
    /// Ends the connections that are between requests, of the listeners that `of` names: their read ends, and they close. Those
    /// that end themselves are told to, whatever they are doing. Says whether there were others of those listeners, to be ended when they have come so far.
    pub(crate) fn end_idle(&self, of: impl Fn(ListenerId) -> bool) -> bool {
        let now = now_millis();
        let mut others = false;
        for entry in self.entries.borrow().iter().flatten() {
            if !of(entry.listener) {
                continue;
            }
            match &entry.waker {
                Some(waker) => {
                    waker.wake_by_ref();
                    others = true;
                }
                None if entry.is_idle(now) => end_reading(entry.fd),
                None => others = true,
            }
        }
        others
    }

    /// Resets them all.
    pub(crate) fn reset_all(&self) {
        for entry in self.entries.borrow().iter().flatten() {
            reset(entry.fd);
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.borrow().iter().flatten().next().is_none()
    }

    fn enter(&self, entry: Entry) -> usize {
        let free = self.free.borrow_mut().pop();
        let mut entries = self.entries.borrow_mut();
        match free.and_then(|place| entries.get_mut(place).map(|slot| (place, slot))) {
            Some((place, slot)) => {
                *slot = Some(entry);
                place
            }
            None => {
                entries.push(Some(entry));
                entries.len() - 1
            }
        }
    }
}

/// A connection's place among them. Dropped before its descriptor is closed, so that no
/// number that the kernel has given to another connection is ever shut down.
pub(crate) struct Ticket {
    connections: Rc<Connections>,
    place: usize,
}

impl Ticket {
    pub(super) fn new(connections: &Rc<Connections>, fd: RawFd, listener: ListenerId) -> Self {
        let place = connections.enter(Entry {
            fd,
            listener,
            idle: true,
            born: Some(now_millis()),
            waker: None,
        });
        Self {
            connections: Rc::clone(connections),
            place,
        }
    }

    /// Says whether it is between requests.
    pub(crate) fn set_idle(&self, idle: bool) {
        if let Some(Some(entry)) = self.connections.entries.borrow_mut().get_mut(self.place) {
            entry.idle = idle;
            if !idle {
                entry.born = None;
            }
        }
    }
}

impl Ticket {
    /// Says that the connection ends itself when `waker`'s task finds that it should.
    pub(crate) fn ends_itself(&self, waker: &Waker) {
        let mut entries = self.connections.entries.borrow_mut();
        let Some(Some(entry)) = entries.get_mut(self.place) else {
            return;
        };
        if !entry.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            entry.waker = Some(waker.clone());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A waker is dropped when nothing is borrowed any more.
        let _entry = match self.connections.entries.borrow_mut().get_mut(self.place) {
            Some(slot) => slot.take(),
            None => None,
        };
        self.connections.free.borrow_mut().push(self.place);
    }
}
