//! The process's own log on standard error, whose level and form change while it runs.

use std::cell::Cell;
use std::io;

use ringway_config::{Log, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;
type Form = Box<dyn Layer<Filtered> + Send + Sync>;

/// The log's switches.
pub(crate) struct Logging {
    filter: reload::Handle<Targets, Registry>,
    form: reload::Handle<Form, Filtered>,
    level: Cell<LogLevel>,
}

impl Logging {
    /// Starts the process's log. A second one in a process writes nothing of its own: the first stays.
    pub(crate) fn start(log: &Log) -> Self {
        let (filter, filter_handle) = reload::Layer::new(targets(log.level));
        let (form, form_handle) = reload::Layer::new(form_of(log));
        let _a_test_started_one = tracing_subscriber::registry()
            .with(filter)
            .with(form)
            .try_init();
        Self {
            filter: filter_handle,
            form: form_handle,
            level: Cell::new(log.level),
        }
    }

    /// The level now.
    pub(crate) fn level(&self) -> LogLevel {
        self.level.get()
    }

    /// Changes the level, until the configuration says another.
    pub(crate) fn set_level(&self, level: LogLevel) {
        self.level.set(level);
        if let Err(error) = self.filter.reload(targets(level)) {
            tracing::error!(%error, "the log's level was not changed");
        }
    }

    /// Takes over what a changed configuration says.
    pub(crate) fn apply(&self, log: &Log) {
        self.set_level(log.level);
        if let Err(error) = self.form.reload(form_of(log)) {
            tracing::error!(%error, "the log's form was not changed");
        }
    }
}

/// Our own crates at the level asked for; those beneath only where they warn, or `trace` would be theirs alone.
fn targets(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(LevelFilter::min(own, LevelFilter::WARN))
        .with_target("ringway", own)
}

fn form_of(log: &Log) -> Form {
    // Standard error may be a file or a journal: no colours. Control bytes in values are escaped by the formatter.
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(false);
    if log.json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.boxed()
    }
}

/// A level by its name.
pub(crate) fn level_of(name: &str) -> Option<LogLevel> {
    Some(match name {
        "error" | "critical" => LogLevel::Error,
        "warn" | "warning" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => return None,
    })
}

/// A level's name.
pub(crate) fn name_of(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn names_and_levels_agree() {
        for name in ["error", "warn", "info", "debug", "trace"] {
            assert_eq!(level_of(name).map(name_of), Some(name));
        }
        assert_eq!(level_of("loud"), None);
    }

    #[test]
    fn the_level_is_our_own_crates_and_others_only_warn() {
        let targets = targets(LogLevel::Debug);
        assert!(targets.would_enable("ringway_engine::core", &Level::DEBUG));
        assert!(!targets.would_enable("ringway", &Level::TRACE));
        assert!(!targets.would_enable("hyper::proto", &Level::INFO));
        assert!(targets.would_enable("hyper::proto", &Level::WARN));
    }
}
