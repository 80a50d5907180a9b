//! How much a cluster takes, exact for the whole process: counts that all cores share, touched only where a limit is
//! configured; and who waits for a connection.
//!
//! ```text
//!  a connection is wanted ── a slot is free and nobody waits ─► it is made
//!      └─ wait: take a ticket, ring the other cores ─► one that keeps a connection idle closes it ─┐
//!                    ▲                                                                             ▼
//!                    └── the core with the oldest ticket is rung ◄── a slot is free ◄── a connection has ended
//! ```
//!
//! Tickets are one sequence for the process, and each core shows its oldest. Who frees a slot rings the core that shows the
//! oldest of all, and nobody else takes a slot while somebody waits: first come, first served, whatever the core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use ringway_config::{ClusterLimits, Limits, Priority};

use crate::net::Bell;

/// A queue longer than a burst of one client's full window waits longer than clients do.
const PENDING: u32 = 1024;
/// Tokens of a retry budget are counted in ten thousandths, the part that each first try adds.
const TOKEN: i64 = 10_000;
/// What a bucket holds at most: a burst of errors after a quiet time may be tried again so often.
const BUCKET: i64 = 100 * TOKEN;
/// What it begins with, so that a cluster's first errors can be tried again.
const FIRST: i64 = 10 * TOKEN;
/// No ticket.
const NONE: u64 = u64::MAX;

/// What a cluster has in use, over all cores and snapshots.
#[derive(Debug)]
pub struct Breakers {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: [AtomicU32; 2],
    retries: [AtomicU32; 2],
    budgets: [AtomicI64; 2],
    tickets: AtomicU64,
    /// The oldest ticket of each core, which alone writes it.
    oldest: Box<[AtomicU64]>,
    bells: OnceLock<Arc<[Bell]>>,
}

/// How much is left of each limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Connections.
    pub connections: Option<u32>,
    /// Places in the queue for one.
    pub pending: Option<u32>,
    /// Requests of the default priority.
    pub requests: Option<u32>,
    /// Further tries of the default priority.
    pub retries: Option<u32>,
    /// Requests of high priority.
    pub high_requests: Option<u32>,
    /// Further tries of high priority.
    pub high_retries: Option<u32>,
}

impl Breakers {
    pub(crate) fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self {
            connections: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            requests: Default::default(),
            retries: Default::default(),
            budgets: [AtomicI64::new(FIRST), AtomicI64::new(FIRST)],
            tickets: AtomicU64::new(0),
            oldest: (0..cores).map(|_| AtomicU64::new(NONE)).collect(),
            bells: OnceLock::new(),
        })
    }

    /// Where the cores can be rung; the first word stays.
    pub(crate) fn connect(&self, bells: &Arc<[Bell]>) {
        let _known = self.bells.set(Arc::clone(bells));
    }

    /// What is left of its limits.
    pub fn remaining(&self, limits: &ClusterLimits) -> Remaining {
        let left = |limit: Option<u32>, used: &AtomicU32| {
            limit.map(|limit| limit.saturating_sub(used.load(SeqCst)))
        };
        let [requests, high_requests] = &self.requests;
        let [retries, high_retries] = &self.retries;
        Remaining {
            connections: left(limits.connections, &self.connections),
            pending: left(
                limits
                    .connections
                    .map(|_| limits.pending.unwrap_or(PENDING)),
                &self.pending,
            ),
            requests: left(limits.default.requests, requests),
            retries: left(limits.default.retries, retries),
            high_requests: left(limits.high.requests, high_requests),
            high_retries: left(limits.high.retries, high_retries),
        }
    }

    /// The core with the oldest ticket.
    fn next_core(&self) -> Option<usize> {
        let shown = self.oldest.iter().map(|ticket| ticket.load(SeqCst));
        let (core, ticket) = shown.enumerate().min_by_key(|(_, ticket)| *ticket)?;
        (ticket != NONE).then_some(core)
    }

    fn is_waited_for(&self) -> bool {
        self.next_core().is_some()
    }

    fn ring(&self, core: usize) {
        if let Some(bell) = self.bells.get().and_then(|bells| bells.get(core)) {
            bell.ring();
        }
    }
}

/// Adds one, unless there are `limit`. Nobody is turned away for a moment's overshoot of another.
fn enter(used: &AtomicU32, limit: u32) -> bool {
    used.fetch_update(SeqCst, SeqCst, |used| (used < limit).then_some(used + 1))
        .is_ok()
}

