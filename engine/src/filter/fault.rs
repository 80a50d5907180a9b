//! `fault`: delays and errors on purpose, for tests of what depends on an upstream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::Percent;
use ringway_config::filters::FaultInjection;
use serde_json::Value;

use super::{Filter, FilterSpec, Flow, Parsed, Step};
use crate::request::{LocalReply, RequestCx};
use crate::rng::Rng;
use crate::time;

type Sleep = fn(Duration) -> Pin<Box<dyn Future<Output = ()>>>;

struct Spec {
    config: FaultInjection,
    sleep: Sleep,
}

/// What chance has in store for one request; drawn when it starts.
struct Fault {
    delay: Option<Duration>,
    abort: Option<u16>,
    sleep: Sleep,
}

pub(super) fn parse(value: &Value) -> Parsed {
    let config = FaultInjection::parse(value)?;
    Ok(Arc::new(Spec {
        config,
        sleep: |duration| Box::pin(time::sleep(duration)),
    }))
}

impl FilterSpec for Spec {
    fn start<'a>(&'a self, rng: &'a Rng) -> Box<dyn Filter + 'a> {
        let delay = self
            .config
            .delay
            .as_ref()
            .filter(|delay| is_hit(delay.share, rng));
        let abort = self
            .config
            .abort
            .as_ref()
            .filter(|abort| is_hit(abort.share, rng));
        Box::new(Fault {
            delay: delay.map(|delay| delay.duration),
            abort: abort.map(|abort| abort.status),
            sleep: self.sleep,
        })
    }
}

fn is_hit(share: Percent, rng: &Rng) -> bool {
    rng.below(u64::from(Percent::ALL.basis_points())) < u64::from(share.basis_points())
}

impl Filter for Fault {
    fn on_request<'a>(&'a mut self, request: &'a mut RequestCx) -> Step<'a> {
        let flow = match self.abort {
            None => Flow::Continue,
            Some(status) => Flow::Respond(LocalReply {
                flag: if self.delay.is_some() { "DI,FI" } else { "FI" },
                ..LocalReply::text(status, "fault_filter_abort", "fault filter abort\n")
            }),
        };
        let Some(duration) = self.delay else {
            return Step::Now(flow);
        };
        request.flag = "DI";
        let wait = (self.sleep)(duration);
        Step::Later(Box::pin(async move {
            wait.await;
            flow
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::testing::finish;
    use crate::request::sample;
    use ringway_config::filters::{FaultAbort, FaultDelay};
    use std::cell::Cell;

    thread_local! {
        static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    fn spec(delay: Option<f64>, abort: Option<f64>) -> Spec {
        let share = |share| Percent::new(share).unwrap();
        Spec {
            config: FaultInjection {
                delay: delay.map(|delay| FaultDelay {
                    duration: Duration::from_secs(1),
                    share: share(delay),
                }),
                abort: abort.map(|abort| FaultAbort {
                    status: 503,
                    share: share(abort),
                }),
            },
            sleep: |duration| Box::pin(async move { SLEPT.set(SLEPT.get() + duration) }),
        }
    }

    /// Seconds slept and flags of the aborts, over 10,000 requests.
    fn run(spec: &Spec) -> (u64, usize, usize) {
        SLEPT.set(Duration::ZERO);
        let rng = Rng::new(9);
        let (mut alone, mut both) = (0, 0);
        for _ in 0..10_000 {
            match finish_step(spec, &rng) {
                Flow::Continue | Flow::Abort => {}
                Flow::Respond(reply) => {
                    assert_eq!((reply.status, reply.details), (503, "fault_filter_abort"));
                    match reply.flag {
                        "FI" => alone += 1,
                        "DI,FI" => both += 1,
                        other => panic!("{other}"),
                    }
                }
            }
        }
        (SLEPT.get().as_secs(), alone, both)
    }

    fn finish_step(spec: &Spec, rng: &Rng) -> Flow {
        let mut request = sample("GET", "/", &[]);
        let mut filter = spec.start(rng);
        match filter.on_request(&mut request) {
            Step::Now(flow) => flow,
            Step::Later(future) => finish(future),
        }
    }

    #[test]
    fn shares_are_kept() {
        assert_eq!(run(&spec(None, None)), (0, 0, 0));
        assert_eq!(run(&spec(Some(0.0), Some(0.0))), (0, 0, 0));
        assert_eq!(run(&spec(Some(100.0), Some(100.0))), (10_000, 0, 10_000));
        let (slept, alone, both) = run(&spec(Some(10.0), Some(20.0)));
        assert!(slept.abs_diff(1_000) < 150, "{slept}");
        assert!((alone + both).abs_diff(2_000) < 200, "{alone} {both}");
        assert!(both.abs_diff(200) < 60, "{both}");
    }

    #[test]
    fn the_same_seed_has_the_same_faults() {
        let spec = spec(Some(30.0), Some(30.0));
        assert_eq!(run(&spec), run(&spec));
    }
}
