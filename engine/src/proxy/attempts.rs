//! The tries of one request: at which hosts, how many, and what separates them.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use ringway_config::{Forward, Priority, Retry as Policy, RetryHosts};
use ringway_protocols::message::ResponseHead;

use super::affinity::Affinity;
use super::answer::Answer;
use super::attempt::{Begun, Way, too_slow};
use super::exchange::NOT_YET;
use super::retry::{Tries, Verdict};
use super::{Cx, Interim, Trace, grpc, hedge};
use crate::cluster::{Ask, Cluster, Full, Group, Host, MetadataMatch, Place, Search};
use crate::fault::{Fault, FaultKind, Retry, Side};
use crate::request::Tie;
use crate::time::{Deadline, now_millis};

/// The tries of one request.
pub(super) struct Attempts<'t, 'c> {
    pub(super) cx: &'t Cx<'c>,
    /// Whom it asks, and whom it has asked.
    search: Search,
    /// For whom connections must be.
    group: Option<Rc<Group>>,
    pub(super) policy: &'t Policy,
    pub(super) tries: Tries<'t>,
    /// Priorities that are not to be asked again, a bit for each.
    pub(super) avoid: u128,
    pub(super) affinity: &'t Affinity,
    pub(super) priority: Priority,
    pub(super) metadata: Option<MetadataMatch<'t>>,
    /// When the request's whole time is over.
    pub(super) deadline: Deadline,
    pub(super) trace: &'t mut Trace<'c>,
    /// The host of the try that ended last.
    pub(super) last: Option<Rc<Host>>,
    /// Who is asked, and since when it has the whole request.
    pub(super) asked: Option<Rc<Host>>,
    pub(super) whole: Cell<u64>,
    /// The same of tries that go on beside one another.
    pub(super) beside: Vec<(Rc<Host>, Rc<Cell<u64>>)>,
}

/// How the next try is made.
#[derive(Default)]
pub(super) struct Next {
    /// Over a connection that was not kept.
    pub(super) fresh: bool,
    /// After so long.
    pub(super) wait: Duration,
    /// Its place under the cluster's limit of further tries.
    pub(super) place: Option<Place>,
}

impl<'t, 'c> Attempts<'t, 'c> {
    pub(super) fn new(
        way: &Way<'t, '_, 'c>,
        (cluster, group): (&Rc<Cluster>, Option<Rc<Group>>),
        config: &'t Forward,
        affinity: &'t Affinity,
        deadline: Deadline,
        trace: &'t mut Trace<'c>,
    ) -> Self {
        Self {
            cx: way.cx,
            search: Search::new(cluster),
            group,
            policy: &config.retry,
            tries: Tries::new(&config.retry, way.request.method),
            avoid: 0,
            affinity,
            priority: config.priority,
            metadata: MetadataMatch::new(&config.metadata_match),
            deadline,
            trace,
            last: None,
            asked: None,
            whole: Cell::new(NOT_YET),
            beside: Vec::new(),
        }
    }