fn index(priority: Priority) -> usize {
    match priority {
        Priority::Default => 0,
        Priority::High => 1,
    }
}

/// A place taken under a limit; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    breakers: Arc<Breakers>,
    of: Of,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Requests(usize),
    Retries(usize),
}

impl Drop for Place {
    fn drop(&mut self) {
        let used = match self.of {
            Of::Requests(priority) => self.breakers.requests.get(priority),
            Of::Retries(priority) => self.breakers.retries.get(priority),
        };
        if let Some(used) = used {
            used.fetch_sub(1, SeqCst);
        }
    }
}

/// A connection's place under `connections`; given back when dropped, to who has waited longest.
#[derive(Debug)]
pub(crate) struct Permit {
    breakers: Arc<Breakers>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.breakers.connections.fetch_sub(1, SeqCst);
        if let Some(core) = self.breakers.next_core() {
            self.breakers.ring(core);
        }
    }
}

/// One who waits on this core.
struct Waiter {
    ticket: u64,
    /// The host's id, whose connection would do.
    host: u64,
    waker: Cell<Option<Waker>>,
}

impl Waiter {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Who waits on a core, and for how many connections there is room: the same for all versions of the cluster, so that whoever
/// waited before a reload is served by whoever is rung after it.
#[derive(Default)]
struct Queue {
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
    /// `connections`, as the newest version has it.
    limit: Cell<Option<u32>>,
}

/// A core's side of a cluster's limits.
pub(crate) struct Gate {
    breakers: Arc<Breakers>,
    limits: ClusterLimits,
    core: usize,
    queue: Rc<Queue>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Gate {
    /// `last` is that of the version before.
    pub(super) fn new(
        breakers: &Arc<Breakers>,
        limits: &ClusterLimits,
        core: usize,
        last: Option<&Self>,
    ) -> Self {
        let last = last.filter(|last| Arc::ptr_eq(&last.breakers, breakers));
        let queue = last.map_or_else(Rc::default, |last| Rc::clone(&last.queue));
        queue.limit.set(limits.connections);
        Self {
            breakers: Arc::clone(breakers),
            limits: limits.clone(),
            core,
            queue,
        }
    }

    fn of(&self, priority: Priority) -> &Limits {
        match priority {
            Priority::Default => &self.limits.default,
            Priority::High => &self.limits.high,
        }
    }

    fn place(&self, of: Of, used: &[AtomicU32; 2], limit: u32) -> Result<Place, Full> {
        let (Of::Requests(priority) | Of::Retries(priority)) = of;
        match used.get(priority) {
            Some(used) if enter(used, limit) => Ok(Place {
                breakers: Arc::clone(&self.breakers),
                of,
            }),
            Some(_) | None => Err(Full),
        }
    }

    /// A request's place, where there is a limit.
    pub(crate) fn request(&self, priority: Priority) -> Result<Option<Place>, Full> {
        let Some(limit) = self.of(priority).requests else {
            return Ok(None);
        };
        let of = Of::Requests(index(priority));
        self.place(of, &self.breakers.requests, limit).map(Some)
    }

    /// A first try adds to the budget of further ones.
    pub(crate) fn first_try(&self, priority: Priority) {
        if let Some(part) = self.of(priority).retry_budget
            && let Some(budget) = self.breakers.budgets.get(index(priority))
        {
            let add = i64::from(part.basis_points());
            let fill = |tokens: i64| (tokens < BUCKET).then(|| (tokens + add).min(BUCKET));
            let _full = budget.fetch_update(SeqCst, SeqCst, fill);
        }
    }

    /// A further try's place: the limit and the budget must both admit it.
    pub(crate) fn retry(&self, priority: Priority) -> Result<Option<Place>, Full> {
        let limits = self.of(priority);
        let place = match limits.retries {
            Some(limit) => {
                let of = Of::Retries(index(priority));
                Some(self.place(of, &self.breakers.retries, limit)?)
            }
            None => None,
        };
        if limits.retry_budget.is_some()
            && let Some(budget) = self.breakers.budgets.get(index(priority))
        {
            let take = |tokens: i64| (tokens >= TOKEN).then(|| tokens - TOKEN);
            budget
                .fetch_update(SeqCst, SeqCst, take)
                .map_err(|_| Full)?;
        }
        Ok(place)
    }

    /// Whether connections are counted at all.
    pub(super) fn counts_connections(&self) -> bool {
        self.limits.connections.is_some()
    }

    /// A place for a new connection, if one is free and nobody waits for it.
    pub(super) fn try_connect(&self) -> Option<Permit> {
        let limit = self.limits.connections?;
        (!self.breakers.is_waited_for() && enter(&self.breakers.connections, limit))
            .then(|| self.permit())
    }

    fn permit(&self) -> Permit {
        Permit {
            breakers: Arc::clone(&self.breakers),
        }
    }

    /// Joins the queue, if it is not too long.
    pub(super) fn wait(&self, host: u64) -> Result<Wait<'_>, Full> {
        if !enter(
            &self.breakers.pending,
            self.limits.pending.unwrap_or(PENDING),
        ) {
            return Err(Full);
        }
        let waiter = Rc::new(Waiter {
            ticket: self.breakers.tickets.fetch_add(1, SeqCst),
            host,
            waker: Cell::new(None),
        });
        let mut waiters = self.queue.waiters.borrow_mut();
        waiters.push_back(Rc::clone(&waiter));
        drop(waiters);
        self.show();
        for core in (0..self.breakers.oldest.len()).filter(|core| *core != self.core) {
            self.breakers.ring(core);
        }
        Ok(Wait { gate: self, waiter })
    }

