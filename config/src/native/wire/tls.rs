//! TLS: what listeners show and ask for, and what clusters do.

use std::path::PathBuf;

use super::{
    Digest, Listed, NonEmpty, Positive, Regex, SanText, ServerNameText, choice, fields::record,
};
use crate::{Cipher, TlsVersion};

record! {
    /// TLS with clients.
    TlsRecord {
        /// Certificates. A client gets one for the name that it asks for (for the name itself, else for its wildcard) with an algorithm that it supports; clients that ask for none of the names get the first one.
        certificates: NonEmpty<CertificateRecord>,
        /// Versions and ciphers, by one of Mozilla's profiles.
        profile: TlsProfile = "intermediate",
        /// The versions, instead of the profile's.
        versions: Option<NonEmpty<TlsVersion>>,
        /// The cipher suites, instead of the profile's.
        ciphers: Option<NonEmpty<Cipher>>,
        /// Authorities in PEM that sign clients' certificates; clients must show one.
        client_ca: Option<PathBuf>,
        /// Whether clients need a certificate, with `client_ca`. Default `required`.
        client_certificate: Option<ClientCertificate>,
        /// Revocation lists for clients' certificates, in PEM or DER. If there is any, there must be one for each authority on the way up to `client_ca`.
        client_crls: Listed<PathBuf>,
        /// Names, one of which must be in a client's certificate.
        client_sans: Listed<SanRecord>,
        /// Digests, one of which must be that of a client's certificate or key.
        client_pins: Listed<PinRecord>,
        /// Give clients tickets with which they can resume without a full handshake.
        tickets: bool = true,
        /// Also accept clients without TLS on this port, recognized by their first byte.
        permissive: bool = false,
        /// A file to which the secrets of sessions are appended (as with `SSLKEYLOGFILE`), so that a capture of them can be decrypted: for finding faults, and not for long.
        key_log: Option<PathBuf>,
    }
}

choice!(TlsProfile {
    Modern = "modern": "TLS 1.3 only",
    Intermediate = "intermediate": "TLS 1.2 and 1.3, with forward secrecy and authenticated encryption only",
});

/// Versions and ciphers by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsProfile {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 too.
    Intermediate,
}

choice!(TlsVersion {
    V12 = "1.2": "RFC 5246",
    V13 = "1.3": "RFC 8446",
});

choice!(Cipher {
    Aes256 = "TLS_AES_256_GCM_SHA384": "TLS 1.3",
    Aes128 = "TLS_AES_128_GCM_SHA256": "TLS 1.3",
    ChaCha20 = "TLS_CHACHA20_POLY1305_SHA256": "TLS 1.3",
    EcdsaAes256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "TLS 1.2",
    EcdsaAes128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "TLS 1.2",
    EcdsaChaCha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "TLS 1.2",
    RsaAes256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "TLS 1.2",
    RsaAes128 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "TLS 1.2",
    RsaChaCha20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "TLS 1.2",
});

choice!(ClientCertificate {
    Required = "required": "a client without one is refused",
    Optional = "optional": "a client may come in without one; one that is shown must be good",
});

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// One without is refused.
    Required,
    /// One without comes in.
    Optional,
}

record! {
    /// A certificate with its key.
    CertificateRecord {
        /// The chain in PEM, the server's own certificate first.
        cert: PathBuf,
        /// The key in PEM, without a password.
        key: PathBuf,
        /// An OCSP response in DER, shown with the certificate.
        ocsp: Option<PathBuf>,
    }
}

record! {
    /// A name that must be in a certificate: its kind, and one way to compare it.
    SanRecord {
        /// What kind of name.
        kind: SanKindWord = "dns",
        /// The whole name.
        exact: Option<SanText>,
        /// Its beginning.
        prefix: Option<SanText>,
        /// Its end.
        suffix: Option<SanText>,
        /// A regular expression that matches the whole name.
        regex: Option<Regex>,
    }
}

choice!(SanKindWord {
    Dns = "dns": "a host name",
    Uri = "uri": "a URI, such as SPIFFE's",
    Ip = "ip": "an IP address",
    Email = "email": "an e-mail address",
});

/// What kind of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SanKindWord {
    /// A host name.
    Dns,
    /// A URI.
    Uri,
    /// An address.
    Ip,
    /// An e-mail address.
    Email,
}

record! {
    /// A SHA-256 digest: exactly one of `certificate` and `key`.
    PinRecord {
        /// Of the whole certificate, in hexadecimal.
        certificate: Option<Digest>,
        /// Of its public key with its algorithm, in hexadecimal.
        key: Option<Digest>,
    }
}

record! {
    /// TLS with the hosts of a cluster.
    ClusterTlsRecord {
        /// The name that is asked of hosts and must be in their certificate. Without this key: the endpoint's name or address.
        server_name: Option<ServerNameText>,
        /// Take the name from each request's host instead (for bytes passed on: from the client's TLS). Connections for different names are kept apart.
        server_name_from_host: bool = false,
        /// Authorities in PEM. Without this key: those of the system.
        ca: Option<PathBuf>,
        /// Revocation lists for hosts' certificates, in PEM or DER. If there is any, there must be one for each authority on the way up to `ca`.
        crls: Listed<PathBuf>,
        /// Names, one of which must be in a host's certificate, instead of `server_name`.
        sans: Listed<SanRecord>,
        /// Digests, one of which must be that of a host's certificate or key.
        pins: Listed<PinRecord>,
        /// The certificate that is shown to hosts which ask for one.
        certificate: Option<CertificateRecord>,
        /// Versions and ciphers, by one of Mozilla's profiles.
        profile: TlsProfile = "intermediate",
        /// The versions, instead of the profile's.
        versions: Option<NonEmpty<TlsVersion>>,
        /// The cipher suites, instead of the profile's.
        ciphers: Option<NonEmpty<Cipher>>,
        /// How long a handshake may take.
        handshake_timeout: Positive = "5s",
        /// Accept any host, whatever its certificate. For experiments only.
        insecure_skip_verify: bool = false,
        /// A file to which the secrets of sessions are appended, as for a listener.
        key_log: Option<PathBuf>,
    }
}
