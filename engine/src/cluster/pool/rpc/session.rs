//! One RPC connection to a host: the calls in flight on it, each under an id of our own.
//!
//! An answer that comes after its call was given up, or a second time, finds nobody, and is dropped ([`Ids`]).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_config as config;
use ringway_protocols::codec::{
    self, DecodeError, Frame, Kind, Limits, Output, Refusal, Side, Why,
};

use super::super::super::Host;
use super::super::http1::Places;
use super::call::Call;
use super::ids::Ids;
use super::{Key, Pool, driver};
use crate::fault::FaultKind;
use crate::net::Stream;
use crate::observe::{ClusterStats, HostStats, Slot as Stats};
use crate::request::{FrameEnd, RpcCall, Tie};
use crate::time::now_millis;

/// Pings that may go without an answer: with the third the connection is given up.
const STRIKES: u32 = 3;

/// Whether it takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// It takes no more, by the other end's word; it may take them again.
    Refusing,
    /// It closes when its calls have ended.
    Leaving,
    Closed,
}

/// A connection.
pub(super) struct Session {
    pub(super) key: Key,
    pub(super) pool: Weak<Pool>,
    pub(super) protocol: RefCell<Box<dyn codec::Session>>,
    pub(super) out: RefCell<Output>,
    /// Bytes that may wait to be sent.
    pub(super) buffer: usize,
    /// By their ids; none: it was given up, and its answer may yet come ([`Ids::are_few`]).
    pub(super) calls: RefCell<HashMap<u64, Option<Rc<Call>>>>,
    /// Calls that have a place here.
    pub(super) active: Cell<u32>,
    pub(super) begun: Cell<u64>,
    pub(super) ids: Ids,
    /// The client whose it is, if it is one's alone.
    tie: Option<Rc<Tie>>,
    last_id: Cell<u64>,
    pub(super) state: Cell<State>,
    strikes: Cell<u32>,
    heard: Cell<u64>,
    pub(super) quiet_since: Cell<u64>,
    driver: RefCell<Option<Waker>>,
    pub(super) max_requests: Option<u64>,
    born: u64,
    pub(super) heartbeat: Option<Duration>,
    pub(super) heartbeat_timeout: Duration,
    host: Stats<HostStats>,
    _places: Places,
    pub(super) cluster: Stats<ClusterStats>,
}

