//! The load benchmark's two ends: an origin with fixed answers and a load generator, each one thread on epoll; and an origin of HTTP/2.
//!
//! Both share a core while the proxy has another to itself, so they must be light: one `recv` and one `send` per
//! message, nothing allocated per request. The generator also reads the proxy's CPU time, at the very moments its
//! measuring starts and ends, so that no start-up or warm-up is counted.

mod args;
mod cpu;
mod error;
mod exchange;
mod form;
mod latency;
mod load;
mod origin;
mod origin_h2;
mod poller;
mod pour;
mod rpc_origin;

use std::process::ExitCode;

use crate::args::Args;
use crate::error::LoadError;
use crate::form::Form;

const USAGE: &str = "\
bench-load origin --listen ADDR [--form bolt|dubbo]
bench-load origin-h2 --listen ADDR
bench-load load   --target ADDR --path PATH --connections N --warmup SECONDS --seconds SECONDS
                  [--form bolt|dubbo --length BYTES [--service NAME] [--group NAME]] [--rate PER_SECOND] [--close yes] [--proxy PID --origin PID --cores 0,1]
bench-load pour   --target ADDR --path PATH [--pause-at BYTES --pause SECONDS]
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let done = Args::parse(words).and_then(|args| match command.as_str() {
        "origin" => match args.form()? {
            Form::Http => origin::run(&args),
            form @ (Form::Bolt | Form::Dubbo) => rpc_origin::run(&args, form),
        },
        "origin-h2" => origin_h2::run(&args),
        "load" => load::run(&args),
        "pour" => pour::run(&args),
        _ => Err(LoadError::Usage("no such command")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(LoadError::Usage(what)) => {
            eprintln!("bench-load: {what}\n{USAGE}");
            ExitCode::from(2)
        }
        Err(LoadError::Io(what, error)) => {
            eprintln!("bench-load: {what}: {error}");
            ExitCode::FAILURE
        }
    }
}
