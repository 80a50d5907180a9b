//! Words of TLS: names of certificates and digests.

use std::net::IpAddr;

use super::super::{Cx, Form};
use super::{Leaf, Wrong, because};

/// A name as a certificate bears it, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SanText(pub String);

impl Leaf for SanText {
    const FORM: Form = Form {
        name: "certificate name",
        what: "a name such as `client.example.com` or `spiffe://example.com/web`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Wrong::Form);
        }
        Ok(Self(text.to_owned()))
    }
    fn hole() -> Self {
        Self(String::new())
    }
}

/// The name by which a server must be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerNameText(pub String);

impl Leaf for ServerNameText {
    const FORM: Form = Form {
        name: "server name",
        what: "a host name such as `api.example.com`, or an IP address",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let text = text.to_ascii_lowercase();
        if text.contains('*') {
            return because(
                "write one name: a certificate with a wildcard is good for each of its names",
            );
        }
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(plain)
        };
        let is_name = text.len() <= 253 && text.split('.').all(label);
        if is_name || text.parse::<IpAddr>().is_ok() {
            Ok(Self(text))
        } else {
            Err(Wrong::Form)
        }
    }
    fn hole() -> Self {
        Self(String::new())
    }
}

/// A SHA-256 digest in hexadecimal; colons between the bytes are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest(pub [u8; 32]);

impl Leaf for Digest {
    const FORM: Form = Form {
        name: "SHA-256 digest",
        what: "64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` shows them",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.unwrap_or_default();
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(digest) if digits.len() == 64 => Ok(Self(digest)),
            Ok(_) | Err(_) => Err(Wrong::Form),
        }
    }
    fn hole() -> Self {
        Self([0; 32])
    }
}
