//! Ejection as a table of facts, and as a simulation over seeds.

use ringway_config::{FailureRate, Percent, SuccessRate};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Outlier {
    Outlier {
        consecutive_5xx: 5,
        consecutive_gateway: 0,
        consecutive_local: 0,
        interval: 10 * SECOND,
        base_ejection: 30 * SECOND,
        max_ejection: 300 * SECOND,
        jitter: Duration::ZERO,
        max_ejected: Percent::HALF,
        success_rate: None,
        failure: None,
    }
}

fn detector(hosts: u64) -> Detector {
    let mut detector = Detector::default();
    detector.follow(0..hosts);
    detector
}

fn eject(detector: &mut Detector, id: u64, now: Duration) -> Option<Change> {
    detector.eject(id, Cause::Consecutive5xx, &config(), now, &Rng::new(1))
}

#[test]
fn each_ejection_is_longer_and_good_intervals_are_forgiven() {
    let mut detector = detector(4);
    let mut now = SECOND;
    for expect in [30, 60, 90] {
        let cause = Cause::Consecutive5xx;
        let time = expect * SECOND;
        assert_eq!(
            eject(&mut detector, 1, now),
            Some(Change::Ejected { cause, time })
        );
        assert_eq!(eject(&mut detector, 1, now), None, "it is out");
        assert_eq!(detector.next_back(), Some(now + time));
        assert!(detector.back(now + time - SECOND).is_empty());
        now += time;
        assert_eq!(detector.back(now), [1]);
    }
    for _ in 0..2 {
        detector.interval(&BTreeMap::new(), &config());
    }
    let Some(Change::Ejected { time, .. }) = eject(&mut detector, 1, now) else {
        panic!("not ejected");
    };
    assert_eq!(time, 60 * SECOND);
}

#[test]
fn ejections_have_a_longest_time() {
    let mut detector = detector(4);
    let mut now = SECOND;
    for _ in 0..20 {
        eject(&mut detector, 1, now);
        now += 300 * SECOND;
        assert_eq!(detector.back(now), [1]);
    }
    assert!(
        matches!(eject(&mut detector, 1, now), Some(Change::Ejected { time, .. }) if time == 300 * SECOND)
    );
}

#[test]
fn no_more_than_allowed_are_out_but_one_always_may_be() {
    let mut four = detector(4);
    let out = |change| matches!(change, Some(Change::Ejected { .. }));
    assert!(out(eject(&mut four, 0, SECOND)) && out(eject(&mut four, 1, SECOND)));
    assert!(matches!(
        eject(&mut four, 2, SECOND),
        Some(Change::Spared(_))
    ));
    let mut one = detector(1);
    assert!(out(eject(&mut one, 0, SECOND)));
}

#[test]
fn a_host_that_is_gone_is_forgotten() {
    let mut detector = detector(3);
    eject(&mut detector, 1, SECOND);
    detector.follow([0, 2, 9].into_iter());
    assert_eq!((detector.ejected(), detector.next_back()), (0, None));
    assert_eq!(eject(&mut detector, 1, SECOND), None);
}

fn tallies(rates: &[(u64, u64)]) -> BTreeMap<u64, Tally> {
    let tallies = rates.iter().map(|(good, bad)| Tally {
        good: *good,
        bad: *bad,
    });
    (0..).zip(tallies).collect()
}

#[test]
fn a_rate_of_success_far_below_the_others_stands_out() {
    let config = Outlier {
        success_rate: Some(SuccessRate {
            min_hosts: 5,
            requests: 100,
            stdev_factor: 1900,
        }),
        ..config()
    };
    let mut detector = detector(6);
    let rates = [(98, 2), (97, 3), (99, 1), (98, 2), (97, 3), (60, 40)];
    assert_eq!(
        detector.interval(&tallies(&rates), &config),
        [(5, Cause::SuccessRate)]
    );
    // Nothing came in the next interval, so nothing is said of it.
    assert!(detector.interval(&tallies(&rates), &config).is_empty());
    // All alike: nobody stands out, however bad they are.
    let alike = rates.map(|(good, bad)| (good + 10, bad + 90));
    assert!(detector.interval(&tallies(&alike), &config).is_empty());
}

#[test]
fn too_large_a_part_of_failures_stands_out() {
    let config = Outlier {
        failure: Some(FailureRate {
            threshold: Percent::HALF,
            min_hosts: 3,
            requests: 10,
        }),
        ..config()
    };
    let mut detector = detector(4);
    // The last has requests too few to tell.
    let rates = [(10, 0), (5, 5), (6, 4), (0, 9)];
    assert_eq!(
        detector.interval(&tallies(&rates), &config),
        [(1, Cause::FailurePercentage)]
    );
}

#[test]
fn in_any_run_the_bounds_hold() {
    for seed in 0..3_000 {
        let rng = Rng::new(seed);
        let hosts = 1 + rng.below(12);
        let config = Outlier {
            max_ejected: Percent::new(rng.below(101) as f64).unwrap(),
            jitter: Duration::from_millis(rng.below(3_000)),
            ..config()
        };
        let mut detector = detector(hosts);
        let mut now = Duration::ZERO;
        let mut back_at = BTreeMap::new();
        for _ in 0..200 {
            now += Duration::from_millis(rng.below(20_000));
            for id in detector.back(now) {
                let due: Duration = back_at.remove(&id).expect("it was out");
                assert!(due <= now, "{seed}: back too early");
            }
            assert!(
                back_at.values().all(|due| *due > now),
                "{seed}: back too late"
            );
            let id = rng.below(hosts);
            let change = detector.eject(id, Cause::ConsecutiveLocal, &config, now, &rng);
            if let Some(Change::Ejected { time, .. }) = change {
                assert!(back_at.insert(id, now + time).is_none(), "{seed}: twice");
                let longest = config.max_ejection + config.jitter;
                assert!(
                    (config.base_ejection..=longest).contains(&time),
                    "{seed}: {time:?}"
                );
            }
            let out = detector.ejected() as u64;
            let most = u64::from(config.max_ejected.basis_points()) * hosts / 10_000;
            assert!(out <= most.max(1), "{seed}: {out} of {hosts}");
            assert_eq!(out as usize, back_at.len());
            if rng.below(4) == 0 {
                detector.interval(&BTreeMap::new(), &config);
            }
        }
    }
}
