//! A request to its cluster: the tries, and what separates them.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringway_config::{self as config, Priority};
use ringway_protocols::message::{Framing, Version};

use super::affinity::Affinity;
use super::answer::Answer;
use super::exchange::{Sending, exchange};
use super::head;
use super::outgoing::Outgoing;
use super::retry::{Tries, Verdict};
use super::{Cx, Interim, Reply, ReplyBody, SharedUpload, Trace, grpc, local_reply, mirror};
use crate::cluster::{Ask, Cluster, Full, Group, Host, MetadataMatch, Place, RequestPlaces, Want};
use crate::fault::{Fault, FaultKind, Retry, Side};
use crate::request::{LocalReply, RequestCx, Tie};
use crate::route::{BadPath, Forward, Found};
use crate::time::Deadline;
use crate::view::Table;

/// The limit of a request whose route says nothing: what clients wait, and what other proxies have.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends the request to a cluster of the route, as often as its policy allows.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one request, each with a life of its own"
)]
pub(super) async fn forward<'a, 'c>(
    cx: &Cx<'c>,
    table: &Table,
    found: Found<'_>,
    forward: &Forward,
    request: &mut RequestCx,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    trace: &mut Trace<'c>,
) -> Result<Reply<'a>, Fault> {
    let config = &forward.config;
    if let Some(reply) = forbidden(cx, config, request) {
        return Ok(local_reply(reply));
    }
    let Some(cluster) = table
        .clusters
        .get(forward.clusters.choose(cx.local.rng.next()).index as usize)
    else {
        return Err(Fault::new(FaultKind::NoHost));
    };
    trace.cluster = Some(Rc::clone(cluster));
    let affinity = Affinity::of(config, &cluster.spec.config, request, &cx.local.rng);
    let framing = upload.borrow().framing();
    let rewritten = match prepare(cx, found, request) {
        Ok(rewritten) => rewritten,
        Err(bad) => {
            let reply = LocalReply::text(400, bad.details(), "the path cannot be served\n");
            return Ok(local_reply(reply));
        }
    };
    let request = &*request;
    let mut outgoing = outgoing(cx, forward, request, rewritten.as_ref(), framing);
    let limit = limit(config, request, &mut outgoing);
    let again = config.retry.retries > 0 || cluster.may_refuse();
    if framing != Framing::Empty && again {
        let limit = usize::try_from(config.retry.buffer.0).unwrap_or(usize::MAX);
        upload.borrow_mut().keep(limit);
    }
    copy(cx, table, forward, request, &outgoing, upload);
    let group = cluster.group(Some(outgoing.authority), &request.peer)?;

    let deadline = Deadline::after_opt(limit).min(cx.deadline);
    let idle = (!config.idle_timeout.is_zero()).then_some(config.idle_timeout);
    let silence = idle.filter(|_| limit.is_none() && outgoing.call);
    let mut attempts = Attempts {
        cx,
        cluster,
        tries: Tries::new(&config.retry, &request.head.method),
        tried: Vec::new(),
        affinity: &affinity,
        group: group.as_ref(),
        priority: config.priority,
        metadata: MetadataMatch::new(&config.metadata_match),
        trace,
    };
    let outcome = {
        let mut all = pin!(attempts.run(&outgoing, config, upload, interim));
        in_time(cx, deadline, silence, upload, all.as_mut()).await
    };
    let mut answer = match outcome {
        Ok(answer) => answer?,
        Err(why) => {
            cluster.stats.upstream_rq_timeout.inc();
            attempts.timed_out();
            return Err(Fault::new(why));
        }
    };
    let slot = attempts.tried.last().copied();
    affinity.give(&cluster.spec, slot, &mut answer.head.fields);
    trace.service_time = Some(answer.service_time);
    trace.response_duration = Some(request.started.elapsed());
    Ok(Reply {
        head: answer.head,
        body: ReplyBody::Upstream(answer.body),
        flag: "-",
        details: "via_upstream",
        deadline,
        idle,
    })
}

