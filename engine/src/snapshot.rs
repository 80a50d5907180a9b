//! A configuration, compiled: what every core shares and none writes.
//!
//! Built on the control thread. Parts whose configuration and inputs did not change keep their `Arc` from the snapshot
//! before, by which a core knows that it may keep what hangs on them: pools, cursors, connections.

mod found;
mod speaks;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ringway_config::{
    self as config, Config, Localities, LogTarget, Name, PathError, UpstreamProtocol,
};
use ringway_protocols::codec::Codec;

use crate::cluster::{ClusterSpec, Hosts, Maker, assemble};
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
    fn cluster(
        &mut self,
        config: &config::Cluster,
        all: &[config::Cluster],
        path: &str,
    ) -> Arc<ClusterSpec> {
        let last = self.last.and_then(|last| last.clusters.get(&config.name));
        let none = Hosts::default();
        let before = last.map_or(&none, |last| &last.hosts);
        let maker = Maker {
            cluster: &config.name,
            stats: self.stats,
            checked: config.health_check.is_some(),
        };
        let step = last.and_then(|last| found::step(&last.config, config));
        let step = step.and_then(|(ends, between)| before.step(ends, &between, maker));
        let hosts = step.unwrap_or_else(|| {
            let found = found::found(config, self.inputs);
            before.next(&found::wanted(config, &found, self.inputs), maker)
        });
        let sources = self.sources(config, all);
        let files = self.files_of(config);
        if let Some(last) = last
            && last.config == *config
            && last.hosts.is_same(&hosts)
            && last.sources == sources
            && last.tls.as_ref().map(|(_, files)| files) == files.as_ref()
        {
            return Arc::clone(last);
        }
        let tls = files.and_then(|files| self.client(config, files, path));
        let codec = self.codec(config, path);
        let spec = assemble(
            config.clone(),
            hosts,
            sources,
            self.stats,
            last.map(|last| &**last),
        );
        let rpc_calls = codec.is_some().then(|| self.stats.rpc_calls(&config.name));
        Arc::new(ClusterSpec {
            tls,
            codec,
            rpc_calls,
            ..spec
        })
    }

    /// What the hosts of a cluster speak, if it is an RPC protocol.
    fn codec(&mut self, config: &config::Cluster, path: &str) -> Option<Arc<dyn Codec>> {
        let UpstreamProtocol::Rpc(name) = &config.protocol else {
            return None;
        };
        match self.registry.codec_of(name.as_str()) {
            Ok(codec) => Some(codec),
            Err(why) => {
                let place = format!("{path}.protocol");
                self.errors.push(PathError::new(place, why));
                None
            }
        }
    }

    /// The files of a cluster's TLS, if it speaks it.
    fn files_of(&self, config: &config::Cluster) -> Option<tls::Files> {
        let tls = config.tls.as_ref()?;
        Some(self.inputs.tls.files.only(&tls.files()))
    }

    /// A cluster's side of TLS: the last one where nothing that it is made from has changed, so that its connections stay.
    fn client(
        &mut self,
        config: &config::Cluster,
        files: tls::Files,
        path: &str,
    ) -> Option<(tls::Client, tls::Files)> {
        let wanted = config.tls.as_ref()?;
        let last = self.last.and_then(|last| last.clusters.get(&config.name));
        if let Some(last) = last
            && let Some((client, before)) = &last.tls
            && *before == files
            && last.config.tls.as_ref() == Some(wanted)
        {
            return Some((client.clone(), files));
        }
        let keys = self.keys(wanted.key_log.as_ref());
        match tls::Client::build(wanted, &files, keys) {
            Ok(client) => Some((client, files)),
            Err(errors) => {
                let path = format!("{path}.tls");
                self.errors
                    .extend(errors.into_iter().map(|error| error.below(&path)));
                None
            }
        }
    }

    /// The hosts by zone of the cluster that zone-aware routing measures itself by.
    fn sources(&self, config: &config::Cluster, all: &[config::Cluster]) -> HashMap<String, u32> {
        let mut zones: HashMap<String, u32> = HashMap::new();
        let Localities::ZoneAware {
            source: Some(source),
            ..
        } = &config.placement.localities
        else {
            return zones;
        };
        let source = all.iter().find(|cluster| cluster.name == *source);
        if let Some(source) = source {
            let found = found::found(source, self.inputs);
            for host in found::wanted(source, &found, self.inputs) {
                let zone = &host.endpoint.locality.zone;
                match zones.get_mut(zone) {
                    Some(count) => *count += 1,
                    None => drop(zones.insert(zone.clone(), 1)),
                }
            }
        }
        zones
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

    /// What a chain's TLS is made from now.
    fn material(&self, tls: &config::ServerTls) -> tls::Material {
        tls::Material {
            files: self.inputs.tls.files.only(&tls.files()),
            secrets: self.secrets.clone(),
        }
    }

    fn secure_is_same(&self, last: &ListenerSpec) -> bool {
        let mut chains = last.chains.iter().filter_map(|chain| chain.tls.as_ref());
        chains.all(|secure| secure.material == self.material(&secure.config))
    }

    /// A chain's TLS: the last one of the listener that was made from the same, if there is one.
    fn secure(
        &mut self,
        listener: &config::Listener,
        chain: &config::Chain,
        last: Option<&Arc<ListenerSpec>>,
        path: &str,
    ) -> Option<Arc<Secure>> {
        let config = chain.tls.as_ref()?;
        let material = self.material(config);
        let alpn: &[&[u8]] = match chain.service {
            config::Service::Routes(_) => match listener.protocol {
                config::Protocol::Http => &[b"h2", b"http/1.1"],
                config::Protocol::Http1 => &[b"http/1.1"],
                config::Protocol::Http2 => &[b"h2"],
                // None has a name there, and whoever offers others means another server.
                config::Protocol::Rpc(_) => &[],
            },
            config::Service::Tcp(_) => &[],
        };
        let context = format!("{} {:?}", listener.name, chain.matches);
        let mut known = last.into_iter().flat_map(|last| &last.chains);
        let same = known.find_map(|chain| {
            let same = chain.tls.as_ref()?;
            let unchanged =
                same.config == *config && same.material == material && same.context == context;
            unchanged.then(|| Arc::clone(same))
        });
        if same.is_some() {
            return same;
        }
        let keys = self.keys(config.key_log.as_ref());
        match tls::Server::build(config, &material, alpn, &context, keys) {
            Ok(server) => Some(Arc::new(Secure {
                server,
                config: config.clone(),
                material,
                context,
            })),
            Err(errors) => {
                self.errors
                    .extend(errors.into_iter().map(|error| error.below(path)));
                None
            }
        }
    }

    /// Where a side's secrets go, if anywhere.
    fn keys(&self, file: Option<&PathBuf>) -> Option<TargetId> {
        let target = LogTarget::Keys(file?.clone());
        Some(self.inputs.log_targets.id(&target))
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

    fn listener(
        &mut self,
        config: &config::Listener,
        (all, tables): (&Config, &BTreeMap<Name, Arc<TableSpec>>),
        path: &str,
    ) -> Arc<ListenerSpec> {
        let codecs = self.codecs(config, path);
        if let Some(codecs) = &codecs {
            self.spoken(config, codecs, (all, tables), path);
        }
        let codecs = codecs.unwrap_or_default();
        let last = self.last.and_then(|last| {
            last.listeners
                .iter()
                .find(|spec| spec.config.name == config.name)
        });
        if let Some(last) = last
            && last.config == *config
            && self.secure_is_same(last)
        {
            return Arc::clone(last);
        }
        let mut chains = Vec::with_capacity(config.chains.len());
        for (at, chain) in config.chains.iter().enumerate() {
            let filters = self.filters(&chain.filters, &format!("{path}.chains[{at}]"));
            self.of_no_route(&filters, &format!("{path}.chains[{at}]"));
            chains.push(ChainSpec {
                filters,
                service: chain.service.clone(),
                tls: self.secure(config, chain, last, &format!("{path}.chains[{at}].tls")),
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
            codecs,
            stats: self.stats.listener(&config.name),
            open,
        })
    }
}
