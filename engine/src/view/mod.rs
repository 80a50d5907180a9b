//! One core's live side of a snapshot: pools, cursors, routers of its own. A request holds the view that it began with.

mod budget;
mod chain;
mod connections;
mod date;
mod handshakes;
mod kept;
mod local;
mod reports;
mod updater;
mod via;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::{self as config, Arrival, Name};
use ringway_protocols::client_hello::{ClientHello, HelloLimits};
use ringway_protocols::http1::HeadLimits;

use crate::cluster::{Cluster, ClusterSets, ClusterSpec};
use crate::net::tls;
use crate::observe::{ListenerStats, RouteTableStats, Slot};
use crate::request::PeerAddr;
use crate::rng::Rng;
use crate::route::Router;
use crate::snapshot::{ListenerSpec, Snapshot, TableSpec};

pub(crate) use budget::{Budget, Held};
pub(crate) use chain::{LiveChain, TcpChain};
pub(crate) use connections::Ticket;
pub(crate) use handshakes::Handshakes;
pub(crate) use kept::{Keeping, Kept, SMALL as KEPT_SMALL};
pub(crate) use local::{Local, OpenGate, Shared};
pub use reports::Reports;
pub(crate) use reports::{Reporter, reports};
pub use updater::Updater;
pub(crate) use via::Via;

/// A listener's socket as control numbers it: the same over reloads as long as its name and address are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ListenerId(pub(crate) u32);

/// A core's side of a route table.
pub(crate) struct Table {
    spec: Arc<TableSpec>,
    pub(crate) router: Rc<Router>,
    /// What [`crate::route::ClusterRef::index`] counts.
    pub(crate) clusters: Vec<Rc<Cluster>>,
    pub(crate) stats: Slot<RouteTableStats>,
}

/// A core's side of a listener.
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    pub(crate) spec: Arc<ListenerSpec>,
    pub(crate) stats: Slot<ListenerStats>,
    chains: Vec<LiveChain>,
    pub(crate) head_limits: HeadLimits,
    /// What `Via` says, if anything.
    pub(crate) via: Option<Rc<Via>>,
    /// Whether a chain is chosen by what TLS says first, and within which limits that is read.
    pub(crate) hello: Option<HelloLimits>,
}

impl Listener {
    /// The place of the chain that fits a connection best, the first of equals.
    pub(crate) fn place(
        &self,
        remote: &PeerAddr,
        local: &PeerAddr,
        hello: Option<&ClientHello>,
    ) -> Option<usize> {
        let offers = |protocol: &str| {
            let mut offered = hello.into_iter().flat_map(ClientHello::alpn);
            offered.any(|name| name == protocol.as_bytes())
        };
        let arrival = Arrival {
            source: remote.ip(),
            destination: local.socket(),
            server_name: hello.and_then(|hello| hello.server_name.as_deref()),
            offers: &offers,
        };
        let mut best = None;
        for (place, chain) in self.spec.config.chains.iter().enumerate() {
            let carried = self.hello.is_none() || chain.takes(hello.is_some());
            let fit = chain.matches.fit(&arrival).filter(|_| carried);
            if fit > best.map(|(_, fit)| fit) {
                best = fit.map(|fit| (place, fit));
            }
        }
        best.map(|(place, _)| place)
    }

    /// The TLS of the chain at a place.
    pub(crate) fn tls(&self, place: usize) -> Option<&tls::Server> {
        let secure = self.spec.chains.get(place)?.tls.as_ref()?;
        Some(&secure.server)
    }

    /// The chain at a place.
    pub(crate) fn chain(&self, place: usize) -> Option<&LiveChain> {
        self.chains.get(place)
    }
}

/// One core's live side of a snapshot.
pub(crate) struct View {
    listeners: Vec<Rc<Listener>>,
    tables: BTreeMap<Name, Rc<Table>>,
    clusters: BTreeMap<Name, Rc<Cluster>>,
}

impl View {
    /// Before the first snapshot.
    pub(crate) fn empty() -> Self {
        Self {
            listeners: Vec::new(),
            tables: BTreeMap::new(),
            clusters: BTreeMap::new(),
        }
    }

