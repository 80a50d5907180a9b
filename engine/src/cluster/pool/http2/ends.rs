//! Which requests with bodies the other end has answered to the last frame. The codec tells only of the reset that may follow, when both
//! come at once (RFC 9113 §8.1).

use std::cell::RefCell;
use std::rc::Rc;

use ringway_protocols::http2::EndScanner;

use crate::net::Observer;

/// The streams of a connection that somebody watches, and whether the other end has ended each: a request without a body is over with
/// its answer, and needs no watch.
#[derive(Default)]
pub(super) struct Ends {
    watched: RefCell<Vec<(u32, bool)>>,
}

impl Ends {
    /// What sees the other end's bytes before the codec does.
    pub(super) fn observer(self: &Rc<Self>) -> Observer {
        let (ends, mut scanner) = (Rc::clone(self), EndScanner::default());
        Box::new(move |bytes| {
            scanner.scan(bytes, |ended| {
                let mut watched = ends.watched.borrow_mut();
                if let Some((_, is)) = watched.iter_mut().find(|(stream, _)| *stream == ended) {
                    *is = true;
                }
            });
        })
    }

    /// Watches a stream.
    pub(super) fn watch(self: &Rc<Self>, stream: u32) -> Watch {
        self.watched.borrow_mut().push((stream, false));
        Watch {
            ends: Rc::clone(self),
            stream,
        }
    }
}

/// A stream that is watched until this is dropped.
pub(super) struct Watch {
    ends: Rc<Ends>,
    stream: u32,
}

impl Watch {
    /// Whether the other end has ended it.
    pub(super) fn has_ended(&self) -> bool {
        let watched = self.ends.watched.borrow();
        watched.contains(&(self.stream, true))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.ends.watched.borrow_mut();
        if let Some(at) = watched.iter().position(|(own, _)| *own == self.stream) {
            watched.swap_remove(at);
        }
    }
}
