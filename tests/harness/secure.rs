//! TLS of a client: what it offers, whom it believes, what it shows.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::certs::{Authority, Leaf};
use crate::client::Client;
use crate::wait::DEADLINE;

/// A client's TLS.
#[derive(Clone)]
pub struct Secure {
    config: Arc<ClientConfig>,
}

/// TLS 1.2 alone.
pub const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
/// TLS 1.3 alone.
pub const ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// Both.
pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

impl Secure {
    /// Believes an authority, shows nothing.
    pub fn new(authority: &Authority) -> Self {
        Self::with(authority, BOTH, None)
    }

    /// Believes an authority, offers these versions, shows a certificate if asked.
    pub fn with(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Leaf>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM"))
            .expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ciphers for them")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(leaf.cert.as_bytes()).expect("PEM")],
                    PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("PEM"),
                )
                .expect("a pair"),
        };
        config.resumption = Resumption::disabled();
        Self {
            config: Arc::new(config),
        }
    }

    /// Changes how it is set up.
    #[must_use]
    pub fn set(&self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = (*self.config).clone();
        change(&mut config);
        Self {
            config: Arc::new(config),
        }
    }

    /// Comes back with the tickets it got.
    #[must_use]
    pub fn resuming(&self) -> Self {
        self.set(|config| config.resumption = Resumption::in_memory_sessions(64))
    }

    /// Offers protocols.
    #[must_use]
    pub fn alpn(&self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        self.set(|config| config.alpn_protocols = protocols.collect())
    }

    /// A session not begun yet.
    pub fn session(&self, name: &str) -> ClientConnection {
        let name = name.to_owned().try_into().expect("a name");
        ClientConnection::new(Arc::clone(&self.config), name).expect("a session")
    }

    /// Connects and ends the handshake, or says why not.
    pub fn try_connect(&self, addr: SocketAddr, name: &str) -> io::Result<Client> {
        let (session, socket) = self.handshake(addr, name)?;
        Ok(Client::secure(session, socket))
    }

    /// A session whose handshake is done, and its socket; or why there is none.
    pub fn handshake(
        &self,
        addr: SocketAddr,
        name: &str,
    ) -> io::Result<(ClientConnection, TcpStream)> {
        let mut socket = TcpStream::connect_timeout(&addr, DEADLINE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let mut session = self.session(name);
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok((session, socket))
    }

    /// Connects and ends the handshake.
    #[track_caller]
    pub fn connect(&self, addr: SocketAddr, name: &str) -> Client {
        self.try_connect(addr, name)
            .unwrap_or_else(|error| panic!("TLS to {name} at {addr}: {error}"))
    }
}
