//! Bytes to messages and back, with no sockets, no clock and no configuration: limits come in as plain structs.

mod fields;
pub mod message;

pub use fields::{Field, FieldId, Fields};
