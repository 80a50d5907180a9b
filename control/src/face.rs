//! Stand-in.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unnecessary_wraps)]
#![allow(clippy::allow_attributes_without_reason)]
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ringway_config::{Config, Name};

#[derive(Default, Debug)]
pub struct Registry;
pub use ringway_engine::observe::Stats;
#[derive(Debug, Default)]
pub struct Inputs {
    pub resolved: HashMap<String, Vec<IpAddr>>,
    pub log_targets: ringway_engine::observe::log_ring::LogTargets,
}
pub use ringway_config::PathError as BuildError;
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
    ) -> Result<Arc<Snapshot>, Vec<BuildError>> {
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
}
#[derive(Debug)]
pub struct DriverChoice {
    pub kind: &'static str,
    pub setup: &'static str,
    pub reason: String,
}
#[derive(Debug)]
pub struct StartError;
impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("start")
    }
}
impl std::error::Error for StartError {}
#[derive(Debug)]
pub struct Handle {
    driver: DriverChoice,
}
impl Handle {
    pub fn start(_options: Options, _snapshot: Arc<Snapshot>) -> Result<Handle, StartError> {
        Ok(Handle {
            driver: DriverChoice {
                kind: "none",
                setup: "fake",
                reason: String::new(),
            },
        })
    }
    pub fn publish(&self, _snapshot: Arc<Snapshot>) -> Result<(), Vec<BuildError>> {
        Ok(())
    }
    pub fn applied(&self) -> u64 {
        0
    }
    pub fn driver(&self) -> &DriverChoice {
        &self.driver
    }
    pub fn listeners(&self) -> Vec<(Name, String)> {
        Vec::new()
    }
    pub fn drain(&self) {}
    pub fn close(&self) {}
    pub fn connections(&self) -> u64 {
        0
    }
    pub fn stop(self) {}
}
pub fn starter() -> &'static str {
    ""
}
