//! What the process tells of itself: numbers in Prometheus' and Envoy's forms, and access logs on their way to files.
//!
//! The numbers are pure functions of the engine's registry; only the access logs' writer is a thread.

pub(crate) mod access_log;
pub(crate) mod prometheus;
mod series;
pub(crate) mod stats;

pub(crate) use series::{Selection, Zeros};
