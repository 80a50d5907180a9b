//! Connections to a host, by what it speaks.

pub(super) mod http1;

pub(crate) use http1::{ANSWER_READ, Connection};

/// The right to send one request to a host. Dropped unused or half used, it leaves nothing behind that another request
/// could meet.
pub(crate) enum Lease {
    /// A connection of its own.
    Http1(Connection),
}
