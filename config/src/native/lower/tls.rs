//! TLS: profiles become lists, names and digests become one type each.

use super::{keys, matches};
use crate::native::wire::{
    CertificateRecord, ClientCertificate, ClusterTlsRecord, Cx, NonEmpty, PinRecord, SanKindWord,
    SanRecord, TlsProfile, TlsRecord,
};
use crate::{
    Certificate, Cipher, ClientAuth, ClientTls, Offer, Pattern, Pin, SanKind, SanMatch, SanValue,
    ServerTls, TlsVersion, Trust, UpstreamName,
};

/// Makes a listener's side.
pub(crate) fn server(record: TlsRecord, cx: &mut Cx) -> ServerTls {
    let at = record.at;
    let offer = offer(&at, record.profile, record.versions, record.ciphers, cx);
    let of_clients = [
        "client_certificate",
        "client_crls",
        "client_sans",
        "client_pins",
    ];
    if record.client_ca.is_none() {
        for key in of_clients.iter().filter(|key| record.keys.contains(key)) {
            let message =
                format!("name the authorities of clients with `client_ca` beside `{key}`");
            cx.problem(&format!("{at}.{key}"), message);
        }
    }
    let client = record.client_ca.map(|ca| ClientAuth {
        required: record.client_certificate != Some(ClientCertificate::Optional),
        trust: Trust {
            ca: Some(ca),
            crls: record.client_crls.0,
            sans: sans(record.client_sans.0, cx),
            pins: pins(record.client_pins.0, cx),
        },
    });
    if record.key_log.is_some() {
        warn_of_key_log(&at, cx);
    }
    ServerTls {
        certificates: record.certificates.0.into_iter().map(certificate).collect(),
        offer,
        client,
        tickets: record.tickets,
        permissive: record.permissive,
        key_log: record.key_log,
    }
}

/// Makes a cluster's side.
pub(crate) fn client(record: ClusterTlsRecord, cx: &mut Cx) -> ClientTls {
    let at = record.at;
    if record.insecure_skip_verify {
        let message = "any host is believed, and whoever is between may read and change everything: name an authority with `ca` instead";
        cx.warning(&format!("{at}.insecure_skip_verify"), message);
        for key in ["ca", "crls", "sans", "pins"] {
            if record.keys.contains(&key) {
                let message = format!("leave `{key}` out: `insecure_skip_verify` asks for nothing");
                cx.problem(&format!("{at}.{key}"), message);
            }
        }
    }
    if record.key_log.is_some() {
        warn_of_key_log(&at, cx);
    }
    let server_name = match (record.server_name, record.server_name_from_host) {
        (Some(name), false) => UpstreamName::Fixed(name.0),
        (None, true) => UpstreamName::Host,
        (None, false) => UpstreamName::Endpoint,
        (Some(_), true) => {
            let message = "leave `server_name` or `server_name_from_host` out";
            cx.problem(&format!("{at}.server_name_from_host"), message);
            UpstreamName::Host
        }
    };
    let offer = offer(&at, record.profile, record.versions, record.ciphers, cx);
    ClientTls {
        server_name,
        trust: Trust {
            ca: record.ca,
            crls: record.crls.0,
            sans: sans(record.sans.0, cx),
            pins: pins(record.pins.0, cx),
        },
        certificate: record.certificate.map(certificate),
        offer,
        handshake_timeout: record.handshake_timeout.0,
        insecure_skip_verify: record.insecure_skip_verify,
        key_log: record.key_log,
    }
}

/// Secrets in a file are worth a word at each start and reload.
fn warn_of_key_log(at: &str, cx: &mut Cx) {
    let message = "the secrets of every session are written down: whoever has the file and a recording can read all of it; take `key_log` out as soon as the fault is found";
    cx.warning(&format!("{at}.key_log"), message);
}

fn offer(
    at: &str,
    profile: TlsProfile,
    versions: Option<NonEmpty<TlsVersion>>,
    ciphers: Option<NonEmpty<Cipher>>,
    cx: &mut Cx,
) -> Offer {
    let mut offer = match profile {
        TlsProfile::Modern => Offer::modern(),
        TlsProfile::Intermediate => Offer::default(),
    };
    if let Some(NonEmpty(versions)) = versions {
        offer.versions = versions;
        offer.ciphers = Cipher::ALL.to_vec();
    }
    let named = ciphers.is_some();
    if let Some(NonEmpty(ciphers)) = ciphers {
        offer.ciphers = ciphers;
    }
    for version in &offer.versions {
        if !offer
            .ciphers
            .iter()
            .any(|cipher| cipher.version() == *version)
        {
            let version = match version {
                TlsVersion::V12 => "1.2",
                TlsVersion::V13 => "1.3",
            };
            let key = if named { "ciphers" } else { "versions" };
            let message = format!(
                "no cipher suite here is for TLS {version}: add one, or leave the version out of `versions`"
            );
            cx.problem(&format!("{at}.{key}"), message);
        }
    }
    if named {
        for cipher in &offer.ciphers {
            if !offer.versions.contains(&cipher.version()) {
                let message = format!(
                    "leave `{}` out: its version of TLS is not among the `versions`",
                    cipher.name()
                );
                cx.problem(&format!("{at}.ciphers"), message);
            }
        }
    }
    let versions = offer.versions.clone();
    offer
        .ciphers
        .retain(|cipher| versions.contains(&cipher.version()));
    offer
}

fn certificate(record: CertificateRecord) -> Certificate {
    Certificate {
        cert: record.cert,
        key: record.key,
        ocsp: record.ocsp,
    }
}

fn sans(records: Vec<SanRecord>, cx: &mut Cx) -> Vec<SanMatch> {
    let mut sans = Vec::with_capacity(records.len());
    for record in records {
        let choices = ["exact", "prefix", "suffix", "regex"];
        keys::exactly_one(&record.at, &record.keys, &choices, cx);
        let value = if let Some(text) = record.exact {
            SanValue::Exact(text.0)
        } else if let Some(text) = record.prefix {
            SanValue::Prefix(text.0)
        } else if let Some(text) = record.suffix {
            SanValue::Suffix(text.0)
        } else {
            SanValue::Regex(
                record
                    .regex
                    .map_or_else(|| Pattern(String::new()), matches::pattern),
            )
        };
        let kind = match record.kind {
            SanKindWord::Dns => SanKind::Dns,
            SanKindWord::Uri => SanKind::Uri,
            SanKindWord::Ip => SanKind::Ip,
            SanKindWord::Email => SanKind::Email,
        };
        sans.push(SanMatch { kind, value });
    }
    sans
}

fn pins(records: Vec<PinRecord>, cx: &mut Cx) -> Vec<Pin> {
    let mut pins = Vec::with_capacity(records.len());
    for record in records {
        keys::exactly_one(&record.at, &record.keys, &["certificate", "key"], cx);
        pins.extend(record.certificate.map(|digest| Pin::Certificate(digest.0)));
        pins.extend(record.key.map(|digest| Pin::Key(digest.0)));
    }
    pins
}
