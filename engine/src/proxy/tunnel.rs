//! Bytes both ways, after an upgrade: each direction ends by itself, and silence in both ends the tunnel.
//!
//! An end of a tunnel is a socket, or a stream of an HTTP/2 connection: whatever brings bytes and takes some.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use crate::cluster::Connection;
use crate::net::{Reader, Writer};
use crate::time::{Deadline, Timer, now_millis, try_both};

/// What a tunnel's read makes room for.
const READ: usize = 16 << 10;

/// What an end of a tunnel brings.
pub(crate) trait Inlet {
    /// The next bytes; `None` at the end. Nothing is lost if it is left pending.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;
}

/// A write under way.
pub(crate) type Writing<'s> = Pin<Box<dyn Future<Output = io::Result<()>> + 's>>;

/// Where an end of a tunnel takes bytes.
pub(crate) trait Outlet {
    /// Sends all of it; `moved` hears of each part that went.
    fn write<'s>(&'s mut self, data: Bytes, moved: &'s dyn Fn(usize)) -> Writing<'s>;
    /// Says that nothing more comes this way.
    fn finish(&mut self);
}

/// One end of a tunnel.
pub(crate) struct Duplex<'d> {
    pub(crate) inlet: &'d mut dyn Inlet,
    pub(crate) outlet: &'d mut dyn Outlet,
}

impl Inlet for Reader {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.input.is_empty() && ready!(self.poll_fill(READ, cx))? == 0 {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(self.input.split().freeze())))
    }
}

impl Outlet for Writer {
    fn write<'s>(&'s mut self, data: Bytes, moved: &'s dyn Fn(usize)) -> Writing<'s> {
        Box::pin(self.write_all(data, moved))
    }

    fn finish(&mut self) {
        Self::finish(self);
    }
}

/// The upstream's end of a tunnel, after its answer has switched to one. Dropped, it is closed.
pub(crate) enum FarEnd {
    Http1(Connection),
}

impl FarEnd {
    pub(crate) fn duplex(&mut self) -> Option<Duplex<'_>> {
        match self {
            Self::Http1(connection) => {
                let (reader, writer) = connection.both()?;
                Some(Duplex {
                    inlet: reader,
                    outlet: writer,
                })
            }
        }
    }
}

/// Bytes moved, by direction.
#[derive(Default)]
pub(crate) struct Moved {
    pub(crate) up: Cell<u64>,
    pub(crate) down: Cell<u64>,
    /// When something last moved.
    last: Cell<u64>,
}

/// Copies until both directions have ended, one broke, or nothing moved for `idle`. Says whether it ended in order.
pub(crate) async fn tunnel(
    client: Duplex<'_>,
    upstream: Duplex<'_>,
    idle: Duration,
    timer: &Timer,
    moved: &Moved,
) -> bool {
    let up = copy(client.inlet, upstream.outlet, &moved.up, &moved.last);
    let down = copy(upstream.inlet, client.outlet, &moved.down, &moved.last);
    let mut copying = std::pin::pin!(try_both(up, down));
    moved.last.set(now_millis());
    loop {
        let before = moved.last.get();
        let quiet = Duration::from_millis(now_millis().saturating_sub(before));
        let deadline = Deadline::after(idle.saturating_sub(quiet));
        match timer.within(deadline, copying.as_mut()).await {
            // The other direction may be quiet for long: it would not find out by itself.
            Ok(ended) => return ended.is_ok(),
            Err(_elapsed) if moved.last.get() == before => return false,
            Err(_elapsed) => {}
        }
    }
}

async fn copy(
    from: &mut dyn Inlet,
    to: &mut dyn Outlet,
    moved: &Cell<u64>,
    last: &Cell<u64>,
) -> io::Result<()> {
    let count = |bytes: usize| {
        moved.set(moved.get() + bytes as u64);
        last.set(now_millis());
    };
    while let Some(bytes) = std::future::poll_fn(|cx| from.poll_next(cx)).await? {
        to.write(bytes, &count).await?;
    }
    // The other direction may go on (RFC 6455 §7.1.1: each side closes its own).
    to.finish();
    Ok(())
}
