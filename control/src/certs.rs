//! The certificates that serve, as the admin interface shows them: in the form of Envoy's `/certs`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ringway_config::{Certificate, Config, Parsed, PathError};
use ringway_engine::Snapshot;
use ringway_engine::observe::stats::CertificateId;
use ringway_engine::tls::{AltName, Described, Files};
use serde_json::{Value, json};

/// A day in seconds.
const DAY: i64 = 24 * 3600;

/// All of them, as JSON.
pub(crate) fn page(snapshot: &Snapshot) -> Value {
    let (config, files) = (snapshot.config(), snapshot.files());
    let now = now();
    let mut all = Vec::new();
    for_each_part(config, |authority, certificates| {
        for certificate in certificates {
            all.push(json!({
                "ca_cert": authority.map_or_else(Vec::new, |path| list(files, path, now)),
                "cert_chain": list(files, &certificate.cert, now),
            }));
        }
        if let (Some(path), []) = (authority, certificates) {
            all.push(json!({ "ca_cert": list(files, path, now), "cert_chain": [] }));
        }
    });
    json!({ "certificates": all })
}

/// When each of those that are shown to somebody expires.
pub(crate) fn expiries(snapshot: &Snapshot) -> Vec<(CertificateId, i64)> {
    let files = snapshot.files();
    let mut all = Vec::new();
    for_each_part(snapshot.config(), |_, certificates| {
        for certificate in certificates {
            let own = files.described(&certificate.cert).into_iter().next();
            all.extend(own.map(|own| {
                let path = certificate.cert.display().to_string();
                let serial = own.serial;
                (CertificateId { path, serial }, own.not_after)
            }));
        }
    });
    all
}

/// What is doubtful about the certificates of a configuration.
pub(crate) fn doubts(config: &Config, files: &Files) -> Vec<PathError> {
    let now = now();
    let mut doubts = Vec::new();
    for (path, certificate) in named(config) {
        let Some(own) = files.described(&certificate.cert).into_iter().next() else {
            continue;
        };
        let file = certificate.cert.display();
        if own.not_after < now {
            let days = (now - own.not_after) / DAY;
            let message = format!(
                "the certificate of `{file}` expired {days} days ago: no client should take it"
            );
            doubts.push(PathError::new(path, message));
        } else if own.not_before > now {
            let message = format!(
                "the certificate of `{file}` is not good yet: is this machine's clock right?"
            );
            doubts.push(PathError::new(path, message));
        }
    }
    doubts
}

/// Says what is doubtful.
pub(crate) fn warn(parsed: &Parsed, files: &Files) {
    let doubts = doubts(&parsed.config, files);
    if !doubts.is_empty() {
        let rendered = parsed
            .spans
            .render_warnings(&parsed.spans.errors(doubts).problems);
        tracing::warn!("certificates are doubtful:\n{}", rendered.trim_end());
    }
}

/// Every certificate with its path in the configuration.
fn named(config: &Config) -> Vec<(String, &Certificate)> {
    let mut all = Vec::new();
    for (i, listener) in config.listeners.iter().enumerate() {
        for (j, chain) in listener.chains.iter().enumerate() {
            let certificates = chain.tls.iter().flat_map(|tls| &tls.certificates);
            for (k, certificate) in certificates.enumerate() {
                let path = format!("listeners[{i}].chains[{j}].tls.certificates[{k}].cert");
                all.push((path, certificate));
            }
        }
    }
    for (i, cluster) in config.clusters.iter().enumerate() {
        let own = cluster
            .tls
            .as_ref()
            .and_then(|tls| tls.certificate.as_ref());
        if let Some(certificate) = own {
            all.push((format!("clusters[{i}].tls.certificate.cert"), certificate));
        }
    }
    all
}

/// The authority and the certificates of each chain and cluster that has TLS.
fn for_each_part(config: &Config, mut see: impl FnMut(Option<&Path>, &[Certificate])) {
    for listener in &config.listeners {
        for tls in listener
            .chains
            .iter()
            .filter_map(|chain| chain.tls.as_ref())
        {
            let client = tls.client.as_ref();
            let authority = client.and_then(|client| client.trust.ca.as_deref());
            see(authority, &tls.certificates);
        }
    }
    for tls in config
        .clusters
        .iter()
        .filter_map(|cluster| cluster.tls.as_ref())
    {
        let own = tls.certificate.as_ref().map(std::slice::from_ref);
        see(tls.trust.ca.as_deref(), own.unwrap_or_default());
    }
}

fn list(files: &Files, path: &Path, now: i64) -> Vec<Value> {
    let all = files.described(path);
    all.iter().map(|one| entry(one, path, now)).collect()
}

fn entry(one: &Described, path: &Path, now: i64) -> Value {
    let names = one.names.iter().map(|name| match name {
        AltName::Dns(name) => json!({ "dns": name }),
        AltName::Uri(uri) => json!({ "uri": uri }),
        AltName::Ip(address) => json!({ "ip_address": address.to_string() }),
        AltName::Email(mail) => json!({ "email": mail }),
    });
    json!({
        "path": path.display().to_string(),
        "serial_number": one.serial,
        "subject": one.subject,
        "subject_alt_names": names.collect::<Vec<_>>(),
        // A text, as protocol buffers write numbers of 64 bits.
        "days_until_expiration": ((one.not_after - now).max(0) / DAY).to_string(),
        "valid_from": date(one.not_before),
        "expiration_time": date(one.not_after),
    })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// RFC 3339, to the second. The days since 1970 become a date as in Howard Hinnant's `civil_from_days`: years begin in March, so
/// that the leap day is their last.
fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(date(seconds), expect);
        }
    }
}
