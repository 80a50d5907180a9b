//! What a reload changed, thing by thing: for the log, for `ringway reload` and for whoever asks by HTTP.

use std::fmt;

use ringway_config::{Config, Name, PathError};
use serde::Serialize;

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another than before.
    Changed,
}

/// One thing that a reload changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// `listener`, `route_table`, `cluster`, `process`, `admin`.
    pub(crate) kind: &'static str,
    /// Its name; none for what there is one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What became of it.
    pub(crate) what: What,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        f.write_str(match self.what {
            What::Added => ": added",
            What::Removed => ": removed",
            What::Changed => ": changed",
        })
    }
}

/// What makes `new` another than `old`.
pub(crate) fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    // The fields are taken apart so that a new one in the model cannot be forgotten here.
    let Config {
        process,
        listeners,
        route_tables,
        clusters,
        admin,
    } = new;
    if *process != old.process {
        changes.push(one("process"));
    }
    if *admin != old.admin {
        changes.push(one("admin"));
    }
    named(&mut changes, "listener", &old.listeners, listeners, |it| {
        &it.name
    });
    named(
        &mut changes,
        "route_table",
        &old.route_tables,
        route_tables,
        |it| &it.name,
    );
    named(&mut changes, "cluster", &old.clusters, clusters, |it| {
        &it.name
    });
    changes
}

fn one(kind: &'static str) -> Change {
    Change {
        kind,
        name: None,
        what: What::Changed,
    }
}

fn named<T: PartialEq>(
    changes: &mut Vec<Change>,
    kind: &'static str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &Name,
) {
    let mut push = |item: &T, what| {
        changes.push(Change {
            kind,
            name: Some(name(item).to_string()),
            what,
        });
    };
    for item in new {
        match old.iter().find(|other| name(other) == name(item)) {
            None => push(item, What::Added),
            Some(other) if other != item => push(item, What::Changed),
            Some(_) => {}
        }
    }
    for item in old {
        if !new.iter().any(|other| name(other) == name(item)) {
            push(item, What::Removed);
        }
    }
}

/// What a reload asks for that only a restart can do, by path and sentence.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<PathError> {
    let mut problems = Vec::new();
    let mut check = |same: bool, path: &str| {
        if !same {
            problems.push(PathError::new(
                path,
                format!("a change of `{path}` needs a restart: put the old value back, or restart the process"),
            ));
        }
    };
    check(old.process.cores == new.process.cores, "process.cores");
    check(
        old.process.io_driver == new.process.io_driver,
        "process.io_driver",
    );
    check(old.admin == new.admin, "admin.address");
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Balance, Cluster, IoDriver};
    use std::time::Duration;

    fn cluster(name: &str, balance: Balance) -> Cluster {
        Cluster {
            balance,
            ..Cluster::new(Name::new(name), Vec::new())
        }
    }

    #[test]
    fn each_thing_is_named_with_what_became_of_it() {
        let old = Config {
            clusters: vec![
                cluster("kept", Balance::Random),
                cluster("other", Balance::Random),
                cluster("gone", Balance::Random),
            ],
            ..Config::default()
        };
        let mut new = Config {
            clusters: vec![
                cluster("new", Balance::Random),
                cluster("other", Balance::RoundRobin),
                cluster("kept", Balance::Random),
            ],
            ..Config::default()
        };
        new.process.drain_delay = Duration::from_secs(1);
        let said: Vec<String> = diff(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "process: changed",
                "cluster new: added",
                "cluster other: changed",
                "cluster gone: removed"
            ]
        );
        assert!(diff(&old, &old).is_empty());
    }

    #[test]
    fn what_needs_a_restart_is_said_by_path() {
        let old = Config::default();
        let mut new = Config::default();
        new.process.cores = Some(3);
        new.process.io_driver = IoDriver::Epoll;
        new.process.drain_delay = Duration::from_secs(1);
        let problems = needs_restart(&old, &new);
        let paths: Vec<&str> = problems
            .iter()
            .map(|problem| problem.path.as_str())
            .collect();
        assert_eq!(paths, ["process.cores", "process.io_driver"]);
    }
}
