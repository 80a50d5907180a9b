//! Requests: who is asked, who waits, and how a try ends.

use std::sync::Arc;

use ringway_engine::{Asking as Ask, Begun, HostSpec, Refused};

use super::super::oracle::{Due, Wish, port};
use super::super::plan::{CLIENTS, STAGES, stage};
use super::super::{Wrong, must};
use super::{Asking, At, Event, RUNG, World};
use crate::outlier::Cause;

impl World {
    /// Some come at once.
    pub(super) fn arrive(&mut self) -> Result<(), Wrong> {
        if self.is_over() {
            return Ok(());
        }
        let pause = self.plan.pause.as_millis() as u64;
        // When all are well there is less to be seen.
        let calm = 1 + 3 * u64::from(self.is_calm());
        let wait = self.chance(2 * pause * self.plan.burst * calm);
        self.after(wait, Event::Arrive);
        for _ in 0..1 + self.rng.below(2 * self.plan.burst - 1) {
            self.one_more()?;
        }
        Ok(())
    }

    fn one_more(&mut self) -> Result<(), Wrong> {
        let core = self.rng.below(self.plan.cores as u64) as usize;
        let client = self.rng.below(CLIENTS) as usize;
        let wish = self.wish(client);
        let cookie = wish.cookie.map(|port| format!("10.0.0.1:{port}"));
        let name = |at: usize| STAGES.get(at).copied().unwrap_or("nowhere");
        let ask = Ask {
            hash: Some(self.rng.next()),
            metadata: wish.stage.map(|at| stage(name(at))).unwrap_or_default(),
            sticky: cookie,
        };
        let Some(request) = self.rehearsal.request(core, ask) else {
            return Err("no such core".to_owned());
        };
        self.fill();
        self.sum.requests += 1;
        let id = self.sum.requests;
        let asking = Asking {
            request,
            core,
            client,
            wish,
            tried: Vec::new(),
            place: At::Nowhere,
            since: self.now,
        };
        self.asking.insert(id, asking);
        self.attempt(id)
    }

    fn wish(&self, client: usize) -> Wish {
        let some = self.config.subsets.is_some();
        let stage = self.rng.below(STAGES.len() as u64 + 2) as usize;
        Wish {
            stage: (some && stage <= STAGES.len()).then_some(stage),
            cookie: self.cookies[client].filter(|_| self.config.sticky.is_some()),
        }
    }

    /// Begins a try of a request, or ends the request.
    pub(super) fn attempt(&mut self, id: u64) -> Result<(), Wrong> {
        let (waker, admits) = (self.wakes.waker(id), self.admits_further());
        let Some(asking) = self.asking.get_mut(&id) else {
            return Ok(());
        };
        asking.since = self.now;
        let further = !asking.tried.is_empty();
        let begun = asking.request.begin(&waker);
        // A token is taken once there is somebody to ask, whatever other limits say.
        if further && begun.as_ref().err() != Some(&Refused::NoHost) {
            must!(admits || begun.is_err(), "a further try beyond its limits");
            self.take_token(admits);
        }
        self.came_to(id, begun, further)
    }

    /// What became of a try's beginning, or of a wait.
    fn came_to(
        &mut self,
        id: u64,
        begun: Result<Begun, Refused>,
        further: bool,
    ) -> Result<(), Wrong> {
        let begun = match begun {
            Ok(begun) => begun,
            Err(refused) => return self.refused(id, refused, further),
        };
        let (host, waits) = match begun {
            Begun::At(host) => (host, false),
            Begun::Waiting(host) => (host, true),
        };
        self.is_due(id, &host)?;
        let Some(asking) = self.asking.get_mut(&id) else {
            return Err("who is not there was asked".to_owned());
        };
        let waited = match &asking.place {
            At::Before(last) => Some(last.id),
            At::Nowhere | At::Host(_) => None,
        };
        self.sum.moved += u64::from(waited.is_some_and(|last| last != host.id));
        if !waits {
            // Somebody was served: the next one's time begins.
            self.idle_since = None;
        }
        if waits {
            asking.place = At::Before(Arc::clone(&host));
            if waited.is_none() {
                self.sum.waited += 1;
                let tries = asking.request.tries();
                self.after(self.plan.limit, Event::GaveUp(id, tries));
            }
            return self.within_limits(host.id);
        }
        asking.place = At::Host(Arc::clone(&host));
        asking.tried.push(host.id);
        asking.since = self.now;
        self.sum.tries += 1;
        self.sum.further += u64::from(asking.tried.len() > 1);
        self.within_limits(host.id)?;
        let mood = self.mood(&host);
        let (status, after) = mood.answer(self.now, self.plan.limit, &self.rng);
        self.after(after, Event::Ended(id, status));
        Ok(())
    }

