//! Connections to a host, by what it speaks.

pub(super) mod http1;
pub(super) mod http2;
pub(super) mod rpc;

pub(crate) use http1::{ANSWER_READ, BULK_READ, Connection};
pub(crate) use http2::{Answering, Closed, Receiving, Sender, Slot};
pub(crate) use rpc::Slot as RpcSlot;

/// The right to send one request to a host. Dropped unused or half used, it leaves nothing behind that another request
/// could meet.
pub(crate) enum Lease {
    /// A connection of its own.
    Http1(Connection),
    /// A place on a connection that others use too.
    Http2(Slot),
    /// A place for a call on a connection of an RPC protocol.
    Rpc(RpcSlot),
}
