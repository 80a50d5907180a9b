//! What a seed makes of a cluster and of its clients.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_config::{
    Balance, Choices, Cluster, ClusterLimits, Endpoint, EndpointAddress, FailureRate, HealthCheck,
    Limits, Localities, Locality, Name, Outlier, Percent, Placement, Probe,
};
use ringway_engine::rng::Rng;

use super::millis;

/// Of so many addresses some are hosts.
pub(super) const ADDRESSES: u16 = 10;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) cores: usize,
    /// Between two requests, on average.
    pub(super) pause: Duration,
    /// A try's limit.
    pub(super) limit: Duration,
    /// Tries at most.
    pub(super) tries: usize,
    /// Whether there are two priorities.
    priorities: bool,
}

fn some<T>(rng: &Rng, one_in: u64, value: impl FnOnce() -> T) -> Option<T> {
    (rng.below(one_in) != 0).then(value)
}

fn percent(rng: &Rng, from: u64, to: u64) -> Percent {
    Percent::new((from + rng.below(to - from + 1)) as f64).unwrap()
}

impl Plan {
    pub(super) fn new(rng: &Rng) -> Self {
        Self {
            cores: 1 + rng.below(3) as usize,
            pause: millis(8 + rng.below(30)),
            limit: millis(100 + rng.below(200)),
            tries: 1 + rng.below(3) as usize,
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
            locality: zone(ZONES[usize::from(port) % ZONES.len()]),
            ..Endpoint::new(EndpointAddress::Ip(SocketAddr::from(([10, 0, 0, 1], port))))
        };
        ports.into_iter().map(endpoint).collect()
    }
}

const ZONES: [&str; 2] = ["a", "b"];

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
            min_size: 256,
            max_size: 512,
            function: Default::default(),
        },
        5 => Balance::Maglev { table_size: 251 },
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
        interval: millis(100 + rng.below(500)),
        unhealthy_interval: some(rng, 2, || millis(100 + rng.below(300))),
        no_traffic_interval: None,
        timeout: millis(50 + rng.below(200)),
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
        interval: millis(300 + rng.below(1_000)),
        base_ejection: millis(200 + rng.below(800)),
        max_ejection: millis(1_000 + rng.below(1_000)),
        jitter: millis(rng.below(100)),
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
        connections: few(30),
        pending: None,
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
