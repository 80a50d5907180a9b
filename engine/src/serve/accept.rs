//! From a listening socket to connections, within the limits; and how a listener closes without resetting anybody.

use std::cell::Cell;
use std::future::Future;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::root::{Keeper, Root};
use super::{Connection, serve};
use crate::net::{AcceptError, Acceptor, Spare, spawn};
use crate::time::{Deadline, Timer};
use crate::view::{Listener, ListenerId, Local};

/// Connections taken off the queue in one turn, so that those being served get theirs.
const BATCH: usize = 64;
/// How long to wait for descriptors when there are none, unless a connection of this core ends before.
const PAUSE: Duration = Duration::from_millis(20);
/// How long connections whose handshake is under way may take to get into the queue once new ones are refused. That long a
/// socket can be taken back.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Whether a listener still accepts.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Cell<bool>,
    /// The listener as it was last, for those who stand in the queue.
    last: Cell<Option<Rc<Listener>>>,
    waker: Cell<Option<Waker>>,
}

impl Gate {
    /// Lets nobody in any more, but for those who stand in the queue.
    pub(crate) fn close(&self, last: Option<Rc<Listener>>) {
        self.last.set(last);
        self.closed.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Runs `future` until it ends or the gate closes.
    async fn unless_closed<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            if self.closed.get() {
                return Poll::Ready(None);
            }
            self.waker.set(Some(cx.waker().clone()));
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

/// Accepts until the gate closes, then empties the queue and closes the socket; unless control takes the socket back through
/// its `spare` meanwhile, because its address is wanted again: then whoever has it goes on with the queue as it stands.
pub(crate) async fn accept(
    local: Rc<Local>,
    id: ListenerId,
    acceptor: Acceptor,
    gate: Rc<Gate>,
    spare: Arc<Spare>,
) {
    let timer = Timer::new();
    while gate.unless_closed(acceptor.readable()).await.is_some() {
        // Not kept until the next connection comes: a reload is to let go of what it replaced.
        let Some(listener) = local.view().listener_of(id) else {
            break;
        };
        if batch(&local, &listener, &acceptor) == Batch::Paused {
            local.stats.accept_paused.inc();
            let pause = timer.within(Deadline::after(PAUSE), end_of_a_connection(&local));
            let _closed_or_waited = gate.unless_closed(pause).await;
        }
    }
    let Some(listener) = gate.last.take() else {
        drop(spare.take());
        return;
    };
    if !spare.is_taken()
        && let Err(error) = acceptor.refuse_new()
    {
        tracing::warn!(%error, listener = %listener.spec.config.name, "connections that arrive while the listener closes may be reset");
    }
    let last_call = async {
        while !spare.is_taken() && acceptor.readable().await.is_ok() && !spare.is_taken() {
            batch(&local, &listener, &acceptor);
        }
    };
    let _elapsed = timer.within(Deadline::after(LAST_CALL), last_call).await;
    if spare.take().is_some() {
        while batch(&local, &listener, &acceptor) == Batch::Full {}
    } else if let Err(error) = acceptor.admit_again() {
        // Control took the filter off when it took the socket, but ours may have been put on after that.
        tracing::error!(%error, listener = %listener.spec.config.name, "a listening socket that was taken back lets nobody in");
    }
}

#[derive(PartialEq, Eq)]
enum Batch {
    /// The queue is empty.
    Empty,
    /// There may be more.
    Full,
    /// There is no room for more.
    Paused,
}

fn batch(local: &Rc<Local>, listener: &Rc<Listener>, acceptor: &Acceptor) -> Batch {
    for _ in 0..BATCH {
        if !local.admit(listener) {
            return Batch::Paused;
        }
        let accepted = match acceptor.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                local.release(listener);
                match error {
                    AcceptError::Empty => return Batch::Empty,
                    AcceptError::Exhausted => return Batch::Paused,
                    AcceptError::Aborted => {
                        local.stats.accept_errors.inc();
                        continue;
                    }
                }
            }
        };
        local.stats.connections_accepted.inc();
        let ticket = local.ticket(accepted.fd.as_raw_fd(), listener);
        let open = Open::new(local, listener);
        if let Some(connection) = Connection::open(local, listener, accepted, ticket) {
            spawn(Root::new(serve(connection), open));
        }
    }
    Batch::Full
}

async fn end_of_a_connection(local: &Local) {
    let mut waiting = false;
    std::future::poll_fn(|cx| {
        if waiting {
            return Poll::Ready(());
        }
        waiting = true;
        local.wait_for_end(cx.waker());
        Poll::Pending
    })
    .await;
}

/// Counts a connection as open.
struct Open {
    local: Rc<Local>,
    listener: Rc<Listener>,
}

impl Open {
    fn new(local: &Rc<Local>, listener: &Rc<Listener>) -> Self {
        listener.stats.downstream_cx_total.inc();
        listener.stats.downstream_cx_active.inc();
        local.stats.connections_active.inc();
        Self {
            local: Rc::clone(local),
            listener: Rc::clone(listener),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.stats.downstream_cx_active.dec();
        self.listener.stats.downstream_cx_destroyed.inc();
        self.local.stats.connections_active.dec();
        self.local.ended(&self.listener);
    }
}

impl Keeper for Open {
    fn panicked(&self) {
        self.local.stats.panics.inc();
        tracing::error!(listener = %self.listener.spec.config.name, "a panic ended a connection");
    }
}
