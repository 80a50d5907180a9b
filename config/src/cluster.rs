//! A cluster: interchangeable hosts, how one is picked, how connections to them are made, kept and limited.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::Name;

/// Interchangeable hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: Name,
    /// How a host is picked.
    pub balance: Balance,
    /// The hosts; not empty.
    pub endpoints: Vec<Endpoint>,
    /// The limit of making a connection. Default 2 s.
    pub connect_timeout: Duration,
    /// From the request's last byte to the first byte of the answer; absent: only the route's limits.
    pub first_byte_timeout: Option<Duration>,
    /// How connections are kept.
    pub pool: Pool,
    /// How often host names are resolved again. Default 30 s.
    pub dns_refresh: Duration,
}

/// How a host is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// Of two picked by chance (by weight), the one with fewer requests in flight.
    LeastRequest,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share, 1 to 128 by use; default 1.
    pub weight: u32,
}

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An IPv4 or IPv6 address.
    Ip(SocketAddr),
    /// A host name and port, resolved at start and again every `dns_refresh` on the control thread; each address is a host.
    Name(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// How a cluster's connections are kept, by each core for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// An unused connection is closed after this. Default 50 s (less than most servers' 60).
    pub idle_timeout: Duration,
    /// Unused connections kept per host and core. Default 512.
    pub max_idle: u32,
    /// Requests over one connection; absent: no limit.
    pub max_requests: Option<u64>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(50),
            max_idle: 512,
            max_requests: None,
        }
    }
}
