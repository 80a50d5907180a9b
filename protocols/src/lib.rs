//! Bytes to messages and back, with no sockets, no clock and no configuration: limits come in as plain structs.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a wrong index or a number cut short in a test is a failed test"
    )
)]

pub mod bolt;
pub mod client_hello;
pub mod codec;
pub mod dubbo;
pub mod example;
mod fields;
pub mod hessian;
pub mod http1;
pub mod http2;
pub mod message;
mod output;
pub mod proxy_protocol;
pub mod reader;
pub mod tars;
pub mod thrift;
pub mod trial;

pub use fields::{Field, FieldId, Fields};
