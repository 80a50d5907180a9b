//! The root, the process, its log, and the admin interface.

use std::path::PathBuf;
use std::time::Duration;

use super::{
    ClusterRecord, DnsRecord, Int, ListenerRecord, RouteTableRecord, Stated, choice, fields::record,
};
use crate::{AdminAddress, IoDriver, LogLevel};

record! {
    /// A whole configuration file.
    Root {
        /// What concerns the whole process.
        process: ProcessRecord = {},
        /// Where clients come in.
        listeners: Stated<ListenerRecord>,
        /// Route tables that several listeners share; each is referred to by its name.
        route_tables: Vec<RouteTableRecord>,
        /// Where requests go.
        clusters: Vec<ClusterRecord>,
        /// The admin interface: metrics, state, and the few commands. Without this key there is none.
        admin: Option<AdminRecord>,
    }
}

record! {
    /// What concerns the whole process. `cores` and `io_driver` take effect at a restart only; a reload that changes one is refused.
    ProcessRecord {
        /// Threads to run, each on a core of its own. Without this key: one for each core that affinity and the cgroup quota allow.
        cores: Option<Int<1, 1024>>,
        /// How cores do their I/O.
        io_driver: IoDriver = "auto",
        /// How long accepting goes on after TERM, with answers that say `Connection: close`.
        drain_delay: Duration = "5s",
        /// How long requests in flight may take after that before they are cut.
        drain_timeout: Duration = "30s",
        /// Client connections of the whole process; beyond it, accepting waits. Without this key: as the limit of open files allows.
        max_connections: Option<Int<1, { u64::MAX }>>,
        /// Pipes of each core, through which large transfers of bytes that are passed on go uncopied; 0: all is copied. Each takes two open files.
        splice_pipes: Int<0, 65_536> = 64,
        /// A file of the keys that seal TLS tickets, 64 hexadecimal digits a line, the newest first: it seals, all of them open. Processes with the same file take each other's tickets. Without this key: keys of this process alone, a new one every six hours.
        ticket_keys: Option<PathBuf>,
        /// How host names are looked up.
        dns: DnsRecord = {},
        /// The process's own log, on standard error.
        log: LogRecord = {},
    }
}

choice!(IoDriver {
    Auto = "auto": "io_uring where the kernel allows it, else epoll with one warning",
    IoUring = "io_uring": "io_uring, or no start",
    Epoll = "epoll": "epoll",
});

record! {
    /// The process's own log, on standard error.
    LogRecord {
        /// The least severe level that is written.
        level: LogLevel = "info",
        /// How a line is written.
        format: LogStyle = "text",
    }
}

choice!(LogLevel {
    Error = "error": "what keeps the proxy from doing its work",
    Warn = "warn": "what somebody should look at",
    Info = "info": "starts, stops, reloads",
    Debug = "debug": "for finding faults",
    Trace = "trace": "everything",
});

/// How a line of the process's own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogStyle {
    Text,
    Json,
}

choice!(LogStyle {
    Text = "text": "for people",
    Json = "json": "one JSON object a line",
});

record! {
    /// The admin interface.
    AdminRecord {
        /// Where it listens. It has no passwords: anything but loopback and a Unix socket (made with mode 0600) is warned about.
        address: AdminAddress,
    }
}
