//! Waiting for a condition with a deadline: the only way a test waits.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous, because the machine may be busy; nothing waits it out
/// when all is well.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `probe` gives a value.
///
/// # Panics
/// When the deadline passes, naming `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until `probe` holds.
///
/// # Panics
/// When the deadline passes, naming `what`.
#[track_caller]
pub fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    wait_for(what, || probe().then_some(()));
}

/// Waits until `probe` gives this: what counts something may do so a moment after whoever is served has his answer.
///
/// # Panics
/// When the deadline passes, with what it gave last.
#[track_caller]
pub fn wait_equal<T: PartialEq + Debug>(expected: T, mut probe: impl FnMut() -> T) {
    let start = Instant::now();
    loop {
        let now = probe();
        if now == expected {
            return;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "waited in vain for {expected:?}: it is {now:?}"
        );
        std::thread::sleep(LOOK);
    }
}

/// Waits until `probe` gives the same value for a while (forty looks, a fifth of a second): what it measures has come to rest.
///
/// # Panics
/// When the deadline passes, naming `what`.
#[track_caller]
pub fn wait_steady<T: PartialEq>(what: &str, mut probe: impl FnMut() -> T) -> T {
    let (mut last, mut looks) = (probe(), 0);
    wait_until(what, || {
        let now = probe();
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        looks >= 40
    });
    last
}

/// Waits until `probe` holds, on a runtime; whoever waits for the test bounds it.
pub async fn until(probe: impl Fn() -> bool) {
    while !probe() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Sets a flag when it goes, so that threads that run until then end also when a test fails.
#[derive(Debug)]
pub struct Until<'a>(pub &'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
