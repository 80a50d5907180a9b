//! Picking alone, as the micro-benchmarks repeat it: a core's side of a cluster whose hosts nobody connects to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ringway_config::{self as config, Balance, Endpoint, EndpointAddress, Name};

use super::{Ask, At, Cluster, Hosts, Maker, Wanted};
use crate::cluster::spec::assemble;
use crate::observe::Stats;
use crate::rng::Rng;

/// A cluster to pick from.
pub struct Picker {
    cluster: Cluster,
    rng: Rng,
}

impl Picker {
    /// So many hosts, in weights of 1, 2, 3, 1, 2, 3…
    pub fn new(balance: Balance, hosts: u32) -> Self {
        let stats = Stats::new(1);
        let name = Name::new("picker");
        let endpoints: Vec<Endpoint> = (0..hosts).map(endpoint).collect();
        let config = config::Cluster {
            balance,
            ..config::Cluster::new(name.clone(), Vec::new())
        };
        let wanted: Vec<Wanted<'_>> = endpoints.iter().filter_map(wanted).collect();
        let maker = Maker {
            cluster: &name,
            stats: &stats,
            checked: false,
        };
        let hosts = Hosts::default().next(&wanted, maker);
        let spec = assemble(config, hosts, HashMap::new(), &stats, None);
        let rng = Rng::new(1);
        let cluster = Cluster::new(&Arc::new(spec), 0, &rng, None);
        Self { cluster, rng }
    }

    /// The index of the host that the next request goes to.
    pub fn pick(&self) -> Option<usize> {
        let picked = self.cluster.pick(&Ask::new(&self.rng));
        picked.ok().map(|(index, _)| index)
    }
}

fn endpoint(at: u32) -> Endpoint {
    let port = u16::try_from(at % 60_000 + 1).unwrap_or(1);
    let [_, b, c, d] = (at / 60_000).to_be_bytes();
    let address = SocketAddr::from(([10, b, c, d], port));
    Endpoint {
        weight: at % 3 + 1,
        ..Endpoint::new(EndpointAddress::Ip(address))
    }
}

fn wanted(endpoint: &Endpoint) -> Option<Wanted<'_>> {
    let EndpointAddress::Ip(address) = endpoint.address else {
        return None;
    };
    let at = At::Ip(address);
    Some(Wanted { at, endpoint })
}
