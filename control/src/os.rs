//! The few questions to the kernel that the standard library does not ask: open files, affinity, the monotonic clock.
#![expect(
    unsafe_code,
    reason = "libc's calls have no safe form in the dependencies that we have"
)]

use std::io;
use std::mem::MaybeUninit;

/// Raises the soft limit of open files to the hard one and returns what it is then.
pub(crate) fn raise_open_files() -> io::Result<u64> {
    let mut limit = open_files()?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the pointer is to a live rlimit; the call only reads it.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            // A hard limit above `fs.nr_open` cannot be had: what we have is then what we work with.
            limit = open_files()?;
        }
    }
    Ok(limit.rlim_cur)
}

fn open_files() -> io::Result<libc::rlimit> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the pointer is to room for one rlimit, which the call fills when it returns 0.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned 0, so it filled the value.
    Ok(unsafe { limit.assume_init() })
}

/// The CPUs that this thread may run on, ascending.
pub(crate) fn affinity() -> io::Result<Vec<usize>> {
    // SAFETY: a cpu_set_t is plain bits, for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the pointer is to a set of the size that is given.
    let failed =
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    let bits = libc::CPU_SETSIZE as usize;
    // SAFETY: every number asked for is below the set's size.
    Ok((0..bits)
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
        .collect())
}

/// Microseconds of CLOCK_MONOTONIC, which systemd wants beside `RELOADING=1`.
pub(crate) fn monotonic_micros() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec. The call cannot fail for this clock; if it did, zero is what is left.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        assert!(!affinity().unwrap().is_empty());
        assert!(raise_open_files().unwrap() >= 64);
        let before = monotonic_micros();
        assert!(before > 0 && monotonic_micros() >= before);
    }
}
