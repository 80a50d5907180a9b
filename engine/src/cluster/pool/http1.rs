//! HTTP/1 connections to a host: one request at a time, and kept between two.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use ringway_config::Pool;

use super::super::{Host, HostPlace, Permit};
use crate::net::{Reader, Stream, Writer};
use crate::time::now_millis;

/// What a read for the head of an answer makes room for: a head and a small body in one receive.
pub(crate) const ANSWER_READ: usize = 16 << 10;
/// What a read for a large body makes room for: below 64 KiB a copy costs more per byte, above it no less; and a head.
pub(crate) const BULK_READ: usize = 68 << 10;
/// What the head of an answer is taken to need of a read that is to have its body too.
const HEAD_ROOM: usize = 2 << 10;

/// The kept connections of a host, the most recently used last: those in front go idle, and are closed.
#[derive(Default)]
pub(in crate::cluster) struct Kept(RefCell<Vec<Parked>>);

/// A connection's places under limits, given back with it.
pub(in crate::cluster) type Places = (Option<Permit>, Option<HostPlace>);

/// A connection, whoever has it. On the heap, where it stays from use to use.
struct Wire {
    reader: Reader,
    /// Not while a request's body is being sent, which has it.
    writer: Option<Writer>,
    /// Requests sent over it.
    served: u64,
    born: u64,
    /// What the read for the next answer makes room for: as much as the last one needed.
    room: usize,
    _places: Places,
}

struct Parked {
    wire: Box<Wire>,
    since: u64,
}

impl Kept {
    /// The newest kept connection that its other end has left open and silent.
    pub(in crate::cluster) fn unpark(&self, host: &Rc<Host>) -> Option<Connection> {
        loop {
            let mut parked = self.0.borrow_mut().pop()?;
            host.cluster.upstream_cx_idle.dec();
            let silent = parked.wire.is_silent() && !parked.wire.reader.has_unseen();
            let connection = Connection::over(parked.wire, true, host);
            if silent {
                return Some(connection);
            }
            host.cluster.upstream_cx_closed_idle.inc();
        }
    }

    /// Closes connections that were kept too long or are too old, and those that the other end closed.
    pub(in crate::cluster) fn sweep(&self, host: &Host, pool: &Pool) {
        let ago = |age: Duration| {
            now_millis().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
        };
        let oldest = ago(pool.idle_timeout);
        let eldest = pool.max_age.map_or(0, ago);
        let mut closed = Vec::new();
        let mut kept = self.0.borrow_mut();
        let mut at = 0;
        while let Some(parked) = kept.get_mut(at) {
            let old = parked.since <= oldest || parked.wire.born <= eldest;
            if old || !parked.wire.is_silent() {
                closed.push(kept.remove(at));
            } else {
                at += 1;
            }
        }
        drop(kept);
        for parked in closed {
            host.cluster.upstream_cx_closed_idle.inc();
            host.cluster.upstream_cx_idle.dec();
            close(host, *parked.wire);
        }
    }

    /// Closes the one that was idle for longest, if there is one.
    pub(in crate::cluster) fn close_one(&self, host: &Host) -> bool {
        let mut kept = self.0.borrow_mut();
        if kept.is_empty() {
            return false;
        }
        let parked = kept.remove(0);
        drop(kept);
        host.cluster.upstream_cx_idle.dec();
        close(host, *parked.wire);
        true
    }

    /// How many there are.
    pub(in crate::cluster) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether there is none.
    pub(in crate::cluster) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Closes them all.
    pub(in crate::cluster) fn close(&self, host: &Host) {
        for parked in self.0.take() {
            host.cluster.upstream_cx_idle.dec();
            close(host, *parked.wire);
        }
    }
}

fn close(host: &Host, wire: Wire) {
    host.stats.cx_active.dec();
    host.cluster.upstream_cx_active.dec();
    host.cluster.upstream_cx_destroyed.inc();
    wire.close();
}

impl Wire {
    /// Closes it in order; without its writer, nothing can be said.
    fn close(self) {
        let Self { reader, writer, .. } = self;
        if let Some(writer) = writer {
            Stream { reader, writer }.close();
        }
    }

    fn age(&self) -> Duration {
        Duration::from_millis(now_millis().saturating_sub(self.born))
    }

    /// Nothing has come and the other end is open. The read that this starts is the one that will take the next answer.
    fn is_silent(&mut self) -> bool {
        self.reader.input.is_empty()
            && self
                .reader
                .poll_fill(self.room, &mut Context::from_waker(Waker::noop()))
                .is_pending()
    }
}

/// What a read makes room for that is to have a head and such a body.
fn room_for(body: u64) -> usize {
    let body = usize::try_from(body).unwrap_or(BULK_READ).min(BULK_READ);
    let room = (body + HEAD_ROOM).next_multiple_of(4 << 10);
    room.clamp(ANSWER_READ, BULK_READ)
}

