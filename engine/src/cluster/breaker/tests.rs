//! Limits that are exact, and the queue before them.

use super::*;
use crate::rng::Rng;
use ringway_config::Percent;

fn gates(limits: &ClusterLimits, cores: usize) -> Vec<Gate> {
    let breakers = Breakers::new(cores);
    (0..cores)
        .map(|core| Gate::new(&breakers, limits, core, None))
        .collect()
}

fn poll(wait: &Wait<'_>) -> Option<Permit> {
    match wait.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

#[test]
fn requests_are_exact_and_priorities_apart() {
    let one = |requests| Limits {
        requests,
        ..Limits::default()
    };
    let limits = ClusterLimits {
        default: one(Some(2)),
        high: one(Some(1)),
        ..ClusterLimits::default()
    };
    let gates = gates(&limits, 2);
    let (a, b) = (&gates[0], &gates[1]);
    let first = a.request(Priority::Default).unwrap();
    let second = b.request(Priority::Default).unwrap();
    assert!(first.is_some() && second.is_some());
    assert_eq!(a.request(Priority::Default).unwrap_err(), Full);
    let _high = a.request(Priority::High).unwrap();
    assert_eq!(b.request(Priority::High).unwrap_err(), Full);
    let left = a.breakers.remaining(&limits);
    assert_eq!(
        (left.requests, left.high_requests, left.retries),
        (Some(0), Some(0), None)
    );
    drop(first);
    assert!(b.request(Priority::Default).is_ok());
    assert!(
        Gate::new(&Breakers::new(1), &ClusterLimits::default(), 0, None)
            .request(Priority::High)
            .unwrap()
            .is_none()
    );
}

#[test]
fn in_a_storm_tries_stay_within_the_budget_and_the_bucket() {
    for seed in 0..200 {
        let rng = Rng::new(seed);
        let part = rng.below(101);
        let limits = ClusterLimits {
            default: Limits {
                retry_budget: Percent::new(part as f64),
                ..Limits::default()
            },
            ..ClusterLimits::default()
        };
        let gates = gates(&limits, 3);
        let (mut first, mut further) = (0_u64, 0_u64);
        for _ in 0..5_000 {
            let gate = &gates[rng.below(3) as usize];
            gate.first_try(Priority::Default);
            first += 1;
            // Everything fails: each request tries three times more, if it may.
            for _ in 0..3 {
                match gate.retry(Priority::Default) {
                    Ok(_) => further += 1,
                    Err(Full) => break,
                }
            }
        }
        assert!(
            further <= first * part / 100 + 100,
            "{seed}: {further} of {first} at {part}"
        );
        assert!(
            further + 110 >= first * part / 100,
            "{seed}: {further} of {first} at {part}"
        );
    }
}

#[test]
fn both_the_limit_and_the_budget_must_admit() {
    let limits = ClusterLimits {
        default: Limits {
            retries: Some(1),
            retry_budget: Some(Percent::ALL),
            ..Limits::default()
        },
        ..ClusterLimits::default()
    };
    let gate = &gates(&limits, 1)[0];
    let one = gate.retry(Priority::Default).unwrap();
    assert_eq!(gate.retry(Priority::Default).unwrap_err(), Full);
    drop(one);
    for _ in 0..9 {
        gate.retry(Priority::Default).unwrap();
    }
    assert_eq!(
        gate.retry(Priority::Default).unwrap_err(),
        Full,
        "the bucket is empty"
    );
    gate.first_try(Priority::Default);
    assert!(gate.retry(Priority::Default).is_ok());
}

#[test]
fn a_freed_connection_goes_to_who_has_waited_longest_on_whatever_core() {
    let limits = ClusterLimits {
        connections: Some(1),
        pending: Some(3),
        ..ClusterLimits::default()
    };
    let gates = gates(&limits, 3);
    let held = gates[0].try_connect().unwrap();
    assert!(gates[1].try_connect().is_none());
    let first = gates[2].wait(1).unwrap();
    let second = gates[1].wait(1).unwrap();
    let third = gates[2].wait(1).unwrap();
    assert!(gates[0].wait(1).is_err(), "the queue is full");
    assert!(poll(&first).is_none());
    drop(held);
    assert!(
        gates[0].try_connect().is_none(),
        "nobody gets in before who waits"
    );
    assert!(poll(&second).is_none() && poll(&third).is_none());
    let got = poll(&first).unwrap();
    drop(first);
    assert!(poll(&second).is_none());
    drop(got);
    // The second goes away: the third is next.
    drop(second);
    let got = poll(&third).unwrap();
    drop((third, got));
    assert!(gates[0].try_connect().is_some());
    assert_eq!(gates[0].breakers.remaining(&limits).pending, Some(3));
}

#[test]
fn who_waits_keeps_the_turn_when_another_version_comes() {
    let limits = |connections| ClusterLimits {
        connections,
        ..ClusterLimits::default()
    };
    let breakers = Breakers::new(1);
    let old = Gate::new(&breakers, &limits(Some(1)), 0, None);
    let held = old.try_connect().unwrap();
    let (first, second) = (old.wait(1).unwrap(), old.wait(1).unwrap());
    let new = Gate::new(&breakers, &limits(Some(2)), 0, Some(&old));
    let third = new.wait(1).unwrap();
    assert!(new.look_again(), "somebody waits, on whatever version");
    assert!(poll(&second).is_none() && poll(&third).is_none());
    // There is room for two by now.
    let one = poll(&first).unwrap();
    drop(first);
    assert!(poll(&second).is_none());
    drop(held);
    let two = poll(&second).unwrap();
    drop(second);
    assert!(poll(&third).is_none());
    // Without a limit nobody need wait.
    let newest = Gate::new(&breakers, &limits(None), 0, Some(&new));
    assert!(newest.look_again());
    let three = poll(&third).unwrap();
    drop(third);
    assert!(!newest.look_again());
    drop((one, two, three));
    assert!(old.try_connect().is_some());
}

#[test]
fn a_core_closes_as_many_idle_connections_as_wait_elsewhere() {
    let limits = ClusterLimits {
        connections: Some(4),
        pending: Some(9),
        ..ClusterLimits::default()
    };
    let gates = gates(&limits, 2);
    let mut idle: Vec<_> = (0..4).map(|_| gates[0].try_connect().unwrap()).collect();
    let waits = [1, 1, 1].map(|host| gates[1].wait(host).unwrap());
    // Of three bells, one is heard.
    gates[0].serve(|| idle.pop().is_some());
    assert_eq!(idle.len(), 1, "what nobody lacks stays");
    let got: Vec<_> = waits
        .into_iter()
        .map(|wait| poll(&wait).expect("room was made"))
        .collect();
    gates[0].serve(|| panic!("nobody waits"));
    assert_eq!(got.len(), 3);
}

#[test]
fn in_any_run_no_more_are_in_than_allowed_and_none_is_forgotten() {
    for seed in 0..500 {
        let rng = Rng::new(seed);
        let limit = 1 + rng.below(4) as u32;
        let limits = ClusterLimits {
            connections: Some(limit),
            pending: Some(20),
            ..ClusterLimits::default()
        };
        let gates = gates(&limits, 3);
        let (mut held, mut waits) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            match rng.below(3) {
                0 => {
                    let gate = &gates[rng.below(3) as usize];
                    match gate.try_connect() {
                        Some(permit) => held.push(permit),
                        None => waits.extend(gate.wait(0).ok()),
                    }
                }
                1 if !held.is_empty() => {
                    drop(held.swap_remove(rng.below(held.len() as u64) as usize))
                }
                _ if !waits.is_empty() => {
                    // Whoever is rung polls; in the simulation, all do.
                    let oldest = waits.iter().map(|wait| wait.waiter.ticket).min();
                    let ready = waits
                        .iter()
                        .position(|wait| poll(wait).map(|permit| held.push(permit)).is_some());
                    if let Some(at) = ready {
                        assert_eq!(Some(waits.swap_remove(at).waiter.ticket), oldest, "{seed}");
                    }
                }
                _ => {}
            }
            assert!(held.len() <= limit as usize, "{seed}");
            assert_eq!(
                gates[0].breakers.connections.load(SeqCst),
                held.len() as u32
            );
        }
        held.clear();
        while let Some(at) = waits.iter().position(|wait| poll(wait).is_some()) {
            waits.swap_remove(at);
        }
        assert!(waits.is_empty(), "{seed}: {} wait for ever", waits.len());
    }
}