    /// The live side of the next snapshot. What has the same `Arc` keeps its `Rc`; a cluster that changed keeps its hosts.
    pub(crate) fn next(
        &self,
        snapshot: &Snapshot,
        ids: &[ListenerId],
        core: usize,
        rng: &Rng,
    ) -> Self {
        let mut clusters = BTreeMap::new();
        for (name, spec) in &snapshot.clusters {
            let last = self.clusters.get(name);
            let cluster = match last {
                Some(last) if Arc::ptr_eq(&last.spec, spec) => Rc::clone(last),
                Some(_) | None => Rc::new(Cluster::new(spec, core, rng, last.map(|last| &**last))),
            };
            clusters.insert(name.clone(), cluster);
        }
        let mut tables = BTreeMap::new();
        for (name, spec) in &snapshot.tables {
            tables.insert(name.clone(), self.table(name, spec, &clusters, core));
        }
        let mut next = Self {
            listeners: Vec::new(),
            tables,
            clusters,
        };
        let listeners = snapshot.listeners().iter().zip(ids);
        let listeners = listeners
            .filter_map(|(spec, id)| next.listener(*id, spec, core, self.listener_of(*id)))
            .collect();
        next.listeners = listeners;
        next
    }

    fn table(
        &self,
        name: &Name,
        spec: &Arc<TableSpec>,
        clusters: &BTreeMap<Name, Rc<Cluster>>,
        core: usize,
    ) -> Rc<Table> {
        let last = self
            .tables
            .get(name)
            .filter(|last| Arc::ptr_eq(&last.spec, spec));
        let router = last.map_or_else(
            || Rc::new(spec.router.for_core()),
            |last| Rc::clone(&last.router),
        );
        let live: Vec<_> = router
            .clusters()
            .iter()
            .filter_map(|name| clusters.get(name).cloned())
            .collect();
        if let Some(last) = last
            && last.clusters.len() == live.len()
            && last
                .clusters
                .iter()
                .zip(&live)
                .all(|(a, b)| Rc::ptr_eq(a, b))
        {
            return Rc::clone(last);
        }
        Rc::new(Table {
            spec: Arc::clone(spec),
            router,
            clusters: live,
            stats: spec.stats.slot(core),
        })
    }

    /// A listener over this view's tables and clusters; `last` is the one of its socket before.
    fn listener(
        &self,
        id: ListenerId,
        spec: &Arc<ListenerSpec>,
        core: usize,
        last: Option<Rc<Listener>>,
    ) -> Option<Rc<Listener>> {
        let chains = spec
            .chains
            .iter()
            .map(|chain| LiveChain::new(chain, &self.tables, &self.clusters))
            .collect::<Option<Vec<_>>>()?;
        if let Some(last) = last
            && Arc::ptr_eq(&last.spec, spec)
            && last.chains.iter().zip(&chains).all(|(a, b)| a.is_same(b))
        {
            return Some(last);
        }
        let limits = &spec.config.limits;
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let asks_tls = spec.config.chains.iter().any(config::Chain::asks_hello);
        Some(Rc::new(Listener {
            id,
            spec: Arc::clone(spec),
            stats: spec.stats.slot(core),
            chains,
            head_limits: HeadLimits {
                start_line: size(limits.request_line.0),
                field: size(limits.field.0),
                fields_total: size(limits.fields_total.0),
                fields: limits.fields as usize,
                ..HeadLimits::default()
            },
            via: spec
                .config
                .forwarded
                .via
                .as_ref()
                .map(|name| Rc::new(Via::new(name))),
            hello: asks_tls.then(|| HelloLimits {
                message: size(limits.client_hello.0),
                ..HelloLimits::default()
            }),
        }))
    }

    /// The listener of a socket, if this view still has it.
    pub(crate) fn listener_of(&self, id: ListenerId) -> Option<Rc<Listener>> {
        self.listeners
            .iter()
            .find(|listener| listener.id == id)
            .cloned()
    }

    /// Closes the pools of hosts that `next` does not have: somebody may hold this view for long.
    pub(crate) fn retire(&self, next: &Self) {
        for (name, cluster) in &self.clusters {
            cluster.retire(next.clusters.get(name));
        }
    }

    /// Takes over what control derived from the health of a cluster's hosts, if that version of it still serves.
    pub(crate) fn refresh(&self, spec: &Arc<ClusterSpec>, sets: &Arc<ClusterSets>) {
        if let Some(cluster) = self.clusters.get(&spec.config.name)
            && Arc::ptr_eq(&cluster.spec, spec)
        {
            cluster.refresh(sets);
        }
    }

    /// The core was rung: perhaps for a place under a cluster's limit of connections.
    pub(crate) fn serve(&self) {
        self.clusters.values().for_each(|cluster| cluster.serve());
    }

    /// Closes connections to upstreams that were kept too long.
    pub(crate) fn sweep(&self) {
        self.clusters.values().for_each(|cluster| cluster.sweep());
    }
}
