//! The harness: what stands around the proxy in the tests — real origins, strict clients, scripted wires.
//!
//! Everything here is blocking threads over `std`: a test reads top to bottom, and nothing of the proxy's own code
//! judges the proxy. What goes wrong panics, since that is how a test fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    reason = "a harness fails its test by panicking"
)]

pub mod bridge;
pub mod certs;
pub mod client;
pub mod dns;
pub mod frames;
pub mod h2_origin;
mod h2_sent;
pub mod hello;
pub mod hpack;
pub mod http;
pub mod http2;
pub mod origin;
pub mod pattern;
pub mod proxy;
pub mod rpc;
pub mod rpc_frames;
pub mod secure;
pub mod site;
pub mod sys;
pub mod tempdir;
pub mod wait;
pub mod websocket;
pub mod wire;

pub use certs::{Authority, Leaf, Wanted};
pub use client::Client;
pub use dns::{Mood, NameServer};
pub use frames::Frames;
pub use h2_origin::{H2Origin, H2Seen, H2Setup};
pub use http::{Broken, Head, Response};
pub use http2::Http2;
pub use origin::{Origin, Seen};
pub use proxy::{Driver, Proxy, site};
pub use secure::Secure;
pub use site::Site;
pub use tempdir::TempDir;
pub use wait::{DEADLINE, Until, wait_equal, wait_for, wait_steady, wait_until};
pub use wire::{Wire, WireServer};

/// Runs each of these cases (functions of a [`Driver`]) under both I/O drivers, as `name::io_uring` and `name::epoll`.
#[macro_export]
macro_rules! both_drivers {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn io_uring() {
                if $crate::Driver::IoUring.allowed() {
                    super::$name($crate::Driver::IoUring);
                }
            }
            #[test]
            fn epoll() {
                super::$name($crate::Driver::Epoll);
            }
        }
    )*};
}
