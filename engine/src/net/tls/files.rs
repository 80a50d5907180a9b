//! What the files of certificates, keys and lists hold: read by control, taken apart here.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tickets::TicketSecrets;
use super::x509::Described;
use ringway_config::{PathError, SYSTEM_ROOTS};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem};

/// Files by their path, or why they cannot be read. One that is not among them was not looked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(HashMap<PathBuf, Result<Arc<[u8]>, String>>);

impl fmt::Debug for Files {
    /// The paths alone: there are keys among the files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(PathBuf, Result<Arc<[u8]>, String>)> for Files {
    fn from_iter<I: IntoIterator<Item = (PathBuf, Result<Arc<[u8]>, String>)>>(files: I) -> Self {
        Self(files.into_iter().collect())
    }
}

impl Files {
    /// The certificates of a file, taken apart; those that cannot be are left out.
    pub fn described(&self, path: &Path) -> Vec<Described> {
        let chain = self.certificates(path, "").unwrap_or_default();
        chain
            .iter()
            .filter_map(|der| Described::read(der).ok())
            .collect()
    }

    /// The secrets of a file of tickets' keys: 64 hexadecimal digits a line, the newest first.
    pub fn ticket_secrets(&self, path: &Path, at: &str) -> Result<TicketSecrets, PathError> {
        let bytes = self.read(path, at)?;
        TicketSecrets::parse(bytes).ok_or_else(|| {
            let what = "is no list of keys: write 64 hexadecimal digits a line, the newest first, as `openssl rand -hex 32` makes them";
            wrong(at, path, what)
        })
    }

    /// Those of these paths.
    pub fn only(&self, paths: &[PathBuf]) -> Self {
        let found = |path: &PathBuf| Some((path.clone(), self.0.get(path)?.clone()));
        paths.iter().filter_map(found).collect()
    }

    /// Puts the files of another, at these paths, in the place of its own.
    pub fn restore(&mut self, paths: &[PathBuf], from: &Self) {
        for (path, file) in &from.only(paths).0 {
            self.0.insert(path.clone(), file.clone());
        }
    }

    fn read(&self, path: &Path, at: &str) -> Result<&[u8], PathError> {
        match self.0.get(path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(wrong(at, path, format_args!("cannot be read: {error}"))),
            None => Err(wrong(at, path, "was not read")),
        }
    }

    /// Certificates in PEM; at least one.
    pub(super) fn certificates(
        &self,
        path: &Path,
        at: &str,
    ) -> Result<Vec<CertificateDer<'static>>, PathError> {
        let bytes = self.read(path, at)?;
        let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
        match all {
            Ok(all) if all.is_empty() => Err(wrong(
                at,
                path,
                "has no certificate: it must be PEM, with `-----BEGIN CERTIFICATE-----`",
            )),
            Ok(all) => Ok(all),
            Err(error) => Err(wrong(at, path, format_args!("is no sound PEM: {error}"))),
        }
    }

    /// The authorities of the system.
    pub(super) fn system(&self, at: &str) -> Result<Vec<CertificateDer<'static>>, PathError> {
        let found = SYSTEM_ROOTS
            .iter()
            .map(Path::new)
            .find(|path| matches!(self.0.get(*path), Some(Ok(_))));
        match found {
            Some(path) => self.certificates(path, at),
            None => {
                let message = format!(
                    "this system has no list of authorities (`{}`): name one with `ca`",
                    SYSTEM_ROOTS.join("`, `")
                );
                Err(PathError::new(at.to_owned(), message))
            }
        }
    }

    /// A key in PEM.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is another library's and grows with it"
    )]
    pub(super) fn key(&self, path: &Path, at: &str) -> Result<PrivateKeyDer<'static>, PathError> {
        let bytes = self.read(path, at)?;
        PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => wrong(
                at,
                path,
                "has no key: it must be PEM without a password, with `-----BEGIN PRIVATE KEY-----`",
            ),
            error => wrong(at, path, format_args!("is no sound PEM: {error}")),
        })
    }

    /// Lists of revoked certificates in PEM, or one in DER.
    pub(super) fn crls(
        &self,
        path: &Path,
        at: &str,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, PathError> {
        let bytes = self.read(path, at)?;
        let all: Result<Vec<_>, pem::Error> =
            CertificateRevocationListDer::pem_slice_iter(bytes).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            Ok(_) => Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]),
            Err(error) => Err(wrong(at, path, format_args!("is no sound PEM: {error}"))),
        }
    }

    /// A file as it is.
    pub(super) fn bytes(&self, path: &Path, at: &str) -> Result<Vec<u8>, PathError> {
        Ok(self.read(path, at)?.to_vec())
    }
}

/// An error of a file, at the key of the configuration that names it.
pub(super) fn wrong(at: &str, path: &Path, what: impl fmt::Display) -> PathError {
    PathError::new(at.to_owned(), format!("`{}` {what}", path.display()))
}