/// The answer to an upgrade that the route does not let through: without it a GET of HTTP/1 is one still, but a CONNECT (RFC 8441)
/// is nothing.
fn forbidden(cx: &Cx<'_>, config: &config::Forward, request: &RequestCx) -> Option<LocalReply> {
    let is_nothing = cx.upgrade.is_some() && request.head.version == Version::Http2;
    let text = "this route takes no upgrades\n";
    (is_nothing && !config.upgrade).then(|| LocalReply::text(501, "upgrade_forbidden", text))
}

/// Makes the request's head what the upstream is to see; says its target, if another than the client's.
fn prepare(
    cx: &Cx<'_>,
    found: Found<'_>,
    request: &mut RequestCx,
) -> Result<Option<Bytes>, BadPath> {
    if request.rpc.is_some() {
        // What HTTP says between its hops means nothing to it, and it has no path to rewrite.
        found.route.request_headers.apply_request(request);
        return Ok(None);
    }
    let forwarded = &cx.listener.spec.config.forwarded;
    head::forward(&mut request.head, cx.intro, forwarded, &cx.local.rng);
    found.route.request_headers.apply_request(request);
    found.rewrite(&request.head.target)
}

fn outgoing<'r>(
    cx: &'r Cx<'_>,
    forward: &'r Forward,
    request: &'r RequestCx,
    rewritten: Option<&'r Bytes>,
    framing: Framing,
) -> Outgoing<'r> {
    let host = forward.host.as_ref();
    let mut outgoing = Outgoing::new(&request.head, rewritten, host, cx.intro.scheme, framing);
    outgoing.upgrade = cx.upgrade.as_deref().filter(|_| forward.config.upgrade);
    outgoing.te_trailers = cx.te_trailers;
    outgoing.rpc = request.rpc.as_ref();
    outgoing
}

/// How long the request may take from here on: the route's limit, and of a call its client's too, of which each try says what is left.
fn limit(
    config: &config::Forward,
    request: &RequestCx,
    outgoing: &mut Outgoing<'_>,
) -> Option<Duration> {
    outgoing.call = grpc::is_call(&request.head);
    let own = match config.timeout {
        Some(own) => (!own.is_zero()).then_some(own),
        None => (!outgoing.call).then_some(TIMEOUT),
    };
    if let Some(call) = outgoing.rpc {
        let wanted = call.frame.timeout;
        let left = wanted.map(|wanted| wanted.saturating_sub(request.started.elapsed()));
        let limit = own.into_iter().chain(left).min();
        outgoing.expires = limit.and_then(|limit| Instant::now().checked_add(limit));
        return limit;
    }
    if !outgoing.call {
        return own;
    }
    // Calls end with trailers, whoever their client is.
    outgoing.te_trailers = true;
    let Some(wanted) = grpc::limit(&request.head) else {
        return own;
    };
    let left = wanted.saturating_sub(request.started.elapsed());
    let limit = own.map_or(left, |own| own.min(left));
    outgoing.expires = Instant::now().checked_add(limit);
    Some(limit)
}

/// What `work` comes to within a limit; and, where there is none, as long as something of the request still comes.
async fn in_time<T>(
    cx: &Cx<'_>,
    deadline: Deadline,
    silence: Option<Duration>,
    upload: &SharedUpload<'_>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, FaultKind> {
    loop {
        let before = upload.borrow().received;
        let until = deadline.min(Deadline::after_opt(silence));
        match cx.timer.within(until, work.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_elapsed) if deadline.has_passed() => return Err(FaultKind::RequestTimeout),
            Err(_elapsed) if upload.borrow().received == before => {
                return Err(FaultKind::IdleTimeout);
            }
            Err(_elapsed) => {}
        }
    }
}

