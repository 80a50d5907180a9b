//! TLS: what a listener's chain shows to clients and asks of them, and what a cluster asks of its hosts.
//!
//! Files are named here and read by the control thread, which looks after them while the process runs.

use std::path::PathBuf;
use std::time::Duration;

use crate::Pattern;

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificates, of which a client gets the first that its name and its algorithms allow; the first of all is for
    /// clients that name none of them. Not empty.
    pub certificates: Vec<Certificate>,
    /// Versions and ciphers.
    pub offer: Offer,
    /// What clients must show; absent: nothing.
    pub client: Option<ClientAuth>,
    /// Whether clients may come back with a ticket. Default true.
    pub tickets: bool,
    /// Take clients without TLS too, told apart by their first byte. Default false.
    pub permissive: bool,
    /// A file for the sessions' secrets, with which whoever has recorded a connection can read it; absent: they are told to nobody.
    pub key_log: Option<PathBuf>,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain in PEM, the server's own first.
    pub cert: PathBuf,
    /// The key in PEM.
    pub key: PathBuf,
    /// An OCSP response in DER that is shown with it.
    pub ocsp: Option<PathBuf>,
}

/// Versions and ciphers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The versions; not empty.
    pub versions: Vec<TlsVersion>,
    /// The cipher suites; at least one for each version.
    pub ciphers: Vec<Cipher>,
}

impl Default for Offer {
    /// Mozilla's intermediate profile.
    fn default() -> Self {
        Self {
            versions: vec![TlsVersion::V12, TlsVersion::V13],
            ciphers: Cipher::ALL.to_vec(),
        }
    }
}

impl Offer {
    /// Mozilla's modern profile.
    pub fn modern() -> Self {
        let of_13 = |cipher: &Cipher| cipher.version() == TlsVersion::V13;
        Self {
            versions: vec![TlsVersion::V13],
            ciphers: Cipher::ALL.into_iter().filter(of_13).collect(),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

impl TlsVersion {
    /// As logs and metrics name it.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::V12 => "TLSv1.2",
            Self::V13 => "TLSv1.3",
        }
    }
}

/// A cipher suite. There are none but those with forward secrecy and authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// TLS 1.3, AES-256-GCM.
    Aes256,
    /// TLS 1.3, AES-128-GCM.
    Aes128,
    /// TLS 1.3, ChaCha20-Poly1305.
    ChaCha20,
    /// TLS 1.2, ECDHE, ECDSA, AES-256-GCM.
    EcdsaAes256,
    /// TLS 1.2, ECDHE, ECDSA, AES-128-GCM.
    EcdsaAes128,
    /// TLS 1.2, ECDHE, ECDSA, ChaCha20-Poly1305.
    EcdsaChaCha20,
    /// TLS 1.2, ECDHE, RSA, AES-256-GCM.
    RsaAes256,
    /// TLS 1.2, ECDHE, RSA, AES-128-GCM.
    RsaAes128,
    /// TLS 1.2, ECDHE, RSA, ChaCha20-Poly1305.
    RsaChaCha20,
}

impl Cipher {
    /// All of them, best first.
    pub const ALL: [Self; 9] = [
        Self::Aes256,
        Self::Aes128,
        Self::ChaCha20,
        Self::EcdsaAes256,
        Self::EcdsaAes128,
        Self::EcdsaChaCha20,
        Self::RsaAes256,
        Self::RsaAes128,
        Self::RsaChaCha20,
    ];

    /// The version that it belongs to.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Aes256 | Self::Aes128 | Self::ChaCha20 => TlsVersion::V13,
            Self::EcdsaAes256
            | Self::EcdsaAes128
            | Self::EcdsaChaCha20
            | Self::RsaAes256
            | Self::RsaAes128
            | Self::RsaChaCha20 => TlsVersion::V12,
        }
    }

    /// Its name in the registry of IANA.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256 => "TLS_AES_256_GCM_SHA384",
            Self::Aes128 => "TLS_AES_128_GCM_SHA256",
            Self::ChaCha20 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::EcdsaAes256 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Self::EcdsaAes128 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::EcdsaChaCha20 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Self::RsaAes256 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Self::RsaAes128 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Self::RsaChaCha20 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        }
    }
}

/// What clients must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// Those without a certificate are refused; else they come in without one.
    pub required: bool,
    /// How a certificate is judged.
    pub trust: Trust,
}

/// How the certificate of the other end is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The authorities in PEM; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// Lists of revoked certificates in PEM or DER.
    pub crls: Vec<PathBuf>,
    /// One of these names must be in the certificate; empty: no name is asked for.
    pub sans: Vec<SanMatch>,
    /// One of these digests must be the certificate's; empty: none is asked for.
    pub pins: Vec<Pin>,
}

/// A name that a certificate must bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanMatch {
    /// What kind of name.
    pub kind: SanKind,
    /// Which.
    pub value: SanValue,
}

/// The kinds of a certificate's alternative names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanKind {
    /// A host name.
    Dns,
    /// A URI, as SPIFFE has it.
    Uri,
    /// An IP address in its usual form.
    Ip,
    /// An e-mail address.
    Email,
}

/// How a name is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SanValue {
    /// The whole name.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// The whole name matches.
    Regex(Pattern),
}

/// A SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Of the whole certificate.
    Certificate([u8; 32]),
    /// Of its public key (SubjectPublicKeyInfo, RFC 7469 §2.4).
    Key([u8; 32]),
}

/// TLS towards a cluster's hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The name that hosts are asked for and must show.
    pub server_name: UpstreamName,
    /// How their certificates are judged.
    pub trust: Trust,
    /// What is shown to hosts that ask for it.
    pub certificate: Option<Certificate>,
    /// Versions and ciphers.
    pub offer: Offer,
    /// The limit of a handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// Take any certificate. Default false.
    pub insecure_skip_verify: bool,
    /// A file for the sessions' secrets, as of a listener.
    pub key_log: Option<PathBuf>,
}

/// The name that a host is asked for and must show.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum UpstreamName {
    /// The endpoint's own name or address.
    #[default]
    Endpoint,
    /// This one.
    Fixed(String),
    /// That of the request's host; of bytes that are passed on, the one that the client's TLS asks for. Where there is none, the
    /// endpoint's own.
    Host,
}

impl Trust {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(&self.crls)
    }
}

impl Certificate {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.cert, &self.key].into_iter().chain(&self.ocsp)
    }
}

impl ServerTls {
    /// The files that it names.
    pub fn files(&self) -> Vec<PathBuf> {
        let certificates = self.certificates.iter().flat_map(Certificate::files);
        let trust = self.client.iter().flat_map(|client| client.trust.files());
        certificates.chain(trust).cloned().collect()
    }
}

impl ClientTls {
    /// The files that it names. Without `ca`, those of [`SYSTEM_ROOTS`] that are there are wanted too.
    pub fn files(&self) -> Vec<PathBuf> {
        let own = self.certificate.iter().flat_map(Certificate::files);
        let mut files: Vec<PathBuf> = own.chain(self.trust.files()).cloned().collect();
        if self.trust.ca.is_none() && !self.insecure_skip_verify {
            files.extend(SYSTEM_ROOTS.iter().map(PathBuf::from));
        }
        files
    }
}

/// Where the authorities of a system are, by who made it: the first that is there is taken.
pub const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
