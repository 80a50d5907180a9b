//! A cluster's side of TLS: whom it believes and what it shows, and the sessions that a core may come back to.

use std::fmt;
use std::sync::Arc;

use ringway_config::{ClientTls, PathError};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types;

use super::files::{Files, wrong};
use super::keys::Keys;
use super::server::{provider, versions};
use super::trust;
use crate::observe::log_ring::TargetId;

/// Sessions that a core keeps for a cluster's hosts: TLS 1.3 gives two tickets for each, which are used once.
const SESSIONS: usize = 256;

/// The name by which a server must be known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerName(pub(super) pki_types::ServerName<'static>);

impl ServerName {
    /// A host name or an address; the error is none of either.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let name = name
            .strip_prefix('[')
            .map_or(name, |rest| rest.trim_end_matches(']'));
        pki_types::ServerName::try_from(name.to_owned())
            .ok()
            .map(Self)
    }
}

/// A cluster's TLS, compiled.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Compiles it, or says what is wrong with each file, at paths below its own. Its sessions' secrets are told to `keys`.
    pub(crate) fn build(
        config: &ClientTls,
        files: &Files,
        keys: Option<TargetId>,
    ) -> Result<Self, Vec<PathError>> {
        let provider = Arc::new(provider(&config.offer));
        let servers =
            trust::of_servers(&config.trust, files, &provider, config.insecure_skip_verify)?;
        let key_error = |path: &str, error: rustls::Error| {
            vec![PathError::new(path.to_owned(), error.to_string())]
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(&config.offer))
            .map_err(|error| key_error("versions", error))?
            .dangerous()
            .with_custom_certificate_verifier(servers);
        let mut built = match &config.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let chain = files.certificates(&certificate.cert, "cert");
                let key = files.key(&certificate.key, "key");
                let (chain, key) = match (chain, key) {
                    (Ok(chain), Ok(key)) => (chain, key),
                    (chain, key) => {
                        return Err([chain.err(), key.err()].into_iter().flatten().collect());
                    }
                };
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    let what = format_args!("cannot be used with its certificate: {error}");
                    vec![wrong("key", &certificate.key, what)]
                })?
            }
        };
        if let Some(target) = keys {
            built.key_log = Arc::new(Keys(target));
        }
        Ok(Self {
            config: Arc::new(built),
        })
    }

    /// Whether both are made from the same configuration and files, and keep the same sessions.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }

    /// One core's own, with sessions of its own.
    pub(crate) fn for_core(&self) -> Self {
        let mut config = (*self.config).clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Self {
            config: Arc::new(config),
        }
    }

    /// The same for who makes connections outside of the cores.
    pub(crate) fn for_probes(&self, name: ServerName) -> ForProbes {
        ForProbes {
            config: Arc::clone(&self.config),
            name: name.0,
        }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

/// How a probe of a host is made secure: as the cluster's connections to it are.
#[derive(Clone)]
pub struct ForProbes {
    config: Arc<ClientConfig>,
    name: pki_types::ServerName<'static>,
}

impl fmt::Debug for ForProbes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS to {:?}", self.name)
    }
}

impl ForProbes {
    /// What a driver of rustls wants, which offers these protocols.
    pub fn parts(&self, alpn: &[&[u8]]) -> (Arc<ClientConfig>, pki_types::ServerName<'static>) {
        let mut config = (*self.config).clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        (Arc::new(config), self.name.clone())
    }

    /// Whether both are made from the same configuration and files.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }
}
