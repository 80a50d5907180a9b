//! What only the system can tell or do: signals, descriptor limits, resets, memory and CPU of a process.
#![allow(unsafe_code, reason = "calls of libc that std has no safe form for")]

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    // SAFETY: kill takes two numbers and touches no memory; the pid is a child not yet waited for.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "kill: {}", std::io::Error::last_os_error());
}

/// Bytes sent and not yet acknowledged by the other end's kernel.
pub fn unacknowledged(stream: &TcpStream) -> i32 {
    let mut bytes = 0;
    // SAFETY: the descriptor is open while `stream` is borrowed, and the call writes one int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(result, 0, "SIOCOUTQ: {}", std::io::Error::last_os_error());
    bytes
}

/// Segments sent again on this connection since it began.
pub fn retransmitted(stream: &TcpStream) -> u32 {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = u32::try_from(size_of::<libc::tcp_info>()).expect("small");
    // SAFETY: the descriptor is open while `stream` is borrowed; the call writes at most `length` bytes into `info`.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "TCP_INFO: {}", std::io::Error::last_os_error());
    // SAFETY: all of it is integers, zero where the kernel wrote nothing.
    unsafe { info.assume_init() }.tcpi_total_retrans
}

/// Whether the other end closes (or resets) within so long. Takes no bytes.
pub fn closes_within(socket: &impl AsRawFd, time: std::time::Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    let millis = i32::try_from(time.as_millis()).expect("short");
    // SAFETY: the pointer is to one pollfd, as the count says; the descriptor is open while `socket` is borrowed.
    unsafe { libc::poll(&raw mut poll, 1, millis) > 0 }
}

/// Waits until one of two can be read or written, as each says of itself; `false` if that takes longer than `time`.
pub fn either_ready(
    a: (&TcpStream, (bool, bool)),
    b: (&TcpStream, (bool, bool)),
    time: std::time::Duration,
) -> bool {
    let mut both = [a, b].map(|(socket, (reads, writes))| libc::pollfd {
        // Without either, a socket at its end would be ready for ever.
        fd: if reads || writes {
            socket.as_raw_fd()
        } else {
            -1
        },
        events: if reads { libc::POLLIN } else { 0 } | if writes { libc::POLLOUT } else { 0 },
        revents: 0,
    });
    let millis = i32::try_from(time.as_millis()).expect("short");
    // SAFETY: the pointer is to two pollfds, as the count says; the descriptors are open while they are borrowed.
    unsafe { libc::poll(both.as_mut_ptr(), 2, millis) > 0 }
}

/// Ends a listening socket, though others may have it open: a process that is being started has all of ours until it runs its own program.
pub fn stop_listening(listener: &TcpListener) {
    // SAFETY: the descriptor is open while `listener` is borrowed, and the call touches no memory.
    let result = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    assert_eq!(result, 0, "shutdown: {}", std::io::Error::last_os_error());
}

/// Makes closing this socket send a reset instead of a FIN.
pub fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open while `stream` is borrowed; the pointer and length describe `linger`.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            u32::try_from(size_of::<libc::linger>()).expect("small"),
        )
    };
    assert_eq!(result, 0, "SO_LINGER: {}", std::io::Error::last_os_error());
}

/// Whoever holds it may have thousands of descriptors open: all tests together share the process's.
pub fn crowd() -> MutexGuard<'static, ()> {
    static CROWD: Mutex<()> = Mutex::new(());
    // One that failed has closed its own.
    CROWD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Raises this process's soft limit of open files to the hard one, and that to `wanted` where this user may; returns it.
pub fn raise_nofile(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: all calls are given a pointer to a live rlimit.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let higher = libc::rlimit {
            rlim_cur: limit.rlim_max.max(wanted),
            rlim_max: limit.rlim_max.max(wanted),
        };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const higher) == 0 {
            return higher.rlim_cur;
        }
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    limit.rlim_cur
}

/// Whether the kernel lets us make an io_uring.
pub fn io_uring_allowed() -> bool {
    // struct io_uring_params is 120 bytes, all zero for the defaults.
    let mut params = [0_u64; 15];
    // SAFETY: the pointer is to 120 writable, aligned bytes, which is what the call fills.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    let Ok(fd) = i32::try_from(fd) else {
        return false;
    };
    if fd < 0 {
        return false;
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    true
}

/// Resident memory of a process, in KiB.
pub fn rss_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("VmRSS in kB")
}

/// CPU time of a process so far, in ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
    let after = text.rsplit(')').next().expect("a name in parentheses");
    let mut words = after.split_whitespace().skip(11);
    let mut next = || {
        words
            .next()
            .and_then(|word| word.parse::<u64>().ok())
            .expect("ticks")
    };
    next() + next()
}

/// Open descriptors of a process.
pub fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a live process")
        .count()
}
