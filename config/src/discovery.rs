//! Hosts that are found by DNS, and whom to ask.

use std::net::SocketAddr;
use std::time::Duration;

/// A cluster's hosts, found by DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The name that is asked for, in lower case.
    pub name: String,
    /// What is asked for.
    pub records: Records,
    /// What the answers are.
    pub kind: DiscoveryKind,
    /// Which addresses count.
    pub family: Family,
    /// The longest time between two lookups; a shorter time to live is kept to. Default 30 s.
    pub refresh: Duration,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Addresses (A and AAAA), to be connected to at this port.
    Addresses(u16),
    /// Services (SRV): names with ports, priorities and weights of their own, and then their addresses.
    Services,
}

/// What the answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DiscoveryKind {
    /// Each address is a host; one that is in the answer no more is gone.
    #[default]
    Strict,
    /// All addresses are one host. A new connection goes to the first of them that takes it; what is open stays.
    Logical,
}

/// Which addresses count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// Those of IPv4.
    Ipv4,
    /// Those of IPv6.
    Ipv6,
}

/// Who is asked for names, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; empty: those of the system (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// The shortest time between two lookups of a name, whatever its time to live. Default 1 s.
    pub min_ttl: Duration,
    /// The limit of a lookup. Default 5 s.
    pub timeout: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            min_ttl: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }
    }
}
