//! What the operator wants, as plain data.
//!
//! Every source of configuration (YAML, JSON, TOML, and later MOSN's and Envoy's own files and xDS) ends in one
//! [`Config`]: parsed once, right for ever, comparable with `==`. It carries no line numbers, because a moved line
//! must not drop a connection pool; the parsers return those beside it.

mod balance;
mod cluster;
mod discovery;
mod endpoints;
mod error;
pub mod filters;
mod health;
mod listener;
mod model;
mod native;
mod proxy_protocol;
mod route;
mod rpc;
mod spelling;
mod tcp;
mod tls;
pub mod transcode;
mod units;

pub use balance::*;
pub use cluster::*;
pub use discovery::*;
pub use endpoints::{Differing, Endpoints};
pub use error::*;
pub use health::*;
pub use listener::*;
pub use model::*;
pub use native::*;
pub use proxy_protocol::*;
pub use route::*;
pub use rpc::*;
pub use spelling::nearest;
pub use tcp::*;
pub use tls::*;
pub use units::*;
