//! A configuration, compiled: what every core shares and none writes.
//!
//! Built on the control thread. Parts whose configuration and inputs did not change keep their `Arc` from the snapshot
//! before, by which a core knows that it may keep what hangs on them: pools, cursors, connections.

mod clusters;
mod found;
mod listeners;
mod speaks;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ringway_config::{self as config, Config, LogTarget, Name, PathError};
use ringway_protocols::codec::Codec;

use crate::cluster::ClusterSpec;
use crate::filter::{FilterSpec, Registry};
use crate::net::tls;
use crate::observe::access_log::Format;
use crate::observe::log_ring::{LogTargets, TargetId};
use crate::observe::{ListenerStats, PerCore, RouteTableStats, Stats};
use crate::route::Router;

/// What a snapshot is built from beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Addresses of host names, in the order in which they were said; a name that is absent or has none gives no host.
    pub resolved: HashMap<String, Vec<IpAddr>>,
    /// What is behind names of services.
    pub services: HashMap<String, Vec<ServiceAddress>>,
    /// The access logs' targets.
    pub log_targets: LogTargets,
    /// What TLS is made from: files, and what seals tickets.
    pub tls: tls::Material,
}

/// An address of a service, as DNS has it (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAddress {
    /// The least is asked first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Where it is.
    pub address: SocketAddr,
}

/// Filters, compiled, in order.
pub(crate) type Filters = Box<[Arc<dyn FilterSpec>]>;

/// A listener, compiled.
pub struct ListenerSpec {
    /// As configured.
    pub config: config::Listener,
    pub(crate) chains: Vec<ChainSpec>,
    pub(crate) logs: Vec<(TargetId, Format)>,
    /// What its clients may speak, if it is an RPC protocol.
    pub(crate) codecs: Vec<Arc<dyn Codec>>,
    pub(crate) stats: Arc<PerCore<ListenerStats>>,
    /// Connections open in the whole process, where there is a limit of them.
    pub(crate) open: Arc<AtomicU64>,
}

/// A chain, compiled.
pub(crate) struct ChainSpec {
    pub(crate) filters: Filters,
    pub(crate) service: config::Service,
    pub(crate) tls: Option<Arc<Secure>>,
}

/// A chain's TLS, compiled, and what it was made from beside its configuration.
pub(crate) struct Secure {
    pub(crate) server: tls::Server,
    config: config::ServerTls,
    material: tls::Material,
    context: String,
}

/// A route table, compiled.
pub(crate) struct TableSpec {
    config: config::RouteTable,
    pub(crate) router: Router,
    /// By the index of the route.
    pub(crate) filters: Vec<Filters>,
    pub(crate) stats: Arc<PerCore<RouteTableStats>>,
}

/// A whole configuration, compiled.
pub struct Snapshot {
    version: u64,
    config: Config,
    files: tls::Files,
    listeners: Vec<Arc<ListenerSpec>>,
    pub(crate) tables: BTreeMap<Name, Arc<TableSpec>>,
    pub(crate) clusters: BTreeMap<Name, Arc<ClusterSpec>>,
}

impl Snapshot {
    /// Compiles a configuration, or returns all that is wrong with it, at paths of the configuration.
    pub fn build(
        config: &Config,
        registry: &Registry,
        inputs: &Inputs,
        stats: &Arc<Stats>,
        last: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<PathError>> {
        let mut builder = Builder {
            registry,
            inputs,
            stats,
            last: last.map(|last| &**last),
            secrets: inputs.tls.secrets.clone(),
            errors: Vec::new(),
        };
        if let Some(path) = &config.process.ticket_keys {
            match inputs.tls.files.ticket_secrets(path, "process.ticket_keys") {
                Ok(secrets) => builder.secrets = secrets,
                Err(error) => builder.errors.push(error),
            }
        }
        let mut clusters = BTreeMap::new();
        for (at, cluster) in config.clusters.iter().enumerate() {
            let spec = builder.cluster(cluster, &config.clusters, &format!("clusters[{at}]"));
            clusters.insert(cluster.name.clone(), spec);
        }
        let mut tables = BTreeMap::new();
        for (at, table) in config.route_tables.iter().enumerate() {
            if let Some(spec) = builder.table(table, &format!("route_tables[{at}]")) {
                tables.insert(table.name.clone(), spec);
            }
        }
        let listeners = config
            .listeners
            .iter()
            .enumerate()
            .map(|(at, listener)| {
                let path = format!("listeners[{at}]");
                builder.listener(listener, (config, &tables), &path)
            })
            .collect();
        if !builder.errors.is_empty() {
            return Err(builder.errors);
        }
        let version = last.map_or(0, |last| last.version) + 1;
        Ok(Arc::new(Self {
            version,
            config: config.clone(),
            files: inputs.tls.files.clone(),
            listeners,
            tables,
            clusters,
        }))
    }

    /// Counts up with each snapshot built on the last.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The files of TLS that it was built from.
    pub fn files(&self) -> &tls::Files {
        &self.files
    }

    /// The listeners, in the configuration's order.
    pub fn listeners(&self) -> &[Arc<ListenerSpec>] {
        &self.listeners
    }

    /// The cluster of a name.
    pub fn cluster(&self, name: &Name) -> Option<&Arc<ClusterSpec>> {
        self.clusters.get(name)
    }

    /// The clusters, by name.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<ClusterSpec>> {
        self.clusters.values()
    }
}

struct Builder<'b> {
    registry: &'b Registry,
    inputs: &'b Inputs,
    stats: &'b Arc<Stats>,
    last: Option<&'b Snapshot>,
    /// What seals tickets.
    secrets: tls::TicketSecrets,
    errors: Vec<PathError>,
}

impl Builder<'_> {
    fn table(&mut self, config: &config::RouteTable, path: &str) -> Option<Arc<TableSpec>> {
        if let Some(last) = self.last.and_then(|last| last.tables.get(&config.name))
            && last.config == *config
        {
            return Some(Arc::clone(last));
        }
        let router = match Router::build(config) {
            Ok(router) => router,
            Err(errors) => {
                self.note(errors, path);
                return None;
            }
        };
        let mut filters = Vec::with_capacity(router.routes().len());
        for route in router.routes() {
            filters.push(self.filters(&route.filters, &format!("{path}.{}", route.place)));
        }
        let stats = self.stats.route_table(&config.name);
        Some(Arc::new(TableSpec {
            config: config.clone(),
            router,
            filters,
            stats,
        }))
    }

    fn filters(&mut self, filters: &[config::Filter], path: &str) -> Filters {
        let mut built = Vec::with_capacity(filters.len());
        for (at, filter) in filters.iter().enumerate() {
            match self.registry.build(filter) {
                Ok(spec) => built.push(spec),
                Err(errors) => self.note(errors, &format!("{path}.filters[{at}]")),
            }
        }
        built.into_boxed_slice()
    }

    /// Where a side's secrets go, if anywhere.
    fn keys(&self, file: Option<&PathBuf>) -> Option<TargetId> {
        let target = LogTarget::Keys(file?.clone());
        Some(self.inputs.log_targets.id(&target))
    }

    /// Notes what is wrong with a part of the configuration, at paths below its own.
    fn note(&mut self, errors: Vec<PathError>, path: &str) {
        let errors = errors.into_iter();
        self.errors.extend(errors.map(|error| error.below(path)));
    }
}
