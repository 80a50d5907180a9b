//! A cluster: interchangeable hosts, how one is picked, how connections to them are made, kept and limited.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Balance, Locality, Name, Placement, SlowStart, Sticky, Subsets};

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
    /// How hosts that are new or came back get their share; absent: at once.
    pub slow_start: Option<SlowStart>,
    /// How priorities and localities share the requests.
    pub placement: Placement,
    /// Hosts by metadata; absent: routes cannot ask for some of them.
    pub subsets: Option<Subsets>,
    /// Clients that stay with their host by a cookie.
    pub sticky: Option<Sticky>,
}

impl Cluster {
    /// A cluster of these hosts, everything else as where a file says nothing.
    pub fn new(name: Name, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name,
            balance: Balance::default(),
            endpoints,
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: None,
            pool: Pool::default(),
            dns_refresh: Duration::from_secs(30),
            slow_start: None,
            placement: Placement::default(),
            subsets: None,
            sticky: None,
        }
    }
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share, 1 to 128 by use; default 1.
    pub weight: u32,
    /// 0 is asked first, then 1, … Default 0.
    pub priority: u8,
    /// Where it stands.
    pub locality: Locality,
    /// What subsets tell hosts apart by: keys and values, sorted by key.
    pub metadata: Vec<(String, String)>,
}

impl Endpoint {
    /// A host of weight 1 and priority 0, with nothing more to say of it.
    pub fn new(address: EndpointAddress) -> Self {
        Self {
            address,
            weight: 1,
            priority: 0,
            locality: Locality::default(),
            metadata: Vec::new(),
        }
    }
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
