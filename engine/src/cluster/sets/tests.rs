//! Picks through priorities, localities and subsets.

use std::net::SocketAddr;

use ringway_config::{
    Balance, Cookie, Endpoint, EndpointAddress, Fallback, Localities, Locality, Name, Percent,
    Placement, Selector, SelectorFallback, Sticky, Subsets,
};

use super::*;
use crate::cluster::Mark;
use crate::cluster::hosts::tests::next;
use crate::observe::Stats;

/// A cluster and a core's side of it, which nobody connects from.
struct Pick {
    config: Cluster,
    hosts: Hosts,
    live: Live,
    rng: Rng,
}

fn endpoint(n: u32) -> Endpoint {
    let address = SocketAddr::from(([127, 0, (n >> 8) as u8, n as u8], 80));
    Endpoint::new(EndpointAddress::Ip(address))
}

impl Pick {
    fn new(config: Cluster) -> Self {
        let endpoints: Vec<Endpoint> = config.endpoints.iter().cloned().collect();
        let hosts = next(&Hosts::default(), &endpoints, &Stats::new(1));
        let source = Source {
            config: &config,
            hosts: &hosts,
            zones: &HashMap::new(),
        };
        let sets = ClusterSets::build(source);
        let rng = Rng::new(7);
        let live = Live::new(&Arc::new(sets), &rng);
        Self {
            config,
            hosts,
            live,
            rng,
        }
    }

    fn of(endpoints: Vec<Endpoint>) -> Self {
        Self::new(Cluster::new(Name::new("c"), endpoints))
    }

    fn mark(&mut self, slots: impl IntoIterator<Item = u32>, mark: Mark, on: bool) {
        let slots: Vec<u32> = slots.into_iter().collect();
        for slot in &slots {
            self.hosts.get(*slot).unwrap().state.mark(mark, on);
        }
        let source = Source {
            config: &self.config,
            hosts: &self.hosts,
            zones: &HashMap::new(),
        };
        let sets = self.live.sets.next(source, &self.hosts, &slots);
        self.live.exchange(&Arc::new(sets));
    }

    /// Per cents of picks that each host gets.
    fn shares(&self, ask: Ask<'_>) -> Vec<u32> {
        let mut seen = vec![0_u32; self.hosts.slots()];
        for _ in 0..10_000 {
            seen[self.live.pick(&[], &ask).expect("a host")] += 1;
        }
        seen.iter().map(|n| (n + 50) / 100).collect()
    }

    fn ask(&self) -> Ask<'_> {
        Ask::new(&self.rng)
    }
}

