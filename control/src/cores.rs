//! Which CPUs the cores run on: the affinity mask, cut to the cgroup's quota, unless `process.cores` says how many.

use std::fs;
use std::path::Path;

use crate::os;

/// The cores to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// One CPU for each core.
    pub(crate) cpus: Vec<usize>,
    /// Whether each core's thread is bound to its CPU.
    pub(crate) pin: bool,
    /// Why so many, for the log.
    pub(crate) reason: &'static str,
}

/// Asks the kernel, then chooses.
pub(crate) fn detect(wanted: Option<u16>) -> Cores {
    // A kernel that does not say is one core: correct anywhere, and the log says why.
    let affinity = os::affinity().unwrap_or_default();
    choose(&affinity, quota(), wanted)
}

fn choose(affinity: &[usize], quota: Option<usize>, wanted: Option<u16>) -> Cores {
    if affinity.is_empty() {
        let count = wanted.map_or(1, usize::from).max(1);
        return Cores {
            cpus: vec![0; count],
            pin: false,
            reason: "the kernel does not say which CPUs there are",
        };
    }
    if let Some(wanted) = wanted {
        let count = usize::from(wanted).max(1);
        let cpus: Vec<usize> = affinity.iter().copied().cycle().take(count).collect();
        // More threads than CPUs: pinning would tie two of them to one CPU while others are idle.
        let pin = count <= affinity.len();
        return Cores {
            cpus,
            pin,
            reason: "process.cores",
        };
    }
    match quota {
        // Pinning to the first few CPUs would meet every other container that does the same there: the kernel spreads them.
        Some(quota) if quota < affinity.len() => Cores {
            cpus: affinity.iter().copied().take(quota.max(1)).collect(),
            pin: false,
            reason: "the cgroup's CPU quota",
        },
        Some(_) | None => Cores {
            cpus: affinity.to_vec(),
            pin: true,
            reason: "the CPUs that affinity allows",
        },
    }
}

/// The least quota of this process's cgroup and those above it, in whole CPUs, rounded up.
fn quota() -> Option<usize> {
    let of_self = fs::read_to_string("/proc/self/cgroup").ok()?;
    let inside = unified_path(&of_self)?;
    let root = Path::new("/sys/fs/cgroup");
    // The path is absolute within the hierarchy; in a cgroup namespace it is `/`, and the root is our own.
    let mut folder = root.join(inside.trim_start_matches('/'));
    let mut least = None;
    loop {
        let here = fs::read_to_string(folder.join("cpu.max"))
            .ok()
            .and_then(|text| cpus_of_max(&text));
        least = match (least, here) {
            (Some(a), Some(b)) => Some(usize::min(a, b)),
            (a, b) => a.or(b),
        };
        if folder == root || !folder.pop() || !folder.starts_with(root) {
            return least;
        }
    }
}

/// The path on the `0::` line of `/proc/self/cgroup`.
fn unified_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `cpu.max` in whole CPUs, rounded up: `150000 100000` is 2; `max 100000` is none.
fn cpus_of_max(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words
        .next()
        .map_or(Some(100_000), |word| word.parse().ok())?;
    if period == 0 {
        return None;
    }
    usize::try_from(quota.div_ceil(period).max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_rounds_up_and_max_is_none() {
        for (text, expect) in [
            ("max 100000\n", None),
            ("100000 100000\n", Some(1)),
            ("150000 100000\n", Some(2)),
            ("50000 100000\n", Some(1)),
            ("400000 100000\n", Some(4)),
            ("200000", Some(2)),
            ("1 0", None),
            ("", None),
            ("x y", None),
        ] {
            assert_eq!(cpus_of_max(text), expect, "{text:?}");
        }
    }

    #[test]
    fn the_unified_line_is_found() {
        assert_eq!(
            unified_path("9:name=systemd:/\n1:cpu:/\n0::/a/b\n"),
            Some("/a/b")
        );
        assert_eq!(unified_path("4:memory:/x\n"), None);
    }

    #[test]
    fn cores_are_affinity_cut_by_quota_or_as_wanted() {
        type Case = (
            &'static [usize],
            Option<usize>,
            Option<u16>,
            &'static [usize],
            bool,
        );
        let cases: [Case; 8] = [
            (&[0, 1, 2, 3], None, None, &[0, 1, 2, 3], true),
            (&[4, 6], None, None, &[4, 6], true),
            (&[0, 1, 2, 3], Some(2), None, &[0, 1], false),
            (&[0, 1], Some(8), None, &[0, 1], true),
            (&[0, 1, 2, 3], Some(1), Some(3), &[0, 1, 2], true),
            (&[0, 1], None, Some(3), &[0, 1, 0], false),
            (&[], None, None, &[0], false),
            (&[], None, Some(2), &[0, 0], false),
        ];
        for (affinity, quota, wanted, cpus, pin) in cases {
            let cores = choose(affinity, quota, wanted);
            assert_eq!((cores.cpus.as_slice(), cores.pin), (cpus, pin));
        }
    }
}
