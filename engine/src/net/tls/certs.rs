//! The certificates of a chain of a listener, and which of them a client gets.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ringway_config::{self as config, PathError};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};

use super::files::{Files, wrong};
use super::x509::Described;

/// Certificates by the names that are in them.
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// Their places by name, in lower case; `*.example.com` stands as it is.
    names: HashMap<String, Vec<usize>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names.keys()).finish()
    }
}

impl Certificates {
    /// Reads them all, or says what is wrong with each.
    pub(super) fn read(
        certificates: &[config::Certificate],
        files: &Files,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<PathError>> {
        let mut read = Self {
            all: Vec::with_capacity(certificates.len()),
            names: HashMap::new(),
        };
        let mut errors = Vec::new();
        for (at, certificate) in certificates.iter().enumerate() {
            match certified(certificate, files, &format!("certificates[{at}]"), provider) {
                Ok((key, names)) => {
                    let place = read.all.len();
                    read.all.push(Arc::new(key));
                    for name in names {
                        read.names.entry(name).or_default().push(place);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            read.prefer_elliptic();
            Ok(read)
        } else {
            Err(errors)
        }
    }

    /// Of several for a name, those that cost a twentieth to sign with come first.
    fn prefer_elliptic(&mut self) {
        let all = &self.all;
        for places in self.names.values_mut() {
            let is_rsa = |place: &usize| {
                all.get(*place)
                    .is_some_and(|one| one.key.algorithm() == SignatureAlgorithm::RSA)
            };
            places.sort_by_key(is_rsa);
        }
    }

    /// The places of those that a name may get: by the name itself, by its wildcard, else those of the first one's names.
    fn candidates(&self, name: Option<&str>) -> &[usize] {
        const FIRST: &[usize] = &[0];
        name.and_then(|name| self.for_name(name)).unwrap_or(FIRST)
    }

    /// The places of those that are for a name, if any is.
    pub(super) fn for_name(&self, name: &str) -> Option<&[usize]> {
        let exact = self.names.get(name);
        // RFC 6125 §6.4.3: the wildcard is the whole of the first label, and no more than that.
        let wild = || {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        exact.or_else(wild).map(Vec::as_slice)
    }

    /// Whether there is no choice.
    pub(super) fn is_one(&self) -> bool {
        self.all.len() == 1
    }

    /// Whether a client that asked for one name may ask for the other on the same connection: the certificates are the same, or
    /// none is for the other.
    pub(super) fn serves_both(&self, asked: Option<&str>, host: &str) -> bool {
        let served = self.candidates(asked);
        self.for_name(host)
            .is_none_or(|places| places.iter().any(|place| served.contains(place)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let usable = |place: &&usize| {
            let one = self.all.get(**place);
            one.is_some_and(|one| one.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let candidates = self.candidates(name.as_deref());
        let place = candidates.iter().find(usable).copied();
        // None that it can verify: any other of ours is no better, but for the client that asked for nothing known, to which
        // all of them are equal.
        let place = place.or_else(|| {
            let known = name.as_deref().and_then(|name| self.for_name(name));
            let all: Vec<usize> = (0..self.all.len()).collect();
            known.is_none().then(|| all.iter().find(usable).copied())?
        })?;
        self.all.get(place).cloned()
    }
}

fn certified(
    config: &config::Certificate,
    files: &Files,
    at: &str,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<String>), PathError> {
    let (cert_at, key_at) = (format!("{at}.cert"), format!("{at}.key"));
    let chain = files.certificates(&config.cert, &cert_at)?;
    let described = chain
        .first()
        .map(|own| Described::read(own))
        .transpose()
        .map_err(|error| wrong(&cert_at, &config.cert, error))?
        .unwrap_or_default();
    let key = provider
        .key_provider
        .load_private_key(files.key(&config.key, &key_at)?)
        .map_err(|error| {
            wrong(
                &key_at,
                &config.key,
                format_args!("cannot be used: {error}"),
            )
        })?;
    let mut certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            let what = format_args!("is not the key of `{}`", config.cert.display());
            return Err(wrong(&key_at, &config.key, what));
        }
        Err(error) => {
            let what = format_args!("cannot be used: {error}");
            return Err(wrong(&cert_at, &config.cert, what));
        }
    }
    if let Some(ocsp) = &config.ocsp {
        certified.ocsp = Some(files.bytes(ocsp, &format!("{at}.ocsp"))?);
    }
    Ok((certified, described.host_names()))
}
