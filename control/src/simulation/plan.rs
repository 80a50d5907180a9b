//! What a seed makes of a cluster and of its clients.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_config::{
    Balance, Choices, Cluster, ClusterLimits, Cookie, Endpoint, EndpointAddress, FailureRate,
    Fallback, HealthCheck, Limits, Localities, Locality, Name, Outlier, Percent, Placement, Probe,
    Selector, SelectorFallback, SlowStart, Sticky, Subsets,
};
use ringway_engine::rng::Rng;

use super::millis;

/// Of so many addresses some are hosts.
pub(super) const ADDRESSES: u16 = 6;
/// What hosts may be told apart by.
pub(super) const STAGES: [&str; 2] = ["a", "b"];
/// Clients with a cookie each.
pub(super) const CLIENTS: u64 = 4;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) cores: usize,
    /// Between two requests, on average.
    pub(super) pause: Duration,
    /// A try's limit.
    pub(super) limit: Duration,
    /// Tries at most.
    pub(super) tries: usize,
    /// So many come at once, at most.
    pub(super) burst: u64,
    /// Whether there are two priorities.
    priorities: bool,
}

/// Mostly: but for one in so many.
fn some<T>(rng: &Rng, one_in: u64, value: impl FnOnce() -> T) -> Option<T> {
    (rng.below(one_in) != 0).then(value)
}

/// Seldom: one in so many.
fn some_of<T>(rng: &Rng, one_in: u64, value: impl FnOnce() -> T) -> Option<T> {
    (rng.below(one_in) == 0).then(value)
}

fn percent(rng: &Rng, from: u64, to: u64) -> Percent {
    Percent::new((from + rng.below(to - from + 1)) as f64).unwrap()
}

impl Plan {
    pub(super) fn new(rng: &Rng) -> Self {
        Self {
            cores: 1 + rng.below(3) as usize,
            pause: millis(8 + rng.below(30)),
            limit: millis(60 + rng.below(100)),
            tries: 1 + rng.below(3) as usize,
            burst: 1 + rng.below(6),
            priorities: rng.below(3) == 0,
        }
    }

    pub(super) fn cluster(&self, rng: &Rng) -> Cluster {
        let placement = Placement {
            panic_threshold: percent(rng, 0, 100),
            localities: localities(rng),
            ..Placement::default()
        };
        Cluster {
            balance: balance(rng),
            placement,
            health_check: some(rng, 4, || health(rng)),
            outlier: some(rng, 4, || outlier(rng)),
            limits: limits(rng),
            slow_start: some_of(rng, 4, || slow_start(rng)),
            subsets: some_of(rng, 3, || subsets(rng)),
            sticky: some_of(rng, 3, || sticky(rng)),
            ..Cluster::new(Name::new("simulated"), self.endpoints(rng, 2))
        }
    }

    /// Some of the addresses, so many at least.
    pub(super) fn endpoints(&self, rng: &Rng, least: u64) -> Vec<Endpoint> {
        let mut ports: Vec<u16> = (1..=ADDRESSES).collect();
        let count = least + rng.below(u64::from(ADDRESSES) + 1 - least);
        while ports.len() as u64 > count {
            ports.swap_remove(rng.below(ports.len() as u64) as usize);
        }
        let endpoint = |port: u16| Endpoint {
            // What is said of an address is always the same, or it would be another host.
            weight: u32::from(port % 3) + 1,
            priority: u8::from(self.priorities && port > ADDRESSES / 2),
            locality: zone(ZONES[usize::from(port / 2) % ZONES.len()]),
            metadata: stage(STAGES[usize::from(port) % STAGES.len()]),
            ..Endpoint::new(EndpointAddress::Ip(SocketAddr::from(([10, 0, 0, 1], port))))
        };
        ports.into_iter().map(endpoint).collect()
    }
}

const ZONES: [&str; 2] = ["a", "b"];

