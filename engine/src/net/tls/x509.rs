//! What is to be known of a certificate beside its signature: names, number, dates.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Its number, in hexadecimal.
    pub serial: String,
    /// Whose it is, as RFC 2253 writes it.
    pub subject: String,
    /// Whose signature it bears.
    pub issuer: String,
    /// Host names, URIs, addresses and e-mail addresses, in the certificate's order.
    pub names: Vec<AltName>,
    /// From when on it is good, in seconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// The public key with its algorithm (SubjectPublicKeyInfo), in DER.
    pub public_key: Vec<u8>,
}

/// An alternative name of a certificate's subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A host name.
    Dns(String),
    /// A URI.
    Uri(String),
    /// An address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
}

impl AltName {
    /// A host name.
    pub(super) fn dns(&self) -> Option<&str> {
        match self {
            Self::Dns(name) => Some(name),
            Self::Uri(_) | Self::Ip(_) | Self::Email(_) => None,
        }
    }

    /// A URI.
    pub(super) fn uri(&self) -> Option<&str> {
        match self {
            Self::Uri(uri) => Some(uri),
            Self::Dns(_) | Self::Ip(_) | Self::Email(_) => None,
        }
    }
}

impl Described {
    /// Takes it apart; the error is a sentence that goes on after the file's name.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) = X509Certificate::from_der(der)
            .map_err(|error| format!("is no certificate: {error}"))?;
        if !rest.is_empty() {
            return Err("has bytes after its certificate".to_owned());
        }
        let names = match certificate.subject_alternative_name() {
            Ok(extension) => extension.map_or_else(Vec::new, |names| {
                let names = names.value.general_names.iter();
                names.filter_map(alt_name).collect()
            }),
            Err(error) => return Err(format!("has names that cannot be read: {error}")),
        };
        let serial = certificate.raw_serial();
        let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
        Ok(Self {
            serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Its host names in lower case.
    pub(super) fn host_names(&self) -> Vec<String> {
        let hosts = self.names.iter().filter_map(AltName::dns);
        hosts.map(str::to_ascii_lowercase).collect()
    }
}

/// A name of a kind that we know. One with a control character in it (a NUL that cuts it short for other readers) is none.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is another library's and grows with it"
)]
fn alt_name(name: &GeneralName<'_>) -> Option<AltName> {
    let clean = |text: &str| (!text.contains(char::is_control)).then(|| text.to_owned());
    match name {
        GeneralName::DNSName(name) => clean(name).map(AltName::Dns),
        GeneralName::URI(uri) => clean(uri).map(AltName::Uri),
        GeneralName::RFC822Name(mail) => clean(mail).map(AltName::Email),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|four| AltName::Ip(four.into())),
            16 => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|six| AltName::Ip(six.into())),
            _ => None,
        },
        _ => None,
    }
}
