//! Who speaks what: that clients, the calls that filters make of their requests, and clusters fit together.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringway_config::{
    self as config, Config, Name, PathError, Protocol, Service, UpstreamProtocol,
};
use ringway_protocols::codec::{Codec, GoAway};

use super::{Builder, Filters, TableSpec};
use crate::route::{Action, Forward, Route};

impl Builder<'_> {
    /// What the clients of a listener may speak, if it is an RPC protocol; none: there is no such protocol, which was noted.
    pub(super) fn codecs(
        &mut self,
        listener: &config::Listener,
        path: &str,
    ) -> Option<Vec<Arc<dyn Codec>>> {
        match &listener.protocol {
            Protocol::Http | Protocol::Http1 | Protocol::Http2 => {
                self.has_goodbye(listener, &[], path);
                Some(Vec::new())
            }
            Protocol::Rpc(name) => match self.registry.codecs_of(name.as_str()) {
                Ok(codecs) => {
                    self.has_goodbye(listener, &codecs, path);
                    Some(codecs)
                }
                Err(why) => {
                    let place = format!("{path}.protocol");
                    self.errors.push(PathError::new(place, why));
                    None
                }
            },
        }
    }

    /// That a goodbye to clients is only spoken of where there are words for one.
    fn has_goodbye(&mut self, listener: &config::Listener, codecs: &[Arc<dyn Codec>], path: &str) {
        let is_wordless = |codec: &Arc<dyn Codec>| codec.goaway() == GoAway::Wordless;
        if listener.rpc.goaway.is_some() && codecs.iter().all(is_wordless) {
            let message = "the listener's protocol has no such words: leave it out";
            self.errors
                .push(PathError::new(format!("{path}.rpc.goaway"), message));
        }
    }

    /// That what the routes of a listener lead to speaks what its clients do, or what a filter makes of their requests.
    pub(super) fn spoken(
        &mut self,
        listener: &config::Listener,
        codecs: &[Arc<dyn Codec>],
        (config, tables): (&Config, &BTreeMap<Name, Arc<TableSpec>>),
        path: &str,
    ) {
        for chain in &listener.chains {
            let Service::Routes(name) = &chain.service else {
                continue;
            };
            let place = config
                .route_tables
                .iter()
                .position(|table| table.name == *name);
            let (Some(table), Some(place)) = (tables.get(name), place) else {
                continue;
            };
            for (route, filters) in table.router.routes().iter().zip(&table.filters) {
                let at = format!("route_tables[{place}].{}", route.place);
                match made(filters) {
                    Made::Nothing => self.of_clients(route, codecs, config, path),
                    Made::Calls(_, of) if !codecs.is_empty() => {
                        let message = "`transcode` makes calls of requests of HTTP, and this route is also that of a listener of an RPC protocol: leave it out";
                        self.errors
                            .push(PathError::new(format!("{at}.filters[{of}]"), message));
                    }
                    Made::Calls(protocol, of) => {
                        self.of_filter(route, protocol, config, &format!("{at}.filters[{of}]"));
                    }
                    Made::Twice(second) => {
                        let message =
                            "a route makes one call of a request: leave the second `transcode` out";
                        self.errors
                            .push(PathError::new(format!("{at}.filters[{second}]"), message));
                    }
                }
            }
        }
    }

    /// That filters of all of a chain's requests make no calls: what a request is made of is its route's to say.
    pub(super) fn of_no_route(&mut self, filters: &Filters, path: &str) {
        if let Some(at) = filters.iter().position(|filter| filter.calls().is_some()) {
            let message =
                "write `transcode` among the `filters` of a route: it is for the route's clusters";
            self.errors
                .push(PathError::new(format!("{path}.filters[{at}]"), message));
        }
    }

    /// A route whose requests go on as they come.
    fn of_clients(
        &mut self,
        route: &Route,
        codecs: &[Arc<dyn Codec>],
        config: &Config,
        path: &str,
    ) {
        for cluster in reached(route, config) {
            let speaks = rpc(cluster);
            let fits = match speaks {
                Some(speaks) => codecs.iter().any(|codec| codec.name() == speaks),
                None => codecs.is_empty(),
            };
            if fits {
                continue;
            }
            let name = &cluster.name;
            let instead = match speaks {
                Some("dubbo" | "bolt") if codecs.is_empty() => {
                    ", or the route has to have the filter `transcode`"
                }
                Some(_) | None => "",
            };
            let speaks = speaks.map_or("HTTP".to_owned(), |speaks| format!("`{speaks}`"));
            let message = format!(
                "a route leads to the cluster `{name}`, which speaks {speaks}: both have to speak the same{instead}"
            );
            let place = format!("{path}.protocol");
            let error = PathError::new(place, message);
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
        }
    }

    /// A route of whose requests a filter makes calls.
    fn of_filter(&mut self, route: &Route, protocol: &str, config: &Config, place: &str) {
        let mut clusters = reached(route, config).peekable();
        if clusters.peek().is_none() {
            let message = "the route leads to no cluster: `transcode` makes calls for one";
            self.errors.push(PathError::new(place, message));
        }
        for cluster in clusters {
            let name = &cluster.name;
            let message = if rpc(cluster) != Some(protocol) {
                format!(
                    "`transcode` makes calls of `{protocol}`: write `protocol: {protocol}` in the cluster `{name}`, to which the route leads"
                )
            } else if cluster.rpc.bound {
                format!(
                    "the cluster `{name}` is `rpc: {{ bound: true }}`, which gives each client of `{protocol}` a connection of its own: clients of HTTP have none"
                )
            } else {
                continue;
            };
            let error = PathError::new(place, message);
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
        }
    }
}

/// What a route's filters make of its requests.
enum Made {
    Nothing,
    /// Calls of that protocol; the filter's place.
    Calls(&'static str, usize),
    /// There is a second, at that place.
    Twice(usize),
}

fn made(filters: &Filters) -> Made {
    let all = filters.iter().enumerate();
    let mut making = all.filter_map(|(at, filter)| Some((at, filter.calls()?)));
    match (making.next(), making.next()) {
        (None, _) => Made::Nothing,
        (Some((at, protocol)), None) => Made::Calls(protocol, at),
        (Some(_), Some((second, _))) => Made::Twice(second),
    }
}

/// The RPC protocol that a cluster speaks, if it does.
fn rpc(cluster: &config::Cluster) -> Option<&str> {
    match &cluster.protocol {
        UpstreamProtocol::Rpc(name) => Some(name.as_str()),
        UpstreamProtocol::Auto
        | UpstreamProtocol::Http1
        | UpstreamProtocol::Http2
        | UpstreamProtocol::SameAsClient => None,
    }
}

/// The clusters to which a route leads, and that of its mirror.
fn reached<'c>(
    route: &Route,
    config: &'c Config,
) -> impl Iterator<Item = &'c config::Cluster> + use<'c> {
    let names: Vec<Name> = match &route.action {
        Action::Forward(Forward { config, .. }) => {
            let mirror = config.mirror.iter().map(|mirror| mirror.cluster.clone());
            let clusters = config.clusters.iter().map(|to| to.cluster.clone());
            clusters.chain(mirror).collect()
        }
        Action::Respond(_) | Action::Redirect(_) => Vec::new(),
    };
    config
        .clusters
        .iter()
        .filter(move |cluster| names.contains(&cluster.name))
}
