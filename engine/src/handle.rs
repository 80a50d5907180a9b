//! The engine from outside: start, publish, drain, close, stop. The only place where threads begin.

mod derived;
mod sockets;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Sender, unbounded};
use ringway_config::{IoDriver, Name, PathError};

use crate::cluster::{Census, ClusterSpec};
use crate::core::{Command, Core};
use crate::net::{self, Bell, BoundAddress, DriverChoice, DriverError};
use crate::observe::Stats;
use crate::observe::log_ring::LogPort;
use crate::rng::Rng;
use crate::snapshot::Snapshot;
use crate::view::{Local, Reports, Shared, reports};
use derived::Derived;
use sockets::Sockets;

/// Told, on the core's own thread, which core has ended without being told to.
pub type OnFailure = Arc<dyn Fn(usize) + Send + Sync>;

/// How to start.
pub struct Options {
    /// The CPUs to run on, one thread for each.
    pub cores: Vec<usize>,
    /// Whether each thread stays on its CPU.
    pub pin: bool,
    /// How cores do their I/O.
    pub driver: IoDriver,
    /// Client connections of the whole process.
    pub max_connections: u64,
    /// Pipes of each core for large transfers.
    pub pipes: u32,
    /// Where access log lines go.
    pub logs: LogPort,
    /// The numbers; made for that many cores.
    pub stats: Arc<Stats>,
    /// The seed of all chance; each core draws its own from it.
    pub seed: u64,
    /// What to do when a core's own loop fails or panics. The others go on, but its share of the clients has nobody.
    pub on_failure: OnFailure,
}

