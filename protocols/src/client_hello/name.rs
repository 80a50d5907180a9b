//! The name in `server_name`: a DNS name, not empty, without a dot at its end (RFC 6066 §3).

use std::net::IpAddr;

/// `a.b` is 253 letters at most, a label 63 (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// The name in lower case. A dot at the end, which some clients copy from the URL, is left out.
pub(super) fn dns_name(name: &[u8]) -> Option<Box<str>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.len() > NAME_MAX || !name.split(|byte| *byte == b'.').all(is_label) {
        return None;
    }
    let text = std::str::from_utf8(name).ok()?;
    Some(text.to_ascii_lowercase().into())
}

/// Letters, digits and dashes, and the underscores that host names in the wild have (`_dmarc`, names of Windows machines).
fn is_label(label: &[u8]) -> bool {
    let dash = |byte: Option<&u8>| byte == Some(&b'-');
    (1..=LABEL_MAX).contains(&label.len())
        && !dash(label.first())
        && !dash(label.last())
        && label
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

pub(super) fn is_address(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_labels_of_letters_digits_and_dashes() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        for (name, expect) in [
            ("a.test", Some("a.test")),
            ("WWW.A-b.TEST", Some("www.a-b.test")),
            ("a.test.", Some("a.test")),
            ("_x.a_b.test", Some("_x.a_b.test")),
            ("localhost", Some("localhost")),
            (&longest, Some(&*longest)),
            ("", None),
            (".", None),
            ("a..test", None),
            (".a.test", None),
            ("a.test..", None),
            ("-a.test", None),
            ("a-.test", None),
            ("*.a.test", None),
            ("a b.test", None),
            ("a\0.test", None),
            ("a.test:443", None),
            ("ä.test", None),
            (&format!("{label}a.test"), None),
            (&format!("{longest}b"), None),
        ] {
            assert_eq!(dns_name(name.as_bytes()).as_deref(), expect, "{name}");
        }
    }
}
