//! Stand-in.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unnecessary_wraps)]
#![allow(clippy::allow_attributes_without_reason)]
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ringway_config::{Config, Name, PathError};
use ringway_engine::observe::Stats;

#[derive(Default, Debug)]
pub struct Registry;
impl Registry {
    pub fn builtin() -> Self {
        Self
    }
}
#[derive(Debug, Default)]
pub struct Inputs {
    pub resolved: HashMap<String, Vec<IpAddr>>,
    pub log_targets: ringway_engine::observe::log_ring::LogTargets,
}
#[derive(Debug)]
pub struct Snapshot {
    config: Config,
    version: u64,
}
impl Snapshot {
    pub fn build(
        config: &Config,
        _registry: &Registry,
        _inputs: &Inputs,
        _stats: &Arc<Stats>,
        last: Option<&Arc<Snapshot>>,
    ) -> Result<Arc<Snapshot>, Vec<PathError>> {
        Ok(Arc::new(Snapshot {
            config: config.clone(),
            version: last.map_or(1, |l| l.version + 1),
        }))
    }
    pub fn version(&self) -> u64 {
        self.version
    }
    pub fn config(&self) -> &Config {
        &self.config
    }
}
#[derive(Debug)]
pub struct Options {
    pub cores: Vec<usize>,
    pub driver: ringway_config::IoDriver,
    pub pin: bool,
    pub max_connections: u64,
    pub logs: ringway_engine::observe::log_ring::LogPort,
    pub stats: Arc<Stats>,
    pub seed: u64,
}
#[derive(Debug, Clone, Copy)]
pub struct Setup;
impl Setup {
    pub fn name(self) -> &'static str {
        "fake"
    }
    pub fn driver(self) -> &'static str {
        "none"
    }
}
#[derive(Clone, Debug)]
pub struct DriverChoice {
    pub setup: Setup,
    pub reason: String,
    pub fallback: bool,
}
#[derive(Debug)]
pub enum StartError {
    Driver(std::io::Error),
    Listen(Vec<PathError>),
    Io(std::io::Error),
}
impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("start")
    }
}
impl std::error::Error for StartError {}
#[derive(Debug, Clone)]
pub enum BoundAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}
impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
#[derive(Debug)]
pub struct Handle {
    driver: DriverChoice,
}
impl Handle {
    pub fn start(_options: Options, _snapshot: Arc<Snapshot>) -> Result<Handle, StartError> {
        Ok(Handle {
            driver: DriverChoice {
                setup: Setup,
                reason: String::new(),
                fallback: false,
            },
        })
    }
    pub fn publish(&mut self, _snapshot: Arc<Snapshot>) -> Result<(), Vec<PathError>> {
        Ok(())
    }
    pub fn applied(&self) -> u64 {
        0
    }
    pub fn alive(&self) -> u32 {
        2
    }
    pub fn driver(&self) -> &DriverChoice {
        &self.driver
    }
    pub fn listeners(&self) -> Vec<(Name, BoundAddress)> {
        Vec::new()
    }
    pub fn drain(&self) {}
    pub fn close(&mut self) {}
    pub fn connections(&self) -> u64 {
        0
    }
    pub fn stop(self) {}
}