/// Why the engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// The I/O driver that is asked for cannot be had.
    Driver(DriverError),
    /// Addresses that cannot be listened on, at their paths in the configuration.
    Listen(Vec<PathError>),
    /// A thread or what it needs could not be made.
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => error.fmt(f),
            Self::Listen(errors) => {
                let errors: Vec<String> = errors
                    .iter()
                    .map(|error| format!("{}: {}", error.path, error.message))
                    .collect();
                f.write_str(&errors.join("; "))
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Thread {
    commands: Sender<Command>,
    bell: Bell,
    applied: Arc<AtomicU64>,
    join: Option<JoinHandle<()>>,
}

impl Thread {
    fn tell(&self, command: Command) {
        // A core that is gone has nothing to be told; `is_alive` says so to who asks.
        let _gone = self.commands.send(command);
        self.bell.ring();
    }
}

/// Counts a core's thread until it ends, also by a panic; an end that nobody asked for is told.
struct Alive {
    core: usize,
    count: Arc<AtomicU32>,
    on_failure: OnFailure,
    was_told: bool,
}

impl Alive {
    fn new(core: usize, count: &Arc<AtomicU32>, on_failure: &OnFailure) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self {
            core,
            count: Arc::clone(count),
            on_failure: Arc::clone(on_failure),
            was_told: false,
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        if !self.was_told {
            (self.on_failure)(self.core);
        }
    }
}

/// The running engine.
pub struct Handle {
    threads: Vec<Thread>,
    driver: DriverChoice,
    sockets: Sockets,
    shared: Arc<Shared>,
    alive: Arc<AtomicU32>,
    derived: Derived,
    reports: Option<Reports>,
}

impl Handle {
    /// Binds the listeners and starts a thread for each core. On an error nothing runs.
    pub fn start(options: Options, snapshot: Arc<Snapshot>) -> Result<Self, StartError> {
        let driver = net::probe(options.driver).map_err(StartError::Driver)?;
        let (reporter, reports) = reports()?;
        let shared = Arc::new(Shared {
            open: Arc::default(),
            max_connections: AtomicU64::new(options.max_connections),
            gates: Arc::default(),
            pipes: Arc::new(AtomicU32::new(options.pipes)),
            reporter,
        });
        let mut handle = Self {
            threads: Vec::new(),
            driver,
            sockets: Sockets::default(),
            shared,
            alive: Arc::default(),
            derived: Derived::default(),
            reports: Some(reports),
        };
        let seeds = Rng::new(options.seed);
        for (core, cpu) in options.cores.iter().enumerate() {
            let thread = handle.thread(core, *cpu, &options, seeds.next());
            match thread {
                Ok(thread) => handle.threads.push(thread),
                Err(error) => {
                    handle.stop();
                    return Err(error.into());
                }
            }
        }
        match handle.publish(snapshot) {
            Ok(()) => Ok(handle),
            Err(errors) => {
                handle.stop();
                Err(StartError::Listen(errors))
            }
        }
    }

    fn thread(&self, core: usize, cpu: usize, options: &Options, seed: u64) -> io::Result<Thread> {
        let (commands, receiver) = unbounded();
        let (bell, doorbell) = Bell::pair()?;
        let applied = Arc::new(AtomicU64::new(0));
        let (setup, pin) = (self.driver.setup, options.pin);
        let stats = options.stats.core().slot(core);
        let (logs, shared) = (options.logs.clone(), Arc::clone(&self.shared));
        let running = Arc::clone(&applied);
        let mut alive = Alive::new(core, &self.alive, &options.on_failure);
        let body = move || {
            if pin && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
                tracing::warn!(core, cpu, "the core's thread cannot be pinned");
            }
            let local = std::rc::Rc::new(Local::new(
                core,
                Rng::new(seed),
                stats.clone(),
                logs.sink(stats),
                shared,
            ));
            let core_of = Core {
                local,
                commands: receiver,
                doorbell,
                applied: running,
            };
            match net::run(setup, core_of.run()) {
                Ok(Ok(())) => alive.was_told = true,
                Ok(Err(error)) | Err(error) => tracing::error!(%error, core, "a core stopped"),
            }
            drop(alive);
        };
        let join = std::thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(body)?;
        Ok(Thread {
            commands,
            bell,
            applied,
            join: Some(join),
        })
    }

    /// Sends a snapshot to every core. New listeners are bound first: if one cannot be, nothing changes.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Vec<PathError>> {
        let cores = self.threads.len();
        let opened = self
            .sockets
            .follow(snapshot.listeners(), cores, &self.shared)?;
        let ids = self.sockets.ids();
        self.derived.follow(&snapshot);
        let bells: Arc<[Bell]> = self
            .threads
            .iter()
            .map(|thread| thread.bell.clone())
            .collect();
        for cluster in snapshot.clusters() {
            cluster.breakers.connect(&bells);
        }
        for (thread, opened) in self.threads.iter().zip(opened) {
            thread.tell(Command::Apply {
                snapshot: Arc::clone(&snapshot),
                ids: Arc::clone(&ids),
                opened,
            });
        }
        Ok(())
    }

    /// Has every core choose by the health that these hosts (their slots) of a cluster now have, since when the first of them has
    /// it, and counts them all.
    pub fn refresh(&mut self, spec: &Arc<ClusterSpec>, changed: &[u32], since: Instant) -> Census {
        let sets = self.derived.derive(spec, changed);
        for thread in &self.threads {
            thread.tell(Command::Refresh {
                spec: Arc::clone(spec),
                sets: Arc::clone(&sets),
                since,
            });
        }
        sets.census()
    }

    /// What cores have to say of hosts; the first who asks gets it.
    pub fn take_reports(&mut self) -> Option<Reports> {
        self.reports.take()
    }

    /// Lets go of what was replaced and no core holds any more.
    pub fn tidy(&mut self) {
        self.derived.tidy();
    }

    /// The least version that every core runs.
    pub fn applied(&self) -> u64 {
        self.threads
            .iter()
            .map(|thread| thread.applied.load(Ordering::Acquire))
            .min()
            .unwrap_or(0)
    }

    /// How the cores do their I/O, and why so.
    pub fn driver(&self) -> &DriverChoice {
        &self.driver
    }

    /// How many cores run; fewer than were started if one has failed.
    pub fn alive(&self) -> u32 {
        self.alive.load(Ordering::Relaxed)
    }

    /// Where the listeners listen: port 0 resolved.
    pub fn listeners(&self) -> Vec<(Name, BoundAddress)> {
        self.sockets.bound()
    }

    /// How many client connections the whole process takes from now on. Those above a lower limit stay until they end.
    pub fn limit_connections(&self, max: u64) {
        self.shared.max_connections.store(max, Ordering::Relaxed);
    }

    /// How many pipes a core may have from now on; those in use stay until they are free.
    pub fn limit_pipes(&self, max: u32) {
        self.shared.pipes.store(max, Ordering::Relaxed);
    }

    /// Client connections open in the whole process.
    pub fn connections(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Whether clients may yet be let in: true from the start until some time after `close`, when every queue is empty.
    pub fn is_accepting(&self) -> bool {
        self.shared.gates.load(Ordering::Acquire) > 0
    }

    /// Answers say `Connection: close` from now on; accepting goes on.
    pub fn drain(&self) {
        self.threads
            .iter()
            .for_each(|thread| thread.tell(Command::Drain));
    }

    /// Accepts no more, once the queues are empty; ends the connections that are between requests.
    pub fn close(&mut self) {
        self.threads
            .iter()
            .for_each(|thread| thread.tell(Command::Close));
        self.sockets.leave_all();
    }

    /// Cuts what is left and waits for the threads to end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.sockets.leave_all();
        self.threads
            .iter()
            .for_each(|thread| thread.tell(Command::Stop));
        for thread in &mut self.threads {
            if let Some(join) = thread.join.take()
                && join.join().is_err()
            {
                tracing::error!("a core's thread panicked");
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
