//! The log of ejections: why, when, for how long. The last thousand are kept for the admin interface.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_config::Name;
use serde_json::{Value, json};

use super::Change;

/// A day of trouble at one a minute, and small.
const EVENTS_MAX: usize = 1000;

/// What became of a host, and when.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: SystemTime,
    pub(crate) cluster: Name,
    pub(crate) host: Name,
    pub(crate) change: Change,
    /// How often it was ejected.
    pub(crate) ejections: u32,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (action, cause, time) = match self.change {
            Change::Ejected { cause, time } => ("eject", Some(cause), Some(time)),
            Change::Spared(cause) => ("spare", Some(cause), None),
            Change::Back => ("uneject", None, None),
        };
        json!({
            "time": at.as_secs_f64(),
            "cluster": self.cluster.as_str(),
            "host": self.host.as_str(),
            "action": action,
            "type": cause.map(super::Cause::name),
            "ejected_for_seconds": time.map(|time| time.as_secs_f64()),
            "ejections": self.ejections,
        })
    }
}

/// The newest events.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<Event>);

impl Log {
    pub(crate) fn push(&mut self, event: Event) {
        if self.0.len() == EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    /// The oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter()
    }
}
