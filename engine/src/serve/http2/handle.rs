//! A stream as its task sees it: the codec's, under its key, until it is let go.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::http2::codec::{Broken, Codec, Key, Reason, Unsent};

use super::shared::Shared;
use crate::fault::{Fault, FaultKind};

/// A stream. Dropped before its end, it resets it.
pub(super) struct Handle {
    shared: Rc<Shared>,
    key: Key,
}

impl Handle {
    pub(super) fn new(shared: &Rc<Shared>, key: Key) -> Self {
        Self {
            shared: Rc::clone(shared),
            key,
        }
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// What is done with the codec; if that makes frames, the connection's task sends them.
    fn with<T>(&self, work: impl FnOnce(&mut Codec, Key) -> T) -> T {
        let mut codec = self.shared.codec.borrow_mut();
        let before = codec.output().len();
        let done = work(&mut codec, self.key);
        let has_more = codec.output().len() > before;
        drop(codec);
        if has_more {
            self.shared.wake();
        }
        done
    }

    /// What has come of the body; `Ok(None)`: all of it has been taken.
    pub(super) fn poll_data(&self, cx: &Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        self.shared.codec.borrow_mut().poll_data(self.key, cx)
    }

    /// The trailers behind it.
    pub(super) fn take_trailers(&self) -> Option<Fields> {
        self.shared.codec.borrow_mut().take_trailers(self.key)
    }

    /// So much of the body has been passed on.
    pub(super) fn release(&self, bytes: usize) {
        self.with(|codec, key| codec.release(key, bytes));
        self.shared.hold();
    }

    /// Why the stream is there no more, once it is.
    pub(super) fn poll_broken(&self, cx: &Context<'_>) -> Poll<Broken> {
        self.shared.codec.borrow_mut().poll_broken(self.key, cx)
    }

    /// How much may be sent; at least one byte.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<usize, Broken>> {
        let mut codec = self.shared.codec.borrow_mut();
        let room = codec.poll_room(self.key, cx);
        let is_due = room.is_pending() && codec.is_due();
        drop(codec);
        if is_due {
            self.shared.wake();
        }
        room
    }

    pub(super) fn send_head(&self, status: u16, fields: &Fields, ends: bool) -> Result<(), Fault> {
        self.with(|codec, key| codec.send_head(key, status, fields, ends))
            .map_err(unsent)
    }

    pub(super) fn send_trailers(&self, fields: &Fields) -> Result<(), Fault> {
        self.with(|codec, key| codec.send_trailers(key, fields))
            .map_err(unsent)
    }

    /// Sends no more than there was room for.
    pub(super) fn send_data(&self, data: &[u8], ends: bool) -> Result<(), Broken> {
        self.with(|codec, key| codec.send_data(key, data, ends))
    }

    /// Sends the whole of an answer's body, if it has room, and nothing otherwise.
    pub(super) fn send_now(&self, data: &[u8]) {
        self.with(|codec, key| {
            if codec.room(key) >= data.len() {
                // There is room, and so there is a stream.
                let _sent = codec.send_data(key, data, true);
            }
        });
    }

    /// Until the client has taken enough of what it is sent for more.
    pub(super) fn poll_taken(&self, cx: &Context<'_>) -> Poll<()> {
        self.shared.codec.borrow_mut().poll_taken(self.key, cx)
    }

    pub(super) fn reset(&self, reason: Reason) {
        self.with(|codec, key| codec.reset(key, reason));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.with(Codec::let_go);
        self.shared.hold();
    }
}

fn unsent(unsent: Unsent) -> Fault {
    match unsent {
        Unsent::Unsendable => Fault::new(FaultKind::UpstreamProtocol),
        Unsent::Broken(broken) => gone(broken),
    }
}

/// The client does not want it any more, or cannot have it.
#[cold]
pub(super) fn gone(broken: Broken) -> Fault {
    Fault::new(FaultKind::ClientGone).because(broken)
}
