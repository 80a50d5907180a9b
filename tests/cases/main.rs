//! The proxy from outside: one test binary, a file for each subject, a name for each fact.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod connections;
mod crowds;
mod faults;
mod filters;
mod forwarding;
mod limits;
mod retries;
mod routing;
mod selfcheck;
mod timeouts;
mod upgrade;
