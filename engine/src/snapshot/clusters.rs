//! Clusters, compiled: hosts from names and addresses, TLS, codecs. What was made from the same is the last one.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::{self as config, Localities, PathError, UpstreamProtocol};
use ringway_protocols::codec::Codec;

use super::{Builder, found};
use crate::cluster::{ClusterSpec, Hosts, Maker, assemble};
use crate::net::tls;

impl Builder<'_> {
    /// A cluster, compiled; `all` are the clusters of its configuration.
    pub(super) fn cluster(
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
                self.note(errors, &format!("{path}.tls"));
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
}
