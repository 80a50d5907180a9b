//! `ringway`, with what is built in and nothing else.

mod allocator;

use std::process::ExitCode;

use ringway_engine::filter::Registry;

/// glibc's allocator costs a seventh of a request of HTTP/2, which allocates often; bench/README.md has the figures.
#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

fn main() -> ExitCode {
    ringway::main(Registry::builtin())
}
