//! The life of the process: configuration, engine, serving, drain, exit.
//!
//! The main thread is the control thread: one tokio runtime, on it the signals, the watch, the store and the admin interface.
//! The cores are the engine's own threads, reached through its handle alone.

mod serve;
mod start;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringway_config::{Config, Parsed, PathError};
use ringway_engine::observe::Stats;
use ringway_engine::{DriverChoice, Handle, Snapshot};
use tokio::sync::mpsc;

use crate::certs;
use crate::cores::Cores;
use crate::hosts::Keeper;
use crate::limits::{self, Needs, Plan};
use crate::logging::Logging;
use crate::store::Ask;
use crate::telemetry::access_log::LogWriter;

pub(crate) use start::{run, seed};

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Live,
    /// It serves what it has and wants no more.
    Draining,
}

/// An order to the process, by signal or by the admin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Drain, then leave.
    Stop,
    /// Drain, and stay.
    DrainListeners {
        /// Whether accepting goes on for `drain_delay` first.
        graceful: bool,
    },
}

/// What was published: the newest, and before it those that may still be some core's.
struct Snapshots {
    newest: Arc<Snapshot>,
    before: VecDeque<Arc<Snapshot>>,
}

impl From<Arc<Snapshot>> for Snapshots {
    fn from(newest: Arc<Snapshot>) -> Self {
        Self {
            newest,
            before: VecDeque::new(),
        }
    }
}

impl Snapshots {
    fn push(&mut self, next: Arc<Snapshot>) {
        let last = std::mem::replace(&mut self.newest, next);
        self.before.push_back(last);
    }

    /// The newest that every core runs; what is older is dropped.
    fn applied(&mut self, version: u64) -> Arc<Snapshot> {
        let next = |all: &Self| all.before.get(1).unwrap_or(&all.newest).version();
        while !self.before.is_empty() && next(self) <= version {
            self.before.pop_front();
        }
        Arc::clone(self.before.front().unwrap_or(&self.newest))
    }
}

/// The running process, as the store and the admin interface see it.
pub(crate) struct Process {
    /// The engine. No borrow of it lives across an await.
    pub(crate) handle: RefCell<Handle>,
    /// How its cores do their I/O.
    pub(crate) driver: DriverChoice,
    /// What it counts.
    pub(crate) stats: Arc<Stats>,
    /// Its own log.
    pub(crate) logging: Logging,
    /// The access logs' writer.
    pub(crate) writer: LogWriter,
    /// The cores that were started.
    pub(crate) cores: Cores,
    /// How many files the process may have open.
    pub(crate) files: u64,
    /// How descriptors are shared out.
    pub(crate) plan: Cell<Plan>,
    /// What the configuration is called.
    pub(crate) source: String,
    /// The bound address of the admin interface.
    pub(crate) admin: Option<String>,
    /// When it started.
    pub(crate) started: Instant,
    /// The clusters' hosts, as they are watched.
    pub(crate) hosts: Rc<Keeper>,
    /// To the store.
    pub(crate) asks: mpsc::Sender<Ask>,
    /// To the main loop.
    pub(crate) orders: mpsc::Sender<Order>,
    /// The configuration that serves, with its places in the source.
    pub(crate) parsed: RefCell<Rc<Parsed>>,
    phase: Cell<Phase>,
    snapshots: RefCell<Snapshots>,
}

impl Process {
    /// Where it is in its life.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The snapshot that serves.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow().newest)
    }

    /// The newest snapshot that every core runs.
    pub(crate) fn applied(&self) -> Arc<Snapshot> {
        let applied = self.handle.borrow().applied();
        self.snapshots.borrow_mut().applied(applied)
    }

    /// Has the cores take a snapshot over. An error changes nothing.
    pub(crate) fn publish(&self, next: Arc<Snapshot>) -> Result<(), Vec<PathError>> {
        let plan = self.plan_for(next.config())?;
        self.handle.borrow_mut().publish(Arc::clone(&next))?;
        self.handle.borrow().limit_connections(plan.connections);
        self.handle.borrow().limit_pipes(plan.pipes);
        self.plan.set(plan);
        self.stats
            .process
            .config_version
            .set(signed(next.version()));
        self.hosts.follow(&next);
        self.note_certificates(&next);
        // Also what nobody asks for is dropped again.
        let _oldest = self.applied();
        self.snapshots.borrow_mut().push(next);
        self.stats.sweep();
        Ok(())
    }

    /// How many connections a configuration leaves room for: its listeners and logs take descriptors too.
    fn plan_for(&self, config: &Config) -> Result<Plan, Vec<PathError>> {
        let needs = Needs::of(config, self.cores.cpus.len());
        limits::plan(self.files, &needs, config.process.max_connections)
            .map_err(|error| vec![PathError::new(error.path(), error.to_string())])
    }

    /// Says and counts that it began.
    fn note_start(&self) {
        if self.driver.fallback {
            tracing::warn!("{}", self.driver.reason);
        }
        let counts = &self.stats.process;
        counts.start_time.set(unix_seconds());
        counts.config_version.set(signed(self.snapshot().version()));
        self.note_certificates(&self.snapshot());
        // Nobody else sets it: the first word stays.
        let _first = self.stats.io_driver.set(self.driver.setup.driver());
    }

    /// When a snapshot's certificates expire.
    fn note_certificates(&self, snapshot: &Snapshot) {
        let expiries = certs::expiries(snapshot);
        let first = expiries.iter().map(|(_, expires)| *expires).min();
        self.stats
            .process
            .certificate_expiry
            .set(first.unwrap_or(0));
        self.stats.note_certificates(expiries);
    }

    /// Counts a reload that was taken over, or changed nothing.
    pub(crate) fn count_reload(&self) {
        let counts = &self.stats.process;
        counts.reloads_total.inc();
        counts.last_reload_ok.set(1);
        counts.last_reload_time.set(unix_seconds());
    }

    /// Counts a reload that was refused.
    pub(crate) fn count_refused_reload(&self) {
        self.count_reload();
        let counts = &self.stats.process;
        counts.reloads_failed.inc();
        counts.last_reload_ok.set(0);
    }

    /// One line about it, for systemd.
    pub(crate) fn status(&self) -> String {
        let snapshot = self.snapshot();
        format!(
            "{} listeners, {} clusters, {} cores, {}, configuration {}",
            snapshot.config().listeners.len(),
            snapshot.config().clusters.len(),
            self.cores.cpus.len(),
            self.driver.setup.driver(),
            snapshot.version(),
        )
    }

    /// Has the writer of access logs open its files anew.
    pub(crate) fn reopen_logs(&self) {
        self.writer.reopen();
        tracing::info!("access logs reopened");
    }

    /// From now on it drains: `/ready` says so, answers say `Connection: close`, reloads are refused.
    fn begin_drain(&self) {
        self.phase.set(Phase::Draining);
        self.stats.process.draining.set(1);
        self.handle.borrow().drain();
    }
}

/// The time for a gauge.
fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| signed(since.as_secs()))
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What there is to say once it serves; the demo says it on standard output.
pub(crate) type Banner = Box<dyn FnOnce(&Rc<Process>)>;