/// Starts the copy for a mirror, for its share of the requests.
fn copy(
    cx: &Cx<'_>,
    table: &Table,
    forward: &Forward,
    asked: &RequestCx,
    request: &Outgoing<'_>,
    upload: &SharedUpload<'_>,
) {
    let (Some(mirror), Some(target)) = (&forward.config.mirror, &forward.mirror) else {
        return;
    };
    if cx.local.rng.below(10_000) >= u64::from(mirror.share.basis_points()) {
        return;
    }
    let Some(cluster) = table.clusters.get(target.index as usize) else {
        return;
    };
    // A host that cannot be asked for is none to send a copy to.
    let Ok(group) = cluster.group(Some(request.authority), &asked.peer) else {
        return;
    };
    let feed = mirror::start(cluster, &cx.local.rng, mirror.max_in_flight, group, request);
    if let Some(feed) = feed {
        upload.borrow_mut().copy_to(feed);
    }
}

/// The tries of one request.
struct Attempts<'t, 'c> {
    cx: &'t Cx<'c>,
    cluster: &'t Rc<Cluster>,
    tries: Tries<'t>,
    /// Hosts tried, by slot.
    tried: Vec<usize>,
    affinity: &'t Affinity,
    /// For whom connections must be.
    group: Option<&'t Rc<Group>>,
    priority: Priority,
    metadata: Option<MetadataMatch<'t>>,
    trace: &'t mut Trace<'c>,
}

