//! The root: [`Config`], and what concerns the whole process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Cluster, Dns, Listener, Name, RouteTable};

/// A whole configuration. Names are unique within their kind, and every reference by name resolves.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// What concerns the whole process.
    pub process: Process,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// Every route table, the inline ones too (those are named after their listener and chain).
    pub route_tables: Vec<RouteTable>,
    /// Where requests go.
    pub clusters: Vec<Cluster>,
    /// The admin interface; absent: none.
    pub admin: Option<Admin>,
}

impl Config {
    /// The files for secrets of TLS sessions, each with the path of the key that names it.
    pub fn key_logs(&self) -> impl Iterator<Item = (String, &PathBuf)> {
        let listeners = self.listeners.iter().enumerate().flat_map(|(i, listener)| {
            let chains = listener.chains.iter().enumerate();
            chains.filter_map(move |(j, chain)| {
                let file = chain.tls.as_ref()?.key_log.as_ref()?;
                Some((format!("listeners[{i}].chains[{j}].tls.key_log"), file))
            })
        });
        let clusters = self.clusters.iter().enumerate();
        let clusters = clusters.filter_map(|(i, cluster)| {
            let file = cluster.tls.as_ref()?.key_log.as_ref()?;
            Some((format!("clusters[{i}].tls.key_log"), file))
        });
        listeners.chain(clusters)
    }
}

/// What concerns the whole process. A change of `cores` or `io_driver` needs a restart; a reload that changes one is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Threads to run; absent: one for each core that affinity and the cgroup quota allow.
    pub cores: Option<u16>,
    /// How cores do their I/O.
    pub io_driver: IoDriver,
    /// How long accepting goes on, answers saying `Connection: close`, after TERM. Default 5 s.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that before they are cut. Default 30 s.
    pub drain_timeout: Duration,
    /// Client connections of the whole process; absent: derived from the limit of open files.
    pub max_connections: Option<u64>,
    /// Pipes of each core through which large transfers go uncopied; 0: none. Default 64.
    pub splice_pipes: u32,
    /// A file of the keys that seal TLS tickets, for a fleet; absent: keys of this process, which rotate.
    pub ticket_keys: Option<PathBuf>,
    /// Who is asked for host names.
    pub dns: Dns,
    /// The process's own log.
    pub log: Log,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            cores: None,
            io_driver: IoDriver::Auto,
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            max_connections: None,
            splice_pipes: 64,
            ticket_keys: None,
            dns: Dns::default(),
            log: Log::default(),
        }
    }
}

/// How cores do their I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IoDriver {
    /// io_uring where the kernel allows it, else epoll with one warning.
    #[default]
    Auto,
    /// io_uring or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// The process's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Log {
    /// The least level written. Default `info`.
    pub level: LogLevel,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Levels of the process's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens. Anything but loopback or a Unix socket is allowed, and warned about.
    pub address: AdminAddress,
}

/// Where the admin interface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode 0600.
    Unix(PathBuf),
}

/// One access log of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// What a line says.
    pub format: LogFormat,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, opened for appending, reopened on USR1.
    File(PathBuf),
    /// The same for secrets (`key_log`): for nobody but its owner.
    Keys(PathBuf),
}

/// What an access log line says, in Envoy's `%OPERATOR%` language (compiled by `Snapshot::build`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// A line of text; absent in the file: Envoy's default line.
    Text(String),
    /// A JSON object: keys in order, each value a format of its own.
    Json(Vec<(String, String)>),
}

/// A filter's use: its registered name and its own configuration, parsed by the filter when a snapshot is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The name it is registered by.
    pub name: Name,
    /// Its configuration, as the file says it.
    pub config: serde_json::Value,
}
