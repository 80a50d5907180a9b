//! Requests: who is asked, within which limits, and how a try ends.

use std::sync::Arc;

use ringway_engine::{HostSpec, Refused};

use super::super::{Wrong, must};
use super::{Asking, Event, World};
use crate::outlier::Cause;

impl World {
    pub(super) fn arrive(&mut self) -> Result<(), Wrong> {
        if !self.is_over() {
            let pause = self.plan.pause.as_millis() as u64;
            let wait = self.chance(2 * pause);
            self.after(wait, Event::Arrive);
        }
        let core = self.rng.below(self.plan.cores as u64) as usize;
        let Some(request) = self.rehearsal.request(core, Some(self.rng.next())) else {
            return Err("no such core".to_owned());
        };
        self.sum.requests += 1;
        let id = self.sum.requests;
        let asking = Asking {
            request,
            core,
            tried: Vec::new(),
            host: None,
            since: self.now,
        };
        self.asking.insert(id, asking);
        self.attempt(id)
    }

    /// Begins a try of a request, or ends the request.
    pub(super) fn attempt(&mut self, id: u64) -> Result<(), Wrong> {
        let Some(asking) = self.asking.get_mut(&id) else {
            return Ok(());
        };
        // What its core was told last, also where that is of another version than the one that it began with.
        let told = &self.cores[asking.core].told;
        let host = match asking.request.begin() {
            Ok(host) => host,
            Err(refused) => {
                if refused == Refused::NoHost {
                    let other = told.other(&asking.tried);
                    must!(
                        other.is_none(),
                        "nobody to ask though {other:?} may be: {told:?}"
                    );
                    self.sum.nobody += 1;
                } else {
                    self.sum.full += 1;
                }
                self.asking.remove(&id);
                return Ok(());
            }
        };
        let may = told.may_ask(host.id);
        must!(
            may == Some(true),
            "{} was asked, may be: {may:?}",
            host.label
        );
        must!(!asking.tried.contains(&host.id), "{} twice", host.label);
        self.sum.in_panic += u64::from(told.is_in_panic());
        self.sum.tries += 1;
        self.sum.further += u64::from(!asking.tried.is_empty());
        asking.tried.push(host.id);
        asking.since = self.now;
        asking.host = Some(Arc::clone(&host));
        self.within_limits(&host)?;
        let mood = self.mood(&host);
        let (status, after) = mood.answer(self.now, self.plan.limit, &self.rng);
        self.after(after, Event::Ended(id, status));
        Ok(())
    }

    /// Nothing is more in flight than limits allow.
    fn within_limits(&self, host: &HostSpec) -> Result<(), Wrong> {
        let limits = &self.config.limits;
        let flying = || self.asking.values().filter(|asking| asking.host.is_some());
        let all = flying().count() as u32;
        let at_host = |asking: &&Asking| asking.host.as_ref().is_some_and(|at| at.id == host.id);
        let here = flying().filter(at_host).count() as u32;
        let further = flying().filter(|asking| asking.tried.len() > 1).count() as u32;
        for (what, limit, used) in [
            ("requests", limits.default.requests, all),
            ("connections", limits.connections, all),
            ("further tries", limits.default.retries, further),
            ("requests at a host", limits.host_requests, here),
            ("connections to a host", limits.host_connections, here),
        ] {
            must!(
                limit.is_none_or(|limit| used <= limit),
                "{used} {what} of {limit:?}"
            );
        }
        must!(
            self.rehearsal.active() == i64::from(all),
            "{all} in flight are not counted"
        );
        if let Some(budget) = limits.default.retry_budget {
            // Ten to begin with, and each first try's part of one.
            let most = 100_000 + self.sum.requests * u64::from(budget.basis_points());
            must!(
                self.sum.further * 10_000 <= most,
                "{} further tries",
                self.sum.further
            );
        }
        Ok(())
    }

    pub(super) fn ended(&mut self, id: u64, status: Option<u16>) -> Result<(), Wrong> {
        let Some(asking) = self.asking.get_mut(&id) else {
            return Err("an end without a request".to_owned());
        };
        let report = asking.request.end(status, self.now - asking.since);
        let host = asking.host.take().map(|host| host.id);
        let over =
            status.is_some_and(|status| status < 500) || asking.tried.len() >= self.plan.tries;
        if over {
            self.asking.remove(&id);
        } else {
            let back_off = self.chance(10);
            self.after(back_off, Event::Again(id));
        }
        let host = host.ok_or("an end without a host")?;
        self.watch
            .ended(host, status, report.is_some(), &self.config)?;
        match report {
            Some(report) => self.decide(report.host, Cause::Consecutive5xx),
            None => Ok(()),
        }
    }
}
