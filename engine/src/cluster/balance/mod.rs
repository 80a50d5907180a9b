//! Which of the hosts: an algorithm a file. Randomness is an argument, so that each can be checked with seeds.
//!
//! What an algorithm knows of its hosts (weights summed up, rings, tables) is made once, on the control thread, and shared by
//! all cores; what moves with each pick is a [`Cursor`] of the core.

mod least;
mod maglev;
mod random;
mod request_round_robin;
mod ring_hash;
mod round_robin;
mod warm;
mod weights;

use std::cell::Cell;
use std::rc::Rc;

use ringway_config::{Balance, SlowStart};

use super::Host;
use crate::rng::Rng;

use least::Least;
pub(super) use least::cost_now;
use maglev::Maglev;
use ring_hash::Ring;
use round_robin::Turns;
use warm::Warm;
use weights::Weights;

/// What a pick may ask about the request.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Hosts (their slots) that this request has tried.
    pub(crate) tried: &'a [usize],
    /// This core's chance.
    pub(crate) rng: &'a Rng,
    /// The request's hash, where its route makes one of it.
    pub(crate) hash: Option<u64>,
    /// The metadata that the host must have.
    pub(crate) metadata: Option<MetadataMatch<'a>>,
    /// The host that the client's cookie names.
    pub(crate) sticky: Option<u64>,
    /// Priorities that are not to be asked again, a bit for each.
    pub(crate) avoid: u128,
}

impl<'a> Ask<'a> {
    /// A request of which nothing is known.
    pub(crate) fn new(rng: &'a Rng) -> Self {
        Self {
            tried: &[],
            rng,
            hash: None,
            metadata: None,
            sticky: None,
            avoid: 0,
        }
    }
}

pub(crate) use super::sets::MetadataMatch;

/// A core's place in the turns of a set of hosts.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    at: Cell<u32>,
    round: Cell<u32>,
}

impl Cursor {
    /// Cores begin at different hosts, or all would ask the first one first.
    pub(super) fn random(rng: &Rng) -> Self {
        Self {
            at: Cell::new(rng.next() as u32),
            round: Cell::new(rng.next() as u32),
        }
    }
}

/// What algorithms must know of the hosts of a set.
pub(super) struct Members<'a> {
    /// In order.
    pub(super) slots: Vec<u32>,
    /// Of each.
    pub(super) weights: Vec<u32>,
    /// When each came; empty without a slow start.
    pub(super) since: Vec<u64>,
    /// How the host of a slot is called.
    pub(super) label: &'a dyn Fn(u32) -> &'a str,
}

/// The set of before, and the slots that are others than then.
type Last<'a> = Option<(&'a HostSet, &'a [u32])>;

/// Hosts that one pick chooses among.
#[derive(Debug)]
pub(super) struct HostSet {
    /// Tells its cursor from those of others.
    pub(super) key: u64,
    slots: Box<[u32]>,
    warm: Option<Warm>,
    plan: Plan,
}

#[derive(Debug)]
enum Plan {
    RoundRobin(Turns),
    Random(Weights),
    Least(Weights, Least),
    Ring(Ring),
    Maglev(Maglev),
    RequestRoundRobin,
}

impl HostSet {
    /// Makes what the algorithm needs; what is dear, from what was made before.
    pub(super) fn build(
        (balance, slow_start): (&Balance, Option<&SlowStart>),
        members: Members<'_>,
        key: u64,
        last: Last<'_>,
    ) -> Self {
        let weights = &members.weights;
        let plan = match *balance {
            Balance::RoundRobin => Plan::RoundRobin(Turns::new(weights)),
            Balance::Random => Plan::Random(Weights::new(weights)),
            Balance::LeastRequest(choices) => {
                Plan::Least(Weights::new(weights), Least::Requests(choices))
            }
            Balance::LeastConnection(choices) => {
                Plan::Least(Weights::new(weights), Least::Connections(choices))
            }
            Balance::PeakEwma { choices, decay } => {
                Plan::Least(Weights::new(weights), Least::Time(choices, decay))
            }
            Balance::RingHash {
                min_size,
                max_size,
                function,
            } => Plan::Ring(Ring::new(&members, (min_size, max_size), function, last)),
            Balance::Maglev { table_size } => Plan::Maglev(Maglev::new(&members, table_size, last)),
            Balance::RequestRoundRobin => Plan::RequestRoundRobin,
        };
        Self {
            key,
            warm: slow_start.and_then(|config| Warm::new(config, members.since)),
            slots: members.slots.into_boxed_slice(),
            plan,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slot of a host that is not among those tried; none if there is none.
    pub(super) fn pick(
        &self,
        hosts: &[Option<Rc<Host>>],
        cursor: &Cursor,
        ask: &Ask<'_>,
    ) -> Option<usize> {
        let at = match &self.plan {
            Plan::RoundRobin(turns) => turns.pick(self, cursor, ask),
            Plan::Random(weights) => random::pick(self, weights, ask),
            Plan::Least(weights, least) => least.pick(self, weights, hosts, ask),
            Plan::Ring(ring) => return ring.pick(self, ask),
            Plan::Maglev(maglev) => return maglev.pick(self, ask),
            Plan::RequestRoundRobin => request_round_robin::pick(self, ask),
        };
        self.slot(at?)
    }

    fn len(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, at: usize) -> Option<usize> {
        self.slots.get(at).map(|slot| *slot as usize)
    }

    /// The first host that was not tried, by its slot.
    fn first_free(&self, ask: &Ask<'_>) -> Option<usize> {
        self.slot(self.free_from(0, ask)?)
    }

    /// Whether the host at a place was not tried yet.
    #[inline]
    fn is_free(&self, at: usize, ask: &Ask<'_>) -> bool {
        ask.tried.is_empty() || self.slot(at).is_some_and(|slot| !ask.tried.contains(&slot))
    }

    /// Whether it was not tried, and a host in its slow start takes this one.
    #[inline]
    fn takes(&self, at: usize, ask: &Ask<'_>) -> bool {
        self.is_free(at, ask)
            && self
                .warm
                .as_ref()
                .is_none_or(|warm| warm.takes(at, ask.rng))
    }

    /// The first host from a place on, round to it again, that was not tried.
    fn free_from(&self, start: usize, ask: &Ask<'_>) -> Option<usize> {
        let mut in_turn = (start..self.len()).chain(0..start.min(self.len()));
        in_turn.find(|at| self.is_free(*at, ask))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::HostSpec;
    use crate::cluster::hosts::{Hosts, tests::next};
    use crate::observe::Stats;
    use ringway_config::{Endpoint, EndpointAddress, Name};

    /// Hosts of these weights that nobody connects to: ports 90, 91, … of 127.0.0.1.
    pub(in crate::cluster) fn specs(weights: &[u32]) -> Vec<Arc<HostSpec>> {
        let stats = Stats::new(1);
        let one = |(n, weight): (u16, &u32)| {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], 90 + n));
            Endpoint {
                weight: *weight,
                ..Endpoint::new(EndpointAddress::Ip(address))
            }
        };
        let endpoints: Vec<_> = (0..).zip(weights).map(one).collect();
        let hosts = next(&Hosts::default(), &endpoints, &stats);
        hosts.iter().cloned().collect()
    }

