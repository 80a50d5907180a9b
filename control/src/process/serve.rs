//! Serving: the signals and orders that a running process obeys, and how it drains.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringway_engine::Reports;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Order, Process};
use crate::admin::{self, AdminListener};
use crate::files::Watch;
use crate::hosts;
use crate::store::{Ask, Cause, Store};
use crate::systemd;

/// How often a drain looks whether the last connection is gone: much less than anybody notices, and cheap.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// The signals that are obeyed.
pub(super) struct Signals {
    hup: Signal,
    usr1: Signal,
    term: Signal,
    int: Signal,
}

impl Signals {
    /// From now on they do not kill the process.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// The next word to stop. Dropping it loses no signal.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Why serving ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to, and has drained as far as it may.
    Told,
    /// This core has failed. What the defect has done to the rest cannot be known, and its share of the clients has nobody: the
    /// process ends at once, so that whoever supervises it starts it anew.
    CoreFailed(usize),
}

/// What serving takes beside the process itself.
pub(super) struct Serving {
    pub(super) signals: Signals,
    pub(super) ordered: mpsc::Receiver<Order>,
    /// Cores that have failed.
    pub(super) failed: mpsc::UnboundedReceiver<usize>,
    pub(super) asked: mpsc::Receiver<Ask>,
    pub(super) store: Store,
    pub(super) admin: Option<AdminListener>,
    pub(super) watched: Option<PathBuf>,
    pub(super) reports: Option<Reports>,
}

impl Serving {
    /// Serves until told to stop, then drains; or until a core fails.
    pub(super) async fn until_told(self, process: &Rc<Process>) -> End {
        let Self {
            mut signals,
            mut ordered,
            mut failed,
            asked,
            store,
            admin,
            watched,
            reports,
        } = self;
        spawn_local(hosts::tell(Rc::clone(process)));
        spawn_local(hosts::tidy(Rc::clone(process)));
        if let Some(reports) = reports {
            spawn_local(hosts::eject(Rc::clone(process), reports));
        }
        spawn_local(store.keep(Rc::clone(process), asked));
        if let Some(listener) = admin {
            spawn_local(admin::serve(listener, Rc::clone(process)));
        }
        if let Some(path) = watched {
            spawn_local(watch(path, process.asks.clone()));
        }
        tracing::info!(
            driver = process.driver.setup.driver(),
            cores = process.cores.cpus.len(),
            "serving {}",
            process.source
        );
        systemd::ready(&process.status());
        unless_failed(&mut failed, told(process, &mut signals, &mut ordered)).await
    }
}

/// Waits for `told`, or for a core to fail.
async fn unless_failed(
    failed: &mut mpsc::UnboundedReceiver<usize>,
    told: impl Future<Output = ()>,
) -> End {
    // Neither loses anything when the other wins: the process ends with it. A closed channel is no failure.
    tokio::select! {
        Some(core) = failed.recv() => End::CoreFailed(core),
        () = told => End::Told,
    }
}

/// Obeys until told to stop, then drains.
async fn told(process: &Rc<Process>, signals: &mut Signals, ordered: &mut mpsc::Receiver<Order>) {
    obey(process, signals, ordered).await;
    systemd::stopping("draining");
    tracing::info!("stopping");
    tokio::select! {
        () = drain(process) => {}
        () = signals.stop() => tracing::warn!("told twice: stopping at once"),
    }
}

/// Returns when the process is to stop.
async fn obey(process: &Rc<Process>, signals: &mut Signals, ordered: &mut mpsc::Receiver<Order>) {
    loop {
        // Each of these waits loses nothing when another wins: signals and channels keep what came.
        tokio::select! {
            _ = signals.hup.recv() => {
                let ask = Ask::Reload { cause: Cause::Asked, reply: None };
                if process.asks.try_send(ask).is_err() {
                    tracing::warn!("HUP ignored: so many reloads are waiting already");
                }
            }
            _ = signals.usr1.recv() => process.reopen_logs(),
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
            order = ordered.recv() => match order {
                Some(Order::Stop) | None => return,
                Some(Order::DrainListeners { graceful }) => {
                    tracing::info!(graceful, "draining, without leaving");
                    let process = Rc::clone(process);
                    let delay = if graceful { drain_delay(&process) } else { Duration::ZERO };
                    spawn_local(async move { quiesce(&process, delay).await });
                }
            },
        }
    }
}

/// Accepting goes on for `drain_delay`, so that whoever sends clients here sees `/ready` first; then what is in flight may end.
async fn drain(process: &Process) {
    quiesce(process, drain_delay(process)).await;
    let limit = process.snapshot().config().process.drain_timeout;
    let deadline = Instant::now() + limit;
    while is_busy(process) {
        if Instant::now() >= deadline {
            let left = process.handle.borrow().connections();
            tracing::warn!(left, "drain_timeout is over: cutting what is left");
            return;
        }
        sleep_until(Instant::min(Instant::now() + DRAIN_LOOK, deadline)).await;
    }
}

/// Whether somebody is here or may yet come in: clients whose connections were in a queue when it closed are served.
fn is_busy(process: &Process) -> bool {
    let handle = process.handle.borrow();
    handle.is_accepting() || handle.connections() > 0
}

/// Says that it drains, and stops accepting after the delay.
async fn quiesce(process: &Process, delay: Duration) {
    process.begin_drain();
    sleep(delay).await;
    process.handle.borrow_mut().close();
}

fn drain_delay(process: &Process) -> Duration {
    process.snapshot().config().process.drain_delay
}

async fn watch(path: PathBuf, asks: mpsc::Sender<Ask>) {
    let mut watch = match Watch::new(std::slice::from_ref(&path)) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the file cannot be watched: reload by HUP");
            return;
        }
    };
    while watch.changed().await {
        let ask = Ask::Reload {
            cause: Cause::Watched,
            reply: None,
        };
        if asks.send(ask).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::process::start::Failure;

    #[tokio::test(flavor = "current_thread")]
    async fn a_core_that_fails_ends_serving_as_a_failure() {
        let (failing, mut failed) = mpsc::unbounded_channel();
        assert_eq!(unless_failed(&mut failed, ready(())).await, End::Told);
        failing.send(3).unwrap();
        assert_eq!(
            unless_failed(&mut failed, pending()).await,
            End::CoreFailed(3)
        );
        assert!(Failure::Core(3).to_string().contains("core 3 has failed"));
    }
}
