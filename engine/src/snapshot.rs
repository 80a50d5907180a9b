//! A configuration, compiled: what every core shares and none writes.
//!
//! Built on the control thread. Parts whose configuration and inputs did not change keep their `Arc` from the snapshot
//! before, by which a core knows that it may keep what hangs on them: pools, cursors, connections.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ringway_config::{
    self as config, ChainMatch, Config, EndpointAddress, Localities, Name, PathError,
};
use socket2::SockAddr;

use crate::cluster::{ClusterSpec, Hosts, assemble};
use crate::filter::{FilterSpec, Registry};
use crate::observe::access_log::Format;
use crate::observe::log_ring::{LogTargets, TargetId};
use crate::observe::{ListenerStats, PerCore, RouteTableStats, Stats};
use crate::route::Router;

/// What a snapshot is built from beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Addresses of the host names among the endpoints; a name that is absent or has none gives no host.
    pub resolved: HashMap<String, Vec<IpAddr>>,
    /// The access logs' targets.
    pub log_targets: LogTargets,
}

/// Filters, compiled, in order.
pub(crate) type Filters = Box<[Arc<dyn FilterSpec>]>;

/// A listener, compiled.
pub struct ListenerSpec {
    /// As configured.
    pub config: config::Listener,
    pub(crate) chains: Vec<ChainSpec>,
    pub(crate) logs: Vec<(TargetId, Format)>,
    pub(crate) stats: Arc<PerCore<ListenerStats>>,
    /// Connections open in the whole process, where there is a limit of them.
    pub(crate) open: Arc<AtomicU64>,
}

/// A chain, compiled.
pub(crate) struct ChainSpec {
    pub(crate) matches: ChainMatch,
    pub(crate) filters: Filters,
    pub(crate) service: config::Service,
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
            errors: Vec::new(),
        };
        let clusters = config
            .clusters
            .iter()
            .map(|cluster| {
                let spec = builder.cluster(cluster, &config.clusters);
                (cluster.name.clone(), spec)
            })
            .collect();
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
            .map(|(at, listener)| builder.listener(listener, &format!("listeners[{at}]")))
            .collect();
        if !builder.errors.is_empty() {
            return Err(builder.errors);
        }
        let version = last.map_or(0, |last| last.version) + 1;
        Ok(Arc::new(Self {
            version,
            config: config.clone(),
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
    errors: Vec<PathError>,
}

impl Builder<'_> {
    fn cluster(&self, config: &config::Cluster, all: &[config::Cluster]) -> Arc<ClusterSpec> {
        let last = self.last.and_then(|last| last.clusters.get(&config.name));
        let none = Hosts::default();
        let before = last.map_or(&none, |last| &last.hosts);
        let hosts = before.next(
            self.hosts(config),
            &config.name,
            self.stats,
            config.health_check.is_some(),
        );
        let sources = self.sources(config, all);
        if let Some(last) = last
            && last.config == *config
            && last.hosts.is_same(&hosts)
            && last.sources == sources
        {
            return Arc::clone(last);
        }
        Arc::new(assemble(
            config.clone(),
            hosts,
            sources,
            self.stats,
            last.map(|last| &**last),
        ))
    }

    /// The hosts by zone of the cluster that zone-aware routing measures itself by.
    fn sources(&self, config: &config::Cluster, all: &[config::Cluster]) -> HashMap<String, u32> {
        let mut zones = HashMap::new();
        let Localities::ZoneAware {
            source: Some(source),
            ..
        } = &config.placement.localities
        else {
            return zones;
        };
        let source = all.iter().find(|cluster| cluster.name == *source);
        for (_, _, endpoint) in source.into_iter().flat_map(|source| self.hosts(source)) {
            *zones.entry(endpoint.locality.zone).or_default() += 1;
        }
        zones
    }

    /// Where each endpoint is, as far as that is known.
    fn hosts(&self, config: &config::Cluster) -> Vec<(SockAddr, String, config::Endpoint)> {
        let mut hosts = Vec::with_capacity(config.endpoints.len());
        for endpoint in &config.endpoints {
            match &endpoint.address {
                EndpointAddress::Ip(address) => {
                    hosts.push(((*address).into(), address.to_string(), endpoint.clone()));
                }
                EndpointAddress::Unix(path) => {
                    // The length of the path was checked when the configuration was read.
                    if let Ok(address) = SockAddr::unix(path) {
                        hosts.push((address, path.display().to_string(), endpoint.clone()));
                    }
                }
                EndpointAddress::Name(name, port) => {
                    for address in self.inputs.resolved.get(name).into_iter().flatten() {
                        let address = SocketAddr::new(*address, *port);
                        hosts.push((address.into(), address.to_string(), endpoint.clone()));
                    }
                }
            }
        }
        hosts
    }

    fn table(&mut self, config: &config::RouteTable, path: &str) -> Option<Arc<TableSpec>> {
        if let Some(last) = self.last.and_then(|last| last.tables.get(&config.name))
            && last.config == *config
        {
            return Some(Arc::clone(last));
        }
        let router = match Router::build(config) {
            Ok(router) => router,
            Err(errors) => {
                self.errors
                    .extend(errors.into_iter().map(|error| error.below(path)));
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
                Err(errors) => self.errors.extend(
                    errors
                        .into_iter()
                        .map(|error| error.below(&format!("{path}.filters[{at}]"))),
                ),
            }
        }
        built.into_boxed_slice()
    }

    fn listener(&mut self, config: &config::Listener, path: &str) -> Arc<ListenerSpec> {
        let last = self.last.and_then(|last| {
            last.listeners
                .iter()
                .find(|spec| spec.config.name == config.name)
        });
        if let Some(last) = last
            && last.config == *config
        {
            return Arc::clone(last);
        }
        let mut chains = Vec::with_capacity(config.chains.len());
        for (at, chain) in config.chains.iter().enumerate() {
            let filters = self.filters(&chain.filters, &format!("{path}.chains[{at}]"));
            chains.push(ChainSpec {
                matches: chain.matches.clone(),
                filters,
                service: chain.service.clone(),
            });
        }
        let mut logs = Vec::with_capacity(config.access_logs.len());
        for (at, log) in config.access_logs.iter().enumerate() {
            match Format::compile(&log.format) {
                Ok(format) => logs.push((self.inputs.log_targets.id(&log.target), format)),
                Err(errors) => {
                    let place = format!("{path}.access_log[{at}].format");
                    self.errors.extend(
                        errors
                            .into_iter()
                            .map(|error| PathError::new(place.clone(), error.to_string())),
                    );
                }
            }
        }
        let open = last.map_or_else(Arc::default, |last| Arc::clone(&last.open));
        Arc::new(ListenerSpec {
            config: config.clone(),
            chains,
            logs,
            stats: self.stats.listener(&config.name),
            open,
        })
    }
}
