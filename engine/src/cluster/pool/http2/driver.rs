//! The task of an HTTP/2 connection: drives the codec, asks the other end whether it is there, and lets windows grow.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, Connection, SendRequest};
use h2::{Ping, PingPong};
use ringway_config::Http2;

use super::ends::Ends;
use super::session::{Session, UNSETTLED, window};
use crate::fault::{Fault, FaultKind, Retry};
use crate::net::{self, PollIo, Pump, Stream, poll_io};
use crate::time::{Deadline, Timer};

/// What drives a connection.
pub(super) struct Driver {
    connection: Box<Connection<PollIo, Bytes>>,
    pump: Pump,
    pulse: Pulse,
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
        let pulse = Pulse {
            pinger: connection.ping_pong(),
            interval: config.keep_alive,
            timeout: config.keep_alive_timeout,
            asked: None,
            next: Deadline::after_opt(config.keep_alive),
            timer: Timer::new(),
        };
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
            // A panic ends the connection and not the core (settled question 10): its streams see that it is gone.
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
            match self.pulse.poll(session, &mut self.connection, cx) {
                Beat::Nothing => return Poll::Pending,
                Beat::Again => {}
                Beat::Dead => {
                    session.cluster.upstream_cx_ping_timeout.inc();
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// PINGs: so that a connection whose other end has vanished is found, and to measure the path.
struct Pulse {
    /// The codec has one, and lends it once.
    pinger: Option<PingPong>,
    interval: Option<Duration>,
    timeout: Duration,
    /// Until when the PING under way has to be answered.
    asked: Option<Deadline>,
    /// When to ask next, unasked.
    next: Deadline,
    timer: Timer,
}

/// What came of a look at the pulse.
enum Beat {
    Nothing,
    /// The codec has something to do.
    Again,
    Dead,
}

impl Pulse {
    fn poll(
        &mut self,
        session: &Session,
        connection: &mut Connection<PollIo, Bytes>,
        cx: &mut Context<'_>,
    ) -> Beat {
        let Some(pinger) = &mut self.pinger else {
            return Beat::Nothing;
        };
        if let Some(deadline) = self.asked {
            match pinger.poll_pong(cx) {
                Poll::Ready(Ok(_)) => {
                    self.asked = None;
                    self.next = Deadline::after_opt(self.interval);
                    if session.window.end() {
                        connection.set_target_window_size(session.window.connection());
                        // Refused while SETTINGS of ours are under way: then the streams keep theirs until the next look.
                        let _unanswered =
                            connection.set_initial_window_size(session.window.stream());
                        return Beat::Again;
                    }
                }
                Poll::Ready(Err(_)) => return Beat::Nothing,
                Poll::Pending if self.timer.poll_until(deadline, cx).is_ready() => {
                    return Beat::Dead;
                }
                Poll::Pending => return Beat::Nothing,
            }
        }
        let suspected = session.take_suspicion();
        let wanted = session.window.begin() || suspected || {
            // Between requests nobody misses it: it would only keep an idle connection from being closed.
            let due = self.timer.poll_until(self.next, cx).is_ready();
            if due && session.is_quiet() {
                self.next = Deadline::after_opt(self.interval);
                return Beat::Again;
            }
            due
        };
        if !wanted || pinger.send_ping(Ping::opaque()).is_err() {
            return Beat::Nothing;
        }
        self.asked = Some(Deadline::after(self.timeout));
        Beat::Again
    }
}
