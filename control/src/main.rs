//! The process.

mod telemetry;

fn main() {}
