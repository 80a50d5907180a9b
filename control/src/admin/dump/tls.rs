//! TLS of a dump: files by their names, never by what is in them.

use ringway_config::{
    Certificate, Cipher, ClientAuth, ClientTls, Offer, Pin, SanKind, SanMatch, SanValue, ServerTls,
    TlsVersion, Trust, UpstreamName,
};
use serde_json::{Value, json};

use super::{each, list, map, some, time};

/// A listener's side.
pub(super) fn server(tls: &ServerTls) -> Value {
    let ServerTls {
        certificates,
        offer: Offer { versions, ciphers },
        client,
        tickets,
        permissive,
        key_log,
    } = tls;
    let mut out = json!({
        "certificates": each(certificates, certificate),
        "versions": each(versions, |v| version(*v).into()),
        "ciphers": each(ciphers, |cipher: &Cipher| cipher.name().into()),
        "tickets": tickets,
        "permissive": permissive,
    });
    if let Some(path) = key_log {
        out["key_log"] = path.display().to_string().into();
    }
    if let Some(ClientAuth { required, trust }) = client {
        let Trust {
            ca,
            crls,
            sans,
            pins,
        } = trust;
        out["client_ca"] = ca.as_ref().map(|ca| ca.display().to_string()).into();
        out["client_certificate"] = if *required { "required" } else { "optional" }.into();
        out["client_crls"] = each(crls, |path| path.display().to_string().into());
        out["client_sans"] = each(sans, san);
        out["client_pins"] = each(pins, pin);
    }
    out
}

/// A cluster's side.
pub(super) fn client(tls: &ClientTls) -> Value {
    let ClientTls {
        server_name,
        trust:
            Trust {
                ca,
                crls,
                sans,
                pins,
            },
        certificate: own,
        offer: Offer { versions, ciphers },
        handshake_timeout,
        insecure_skip_verify,
        key_log,
    } = tls;
    let (fixed, from_host) = match server_name {
        UpstreamName::Fixed(name) => (Some(name.as_str()), false),
        UpstreamName::Host => (None, true),
        UpstreamName::Endpoint => (None, false),
    };
    map([
        ("server_name", fixed.map(Value::from)),
        ("server_name_from_host", from_host.then(|| true.into())),
        ("ca", ca.as_ref().map(|ca| ca.display().to_string().into())),
        (
            "crls",
            list(each(crls, |path| path.display().to_string().into())),
        ),
        ("sans", list(each(sans, san))),
        ("pins", list(each(pins, pin))),
        ("certificate", own.as_ref().map(certificate)),
        ("versions", list(each(versions, |v| version(*v).into()))),
        (
            "ciphers",
            list(each(ciphers, |cipher| cipher.name().into())),
        ),
        ("handshake_timeout", some(time(*handshake_timeout))),
        ("insecure_skip_verify", some(*insecure_skip_verify)),
        (
            "key_log",
            key_log
                .as_ref()
                .map(|path| path.display().to_string().into()),
        ),
    ])
}

fn certificate(certificate: &Certificate) -> Value {
    let Certificate { cert, key, ocsp } = certificate;
    map([
        ("cert", some(cert.display().to_string())),
        ("key", some(key.display().to_string())),
        (
            "ocsp",
            ocsp.as_ref().map(|path| path.display().to_string().into()),
        ),
    ])
}

fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V12 => "1.2",
        TlsVersion::V13 => "1.3",
    }
}

fn san(san: &SanMatch) -> Value {
    let SanMatch { kind, value } = san;
    let kind = match kind {
        SanKind::Dns => "dns",
        SanKind::Uri => "uri",
        SanKind::Ip => "ip",
        SanKind::Email => "email",
    };
    let (how, text) = match value {
        SanValue::Exact(text) => ("exact", text),
        SanValue::Prefix(text) => ("prefix", text),
        SanValue::Suffix(text) => ("suffix", text),
        SanValue::Regex(pattern) => ("regex", &pattern.0),
    };
    json!({ "kind": kind, how: text })
}

fn pin(pin: &Pin) -> Value {
    let hex = |digest: &[u8; 32]| -> String { digest.iter().map(|b| format!("{b:02x}")).collect() };
    match pin {
        Pin::Certificate(digest) => json!({ "certificate": hex(digest) }),
        Pin::Key(digest) => json!({ "key": hex(digest) }),
    }
}
