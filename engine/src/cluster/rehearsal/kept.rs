//! A core's idle connections, as its hosts' pools would keep them: places under limits, and no sockets.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::{Cluster, Host, HostPlace, Permit};

/// A connection.
pub(super) struct Wire {
    pub(super) host: Rc<Host>,
    _places: (Option<Permit>, Option<HostPlace>),
}

impl Wire {
    pub(super) fn new(host: &Rc<Host>, places: (Option<Permit>, Option<HostPlace>)) -> Self {
        host.stats.cx_active.inc();
        Self {
            host: Rc::clone(host),
            _places: places,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.host.stats.cx_active.dec();
    }
}

/// Those that are idle, the most recently used last.
#[derive(Default)]
pub(super) struct Shelf(RefCell<Vec<Wire>>);

impl Shelf {
    /// One to a host.
    pub(super) fn take(&self, host: u64) -> Option<Wire> {
        let mut idle = self.0.borrow_mut();
        let at = idle.iter().rposition(|wire| wire.host.id() == host)?;
        Some(idle.remove(at))
    }

    /// Keeps one, as `Cluster::park` does.
    pub(super) fn park(&self, cluster: &Cluster, wire: Wire) {
        if cluster.gate.wants_room(wire.host.id()) || wire.host.is_retired() {
            drop(wire);
        } else {
            self.0.borrow_mut().push(wire);
        }
        cluster.made_room();
    }

    /// As `Cluster::serve` does.
    pub(super) fn serve(&self, cluster: &Cluster) {
        let wants_room = |wire: &Wire| cluster.gate.wants_room(wire.host.id());
        cluster.gate.serve(|| {
            let mut idle = self.0.borrow_mut();
            let closed = idle.iter().position(wants_room).map(|at| idle.remove(at));
            drop(idle);
            closed.is_some()
        });
    }

    /// Closes those to hosts that are gone.
    pub(super) fn sweep(&self) {
        let (stay, gone) = self
            .0
            .take()
            .into_iter()
            .partition(|wire| !wire.host.is_retired());
        self.0.replace(stay);
        drop::<Vec<Wire>>(gone);
    }

    pub(super) fn clear(&self) {
        drop(self.0.take());
    }

    pub(super) fn count(&self, host: Option<u64>) -> usize {
        let idle = self.0.borrow();
        let to = |wire: &&Wire| host.is_none_or(|host| wire.host.id() == host);
        idle.iter().filter(to).count()
    }
}
