//! What connections and requests take of the limits of their cluster and of their host.

use std::rc::Rc;
use std::task::Poll;

use ringway_config::Priority;

use super::pool::http1::Places;
use super::{Cluster, Connection, Full, Host, HostPlace, Permit, RequestPlaces};
use crate::fault::{Fault, FaultKind, Retry};

/// What a request for a connection gets.
pub(super) enum Admitted<C = Connection> {
    Kept(C),
    New(Option<Permit>),
}

impl Cluster {
    /// A new connection's places under the limits.
    pub(super) async fn places(&self, host: &Rc<Host>) -> Result<Places, Fault> {
        let host_place = self.host_connection(host)?;
        match self.permit(host, true).await? {
            // One that wants a new connection is never given a kept one.
            Admitted::Kept(_) => Err(Fault::new(FaultKind::Internal)),
            Admitted::New(permit) => Ok((permit, host_place)),
        }
    }

    /// The right to make a connection; or one that was kept while this waited for it.
    pub(super) async fn permit(&self, host: &Rc<Host>, fresh: bool) -> Result<Admitted, Fault> {
        self.permit_or(host, fresh, || host.http1.unpark(host))
            .await
    }

    /// The same, where it is told how a kept one is found.
    pub(super) async fn permit_or<C>(
        &self,
        host: &Host,
        fresh: bool,
        kept: impl Fn() -> Option<C>,
    ) -> Result<Admitted<C>, Fault> {
        if !self.gate.counts_connections() {
            return Ok(Admitted::New(None));
        }
        if let Some(permit) = self.gate.try_connect() {
            return Ok(Admitted::New(Some(permit)));
        }
        // What this core keeps idle for other hosts goes first.
        // One that wants a new connection is not helped by a kept one.
        let wanted = if fresh { u64::MAX } else { host.id() };
        let Ok(wait) = self.gate.wait(wanted) else {
            self.stats.upstream_rq_pending_overflow.inc();
            return Err(Fault::new(FaultKind::Overflow));
        };
        self.stats.upstream_cx_overflow.inc();
        self.serve();
        let admitted = std::future::poll_fn(|cx| {
            if host.is_gone() {
                return Poll::Ready(Err(self.moved()));
            }
            if !fresh && let Some(kept) = kept() {
                return Poll::Ready(Ok(Admitted::Kept(kept)));
            }
            let permit = wait.poll(cx);
            permit.map(|permit| Ok(Admitted::New(Some(permit))))
        })
        .await;
        drop(wait);
        if let Ok(Admitted::Kept(_)) = admitted {
            self.stats.upstream_cx_reused.inc();
        }
        admitted
    }

    /// What becomes of who waited for a host that is gone: nothing of the request was sent, and another host may have it.
    pub(super) fn moved(&self) -> Fault {
        let fault = Fault::new(FaultKind::NoHost);
        if self.is_newest() || self.newest().is_some() {
            self.stats.upstream_rq_moved.inc();
            return fault.retry(Retry::NotBegun);
        }
        self.stats.upstream_rq_no_host.inc();
        fault
    }

    /// A place under the host's own limit of connections.
    pub(super) fn host_connection(&self, host: &Host) -> Result<Option<HostPlace>, Fault> {
        let limit = self.spec.config.limits.host_connections;
        let place = limit.map(|limit| host.state().connect(limit)).transpose();
        place.map_err(|Full| {
            self.stats.upstream_cx_overflow.inc();
            Fault::new(FaultKind::Overflow)
        })
    }

    /// A request's places under the limits of the cluster and of the host.
    pub(crate) fn admit(&self, host: &Host, priority: Priority) -> Result<RequestPlaces, Fault> {
        match self.gate.request(priority) {
            Ok(place) => Ok((place, self.host_request(host)?)),
            Err(Full) => {
                self.stats.upstream_rq_overflow.inc();
                Err(Fault::new(FaultKind::Overflow))
            }
        }
    }

    /// A place under the host's own limit of requests.
    fn host_request(&self, host: &Host) -> Result<Option<HostPlace>, Fault> {
        let limit = self.spec.config.limits.host_requests;
        let place = limit.map(|limit| host.state().request(limit)).transpose();
        place.map_err(|Full| {
            self.stats.upstream_rq_overflow.inc();
            Fault::new(FaultKind::Overflow)
        })
    }

    /// Who waits for a connection may look again.
    pub(super) fn made_room(&self) {
        if self.gate.counts_connections() {
            self.gate.look_again();
        }
    }
}
