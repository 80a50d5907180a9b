//! What becomes of what a host is asked, by the mood that it is in.

use std::time::Duration;

use ringway_engine::rng::Rng;

use super::millis;
use crate::health::track::Answer;

#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Well,
    /// Connections are refused.
    Refusing,
    /// Nothing comes.
    Silent,
    /// Answers come late.
    Slow,
    /// So many of a hundred answers are errors; probes do not notice.
    Erring(u64),
    /// Well and refusing by turns, each for so long.
    Flapping(Duration),
    /// Probes say that it is not at its best.
    Degraded,
}

impl Mood {
    pub(super) fn by_chance(rng: &Rng) -> Self {
        match rng.below(10) {
            0 => Self::Refusing,
            1 => Self::Silent,
            2 => Self::Slow,
            3 => Self::Erring(20 + rng.below(81)),
            4 => Self::Flapping(millis(20 + rng.below(400))),
            5 => Self::Degraded,
            _ => Self::Well,
        }
    }

    fn refuses(self, now: Duration) -> bool {
        match self {
            Self::Refusing => true,
            Self::Flapping(turn) => (now.as_micros() / turn.as_micros()) % 2 == 1,
            Self::Well | Self::Silent | Self::Slow | Self::Erring(_) | Self::Degraded => false,
        }
    }

    /// Its status, or none without an answer; and after how long. A try takes no longer than `limit`.
    pub(super) fn answer(
        self,
        now: Duration,
        limit: Duration,
        rng: &Rng,
    ) -> (Option<u16>, Duration) {
        let after = match self {
            Self::Silent => limit,
            Self::Slow => millis(20 + rng.below(160)),
            Self::Well | Self::Refusing | Self::Erring(_) | Self::Flapping(_) | Self::Degraded => {
                millis(1 + rng.below(15))
            }
        };
        let errs = matches!(self, Self::Erring(part) if rng.below(100) < part);
        match errs {
            _ if self.refuses(now) => (None, millis(rng.below(2))),
            _ if after >= limit => (None, limit),
            true => (Some(503), after),
            false => (Some(200), after),
        }
    }

    pub(super) fn probed(self, now: Duration, limit: Duration, rng: &Rng) -> (Answer, Duration) {
        match self.answer(now, limit, rng) {
            (None, after) if after >= limit => (Answer::Timeout, limit),
            (None, after) => (Answer::Bad("refused".to_owned()), after),
            (Some(_), after) if matches!(self, Self::Degraded) => (Answer::Degraded, after),
            (Some(_), after) => (Answer::Good, after),
        }
    }
}
