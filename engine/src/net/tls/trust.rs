//! How the other end's certificate is judged: by authorities and lists of revocations, then by names and digests.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use regex::Regex;
use ringway_config::{self as config, PathError, Pin, SanKind, SanValue};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::files::{Files, wrong};
use super::x509::{AltName, Described};

/// What both judges leave to rustls' own: whether what was signed was signed with the certificate's key.
macro_rules! signatures_by_inner {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.inner.supported_verify_schemes()
        }
    };
}

/// Names and digests, one of each of which must be the certificate's, where any are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    sans: Vec<(SanKind, Text)>,
    pins: Vec<Pin>,
}

#[derive(Clone, Debug)]
enum Text {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

impl Text {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => name == text,
            Self::Prefix(text) => name.starts_with(text.as_str()),
            Self::Suffix(text) => name.ends_with(text.as_str()),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

impl Rules {
    fn compile(trust: &config::Trust) -> Result<Self, Vec<PathError>> {
        let mut rules = Self {
            sans: Vec::with_capacity(trust.sans.len()),
            pins: trust.pins.clone(),
        };
        let mut errors = Vec::new();
        for (at, san) in trust.sans.iter().enumerate() {
            // Host names have no case.
            let cased = |text: &String| match san.kind {
                SanKind::Dns => text.to_ascii_lowercase(),
                SanKind::Uri | SanKind::Ip | SanKind::Email => text.clone(),
            };
            let text = match &san.value {
                SanValue::Exact(text) => Text::Exact(cased(text)),
                SanValue::Prefix(text) => Text::Prefix(cased(text)),
                SanValue::Suffix(text) => Text::Suffix(cased(text)),
                SanValue::Regex(pattern) => match Regex::new(&format!("^(?:{})$", pattern.0)) {
                    Ok(regex) => Text::Regex(regex),
                    Err(error) => {
                        let place = format!("sans[{at}].regex");
                        errors.push(PathError::new(place, error.to_string()));
                        continue;
                    }
                },
            };
            rules.sans.push((san.kind, text));
        }
        if errors.is_empty() {
            Ok(rules)
        } else {
            Err(errors)
        }
    }

    fn is_empty(&self) -> bool {
        self.sans.is_empty() && self.pins.is_empty()
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let Ok(described) = Described::read(certificate) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let named = |(kind, text): &(SanKind, Text)| {
            described.names.iter().any(|name| match (kind, name) {
                (SanKind::Dns, AltName::Dns(name)) => text.matches(&name.to_ascii_lowercase()),
                (SanKind::Uri, AltName::Uri(name)) | (SanKind::Email, AltName::Email(name)) => {
                    text.matches(name)
                }
                (SanKind::Ip, AltName::Ip(address)) => text.matches(&address.to_string()),
                (
                    SanKind::Dns | SanKind::Uri | SanKind::Email | SanKind::Ip,
                    AltName::Dns(_) | AltName::Uri(_) | AltName::Email(_) | AltName::Ip(_),
                ) => false,
            })
        };
        if !self.sans.is_empty() && !self.sans.iter().any(named) {
            return Err(CertificateError::NotValidForName.into());
        }
        let pinned = |pin: &Pin| {
            let (wanted, bytes) = match pin {
                Pin::Certificate(wanted) => (wanted, certificate.as_ref()),
                Pin::Key(wanted) => (wanted, described.public_key.as_slice()),
            };
            digest(&SHA256, bytes).as_ref() == wanted
        };
        if !self.pins.is_empty() && !self.pins.iter().any(pinned) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }
}

/// The files that certificates are judged by.
struct Judges {
    roots: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    rules: Rules,
}

impl Judges {
    fn read(trust: &config::Trust, files: &Files, ca_at: &str) -> Result<Self, Vec<PathError>> {
        let mut errors = Vec::new();
        let mut roots = RootCertStore::empty();
        match &trust.ca {
            Some(ca) => match files.certificates(ca, ca_at) {
                Ok(all) => {
                    for certificate in all {
                        if let Err(error) = roots.add(certificate) {
                            let what = format_args!(
                                "has a certificate that cannot be an authority: {error}"
                            );
                            errors.push(wrong(ca_at, ca, what));
                        }
                    }
                }
                Err(error) => errors.push(error),
            },
            None => match files.system(ca_at) {
                Ok(all) => {
                    // Some that systems ship are too odd for any strict reader; the others are what counts.
                    let _counts = roots.add_parsable_certificates(all);
                }
                Err(error) => errors.push(error),
            },
        }
        let mut crls = Vec::new();
        for (at, path) in trust.crls.iter().enumerate() {
            match files.crls(path, &format!("crls[{at}]")) {
                Ok(all) => crls.extend(all),
                Err(error) => errors.push(error),
            }
        }
        match Rules::compile(trust) {
            Ok(rules) if errors.is_empty() => Ok(Self {
                roots: Arc::new(roots),
                crls,
                rules,
            }),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }
}

/// The judge of clients.
pub(super) fn of_clients(
    auth: &config::ClientAuth,
    files: &Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Vec<PathError>> {
    let judges = Judges::read(&auth.trust, files, "client_ca").map_err(|errors| {
        let named = |error: PathError| match error.path.as_str() {
            "client_ca" => error,
            path => PathError::new(format!("client_{path}"), error.message),
        };
        errors.into_iter().map(named).collect::<Vec<_>>()
    })?;
    let builder = WebPkiClientVerifier::builder_with_provider(judges.roots, Arc::clone(provider))
        .with_crls(judges.crls);
    let builder = if auth.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let inner = builder
        .build()
        .map_err(|error| vec![PathError::new("client_crls".to_owned(), error.to_string())])?;
    Ok(Arc::new(OfClients {
        inner,
        rules: judges.rules,
    }))
}

#[derive(Debug)]
struct OfClients {
    inner: Arc<dyn ClientCertVerifier>,
    rules: Rules,
}

impl ClientCertVerifier for OfClients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now)?;
        self.rules.check(end_entity)?;
        Ok(verified)
    }

    signatures_by_inner!();
}

/// The judge of servers.
pub(super) fn of_servers(
    trust: &config::Trust,
    files: &Files,
    provider: &Arc<CryptoProvider>,
    unverified: bool,
) -> Result<Arc<dyn ServerCertVerifier>, Vec<PathError>> {
    if unverified {
        return Ok(Arc::new(OfNobody {
            provider: Arc::clone(provider),
        }));
    }
    let judges = Judges::read(trust, files, "ca")?;
    let inner = WebPkiServerVerifier::builder_with_provider(judges.roots, Arc::clone(provider))
        .with_crls(judges.crls)
        .build()
        .map_err(|error| vec![PathError::new("ca".to_owned(), error.to_string())])?;
    Ok(Arc::new(OfServers {
        inner,
        rules: judges.rules,
    }))
}

#[derive(Debug)]
struct OfServers {
    inner: Arc<WebPkiServerVerifier>,
    rules: Rules,
}

impl OfServers {
    /// Names of the configuration stand for the name that was connected to (SPIFFE's certificates have no host names).
    fn names_are_asked(&self) -> bool {
        !self.rules.sans.is_empty()
    }
}

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let verified = match verified {
            // webpki looks at the name last, when all else was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.names_are_asked() => ServerCertVerified::assertion(),
            verified => verified?,
        };
        self.rules.check(end_entity)?;
        Ok(verified)
    }

    signatures_by_inner!();
}

/// Takes any certificate: only where the configuration says `insecure_skip_verify`.
#[derive(Debug)]
struct OfNobody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OfNobody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