fn metadata(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

/// Two priorities of so many hosts.
fn priorities(first: u32, second: u32) -> Pick {
    let of = |n| Endpoint {
        priority: u8::from(n >= first),
        ..endpoint(n)
    };
    Pick::of((0..first + second).map(of).collect())
}

#[test]
fn the_next_priority_gets_what_the_first_cannot_carry() {
    let mut pick = priorities(4, 1);
    assert_eq!(pick.shares(pick.ask()), [25, 25, 25, 25, 0]);
    pick.mark([0, 1], Mark::Unhealthy, true);
    // Half of the hosts, times 1.4: 70 per cent.
    let shares = pick.shares(pick.ask());
    assert!(shares[4].abs_diff(30) <= 2 && shares[0] == 0, "{shares:?}");
    pick.mark([2, 3], Mark::Ejected, true);
    assert_eq!(pick.shares(pick.ask()), [0, 0, 0, 0, 100]);
    pick.mark([0, 1, 2, 3], Mark::Unhealthy, false);
    pick.mark([2, 3], Mark::Ejected, false);
    assert_eq!(pick.shares(pick.ask())[4], 0);
}

#[test]
fn with_nobody_healthy_all_are_asked() {
    let mut pick = priorities(2, 2);
    pick.mark(0..4, Mark::Unhealthy, true);
    assert_eq!(pick.shares(pick.ask()), [25, 25, 25, 25]);
    // Without a panic threshold, nobody is.
    let mut config = pick.config.clone();
    config.placement.panic_threshold = Percent::new(0.0).unwrap();
    let mut pick = Pick::new(config);
    pick.mark(0..4, Mark::Unhealthy, true);
    assert_eq!(pick.live.pick(&[], &pick.ask()), None);
}

#[test]
fn in_panic_the_part_of_degraded_hosts_goes_to_all() {
    let mut config = priorities(2, 5).config;
    config.placement.panic_threshold = Percent::new(34.0).unwrap();
    let mut pick = Pick::new(config);
    pick.mark([0, 2, 3, 4, 5], Mark::Unhealthy, true);
    pick.mark([6], Mark::Degraded, true);
    // Half of the first priority is healthy (70 per cent), a fifth of the second degraded (28), which is a cause for panic there.
    let shares = pick.shares(pick.ask());
    assert!(shares[1].abs_diff(71) <= 2, "{shares:?}");
    assert!(
        shares[2..].iter().all(|share| share.abs_diff(6) <= 1),
        "{shares:?}"
    );
}

#[test]
fn degraded_hosts_are_asked_for_what_is_left() {
    let mut pick = priorities(4, 0);
    pick.mark([0], Mark::Degraded, true);
    assert_eq!(pick.shares(pick.ask())[0], 0);
    pick.mark([1, 2], Mark::Unhealthy, true);
    // A quarter is healthy (35 per cent), a quarter degraded (35): half of it each.
    let shares = pick.shares(pick.ask());
    assert!(
        shares[0].abs_diff(50) <= 2 && shares[3].abs_diff(50) <= 2,
        "{shares:?}"
    );
}

#[test]
fn a_retry_goes_to_another_priority_where_told_or_where_nobody_is_left() {
    let pick = priorities(2, 1);
    let tried = Ask {
        tried: &[0, 1],
        ..pick.ask()
    };
    assert_eq!(pick.shares(tried), [0, 0, 100]);
    // The second priority has no load, so there is no other part to go to than the first.
    let avoid = Ask {
        avoid: 1,
        ..pick.ask()
    };
    assert_eq!(pick.shares(avoid)[2], 0);
    let mut pick = priorities(2, 1);
    pick.mark([0], Mark::Unhealthy, true);
    let avoid = Ask {
        avoid: 1,
        ..pick.ask()
    };
    assert_eq!(pick.shares(avoid), [0, 0, 100]);
    let all = Ask {
        tried: &[0, 1, 2],
        ..pick.ask()
    };
    assert_eq!(pick.live.pick(&[], &all), None);
}

fn zone(name: &str) -> Locality {
    Locality {
        zone: name.to_owned(),
        ..Locality::default()
    }
}

#[test]
fn localities_share_by_weight_and_not_by_hosts() {
    let of = |(n, name): (u32, &str)| Endpoint {
        locality: zone(name),
        ..endpoint(n)
    };
    let endpoints = (0..).zip(["a", "b", "b", "b"]).map(of).collect();
    let config = Cluster {
        placement: Placement {
            localities: Localities::Weighted(vec![(zone("a"), 3), (zone("b"), 1)]),
            ..Placement::default()
        },
        ..Cluster::new(Name::new("c"), endpoints)
    };
    let mut pick = Pick::new(config);
    let shares = pick.shares(pick.ask());
    assert!(
        shares[0].abs_diff(75) <= 2 && shares[1].abs_diff(8) <= 2,
        "{shares:?}"
    );
    pick.mark([0], Mark::Ejected, true);
    assert_eq!(pick.shares(pick.ask()), [0, 33, 33, 33]);
}

#[test]
fn a_further_try_leaves_the_zone_that_takes_everything() {
    let of = |(n, name)| Endpoint {
        locality: zone(name),
        ..endpoint(n)
    };
    let endpoints = [(0, "a"), (1, "b"), (2, "c")].map(of);
    let mut config = Cluster::new(Name::new("c"), endpoints.to_vec());
    config.placement.localities = Localities::ZoneAware {
        zone: "b".to_owned(),
        source: None,
        min_hosts: 1,
    };
    let pick = Pick::new(config);
    assert_eq!(pick.shares(pick.ask()), [0, 100, 0]);
    let mut tried = vec![1];
    for _ in 0..2 {
        let ask = Ask {
            tried: &tried,
            ..pick.ask()
        };
        let other = pick.live.pick(&[], &ask).expect("another zone has a host");
        assert!(!tried.contains(&other));
        tried.push(other);
    }
}

fn selector(keys: &[&str]) -> Selector {
    Selector {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        fallback: SelectorFallback::Cluster,
    }
}

fn subsets(fallback: Fallback) -> Pick {
    let of = |(n, pairs): (u32, &[(&str, &str)])| Endpoint {
        metadata: metadata(pairs),
        ..endpoint(n)
    };
    let all: [&[(&str, &str)]; 4] = [
        &[("stage", "prod"), ("version", "1")],
        &[("stage", "prod"), ("version", "2")],
        &[("stage", "canary"), ("version", "2")],
        &[],
    ];
    Pick::new(Cluster {
        subsets: Some(Subsets {
            selectors: vec![
                selector(&["version"]),
                Selector {
                    fallback: SelectorFallback::Keys(vec!["version".to_owned()]),
                    ..selector(&["stage", "version"])
                },
                Selector {
                    fallback: SelectorFallback::Own(Fallback::None),
                    ..selector(&["stage"])
                },
            ],
            fallback,
            default: match fallback {
                Fallback::Default => metadata(&[("stage", "prod")]),
                Fallback::None | Fallback::Any => Vec::new(),
            },
        }),
        ..Cluster::new(Name::new("c"), (0..).zip(all).map(of).collect())
    })
}

#[test]
fn a_subset_is_found_by_exactly_its_keys() {
    let pick = subsets(Fallback::Any);
    let shares = |pairs: &[(&str, &str)]| {
        let pairs = metadata(pairs);
        let metadata = MetadataMatch::new(&pairs);
        pick.shares(Ask {
            metadata,
            ..pick.ask()
        })
    };
    assert_eq!(shares(&[("version", "1")]), [100, 0, 0, 0]);
    assert_eq!(shares(&[("version", "2")]), [0, 50, 50, 0]);
    assert_eq!(
        shares(&[("stage", "canary"), ("version", "2")]),
        [0, 0, 100, 0]
    );
    assert_eq!(shares(&[("version", "3")]), [25, 25, 25, 25]);
    // Nobody selects by `zone`.
    assert_eq!(shares(&[("zone", "a")]), [25, 25, 25, 25]);
    assert_eq!(pick.shares(pick.ask()), [25, 25, 25, 25]);
}

#[test]
fn what_is_not_there_falls_back_as_told() {
    const NOBODY: [u32; 4] = [0; 4];
    let check = |fallback, asked: &[(&str, &str)], expect: [u32; 4]| {
        let pick = subsets(fallback);
        let pairs = metadata(asked);
        let ask = Ask {
            metadata: MetadataMatch::new(&pairs),
            ..pick.ask()
        };
        let shares = match pick.live.pick(&[], &ask) {
            Some(_) => pick.shares(ask),
            None => NOBODY.to_vec(),
        };
        assert_eq!(shares, expect, "{fallback:?} {asked:?}");
    };
    // Hosts that are not there, keys that nobody selects by, and nothing asked for at all.
    let lacking: [&[(&str, &str)]; 3] = [&[("version", "3")], &[("zone", "a")], &[]];
    for asked in lacking {
        check(Fallback::None, asked, NOBODY);
        check(Fallback::Any, asked, [25; 4]);
        check(Fallback::Default, asked, [50, 50, 0, 0]);
    }
    for fallback in [Fallback::None, Fallback::Any, Fallback::Default] {
        // A selector's own fallback comes before the cluster's.
        check(fallback, &[("stage", "test")], NOBODY);
        // With fewer keys: those of the version, whatever their stage.
        check(
            fallback,
            &[("stage", "test"), ("version", "1")],
            [100, 0, 0, 0],
        );
        check(
            fallback,
            &[("stage", "test"), ("version", "2")],
            [0, 50, 50, 0],
        );
    }
    // And where that finds nobody, what its own selector says.
    let asked = [("stage", "test"), ("version", "3")];
    check(Fallback::Default, &asked, [50, 50, 0, 0]);
    check(Fallback::None, &asked, NOBODY);
}

#[test]
fn the_health_of_a_host_moves_its_subsets_too() {
    let mut pick = subsets(Fallback::None);
    let asked = metadata(&[("version", "2")]);
    let ask = |pick: &Pick| {
        let ask = Ask {
            metadata: MetadataMatch::new(&asked),
            ..Ask::new(&pick.rng)
        };
        pick.shares(ask)
    };
    pick.mark([1], Mark::Ejected, true);
    assert_eq!(ask(&pick), [0, 0, 100, 0]);
    pick.mark([1], Mark::Ejected, false);
    assert_eq!(ask(&pick), [0, 50, 50, 0]);
}

#[test]
fn ten_thousand_hosts_by_twenty_keys_are_indexed_once_and_found_in_two_looks() {
    let keys: Vec<String> = (0..20).map(|key| format!("key-{key:02}")).collect();
    let of = |n: u32| Endpoint {
        // Each key has its own number of values: from 1 to about 500.
        metadata: keys
            .iter()
            .zip(0_u32..)
            .map(|(key, at)| (key.clone(), format!("v{}", n % (1 + at * at))))
            .collect(),
        ..endpoint(n)
    };
    let config = Cluster {
        subsets: Some(Subsets {
            selectors: keys.iter().map(|key| selector(&[key])).collect(),
            fallback: Fallback::None,
            default: Vec::new(),
        }),
        ..Cluster::new(Name::new("c"), (0..10_000).map(of).collect())
    };
    let pick = Pick::new(config);
    let index = &pick.live.sets.index;
    // Every host is in a subset of each key, and in no list twice: the work is their product and no more.
    let memberships: usize = index.members().map(<[u32]>::len).sum();
    assert_eq!(memberships, 10_000 * 20);
    assert!(index.longest_chain() <= 2, "{}", index.longest_chain());
    let asked = metadata(&[("key-19", "v17")]);
    let ask = Ask {
        metadata: MetadataMatch::new(&asked),
        ..pick.ask()
    };
    for _ in 0..100 {
        assert_eq!(pick.live.pick(&[], &ask).unwrap() % 362, 17);
    }
}

#[test]
fn a_cookie_leads_back_to_its_host_while_it_may_be_asked() {
    let sticky = |strict| Sticky {
        cookie: Cookie {
            name: "id".to_owned(),
            ttl: None,
            path: None,
        },
        strict,
    };
    for strict in [false, true] {
        let mut pick = Pick::new(Cluster {
            sticky: Some(sticky(strict)),
            balance: Balance::Random,
            ..Cluster::new(Name::new("c"), (0..4).map(endpoint).collect())
        });
        let id = Some(sticky_id(pick.hosts.get(2).unwrap().label.as_str()));
        let ask = |pick: &Pick| {
            let ask = Ask {
                sticky: id,
                ..Ask::new(&pick.rng)
            };
            pick.live.pick(&[], &ask)
        };
        assert!((0..50).all(|_| ask(&pick) == Some(2)));
        pick.mark([2], Mark::Ejected, true);
        assert!((0..50).all(|_| ask(&pick).is_none() == strict && ask(&pick) != Some(2)));
        pick.mark([2], Mark::Ejected, false);
        assert_eq!(ask(&pick), Some(2));
        let unknown = Ask {
            sticky: Some(1),
            ..pick.ask()
        };
        assert_eq!(pick.live.pick(&[], &unknown).is_none(), strict);
    }
}

/// A cluster that tells its hosts apart in every way.
fn varied(endpoints: &[Endpoint], balance: Balance) -> Cluster {
    Cluster {
        balance,
        subsets: Some(Subsets {
            selectors: vec![selector(&["version"]), selector(&["stage", "version"])],
            fallback: Fallback::Default,
            default: metadata(&[("stage", "prod")]),
        }),
        sticky: Some(Sticky {
            cookie: Cookie {
                name: "c".to_owned(),
                ttl: None,
                path: None,
            },
            strict: false,
        }),
        placement: Placement {
            localities: Localities::Weighted(Vec::new()),
            ..Placement::default()
        },
        ..Cluster::new(Name::new("c"), endpoints.to_vec())
    }
}

fn varied_endpoint(rng: &Rng) -> Endpoint {
    let word = |words: [&str; 3]| words[rng.below(3) as usize].to_owned();
    Endpoint {
        priority: rng.below(2) as u8,
        weight: 1 + rng.below(3) as u32,
        locality: Locality {
            zone: word(["a", "b", "c"]),
            ..Default::default()
        },
        metadata: vec![
            ("stage".to_owned(), word(["prod", "canary", "test"])),
            ("version".to_owned(), word(["1", "2", "3"])),
        ],
        ..endpoint(rng.below(200) as u32)
    }
}

fn found(choice: Choice) -> Option<u32> {
    match choice {
        Choice::Subset(at) => Some(at),
        Choice::All | Choice::Nobody => None,
    }
}

/// All that picks go by, in words that do not depend on the order in which subsets were found.
fn told(sets: &ClusterSets) -> String {
    let mut of_subsets = Vec::new();
    for stage in ["prod", "canary", "test"] {
        for version in ["1", "2", "3"] {
            let asked = [
                metadata(&[("version", version)]),
                metadata(&[("stage", stage), ("version", version)]),
            ];
            for pairs in &asked {
                let rules = sets.rules.as_ref().expect("subsets");
                let found = found(sets.index.choose(rules, MetadataMatch::new(pairs)));
                let members = found.and_then(|at| sets.index.members().nth(at as usize));
                let levels = found.and_then(|at| sets.subsets.get(at as usize));
                let levels = levels.map(|sets| (sets.shares.clone(), sets.levels.len()));
                of_subsets.push(format!("{members:?} {levels:?}"));
            }
        }
    }
    let mut sticky: Vec<_> = sets.sticky.iter().collect();
    sticky.sort();
    let rules = sets.rules.as_ref().expect("subsets");
    let default = found(sets.index.choose(rules, None));
    let default = default.and_then(|at| sets.index.members().nth(at as usize));
    format!(
        "{:?} {of_subsets:?} {default:?} {sticky:?} {:?}",
        sets.all,
        sets.census()
    )
}

#[test]
fn sets_made_from_others_are_those_made_from_nothing() {
    let balances = [
        Balance::RoundRobin,
        Balance::Maglev { table_size: 61 },
        Balance::RingHash {
            min_size: 64,
            max_size: 1024,
            function: Default::default(),
        },
    ];
    for seed in 0..60 {
        let (rng, stats) = (Rng::new(seed), Stats::new(1));
        let balance = balances[seed as usize % 3];
        let mut endpoints: Vec<_> = (0..30).map(|_| varied_endpoint(&rng)).collect();
        let mut hosts = next(&Hosts::default(), &endpoints, &stats);
        let zones = HashMap::new();
        let of = |config: &Cluster, hosts: &Hosts, last: Option<(&ClusterSets, &Hosts, &[u32])>| {
            let source = Source {
                config,
                hosts,
                zones: &zones,
            };
            match last {
                Some((last, before, changed)) => last.next(source, before, changed),
                None => ClusterSets::build(source),
            }
        };
        let mut sets = of(&varied(&endpoints, balance), &hosts, None);
        for _ in 0..30 {
            let at = rng.below(endpoints.len() as u64 + 1) as usize;
            match rng.below(4) {
                0 => endpoints.insert(at, varied_endpoint(&rng)),
                1 if at < endpoints.len() && endpoints.len() > 1 => drop(endpoints.remove(at)),
                2 if at < endpoints.len() => endpoints[at] = varied_endpoint(&rng),
                _ => {}
            }
            let later = next(&hosts, &endpoints, &stats);
            let mut changed = later.changed(&hosts).unwrap().to_vec();
            for slot in 0..later.slots() as u32 {
                if let Some(host) = later.get(slot).filter(|_| rng.below(20) == 0) {
                    let marks = [Mark::Unhealthy, Mark::Ejected, Mark::Degraded];
                    let mark = marks[rng.below(3) as usize];
                    host.state.mark(mark, rng.below(2) == 0);
                    changed.push(slot);
                }
            }
            changed.sort_unstable();
            changed.dedup();
            let config = varied(&endpoints, balance);
            sets = of(&config, &later, Some((&sets, &hosts, &changed)));
            hosts = later;
            assert_eq!(told(&sets), told(&of(&config, &hosts, None)), "{seed}");
        }
    }
}
