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
mod sum;
mod wakes;
mod watch;
mod world;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sum::Sum;
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

/// So many runs where nothing else is said: seconds, without optimization. More find more: `RINGWAY_SEEDS`.
const SEEDS: u64 = 1_000;

/// A number from the environment.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds, from the next one on, until they are used up or something is wrong.
fn run(next: &AtomicU64, end: u64) -> Result<Sum, Wrong> {
    let mut sum = Sum::default();
    loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed >= end {
            return Ok(sum);
        }
        let ran = World::new(seed).run();
        sum += ran.map_err(|wrong| {
            next.store(end, Relaxed);
            format!("seed {seed}: {wrong}\nRINGWAY_SEED={seed} runs it alone")
        })?;
    }
}

#[test]
fn whatever_hosts_do_what_is_promised_holds() {
    let seeds = match told("RINGWAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..told("RINGWAY_SEEDS").unwrap_or(SEEDS),
    };
    let (begun, mut sum) = (Instant::now(), Sum::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        let some = || scope.spawn(|| run(&next, seeds.end));
        let running: Vec<_> = (0..threads).map(|_| some()).collect();
        for thread in running {
            match thread.join().expect("no panic") {
                Ok(of_some) => sum += of_some,
                Err(wrong) => panic!("{wrong}"),
            }
        }
    });
    println!("{seeds:?}: {sum:?} in {} ms", begun.elapsed().as_millis());
    // A simulation in which nothing happens would hold as well.
    assert!(sum.requests > 0 && sum.tries > 0);
    if seeds.end - seeds.start >= SEEDS {
        assert!(sum.has_everything(), "{sum:?}");
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
