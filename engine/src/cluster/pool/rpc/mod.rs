//! Connections to a host that speaks an RPC protocol: many calls over each where the protocol has ids, else one at a time.
//!
//! ```text
//!   checkout ─► a session has room ─────────────────────────────────► Slot ─► call ─► Answering ─► the answer's frame
//!           ├─► none has, and more connections are allowed ─► connect, then a Slot of the new session
//!           └─► wait until one is made, or has room again, and look again
//! ```
//!
//! Sessions are told apart by what their protocol pins to a connection (Bolt: version and sub-version): calls that differ in it
//! never meet on one. Where a cluster gives each client connections of its own (`rpc.bound`), they are told apart by the client too;
//! ids stay as they are, what the upstream says unasked goes to that client, and both end together.

mod call;
mod driver;
mod ids;
mod session;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringway_config as config;
use ringway_protocols::codec::Sharing;

use super::super::Host;
use super::http1::Places;
use crate::net::Stream;
use crate::request::RpcCall;

pub(crate) use call::Slot;
use session::Session;

/// Connections to one host on one core, where calls share them: more than one only spreads the work of the other end.
const CONNECTIONS_SHARED: u32 = 1;
/// The same where each holds one call at a time: as many calls may be at the host at once.
const CONNECTIONS_EXCLUSIVE: u32 = 256;

/// The sessions with a host, and who waits for one.
#[derive(Default)]
pub(in crate::cluster) struct Pool {
    sessions: RefCell<Vec<Rc<Session>>>,
    waiting: RefCell<Vec<Waker>>,
    waiters: Cell<u32>,
    /// Connections being made, by what they are for.
    connecting: RefCell<Vec<Key>>,
}

/// Where a call finds its place.
pub(in crate::cluster) enum Place {
    Here(Slot),
    /// On a connection that has yet to be made.
    Connect(Connecting),
    /// Where somebody makes room.
    Wait(Waiting),
    /// Nowhere: too many wait already.
    Full,
}

impl Pool {
    /// A place for a call, or how to come by one. `fresh`: not on a connection that was there before.
    pub(in crate::cluster) fn place(
        self: &Rc<Self>,
        call: &RpcCall,
        limits: &config::ClusterRpc,
        fresh: bool,
    ) -> Place {
        let bound = is_bound(call, limits);
        let key = Key::of(call, bound);
        let sharing = call.codec.sharing();
        let exclusive = sharing == Sharing::OneAtATime;
        if !fresh && let Some(slot) = self.slot(key, sharing, limits) {
            return Place::Here(slot);
        }
        let max = match (bound, exclusive) {
            (true, _) => 1,
            (false, true) => limits.connections.unwrap_or(CONNECTIONS_EXCLUSIVE),
            (false, false) => limits.connections.unwrap_or(CONNECTIONS_SHARED),
        };
        let (open, coming) = (self.count(key), self.coming(key));
        if open + coming < max || (fresh && coming == 0) {
            return Place::Connect(Connecting::new(self, key));
        }
        if self.waiters.get() >= limits.in_flight {
            return Place::Full;
        }
        Place::Wait(Waiting::new(self))
    }

    /// A place on the session with the fewest calls. Where another connection may be made and each has one, none.
    fn slot(&self, key: Key, sharing: Sharing, limits: &config::ClusterRpc) -> Option<Slot> {
        let sessions = self.sessions.borrow();
        let fit = sessions.iter().filter(|session| session.key == key);
        let best = fit.min_by_key(|session| session.active()).cloned()?;
        drop(sessions);
        let open = self.count(key) + self.coming(key);
        let spread = sharing != Sharing::OneAtATime
            && key.tie == 0
            && limits.connections.is_some_and(|max| open < max);
        let most = match spread {
            true => 1,
            false => ids::most(sharing, limits.in_flight),
        };
        (best.active() < most).then(|| Slot::new(&best))
    }