impl Session {
    /// A session over a new connection, with the task that drives it.
    pub(super) fn start(
        (stream, places): (Stream, Places),
        host: &Host,
        call: &RpcCall,
        config: &config::Cluster,
        pool: Weak<Pool>,
    ) -> Rc<Self> {
        let rpc = &config.rpc;
        let limits = Limits {
            frame: usize::try_from(rpc.max_frame.0).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        let bound = super::is_bound(call, rpc);
        let session = Rc::new(Self {
            key: Key::of(call, bound),
            tie: bound.then(|| Rc::clone(&call.tie)),
            pool,
            protocol: RefCell::new(call.codec.start(Side::Upstream, &limits)),
            out: RefCell::default(),
            buffer: usize::try_from(rpc.buffer.0).unwrap_or(usize::MAX),
            calls: RefCell::default(),
            active: Cell::new(0),
            begun: Cell::new(0),
            ids: Ids::of(call.codec.sharing(), bound),
            last_id: Cell::new(0),
            state: Cell::new(State::Open),
            strikes: Cell::new(0),
            heard: Cell::new(now_millis()),
            quiet_since: Cell::new(now_millis()),
            driver: RefCell::new(None),
            max_requests: config.pool.max_requests,
            born: now_millis(),
            heartbeat: rpc.heartbeat,
            heartbeat_timeout: rpc.heartbeat_timeout,
            host: host.stats.clone(),
            _places: places,
            cluster: host.cluster.clone(),
        });
        session.host.cx_active.inc();
        session.cluster.upstream_cx_active.inc();
        if let Some(tie) = &session.tie {
            let end: Weak<Self> = Rc::downgrade(&session);
            *tie.upstream.borrow_mut() = Some(end);
        }
        driver::spawn(Rc::clone(&session), stream);
        session
    }

    /// Whether it may be ended to make room: it has no calls, and is no client's own, who may be waiting for words of the upstream's.
    pub(super) fn is_spare(&self) -> bool {
        self.active.get() == 0 && self.tie.is_none()
    }

    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// Takes the next frame off what came in.
    pub(super) fn decode(&self, input: &mut bytes::BytesMut) -> Result<Option<Frame>, DecodeError> {
        self.protocol.borrow_mut().decode(input)
    }

    /// How many more bytes the frame under way needs.
    pub(super) fn wants(&self, have: usize) -> usize {
        self.protocol.borrow().wants(have)
    }

    /// A frame came.
    pub(super) fn take(self: &Rc<Self>, frame: Frame) {
        if let Some(error) = frame.broken {
            self.cluster.rpc_malformed.inc(error.index());
        }
        let is_ours = matches!(frame.kind, Kind::Response | Kind::Ping | Kind::Pong);
        if !is_ours && let Some(client) = self.tie.as_ref().and_then(|tie| tie.to_client()) {
            self.cluster.rpc_passed.inc();
            client.pass(&frame);
            return;
        }
        match frame.kind {
            Kind::Response => self.answer(frame),
            Kind::Pong => {}
            Kind::Ping => {
                let pong = self.protocol.borrow_mut().pong(&frame);
                if let Some(pong) = pong {
                    self.write(&pong);
                }
            }
            Kind::GoAway => {
                self.cluster.upstream_cx_goaway.inc();
                if self.state.get() == State::Open {
                    self.state.set(State::Refusing);
                    self.give_up_places();
                }
            }
            Kind::Resume => {
                if self.state.get() == State::Refusing {
                    self.state.set(State::Open);
                    if let Some(pool) = self.pool.upgrade() {
                        pool.restore(self);
                    }
                }
            }
            // Nobody here waits for any of it: a connection that many share has no one client to pass it to.
            Kind::Request | Kind::OneWay | Kind::Push | Kind::Notice => {
                self.cluster.rpc_unasked.inc();
                let refusal = Refusal {
                    why: Why::NoRoute,
                    text: "no client takes calls on this connection",
                };
                let reply = self.protocol.borrow_mut().reply(&frame, &refusal);
                if let Some(reply) = reply {
                    self.write(&reply);
                }
            }
        }
    }

    fn answer(&self, frame: Frame) {
        // Without ids there is one call, which everything that comes is the answer to.
        let id = match self.ids {
            Ids::Ours(_) | Ids::Theirs => frame.id,
            Ids::None => 0,
        };
        let call = self.calls.borrow_mut().remove(&id).flatten();
        let is_its = call.as_ref().is_some_and(|call| call.id == frame.id);
        if let Some(call) = &call {
            call.settle(match frame.broken {
                None if is_its => Ok(frame),
                None | Some(_) => Err(FaultKind::UpstreamProtocol),
            });
        } else {
            self.cluster.rpc_late.inc();
        }
        if self.ids == Ids::None && !is_its {
            // Whatever comes next would be taken for the next call's.
            self.close(FaultKind::UpstreamProtocol);
        }
    }

    /// Bytes came, or many went: the other end lives.
    pub(super) fn heard(&self) {
        self.heard.set(now_millis());
        self.strikes.set(0);
    }

    /// Asks whether the other end lives, if it was not heard of for so long. Says whether it is given up.
    pub(super) fn beat(&self, quiet: Duration) -> bool {
        let since = now_millis().saturating_sub(self.heard.get());
        if Duration::from_millis(since) < quiet {
            return false;
        }
        if self.strikes.get() >= STRIKES {
            return true;
        }
        let ping = self.protocol.borrow_mut().ping(self.next_id());
        if let Some(ping) = ping {
            self.strikes.set(self.strikes.get() + 1);
            self.cluster.rpc_heartbeats.inc();
            self.write(&ping);
        }
        false
    }

    /// Whether a ping goes without an answer.
    pub(super) fn is_waiting_for_pong(&self) -> bool {
        self.strikes.get() > 0
    }

    pub(super) fn next_id(&self) -> u64 {
        let calls = self.calls.borrow();
        self.ids.next(&self.last_id, |id| calls.contains_key(&id))
    }

    pub(super) fn write(&self, frame: &Frame) {
        let mut out = self.out.borrow_mut();
        self.protocol.borrow_mut().encode(frame, &mut out);
        drop(out);
        self.wake();
    }

    /// The next bytes to send; none when there will be no more.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<Option<bytes::Bytes>> {
        if let Some(part) = self.out.borrow_mut().take() {
            return Poll::Ready(Some(part));
        }
        match self.state.get() {
            State::Closed => return Poll::Ready(None),
            State::Leaving | State::Refusing if self.active.get() == 0 => return Poll::Ready(None),
            State::Open | State::Leaving | State::Refusing => {}
        }
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn wake(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// Takes no more calls; it closes when those that it has have ended.
    pub(super) fn leave(&self) {
        if matches!(self.state.get(), State::Open | State::Refusing) {
            self.state.set(State::Leaving);
            self.give_up_places();
        }
    }

    fn give_up_places(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.forget(self);
        }
        self.wake();
    }

    /// Leaves if it was unused for too long, or is too old.
    pub(super) fn sweep(&self, pool: &config::Pool) {
        let since = |then: u64| Duration::from_millis(now_millis().saturating_sub(then));
        let unused = self.is_spare() && since(self.quiet_since.get()) >= pool.idle_timeout;
        if unused {
            self.cluster.upstream_cx_closed_idle.inc();
        }
        let old = pool.max_age.is_some_and(|max| since(self.born) >= max);
        if old {
            self.cluster.upstream_cx_destroyed_max_age.inc();
        }
        if unused || old {
            self.leave();
        }
    }

    /// The connection has ended: so have its calls.
    pub(super) fn close(&self, kind: FaultKind) {
        self.state.set(State::Closed);
        self.give_up_places();
        let calls = self.calls.take();
        for call in calls.into_values().flatten() {
            call.settle(Err(kind));
        }
        // A client with a connection of its own loses more with it than its calls.
        if let Some(client) = self.tie.as_ref().and_then(|tie| tie.to_client()) {
            client.leave();
        }
    }
}

impl FrameEnd for Session {
    fn pass(&self, frame: &Frame) {
        self.write(frame);
    }

    fn leave(&self) {
        Self::leave(self);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.host.cx_active.dec();
        self.cluster.upstream_cx_active.dec();
        self.cluster.upstream_cx_destroyed.inc();
    }
}
