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
mod handle;
mod respond;
mod session;
mod shared;
mod stream;
mod websocket;

use ringway_protocols::http2::Limits;

use self::session::{End, Session};
use self::shared::Shared;
use super::{Connection, http1};
use crate::net::poll_io;
use crate::view::Listener;

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
    shared.widened();
    let (io, pump) = poll_io(stream, None);
    let mut session = Session::new(client, ticket, io, &pump, shared);
    let end = std::future::poll_fn(|cx| session.poll(cx)).await;
    let Session {
        client, ticket, io, ..
    } = session;
    drop(io);
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

/// The limits of a listener's requests.
fn limits(listener: &Listener) -> Limits {
    let head = &listener.head_limits;
    Limits {
        fields: head.fields,
        field: head.field,
        cookies: listener.spec.config.http2.cookie_pieces as usize,
        target: head.start_line,
    }
}
