//! What can go wrong before or around a measurement; what goes wrong within one is counted instead.

use std::io;

/// Why the program stops.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The command line makes no sense.
    Usage(&'static str),
    /// The operating system refused something.
    Io(&'static str, io::Error),
}

impl LoadError {
    /// For `map_err`: what was tried.
    pub(crate) fn io<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Io(what, error.into())
    }
}
