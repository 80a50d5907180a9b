//! A `ringway` that speaks Courier too: everything else, the command line and the configuration, is as everywhere.

use std::process::ExitCode;

use ringway_courier::Courier;
use ringway_engine::filter::Registry;

fn main() -> ExitCode {
    ringway::main(Registry::builtin().codec(Courier))
}
