//! Bytes to messages and back, with no sockets, no clock and no configuration: limits come in as plain structs.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        reason = "a wrong index in a test is a failed test"
    )
)]

pub mod client_hello;
mod fields;
pub mod http1;
pub mod message;

pub use fields::{Field, FieldId, Fields};
