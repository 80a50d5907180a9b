//! How many client connections the process can hold: every descriptor that something else needs is set aside first.

use std::fmt;

use ringway_config::{Config, LogTarget, Service};

/// Descriptors of the process whatever it serves: the standard three, the control thread's runtime and bells, the watches of the
/// configuration and of keys (three each), a configuration being read, two name lookups.
const PROCESS: u64 = 21;
/// Descriptors of a core beside its listeners: its ring or epoll, its wake-ups, one connection accepted and being refused.
const CORE: u64 = 4;
/// Fewer client connections than this is no proxy: a start that leaves fewer fails and says so.
const CONNECTIONS_MIN: u64 = 4;

/// What takes descriptors beside connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Cores.
    pub(crate) cores: u64,
    /// Listeners; each core has its own socket, and control a second handle of it.
    pub(crate) listeners: u64,
    /// Access log files.
    pub(crate) logs: u64,
    /// Pipes that a core may have, of two descriptors each.
    pub(crate) pipes: u32,
}

impl Needs {
    /// What a configuration takes, run on so many cores.
    pub(crate) fn of(config: &Config, cores: usize) -> Self {
        let mut files: Vec<_> = config
            .listeners
            .iter()
            .flat_map(|listener| &listener.access_logs)
            .filter_map(|log| match &log.target {
                LogTarget::File(path) | LogTarget::Keys(path) => Some(path),
                LogTarget::Stdout => None,
            })
            .chain(config.key_logs().map(|(_, path)| path))
            .collect();
        files.sort_unstable();
        files.dedup();
        let mut chains = config
            .listeners
            .iter()
            .flat_map(|listener| &listener.chains);
        let passes_on = chains.any(|chain| matches!(chain.service, Service::Tcp(_)));
        Self {
            cores: cores as u64,
            listeners: config.listeners.len() as u64,
            logs: files.len() as u64,
            pipes: if passes_on {
                config.process.splice_pipes
            } else {
                0
            },
        }
    }
}

/// How the descriptors are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Client connections of the process.
    pub(crate) connections: u64,
    /// Connections of the admin interface.
    pub(crate) admin: u64,
    /// Pipes of each core: an eighth of the descriptors at most, since what they speed up goes on without them.
    pub(crate) pipes: u32,
}

/// The limit of open files leaves too few for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LimitError {
    /// Too few for anything.
    TooFewFiles {
        /// The limit.
        limit: u64,
        /// The least that would do.
        needed: u64,
    },
    /// Too few for `process.max_connections`.
    TooManyConnections {
        /// The limit.
        limit: u64,
        /// What was asked for.
        wanted: u64,
        /// What would do for that.
        needed: u64,
        /// What the limit can hold.
        possible: u64,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewFiles { limit, needed } => write!(
                f,
                "the limit of open files is {limit}, and this configuration needs at least {needed}: raise it \
                 (`ulimit -n {needed}`, `LimitNOFILE=` in the unit) or run fewer cores (`process.cores`)"
            ),
            Self::TooManyConnections {
                limit,
                wanted,
                needed,
                possible,
            } => write!(
                f,
                "`process.max_connections: {wanted}` needs {needed} open files, a client's and an upstream's for each, and the limit \
                 is {limit}: raise it (`ulimit -n {needed}`, `LimitNOFILE=` in the unit) or ask for at most {possible}"
            ),
        }
    }
}

impl std::error::Error for LimitError {}

impl LimitError {
    /// The part of the configuration that asks for too much.
    pub(crate) fn path(&self) -> &'static str {
        match self {
            Self::TooFewFiles { .. } => "listeners",
            Self::TooManyConnections { .. } => "process.max_connections",
        }
    }
}

/// Shares `limit` open files out. Half of what is left after the fixed needs is for upstreams: a proxied request has two ends.
pub(crate) fn plan(limit: u64, needs: &Needs, wanted: Option<u64>) -> Result<Plan, LimitError> {
    let admin = admin_share(limit);
    // The admin interface's own socket, one connection above its limit while it is turned away, and a spare for a reload's bind.
    let rest = PROCESS + needs.cores * (CORE + 2 * needs.listeners) + needs.logs + 3;
    let pipes = limit / 8 / 2 / needs.cores.max(1);
    let pipes = u32::try_from(pipes).unwrap_or(u32::MAX).min(needs.pipes);
    let rest = rest + 2 * needs.cores * u64::from(pipes);
    let fixed = rest + admin;
    let possible = limit.saturating_sub(fixed) / 2;
    if possible < CONNECTIONS_MIN {
        return Err(LimitError::TooFewFiles {
            limit,
            needed: files_for(rest + 2 * CONNECTIONS_MIN),
        });
    }
    match wanted {
        Some(wanted) if wanted > possible => Err(LimitError::TooManyConnections {
            limit,
            wanted,
            needed: files_for(wanted.saturating_mul(2).saturating_add(rest)),
            possible,
        }),
        Some(wanted) => Ok(Plan {
            connections: wanted,
            admin,
            pipes,
        }),
        None => Ok(Plan {
            connections: possible,
            admin,
            pipes,
        }),
    }
}

/// A scraper or two and a person; more where there is plenty.
fn admin_share(files: u64) -> u64 {
    (files / 64).clamp(4, 64)
}

/// The open files of which so many are left beside the admin interface's share.
fn files_for(rest: u64) -> u64 {
    let mut files = rest;
    // The share grows by a 64th of what it is added to, so that this ends after a few turns.
    loop {
        let next = rest.saturating_add(admin_share(files));
        if next <= files {
            return files;
        }
        files = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Needs = Needs {
        cores: 2,
        listeners: 1,
        logs: 1,
        pipes: 0,
    };

    #[test]
    fn sixty_four_files_hold_a_small_proxy() {
        let plan = plan(64, &SMALL, None).unwrap();
        assert_eq!((plan.connections, plan.admin), (11, 4));
    }

    #[test]
    fn pipes_take_what_is_asked_for_but_an_eighth_at_most() {
        let needs = Needs { pipes: 64, ..SMALL };
        for (files, expect) in [(1_048_576, 64), (2048, 64), (1024, 32), (64, 2)] {
            let (with, without) = (plan(files, &needs, None), plan(files, &SMALL, None));
            let (with, without) = (with.unwrap(), without.unwrap());
            assert_eq!(with.pipes, expect, "{files}");
            let taken = 2 * (without.connections - with.connections);
            assert_eq!(taken, 2 * 2 * u64::from(expect), "{files}");
        }
    }

    #[test]
    fn half_of_the_rest_is_for_upstreams() {
        let plan = plan(1_048_576, &SMALL, None).unwrap();
        assert!((520_000..524_288).contains(&plan.connections));
        assert_eq!(plan.admin, 64);
    }

    #[test]
    fn what_cannot_fit_is_refused_with_the_figure_that_would() {
        let many = Needs {
            cores: 64,
            listeners: 2,
            logs: 0,
            pipes: 0,
        };
        let error = plan(64, &many, None).unwrap_err();
        let LimitError::TooFewFiles { needed, .. } = error else {
            panic!("{error}");
        };
        assert!(plan(needed, &many, None).is_ok());

        let error = plan(1024, &SMALL, Some(1000)).unwrap_err();
        let LimitError::TooManyConnections {
            needed, possible, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(
            plan(1024, &SMALL, Some(possible)).unwrap().connections,
            possible
        );
        assert!(needed > 2000);
        assert!(plan(needed, &SMALL, Some(1000)).is_ok());
    }
}
