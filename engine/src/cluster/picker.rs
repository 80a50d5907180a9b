//! Picking alone, as the micro-benchmarks repeat it: a core's side of a cluster whose hosts nobody connects to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{self as config, Balance, Name};

use super::{Cluster, ClusterSpec, HostSpec};
use crate::observe::Stats;
use crate::rng::Rng;

/// A cluster to pick from.
pub struct Picker {
    cluster: Cluster,
    rng: Rng,
}

impl Picker {
    /// So many hosts, in weights of 1, 2, 3, 1, 2, 3…
    pub fn new(balance: Balance, hosts: u16) -> Self {
        let stats = Stats::new(1);
        let name = Name::new("picker");
        let host = |at: u16| {
            let address = SocketAddr::from(([127, 0, 0, 1], at + 1));
            let label = Name::new(&address.to_string());
            let stats = stats.host(&name, &label);
            HostSpec {
                address: address.into(),
                label,
                weight: u32::from(at % 3) + 1,
                stats,
            }
        };
        let spec = ClusterSpec {
            config: config::Cluster {
                name: name.clone(),
                balance,
                endpoints: Vec::new(),
                connect_timeout: Duration::from_secs(2),
                first_byte_timeout: None,
                pool: config::Pool::default(),
                dns_refresh: Duration::from_secs(30),
            },
            hosts: (0..hosts).map(host).collect(),
            stats: stats.cluster(&name),
        };
        let rng = Rng::new(1);
        let cluster = Cluster::new(&Arc::new(spec), 0, &rng, None);
        Self { cluster, rng }
    }

    /// The index of the host that the next request goes to.
    pub fn pick(&self) -> Option<usize> {
        let picked = self.cluster.pick(&[], &self.rng);
        picked.ok().map(|(index, _)| index)
    }
}
