//! Active health checks: a task for each host that is checked, on the control thread, once for the whole process.

mod grpc;
mod probe;
mod secure;
pub(crate) mod track;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{HealthCheck, Name};
use ringway_engine::observe::{ClusterStats, PerCore, WatchStats};
use ringway_engine::rng::Rng;
use ringway_engine::{HostSpec, Mark};
use tokio::time::sleep;

use crate::hosts::Keeper;
use probe::probe;
pub(crate) use secure::Secure;
use track::{Answer, Track};

/// Hyper's tasks, on this thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// A host that is checked.
pub(crate) struct Checked {
    pub(crate) cluster: Name,
    pub(crate) host: Arc<HostSpec>,
    pub(crate) config: HealthCheck,
    /// What it is told first on each connection.
    pub(crate) header: Vec<u8>,
    /// How connections to it are made secure.
    pub(crate) tls: Secure,
    pub(crate) counts: Arc<PerCore<WatchStats>>,
    pub(crate) traffic: Arc<PerCore<ClusterStats>>,
}

/// Asks a host again and again. Dropped, it stops.
pub(crate) async fn check(checked: Checked, keeper: Rc<Keeper>) {
    let Checked {
        cluster,
        host,
        config,
        header,
        tls,
        counts,
        traffic,
    } = checked;
    let counts = counts.core(0);
    let micros = u64::try_from(config.initial_wait.as_micros()).unwrap_or(u64::MAX);
    let first = keeper.rng.below(micros.saturating_add(1));
    sleep(Duration::from_micros(first)).await;
    let mut track = Track::default();
    loop {
        let answer = probe(&host, &header, &tls, &config.probe, config.timeout).await;
        counts.health_check_attempt.inc();
        match &answer {
            Answer::Good | Answer::Degraded => counts.health_check_success.inc(),
            Answer::Bad(_) => counts.health_check_failure.inc(),
            Answer::Timeout => {
                counts.health_check_failure.inc();
                counts.health_check_timeout.inc();
            }
        }
        let mut changed = host.state.mark(Mark::Degraded, answer == Answer::Degraded);
        if let Some(healthy) = track.after(&answer, &config) {
            changed |= host.state.mark(Mark::Unhealthy, !healthy);
            let reason = answer.reason();
            tracing::info!(%cluster, host = %host.label, healthy, reason, "health changed");
        }
        keeper.note(host.id, answer.reason());
        if changed {
            keeper.changed(&cluster, &host);
        }
        pause(&track, &config, &traffic, &keeper.rng).await;
    }
}

/// From a probe to the next. A wait that is long since nobody asks the cluster is over soon after somebody does.
async fn pause(track: &Track, config: &HealthCheck, traffic: &PerCore<ClusterStats>, rng: &Rng) {
    let is_idle = || traffic.sum(|core| core.upstream_rq_total.value()) == 0;
    let idle = is_idle();
    let usual = track.wait(config, false, rng);
    let mut left = track.wait(config, idle, rng);
    while idle && left > usual {
        sleep(usual).await;
        left -= usual;
        if !is_idle() {
            return;
        }
    }
    sleep(left).await;
}
