//! A stream of HTTP/2 that becomes a tunnel (RFC 8441): what is CONNECT here is a GET with `Upgrade` at an upstream of HTTP/1.1.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::http2::codec::Reason;
use ringway_protocols::http2::websocket;

use super::handle::Handle;
use crate::fault::FaultKind;
use crate::proxy::{Duplex, FarEnd, Inlet, Moved, Outlet, Reply, Writing, tunnel};
use crate::request::LocalReply;
use crate::rng::Rng;
use crate::serve::Client;
use crate::serve::outcome;
use crate::serve::respond::Sent;

const KEY: &str = "sec-websocket-key";
const ACCEPT: &[u8] = b"sec-websocket-accept";

/// Adds the key that HTTP/1.1 wants, and says what the upstream has to answer to it.
pub(super) fn ask(fields: &mut Fields, rng: &Rng) -> Vec<u8> {
    let chance = (u128::from(rng.next()) << 64) | u128::from(rng.next());
    let key = websocket::key(chance.to_be_bytes());
    let accept = websocket::accept(&key);
    fields.set(KEY, key);
    accept
}

/// Makes of an upstream's answer the one to CONNECT; says whether the stream is a tunnel from here on. A 2xx that does not switch
/// would look as if it did (RFC 9110 §9.3.6).
pub(super) fn answer(reply: &mut Reply<'_>, accept: &[u8]) -> bool {
    let head = &mut reply.head;
    match head.status {
        101 if head.fields.get(ACCEPT) == Some(accept) => {
            head.status = 200;
            head.reason = Bytes::new();
            for name in [&b"connection"[..], b"upgrade", ACCEPT] {
                head.fields.remove(name);
            }
            true
        }
        101 | 200..300 => {
            let text = "the upstream does not speak WebSocket\n";
            let kind = FaultKind::UpstreamProtocol;
            *reply = outcome::own_reply(LocalReply {
                flag: kind.flag(),
                ..LocalReply::text(kind.status(), kind.details(), text)
            });
            false
        }
        _ => false,
    }
}

/// Moves bytes until both ends are done, one breaks, or nothing moves for `idle`.
pub(super) async fn join(
    client: &Client,
    stream: &Handle,
    upstream: FarEnd,
    idle: Duration,
    sent: &mut Sent,
) {
    let stats = &client.listener.stats;
    stats.upgrades_total.inc();
    stats.upgrades_active.inc();
    let moved = Moved::default();
    let mut inlet = Incoming { stream, held: 0 };
    let mut outlet = Outgoing { stream };
    let ours = Duplex::Stream(&mut inlet, &mut outlet);
    let pipes = &client.local.pipes;
    if !tunnel(ours, upstream, idle, &client.timer, pipes, &moved).await {
        // RFC 8441 §5: a connection that breaks is a stream that is cancelled.
        stream.reset(Reason::CANCEL);
    }
    stats.upgrades_active.dec();
    sent.received += moved.up.get();
    sent.sent += moved.down.get();
}

/// What the client sends.
struct Incoming<'s> {
    stream: &'s Handle,
    /// Handed out, and not yet given back to its window.
    held: usize,
}

impl Inlet for Incoming<'_> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.stream.release(std::mem::take(&mut self.held));
        let next = ready!(self.stream.poll_data(cx)).map_err(io::Error::other)?;
        self.held = next.as_ref().map_or(0, Bytes::len);
        Poll::Ready(Ok(next))
    }
}

/// What the client gets.
struct Outgoing<'s> {
    stream: &'s Handle,
}

impl Outgoing<'_> {
    async fn write_all(&mut self, mut data: Bytes, moved: &dyn Fn(usize)) -> io::Result<()> {
        while !data.is_empty() {
            let room = std::future::poll_fn(|cx| self.stream.poll_room(cx)).await;
            let room = room.map_err(io::Error::other)?;
            let some = data.split_to(room.min(data.len()));
            moved(some.len());
            self.stream
                .send_data(&some, false)
                .map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Outlet for Outgoing<'_> {
    fn write<'s>(&'s mut self, data: Bytes, moved: &'s dyn Fn(usize)) -> Writing<'s> {
        Box::pin(self.write_all(data, moved))
    }

    fn finish(&mut self) {
        // It fails only for a stream that has ended.
        let _ended = self.stream.send_data(&[], true);
    }
}
