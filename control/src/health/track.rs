//! What a host's probes say of it: results in a row become a verdict. No clock and no sockets.

use std::time::Duration;

use ringway_config::HealthCheck;
use ringway_engine::rng::Rng;

/// A probe's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is well.
    Good,
    /// It says that it is not at its best.
    Degraded,
    /// It is not well, and why.
    Bad(String),
    /// It did not answer in time.
    Timeout,
}

impl Answer {
    fn is_good(&self) -> bool {
        match self {
            Self::Good | Self::Degraded => true,
            Self::Bad(_) | Self::Timeout => false,
        }
    }

    /// In words.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Good => "it answered well",
            Self::Degraded => "it answered that it is degraded",
            Self::Bad(reason) => reason,
            Self::Timeout => "no answer in time",
        }
    }
}

/// One host.
#[derive(Debug, Default)]
pub(crate) struct Track {
    /// The verdict; none until the first probe.
    healthy: Option<bool>,
    /// Results against the verdict, in a row.
    against: u32,
}

impl Track {
    /// Takes a result; the verdict, if it is another now.
    pub(crate) fn after(&mut self, answer: &Answer, config: &HealthCheck) -> Option<bool> {
        let good = answer.is_good();
        let Some(healthy) = self.healthy else {
            self.healthy = Some(good);
            return Some(good);
        };
        if good == healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let wanted = if healthy {
            config.unhealthy_after
        } else {
            config.healthy_after
        };
        if self.against < wanted {
            return None;
        }
        self.against = 0;
        self.healthy = Some(good);
        Some(good)
    }

    /// How long to the next probe.
    pub(crate) fn wait(&self, config: &HealthCheck, idle: bool, rng: &Rng) -> Duration {
        let interval = match (self.healthy, idle) {
            (Some(false), _) => config.unhealthy_interval,
            (Some(true) | None, true) => config.no_traffic_interval,
            (Some(true) | None, false) => None,
        };
        let interval = interval.unwrap_or(config.interval);
        let most = interval.as_micros() * u128::from(config.jitter.basis_points()) / 10_000;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        interval + Duration::from_micros(rng.below(most.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Percent, Probe};

    fn config() -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp {
                send: String::new(),
                expect: String::new(),
            },
            interval: Duration::from_secs(5),
            unhealthy_interval: Some(Duration::from_secs(1)),
            no_traffic_interval: Some(Duration::from_secs(60)),
            timeout: Duration::from_secs(2),
            jitter: Percent::new(10.0).unwrap(),
            initial_wait: Duration::ZERO,
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }

    /// `+` and `-` are results; what follows each is the change that it makes: `u`p, `d`own, or none.
    fn check(results: &str, expect: &str) {
        let mut track = Track::default();
        let said = results.chars().map(|result| {
            let answer = match result {
                '+' => Answer::Good,
                _ => Answer::Timeout,
            };
            match track.after(&answer, &config()) {
                Some(true) => 'u',
                Some(false) => 'd',
                None => '.',
            }
        });
        assert_eq!(said.collect::<String>(), expect, "{results}");
    }

    #[test]
    fn results_in_a_row_change_the_verdict() {
        check("+++", "u..");
        check("---+++", "d...u.");
        check("+--+--+---", "u........d");
        check("+---+-++", "u..d...u");
        check("-+", "d.");
    }

    #[test]
    fn the_wait_follows_the_state() {
        let rng = Rng::new(1);
        let mut track = Track::default();
        let longest = |track: &Track, idle| {
            (0..500)
                .map(|_| track.wait(&config(), idle, &rng))
                .max()
                .unwrap()
                .as_millis()
        };
        track.after(&Answer::Good, &config());
        assert!((5_400..=5_500).contains(&longest(&track, false)));
        assert!((65_000..=66_000).contains(&longest(&track, true)));
        for _ in 0..3 {
            track.after(&Answer::Timeout, &config());
        }
        assert!((1_050..=1_100).contains(&longest(&track, true)));
    }
}
