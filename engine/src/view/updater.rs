//! An update alone, as the micro-benchmarks repeat it: a cluster of many hosts, of which each time one is another.

use std::net::SocketAddr;
use std::sync::Arc;

use ringway_config::{Balance, Cluster, Config, Endpoint, EndpointAddress, Name};

use super::View;
use crate::filter::Registry;
use crate::observe::Stats;
use crate::rng::Rng;
use crate::snapshot::{Inputs, Snapshot};

/// Control's and a core's side of a cluster whose hosts nobody connects to.
pub struct Updater {
    registry: Registry,
    stats: Arc<Stats>,
    config: Config,
    /// What the core has, and what it is to take over.
    view: View,
    last: Arc<Snapshot>,
    rng: Rng,
    turn: u32,
}

impl Updater {
    /// So many hosts, of one weight; none where a snapshot cannot be built of them.
    pub fn new(balance: Balance, hosts: u32) -> Option<Self> {
        let endpoints: Vec<Endpoint> = (0..hosts).map(|at| endpoint(10, at)).collect();
        let cluster = Cluster {
            balance,
            ..Cluster::new(Name::new("many"), endpoints)
        };
        let config = Config {
            clusters: vec![cluster],
            ..Config::default()
        };
        let (registry, stats, rng) = (Registry::new(), Arc::new(Stats::new(1)), Rng::new(1));
        let inputs = Inputs::default();
        let last = Snapshot::build(&config, &registry, &inputs, &stats, None).ok()?;
        let view = View::empty().next(&last, &[], 0, &rng);
        Some(Self {
            registry,
            stats,
            config,
            view,
            last,
            rng,
            turn: 0,
        })
    }

    /// Control's part: another host stands where one stood, and all that picks go by follows. Whether it was built.
    pub fn replace_one(&mut self) -> bool {
        self.turn += 1;
        let Some(cluster) = self.config.clusters.first_mut() else {
            return false;
        };
        let middle = cluster.endpoints.len() / 2;
        let other = endpoint(11, self.turn);
        cluster.endpoints = cluster.endpoints.spliced(middle..middle + 1, &[other]);
        let (inputs, last) = (Inputs::default(), Some(&self.last));
        let next = Snapshot::build(&self.config, &self.registry, &inputs, &self.stats, last);
        let Ok(next) = next else { return false };
        self.last = next;
        true
    }

    /// A core's part: it takes the newest snapshot over from the first one.
    pub fn take_over(&self) {
        let next = self.view.next(&self.last, &[], 0, &self.rng);
        self.view.retire(&next);
    }
}

fn endpoint(net: u8, at: u32) -> Endpoint {
    let [_, a, b, c] = at.to_be_bytes();
    let address = SocketAddr::from(([net, a, b, c], 80));
    Endpoint::new(EndpointAddress::Ip(address))
}
