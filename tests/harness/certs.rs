//! Authorities and certificates of tests, made as they are needed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    RevokedCertParams, SanType, SerialNumber,
};

use crate::tempdir::TempDir;

/// Numbers of certificates: no two of a run are the same.
static SERIALS: AtomicU64 = AtomicU64::new(0x1000);

/// An authority.
pub struct Authority {
    /// Its own certificate in PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate in PEM.
    pub cert: String,
    /// The key in PEM.
    pub key: String,
    /// Its number in hexadecimal.
    pub serial: String,
}

/// What a certificate is to be.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    names: Vec<SanType>,
    rsa: bool,
    expired: bool,
}

impl Wanted {
    /// For host names.
    pub fn names(names: &[&str]) -> Self {
        let dns = |name: &&str| SanType::DnsName((*name).try_into().expect("a name"));
        Self {
            names: names.iter().map(dns).collect(),
            ..Self::default()
        }
    }

    /// For a URI too.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.names
            .push(SanType::URI(uri.try_into().expect("ASCII")));
        self
    }

    /// For an address too.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.names
            .push(SanType::IpAddress(address.parse().expect("an address")));
        self
    }

    /// With an RSA key instead of an elliptic one.
    #[must_use]
    pub fn rsa(mut self) -> Self {
        self.rsa = true;
        self
    }

    /// Good until yesterday.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.self_signed(&key).expect("a certificate");
        Self {
            pem: cert.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for host names.
    pub fn issue(&self, names: &[&str]) -> Leaf {
        self.make(&Wanted::names(names))
    }

    /// A certificate.
    pub fn make(&self, wanted: &Wanted) -> Leaf {
        let algorithm = if wanted.rsa {
            &PKCS_RSA_SHA256
        } else {
            &PKCS_ECDSA_P256_SHA256
        };
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params.subject_alt_names.clone_from(&wanted.names);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("leaf {serial:x}"));
        let day = Duration::from_secs(24 * 3600);
        let now = SystemTime::now();
        (params.not_before, params.not_after) = if wanted.expired {
            ((now - 10 * day).into(), (now - day).into())
        } else {
            ((now - day).into(), (now + 30 * day).into())
        };
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf {
            cert: cert.pem(),
            key: key.serialize_pem(),
            serial: format!("{serial:x}"),
        }
    }

    /// Its list of revoked certificates in PEM.
    pub fn revoke(&self, leaves: &[&Leaf]) -> String {
        let now = SystemTime::now();
        let revoked = |leaf: &&Leaf| RevokedCertParams {
            serial_number: u64::from_str_radix(&leaf.serial, 16)
                .expect("hexadecimal")
                .into(),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(24 * 3600)).into(),
            crl_number: SerialNumber::from(SERIALS.fetch_add(1, Ordering::Relaxed)),
            issuing_distribution_point: None,
            revoked_certs: leaves.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }
}

impl Leaf {
    /// Writes both files, as `NAME.pem` and `NAME.key`; returns their paths. Each is swapped in whole.
    pub fn write(&self, dir: &TempDir, name: &str) -> (PathBuf, PathBuf) {
        let swap = |file: String, text: &str| {
            let new = dir.write(&format!("{file}.new"), text);
            let path = dir.join(&file);
            std::fs::rename(new, &path).expect("the same folder");
            path
        };
        (
            swap(format!("{name}.pem"), &self.cert),
            swap(format!("{name}.key"), &self.key),
        )
    }
}
