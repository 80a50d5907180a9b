//! Hosts that are found by DNS, and whom to ask.

use super::{DnsName, DnsServer, Listed, Positive, choice, fields::record};
use crate::{DiscoveryKind, Family};

record! {
    /// Hosts that are found by DNS instead of being listed.
    DiscoveryRecord {
        /// The name, and the port where addresses are asked for: `api.internal:8080`.
        dns: DnsName,
        /// What is asked for.
        records: RecordsWord = "address",
        /// What the answers are.
        kind: DiscoveryKind = "strict",
        /// Which addresses count.
        family: Family = "any",
        /// The longest time between two lookups. A record that lives shorter is asked for sooner, but not before `process.dns.min_ttl`.
        refresh: Positive = "30s",
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordsWord {
    Address,
    Srv,
}

choice!(RecordsWord {
    Address = "address": "addresses, by A and AAAA",
    Srv = "srv": "services, each with a name, a port, a priority and a weight of its own; and then the addresses of these names",
});

choice!(DiscoveryKind {
    Strict = "strict": "each address is a host, and one that is in the answer no more is gone",
    Logical = "logical": "all addresses are one host: a new connection goes to the first that takes it, and what is open stays",
});

choice!(Family {
    Any = "any": "all",
    Ipv4 = "ipv4": "those of IPv4",
    Ipv6 = "ipv6": "those of IPv6",
});

record! {
    /// Who is asked for host names, and how.
    DnsRecord {
        /// Name servers, asked by UDP, and by TCP where an answer is too long. Without this key: those of `/etc/resolv.conf`, with its search list and options.
        servers: Listed<DnsServer>,
        /// The shortest time between two lookups of a name, whatever its time to live.
        min_ttl: Positive = "1s",
        /// The limit of a lookup, over all servers and tries. A start and a reload wait no longer for new names.
        timeout: Positive = "5s",
    }
}
