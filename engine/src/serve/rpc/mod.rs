//! A client's connection of an RPC protocol: frames in, each call a request that meets `proxy`, answers in whatever order they
//! come.
//!
//! ```text
//!   read ─► decode ─► a call: a task of its own ─► proxy ─► the answer's frame, or one of the proxy's own ─┐
//!      └──► a ping: answered here ─────────────────────────────────────────────────────────────────────────┤
//!   write ◄──────────────────────────────────── what waits to be sent, limited in bytes ◄──────────────────┘
//! ```

mod call;
mod shared;

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ringway_protocols::codec::{Codec, DecodeError, Frame, Kind, Refusal, Why};

use self::shared::{InFlight, Shared};
use super::pace::Pace;
use super::root::{Root, boxed};
use super::{Client, Connection};
use crate::net::{Reader, Stream, Writer, spawn};
use crate::time::{Deadline, Timer};
use crate::view::Ticket;

/// What a read makes room for at least: some calls of a usual size.
const READ: usize = 8 << 10;
/// And at most, whatever a frame says of its length: it grows as it comes.
const READ_MAX: usize = 256 << 10;
/// How long a client that is to leave is listened to, once it has no calls: for what it sent before it read that; or, where the protocol
/// has no words for it, for it to take its last answer: Bolt's client for Java gives up one that the connection's end is right behind.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In order, or by the client.
    Close,
    /// It takes nothing, or nothing more can be said to it.
    Cut,
}

/// Serves a connection to its end.
pub(super) async fn serve(connection: Box<Connection>, codec: Arc<dyn Codec>) {
    let Connection {
        mut client,
        ticket,
        stream,
        ..
    } = *connection;
    let shared = Shared::new(&client, codec);
    let pace = Pace::new(&client.listener.spec.config.limits);
    let Stream {
        mut reader,
        mut writer,
    } = stream;
    let end = {
        let mut reading = pin!(read(&mut client, &shared, &ticket, &mut reader));
        let mut writing = pin!(write(&shared, &mut writer, &pace));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(end) = writing.as_mut().poll(cx) {
                return Poll::Ready(end);
            }
            if shared.is_finishing() {
                return Poll::Pending;
            }
            let polled = reading.as_mut().poll(cx);
            if polled == Poll::Ready(End::Close) {
                // What is in flight is still answered, and what waits to be sent sent.
                shared.finish();
                return writing.as_mut().poll(cx);
            }
            polled
        })
        .await
    };
    shared.gone();
    // First the place among the connections: its descriptor may be another's as soon as it is closed.
    drop((client, ticket));
    let stream = Stream { reader, writer };
    match end {
        End::Close => stream.close(),
        End::Cut => stream.abort(),
    }
}

/// Reads calls until the client has said its last, or is to leave.
async fn read(
    client: &mut Client,
    shared: &Rc<Shared>,
    ticket: &Ticket,
    reader: &mut Reader,
) -> End {
    let pace = Pace::new(&client.listener.spec.config.limits);
    loop {
        if let Err(end) = decode(client, shared, reader) {
            return end;
        }
        shared.has_part(reader.input.len());
        match next(client, shared, ticket, reader, &pace).await {
            Next::Read(Ok(bytes @ 1..)) => pace.moved(bytes),
            Next::Room => {}
            Next::Read(Ok(0)) => return End::Close,
            Next::Read(Err(_)) => return End::Cut,
            Next::Leave => return End::Close,
        }
    }
}

/// Begins the calls that are here, as many as may be in flight.
fn decode(client: &mut Client, shared: &Rc<Shared>, reader: &mut Reader) -> Result<(), End> {
    while shared.has_room() {
        match shared.decode(&mut reader.input) {
            Ok(None) => break,
            Ok(Some(frame)) => take(client, shared, frame)?,
            Err(error) => {
                client.listener.stats.rpc_malformed.inc(error.index());
                return Err(End::Cut);
            }
        }
    }
    if !shared.has_room() && !shared.is_serial() && !reader.input.is_empty() {
        client.listener.stats.limit_rpc_in_flight.inc();
    }
    Ok(())
}

/// A frame came.
fn take(client: &mut Client, shared: &Rc<Shared>, frame: Frame) -> Result<(), End> {
    let stats = client.listener.stats.clone();
    if let Some(error) = frame.broken {
        stats.rpc_malformed.inc(error.index());
        let text = error.name();
        let said = shared.refuse(
            &frame,
            &Refusal {
                why: Why::Malformed,
                text,
            },
        );
        // Who is told nothing would wait for ever; and of what is not spoken here, nobody knows whether it wants an answer at all.
        let is_clear = said > 0 && error != DecodeError::Unsupported;
        return match frame.kind == Kind::Request && !is_clear {
            true => Err(End::Close),
            false => Ok(()),
        };
    }
    match frame.kind {
        Kind::Request | Kind::OneWay => begin(client, shared, frame),
        Kind::Ping => shared.pong(&frame),
        Kind::Pong | Kind::GoAway | Kind::Resume | Kind::Notice => {}
        // An answer, to a call of its own upstream's, or that nobody made.
        Kind::Response | Kind::Push if shared.answer_upstream(&frame) => {}
        Kind::Response | Kind::Push => stats.rpc_unasked.inc(),
    }
    Ok(())
}

