//! What requests take of limits: never more than allowed, refused only what does not fit, and nobody who waits is forgotten.

use std::time::Duration;

use super::super::{Wrong, millis, must};
use super::{At, World};

/// What a retry budget begins with, and holds at most, in ten thousandths of a token.
pub(super) const FIRST: u64 = 10 * TOKEN;
const MOST: u64 = 100 * TOKEN;
const TOKEN: u64 = 10_000;
/// Whom there might be room for is served within it.
const SERVED: Duration = millis(50);

/// What is in use.
#[derive(Debug, Default)]
pub(super) struct Use {
    sent: u32,
    waiting: u32,
    further: u32,
    /// Of one host.
    here: u32,
}

impl World {
    fn used(&self, host: u64) -> Use {
        let mut used = Use::default();
        for asking in self.asking.values() {
            let at = match &asking.place {
                At::Nowhere => continue,
                At::Before(host) => {
                    used.waiting += 1;
                    host
                }
                At::Host(host) => {
                    used.sent += 1;
                    host
                }
            };
            used.further += u32::from(asking.request.tries() > 1);
            used.here += u32::from(at.id == host);
        }
        used
    }

    /// Nothing is more in use than limits allow, and all of it is counted.
    pub(super) fn within_limits(&self, host: u64) -> Result<(), Wrong> {
        let limits = &self.config.limits;
        let used = self.used(host);
        let idle = self.rehearsal.idle(None) as u32;
        let idle_here = self.rehearsal.idle(Some(host)) as u32;
        let left = self.rehearsal.spec().breakers.remaining(limits);
        let all = used.sent + used.waiting;
        for (what, limit, used, left) in [
            ("requests", limits.default.requests, all, left.requests),
            (
                "connections",
                limits.connections,
                used.sent + idle,
                left.connections,
            ),
            (
                "further tries",
                limits.default.retries,
                used.further,
                left.retries,
            ),
            (
                "who wait",
                limits.connections.and(limits.pending),
                used.waiting,
                left.pending.filter(|_| limits.pending.is_some()),
            ),
        ] {
            let exact = limit.and_then(|limit| limit.checked_sub(used));
            must!(exact == left, "{used} {what} of {limit:?}, left: {left:?}");
        }
        for (what, limit, used) in [
            ("requests", limits.host_requests, used.here),
            (
                "connections",
                limits.host_connections,
                used.here + idle_here,
            ),
        ] {
            let fits = limit.is_none_or(|limit| used <= limit);
            must!(fits, "{used} {what} at a host of {limit:?}");
        }
        must!(
            self.rehearsal.active() == i64::from(used.sent),
            "{} in flight are not counted",
            used.sent
        );
        Ok(())
    }

    /// A request or a further try was refused on a core: some limit is reached.
    pub(super) fn is_full(&self, core: usize, further: bool) -> Result<(), Wrong> {
        let limits = &self.config.limits;
        let left = self.rehearsal.spec().breakers.remaining(limits);
        let none = |left: Option<u32>| left == Some(0);
        let no_token = limits.default.retry_budget.is_some() && self.tokens < TOKEN;
        let of_all = none(left.requests)
            || (none(left.connections) || left.pending != limits.pending) && none(left.pending)
            || further && (none(left.retries) || no_token);
        let at_host = || {
            let told = &self.cores[core].told;
            told.ids().any(|host| {
                let (used, idle) = (self.used(host).here, self.rehearsal.idle(Some(host)));
                let reached =
                    |limit: Option<u32>, used: u32| limit.is_some_and(|limit| used >= limit);
                reached(limits.host_requests, used)
                    || reached(limits.host_connections, used + idle as u32)
            })
        };
        must!(
            of_all || at_host(),
            "refused though nothing is full: {left:?}"
        );
        Ok(())
    }

    /// A first try fills the budget a little.
    pub(super) fn fill(&mut self) {
        if let Some(part) = self.config.limits.default.retry_budget {
            self.tokens = (self.tokens + u64::from(part.basis_points())).min(MOST);
        }
    }

    /// Whether there may be one further try.
    pub(super) fn admits_further(&self) -> bool {
        let limits = &self.config.limits;
        let left = self.rehearsal.spec().breakers.remaining(limits).retries;
        let no_token = limits.default.retry_budget.is_some() && self.tokens < TOKEN;
        left != Some(0) && !no_token
    }

    /// It takes a token.
    pub(super) fn take_token(&mut self, admitted: bool) {
        if admitted && self.config.limits.default.retry_budget.is_some() {
            self.tokens -= TOKEN;
        }
    }

    /// Whoever waits is served soon where a place is free, or would be if somebody closed what is idle.
    pub(super) fn nobody_is_forgotten(&mut self) -> Result<(), Wrong> {
        let Some(limit) = self.config.limits.connections else {
            return Ok(());
        };
        let used = self.used(0);
        if used.waiting == 0 || used.sent >= limit {
            self.idle_since = None;
            return Ok(());
        }
        let since = *self.idle_since.get_or_insert(self.now);
        must!(
            self.now - since <= SERVED,
            "{} wait since {since:?} though {} of {limit} are in use",
            used.waiting,
            used.sent
        );
        Ok(())
    }
}
