//! The few questions to the kernel that the standard library does not ask: open files, affinity, the monotonic clock, what may be written.
#![expect(
    unsafe_code,
    reason = "libc's calls have no safe form in the dependencies that we have"
)]

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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

/// Links that lead to a file, one to the next; the kernel follows as many.
const LINKS_MAX: u32 = 40;

/// Whether a file could be opened for writing, and made where it is not there: nothing is opened or made to find out.
pub(crate) fn writable(path: &Path) -> io::Result<()> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::metadata(&path) {
            Ok(file) if file.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => return access(&path, libc::W_OK),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        // A link to nothing: the file is made where it leads.
        let Ok(target) = fs::read_link(&path) else {
            return access(&folder.join("."), libc::W_OK | libc::X_OK);
        };
        path = folder.join(target);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// By the ids that the process acts under.
fn access(path: &Path, mode: libc::c_int) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the pointer is to a string that ends in NUL and lives through the call, which only reads it.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_could_be_written_is_told_without_writing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("there"), "mine").unwrap();
        symlink(at("new"), at("link")).unwrap();
        symlink("gone/new", at("astray")).unwrap();
        symlink("circle", at("circle")).unwrap();
        for (name, good) in [
            ("there", true),
            ("new", true),
            ("link", true),
            ("astray", false),
            ("circle", false),
            ("gone/new", false),
            ("there/new", false),
            (".", false),
        ] {
            let told = writable(&at(name));
            assert_eq!(told.is_ok(), good, "{name}: {told:?}");
        }
        assert_eq!(fs::read_to_string(at("there")).unwrap(), "mine");
        assert!(!at("new").exists());
    }

    #[test]
    fn the_kernel_answers() {
        assert!(!affinity().unwrap().is_empty());
        assert!(raise_open_files().unwrap() >= 64);
        let before = monotonic_micros();
        assert!(before > 0 && monotonic_micros() >= before);
    }
}