/// Starts the task of a call.
fn begin(client: &mut Client, shared: &Rc<Shared>, frame: Frame) {
    client.requests += 1;
    client.refresh();
    let Some(place) = InFlight::enter(shared, frame.bytes.len()) else {
        client.listener.stats.limit_rpc_memory.inc();
        let text = "too much in flight";
        shared.refuse(
            &frame,
            &Refusal {
                why: Why::Overloaded,
                text,
            },
        );
        return;
    };
    // Boxed, or the whole of it is copied on the way into the runtime's own box, and again on the way to that.
    let (client, shared) = (client.beside(), Rc::clone(shared));
    spawn(Root::new(
        boxed(|| call::serve(client, shared, frame)),
        place,
    ));
}

/// What comes next.
enum Next {
    Read(io::Result<usize>),
    /// Another call may begin.
    Room,
    /// It was told to leave, and has no more calls; or its time is up.
    Leave,
}

/// Waits for bytes, for room, or for the end. A frame that has begun must keep `pace`.
async fn next(
    client: &Client,
    shared: &Shared,
    ticket: &Ticket,
    reader: &mut Reader,
    pace: &Pace,
) -> Next {
    let limits = &client.listener.spec.config.limits;
    let partial = !reader.input.is_empty() && shared.has_room();
    let told = shared.is_leaving() && shared.say_goodbye();
    let mut deadline = match (shared.is_idle(), partial) {
        (_, true) => Deadline::after(limits.header_timeout),
        (true, false) => Deadline::after(limits.idle_timeout),
        (false, false) => Deadline::NEVER,
    };
    let leave_within = match told {
        true => LEAVE_WITHIN,
        false => LEAVE_WITHIN.saturating_sub(shared.quiet_for()),
    };
    let leaving = shared.is_leaving() && shared.is_idle();
    if leaving {
        deadline = deadline.min(Deadline::after(leave_within));
    }
    let coming = match partial {
        true => pace.deadline(),
        false => Deadline::NEVER,
    };
    let (was_idle, had_room) = (shared.is_idle(), shared.has_room());
    let want = shared.wants(reader.input.len()).clamp(READ, READ_MAX);
    let waiting = std::future::poll_fn(|cx| {
        shared.listen(cx.waker());
        ticket.ends_itself(cx.waker());
        if shared.is_leaving() && !shared.has_said_goodbye() {
            return Poll::Ready(Next::Room);
        }
        if leaving && leave_within.is_zero() {
            return Poll::Ready(Next::Leave);
        }
        if !had_room {
            return match shared.has_room() {
                true => Poll::Ready(Next::Room),
                false => Poll::Pending,
            };
        }
        if shared.is_idle() != was_idle {
            // Its deadline is another now.
            return Poll::Ready(Next::Room);
        }
        reader.poll_fill(want, cx).map(Next::Read)
    });
    let came = client.timer.within(deadline.min(coming), waiting).await;
    pace.stop();
    match came {
        Ok(next) => next,
        Err(_elapsed) if coming.has_passed() => {
            if pace.is_kept() {
                return Next::Room;
            }
            client.listener.stats.limit_body_too_slow.inc();
            Next::Leave
        }
        Err(_elapsed) => {
            let stats = &client.listener.stats;
            match (leaving, partial) {
                (true, _) => stats.downstream_cx_drain_close.inc(),
                (false, true) => stats.limit_header_timeout.inc(),
                (false, false) => stats.limit_idle_timeout.inc(),
            }
            Next::Leave
        }
    }
}

/// Sends what waits, until there will be no more. The client must take it at a `pace`.
async fn write(shared: &Shared, writer: &mut Writer, pace: &Pace) -> End {
    // Beside the one of who reads: both wait at the same time.
    let timer = Timer::new();
    loop {
        let part = match std::future::poll_fn(|cx| shared.poll_out(cx)).await {
            Ok(Some(part)) => part,
            Ok(None) => return End::Close,
            Err(end) => return end,
        };
        let mut sending = pin!(writer.write_all(part, |bytes| pace.moved(bytes)));
        loop {
            let sent = std::future::poll_fn(|cx| {
                shared.listen(cx.waker());
                match shared.is_cut() {
                    true => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                    false => sending.as_mut().poll(cx),
                }
            });
            match timer.within(pace.deadline(), sent).await {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return End::Cut,
                Err(_elapsed) if pace.is_kept() => {}
                Err(_elapsed) => {
                    shared.is_too_slow();
                    return End::Cut;
                }
            }
        }
        pace.stop();
    }
}