    /// Shows this core's oldest ticket to the others.
    fn show(&self) {
        let waiters = self.queue.waiters.borrow();
        let front = waiters.front().map(|waiter| waiter.ticket);
        if let Some(shown) = self.breakers.oldest.get(self.core) {
            shown.store(front.unwrap_or(NONE), SeqCst);
        }
    }

    /// The one who has waited longest of all, if on this core.
    fn front(&self) -> Option<Rc<Waiter>> {
        if self.breakers.next_core() != Some(self.core) {
            return None;
        }
        self.queue.waiters.borrow().front().cloned()
    }

    /// Whether an idle connection to this host should rather be closed: somebody waits, and not for it.
    pub(super) fn wants_room(&self, host: u64) -> bool {
        self.counts_connections()
            && self.breakers.is_waited_for()
            && self.front().is_none_or(|front| front.host != host)
    }

    /// A connection was kept: who has waited longest on this core looks again. `false`: nobody waits here.
    pub(super) fn look_again(&self) -> bool {
        let front = self.front();
        front.inspect(|front| front.wake()).is_some()
    }

    /// This core was rung: who has waited longest looks again. Where somebody on another core waits, what
    /// is idle here makes room, for all who wait at once: of bells that ring together, one is heard. `close` says whether it closed one.
    pub(super) fn serve(&self, mut close: impl FnMut() -> bool) {
        let elsewhere = self.counts_connections() && self.breakers.is_waited_for();
        if !self.look_again() && !elsewhere {
            return;
        }
        for _ in 0..self.lack() {
            if !close() {
                return;
            }
        }
    }

    /// How many more connections there would have to be room for, were all to be served who wait.
    fn lack(&self) -> u32 {
        let limit = self.queue.limit.get().unwrap_or(u32::MAX);
        let free = limit.saturating_sub(self.breakers.connections.load(SeqCst));
        let waiting = self.breakers.pending.load(SeqCst);
        waiting.saturating_sub(free)
    }

    /// Another version has taken the place of this one: all who wait on this core look at what they wait for.
    pub(super) fn stir(&self) {
        let waiters = self.queue.waiters.borrow();
        waiters.iter().for_each(|waiter| waiter.wake());
    }
}

/// One who waits for a connection. Dropped, it leaves the queue.
pub(super) struct Wait<'g> {
    gate: &'g Gate,
    waiter: Rc<Waiter>,
}

impl Wait<'_> {
    /// Ready when it is this one's turn and a slot is free.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Permit> {
        let limit = self.gate.queue.limit.get().unwrap_or(u32::MAX);
        let is_front = self
            .gate
            .front()
            .is_some_and(|front| Rc::ptr_eq(&front, &self.waiter));
        if is_front && enter(&self.gate.breakers.connections, limit) {
            return Poll::Ready(self.gate.permit());
        }
        self.waiter.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waiters = self.gate.queue.waiters.borrow_mut();
        waiters.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        drop(waiters);
        self.gate.show();
        self.gate.breakers.pending.fetch_sub(1, SeqCst);
        // A slot may be free that this one was rung for.
        if let Some(core) = self.gate.breakers.next_core() {
            self.gate.breakers.ring(core);
        }
    }
}

#[cfg(test)]
mod tests;
