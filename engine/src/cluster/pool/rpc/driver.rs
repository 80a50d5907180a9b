//! The task of an RPC connection: reads and hands out answers, sends what waits, and asks whether the other end lives.
//!
//! None of the three waits for another, and none for a client: an answer is handed over and forgotten.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::session::Session;
use crate::fault::FaultKind;
use crate::net::{self, Reader, Stream, Writer};

/// What a read makes room for at least: some answers of a usual size.
const READ: usize = 16 << 10;
/// And at most, whatever a frame says of its length: it grows as it comes.
const READ_MAX: usize = 256 << 10;

/// Starts the task. It ends with the connection, or when a session that leaves has no more calls.
pub(super) fn spawn(session: Rc<Session>, stream: Stream) {
    net::spawn(async move {
        let Stream {
            mut reader,
            mut writer,
        } = stream;
        let end = {
            let mut reading = pin!(read(&session, &mut reader));
            let mut writing = pin!(write(&session, &mut writer));
            let mut beating = pin!(beat(&session));
            std::future::poll_fn(|cx| {
                // A panic ends the connection and not the core (settled question 16).
                let polled = catch_unwind(AssertUnwindSafe(|| {
                    for polled in [
                        reading.as_mut().poll(cx),
                        writing.as_mut().poll(cx),
                        beating.as_mut().poll(cx),
                    ] {
                        if polled.is_ready() {
                            return polled;
                        }
                    }
                    Poll::Pending
                }));
                polled.unwrap_or_else(|_panic| {
                    tracing::error!("a panic ended an upstream connection");
                    Poll::Ready(FaultKind::Internal)
                })
            })
            .await
        };
        session.close(end);
        Stream { reader, writer }.close();
    });
}

async fn read(session: &Rc<Session>, reader: &mut Reader) -> FaultKind {
    loop {
        loop {
            match session.decode(&mut reader.input) {
                Ok(Some(frame)) => session.take(frame),
                Ok(None) => break,
                Err(error) => {
                    session.cluster.rpc_malformed.inc(error.index());
                    return FaultKind::UpstreamProtocol;
                }
            }
        }
        let want = session.wants(reader.input.len()).clamp(READ, READ_MAX);
        match reader.fill(want).await {
            Ok(1..) => session.heard(),
            Ok(0) | Err(_) => return FaultKind::Reset,
        }
    }
}

async fn write(session: &Session, writer: &mut Writer) -> FaultKind {
    while let Some(part) = std::future::poll_fn(|cx| session.poll_out(cx)).await {
        // While it takes a large call it may well say nothing; a heartbeat that it took says nothing of it.
        let is_large = part.len() > READ;
        let moved = |_| {
            if is_large {
                session.heard();
            }
        };
        if writer.write_all(part, moved).await.is_err() {
            break;
        }
    }
    FaultKind::Reset
}

async fn beat(session: &Session) -> FaultKind {
    let Some(interval) = session.heartbeat else {
        return std::future::pending().await;
    };
    loop {
        let wait = match session.is_waiting_for_pong() {
            true => session.heartbeat_timeout,
            false => interval,
        };
        crate::time::sleep(wait).await;
        if session.beat(wait) {
            session.cluster.upstream_cx_ping_timeout.inc();
            return FaultKind::Reset;
        }
    }
}
