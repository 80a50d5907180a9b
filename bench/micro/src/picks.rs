//! Picking a host, and counting it.

use std::hint::black_box;

use ringway_config::{Balance, Choices};
use ringway_engine::Picker;

use crate::Micro;

pub(crate) const MICROS: &[Micro] = &[
    Micro {
        name: "pick_round_robin_of_1",
        limit: 320,
        run: |times| pick(Balance::RoundRobin, 1, times),
    },
    Micro {
        name: "pick_round_robin_of_20",
        limit: 350,
        run: |times| pick(Balance::RoundRobin, 20, times),
    },
    Micro {
        name: "pick_random_of_20",
        limit: 400,
        run: |times| pick(Balance::Random, 20, times),
    },
    Micro {
        name: "pick_least_request_of_20",
        limit: 680,
        run: |times| pick(Balance::LeastRequest(Choices::default()), 20, times),
    },
];

pub(crate) fn pick(balance: Balance, hosts: u32, times: u32) {
    let picker = Picker::new(balance, hosts);
    for _ in 0..times {
        let picked = black_box(&picker).pick();
        debug_assert!(picked.is_some_and(|index| index < hosts as usize));
        black_box(picked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_picked() {
        // In a test build each repetition asserts it.
        for micro in MICROS {
            (micro.run)(3);
        }
    }
}
