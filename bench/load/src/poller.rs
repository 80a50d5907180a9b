//! epoll, edge-triggered, with each socket registered once for its whole life: no `epoll_ctl` on the way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::error::LoadError;

/// Events of one wait; more are kept by the kernel for the next.
const EVENTS_MAX: usize = 256;

/// An epoll instance and the room for its events.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// A new one.
    pub(crate) fn new() -> Result<Self, LoadError> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(LoadError::io("epoll_create"))?;
        let events = Vec::with_capacity(EVENTS_MAX);
        Ok(Self { epoll, events })
    }

    /// Watches both directions of a socket under `token`, until the socket closes.
    pub(crate) fn watch(&self, socket: impl AsFd, token: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, data(token), flags)?)
    }

    /// Watches for reading only, and again as long as there is something to read.
    pub(crate) fn watch_level(&self, fd: impl AsFd, token: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, data(token), EventFlags::IN)?)
    }

    /// Waits for at least one event; the tokens come in `tokens`.
    pub(crate) fn wait(&mut self, tokens: &mut Vec<usize>) -> Result<(), LoadError> {
        self.events.clear();
        tokens.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(LoadError::Io("epoll_wait", error.into())),
        }
        let found = self.events.iter().map(|event| event.data.u64());
        tokens.extend(found.map(|token| usize::try_from(token).unwrap_or(usize::MAX)));
        Ok(())
    }
}

fn data(token: usize) -> EventData {
    EventData::new_u64(token as u64)
}
