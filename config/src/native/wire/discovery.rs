//! Hosts that are found by DNS, and whom to ask.

use super::{DnsName, DnsServer, Listed, Positive, choice, fields::record};
use crate::{DiscoveryKind, Family};

record! {
    /// Finds hosts by DNS instead of listing them.
    DiscoveryRecord {
        /// The name to look up, with the port if it has addresses: `api.internal:8080`.
        dns: DnsName,
        /// The kind of records to look up.
        records: RecordsWord = "address",
        /// What the answers are.
        kind: DiscoveryKind = "strict",
        /// Which addresses count.
        family: Family = "any",
        /// The longest time between two lookups. If the records expire sooner, the next lookup is sooner, but not before `process.dns.min_ttl`.
        refresh: Positive = "30s",
    }
}

/// The kind of records to look up.
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
    /// How host names are looked up.
    DnsRecord {
        /// Name servers, queried by UDP, and by TCP where an answer is too long. Without this key: those of `/etc/resolv.conf`, with its search list and options.
        servers: Listed<DnsServer>,
        /// The shortest time between two lookups of a name, whatever its time to live.
        min_ttl: Positive = "1s",
        /// How long a lookup may take, over all servers and tries. A start or reload waits no longer than this for new names.
        timeout: Positive = "5s",
    }
}
