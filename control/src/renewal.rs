//! What TLS is made from, and how it changes while the process runs: files that are swapped, keys of tickets that rotate.
//!
//! New files are taken for new handshakes without a reload. What is wrong with them is said, and the part of the configuration
//! that names them keeps the old ones; parts whose files are right change meanwhile.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringway_config::{Config, PathError};
use ringway_engine::tls::{Files, Material, TICKET_LIFETIME, TicketSecrets};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};

use crate::files::{Watch, secrets};
use crate::store::Ask;

/// How often there is a new key for tickets: the last of the three that are kept is as old as tickets get.
const ROTATION: Duration = Duration::from_secs(TICKET_LIFETIME.as_secs() / 2);

/// What TLS is made from now, and who looks after it.
pub(crate) struct Renewal {
    /// What serves.
    pub(crate) material: Material,
    /// The files that are watched, and the task that hears of them.
    watched: Vec<PathBuf>,
    watching: Option<JoinHandle<()>>,
    rotates: Instant,
}

impl Renewal {
    /// Reads what a configuration names.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            material: Material {
                files: secrets::read(&secrets::wanted(config)),
                secrets: TicketSecrets::default().rotated().unwrap_or_default(),
            },
            watched: Vec::new(),
            watching: None,
            rotates: Instant::now() + ROTATION,
        }
    }

    /// The same for a configuration that may yet be refused.
    pub(crate) fn read(&self, config: &Config) -> Material {
        Material {
            files: secrets::read(&secrets::wanted(config)),
            secrets: self.material.secrets.clone(),
        }
    }

    /// When there is to be a new key.
    pub(crate) fn due(&self) -> Instant {
        self.rotates
    }

    /// What serves, with a new key in front.
    pub(crate) fn rotated(&mut self) -> Material {
        self.rotates = Instant::now() + ROTATION;
        let mut material = self.material.clone();
        match material.secrets.rotated() {
            Some(secrets) => material.secrets = secrets,
            None => tracing::error!("no chance to be had: tickets keep their key"),
        }
        material
    }

    /// Watches the files of a configuration from now on.
    pub(crate) fn follow(&mut self, config: &Config, asks: &mpsc::Sender<Ask>) {
        let wanted = secrets::wanted(config);
        if wanted == self.watched {
            return;
        }
        if let Some(before) = self.watching.take() {
            before.abort();
        }
        self.watched.clone_from(&wanted);
        if !wanted.is_empty() {
            self.watching = Some(spawn_local(watch(wanted, asks.clone())));
        }
    }
}

async fn watch(paths: Vec<PathBuf>, asks: mpsc::Sender<Ask>) {
    let mut watch = match Watch::new(&paths) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, "certificates and keys cannot be watched: have them read by HUP");
            return;
        }
    };
    while watch.changed().await {
        if asks.send(Ask::Renew).await.is_err() {
            return;
        }
    }
}

/// Puts the files that serve in the place of the new ones, for the parts of the configuration that these errors are of. `false`:
/// there is nothing left to put back.
pub(crate) fn put_back(
    config: &Config,
    errors: &[PathError],
    new: &mut Files,
    serving: &Files,
) -> bool {
    let before = new.clone();
    for (path, files) in secrets::parts(config) {
        if errors.iter().any(|error| error.path.starts_with(&path)) {
            new.restore(&files, serving);
        }
    }
    *new != before
}
