//! One core: sockets, requests, pools.
//!
//! A core owns its ring, its listeners, its pools and its balancing state, and shares nothing. Snapshots come down to it,
//! counts go up from it, and it never waits for another core.

pub mod cluster;
pub mod fault;
pub mod filter;
pub mod net;
pub mod observe;
pub mod request;
pub mod rng;
pub mod time;
