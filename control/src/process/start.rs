//! From a source of configuration to a process that serves, and the reasons why it may not get there.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway_config::{AdminAddress, Config, Errors, Parsed};
use ringway_engine::filter::Registry;
use ringway_engine::observe::Stats;
use ringway_engine::observe::log_ring::{self, LogTargets};
use ringway_engine::{Handle, Options, StartError};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::serve::End;
use super::{Banner, Phase, Process, serve};
use crate::admin::{self, AdminListener};
use crate::cores::{self, Cores};
use crate::files::{LoadError, Source};
use crate::hosts::Keeper;
use crate::limits::{self, LimitError, Needs, Plan};
use crate::logging::Logging;
use crate::os;
use crate::store::{self, Store};
use crate::telemetry::access_log::LogWriter;

/// Reloads, lookups' answers: each is small, and who asks waits when so many are asked for.
const ASKS_MAX: usize = 64;
/// Orders waiting for the main loop; more say nothing new.
const ORDERS_MAX: usize = 8;

/// How long the access logs' last lines may take: a pipe that nobody reads must not keep the process.
const LOGS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the process does not serve.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no good configuration.
    Load(LoadError),
    /// The configuration cannot be built.
    Config(Errors),
    /// Too few open files.
    Limit(LimitError),
    /// The admin interface's address cannot be had.
    Admin {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The engine did not start.
    Engine(StartError),
    /// A core failed while the process served.
    Core(usize),
    /// The system refused something that every process needs.
    System {
        /// What.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Config(errors) => errors.fmt(f),
            Self::Limit(error) => write!(f, "error: {error}"),
            Self::Admin { address, error } => write!(
                f,
                "error: cannot listen on `{address}` for `admin.address`: {error}"
            ),
            Self::Engine(error) => write!(f, "error: {error}"),
            Self::Core(core) => write!(
                f,
                "error: core {core} has failed, and the process with it: the log says why; whoever supervises it starts it anew"
            ),
            Self::System { what, error } => write!(f, "error: {what}: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Serves until told to stop. What it says on standard error is for a person; the exit code is for the rest.
pub(crate) fn run(source: Source, registry: Registry, banner: Banner) -> ExitCode {
    match live(source, registry, banner) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            crate::say_error(&failure);
            ExitCode::FAILURE
        }
    }
}

fn live(source: Source, registry: Registry, banner: Banner) -> Result<(), Failure> {
    let text = source.read().map_err(Failure::Load)?;
    let parsed = source.parse(&text, &registry).map_err(Failure::Load)?;
    let logging = Logging::start(&parsed.config.process.log);
    store::warn(&parsed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("the control thread's runtime"))?;
    let local = LocalSet::new();
    let (process, end) = local.block_on(&runtime, async {
        let (process, serving) = start(source, registry, text, parsed, logging).await?;
        banner(&process);
        let end = serving.until_told(&process).await;
        Ok::<_, Failure>((process, end))
    })?;
    // The tasks hold the process too; with them gone it is ours alone, and the engine can be stopped.
    drop(local);
    if let Some(process) = Rc::into_inner(process) {
        process.handle.into_inner().stop();
        if !process.writer.stop(LOGS_TIMEOUT) {
            tracing::warn!(
                "the access logs' last lines were not written: their reader does not read"
            );
        }
    }
    // A name lookup may still hang in the system's resolver: it is not waited for.
    runtime.shutdown_background();
    match end {
        End::Told => {
            tracing::info!("stopped");
            Ok(())
        }
        End::CoreFailed(core) => Err(Failure::Core(core)),
    }
}

async fn start(
    source: Source,
    registry: Registry,
    text: String,
    parsed: Parsed,
    logging: Logging,
) -> Result<(Rc<Process>, serve::Serving), Failure> {
    // First of all: a signal from here on stops the process in order.
    let signals = serve::Signals::new().map_err(system("signal handlers"))?;
    let name = source.name();
    let watched = source.file().map(ToOwned::to_owned);
    let cores = cores::detect(parsed.config.process.cores);
    let files = os::raise_open_files().map_err(system("the limit of open files"))?;
    let plan = plan(files, &cores, &parsed.config)?;
    let admin = bind_admin(&parsed.config)?;
    let stats = Arc::new(Stats::new(cores.cpus.len()));
    let (port, log_source) = log_ring::ring(cores.cpus.len());
    let targets = LogTargets::default();
    let store = Store::new(source, text, parsed, registry, targets.clone()).await;
    let snapshot = store.first(&stats).map_err(Failure::Config)?;
    let writer = LogWriter::start(log_source, targets, Arc::clone(&stats))
        .map_err(system("the access logs' thread"))?;
    let (failing, failed) = mpsc::unbounded_channel();
    let options = Options {
        cores: cores.cpus.clone(),
        driver: snapshot.config().process.io_driver,
        pin: cores.pin,
        max_connections: plan.connections,
        pipes: plan.pipes,
        logs: port,
        stats: Arc::clone(&stats),
        seed: seed(),
        on_failure: Arc::new(move |core| {
            // Nobody hears it once the process stops.
            let _stopping = failing.send(core);
        }),
    };
    let mut handle =
        Handle::start(options, Arc::clone(&snapshot)).map_err(|error| match error {
            StartError::Listen(errors) => Failure::Config(store.errors(errors)),
            StartError::Driver(_) | StartError::Io(_) => Failure::Engine(error),
        })?;
    let reports = handle.take_reports();
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let (orders, ordered) = mpsc::channel(ORDERS_MAX);
    let process = Rc::new(Process {
        driver: handle.driver().clone(),
        hosts: Keeper::new(&stats, seed()),
        handle: RefCell::new(handle),
        stats,
        logging,
        writer,
        cores,
        files,
        plan: Cell::new(plan),
        source: name,
        admin: admin.as_ref().map(AdminListener::address),
        started: Instant::now(),
        asks,
        orders,
        parsed: RefCell::new(store.parsed()),
        phase: Cell::new(Phase::Live),
        snapshots: RefCell::new(snapshot.into()),
    });
    process.note_start();
    process.hosts.follow(&process.snapshot());
    let serving = serve::Serving {
        signals,
        ordered,
        failed,
        asked,
        store,
        admin,
        watched,
        reports,
    };
    Ok((process, serving))
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::System { what, error }
}

/// How many connections so many open files can hold.
fn plan(files: u64, cores: &Cores, config: &Config) -> Result<Plan, Failure> {
    let needs = Needs::of(config, cores.cpus.len());
    limits::plan(files, &needs, config.process.max_connections).map_err(Failure::Limit)
}

/// Chance that differs between processes: the clock's nanoseconds, the process's number.
pub(crate) fn seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos() as u64);
    nanos.rotate_left(32) ^ u64::from(std::process::id())
}

fn bind_admin(config: &Config) -> Result<Option<AdminListener>, Failure> {
    let Some(admin) = &config.admin else {
        return Ok(None);
    };
    let listener = AdminListener::bind(&admin.address).map_err(|error| Failure::Admin {
        address: admin::text_of(&admin.address),
        error,
    })?;
    if let AdminAddress::Tcp(address) = &admin.address
        && !address.ip().is_loopback()
    {
        tracing::warn!(%address, "the admin interface is open to the network, and anybody who reaches it can stop the process");
    }
    Ok(Some(listener))
}
