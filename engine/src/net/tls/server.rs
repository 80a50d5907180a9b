//! A chain's side of TLS: what it shows to clients and asks of them, compiled once and shared by all cores.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use ringway_config::{Cipher, Offer, PathError, ServerTls, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::certs::Certificates;
use super::files::Files;
use super::keys::Keys;
use super::tickets::{TicketSecrets, Tickets};
use super::trust;
use crate::observe::log_ring::TargetId;

/// What a chain's TLS is made from beside its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Material {
    /// The files that it names.
    pub files: Files,
    /// What seals its tickets.
    pub secrets: TicketSecrets,
}

/// A chain's TLS, compiled.
pub(crate) struct Server {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificates.fmt(f)
    }
}

impl Server {
    /// Compiles it, or says what is wrong with each file, at paths below its own. `context` is what tells it from other chains:
    /// tickets of one are nothing to another. Its sessions' secrets are told to `keys`.
    pub(crate) fn build(
        config: &ServerTls,
        material: &Material,
        alpn: &[&[u8]],
        context: &str,
        keys: Option<TargetId>,
    ) -> Result<Self, Vec<PathError>> {
        let provider = Arc::new(provider(&config.offer));
        let certificates =
            Certificates::read(&config.certificates, &material.files, &provider).map(Arc::new);
        let clients = match &config.client {
            None => Ok(WebPkiClientVerifier::no_client_auth()
                as Arc<dyn rustls::server::danger::ClientCertVerifier>),
            Some(auth) => trust::of_clients(auth, &material.files, &provider),
        };
        let (certificates, clients) = match (certificates, clients) {
            (Ok(certificates), Ok(clients)) => (certificates, clients),
            (certificates, clients) => {
                let errors = [certificates.err(), clients.err()];
                return Err(errors.into_iter().flatten().flatten().collect());
            }
        };
        let mut built = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(&config.offer))
            .map_err(|error| vec![PathError::new("versions".to_owned(), error.to_string())])?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::clone(&certificates) as Arc<_>);
        built.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        built.session_storage = Arc::new(NoServerSessionStorage {});
        match tickets(config, material, context) {
            Some(tickets) => built.ticketer = tickets,
            None => built.send_tls13_tickets = 0,
        }
        if let Some(target) = keys {
            built.key_log = Arc::new(Keys(target));
        }
        // Data before the handshake's end can be played again by anybody who saw it: there is none.
        built.max_early_data_size = 0;
        Ok(Self {
            config: Arc::new(built),
            certificates,
        })
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether every client gets the same certificate.
    pub(crate) fn has_one_certificate(&self) -> bool {
        self.certificates.is_one()
    }

    /// Whether a client that asked for one name may ask for the other on the same connection (RFC 9110 §15.5.20).
    pub(crate) fn serves_both(&self, asked: Option<&str>, host: &str) -> bool {
        self.certificates.serves_both(asked, host)
    }
}

fn tickets(
    config: &ServerTls,
    material: &Material,
    context: &str,
) -> Option<Arc<dyn ProducesTickets>> {
    if !config.tickets {
        return None;
    }
    let tickets = Tickets::new(
        &material.secrets,
        &ticket_context(config, material, context),
    )?;
    Some(Arc::new(tickets))
}

/// A digest of all by which a client is let in. A part's length goes before it, so that none runs into the next.
fn ticket_context(config: &ServerTls, material: &Material, context: &str) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(context.as_bytes());
    add(format!("{:?}", config.client).as_bytes());
    add(format!("{:?}", config.offer).as_bytes());
    if let Some(client) = &config.client {
        for path in client.trust.ca.iter().chain(&client.trust.crls) {
            add(&material.files.bytes(path, "").unwrap_or_default());
        }
    }
    hash.finish().as_ref().to_vec()
}

/// The cryptography of an offer: aws-lc's, which the key exchange with ML-KEM comes first in.
pub(super) fn provider(offer: &Offer) -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let named = |suite: &SupportedCipherSuite| {
        cipher_of(*suite).is_some_and(|cipher| offer.ciphers.contains(&cipher))
    };
    provider.cipher_suites.retain(named);
    provider
}

/// A cipher suite as the configuration has it.
pub(super) fn cipher_of(suite: SupportedCipherSuite) -> Option<Cipher> {
    let name = suite.suite();
    // rustls calls those of TLS 1.3 `TLS13_…`, the registry `TLS_…`.
    let name = name.as_str()?.replacen("TLS13_", "TLS_", 1);
    Cipher::ALL.into_iter().find(|cipher| cipher.name() == name)
}

pub(super) fn versions(offer: &Offer) -> Vec<&'static SupportedProtocolVersion> {
    let version = |version: &TlsVersion| match version {
        TlsVersion::V12 => &rustls::version::TLS12,
        TlsVersion::V13 => &rustls::version::TLS13,
    };
    offer.versions.iter().map(version).collect()
}
