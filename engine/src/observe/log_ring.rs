//! Access log lines on their way from the cores to the one writer.
//!
//! A core gathers lines in a buffer of its own for each target and hands on whole chunks, so that a line costs no atomic
//! and no system call. The way up is bounded: where the writer is behind (a full disk, a pipe that nobody reads), chunks
//! are dropped and their lines counted, and no core ever waits.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use ringway_config::LogTarget;

use super::counter::Slot;
use super::stats::CoreStats;

/// A chunk is handed on when it is this long: some hundred lines, so that a write is worth its system call.
const CHUNK_BYTES: usize = 16 << 10;
/// Room for the line that crosses the mark.
const CHUNK_SLACK: usize = 1 << 10;
/// Chunks on their way for each core: 1 MiB, some tenths of a second at full load, which a rotating disk may stall.
const CHUNKS_PER_CORE: usize = 64;

/// Where lines go: a number that a core can look up without comparing paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(usize);

/// The targets by their numbers: control gives them out when it builds a snapshot, the writer looks them up.
///
/// A target keeps its number for ever, so that a chunk on its way is never written elsewhere. The table grows with the
/// number of different files that were ever configured.
#[derive(Clone, Debug, Default)]
pub struct LogTargets(Arc<Mutex<Vec<LogTarget>>>);

impl LogTargets {
    /// The number of a target.
    pub fn id(&self, target: &LogTarget) -> TargetId {
        // A list of targets is sound whatever its last user was doing when it panicked.
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = targets.iter().position(|known| known == target) {
            return TargetId(at);
        }
        targets.push(target.clone());
        TargetId(targets.len() - 1)
    }

    /// The target of a number.
    pub fn target(&self, id: TargetId) -> Option<LogTarget> {
        let targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        targets.get(id.0).cloned()
    }
}

/// Whole lines for one target.
#[derive(Debug)]
pub struct Chunk {
    /// Where they go.
    pub target: TargetId,
    /// How many they are.
    pub lines: u64,
    /// The lines, each with its end.
    pub bytes: Vec<u8>,
}

/// The way from that many cores to the writer.
pub fn ring(cores: usize) -> (LogPort, LogSource) {
    ring_of(cores.max(1) * CHUNKS_PER_CORE)
}

fn ring_of(chunks: usize) -> (LogPort, LogSource) {
    let (sender, receiver) = bounded(chunks);
    (LogPort(sender), LogSource(receiver))
}

/// The lower end, on its way to a core.
#[derive(Clone, Debug)]
pub struct LogPort(Sender<Chunk>);

impl LogPort {
    /// The sink of one core, which counts there.
    pub fn sink(self, stats: Slot<CoreStats>) -> LogSink {
        LogSink {
            port: self.0,
            stats,
            buffers: RefCell::default(),
        }
    }
}

/// The upper end, the writer's.
#[derive(Debug)]
pub struct LogSource(Receiver<Chunk>);

impl LogSource {
    /// The channel itself, so that the writer can wait for it and for commands at once.
    pub fn chunks(&self) -> &Receiver<Chunk> {
        &self.0
    }
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
}

/// One core's end: gathers lines and hands them on.
pub struct LogSink {
    port: Sender<Chunk>,
    stats: Slot<CoreStats>,
    /// By target. Idle ones hold no memory.
    buffers: RefCell<Vec<Buffer>>,
}

impl LogSink {
    /// Adds a line for a target; its end is added here.
    pub fn line(&self, target: TargetId, render: impl FnOnce(&mut Vec<u8>)) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() <= target.0 {
            buffers.resize_with(target.0 + 1, Buffer::default);
        }
        let Some(buffer) = buffers.get_mut(target.0) else {
            return;
        };
        if buffer.bytes.capacity() == 0 {
            buffer.bytes.reserve(CHUNK_BYTES + CHUNK_SLACK);
        }
        render(&mut buffer.bytes);
        buffer.bytes.push(b'\n');
        buffer.lines += 1;
        if buffer.bytes.len() >= CHUNK_BYTES {
            self.send(target, buffer);
        }
    }

    /// Hands on what there is. The core's tick calls it about ten times a second.
    pub fn flush(&self) {
        for (at, buffer) in self.buffers.borrow_mut().iter_mut().enumerate() {
            if buffer.lines > 0 {
                self.send(TargetId(at), buffer);
            }
        }
    }

    fn send(&self, target: TargetId, buffer: &mut Buffer) {
        let Buffer { bytes, lines } = std::mem::take(buffer);
        let chunk = Chunk {
            target,
            lines,
            bytes,
        };
        // Full, or the writer is gone: either way nobody is to wait for it.
        match self.port.try_send(chunk) {
            Ok(()) => self.stats.access_log_lines.add(lines),
            Err(_) => self.stats.access_log_dropped.add(lines),
        }
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.flush();
    }
}

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSink").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Stats;

    fn sink(chunks: usize) -> (LogSink, LogSource, Stats) {
        let stats = Stats::new(1);
        let (port, source) = ring_of(chunks);
        (port.sink(stats.core().slot(0)), source, stats)
    }

    fn counts(stats: &Stats) -> (u64, u64) {
        let core = stats.core().core(0);
        (
            core.access_log_lines.value(),
            core.access_log_dropped.value(),
        )
    }

    #[test]
    fn lines_go_up_in_whole_chunks_by_target() {
        let (sink, source, stats) = sink(8);
        let targets = LogTargets::default();
        let stdout = targets.id(&LogTarget::Stdout);
        let file = targets.id(&LogTarget::File("a.log".into()));
        assert_eq!(targets.id(&LogTarget::Stdout), stdout);
        sink.line(file, |out| out.extend_from_slice(b"one"));
        sink.line(stdout, |out| out.extend_from_slice(b"two"));
        sink.line(file, |out| out.extend_from_slice(b"three"));
        assert!(source.chunks().try_recv().is_err(), "nothing yet");
        sink.flush();
        let sent: Vec<_> = source.chunks().try_iter().collect();
        let texts: Vec<_> = sent
            .iter()
            .map(|chunk| (chunk.target, &chunk.bytes[..]))
            .collect();
        assert_eq!(
            texts,
            [(stdout, &b"two\n"[..]), (file, &b"one\nthree\n"[..])]
        );
        assert_eq!(targets.target(file), Some(LogTarget::File("a.log".into())));
        sink.flush();
        assert!(source.chunks().try_recv().is_err(), "nothing is left");
        assert_eq!(counts(&stats), (3, 0));
    }

    #[test]
    fn a_full_ring_drops_and_counts_and_never_waits() {
        let (sink, source, stats) = sink(2);
        let target = LogTargets::default().id(&LogTarget::Stdout);
        let line = [b'x'; 1023];
        for _ in 0..16 * 5 {
            sink.line(target, |out| out.extend_from_slice(&line));
        }
        assert_eq!(counts(&stats), (32, 48));
        let chunks: Vec<_> = source.chunks().try_iter().collect();
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.bytes.len() == CHUNK_BYTES && chunk.lines == 16)
        );
        drop(source);
        sink.line(target, |out| out.push(b'x'));
        drop(sink);
        assert_eq!(
            counts(&stats),
            (32, 49),
            "a writer that is gone takes nothing"
        );
    }

    #[test]
    fn a_core_that_stops_hands_on_its_last_lines() {
        let (sink, source, _stats) = sink(2);
        sink.line(LogTargets::default().id(&LogTarget::Stdout), |out| {
            out.push(b'x')
        });
        drop(sink);
        assert_eq!(source.chunks().try_recv().map(|chunk| chunk.lines), Ok(1));
    }
}
