//! One core: sockets, requests, pools.
//!
//! A core owns its ring, its listeners, its pools and its balancing state, and shares nothing. Snapshots come down to it,
//! counts go up from it, and it never waits for another core.

pub mod cluster;
mod core;
pub mod fault;
pub mod filter;
pub mod grpc;
pub mod handle;
mod header_ops;
mod http2;
mod net;
pub mod observe;
mod proxy;
pub mod request;
pub mod rng;
pub mod route;
mod serve;
pub mod snapshot;
pub mod time;
mod view;

#[cfg(debug_assertions)]
pub use cluster::{Asking, Begun, News, Refused, Rehearsal, Request};
pub use cluster::{
    Census, ClusterSpec, HostSpec, HostState, Hosts, Location, Mark, Picker, Report, Streak,
};
pub use handle::{Handle, Options, StartError};
pub use net::{BoundAddress, DriverChoice, DriverError, Setup, probe, remove_socket, tls};
pub use snapshot::{Inputs, ServiceAddress, Snapshot};
pub use view::{Reports, Updater};