    fn count(&self, key: Key) -> u32 {
        let sessions = self.sessions.borrow();
        let count = sessions.iter().filter(|session| session.key == key).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn coming(&self, key: Key) -> u32 {
        let coming = self.connecting.borrow();
        u32::try_from(coming.iter().filter(|other| **other == key).count()).unwrap_or(u32::MAX)
    }

    /// There may be room: all who wait look again.
    fn stir(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Takes a session off: it takes no more calls.
    fn forget(&self, session: &Session) {
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|kept| !std::ptr::eq(&raw const **kept, session));
        drop(sessions);
        self.stir();
    }

    /// Puts a session back that takes calls again.
    fn restore(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().push(Rc::clone(session));
        self.stir();
    }

    /// Ends sessions that were unused for too long.
    pub(in crate::cluster) fn sweep(&self, pool: &config::Pool) {
        let sessions = self.sessions.borrow().clone();
        for session in sessions {
            session.sweep(pool);
        }
    }

    /// Whether there is no session, and none is being made.
    pub(in crate::cluster) fn is_empty(&self) -> bool {
        self.sessions.borrow().is_empty() && self.connecting.borrow().is_empty()
    }

    /// Ends a session that has no calls, if there is one.
    pub(in crate::cluster) fn close_one(&self) -> bool {
        let idle = {
            let sessions = self.sessions.borrow();
            let mut idle = sessions.iter().filter(|session| session.is_spare());
            idle.next().cloned()
        };
        if let Some(session) = &idle {
            session.leave();
        }
        idle.is_some()
    }

    /// Ends all sessions as soon as their calls have ended.
    pub(in crate::cluster) fn drain(&self) {
        for session in self.sessions.take() {
            session.leave();
        }
        self.stir();
    }
}

/// Whether the client of a call has upstream connections of its own.
fn is_bound(call: &RpcCall, limits: &config::ClusterRpc) -> bool {
    limits.bound || call.codec.sharing() == Sharing::Bound
}

/// What tells sessions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    codec: &'static str,
    /// What the codec pins.
    pin: u64,
    /// The client whose it is; 0: everybody's.
    tie: u64,
}

impl Key {
    fn of(call: &RpcCall, bound: bool) -> Self {
        Self {
            codec: call.codec.name(),
            pin: call.frame.pin,
            tie: if bound { call.tie.id } else { 0 },
        }
    }
}

/// The right to make a connection. Dropped, with or without one, those who wait look again.
pub(in crate::cluster) struct Connecting {
    pool: Rc<Pool>,
    key: Key,
}

impl Connecting {
    fn new(pool: &Rc<Pool>, key: Key) -> Self {
        pool.connecting.borrow_mut().push(key);
        Self {
            pool: Rc::clone(pool),
            key,
        }
    }

    /// A session over a new connection, and the first place on it.
    pub(in crate::cluster) fn open(
        self,
        opened: (Stream, Places),
        host: &Host,
        call: &RpcCall,
        config: &config::Cluster,
    ) -> Slot {
        let session = Session::start(opened, host, call, config, Rc::downgrade(&self.pool));
        self.pool.sessions.borrow_mut().push(Rc::clone(&session));
        Slot::new(&session)
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        let mut connecting = self.pool.connecting.borrow_mut();
        if let Some(at) = connecting.iter().position(|key| *key == self.key) {
            connecting.swap_remove(at);
        }
        drop(connecting);
        self.pool.stir();
    }
}

/// A call's place in the queue. Dropped, it is given up.
pub(in crate::cluster) struct Waiting {
    pool: Rc<Pool>,
}

impl Waiting {
    fn new(pool: &Rc<Pool>) -> Self {
        pool.waiters.set(pool.waiters.get() + 1);
        Self {
            pool: Rc::clone(pool),
        }
    }

    /// Until there may be room.
    pub(in crate::cluster) async fn room(self) {
        let mut asked = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            self.pool.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool.waiters.set(self.pool.waiters.get() - 1);
    }
}
