//! Bytes both ways, after an upgrade: each direction ends by itself, and silence in both ends the tunnel.
//!
//! An end of a tunnel is a socket, or a stream of an HTTP/2 connection: whatever brings bytes and takes some. Between two sockets
//! they go as those of any connection that is passed on. What does not end in order is reset at both ends, so that neither takes
//! what it got for the whole.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use crate::cluster::{Closed, Connection, Receiving, Sender};
use crate::net::{Broken, Pipes, Pull, Reader, Writer, relay};
use crate::time::{Deadline, Timer, now_millis, try_both};

/// What an end of a tunnel brings that is no socket.
pub(crate) trait Inlet {
    /// The next bytes; `None` at the end. Nothing is lost if it is left pending.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;
}

/// A write under way.
pub(crate) type Writing<'s> = Pin<Box<dyn Future<Output = io::Result<()>> + 's>>;

/// Where an end of a tunnel takes bytes that is no socket.
pub(crate) trait Outlet {
    /// Sends all of it; `moved` hears of each part that went.
    fn write<'s>(&'s mut self, data: Bytes, moved: &'s dyn Fn(usize)) -> Writing<'s>;
    /// Says that nothing more comes this way.
    fn finish(&mut self);
}

/// One end of a tunnel.
pub(crate) enum Duplex<'d> {
    /// A socket.
    Socket(&'d mut Reader, &'d mut Writer),
    /// A stream of a connection that carries others too.
    Stream(&'d mut dyn Inlet, &'d mut dyn Outlet),
}

impl<'d> Duplex<'d> {
    fn split(self) -> (Source<'d>, Sink<'d>) {
        match self {
            Self::Socket(reader, writer) => (Source::Socket(reader), Sink::Socket(writer)),
            Self::Stream(inlet, outlet) => (Source::Stream(inlet), Sink::Stream(outlet)),
        }
    }
}

enum Source<'d> {
    Socket(&'d mut Reader),
    Stream(&'d mut dyn Inlet),
}

enum Sink<'d> {
    Socket(&'d mut Writer),
    Stream(&'d mut dyn Outlet),
}

impl Inlet for Receiving {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let next = ready!(self.poll_data(cx)).map_err(io::Error::other)?;
            // A frame without data, of which the codec bounds the number.
            if next.as_ref().is_none_or(|bytes| !bytes.is_empty()) {
                return Poll::Ready(Ok(next));
            }
        }
    }
}

impl Outlet for Sender {
    fn write<'s>(&'s mut self, data: Bytes, moved: &'s dyn Fn(usize)) -> Writing<'s> {
        Box::pin(async move {
            let sent = self.pass(data, false, moved).await;
            sent.map_err(|Closed| io::ErrorKind::BrokenPipe.into())
        })
    }

    fn finish(&mut self) {
        // It fails only for a stream that has ended.
        let _ended = self.end(None);
    }
}

/// The upstream's end of a tunnel, after its answer has switched to one.
pub(crate) enum FarEnd {
    Http1(Connection),
    Http2(Receiving, Sender),
}

impl FarEnd {
    fn duplex(&mut self) -> Option<Duplex<'_>> {
        match self {
            Self::Http1(connection) => {
                let (reader, writer) = connection.both()?;
                Some(Duplex::Socket(reader, writer))
            }
            Self::Http2(receiving, sender) => Some(Duplex::Stream(receiving, sender)),
        }
    }

    /// Says that what was passed on is not whole.
    fn abort(self) {
        match self {
            Self::Http1(connection) => connection.abort(),
            Self::Http2(_receiving, mut sender) => sender.cancel(),
        }
    }
}

/// The upstream's end while it is in use: dropped, it is aborted.
struct Held(Option<FarEnd>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end.abort();
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

/// Copies until both directions have ended, one broke, or nothing moved for `idle`. Says whether it ended in order; if not, the
/// upstream's end has been reset, and the client's is to be.
pub(crate) async fn tunnel(
    client: Duplex<'_>,
    upstream: FarEnd,
    idle: Duration,
    timer: &Timer,
    pipes: &Pipes,
    moved: &Moved,
) -> bool {
    let mut held = Held(Some(upstream));
    let Some(theirs) = held.0.as_mut().and_then(FarEnd::duplex) else {
        return false;
    };
    let in_order = both_ways(client, theirs, idle, timer, pipes, moved).await;
    if in_order {
        drop(held.0.take());
    }
    in_order
}

async fn both_ways(
    client: Duplex<'_>,
    upstream: Duplex<'_>,
    idle: Duration,
    timer: &Timer,
    pipes: &Pipes,
    moved: &Moved,
) -> bool {
    let (from_client, to_client) = client.split();
    let (from_upstream, to_upstream) = upstream.split();
    let up = |bytes: usize| moved.count(&moved.up, bytes);
    let down = |bytes: usize| moved.count(&moved.down, bytes);
    let up = pass(from_client, to_upstream, pipes, &up);
    let down = pass(from_upstream, to_client, pipes, &down);
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

impl Moved {
    fn count(&self, sum: &Cell<u64>, bytes: usize) {
        sum.set(sum.get() + bytes as u64);
        self.last.set(now_millis());
    }
}

/// One direction. When it has ended, the other may go on (RFC 6455 §7.1.1: each side closes its own).
async fn pass(
    from: Source<'_>,
    to: Sink<'_>,
    pipes: &Pipes,
    moved: &dyn Fn(usize),
) -> io::Result<()> {
    match (from, to) {
        (Source::Socket(reader), Sink::Socket(writer)) => {
            let relayed = relay(reader, writer, pipes, moved).await;
            relayed.map_err(|(Broken::Reading(error) | Broken::Writing(error))| error)
        }
        (Source::Socket(reader), Sink::Stream(outlet)) => {
            let mut pull = Pull::new();
            while let Some(bytes) = pull.next(reader).await? {
                outlet.write(bytes.freeze(), moved).await?;
            }
            outlet.finish();
            Ok(())
        }
        (Source::Stream(inlet), Sink::Socket(writer)) => {
            while let Some(bytes) = next(inlet).await? {
                writer.write_all(bytes, moved).await?;
            }
            writer.finish();
            Ok(())
        }
        (Source::Stream(inlet), Sink::Stream(outlet)) => {
            while let Some(bytes) = next(inlet).await? {
                outlet.write(bytes, moved).await?;
            }
            outlet.finish();
            Ok(())
        }
    }
}

async fn next(inlet: &mut dyn Inlet) -> io::Result<Option<Bytes>> {
    std::future::poll_fn(|cx| inlet.poll_next(cx)).await
}
