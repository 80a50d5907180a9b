//! What of TLS is counted by kind: versions, ciphers, and why handshakes fail.

use ringway_config::{Cipher, TlsVersion};

use super::counter::Reason;

impl Reason for TlsVersion {
    const ALL: &'static [Self] = &[Self::V12, Self::V13];
    const LABEL: &'static str = "version";
    fn name(self) -> &'static str {
        self.protocol()
    }
}

impl Reason for Cipher {
    const ALL: &'static [Self] = &Self::ALL;
    const LABEL: &'static str = "cipher";
    fn name(self) -> &'static str {
        self.name()
    }
}

macro_rules! failures {
    ($($(#[$doc:meta])+ $id:ident $name:literal,)+) => {
        /// Why a handshake failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TlsFailure { $($(#[$doc])+ $id,)+ }

        impl Reason for TlsFailure {
            const ALL: &'static [Self] = &[$(Self::$id,)+];
            const LABEL: &'static str = "reason";
            fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }
        }
    };
}

failures! {
    /// The connection failed.
    Io "io",
    /// The other end left.
    Closed "closed",
    /// The other end sent an alert: it does not accept what it was shown.
    Alert "alert",
    /// No version, cipher suite, group or protocol in common.
    Incompatible "incompatible",
    /// No certificate was shown where one is asked for.
    NoCertificate "no_certificate",
    /// It is not good yet, or not any more.
    Expired "certificate_expired",
    /// No authority that is believed has signed it.
    UnknownIssuer "certificate_unknown_issuer",
    /// It is in a list of revoked ones, or in none that says that it is not.
    Revoked "certificate_revoked",
    /// It bears no name that is asked for.
    Name "certificate_name",
    /// It is none of those that are pinned.
    Pin "certificate_pin",
    /// It is wrong in another way.
    BadCertificate "certificate_bad",
    /// Anything else that breaks the protocol.
    Protocol "protocol",
}
