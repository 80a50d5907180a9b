//! One try of a request: what it shares with the request's other tries, and how it is made.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use ringway_protocols::message::ResponseHead;

use super::answer::Answer;
use super::exchange::{NOT_YET, Sending, exchange};
use super::outgoing::Outgoing;
use super::{Cx, Interim, SharedUpload};
use crate::cluster::{Cluster, Group, Host, RequestPlaces, Want};
use crate::fault::{Fault, FaultKind, Retry};
use crate::request::Peer;
use crate::time::{Deadline, Timer, now_millis};

/// What all tries of a request have in common.
pub(super) struct Way<'w, 'a, 'c> {
    pub(super) cx: &'w Cx<'c>,
    pub(super) request: &'w Outgoing<'w>,
    pub(super) peer: &'w Peer,
    pub(super) upload: &'w SharedUpload<'a>,
    /// `per_try_idle_timeout`.
    pub(super) idle: Option<Duration>,
}

/// A try about to be made.
pub(super) struct Begun {
    /// The newest version when it began.
    pub(super) cluster: Rc<Cluster>,
    pub(super) group: Option<Rc<Group>>,
    pub(super) slot: usize,
    pub(super) host: Rc<Host>,
    pub(super) places: RequestPlaces,
    /// The priorities that were to be avoided before.
    pub(super) avoided: u128,
}

/// A try that outlasted `per_try_timeout`.
#[cold]
pub(super) fn too_slow() -> Fault {
    Fault::new(FaultKind::PerTryTimeout).retry(Retry::IfIdempotent)
}

impl<'a> Way<'_, 'a, '_> {
    /// One try at the host picked, within `per_try_idle_timeout`.
    pub(super) async fn one(
        &self,
        begun: &mut Begun,
        fresh: bool,
        whole: &Cell<u64>,
        interim: &mut dyn Interim,
        timer: &Timer,
    ) -> Result<Answer<'a>, Fault> {
        let Some(idle) = self.idle else {
            return pin!(self.send(begun, fresh, whole, interim, timer)).await;
        };
        let moved = Cell::new(0);
        let mut interim = Noted {
            inner: interim,
            moved: &moved,
        };
        let mut sending = Box::pin(self.send(begun, fresh, whole, &mut interim, timer));
        let silent_since = || match whole.get() {
            NOT_YET => now_millis(),
            whole => whole.max(moved.get()),
        };
        loop {
            let until = Deadline::since(silent_since(), idle);
            if let Ok(result) = timer.within(until, sending.as_mut()).await {
                return result;
            }
            if Deadline::since(silent_since(), idle).has_passed() {
                let fault = Fault::new(FaultKind::PerTryIdleTimeout);
                return Err(fault.retry(Retry::IfIdempotent));
            }
        }
    }

    async fn send(
        &self,
        begun: &mut Begun,
        fresh: bool,
        whole: &Cell<u64>,
        interim: &mut dyn Interim,
        timer: &Timer,
    ) -> Result<Answer<'a>, Fault> {
        let places = std::mem::take(&mut begun.places);
        let Begun {
            cluster,
            group,
            host,
            ..
        } = &*begun;
        let sending = Sending {
            cluster,
            request: self.request,
            first_byte: cluster.spec.config.first_byte_timeout,
            expects_continue: self.cx.expects_continue,
            places,
            whole,
        };
        let want = Want {
            fresh,
            version: self.request.version,
            group: group.as_ref(),
            call: self.request.rpc,
        };
        let lease = pin!(cluster.checkout(host, want, timer)).await?;
        if group.is_none() && self.request.rpc.is_none() {
            cluster.anticipate(host, self.request.version);
        }
        if let Some(call) = self.request.rpc {
            call.tie.host.set(Some((begun.slot, host.id())));
        }
        pin!(exchange(sending, lease, host, self.upload, interim, timer)).await
    }
}

/// Notes when an interim answer came.
struct Noted<'n> {
    inner: &'n mut dyn Interim,
    moved: &'n Cell<u64>,
}

impl Interim for Noted<'_> {
    fn send<'s>(
        &'s mut self,
        head: Box<ResponseHead>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>> {
        self.moved.set(now_millis());
        self.inner.send(head)
    }
    fn proceed<'s>(&'s mut self) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>> {
        self.inner.proceed()
    }
}
