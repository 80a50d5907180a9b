//! A request's search for hosts, from try to try, while its cluster may become another.
//!
//! A request holds the version of its cluster that it began with. Between two tries a reload may have taken hosts away, and
//! given their slots to others: a further try asks the newest version, and what was tried counts by host and not by slot.

use std::rc::Rc;

use super::{Cluster, Host};

/// Whom a request asks, and whom it has asked.
pub(crate) struct Search {
    cluster: Rc<Cluster>,
    /// Hosts tried, by their slots in that version.
    tried: Vec<usize>,
}

impl Search {
    pub(crate) fn new(cluster: &Rc<Cluster>) -> Self {
        Self {
            cluster: Rc::clone(cluster),
            tried: Vec::new(),
        }
    }

    /// The version that is asked.
    pub(crate) fn cluster(&self) -> &Rc<Cluster> {
        &self.cluster
    }

    /// Hosts tried, by slot.
    pub(crate) fn tried(&self) -> &[usize] {
        &self.tried
    }

    /// The host of a slot is asked.
    pub(crate) fn note(&mut self, slot: usize) {
        self.tried.push(slot);
    }

    /// A host may be picked again.
    pub(crate) fn forget(&mut self, host: &Host) {
        let Self { cluster, tried } = self;
        tried.retain(|slot| cluster.id_of(*slot) != Some(host.id()));
    }

    /// Goes on with the newest version. Whether there is one: a cluster that is gone can be asked only by who has not begun.
    #[inline]
    pub(crate) fn follow(&mut self) -> bool {
        self.cluster.is_newest() || self.step()
    }

    #[cold]
    fn step(&mut self) -> bool {
        let Some(next) = self.cluster.newest() else {
            return false;
        };
        let last = std::mem::replace(&mut self.cluster, next);
        let now = &self.cluster;
        self.tried
            .retain(|slot| last.id_of(*slot) == now.id_of(*slot));
        true
    }
}
