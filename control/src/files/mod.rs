//! Where the configuration comes from: a file, standard input read once, or a text of the program's own.

pub(crate) mod secrets;
mod watch;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringway_config::{Config, Errors, Format, Parsed, PathError};
use ringway_engine::filter::Registry;
use ringway_engine::observe::Stats;
use ringway_engine::{Inputs, Snapshot};

pub(crate) use watch::Watch;

/// A configuration larger than this is a mistake (a device, a log), and is refused before it fills the memory.
const SIZE_MAX: u64 = 64 << 20;

/// A source of configuration.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file, read again at each reload.
    File(PathBuf),
    /// A text that stays as it is: standard input, or the demo's.
    Text {
        /// What it is called in errors.
        name: &'static str,
        /// The text.
        text: String,
    },
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The source could not be read.
    Read {
        /// Which.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// The ending is none that is known.
    Format {
        /// Which.
        name: String,
    },
    /// What it says is wrong.
    Config(Errors),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { name, error } => write!(f, "error: cannot read `{name}`: {error}"),
            Self::Format { name } => write!(
                f,
                "error: `{name}` does not say what it is: name it `.yaml`, `.yml`, `.json` or `.toml`"
            ),
            Self::Config(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            Self::Format { .. } | Self::Config(_) => None,
        }
    }
}

impl Source {
    /// The source that `-c` names; `-` is standard input, which is read here, once.
    pub(crate) fn of_argument(path: &Path) -> Result<Self, LoadError> {
        if path != Path::new("-") {
            return Ok(Self::File(path.to_owned()));
        }
        let name = "<stdin>";
        let text = read_limited(io::stdin().lock()).map_err(|error| LoadError::Read {
            name: name.to_owned(),
            error,
        })?;
        Ok(Self::Text { name, text })
    }

    /// What it is called in errors.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text { name, .. } => (*name).to_owned(),
        }
    }

    /// The file, where there is one to watch.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text { .. } => None,
        }
    }

    /// Reads and parses it.
    pub(crate) fn load(&self, registry: &Registry) -> Result<Parsed, LoadError> {
        self.parse(&self.read()?, registry)
    }

    /// Its text as it is now.
    pub(crate) fn read(&self) -> Result<String, LoadError> {
        match self {
            Self::File(path) => fs::File::open(path)
                .and_then(read_limited)
                .map_err(|error| LoadError::Read {
                    name: self.name(),
                    error,
                }),
            Self::Text { text, .. } => Ok(text.clone()),
        }
    }

    /// Makes a configuration of a text of its.
    pub(crate) fn parse(&self, text: &str, registry: &Registry) -> Result<Parsed, LoadError> {
        let (format, base) = match self {
            Self::File(path) => {
                let format =
                    Format::of_path(path).ok_or_else(|| LoadError::Format { name: self.name() })?;
                (format, path.parent().unwrap_or(Path::new("")))
            }
            // Relative paths in a text are the working directory's.
            Self::Text { .. } => (Format::sniff(text), Path::new("")),
        };
        let env = |name: &str| std::env::var(name).ok();
        ringway_config::parse_and(text, format, &self.name(), &env, base, &|config| {
            built(config, registry)
        })
        .map_err(LoadError::Config)
    }
}

/// What only building a configuration shows: regular expressions, filters, formats of logs.
fn built(config: &Config, registry: &Registry) -> Vec<PathError> {
    let mut inputs = Inputs::default();
    inputs.tls.files = secrets::read(&secrets::wanted(config));
    let stats = Arc::new(Stats::new(1));
    Snapshot::build(config, registry, &inputs, &stats, None)
        .err()
        .unwrap_or_default()
}

fn read_limited(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let read = from.take(SIZE_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > SIZE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 64 MiB",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_so() {
        let missing = Source::File(PathBuf::from("/nonexistent/a.yaml"));
        let said = missing.load(&Registry::builtin()).unwrap_err().to_string();
        assert!(
            said.starts_with("error: cannot read `/nonexistent/a.yaml`: No such file"),
            "{said}"
        );
    }
}
