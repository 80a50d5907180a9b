//! Clusters of many hosts: what a pick costs by algorithm and number, what a change of one host costs control and a core, and
//! what a host costs in memory.
//!
//! Among 100,000 hosts each pick is of a host that the core has never asked: what it costs is mostly to make the core's side of it.

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use ringway_config::{Balance, Choices, HashFunction};
use ringway_engine::{Picker, Updater};

use crate::Micro;
use crate::picks::pick;

const MANY: u32 = 100_000;
const LEAST: Balance = Balance::LeastRequest(Choices {
    picked: 2,
    full_scan: 0,
});
const EWMA: Balance = Balance::PeakEwma {
    choices: Choices {
        picked: 2,
        full_scan: 0,
    },
    decay: Duration::from_secs(10),
};
const RING: Balance = Balance::RingHash {
    min_size: 1024,
    max_size: 8 << 20,
    function: HashFunction::XxHash,
};
const MAGLEV: Balance = Balance::Maglev { table_size: 65_537 };

/// A line for a step with that many instructions at most.
macro_rules! micro {
    ($name:literal, $limit:literal, $run:expr) => {
        Micro {
            name: $name,
            limit: $limit,
            run: $run,
        }
    };
}

pub(crate) const MICROS: &[Micro] = &[
    micro!("round_robin_of_10", 340, |n| pick(
        Balance::RoundRobin,
        10,
        n
    )),
    micro!("round_robin_of_1000", 340, |n| pick(
        Balance::RoundRobin,
        1_000,
        n
    )),
    micro!("round_robin_of_100000", 4_370, |n| pick(
        Balance::RoundRobin,
        MANY,
        n
    )),
    micro!("random_of_10", 385, |n| pick(Balance::Random, 10, n)),
    micro!("random_of_1000", 680, |n| pick(Balance::Random, 1_000, n)),
    micro!("random_of_100000", 4_430, |n| pick(
        Balance::Random,
        MANY,
        n
    )),
    micro!("least_request_of_10", 650, |n| pick(LEAST, 10, n)),
    micro!("least_request_of_1000", 1_355, |n| pick(LEAST, 1_000, n)),
    micro!("least_request_of_100000", 4_800, |n| pick(LEAST, MANY, n)),
    micro!("peak_ewma_of_10", 985, |n| pick(EWMA, 10, n)),
    micro!("peak_ewma_of_1000", 1_690, |n| pick(EWMA, 1_000, n)),
    micro!("peak_ewma_of_100000", 4_820, |n| pick(EWMA, MANY, n)),
    micro!("ring_hash_of_10", 440, |n| pick(RING, 10, n)),
    micro!("ring_hash_of_1000", 315, |n| pick(RING, 1_000, n)),
    micro!("ring_hash_of_100000", 4_390, |n| pick(RING, MANY, n)),
    micro!("maglev_of_10", 300, |n| pick(MAGLEV, 10, n)),
    micro!("maglev_of_1000", 525, |n| pick(MAGLEV, 1_000, n)),
    micro!("maglev_of_100000", 4_170, |n| pick(MAGLEV, MANY, n)),
    micro!(
        "control_replaces_one_of_100000_round_robin",
        16_900_000,
        |n| replace(Balance::RoundRobin, n)
    ),
    micro!(
        "control_replaces_one_of_100000_least_request",
        16_900_000,
        |n| replace(LEAST, n)
    ),
    micro!(
        "control_replaces_one_of_100000_ring_hash",
        28_700_000,
        |n| replace(RING, n)
    ),
    micro!("control_replaces_one_of_100000_maglev", 35_100_000, |n| {
        replace(MAGLEV, n)
    }),
    micro!("core_takes_one_of_100000_over", 1_280, take_over),
];

fn replace(balance: Balance, times: u32) {
    let Some(mut updater) = Updater::new(balance, MANY) else {
        return;
    };
    for _ in 0..times {
        assert!(black_box(&mut updater).replace_one(), "it was built");
    }
}

fn take_over(times: u32) {
    let Some(mut updater) = Updater::new(Balance::RoundRobin, MANY) else {
        return;
    };
    assert!(updater.replace_one(), "it was built");
    for _ in 0..times {
        black_box(&updater).take_over();
    }
}

/// Prints what a host costs in memory: control's record and what all cores share, and a core's own once it has asked it.
pub(crate) fn memory() {
    let start = resident();
    let updater = Updater::new(Balance::RoundRobin, MANY);
    let shared = resident();
    println!("| what a host costs in memory | bytes |\n|---|---|");
    println!(
        "| its record, its numbers and its place in the sets, once | {} |",
        each(start, shared)
    );
    let picker = Picker::new(Balance::RoundRobin, MANY);
    let before = resident();
    for _ in 0..MANY * 4 {
        black_box(picker.pick());
    }
    println!(
        "| a core's side of it, once asked | {} |",
        each(before, resident())
    );
    drop((updater, picker));
}

fn each(from: u64, to: u64) -> u64 {
    to.saturating_sub(from) / u64::from(MANY)
}

/// The bytes of this process that are in memory.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
