//! The files of TLS: read whole when they are wanted, with why not where they cannot be.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringway_config::Config;
use ringway_engine::tls::Files;

/// A certificate, key or list larger than this is a mistake; the largest list of authorities has a twentieth of it.
const SIZE_MAX: u64 = 4 << 20;

/// The files that each part of a configuration names for TLS, by the part's path.
pub(crate) fn parts(config: &Config) -> Vec<(String, Vec<PathBuf>)> {
    let mut parts = Vec::new();
    if let Some(path) = &config.process.ticket_keys {
        parts.push(("process.ticket_keys".to_owned(), vec![path.clone()]));
    }
    for (i, listener) in config.listeners.iter().enumerate() {
        for (j, chain) in listener.chains.iter().enumerate() {
            if let Some(tls) = &chain.tls {
                parts.push((format!("listeners[{i}].chains[{j}].tls"), tls.files()));
            }
        }
    }
    for (i, cluster) in config.clusters.iter().enumerate() {
        if let Some(tls) = &cluster.tls {
            parts.push((format!("clusters[{i}].tls"), tls.files()));
        }
    }
    parts
}

/// The files that a configuration names for TLS, each once.
pub(crate) fn wanted(config: &Config) -> Vec<PathBuf> {
    let parts = parts(config).into_iter();
    let mut all: Vec<PathBuf> = parts.flat_map(|(_, files)| files).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Reads them.
pub(crate) fn read(paths: &[PathBuf]) -> Files {
    let file = |path: &PathBuf| {
        let read = read_one(path).map_err(|error| error.to_string());
        (path.clone(), read)
    };
    paths.iter().map(file).collect()
}

fn read_one(path: &Path) -> io::Result<Arc<[u8]>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(SIZE_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(bytes.into())
}
