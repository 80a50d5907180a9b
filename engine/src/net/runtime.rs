//! Which I/O driver a core runs on: a ladder of our own, tried from the top, with the reason kept.
//!
//! monoio's own fusion driver turns every error into "no io_uring" and does not fall back when only `DEFER_TASKRUN` is
//! refused (kernels before 6.1), so neither its probe nor its choice is used.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::task::Poll;

use io_uring::{IoUring, Probe, opcode};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use ringway_config::IoDriver;

/// Submission entries of a core's ring; completions have twice as many, and the kernel keeps what overflows.
const RING_ENTRIES: u32 = 4096;

/// How the ring is set up, from the cheapest per request to the one that always works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// `SINGLE_ISSUER` and `DEFER_TASKRUN`: completions run when the core asks for them. Linux 6.1.
    Deferred,
    /// `SINGLE_ISSUER` and `COOP_TASKRUN`: completions run at the next system call. Linux 6.0.
    Cooperative,
    /// A plain ring.
    Plain,
    /// No ring: epoll.
    Epoll,
}

impl Setup {
    /// As banners and metrics write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deferred => "defer_taskrun",
            Self::Cooperative => "coop_taskrun",
            Self::Plain => "plain",
            Self::Epoll => "epoll",
        }
    }

    /// `io_uring` or `epoll`.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Deferred | Self::Cooperative | Self::Plain => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    fn builder(self) -> io_uring::Builder {
        let mut builder = IoUring::builder();
        match self {
            Self::Deferred => {
                builder.setup_single_issuer().setup_defer_taskrun();
            }
            Self::Cooperative => {
                builder.setup_single_issuer().setup_coop_taskrun();
            }
            Self::Plain | Self::Epoll => {}
        }
        builder
    }
}

/// The choice, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverChoice {
    /// The setup that every core uses.
    pub setup: Setup,
    /// Why this one, in a sentence.
    pub reason: String,
    /// The operator should hear it: the ring was wanted and could not be had.
    pub fallback: bool,
}

/// io_uring was asked for and cannot be had.
#[derive(Debug)]
pub struct DriverError(String);

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DriverError {}

/// Chooses the driver, by trying.
pub fn probe(wanted: IoDriver) -> Result<DriverChoice, DriverError> {
    let choice = |setup, reason: String, fallback| {
        Ok(DriverChoice {
            setup,
            reason,
            fallback,
        })
    };
    if wanted == IoDriver::Epoll {
        return choice(
            Setup::Epoll,
            "the configuration asks for epoll".to_owned(),
            false,
        );
    }
    let mut refusals = Vec::new();
    for setup in [Setup::Deferred, Setup::Cooperative, Setup::Plain] {
        match try_ring(setup) {
            Ok(()) if refusals.is_empty() => {
                return choice(
                    setup,
                    "the kernel allows io_uring with all that we ask for".to_owned(),
                    false,
                );
            }
            Ok(()) => {
                return choice(
                    setup,
                    format!("the kernel refuses {}", refusals.join(", ")),
                    false,
                );
            }
            Err(error) => refusals.push(format!("{} ({})", setup.name(), remedy(&error))),
        }
    }
    let why = format!(
        "io_uring cannot be used: {}",
        refusals.last().map_or("", String::as_str)
    );
    match wanted {
        IoDriver::IoUring => Err(DriverError(why)),
        IoDriver::Auto | IoDriver::Epoll => choice(Setup::Epoll, why, true),
    }
}

/// Builds a small ring and asks it for the operations that the engine uses.
fn try_ring(setup: Setup) -> io::Result<()> {
    let ring: IoUring = setup.builder().build(8)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::Writev::CODE,
        opcode::PollAdd::CODE,
        opcode::AsyncCancel::CODE,
    ];
    match needed.iter().find(|code| !probe.is_supported(**code)) {
        Some(code) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the ring lacks operation {code}"),
        )),
        None => Ok(()),
    }
}

/// What the operator can do about a refusal.
fn remedy(error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .as_deref()
            .map(str::trim)
        {
            Ok("1" | "2") => "set the sysctl kernel.io_uring_disabled to 0",
            _ => {
                "a seccomp profile forbids it; allow io_uring_setup, io_uring_enter and io_uring_register"
            }
        },
        Some(libc::ENOSYS) => "this kernel has no io_uring; Linux 5.11 or newer has what is needed",
        Some(libc::ENOMEM) => "raise the limit of locked memory (LimitMEMLOCK, ulimit -l)",
        Some(libc::EINVAL) => "this kernel does not know that setup",
        Some(libc::EMFILE | libc::ENFILE) => {
            "raise the limit of open files (LimitNOFILE, ulimit -n)"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}

/// Runs a core's main future on its own thread, to its end. A ring with `SINGLE_ISSUER` must be built on the thread that uses it.
///
/// What is left then is never dropped, nor are the tasks that the thread's timers hold: tasks that wake others as they are dropped
/// (an HTTP/2 connection does) may do so in a turn of the runtime only, which panics anywhere else. A core ends with its process.
pub(crate) fn run<F: Future>(setup: Setup, main: F) -> io::Result<F::Output> {
    EAGER.set(setup == Setup::Epoll);
    match setup {
        Setup::Deferred | Setup::Cooperative | Setup::Plain => {
            let builder = RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(RING_ENTRIES)
                .uring_builder(setup.builder());
            Ok(ManuallyDrop::new(builder.build()?).block_on(main))
        }
        Setup::Epoll => {
            let builder = RuntimeBuilder::<LegacyDriver>::new().with_entries(RING_ENTRIES);
            Ok(ManuallyDrop::new(builder.build()?).block_on(main))
        }
    }
}

thread_local! {
    /// Reads and writes that need not wait are done at once, without a turn of the core's loop.
    static EAGER: Cell<bool> = const { Cell::new(false) };
}

/// Whether a read knows only of what had come when the core's loop last turned. A ring is told of more with each call to it.
pub(super) fn sees_late() -> bool {
    EAGER.get()
}

/// Lets all other tasks and the I/O have their turn, in a loop whose every read and write might be ready. A ring gives such
/// turns by itself; with epoll, a read that finds something never waits.
///
/// The task is woken by another one: one that wakes itself would be put before all others.
pub(crate) async fn give_way() {
    if !EAGER.get() {
        return;
    }
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        spawn(async move { waker.wake() });
        Poll::Pending
    })
    .await;
}

/// Starts a task on this core. What must be stopped keeps a way to stop it; the task itself is not joined.
pub(crate) fn spawn<F: Future<Output = ()> + 'static>(future: F) {
    drop(monoio::spawn(future));
}
