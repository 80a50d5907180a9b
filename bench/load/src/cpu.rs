//! CPU time of the proxy, of this benchmark's own processes, and of the machine, read from `/proc`.
//!
//! `schedstat` counts nanoseconds where `stat` counts ticks of 10 ms; both are the same clock (user and system time
//! are the scheduler's run time, split by where the ticks fell), so the sum comes from the one and the split from
//! the other.

use std::fs;
use std::time::Duration;

/// `USER_HZ`: the same on every machine that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a set of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// User and system, in nanoseconds.
    pub run_nanos: u64,
    /// User, in ticks.
    pub user_ticks: u64,
    /// System, in ticks.
    pub system_ticks: u64,
}

/// What the machine and the processes under watch have used at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// The proxy with all its processes and threads.
    pub proxy: CpuTime,
    /// The origin and this generator.
    pub ends: CpuTime,
    /// Ticks that the watched cores were idle. What they were not idle for is known by what is missing: the kernel
    /// counts idle time by the clock, all other kinds by sampling, which a load at a fixed rate deceives.
    pub idle_ticks: u64,
}

/// Whose CPU time to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    proxy: Vec<u32>,
    ends: Vec<u32>,
    cores: Vec<u32>,
}

impl Watch {
    /// Watches the process `proxy` with its descendants as they are now, this process and `origin`, and `cores`.
    pub(crate) fn new(proxy: Option<u32>, origin: Option<u32>, cores: Vec<u32>) -> Self {
        let ends = origin
            .into_iter()
            .chain(std::iter::once(std::process::id()));
        Self {
            proxy: proxy.map(family).unwrap_or_default(),
            ends: ends.collect(),
            cores,
        }
    }

    /// How many cores' worth of `wall` was used by others between two readings, or taken by the host.
    pub(crate) fn others(&self, before: Reading, after: Reading, wall: Duration) -> f64 {
        let wall = wall.as_secs_f64();
        let idle = after.idle_ticks.saturating_sub(before.idle_ticks) as f64 / TICKS_PER_SECOND;
        let proxy = after.proxy.since(before.proxy).run_nanos;
        let ends = after.ends.since(before.ends).run_nanos;
        let used = (wall * self.cores.len() as f64) - idle;
        (used - (proxy + ends) as f64 / 1e9) / wall
    }

    /// Reads all of it.
    pub(crate) fn read(&self) -> Reading {
        Reading {
            proxy: CpuTime::of(&self.proxy),
            ends: CpuTime::of(&self.ends),
            idle_ticks: idle_ticks(&text("/proc/stat"), &self.cores),
        }
    }
}

impl CpuTime {
    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            run_nanos: self.run_nanos.saturating_sub(before.run_nanos),
            user_ticks: self.user_ticks.saturating_sub(before.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(before.system_ticks),
        }
    }

    fn of(pids: &[u32]) -> Self {
        let mut sum = Self::default();
        for pid in pids {
            let (user, system) = user_and_system(&text(&format!("/proc/{pid}/stat")));
            sum.user_ticks += user;
            sum.system_ticks += system;
            sum.run_nanos += tasks(*pid).map(|task| run_nanos(&text(&task))).sum::<u64>();
        }
        sum
    }
}

/// A process and all that descend from it.
fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers("/proc")
        .filter_map(|pid| Some((pid, parent(&text(&format!("/proc/{pid}/stat")))?)))
        .collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&pid) = family.get(next) {
        family.extend(parents.iter().filter(|(_, p)| *p == pid).map(|(c, _)| *c));
        next += 1;
    }
    family
}

/// The `schedstat` files of a process's threads, the kernel's workers for its ring among them.
fn tasks(pid: u32) -> impl Iterator<Item = String> {
    numbers(&format!("/proc/{pid}/task"))
        .map(move |task| format!("/proc/{pid}/task/{task}/schedstat"))
}

fn numbers(folder: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A file's text; of a process that has ended, nothing.
fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn run_nanos(schedstat: &str) -> u64 {
    number(schedstat.split_whitespace().next())
}

/// The fields of `/proc/PID/stat` after the command, which may hold blanks and parentheses: the first is the state.
fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    after.split_whitespace()
}

fn parent(stat: &str) -> Option<u32> {
    stat_fields(stat).nth(1)?.parse().ok()
}

fn user_and_system(stat: &str) -> (u64, u64) {
    let mut fields = stat_fields(stat).skip(11);
    (number(fields.next()), number(fields.next()))
}

/// The idle and iowait columns (the fourth and fifth) of the lines `cpuN` of `/proc/stat`.
fn idle_ticks(stat: &str, cores: &[u32]) -> u64 {
    let mut idle = 0;
    for line in stat.lines() {
        let mut words = line.split_whitespace();
        let core = words.next().and_then(|word| word.strip_prefix("cpu"));
        let core = core.and_then(|number| number.parse::<u32>().ok());
        if core.is_some_and(|core| cores.contains(&core)) {
            idle += words
                .skip(3)
                .take(2)
                .map(|word| number(Some(word)))
                .sum::<u64>();
        }
    }
    idle
}

fn number(word: Option<&str>) -> u64 {
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_an_odd_command() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 90 30 5 6 20 0 1 0 9";
        assert_eq!(parent(stat), Some(3));
        assert_eq!(user_and_system(stat), (90, 30));
    }

    #[test]
    fn idle_is_read_of_the_watched_cores_alone() {
        let stat =
            "cpu 9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 100 50 4 5 6 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(idle_ticks(stat, &[0]), 150);
        assert_eq!(idle_ticks(stat, &[0, 1]), 152);
    }

    #[test]
    fn own_time_moves_on() {
        let watch = Watch::new(Some(std::process::id()), None, vec![0]);
        let before = watch.read();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while watch.read().proxy.since(before.proxy).run_nanos < 5_000_000 {
            assert!(std::time::Instant::now() < deadline, "no time passes");
        }
    }
}
