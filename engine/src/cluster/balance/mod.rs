//! Which of the hosts: an algorithm a file. Randomness is an argument, so that each can be checked with seeds.

mod least_request;
mod random;
mod round_robin;
mod weights;

use std::rc::Rc;

pub(super) use least_request::LeastRequest;
pub(super) use random::Random;
pub(super) use round_robin::RoundRobin;
use weights::Weights;

use super::Host;
use crate::rng::Rng;

/// What a pick may ask about the request.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Hosts (their indices) that this request has tried: fewer than there are hosts.
    pub(crate) tried: &'a [usize],
    /// This core's chance.
    pub(crate) rng: &'a Rng,
}

/// An algorithm and its state on one core.
pub(super) trait Balance {
    /// The index of a host that is not among those tried; none if there is none.
    fn pick(&mut self, hosts: &[Rc<Host>], ask: &Ask<'_>) -> Option<usize>;
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::HostSpec;
    use crate::observe::Stats;

    /// Hosts of a cluster that nobody connects to.
    pub(super) fn hosts(count: usize) -> Vec<Rc<Host>> {
        let stats = Stats::new(1);
        let cluster = ringway_config::Name::new("c");
        let host = |n: usize| {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1000 + n as u16));
            let label = ringway_config::Name::new(&address.to_string());
            let spec = HostSpec {
                address: address.into(),
                weight: 1,
                stats: stats.host(&cluster, &label),
                label,
            };
            Rc::new(Host::new(&spec, 0, stats.cluster(&cluster).slot(0)))
        };
        (0..count).map(host).collect()
    }

    /// How often each host is picked.
    pub(super) fn shares(
        balance: &mut dyn Balance,
        hosts: &[Rc<Host>],
        picks: usize,
        tried: &[usize],
    ) -> Vec<usize> {
        let rng = Rng::new(42);
        let mut shares = vec![0; hosts.len()];
        for _ in 0..picks {
            shares[balance
                .pick(hosts, &Ask { tried, rng: &rng })
                .expect("a host")] += 1;
        }
        shares
    }
}