    /// A core's side of them.
    pub(in crate::cluster) fn live(specs: &[Arc<HostSpec>]) -> Vec<Option<Rc<Host>>> {
        let stats = Stats::new(1).cluster(&Name::new("c"));
        specs
            .iter()
            .map(|spec| Some(Rc::new(Host::new(spec, 0, stats.slot(0), None))))
            .collect()
    }

    pub(in crate::cluster) fn set(balance: Balance, specs: &[Arc<HostSpec>]) -> HostSet {
        next_set(balance, specs, None)
    }

    /// A set made from another.
    pub(in crate::cluster) fn next_set(
        balance: Balance,
        specs: &[Arc<HostSpec>],
        last: Last<'_>,
    ) -> HostSet {
        with(specs, |members| {
            HostSet::build((&balance, None), members, 0, last)
        })
    }

    pub(in crate::cluster) fn with<T>(
        specs: &[Arc<HostSpec>],
        then: impl FnOnce(Members<'_>) -> T,
    ) -> T {
        let label = |slot| {
            let host = specs.iter().find(|host| host.slot == slot);
            host.map_or("", |host| host.label.as_str())
        };
        then(Members {
            slots: specs.iter().map(|host| host.slot).collect(),
            weights: specs.iter().map(|host| host.endpoint.weight).collect(),
            since: Vec::new(),
            label: &label,
        })
    }

    /// How often each host is picked.
    pub(in crate::cluster) fn shares(
        set: &HostSet,
        hosts: &[Option<Rc<Host>>],
        picks: usize,
        tried: &[usize],
    ) -> Vec<usize> {
        let rng = Rng::new(42);
        let cursor = Cursor::random(&rng);
        let mut shares = vec![0; set.len()];
        for _ in 0..picks {
            let ask = Ask {
                tried,
                ..Ask::new(&rng)
            };
            shares[set.pick(hosts, &cursor, &ask).expect("a host")] += 1;
        }
        shares
    }

    #[test]
    fn every_algorithm_picks_each_host_once_and_then_none() {
        let every = [
            Balance::RoundRobin,
            Balance::Random,
            Balance::LeastRequest(Default::default()),
            Balance::LeastConnection(ringway_config::Choices {
                picked: 2,
                full_scan: 10,
            }),
            Balance::PeakEwma {
                choices: Default::default(),
                decay: std::time::Duration::from_secs(1),
            },
            Balance::RingHash {
                min_size: 64,
                max_size: 1024,
                function: Default::default(),
            },
            Balance::Maglev { table_size: 61 },
            Balance::RequestRoundRobin,
        ];
        for (balance, seed) in every.into_iter().flat_map(|b| (0..50).map(move |s| (b, s))) {
            let rng = Rng::new(seed);
            let weights: Vec<u32> = (0..1 + rng.below(9))
                .map(|_| 1 + rng.below(128) as u32)
                .collect();
            let specs = specs(&weights);
            let set_of = set;
            let (set, hosts) = (set(balance, &specs), live(&specs));
            let cursor = Cursor::random(&rng);
            let mut tried = Vec::new();
            for _ in &weights {
                let ask = Ask {
                    tried: &tried,
                    hash: Some(seed),
                    ..Ask::new(&rng)
                };
                let slot = set.pick(&hosts, &cursor, &ask).expect("one is left");
                assert!(!tried.contains(&slot), "{balance:?} {seed}");
                tried.push(slot);
            }
            let ask = Ask {
                tried: &tried,
                hash: Some(seed),
                ..Ask::new(&rng)
            };
            assert_eq!(set.pick(&hosts, &cursor, &ask), None, "{balance:?} {seed}");
            let empty = set_of(balance, &[]);
            assert_eq!(
                empty.pick(&[], &cursor, &Ask::new(&rng)),
                None,
                "{balance:?}"
            );
        }
    }
}
