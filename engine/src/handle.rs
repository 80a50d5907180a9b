//! The engine from outside: start, publish, drain, close, stop. The only place where threads begin.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, mem};

use crossbeam_channel::{Sender, unbounded};
use ringway_config::{self as config, IoDriver, ListenAddress, Name, PathError};

use crate::core::{Command, Core};
use crate::net::{self, Bell, BoundAddress, DriverChoice, DriverError, Others};
use crate::observe::Stats;
use crate::observe::log_ring::LogPort;
use crate::rng::Rng;
use crate::snapshot::Snapshot;
use crate::view::{ListenerId, Local, OpenGate, Shared};

/// How long sockets that were given up may still be there: longer than a core takes to empty their queues.
const CLOSING: Duration = Duration::from_secs(5);

/// How to start.
#[derive(Debug)]
pub struct Options {
    /// The CPUs to run on, one thread for each.
    pub cores: Vec<usize>,
    /// Whether each thread stays on its CPU.
    pub pin: bool,
    /// How cores do their I/O.
    pub driver: IoDriver,
    /// Client connections of the whole process.
    pub max_connections: u64,
    /// Where access log lines go.
    pub logs: LogPort,
    /// The numbers; made for that many cores.
    pub stats: Arc<Stats>,
    /// The seed of all chance; each core draws its own from it.
    pub seed: u64,
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

/// Counts a core's thread until it ends, also by a panic.
struct Alive(Arc<AtomicU32>);

impl Alive {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listening address and its number.
struct Socket {
    id: ListenerId,
    name: Name,
    address: ListenAddress,
    bound: BoundAddress,
}

impl Socket {
    /// Whether it is the listener's: a new name on an old address keeps the socket. Free ports differ under one address.
    fn serves(&self, listener: &config::Listener) -> bool {
        let free = matches!(&listener.address, ListenAddress::Tcp(address) if address.port() == 0);
        self.address == listener.address && (!free || self.name == listener.name)
    }
}

/// The running engine.
pub struct Handle {
    threads: Vec<Thread>,
    driver: DriverChoice,
    sockets: Vec<Socket>,
    /// Addresses given up, and when.
    closing: Vec<(BoundAddress, Instant)>,
    next_id: u32,
    shared: Arc<Shared>,
    alive: Arc<AtomicU32>,
}

impl Handle {
    /// Binds the listeners and starts a thread for each core. On an error nothing runs.
    pub fn start(options: Options, snapshot: Arc<Snapshot>) -> Result<Self, StartError> {
        let driver = net::probe(options.driver).map_err(StartError::Driver)?;
        let shared = Arc::new(Shared {
            open: Arc::default(),
            max_connections: options.max_connections,
            gates: Arc::default(),
        });
        let mut handle = Self {
            threads: Vec::new(),
            driver,
            sockets: Vec::new(),
            closing: Vec::new(),
            next_id: 0,
            shared,
            alive: Arc::default(),
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
        let alive = Alive::new(&self.alive);
        let body = move || {
            let _alive = alive;
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
                Ok(Ok(())) => {}
                Ok(Err(error)) | Err(error) => tracing::error!(%error, core, "a core stopped"),
            }
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
        let mut sockets = Vec::new();
        let mut opened: Vec<Vec<(ListenerId, OwnedFd, OpenGate)>> =
            self.threads.iter().map(|_| Vec::new()).collect();
        let mut errors = Vec::new();
        let mut next_id = self.next_id;
        for (at, spec) in snapshot.listeners().iter().enumerate() {
            let config = &spec.config;
            let kept = self.sockets.iter().find(|socket| socket.serves(config));
            if let Some(Socket { id, bound, .. }) = kept {
                sockets.push(Socket {
                    id: *id,
                    name: config.name.clone(),
                    address: config.address.clone(),
                    bound: bound.clone(),
                });
                continue;
            }
            match net::bind(
                &config.address,
                self.others(&config.address),
                config.backlog,
                self.threads.len(),
            ) {
                Ok((bound, fds)) => {
                    let id = ListenerId(next_id);
                    next_id += 1;
                    sockets.push(Socket {
                        id,
                        name: config.name.clone(),
                        address: config.address.clone(),
                        bound,
                    });
                    opened.iter_mut().zip(fds).for_each(|(opened, fd)| {
                        opened.push((id, fd, OpenGate::new(&self.shared.gates)));
                    });
                }
                Err(error) => errors.push(PathError::new(
                    format!("listeners[{at}].address"),
                    cannot_listen(&error),
                )),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let gone = mem::replace(&mut self.sockets, sockets);
        self.leave(gone);
        self.next_id = next_id;
        let ids: Arc<[ListenerId]> = self.sockets.iter().map(|socket| socket.id).collect();
        for (thread, opened) in self.threads.iter().zip(opened) {
            thread.tell(Command::Apply {
                snapshot: Arc::clone(&snapshot),
                ids: Arc::clone(&ids),
                opened,
            });
        }
        Ok(())
    }

    /// Looks after addresses that are listened on no more.
    fn leave(&mut self, gone: Vec<Socket>) {
        self.closing.retain(|(_, since)| since.elapsed() < CLOSING);
        for socket in gone {
            if self.sockets.iter().any(|kept| kept.bound == socket.bound) {
                continue;
            }
            net::remove_file(&socket.bound);
            self.closing.push((socket.bound, Instant::now()));
        }
    }

    /// Who else may hold an address that is to be bound: our own sockets, for a while after they were given up.
    fn others(&self, address: &ListenAddress) -> Others {
        let ours = |(bound, since): &(BoundAddress, Instant)| {
            since.elapsed() < CLOSING
                && matches!((bound, address), (BoundAddress::Tcp(a), ListenAddress::Tcp(b)) if a == b)
        };
        if self.closing.iter().any(ours) {
            Others::Closing
        } else {
            Others::None
        }
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
        self.sockets
            .iter()
            .map(|socket| (socket.name.clone(), socket.bound.clone()))
            .collect()
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
        let gone = mem::take(&mut self.sockets);
        self.leave(gone);
    }

    /// Cuts what is left and waits for the threads to end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let gone = mem::take(&mut self.sockets);
        self.leave(gone);
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

fn cannot_listen(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "the address is in use by another process; stop that one, or choose another address"
                .to_owned()
        }
        Some(libc::EACCES) => {
            "not allowed to listen here; a port below 1024 needs CAP_NET_BIND_SERVICE".to_owned()
        }
        Some(libc::EADDRNOTAVAIL) => {
            "this machine does not have the address; choose one of its own, or 0.0.0.0 or [::]"
                .to_owned()
        }
        _ => format!("cannot listen here: {error}"),
    }
}
