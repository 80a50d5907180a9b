//! A client's HTTP/2 connection: the codec driven, its requests handed to tasks of their own, and its end.
//!
//! ```text
//!  preface, SETTINGS ─► requests ─► GOAWAY ─► the last streams end ─► closed
//!        │                 │ each: a place in flight, a task (`stream`)
//!        └─ header_timeout └─ drain, reload, max_age, requests_per_connection, idle ─► GOAWAY twice (RFC 9113 §6.8)
//!                             a budget used up, too many resets                     ─► GOAWAY ENHANCE_YOUR_CALM, closed at once
//! ```
//!
//! The connection's task does nothing for a stream but begin it, so that a stuck one holds up nobody.

mod body;
mod request;
mod respond;
mod session;
mod shared;
mod stream;
mod websocket;

use std::task::Poll;

use bytes::Bytes;
use h2::server::{self, Connection as Codec};

use self::session::{End, Session};
use self::shared::Shared;
use super::{Client, Connection, http1};
use crate::net::{PollIo, Pump, poll_io};
use crate::time::Deadline;

/// Streams that were reset before they were seen, which the codec keeps; one turn's worth at most.
const UNSEEN_RESETS: usize = 20;
/// Streams that we have reset, of which the codec still takes what was under way.
const RESET_STREAMS: usize = 50;

/// Serves a connection to its end.
pub(super) async fn serve(connection: Box<Connection>) {
    let Connection {
        client,
        ticket,
        stream,
        parser,
    } = *connection;
    client.listener.stats.http2_cx_total.inc();
    let shared = Shared::new(&client);
    let (io, pump) = poll_io(stream, Some(shared.observer()));
    let (client, ticket, end) = match greet(&client, &shared, io, &pump).await {
        Some(codec) => {
            shared.widened();
            let mut session = Session::new(client, ticket, codec, &pump, shared);
            let end = std::future::poll_fn(|cx| session.poll(cx)).await;
            let Session { client, ticket, .. } = session;
            (client, ticket, end)
        }
        None => (client, ticket, End::Close),
    };
    let Some(stream) = pump.into_stream() else {
        // A send is in flight, and nobody waits for it: the descriptor is closed when the kernel lets go of it.
        return;
    };
    let mut connection = Connection {
        client,
        ticket,
        stream,
        parser,
    };
    match end {
        End::Close => connection.close(),
        End::Linger => {
            http1::linger(&mut connection).await;
            connection.close();
        }
        End::Cut => connection.abort(),
    }
}

/// Says what we take, and waits for the client's preface.
async fn greet(
    client: &Client,
    shared: &Shared,
    io: PollIo,
    pump: &Pump,
) -> Option<Codec<PollIo, Bytes>> {
    let limits = &client.listener.spec.config.limits;
    let http2 = &client.listener.spec.config.http2;
    let number = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(http2.concurrent_streams)
        .max_header_list_size(number(http2.header_list.0))
        .initial_window_size(shared.window.stream())
        .initial_connection_window_size(shared.window.connection())
        .max_send_buffer_size(usize::try_from(http2.send_buffer.0).unwrap_or(usize::MAX))
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(Some(http2.stream_errors as usize));
    if http2.websocket {
        builder.enable_connect_protocol();
    }
    let mut handshake = builder.handshake(io);
    let preface = std::future::poll_fn(|cx| {
        let greeted = pump.poll_with(&mut handshake, cx);
        if greeted.is_pending() && shared.breach().is_some() {
            // What came with the preface breaks a rule: the codec is shown none of it, and would wait for it.
            return Poll::Ready(None);
        }
        greeted.map(Some)
    });
    let deadline = Deadline::after(limits.header_timeout);
    match client.timer.within(deadline, preface).await {
        Ok(Some(Ok(codec))) => Some(codec),
        // It was counted.
        Ok(None) => None,
        Ok(Some(Err(error))) => {
            tracing::debug!(%error, "no preface of HTTP/2");
            client.listener.stats.http2_cx_errors.inc();
            None
        }
        Err(_elapsed) => {
            client.listener.stats.limit_header_timeout.inc();
            None
        }
    }
}
