//! The task of an HTTP/2 connection: drives the codec, asks the other end whether it is there, and lets windows grow.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::PingPong;
use h2::client::{self, Connection, SendRequest};
use ringway_config::Http2;

use super::ends::Ends;
use super::session::{Session, UNSETTLED, window};
use crate::fault::{Fault, FaultKind, Retry};
use crate::http2::{Beat, Pulse};
use crate::net::{self, PollIo, Pump, Stream, poll_io};

/// What drives a connection.
pub(super) struct Driver {
    connection: Box<Connection<PollIo, Bytes>>,
    pump: Pump,
    pulse: Pulse<PingPong>,
}

impl Driver {
    /// Says hello: the preface and our SETTINGS (RFC 9113 §3.4). The other end's need not be waited for.
    pub(super) async fn greet(
        stream: Stream,
        config: &Http2,
        ends: &Rc<Ends>,
    ) -> Result<(SendRequest<Bytes>, Self), Fault> {
        let window = window(config);
        let (io, pump) = poll_io(stream, Some(ends.observer()));
        let header_list = u32::try_from(config.header_list.0).unwrap_or(u32::MAX);
        let greeted = client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(UNSETTLED)
            .initial_window_size(window.stream())
            .initial_connection_window_size(window.connection())
            .max_header_list_size(header_list)
            .handshake(io)
            .await;
        let failed = |error| {
            Fault::new(FaultKind::ConnectFailed)
                .retry(Retry::Safe)
                .because(error)
        };
        let (sender, mut connection) = greeted.map_err(failed)?;
        let timeout = Some(config.keep_alive_timeout);
        let pulse = Pulse::new(connection.ping_pong(), config.keep_alive, timeout);
        let driver = Self {
            connection: Box::new(connection),
            pump,
            pulse,
        };
        Ok((sender, driver))
    }

    /// Starts the task. It ends with the connection; a session that drains ends it when its streams have ended.
    pub(super) fn spawn(mut self, session: Rc<Session>) {
        net::spawn(async move {
            // A panic ends the connection and not the core (settled question 16): its streams see that it is gone.
            let end = std::future::poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&session, cx)));
                polled.unwrap_or_else(|_panic| {
                    session.cluster.upstream_cx_panics.inc();
                    tracing::error!("a panic ended an upstream connection");
                    Poll::Ready(())
                })
            });
            end.await;
            let Self {
                connection, pump, ..
            } = self;
            // In this order: the streams learn that it has ended, then nobody is sent there any more, then it is closed.
            drop(connection);
            session.end();
            if let Some(stream) = pump.into_stream() {
                stream.close();
            }
        });
    }

    fn poll(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<()> {
        session.listen(cx.waker());
        loop {
            if let Poll::Ready(end) = self.pump.poll_with(&mut self.connection, cx) {
                if let Err(error) = end {
                    tracing::debug!(%error, "upstream connection failed");
                }
                return Poll::Ready(());
            }
            session.settle();
            session.check(cx);
            if self.resized(session) {
                continue;
            }
            let (moved, came) = (self.pump.moved(), self.pump.received());
            let wanted = || {
                let suspected = session.take_suspicion();
                session.window.begin(came) || suspected
            };
            match self.pulse.poll(moved, session.is_idle(), wanted, cx) {
                Beat::Nothing => return Poll::Pending,
                Beat::Asked => {}
                Beat::Answered => {
                    if session.window.end(came) {
                        let size = session.window.connection();
                        self.connection.set_target_window_size(size);
                    }
                }
                Beat::Dead => {
                    session.cluster.upstream_cx_ping_timeout.inc();
                    return Poll::Ready(());
                }
            }
        }
    }
    /// Tells the other end how large windows are now, if that has changed. Says whether the codec has something to do.
    fn resized(&mut self, session: &Session) -> bool {
        let connection = &mut self.connection;
        session
            .window
            .tell(|size| connection.set_initial_window_size(size).is_ok())
    }
}
