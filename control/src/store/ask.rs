//! What the store is asked for, and what it says of a reload.

use std::fmt;

use ringway_config::{Errors, Problem};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::diff::Change;
use crate::dns::{self, LookupError, Question};
use crate::files::LoadError;

/// Why a reload is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// HUP or the admin interface: read again even what looks the same (the environment is part of it).
    Asked,
    /// The watch saw something: a file that reads as before is no reload.
    Watched,
}

/// Something for the store to do.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Read the source again.
    Reload {
        /// Why.
        cause: Cause,
        /// Who waits for the outcome.
        reply: Option<oneshot::Sender<Result<Report, Refusal>>>,
    },
    /// Files of TLS may have changed.
    Renew,
    /// The answer to a name's lookup.
    Resolved {
        /// What was asked for.
        question: Question,
        /// What was found.
        answer: Result<dns::Answer, LookupError>,
    },
}

/// What a reload did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The version that serves now.
    pub(crate) version: u64,
    /// What is another than before; empty: nothing.
    pub(crate) changes: Vec<Change>,
}

/// Why a reload was refused; the old configuration serves on.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It could not be read, or is wrong in itself.
    Load(LoadError),
    /// It is wrong in what only building it shows.
    Wrong(Errors),
    /// The process stops.
    Stopping,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Wrong(errors) => errors.fmt(f),
            Self::Stopping => {
                f.write_str("error: the process stops and takes no new configuration")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// What is wrong, one by one.
    pub(crate) fn problems(&self) -> &[Problem] {
        match self {
            Self::Load(LoadError::Config(errors)) | Self::Wrong(errors) => &errors.problems,
            Self::Load(LoadError::Read { .. } | LoadError::Format { .. }) | Self::Stopping => &[],
        }
    }
}
