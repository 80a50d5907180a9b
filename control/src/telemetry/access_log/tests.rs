//! Real files, a full disk, a pipe that nobody reads.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use ringway_engine::observe::log_ring::{self, LogSink};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A directory of the test's own, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "ringway-log-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Bench {
    sink: LogSink,
    writer: LogWriter,
    targets: LogTargets,
    stats: Arc<Stats>,
}

impl Bench {
    fn new() -> Self {
        let stats = Arc::new(Stats::new(1));
        let targets = LogTargets::default();
        let (port, source) = log_ring::ring(1);
        let writer =
            LogWriter::start(source, targets.clone(), Arc::clone(&stats)).expect("a thread");
        let sink = port.sink(stats.core().slot(0));
        Self {
            sink,
            writer,
            targets,
            stats,
        }
    }

    fn line(&self, path: &Path, line: &str) {
        let target = self.targets.id(&LogTarget::File(path.to_owned()));
        self.sink
            .line(target, |out| out.extend_from_slice(line.as_bytes()));
        self.sink.flush();
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::yield_now();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn lines_are_appended_and_the_last_ones_too() {
    let dir = Dir::new();
    let path = dir.0.join("a.log");
    std::fs::write(&path, "old\n").expect("a file");
    let bench = Bench::new();
    bench.line(&path, "one");
    bench.line(&path, "two");
    assert!(bench.writer.stop(PATIENCE));
    assert_eq!(read(&path), "old\none\ntwo\n");
    assert_eq!(bench.stats.process.access_log_bytes.value(), 8);
}

#[test]
fn a_moved_file_is_left_on_reopening() {
    let dir = Dir::new();
    let (path, moved) = (dir.0.join("a.log"), dir.0.join("a.log.1"));
    let bench = Bench::new();
    bench.line(&path, "one");
    wait_until("the first line", || read(&path) == "one\n");
    std::fs::rename(&path, &moved).expect("a move");
    bench.line(&path, "two");
    wait_until("the second line, in the old file", || {
        read(&moved) == "one\ntwo\n"
    });
    bench.writer.reopen();
    wait_until("the reopening", || {
        bench.stats.process.access_log_reopened.value() == 1
    });
    bench.line(&path, "three");
    assert!(bench.writer.stop(PATIENCE));
    assert_eq!(
        (read(&moved).as_str(), read(&path).as_str()),
        ("one\ntwo\n", "three\n")
    );
}

#[test]
fn a_full_disk_and_a_wrong_path_lose_lines_and_count_them() {
    let dir = Dir::new();
    let good = dir.0.join("good.log");
    let bench = Bench::new();
    bench.line(Path::new("/dev/full"), "lost");
    bench.line(&dir.0.join("none/a.log"), "lost too");
    bench.line(&good, "kept");
    assert!(bench.writer.stop(PATIENCE));
    let process = &bench.stats.process;
    assert_eq!(
        (
            process.access_log_errors.value(),
            process.access_log_lines_lost.value()
        ),
        (2, 2)
    );
    assert_eq!(read(&good), "kept\n");
    assert!(check(&LogTarget::File(dir.0.join("none/a.log"))).is_err());
    assert!(check(&LogTarget::File(good)).is_ok());
}

#[test]
fn a_pipe_that_nobody_reads_stops_nobody() {
    let (mut reader, pipe) = io::pipe().expect("a pipe");
    let path = PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
    let bench = Bench::new();
    let line = "x".repeat(16 << 10);
    let dropped = || bench.stats.core().core(0).access_log_dropped.value();
    wait_until("dropped lines", || {
        bench.line(&path, &line);
        dropped() > 10
    });
    let Bench {
        sink,
        writer,
        stats,
        ..
    } = bench;
    assert!(
        !writer.stop(Duration::from_millis(10)),
        "it is stuck, and that is said"
    );
    drop((sink, pipe));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("the lines");
    let lines = stats.core().core(0).access_log_lines.value();
    assert_eq!(bytes.len() as u64, lines * (line.len() as u64 + 1));
}

#[test]
fn a_line_cut_by_a_full_disk_does_not_swallow_the_next() {
    let dir = Dir::new();
    let target = LogTarget::File(dir.0.join("a.log"));
    let mut log = Log {
        is_torn: true,
        ..Log::default()
    };
    log.append(&target, b"next\n").expect("written");
    assert_eq!(read(&dir.0.join("a.log")), "\nnext\n");
    assert!(!log.is_torn);
}