impl Attempts<'_, '_> {
    async fn run<'a>(
        &mut self,
        request: &Outgoing<'_>,
        config: &config::Forward,
        upload: &SharedUpload<'a>,
        interim: &mut dyn Interim,
    ) -> Result<Answer<'a>, Fault> {
        let per_try = config.retry.per_try_timeout;
        let mut fresh = false;
        let mut _retry = None;
        self.cluster.gate.first_try(self.priority);
        loop {
            let sending = Sending {
                cluster: self.cluster,
                request,
                first_byte: self.cluster.spec.config.first_byte_timeout,
                expects_continue: self.cx.expects_continue,
                places: RequestPlaces::default(),
            };
            let tried = self.attempt(sending, fresh, per_try, upload, interim).await;
            let verdict = match &tried {
                Ok(answer) => self.after_answer(request, answer),
                Err(fault) => self.tries.after_fault(fault),
            };
            let rewound = || upload.borrow_mut().rewind();
            match verdict {
                Verdict::AgainFresh | Verdict::Again
                    if !self.admit(verdict, tried.is_ok(), &mut _retry) =>
                {
                    return tried;
                }
                Verdict::AgainFresh if rewound() => {
                    // It was the connection's fault and not the host's, which may be picked again.
                    self.tried.pop();
                    fresh = true;
                }
                Verdict::Again if rewound() => {
                    fresh = false;
                    drop(tried);
                    crate::time::sleep(self.tries.back_off(&self.cx.local.rng)).await;
                }
                Verdict::Stop | Verdict::Exhausted | Verdict::Again | Verdict::AgainFresh => {
                    self.count_end(verdict, tried.is_ok());
                    return tried;
                }
            }
            self.cluster.stats.upstream_rq_retry.inc();
        }
    }

    /// Whether there is a host for another try, and the cluster's limits admit one.
    fn admit(&self, verdict: Verdict, answered: bool, retry: &mut Option<Place>) -> bool {
        // The last try's place is free again.
        *retry = None;
        if verdict == Verdict::Again && !self.has_untried() {
            self.count_end(verdict, answered);
            return false;
        }
        match self.cluster.gate.retry(self.priority) {
            Ok(place) => {
                *retry = place;
                true
            }
            Err(Full) => {
                self.cluster.stats.upstream_rq_retry_limit.inc();
                false
            }
        }
    }

    fn after_answer(&self, request: &Outgoing<'_>, answer: &Answer<'_>) -> Verdict {
        let status = request.call.then(|| grpc::at_once(answer)).flatten();
        match status.map(|status| self.tries.after_grpc(status)) {
            None | Some(Verdict::Stop) => self.tries.after_status(answer.head.status),
            Some(verdict) => verdict,
        }
    }

    /// Whether there is a host to go to that was not tried yet.
    fn has_untried(&self) -> bool {
        self.cluster.has_other(&self.ask())
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            tried: &self.tried,
            hash: self.affinity.hash,
            sticky: self.affinity.sticky,
            metadata: self.metadata,
            ..Ask::new(&self.cx.local.rng)
        }
    }

    /// The host of the connection that is the client's own, where the cluster gives it one.
    fn tied(&self, tie: Option<&Rc<Tie>>) -> Option<(usize, Rc<Host>)> {
        if !self.cluster.spec.is_bound() {
            return None;
        }
        let (slot, id) = tie?.host.get()?;
        let host = self.cluster.asked(slot).filter(|host| host.id() == id)?;
        (!self.tried.contains(&slot)).then_some((slot, host))
    }

    /// The request's whole time was over while a try was under way.
    fn timed_out(&self) {
        let host = self.tried.last().and_then(|slot| self.cluster.asked(*slot));
        if let Some(host) = host {
            self.failed(&host);
        }
    }

    /// A host gave no answer.
    fn failed(&self, host: &Host) {
        host.stats.rq_error.inc();
        host.stats.rq_local_error.inc();
        self.cx.local.report(self.cluster.judge(host, None));
    }

    fn count_end(&self, verdict: Verdict, answered: bool) {
        let stats = &self.cluster.stats;
        if verdict == Verdict::Exhausted && self.tries.made > 1 {
            stats.upstream_rq_retry_overflow.inc();
        } else if answered && self.tries.made > 1 {
            stats.upstream_rq_retry_success.inc();
        }
    }

    /// One try, with its own limit.
    async fn attempt<'a>(
        &mut self,
        mut sending: Sending<'_>,
        fresh: bool,
        per_try: Option<Duration>,
        upload: &SharedUpload<'a>,
        interim: &mut dyn Interim,
    ) -> Result<Answer<'a>, Fault> {
        self.tries.made += 1;
        self.trace.attempts = self.tries.made;
        let tie = sending.request.rpc.map(|call| &call.tie);
        let (slot, host) = match self.tied(tie) {
            Some(tied) => tied,
            None => self.cluster.pick(&self.ask())?,
        };
        self.tried.push(slot);
        self.trace.host = Some(Rc::clone(&host.label));
        sending.places = self.cluster.admit(&host, self.priority)?;
        let timer = self.cx.timer;
        let one = async {
            let want = Want {
                fresh,
                version: sending.request.version,
                group: self.group,
                call: sending.request.rpc,
            };
            let lease = self.cluster.checkout(&host, want, timer).await?;
            if let Some(tie) = tie {
                tie.host.set(Some((slot, host.id())));
            }
            exchange(sending, lease, &host, upload, interim, timer).await
        };
        let limit = Deadline::after_opt(per_try);
        let result = timer.within(limit, one).await.unwrap_or_else(|_elapsed| {
            Err(Fault::new(FaultKind::PerTryTimeout).retry(Retry::IfIdempotent))
        });
        self.trace.failure = None;
        if let Err(fault) = &result
            && fault.kind.is_of_transport()
        {
            let source = fault.source.as_ref();
            self.trace.failure = source.map(|source| source.to_string().into());
        }
        match &result {
            Ok(answer) => {
                let report = self.cluster.judge(&host, Some(answer.head.status));
                self.cx.local.report(report);
            }
            // A kept connection that had gone stale says nothing of its host.
            Err(fault) if fault.retry == Retry::IfReused => self.count_fault(fault.kind),
            Err(fault) if fault.kind.side() == Side::Upstream => {
                self.failed(&host);
                self.count_fault(fault.kind);
            }
            Err(_ours) => {}
        }
        result
    }

    fn count_fault(&self, kind: FaultKind) {
        let stats = &self.cluster.stats;
        match kind {
            FaultKind::Reset => stats.upstream_rq_reset.inc(),
            FaultKind::PerTryTimeout => stats.upstream_rq_per_try_timeout.inc(),
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
