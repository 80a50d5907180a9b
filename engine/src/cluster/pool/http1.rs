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

/// The kept connections of a host, the most recently used last: those in front go idle, and are closed.
#[derive(Default)]
pub(in crate::cluster) struct Kept(RefCell<Vec<Parked>>);

/// A connection's places under limits, given back with it.
pub(in crate::cluster) type Places = (Option<Permit>, Option<HostPlace>);

struct Parked {
    stream: Stream,
    places: Places,
    served: u64,
    since: u64,
    born: u64,
}

impl Kept {
    /// The newest kept connection that its other end has left open and silent.
    pub(in crate::cluster) fn unpark(&self, host: &Rc<Host>) -> Option<Box<Connection>> {
        loop {
            let mut parked = self.0.borrow_mut().pop()?;
            host.cluster.upstream_cx_idle.dec();
            let silent = is_silent(&mut parked.stream) && !parked.stream.reader.has_unseen();
            let (born, places) = (parked.born, parked.places);
            let connection =
                Connection::over(parked.stream, parked.served, Some(born), host, places);
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
            let old = parked.since <= oldest || parked.born <= eldest;
            if old || !is_silent(&mut parked.stream) {
                closed.push(kept.remove(at));
            } else {
                at += 1;
            }
        }
        drop(kept);
        for parked in closed {
            host.cluster.upstream_cx_closed_idle.inc();
            host.cluster.upstream_cx_idle.dec();
            close(host, parked.stream);
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
        close(host, parked.stream);
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
            close(host, parked.stream);
        }
    }
}

fn close(host: &Host, stream: Stream) {
    host.stats.cx_active.dec();
    host.cluster.upstream_cx_active.dec();
    host.cluster.upstream_cx_destroyed.inc();
    stream.close();
}

/// Nothing has come and the other end is open. The read that this starts is the one that will take the next answer.
fn is_silent(stream: &mut Stream) -> bool {
    stream.reader.input.is_empty()
        && stream
            .reader
            .poll_fill(ANSWER_READ, &mut Context::from_waker(Waker::noop()))
            .is_pending()
}

/// A connection to a host, in use by one request. Dropped, it is closed.
///
/// Boxed from the start: it goes through the hands of many futures, and by value each would have room for it.
pub(crate) struct Connection {
    reader: Option<Reader>,
    writer: Option<Writer>,
    /// Requests sent over it before.
    served: u64,
    /// Its end is the connection's end: it was not kept.
    closes: bool,
    born: u64,
    /// It was kept from an earlier request: its other end may have closed it meanwhile.
    pub(crate) reused: bool,
    pub(crate) host: Rc<Host>,
    places: Places,
}

impl Connection {
    pub(in crate::cluster) fn new(stream: Stream, host: &Rc<Host>, places: Places) -> Box<Self> {
        host.stats.cx_active.inc();
        host.cluster.upstream_cx_active.inc();
        Self::over(stream, 0, None, host, places)
    }

    fn over(
        stream: Stream,
        served: u64,
        born: Option<u64>,
        host: &Rc<Host>,
        places: Places,
    ) -> Box<Self> {
        Box::new(Self {
            reader: Some(stream.reader),
            writer: Some(stream.writer),
            served,
            closes: true,
            reused: born.is_some(),
            born: born.unwrap_or_else(now_millis),
            host: Rc::clone(host),
            places,
        })
    }

    /// Takes both sides out; what is not put back is closed by whoever drops it.
    pub(crate) fn take(&mut self) -> Option<(Reader, Writer)> {
        Some((self.reader.take()?, self.writer.take()?))
    }

    /// Both sides.
    pub(crate) fn both(&mut self) -> Option<(&mut Reader, &mut Writer)> {
        Some((self.reader.as_mut()?, self.writer.as_mut()?))
    }

    /// Closes it with a reset, so that the host sees that what it got is not whole.
    pub(crate) fn abort(mut self) {
        if let Some((reader, writer)) = self.take() {
            Stream { reader, writer }.abort();
        }
    }

    /// The reading side.
    pub(crate) fn reader(&mut self) -> Option<&mut Reader> {
        self.reader.as_mut()
    }

    /// Puts the reading side back.
    pub(crate) fn put_reader(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    /// Puts the writing side back.
    pub(crate) fn put_writer(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    fn age(&self) -> Duration {
        Duration::from_millis(now_millis().saturating_sub(self.born))
    }

    /// Keeps it for the next request, if it is in step: nothing half sent, nothing more to say, and the other end open.
    pub(in crate::cluster) fn park(&mut self, pool: &Pool) {
        self.served += 1;
        self.keep(pool);
    }

    /// The same of one that has served nobody yet.
    pub(in crate::cluster) fn keep(&mut self, pool: &Pool) {
        let host = Rc::clone(&self.host);
        let Some((reader, writer)) = self.take() else {
            return;
        };
        let mut stream = Stream { reader, writer };
        let refused = if pool.max_requests.is_some_and(|max| self.served >= max) {
            Some(&host.cluster.upstream_cx_destroyed_max_requests)
        } else if pool.max_age.is_some_and(|max| self.age() >= max) {
            Some(&host.cluster.upstream_cx_destroyed_max_age)
        } else if host.http1.0.borrow().len() >= pool.max_idle as usize {
            Some(&host.cluster.upstream_cx_idle_overflow)
        } else if !stream.reader.input.is_empty() {
            Some(&host.cluster.stray_bytes)
        } else {
            None
        };
        if let Some(counter) = refused {
            counter.inc();
        } else if !host.is_retired() && !stream.writer.is_broken() && is_silent(&mut stream) {
            host.cluster.upstream_cx_idle.inc();
            host.http1.0.borrow_mut().push(Parked {
                stream,
                served: self.served,
                since: now_millis(),
                born: self.born,
                places: std::mem::take(&mut self.places),
            });
            self.closes = false;
            return;
        }
        (self.reader, self.writer) = (Some(stream.reader), Some(stream.writer));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.closes {
            return;
        }
        self.host.stats.cx_active.dec();
        self.host.cluster.upstream_cx_active.dec();
        self.host.cluster.upstream_cx_destroyed.inc();
        if let Some((reader, writer)) = self.take() {
            Stream { reader, writer }.close();
        }
    }
}