    /// Tries until an answer does or no more may be tried.
    pub(super) async fn run<'a>(
        &mut self,
        way: &Way<'_, 'a, 'c>,
        interim: &mut dyn Interim,
    ) -> Result<Answer<'a>, Fault> {
        self.cluster().gate.first_try(self.priority);
        // Who waits for `100 Continue` is told by one try, and the others could not know whether it was.
        if self.policy.hedge && !self.cx.expects_continue {
            return Box::pin(hedge::run(self, way, interim)).await;
        }
        let mut next = Next::default();
        loop {
            let tried = pin!(self.attempt(way, next.fresh, interim)).await;
            // The last try's place is free again.
            next.place = None;
            let verdict = self.verdict(&tried, way);
            match self.go_on(verdict, &tried, way) {
                None => return tried,
                Some(another) => next = another,
            }
            drop(tried);
            if !next.fresh {
                crate::time::sleep(next.wait).await;
            }
        }
    }

    /// One try, with its own limit.
    async fn attempt<'a>(
        &mut self,
        way: &Way<'_, 'a, 'c>,
        fresh: bool,
        interim: &mut dyn Interim,
    ) -> Result<Answer<'a>, Fault> {
        let timer = self.cx.timer;
        let limit = Deadline::after_opt(self.policy.per_try_timeout);
        loop {
            let mut begun = self.begin(way)?;
            let result = {
                let one = pin!(way.one(&mut begun, fresh, &self.whole, interim, timer));
                timer.within(limit, one).await
            };
            let result = result.unwrap_or_else(|_elapsed| Err(too_slow()));
            if self.takes_back(&begun, &result) {
                continue;
            }
            self.conclude(&begun, &result, true);
            return result;
        }
    }

    /// Whether a try was not one, since its host went away while it waited for a connection: then it is as if it had not been.
    pub(super) fn takes_back(&mut self, begun: &Begun, result: &Result<Answer<'_>, Fault>) -> bool {
        let waited = |fault: &Fault| fault.retry == Retry::NotBegun;
        if !result.as_ref().is_err_and(waited) {
            return false;
        }
        self.tries.made -= 1;
        self.search.forget(&begun.host);
        self.avoid = begun.avoided;
        true
    }

    /// Picks a host, and takes what it needs of the limits.
    pub(super) fn begin(&mut self, way: &Way<'_, '_, '_>) -> Result<Begun, Fault> {
        self.tries.made += 1;
        self.trace.attempts = self.tries.made;
        let there = self.follow(way)?;
        if !there && self.tries.made > 1 {
            return Err(Fault::new(FaultKind::NoHost));
        }
        let tie = way.request.rpc.map(|call| &call.tie);
        let (slot, host) = match self.tied(tie) {
            Some(tied) => tied,
            None => self.cluster().pick(&self.ask())?,
        };
        self.search.note(slot);
        let avoided = self.avoid;
        if self.policy.other_priorities {
            self.avoid |= self.cluster().priority_bit(slot);
        }
        self.trace.host = Some(Rc::clone(&host.label));
        self.asked = Some(Rc::clone(&host));
        let places = self.cluster().admit(&host, self.priority)?;
        Ok(Begun {
            cluster: Rc::clone(self.cluster()),
            group: self.group.clone(),
            slot,
            host,
            places,
            avoided,
        })
    }

    /// What is learned from a try that ended. `counts`: against the host, if it failed.
    pub(super) fn conclude(
        &mut self,
        begun: &Begun,
        result: &Result<Answer<'_>, Fault>,
        counts: bool,
    ) {
        self.whole.set(NOT_YET);
        self.last = Some(Rc::clone(&begun.host));
        self.trace.host = Some(Rc::clone(&begun.host.label));
        self.trace.failure = None;
        match result {
            Ok(answer) => {
                let status = Some(answer.head.status);
                self.cx
                    .local
                    .report(self.cluster().judge(&begun.host, status));
            }
            Err(fault) => {
                if fault.kind.is_of_transport() {
                    let source = fault.source.as_ref();
                    self.trace.failure = source.map(|source| source.to_string().into());
                }
                // A kept connection that had gone stale says nothing of its host.
                let stale = fault.retry == Retry::IfReused;
                if counts && !stale && fault.kind.side() == Side::Upstream {
                    self.failed(&begun.host);
                }
                self.count_fault(fault.kind);
            }
        }
    }

    /// What the policy says to how a try ended.
    pub(super) fn verdict(
        &mut self,
        tried: &Result<Answer<'_>, Fault>,
        way: &Way<'_, '_, '_>,
    ) -> Verdict {
        let answer = match tried {
            Ok(answer) => answer,
            Err(fault) => return self.tries.after_fault(fault),
        };
        let status = way.request.call.then(|| grpc::at_once(answer)).flatten();
        match status.map(|status| self.tries.after_grpc(status)) {
            None | Some(Verdict::Stop) => self.tries.after_answer(&answer.head),
            Some(verdict) => verdict,
        }
    }

    /// The next try, if there is one to make: the body can be sent again, there is a host and the time for it, and then, since
    /// that costs the budget a token, the cluster's limits admit it.
    pub(super) fn go_on(
        &mut self,
        verdict: Verdict,
        tried: &Result<Answer<'_>, Fault>,
        way: &Way<'_, '_, '_>,
    ) -> Option<Next> {
        let fresh = match verdict {
            Verdict::AgainFresh => true,
            Verdict::Again => false,
            Verdict::Stop | Verdict::Exhausted => {
                self.count_end(verdict, tried.is_ok());
                return None;
            }
        };
        let wait = match (fresh, tried) {
            (true, _) => Duration::ZERO,
            (false, Ok(answer)) => self.wait(&answer.head),
            (false, Err(_)) => self.tries.back_off(&self.cx.local.rng),
        };
        let in_time = self.deadline.remaining().is_none_or(|left| wait < left);
        let somewhere = self.has_next(fresh, way);
        if !in_time || !somewhere || !way.upload.borrow().can_rewind() {
            self.count_end(verdict, tried.is_ok());
            return None;
        }
        let place = self.admit()?;
        way.upload.borrow_mut().rewind();
        if let Some(last) = self.last.as_ref().filter(|_| fresh) {
            // It was the connection's fault and not the host's, which may be picked again.
            self.search.forget(last);
        }
        Some(Next { fresh, wait, place })
    }

    /// A further try's place; none: the limits admit no other.
    pub(super) fn admit(&self) -> Option<Option<Place>> {
        match self.cluster().gate.retry(self.priority) {
            Ok(place) => {
                self.cluster().stats.upstream_rq_retry.inc();
                Some(place)
            }
            Err(Full) => {
                self.cluster().stats.upstream_rq_retry_overflow.inc();
                None
            }
        }
    }

    /// How long to wait before the next try after an answer.
    fn wait(&self, head: &ResponseHead) -> Duration {
        let rng = &self.cx.local.rng;
        let asked = self.tries.asked_wait(&head.fields, SystemTime::now(), rng);
        asked.unwrap_or_else(|| self.tries.back_off(rng))
    }

    /// The host of the connection that is the client's own, where the cluster gives it one.
    fn tied(&self, tie: Option<&Rc<Tie>>) -> Option<(usize, Rc<Host>)> {
        if !self.cluster().spec.is_bound() {
            return None;
        }
        let (slot, id) = tie?.host.get()?;
        let host = self.cluster().asked(slot);
        let host = host.filter(|host| host.id() == id)?;
        (!self.search.tried().contains(&slot)).then_some((slot, host))
    }

    /// The version of the cluster that is asked.
    pub(super) fn cluster(&self) -> &Rc<Cluster> {
        self.search.cluster()
    }

    /// Goes on with the newest version of the cluster, if there is one.
    fn follow(&mut self, way: &Way<'_, '_, '_>) -> Result<bool, Fault> {
        let before = Rc::as_ptr(self.cluster());
        let there = self.search.follow();
        if Rc::as_ptr(self.cluster()) != before {
            let authority: &[u8] = way.request.authority;
            self.group = self.cluster().group(Some(authority), way.peer)?;
        }
        Ok(there)
    }

    /// Whether there is a host to go to; over a fresh connection it may be the last one.
    pub(super) fn has_next(&mut self, fresh: bool, way: &Way<'_, '_, '_>) -> bool {
        let there = self.follow(way).is_ok_and(|there| there);
        there && (fresh || self.cluster().has_other(&self.ask()))
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            tried: match self.policy.hosts {
                RetryHosts::Untried => self.search.tried(),
                RetryHosts::Any => &[],
            },
            avoid: self.avoid,
            hash: self.affinity.hash,
            sticky: self.affinity.sticky,
            metadata: self.metadata,
            ..Ask::new(&self.cx.local.rng)
        }
    }

    /// The request's whole time was over. Held against a host is only that it had the whole request for at least half of what the
    /// route allows (`own`): not its client's haste or slow sending, nor what hosts before it had used up.
    pub(super) fn timed_out(&self, own: Option<Duration>) {
        let Some(own) = own else {
            return;
        };
        let fair = u64::try_from(own.as_millis() / 2).unwrap_or(u64::MAX);
        let asked = self.asked.iter().map(|host| (host, self.whole.get()));
        let beside = self.beside.iter().map(|(host, whole)| (host, whole.get()));
        for (host, whole) in asked.chain(beside) {
            if now_millis().saturating_sub(whole) >= fair {
                self.failed(host);
            }
        }
    }

    /// A host gave no answer.
    #[cold]
    pub(super) fn failed(&self, host: &Host) {
        host.stats.rq_error.inc();
        host.stats.rq_local_error.inc();
        self.cx.local.report(self.cluster().judge(host, None));
    }

    fn count_end(&mut self, verdict: Verdict, answered: bool) {
        let again = self.tries.made > 1;
        if verdict == Verdict::Exhausted && again {
            let stats = &self.cluster().stats;
            stats.upstream_rq_retry_limit_exceeded.inc();
            self.trace.used_up = true;
        } else if answered && again {
            self.cluster().stats.upstream_rq_retry_success.inc();
        }
    }

    fn count_fault(&self, kind: FaultKind) {
        let stats = &self.cluster().stats;
        match kind {
            FaultKind::Reset => stats.upstream_rq_reset.inc(),
            FaultKind::PerTryTimeout => stats.upstream_rq_per_try_timeout.inc(),
            FaultKind::PerTryIdleTimeout => stats.upstream_rq_per_try_idle_timeout.inc(),
            FaultKind::FirstByteTimeout => stats.upstream_rq_first_byte_timeout.inc(),
            FaultKind::NoRoute
            | FaultKind::NoHost
            | FaultKind::ConnectRefused
            | FaultKind::ConnectTimeout
            | FaultKind::ConnectFailed
            | FaultKind::TlsFailed
            | FaultKind::TlsTimeout
            | FaultKind::UpstreamProtocol
            | FaultKind::NoTunnel
            | FaultKind::Truncated
            | FaultKind::BodyProtocol
            | FaultKind::RequestTimeout
            | FaultKind::IdleTimeout
            | FaultKind::ClientGone
            | FaultKind::ClientProtocol
            | FaultKind::ClientTooSlow
            | FaultKind::BodyTooLarge
            | FaultKind::Overflow
            | FaultKind::Internal => {}
        }
    }
}
