//! The process: main, the command line, files, admin, names, telemetry.
//!
//! It runs beside the engine and reaches into it through its handle alone: snapshots go down, counts come up. A library so that a program
//! of one's own can be a `ringway` that knows more protocols and filters: `tests/private_codec` is one.

mod admin;
mod certs;
mod cli;
mod commands;
mod cores;
mod demo;
mod diff;
mod dns;
mod files;
mod health;
mod hosts;
mod limits;
mod logging;
mod os;
mod outlier;
mod process;
mod renewal;
#[cfg(test)]
#[cfg(debug_assertions)]
mod simulation;
mod store;
mod systemd;
mod telemetry;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ringway_engine::filter::Registry;

/// The program: the command line says what it does. `registry` is what configurations may name beside what is built in: filters, and
/// codecs of RPC protocols; [`Registry::builtin`] and nothing else makes the `ringway` that everybody has.
pub fn main(registry: Registry) -> ExitCode {
    // Rust's start-up ignores SIGPIPE already: a log's reader that goes away is an error of a write, not a death.
    // Wrong usage is printed by clap, which leaves with 2.
    commands::run(cli::Cli::parse().command(), registry)
}

/// Says something on standard output; a reader that has gone is no error of ours.
fn say(text: impl Display) {
    let _gone = writeln!(std::io::stdout().lock(), "{text}");
}

/// Says something on standard error.
fn say_error(text: impl Display) {
    let text = text.to_string();
    let _gone = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}
