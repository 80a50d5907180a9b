//! Stand-in.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unnecessary_wraps)]
#![allow(clippy::allow_attributes_without_reason)]
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ringway_config::{Config, Name};

pub mod native {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Format {
        Yaml,
        Json,
        Toml,
    }
    impl Format {
        pub fn of_path(path: &Path) -> Option<Self> {
            match path.extension()?.to_str()? {
                "yaml" | "yml" => Some(Self::Yaml),
                "json" => Some(Self::Json),
                "toml" => Some(Self::Toml),
                _ => None,
            }
        }
    }
    #[derive(Debug, Clone, Default)]
    pub struct SpanMap;
    #[derive(Debug, Clone)]
    pub struct Problem {
        pub path: String,
        pub message: String,
    }
    #[derive(Debug)]
    pub struct Errors {
        pub problems: Vec<Problem>,
    }
    impl Errors {
        pub fn from_paths(
            _name: &str,
            _text: &str,
            _spans: &SpanMap,
            problems: Vec<(String, String)>,
        ) -> Self {
            Self {
                problems: problems
                    .into_iter()
                    .map(|(path, message)| Problem { path, message })
                    .collect(),
            }
        }
    }
    impl fmt::Display for Errors {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for p in &self.problems {
                writeln!(f, "error: {}: {}", p.path, p.message)?;
            }
            Ok(())
        }
    }
    impl std::error::Error for Errors {}
    #[derive(Debug)]
    pub struct Parsed {
        pub config: Config,
        pub spans: SpanMap,
        pub warnings: Vec<Problem>,
    }
    pub fn schema() -> serde_json::Value {
        serde_json::json!({})
    }
    pub fn starter() -> &'static str {
        ""
    }
    pub fn parse(
        text: &str,
        _format: Format,
        name: &str,
        _env: &dyn Fn(&str) -> Option<String>,
        _base: &Path,
    ) -> Result<Parsed, Errors> {
        if text.contains("bad") {
            return Err(Errors::from_paths(
                name,
                text,
                &SpanMap,
                vec![("listeners".to_owned(), "bad".to_owned())],
            ));
        }
        Ok(Parsed {
            config: Config {
                admin: Some(ringway_config::Admin {
                    address: ringway_config::AdminAddress::Tcp(([127, 0, 0, 1], 19901).into()),
                }),
                ..Config::default()
            },
            spans: SpanMap,
            warnings: Vec::new(),
        })
    }
}

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