/// A connection to a host, in use by one request. Dropped, it is closed.
pub(crate) struct Connection {
    /// None once it is kept.
    wire: Option<Box<Wire>>,
    /// It was kept from an earlier request: its other end may have closed it meanwhile.
    pub(crate) reused: bool,
    pub(crate) host: Rc<Host>,
}

impl Connection {
    pub(in crate::cluster) fn new(stream: Stream, host: &Rc<Host>, places: Places) -> Self {
        host.stats.cx_active.inc();
        host.cluster.upstream_cx_active.inc();
        let wire = Wire {
            reader: stream.reader,
            writer: Some(stream.writer),
            served: 0,
            born: now_millis(),
            room: ANSWER_READ,
            _places: places,
        };
        Self::over(Box::new(wire), false, host)
    }

    fn over(wire: Box<Wire>, reused: bool, host: &Rc<Host>) -> Self {
        Self {
            wire: Some(wire),
            reused,
            host: Rc::clone(host),
        }
    }

    /// Both sides.
    pub(crate) fn both(&mut self) -> Option<(&mut Reader, &mut Writer)> {
        let (reader, writer) = self.sides()?;
        Some((reader, writer.as_mut()?))
    }

    /// Both sides, of which the writing one may be taken out; without it the connection is not kept.
    pub(crate) fn sides(&mut self) -> Option<(&mut Reader, &mut Option<Writer>)> {
        let wire = self.wire.as_mut()?;
        Some((&mut wire.reader, &mut wire.writer))
    }

    /// Closes it with a reset, so that the host sees that what it got is not whole.
    pub(crate) fn abort(mut self) {
        self.count_end();
        if let Some(wire) = self.wire.take()
            && let Wire {
                reader,
                writer: Some(writer),
                ..
            } = *wire
        {
            Stream { reader, writer }.abort();
        }
    }

    /// The reading side.
    pub(crate) fn reader(&mut self) -> Option<&mut Reader> {
        Some(&mut self.wire.as_mut()?.reader)
    }

    /// Hears how large the body of an answer was: the next one is taken to be alike, and to come in one receive.
    pub(crate) fn expect_alike(&mut self, body: u64) {
        if let Some(wire) = &mut self.wire {
            wire.room = room_for(body);
        }
    }

    /// Puts the writing side back.
    pub(crate) fn put_writer(&mut self, writer: Writer) {
        if let Some(wire) = &mut self.wire {
            wire.writer = Some(writer);
        }
    }

    /// Keeps it for the next request, if it is in step: nothing half sent, nothing more to say, and the other end open.
    pub(in crate::cluster) fn park(&mut self, pool: &Pool) {
        if let Some(wire) = &mut self.wire {
            wire.served += 1;
        }
        self.keep(pool);
    }

    /// The same of one that has served nobody yet.
    pub(in crate::cluster) fn keep(&mut self, pool: &Pool) {
        let host = &self.host;
        let Some(wire) = &mut self.wire else {
            return;
        };
        let Some(writer) = &wire.writer else {
            return;
        };
        let refused = if pool.max_requests.is_some_and(|max| wire.served >= max) {
            Some(&host.cluster.upstream_cx_destroyed_max_requests)
        } else if pool.max_age.is_some_and(|max| wire.age() >= max) {
            Some(&host.cluster.upstream_cx_destroyed_max_age)
        } else if host.http1.0.borrow().len() >= pool.max_idle as usize {
            Some(&host.cluster.upstream_cx_idle_overflow)
        } else if !wire.reader.input.is_empty() {
            Some(&host.cluster.stray_bytes)
        } else {
            None
        };
        if let Some(counter) = refused {
            counter.inc();
        } else if !host.is_retired()
            && !writer.is_broken()
            && wire.is_silent()
            && let Some(wire) = self.wire.take()
        {
            host.cluster.upstream_cx_idle.inc();
            host.http1.0.borrow_mut().push(Parked {
                wire,
                since: now_millis(),
            });
        }
    }

    fn count_end(&self) {
        self.host.stats.cx_active.dec();
        self.host.cluster.upstream_cx_active.dec();
        self.host.cluster.upstream_cx_destroyed.inc();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.count_end();
            wire.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_read_has_room_for_an_answer_like_the_last() {
        assert_eq!(room_for(0), 16 << 10);
        assert_eq!(room_for(14 << 10), 16 << 10);
        assert_eq!(room_for(16 << 10), 20 << 10);
        assert_eq!(room_for(64 << 10), 68 << 10);
        assert_eq!(room_for(u64::MAX), 68 << 10);
    }
}
