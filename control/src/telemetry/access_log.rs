//! The access logs' writer: one thread that takes chunks of lines from all cores and appends them to files.
//!
//! It alone may wait for a disk or a pipe. While it waits the ring behind it fills, and the cores drop lines and count
//! them. A line that was written is whole: after a write that broke off inside one, the next chunk begins a new line.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded, select};
use ringway_config::{Config, LogTarget, PathError};
use ringway_engine::observe::Stats;
use ringway_engine::observe::log_ring::{Chunk, LogSource, LogTargets, TargetId};

use crate::os;

/// Logs name clients and what they asked for: not for everybody.
const MODE: u32 = 0o640;
/// Secrets are for nobody but who runs the proxy.
const SECRET_MODE: u32 = 0o600;
/// A writer that is stuck takes no commands; a second reopening on top of one that waits would be the same.
const COMMANDS: usize = 4;

enum Command {
    Reopen,
    Stop,
}

/// The writer, as control holds it.
#[derive(Debug)]
pub(crate) struct LogWriter {
    commands: Sender<Command>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl LogWriter {
    /// Starts the thread.
    pub(crate) fn start(
        source: LogSource,
        targets: LogTargets,
        stats: Arc<Stats>,
    ) -> io::Result<Self> {
        let (commands, receiver) = bounded(COMMANDS);
        let (alive, ended) = bounded(0);
        let files = Files {
            targets,
            stats,
            open: HashMap::new(),
        };
        let run = move || {
            run(files, &source, &receiver);
            drop(alive);
        };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(run)?;
        Ok(Self { commands, ended })
    }

    /// Opens the files anew, after somebody has moved them away.
    pub(crate) fn reopen(&self) {
        // Full: the same is asked for already.
        let _ = self.commands.try_send(Command::Reopen);
    }

    /// Writes what the cores have handed up and ends. False if that takes longer than `within`: a pipe that nobody reads
    /// must not keep the process from leaving.
    pub(crate) fn stop(self, within: Duration) -> bool {
        // Disconnected: the cores have all ended, and so has the thread.
        if let Err(SendTimeoutError::Timeout(_)) = self.commands.send_timeout(Command::Stop, within)
        {
            return false;
        }
        let ended = self.ended.recv_timeout(within);
        ended.is_err_and(|error| error.is_disconnected())
    }
}

/// Files of a configuration that lines or secrets go to and that cannot be written, by path and sentence; `can` is [`check`] or [`could`].
pub(crate) fn unwritable(
    config: &Config,
    can: impl Fn(&LogTarget) -> io::Result<()>,
) -> Vec<PathError> {
    let mut problems = Vec::new();
    let mut ask = |path: String, target: &LogTarget| {
        if let Err(error) = can(target) {
            let message = format!(
                "this file cannot be written ({error}): name one that can, in a folder that is there"
            );
            problems.push(PathError::new(path, message));
        }
    };
    for (i, listener) in config.listeners.iter().enumerate() {
        for (j, log) in listener.access_logs.iter().enumerate() {
            ask(format!("listeners[{i}].access_log[{j}].file"), &log.target);
        }
    }
    for (path, file) in config.key_logs() {
        ask(path, &LogTarget::Keys(file.clone()));
    }
    problems
}

/// Says whether lines can be written there, so that a wrong path is refused with the configuration that names it. The file is made
/// where it is not there.
pub(crate) fn check(target: &LogTarget) -> io::Result<()> {
    match target {
        LogTarget::Stdout => Ok(()),
        LogTarget::File(path) | LogTarget::Keys(path) => {
            // Opening a pipe waits for who reads it: the writer may, and control may not.
            if fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo()) {
                return os::writable(path);
            }
            open(target).map(drop)
        }
    }
}

/// The same, without making a file.
pub(crate) fn could(target: &LogTarget) -> io::Result<()> {
    match target {
        LogTarget::Stdout => Ok(()),
        LogTarget::File(path) | LogTarget::Keys(path) => os::writable(path),
    }
}

fn open(target: &LogTarget) -> io::Result<File> {
    match target {
        // A descriptor of its own, past the buffer of std's `stdout`, which would cut chunks at lines.
        LogTarget::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        LogTarget::File(path) => append(path, MODE),
        LogTarget::Keys(path) => append(path, SECRET_MODE),
    }
}

fn append(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(mode).open(path)
}

fn run(mut files: Files, source: &LogSource, commands: &Receiver<Command>) {
    loop {
        select! {
            recv(source.chunks()) -> chunk => match chunk {
                Ok(chunk) => files.write(&chunk),
                Err(_) => return,
            },
            recv(commands) -> command => match command {
                Ok(Command::Reopen) => files.reopen(),
                Ok(Command::Stop) | Err(_) => {
                    source.chunks().try_iter().for_each(|chunk| files.write(&chunk));
                    return;
                }
            },
        }
    }
}

/// A target that lines have come for.
#[derive(Default)]
struct Log {
    file: Option<File>,
    /// The last write or opening failed: it has been said, and is not said again until one succeeds.
    is_failing: bool,
    /// The last write broke off inside a line.
    is_torn: bool,
    /// Lines have come since the last reopening.
    is_used: bool,
}

struct Files {
    targets: LogTargets,
    stats: Arc<Stats>,
    open: HashMap<TargetId, Log>,
}

impl Files {
    fn write(&mut self, chunk: &Chunk) {
        let Some(target) = self.targets.target(chunk.target) else {
            debug_assert!(false, "{:?} was never given out", chunk.target);
            return;
        };
        let log = self.open.entry(chunk.target).or_default();
        log.is_used = true;
        let process = &self.stats.process;
        match log.append(&target, &chunk.bytes) {
            Ok(()) => {
                process.access_log_bytes.add(chunk.bytes.len() as u64);
                if std::mem::take(&mut log.is_failing) {
                    tracing::info!(?target, "access log is written again");
                }
            }
            Err(error) => {
                process.access_log_errors.inc();
                process.access_log_lines_lost.add(chunk.lines);
                log.fail(&target, &error);
            }
        }
    }

    /// Opens the files in use anew; one that cannot be opened stays as it was, for lines in an old file are better than none.
    fn reopen(&mut self) {
        self.open.retain(|_, log| std::mem::take(&mut log.is_used));
        for (id, log) in &mut self.open {
            let Some(target) = self.targets.target(*id) else {
                continue;
            };
            match open(&target) {
                Ok(file) => (log.file, log.is_torn) = (Some(file), false),
                Err(error) => log.fail(&target, &error),
            }
        }
        self.stats.process.access_log_reopened.inc();
    }
}

impl Log {
    fn append(&mut self, target: &LogTarget, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(target)?),
        };
        if self.is_torn {
            file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let (written, after) = rest.split_at_checked(n).unwrap_or((rest, &[]));
                    self.is_torn = !written.ends_with(b"\n");
                    rest = after;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fail(&mut self, target: &LogTarget, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(?target, %error, "access log cannot be written; its lines are lost");
        }
    }
}

#[cfg(test)]
mod tests;
