//! How much of the requests each priority gets: arithmetic alone, in whole per cents, as Envoy has it, so that its published
//! tables are ours.

/// The hosts of a priority, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) total: u32,
    pub(super) healthy: u32,
    pub(super) degraded: u32,
}

/// What each priority gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Loads {
    /// Per cents for healthy hosts (for all, in panic).
    pub(super) healthy: Vec<u32>,
    /// Per cents for degraded hosts.
    pub(super) degraded: Vec<u32>,
    /// Whether health is disregarded.
    pub(super) panic: Vec<bool>,
}

/// `overprovisioning` in per cent, `threshold` in hundredths of a per cent.
pub(super) fn loads(levels: &[Counts], overprovisioning: u32, threshold: u32) -> Loads {
    let part = |some: u32, total: u32| {
        let percent = u64::from(overprovisioning) * u64::from(some);
        u32::try_from(percent.checked_div(u64::from(total)).unwrap_or(0).min(100)).unwrap_or(100)
    };
    let health: Vec<u32> = levels.iter().map(|l| part(l.healthy, l.total)).collect();
    let degraded: Vec<u32> = levels.iter().map(|l| part(l.degraded, l.total)).collect();
    let available = health.iter().chain(&degraded).sum::<u32>().min(100);
    let mut loads = Loads {
        healthy: vec![0; levels.len()],
        degraded: vec![0; levels.len()],
        panic: vec![false; levels.len()],
    };
    if threshold == 0 && available == 0 {
        return loads;
    }
    // With all of the load carried by somebody, a priority with few healthy hosts is no cause for panic.
    if available < 100 {
        for (panic, level) in loads.panic.iter_mut().zip(levels) {
            *panic = panics(*level, threshold);
        }
    }
    if loads.panic.iter().all(|panic| *panic) {
        by_size(levels, &mut loads.healthy);
        return loads;
    }
    let mut left = 100;
    share(&health, available, &mut left, &mut loads.healthy);
    share(&degraded, available, &mut left, &mut loads.degraded);
    // What division left over goes to the first that gets anything.
    let mut all = loads.healthy.iter_mut().chain(&mut loads.degraded);
    if let Some(first) = all.find(|load| **load > 0) {
        *first += left;
    }
    loads
}

fn panics(level: Counts, threshold: u32) -> bool {
    let healthy = u64::from(level.healthy + level.degraded) * 10_000;
    healthy < u64::from(threshold) * u64::from(level.total) || (level.total == 0 && threshold > 0)
}

fn share(parts: &[u32], available: u32, left: &mut u32, loads: &mut [u32]) {
    for (load, part) in loads.iter_mut().zip(parts) {
        let rounded = (part * 100 + available / 2).checked_div(available);
        *load = rounded.unwrap_or(0).min(*left);
        *left -= *load;
    }
}

/// Every priority is in panic: each gets what its hosts are of all.
fn by_size(levels: &[Counts], loads: &mut [u32]) {
    let total: u64 = levels.iter().map(|level| u64::from(level.total)).sum();
    let mut left = 100;
    for (load, level) in loads.iter_mut().zip(levels) {
        let percent = (u64::from(level.total) * 100)
            .checked_div(total)
            .unwrap_or(0);
        *load = u32::try_from(percent).unwrap_or(0).min(left);
        left -= *load;
    }
    let size = |(_, level): &(&mut u32, &Counts)| level.total > 0;
    if let Some((first, _)) = loads.iter_mut().zip(levels).find(size) {
        *first += left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Priorities of 100 hosts, so many of them healthy.
    fn check(healthy: &[u32], expect: &[u32], panic: &[bool]) {
        let levels: Vec<_> = healthy
            .iter()
            .map(|healthy| counts(100, *healthy, 0))
            .collect();
        let loads = loads(&levels, 140, 5_000);
        assert_eq!(
            (&*loads.healthy, &*loads.panic),
            (expect, panic),
            "{healthy:?}"
        );
    }

    fn counts(total: u32, healthy: u32, degraded: u32) -> Counts {
        Counts {
            total,
            healthy,
            degraded,
        }
    }

    #[test]
    fn traffic_spills_over_as_in_envoys_table() {
        // Envoy's manual, "Priority levels": two priorities, the second wholly healthy.
        for (healthy, first) in [(100, 100), (72, 100), (71, 99), (50, 70), (25, 35), (0, 0)] {
            check(&[healthy, 100], &[first, 100 - first], &[false, false]);
        }
        // The same with a third.
        for (healthy, expect) in [
            ([100, 100, 100], [100, 0, 0]),
            ([72, 72, 100], [100, 0, 0]),
            ([71, 71, 100], [99, 1, 0]),
            ([50, 60, 100], [70, 30, 0]),
            ([25, 100, 100], [35, 65, 0]),
            ([25, 25, 100], [35, 35, 30]),
        ] {
            check(&healthy, &expect, &[false; 3]);
        }
        // Nobody can carry it all: shares are stretched to a hundred.
        let levels = [counts(100, 25, 0), counts(100, 25, 0), counts(100, 20, 0)];
        assert_eq!(loads(&levels, 140, 0).healthy, [36, 36, 28]);
    }

    #[test]
    fn panic_comes_with_too_few_healthy_hosts() {
        // Envoy's manual, "Panic threshold".
        check(&[72, 72], &[100, 0], &[false, false]);
        check(&[71, 71], &[99, 1], &[false, false]);
        check(&[50, 60], &[70, 30], &[false, false]);
        check(&[25, 100], &[35, 65], &[false, false]);
        check(&[25, 25], &[50, 50], &[true, true]);
        check(&[5, 65], &[7, 93], &[true, false]);
        check(&[0, 55], &[0, 100], &[true, false]);
        check(&[49], &[100], &[true]);
        check(&[50], &[100], &[false]);
    }

    #[test]
    fn without_a_threshold_nothing_healthy_gets_nothing() {
        let none = loads(&[counts(10, 0, 0)], 140, 0);
        assert_eq!((none.healthy, none.panic), (vec![0], vec![false]));
        let one = loads(&[counts(10, 1, 0)], 140, 0);
        assert_eq!((one.healthy, one.panic), (vec![100], vec![false]));
    }

    #[test]
    fn degraded_hosts_get_what_healthy_ones_cannot_carry() {
        let loads = loads(&[counts(10, 5, 5)], 140, 5_000);
        assert_eq!((loads.healthy, loads.degraded), (vec![70], vec![30]));
    }

    #[test]
    fn loads_always_add_up() {
        let rng = crate::rng::Rng::new(1);
        for _ in 0..20_000 {
            let levels: Vec<_> = (0..1 + rng.below(4))
                .map(|_| {
                    let total = rng.below(30) as u32;
                    let healthy = rng.below(u64::from(total) + 1) as u32;
                    counts(
                        total,
                        healthy,
                        rng.below(u64::from(total - healthy) + 1) as u32,
                    )
                })
                .collect();
            let loads = loads(&levels, 100 + rng.below(100) as u32, 5_000);
            let sum: u32 = loads.healthy.iter().chain(&loads.degraded).sum();
            let any = levels.iter().any(|level| level.total > 0);
            assert_eq!(sum, if any { 100 } else { 0 }, "{levels:?} {loads:?}");
        }
    }
}