    /// Whether a host is the one that a request is to go to, by what its core was told last: also where that is of another version
    /// than the one that the request began with.
    fn is_due(&mut self, id: u64, host: &HostSpec) -> Result<(), Wrong> {
        let Some(asking) = self.asking.get(&id) else {
            return Ok(());
        };
        let told = &self.cores[asking.core].told;
        if matches!(&asking.place, At::Before(last) if last.id == host.id) {
            must!(told.has(host.id), "{} is gone", host.label);
            return Ok(());
        }
        let (wish, tried) = (asking.wish, &asking.tried);
        let may = told.may_ask(host.id, wish) && !tried.contains(&host.id);
        let due = told.due(wish, tried);
        let right = match due {
            Due::Any => may,
            Due::Host(named) => named == host.id,
            Due::Nobody => false,
        };
        must!(
            right,
            "{} is asked, due is {due:?}: {wish:?} {tried:?} {told:?}",
            host.label
        );
        self.sum.in_panic += u64::from(told.is_in_panic());
        self.sum.stuck += u64::from(matches!(due, Due::Host(_)));
        Ok(())
    }

    fn refused(&mut self, id: u64, refused: Refused, further: bool) -> Result<(), Wrong> {
        let Some(asking) = self.asking.remove(&id) else {
            return Ok(());
        };
        match refused {
            Refused::NoHost => {
                let told = &self.cores[asking.core].told;
                let due = told.due(asking.wish, &asking.tried);
                must!(
                    due == Due::Nobody,
                    "nobody to ask, due is {due:?}: {told:?}"
                );
                self.sum.nobody += 1;
                Ok(())
            }
            Refused::Full => {
                self.sum.full += 1;
                let core = asking.core;
                drop(asking);
                self.is_full(core, further)
            }
        }
    }

    /// Whoever was woken looks, and rung cores will look soon.
    pub(super) fn settle(&mut self) -> Result<(), Wrong> {
        if self.config.limits.connections.is_none() {
            return Ok(());
        }
        loop {
            let woken = self.wakes.take();
            if woken.is_empty() {
                break;
            }
            for id in woken {
                self.look(id)?;
            }
        }
        for core in self.rehearsal.rung() {
            let wait = self.chance(RUNG);
            self.after(wait, Event::Rung(core));
        }
        self.nobody_is_forgotten()
    }

    fn look(&mut self, id: u64) -> Result<(), Wrong> {
        let waker = self.wakes.waker(id);
        let Some(asking) = self.asking.get_mut(&id) else {
            return Ok(());
        };
        if !matches!(asking.place, At::Before(_)) {
            return Ok(());
        }
        let begun = asking.request.look(&waker);
        self.came_to(id, begun, false)
    }

    /// Who has waited for so long waits no more.
    pub(super) fn gave_up(&mut self, id: u64, tries: usize) {
        let waits = self.asking.get(&id).is_some_and(|asking| {
            asking.request.tries() == tries && matches!(asking.place, At::Before(_))
        });
        if waits {
            self.sum.gave_up += 1;
            self.asking.remove(&id);
        }
    }

    pub(super) fn ended(&mut self, id: u64, status: Option<u16>) -> Result<(), Wrong> {
        let Some(asking) = self.asking.get_mut(&id) else {
            return Err("an end without a request".to_owned());
        };
        let report = asking.request.end(status, self.now - asking.since);
        let At::Host(host) = std::mem::replace(&mut asking.place, At::Nowhere) else {
            return Err("an end without a host".to_owned());
        };
        let good = status.is_some_and(|status| status < 500);
        if good {
            self.cookies[asking.client] = Some(port(&host));
        }
        if good || asking.tried.len() >= self.plan.tries {
            self.asking.remove(&id);
        } else {
            let back_off = self.chance(10);
            self.after(back_off, Event::Again(id));
        }
        self.watch
            .ended(host.id, status, report.is_some(), &self.config)?;
        match report {
            Some(report) => self.decide(report.host, Cause::Consecutive5xx),
            None => Ok(()),
        }
    }
}
