//! Clusters, endpoints and pools.

use super::{
    BalanceItem, Cx, Int, LocalityRecord, MetadataPairs, NonEmpty, PlacementRecord, Positive,
    Shape, SlowStartRecord, StickyRecord, SubsetsRecord, Wire, fields::record, fields::wrong_shape,
};
use crate::native::tree::{Node, Value};
use crate::{EndpointAddress, Name};

record! {
    /// Interchangeable hosts.
    ClusterRecord {
        /// Its name, to which routes refer.
        name: Name,
        /// How a host is picked: a word, or a map of one key where the algorithm has something to set.
        balance: BalanceItem = "round_robin",
        /// The hosts.
        endpoints: NonEmpty<EndpointItem>,
        /// The limit of making a connection.
        connect_timeout: Positive = "2s",
        /// The limit from the request's last byte to the answer's first. Without this key: only the route's limits.
        first_byte_timeout: Option<Positive>,
        /// How connections are kept.
        pool: PoolRecord = {},
        /// How often host names are resolved again.
        dns_refresh: Positive = "30s",
        /// How hosts that are new or came back get their share. Without this key: the whole of it at once.
        slow_start: Option<SlowStartRecord>,
        /// How priorities and localities share the requests.
        placement: PlacementRecord = {},
        /// Sets of hosts by their metadata, which routes ask for with `metadata_match`.
        subsets: Option<SubsetsRecord>,
        /// Clients that stay with their host by a cookie that the proxy gives them.
        sticky: Option<StickyRecord>,
    }
}

record! {
    /// A host with its weight.
    EndpointRecord {
        /// Where it is. A host name is resolved at start and again every `dns_refresh`; each of its addresses is a host.
        address: EndpointAddress,
        /// Its share against the other endpoints.
        weight: Int<1, 128> = 1,
        /// Hosts of priority 0 are asked first; those of 1 get what too few of them are left for, and so on.
        priority: Int<0, 127> = 0,
        /// Where it stands.
        locality: LocalityRecord = {},
        /// What subsets tell it from others by, as `{ version: v2 }`.
        metadata: MetadataPairs,
    }
}

/// An endpoint, long or short.
#[derive(Clone, Debug)]
pub(crate) struct EndpointItem {
    pub address: EndpointAddress,
    pub weight: u32,
    pub priority: u8,
    pub locality: LocalityRecord,
    pub metadata: MetadataPairs,
    pub at: String,
}

impl Wire for EndpointItem {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Map(_) => EndpointRecord::read(node, cx).map(|record| Self {
                address: record.address,
                weight: record.weight.u32(),
                priority: record.priority.u8(),
                locality: record.locality,
                metadata: record.metadata,
                at: record.at,
            }),
            Value::Text(_) => EndpointAddress::read(node, cx).map(|address| Self {
                address,
                at: node.path.clone(),
                ..Self::hole()
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Unknown => {
                wrong_shape(node, &Self::shape(), cx);
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![EndpointAddress::shape(), EndpointRecord::shape()])
    }
    fn hole() -> Self {
        Self {
            address: Wire::hole(),
            weight: 1,
            priority: 0,
            locality: Wire::hole(),
            metadata: Wire::hole(),
            at: String::new(),
        }
    }
}

record! {
    /// How a cluster's connections are kept, by each core for itself.
    PoolRecord {
        /// An unused connection is closed after this.
        idle_timeout: Positive = "50s",
        /// Unused connections kept per host and core; 0 keeps none.
        max_idle: Int<0, 1_000_000> = 512,
        /// Requests over one connection. Without this key: no limit.
        max_requests: Option<Int<1, { u64::MAX }>>,
    }
}