/// What is said of a host of a stage, and asked for by who wants one.
pub(super) fn stage(name: &str) -> Vec<(String, String)> {
    vec![("stage".to_owned(), name.to_owned())]
}

fn slow_start(rng: &Rng) -> SlowStart {
    SlowStart {
        window: millis(100 + rng.below(1_000)),
        min_weight: percent(rng, 5, 50),
    }
}

fn subsets(rng: &Rng) -> Subsets {
    let fallbacks = [Fallback::None, Fallback::Any, Fallback::Default];
    Subsets {
        selectors: vec![Selector {
            keys: vec!["stage".to_owned()],
            fallback: SelectorFallback::Cluster,
        }],
        fallback: fallbacks[rng.below(3) as usize],
        default: stage(STAGES[0]),
    }
}

fn sticky(rng: &Rng) -> Sticky {
    Sticky {
        cookie: Cookie {
            name: "host".to_owned(),
            ttl: None,
            path: None,
        },
        strict: rng.below(3) == 0,
    }
}

fn zone(name: &str) -> Locality {
    Locality {
        zone: name.to_owned(),
        ..Locality::default()
    }
}

fn localities(rng: &Rng) -> Localities {
    match rng.below(6) {
        0 => Localities::Weighted(ZONES.map(zone).into_iter().zip([3, 1]).collect()),
        1 => Localities::ZoneAware {
            zone: "a".to_owned(),
            source: None,
            min_hosts: 1 + rng.below(5) as u32,
        },
        _ => Localities::Ignored,
    }
}

fn balance(rng: &Rng) -> Balance {
    let choices = Choices {
        picked: 2 + rng.below(2) as u32,
        full_scan: 6 * rng.below(2) as u32,
    };
    match rng.below(10) {
        0 => Balance::Random,
        1 => Balance::LeastRequest(choices),
        2 => Balance::LeastConnection(choices),
        3 => Balance::PeakEwma {
            choices,
            decay: Duration::from_secs(1),
        },
        4 => Balance::RingHash {
            min_size: 64,
            max_size: 128,
            function: Default::default(),
        },
        5 => Balance::Maglev { table_size: 31 },
        6 => Balance::RequestRoundRobin,
        _ => Balance::RoundRobin,
    }
}

fn health(rng: &Rng) -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp {
            send: String::new(),
            expect: String::new(),
        },
        interval: millis(50 + rng.below(150)),
        unhealthy_interval: some(rng, 2, || millis(50 + rng.below(100))),
        no_traffic_interval: None,
        timeout: millis(30 + rng.below(90)),
        jitter: percent(rng, 0, 20),
        initial_wait: millis(rng.below(100)),
        unhealthy_after: 1 + rng.below(3) as u32,
        healthy_after: 1 + rng.below(3) as u32,
    }
}

fn outlier(rng: &Rng) -> Outlier {
    Outlier {
        consecutive_5xx: 1 + rng.below(5) as u32,
        consecutive_gateway: 0,
        consecutive_local: 0,
        interval: millis(150 + rng.below(450)),
        base_ejection: millis(80 + rng.below(300)),
        max_ejection: millis(400 + rng.below(400)),
        jitter: millis(rng.below(50)),
        max_ejected: percent(rng, 0, 100),
        success_rate: None,
        failure: some(rng, 2, || FailureRate {
            threshold: percent(rng, 40, 90),
            min_hosts: 1 + rng.below(3) as u32,
            requests: 3 + rng.below(5) as u32,
        }),
    }
}

fn limits(rng: &Rng) -> ClusterLimits {
    let few = |most: u64| some(rng, 2, || 1 + rng.below(most) as u32);
    ClusterLimits {
        connections: few(8),
        pending: some(rng, 2, || rng.below(6) as u32),
        default: Limits {
            requests: few(20),
            retries: few(5),
            retry_budget: some(rng, 2, || percent(rng, 0, 100)),
        },
        high: Limits::default(),
        host_connections: few(10),
        host_requests: few(8),
    }
}
