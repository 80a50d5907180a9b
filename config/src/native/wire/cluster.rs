//! Clusters, endpoints and pools.

use super::{
    Cx, Int, NonEmpty, Positive, Shape, Wire, choice, fields::record, fields::wrong_shape,
};
use crate::native::tree::{Node, Value};
use crate::{Balance, EndpointAddress, Name};

record! {
    /// Interchangeable hosts.
    ClusterRecord {
        /// Its name, to which routes refer.
        name: Name,
        /// How a host is picked.
        balance: Balance = "round_robin",
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
    }
}

choice!(Balance {
    RoundRobin = "round_robin": "in turn, by weight",
    Random = "random": "by chance, by weight",
    LeastRequest = "least_request": "of two picked by chance, the one with fewer requests in flight",
});

record! {
    /// A host with its weight.
    EndpointRecord {
        /// Where it is. A host name is resolved at start and again every `dns_refresh`; each of its addresses is a host.
        address: EndpointAddress,
        /// Its share against the other endpoints.
        weight: Int<1, 128> = 1,
    }
}

/// An endpoint, long or short.
#[derive(Clone, Debug)]
pub(crate) struct EndpointItem {
    pub address: EndpointAddress,
    pub weight: u32,
    pub at: String,
}

impl Wire for EndpointItem {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Map(_) => EndpointRecord::read(node, cx).map(|record| Self {
                address: record.address,
                weight: record.weight.u32(),
                at: record.at,
            }),
            Value::Text(_) => EndpointAddress::read(node, cx).map(|address| Self {
                address,
                weight: 1,
                at: node.path.clone(),
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
