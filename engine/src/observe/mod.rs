//! What a core counts, times and logs: written by cores, read by control.
//!
//! Every number has one writer, so that counting is a load, an add and a store, without a locked instruction; control
//! adds up the cores' numbers when somebody asks.

pub mod access_log;
pub mod calls;
pub mod counter;
mod fact;
mod flag;
pub mod histogram;
pub mod log_ring;
mod log_time;
mod operator;
pub mod scope;
pub mod stats;
mod tls;

pub use calls::{ByMethod, CallStats, Calls, RpcCalls, RpcEnd, RpcStats};
pub use counter::{Classes, Counter, Gauge, PerCore, Slot, Tally};
pub use histogram::{Distribution, Histogram};
pub use scope::{Kind, Metric, Scope, Value};
pub use stats::{
    CertificateStats, ClusterStats, CoreStats, HostStats, ListenerStats, ProcessStats,
    RouteTableStats, Stats, WatchStats,
};
pub use tls::TlsFailure;
