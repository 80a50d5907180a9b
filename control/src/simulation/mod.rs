//! Balancers, limits, health checks and outlier detection together, in time that is only counted: no sockets, no clock, and all
//! chance from a seed.
//!
//! ```text
//!  requests ─► cores (the engine's own: sets, picks, gates) ─► hosts, each in a mood that changes
//!                 ▲ told, each core in its own time             │ answers, errors, silence; probes too
//!                 └──────────── control (tracks, detector) ◄────┘
//! ```
//!
//! After a wild time, in which hosts fail, come and go, all are well and stay: then everything must be as if nothing had been.

mod mood;
mod oracle;
mod plan;
mod watch;
mod world;

use std::time::{Duration, Instant};

use world::World;

/// What is found to be wrong in a run.
type Wrong = String;

/// Fails the run with a sentence, unless a condition holds.
macro_rules! must {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
use must;

/// So many runs where nothing else is said: some seconds without optimization. More find more: `RINGWAY_SEEDS`.
const SEEDS: u64 = 200;

/// A number from the environment.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_hosts_do_what_is_promised_holds() {
    let seeds = match told("RINGWAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..told("RINGWAY_SEEDS").unwrap_or(SEEDS),
    };
    let (begun, mut sum) = (Instant::now(), world::Sum::default());
    for seed in seeds.clone() {
        match World::new(seed).run() {
            Ok(of_one) => sum += of_one,
            Err(wrong) => panic!("seed {seed}: {wrong}\nRINGWAY_SEED={seed} runs it alone"),
        }
    }
    println!("{seeds:?}: {sum:?} in {} ms", begun.elapsed().as_millis());
    // A simulation in which nothing happens would hold as well.
    assert!(sum.requests > 0 && sum.tries > 0);
    if seeds.end - seeds.start >= SEEDS {
        assert!(
            sum.ejected > 0 && sum.spared > 0 && sum.marked > 0,
            "{sum:?}"
        );
        assert!(
            sum.full > 0 && sum.nobody > 0 && sum.in_panic > 0,
            "{sum:?}"
        );
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
