//! A copy of a request to another cluster: fire and forget. It never slows the request that it copies.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::message::{Framing, RequestHead};

use super::exchange::{NOT_YET, Sending, exchange};
use super::outgoing::Outgoing;
use super::upload::{RequestBody, Upload};
use crate::cluster::{Ask, Cluster, Group, Host, Lease, RequestPlaces, Search, Want};
use crate::fault::{Fault, FaultKind, Retry};
use crate::net::spawn;
use crate::request::{Peer, RpcCall};
use crate::rng::Rng;
use crate::time::{Deadline, Timer};

/// Bytes of a body that may wait for a mirror: beyond them it is too slow for the request that it copies, and is given up.
const BACKLOG_MAX: usize = 256 << 10;
/// The limit of a copy, from its head to the end of its answer: there is nobody who waits for it.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Pipe {
    waiting: RefCell<VecDeque<Bytes>>,
    bytes: Cell<usize>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    trailers: RefCell<Option<Fields>>,
    waker: Cell<Option<Waker>>,
}

impl Pipe {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The request's end of the pipe to its copy. Dropped before the end, the copy is given up.
pub(crate) struct Feed(Rc<Pipe>);

impl Feed {
    pub(super) fn push(&self, bytes: Bytes) {
        self.0.bytes.set(self.0.bytes.get() + bytes.len());
        if self.0.bytes.get() > BACKLOG_MAX {
            self.0.broken.set(true);
            self.0.waiting.borrow_mut().clear();
        } else {
            self.0.waiting.borrow_mut().push_back(bytes);
        }
        self.0.wake();
    }

    pub(super) fn end(&self, trailers: Option<Fields>) {
        *self.0.trailers.borrow_mut() = trailers;
        self.0.ended.set(true);
        self.0.wake();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if !self.0.ended.get() {
            self.0.broken.set(true);
            self.0.wake();
        }
    }
}

struct CopiedBody {
    pipe: Rc<Pipe>,
    framing: Framing,
}

impl RequestBody for CopiedBody {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        if self.pipe.broken.get() {
            return Poll::Ready(Err(Fault::new(FaultKind::Overflow)));
        }
        if let Some(bytes) = self.pipe.waiting.borrow_mut().pop_front() {
            self.pipe.bytes.set(self.pipe.bytes.get() - bytes.len());
            return Poll::Ready(Ok(Some(bytes)));
        }
        if self.pipe.ended.get() {
            return Poll::Ready(Ok(None));
        }
        self.pipe.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.pipe.trailers.borrow_mut().take()
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Starts a copy, if fewer than `max` are in flight; says where its body goes.
pub(crate) fn start(
    cluster: &Rc<Cluster>,
    rng: &Rc<Rng>,
    max: u32,
    (group, peer): (Option<Rc<Group>>, &Peer),
    request: &Outgoing<'_>,
) -> Option<Feed> {
    let in_flight = &cluster.mirrors_in_flight;
    if in_flight.get() >= max {
        cluster.stats.mirror_skipped.inc();
        return None;
    }
    in_flight.set(in_flight.get() + 1);
    cluster.stats.mirror_sent.inc();
    let pipe = Rc::new(Pipe::default());
    let body = CopiedBody {
        pipe: Rc::clone(&pipe),
        framing: request.framing,
    };
    let (cluster, rng) = (Rc::clone(cluster), Rc::clone(rng));
    let (head, scheme) = (request.to_head(), request.scheme);
    let (call, peer) = (request.rpc.cloned(), peer.clone());
    spawn(async move {
        let timer = Timer::new();
        let way = Way {
            rng: &rng,
            timer: &timer,
            head: &head,
            scheme,
            peer: &peer,
            call: call.as_ref(),
        };
        let mut copying = Box::pin(way.copy(&cluster, group, body));
        // A panic ends the copy and not the core (settled question 16); what it leaves half done is dropped with it.
        let caught = std::future::poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| copying.as_mut().poll(cx)));
            polled.unwrap_or_else(|_panic| Poll::Ready(Err(Fault::new(FaultKind::Internal))))
        });
        let copied = timer.within(Deadline::after(TIMEOUT), caught).await;
        if !matches!(copied, Ok(Ok(()))) {
            cluster.stats.mirror_failed.inc();
        }
        cluster
            .mirrors_in_flight
            .set(cluster.mirrors_in_flight.get() - 1);
    });
    Some(Feed(pipe))
}

/// What a copy is made of, and with.
struct Way<'w> {
    rng: &'w Rng,
    timer: &'w Timer,
    head: &'w RequestHead,
    scheme: &'static str,
    peer: &'w Peer,
    call: Option<&'w Rc<RpcCall>>,
}

impl Way<'_> {
    /// Sends the copy, and takes its answer to its end.
    async fn copy(
        &self,
        cluster: &Rc<Cluster>,
        group: Option<Rc<Group>>,
        mut body: CopiedBody,
    ) -> Result<(), Fault> {
        let mut search = Search::new(cluster);
        let (host, lease) = self.checkout(&mut search, group).await?;
        let mut request = Outgoing::new(self.head, None, None, self.scheme, body.framing);
        request.rpc = self.call;
        let upload = Rc::new(RefCell::new(Upload::new(&mut body)));
        let sending = Sending {
            cluster: search.cluster(),
            request: &request,
            first_byte: None,
            expects_continue: false,
            places: RequestPlaces::default(),
            whole: &Cell::new(NOT_YET),
        };
        let (nobody, timer) = (&mut super::NoInterim, self.timer);
        let mut answer = exchange(sending, lease, &host, &upload, nobody, timer).await?;
        while answer.body.next().await?.is_some() {}
        Ok(())
    }

    /// A host, and the right to send the copy there. Whose host goes away while it waits for that is given another one, as the request
    /// itself would be.
    async fn checkout(
        &self,
        search: &mut Search,
        mut group: Option<Rc<Group>>,
    ) -> Result<(Rc<Host>, Lease), Fault> {
        loop {
            let before = Rc::as_ptr(search.cluster());
            // Where the cluster is gone, what is left of it is asked.
            let _there = search.follow();
            let cluster = search.cluster();
            if Rc::as_ptr(cluster) != before {
                group = cluster.group(Some(&self.head.authority), self.peer)?;
            }
            let want = Want {
                fresh: false,
                version: self.head.version,
                group: group.as_ref(),
                call: self.call,
            };
            let (_, host) = cluster.pick(&Ask::new(self.rng))?;
            match cluster.checkout(&host, want, self.timer).await {
                Err(fault) if fault.retry == Retry::NotBegun => {}
                lease => return Ok((host, lease?)),
            }
        }
    }
}
