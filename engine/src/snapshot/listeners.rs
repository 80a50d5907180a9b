//! Listeners, compiled: chains with their filters and TLS, access logs, codecs. What was made from the same is the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringway_config::{self as config, Config, Name, PathError};

use super::{Builder, ChainSpec, ListenerSpec, Secure, TableSpec};
use crate::net::tls;
use crate::observe::access_log::Format;
use crate::observe::log_ring::TargetId;

impl Builder<'_> {
    /// A listener, compiled, beside the configuration and the tables that it is of.
    pub(super) fn listener(
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
        let chains = config.chains.iter().enumerate();
        let chains = chains
            .map(|(at, chain)| self.chain(config, chain, last, &format!("{path}.chains[{at}]")))
            .collect();
        let logs = self.logs(&config.access_logs, path);
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

    fn chain(
        &mut self,
        listener: &config::Listener,
        chain: &config::Chain,
        last: Option<&Arc<ListenerSpec>>,
        path: &str,
    ) -> ChainSpec {
        let filters = self.filters(&chain.filters, path);
        self.of_no_route(&filters, path);
        ChainSpec {
            filters,
            service: chain.service.clone(),
            tls: self.secure(listener, chain, last, &format!("{path}.tls")),
        }
    }

    fn logs(&mut self, logs: &[config::AccessLog], path: &str) -> Vec<(TargetId, Format)> {
        let mut built = Vec::with_capacity(logs.len());
        for (at, log) in logs.iter().enumerate() {
            match Format::compile(&log.format) {
                Ok(format) => built.push((self.inputs.log_targets.id(&log.target), format)),
                Err(errors) => {
                    let place = format!("{path}.access_log[{at}].format");
                    let errors = errors.iter();
                    let errors = errors.map(|error| PathError::new(&*place, error.to_string()));
                    self.errors.extend(errors);
                }
            }
        }
        built
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
                self.note(errors, path);
                None
            }
        }
    }
}
