//! Who is at the admin interface: few, since each takes memory and a descriptor of control's.
//!
//! When all places are taken and somebody new comes, the one goes that has been quiet longest: a probe of health gets its answer,
//! however many there are who only hold connections. Nobody goes whose page is being made.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::Notify;

/// All who are here.
pub(super) struct Guests {
    places: usize,
    here: RefCell<Vec<Rc<Guest>>>,
    /// Somebody has left, or may be asked to.
    changed: Notify,
}

impl Guests {
    /// So many places.
    pub(super) fn new(places: usize) -> Rc<Self> {
        Rc::new(Self {
            places,
            here: RefCell::default(),
            changed: Notify::new(),
        })
    }

    /// A place, as soon as there is one; `closing` hears of each who has to go for it.
    pub(super) async fn enter(self: &Rc<Self>, closing: impl Fn()) -> Visit {
        while self.here.borrow().len() >= self.places {
            if self.ask_to_leave() {
                closing();
            }
            self.changed.notified().await;
        }
        let guest = Rc::new(Guest {
            heard: Cell::new(Instant::now()),
            pages: Cell::new(0),
            leaving: Cell::new(false),
            leave: Notify::new(),
        });
        self.here.borrow_mut().push(Rc::clone(&guest));
        Visit {
            guests: Rc::clone(self),
            guest,
        }
    }

    /// Asks who has been quiet longest, unless somebody is about to leave. Says whether somebody was asked.
    fn ask_to_leave(&self) -> bool {
        let here = self.here.borrow();
        if here.iter().any(|guest| guest.leaving.get()) {
            return false;
        }
        let idle = here.iter().filter(|guest| guest.pages.get() == 0);
        let Some(quietest) = idle.min_by_key(|guest| guest.heard.get()) else {
            return false;
        };
        quietest.leaving.set(true);
        quietest.leave.notify_one();
        true
    }
}

/// One who is here.
struct Guest {
    /// When bytes moved last, in either direction.
    heard: Cell<Instant>,
    /// Pages being made.
    pages: Cell<u32>,
    leaving: Cell<bool>,
    leave: Notify,
}

/// A place; it is free again when this is dropped.
pub(super) struct Visit {
    guests: Rc<Guests>,
    guest: Rc<Guest>,
}

impl Visit {
    /// Until somebody else needs the place.
    pub(super) async fn over(&self) {
        self.guest.leave.notified().await;
    }

    /// To be held while a page is made.
    pub(super) fn page(&self) -> Making<'_> {
        self.guest.pages.set(self.guest.pages.get() + 1);
        Making(self)
    }

    /// A connection whose moves are noted.
    pub(super) fn watch<S>(&self, stream: S) -> Watched<S> {
        Watched {
            stream,
            guest: Rc::clone(&self.guest),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut here = self.guests.here.borrow_mut();
        here.retain(|guest| !Rc::ptr_eq(guest, &self.guest));
        self.guests.changed.notify_one();
    }
}

/// A page being made.
pub(super) struct Making<'v>(&'v Visit);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let Visit { guests, guest } = self.0;
        guest.pages.set(guest.pages.get() - 1);
        guest.heard.set(Instant::now());
        guests.changed.notify_one();
    }
}

/// See [`Visit::watch`].
pub(super) struct Watched<S> {
    stream: S,
    guest: Rc<Guest>,
}

impl<S> Watched<S> {
    fn moved(&self) {
        self.guest.heard.set(Instant::now());
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, into));
        self.moved();
        Poll::Ready(read)
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.moved();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// What a future comes to without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    /// Full, the first the quietest.
    fn crowd(places: usize) -> (Rc<Guests>, Vec<Visit>) {
        let guests = Guests::new(places);
        let here: Vec<_> = (0..places)
            .map(|_| now(guests.enter(|| ())).unwrap())
            .collect();
        let first = here[0].guest.heard.get();
        for (n, visit) in (1..).zip(&here) {
            visit.guest.heard.set(first + Duration::from_secs(n));
        }
        (guests, here)
    }

    #[test]
    fn the_quietest_leaves_for_who_is_new() {
        let (guests, mut here) = crowd(3);
        here[0].guest.heard.set(here[2].guest.heard.get());
        let asked = Cell::new(0);
        let mut new = pin!(guests.enter(|| asked.set(asked.get() + 1)));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(new.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(asked.get(), 1, "one for each who comes");
        assert!(now(here[0].over()).is_none() && now(here[2].over()).is_none());
        assert!(now(here[1].over()).is_some());
        drop(here.remove(1));
        assert!(new.poll(&mut cx).is_ready());
    }

    #[test]
    fn nobody_leaves_whose_page_is_being_made() {
        let (guests, here) = crowd(2);
        let pages = [here[0].page(), here[1].page()];
        let mut new = pin!(guests.enter(|| ()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(new.as_mut().poll(&mut cx).is_pending());
        assert!(here.iter().all(|visit| now(visit.over()).is_none()));
        let [_, second] = pages;
        drop(second);
        assert!(new.as_mut().poll(&mut cx).is_pending());
        assert!(now(here[1].over()).is_some());
    }
}
