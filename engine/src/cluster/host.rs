//! One host of a cluster on one core: its load, and its pools.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringway_config::Name;
use socket2::SockAddr;

use super::HostSpec;
use super::pool::http1::Kept;
use crate::observe::{ClusterStats, HostStats, Slot};

/// A host.
pub(crate) struct Host {
    address: SockAddr,
    /// Its name in logs.
    pub(crate) label: Rc<str>,
    name: Name,
    pub(crate) stats: Slot<HostStats>,
    pub(super) cluster: Slot<ClusterStats>,
    /// HTTP/1 connections between two requests.
    pub(super) http1: Kept,
    /// Requests in flight on this core.
    active: Cell<u32>,
    /// No version of the cluster has it any more: nothing is kept.
    retired: Cell<bool>,
}

impl Host {
    pub(super) fn new(spec: &HostSpec, core: usize, cluster: Slot<ClusterStats>) -> Self {
        Self {
            address: spec.address.clone(),
            label: Rc::from(spec.label.as_str()),
            name: spec.label.clone(),
            stats: spec.stats.slot(core),
            cluster,
            http1: Kept::default(),
            active: Cell::new(0),
            retired: Cell::new(false),
        }
    }

    pub(super) fn is_same(&self, spec: &HostSpec) -> bool {
        self.name == spec.label && self.address == spec.address
    }

    pub(super) fn address(&self) -> &SockAddr {
        &self.address
    }

    /// Requests in flight on this core.
    pub(crate) fn active(&self) -> u32 {
        self.active.get()
    }

    /// Whether no version of the cluster has it any more.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Closes connections kept longer than `idle_timeout`, and those that the other end closed.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        self.http1.sweep(self, idle_timeout);
    }

    /// Closes what is kept, and keeps nothing more.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.http1.close(self);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.http1.close(self);
    }
}

/// Counts a request in flight at a host.
pub(crate) struct Active {
    host: Rc<Host>,
}

impl Active {
    pub(crate) fn new(host: &Rc<Host>) -> Self {
        host.active.set(host.active.get() + 1);
        host.stats.rq_active.inc();
        host.stats.rq_total.inc();
        host.cluster.upstream_rq_total.inc();
        host.cluster.upstream_rq_active.inc();
        Self {
            host: Rc::clone(host),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get() - 1);
        self.host.stats.rq_active.dec();
        self.host.cluster.upstream_rq_active.dec();
    }
}
