//! `host[:port]`, as `Host` and an absolute-form target have it: RFC 9110 §7.2, RFC 3986 §3.2.2.

use std::net::Ipv6Addr;

use super::charset;

/// Whether it is a host that is not empty, with a port or without; never with user information.
pub(crate) fn authority(text: &[u8]) -> bool {
    if let Some(rest) = text.strip_prefix(b"[") {
        let Some(close) = memchr::memchr(b']', rest) else {
            return false;
        };
        let (literal, after) = rest.split_at_checked(close).unwrap_or_default();
        return is_v6(literal) && after.strip_prefix(b"]").is_some_and(is_port_part);
    }
    // Nearly all have letters, digits, dots and dashes only, up to the end or the port.
    let host = text.iter().position(|byte| !charset::is_plain(*byte));
    let host = host.unwrap_or(text.len());
    let (plain, rest) = text.split_at_checked(host).unwrap_or_default();
    if matches!(rest, [] | [b':', ..]) {
        return !plain.is_empty() && is_port_part(rest);
    }
    let host = memchr::memchr(b':', text).unwrap_or(text.len());
    let (host, port) = text.split_at_checked(host).unwrap_or_default();
    !host.is_empty() && charset::is_reg_name(host) && is_encoded(host) && is_port_part(port)
}

/// Neither zones (RFC 6874) nor `IPvFuture`: no peer agrees on them.
fn is_v6(literal: &[u8]) -> bool {
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or a colon and a port; RFC 3986 lets the digits be missing.
fn is_port_part(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else {
        return text.is_empty();
    };
    let number = digits.iter().try_fold(0u16, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    number.is_some()
}

/// Whether each `%` has its two digits.
fn is_encoded(host: &[u8]) -> bool {
    if memchr::memchr(b'%', host).is_none() {
        return true;
    }
    host.split(|byte| *byte == b'%')
        .skip(1)
        .all(|rest| matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn an_authority_is_a_host_and_maybe_a_port() {
        for good in [
            "example.test",
            "example.test.",
            "EXAMPLE.test:80",
            "example.test:",
            "example.test:0080",
            "127.0.0.1:65535",
            "[::1]",
            "[::ffff:1.2.3.4]:443",
            "a_b~c!$&'()*+;=",
            "a%20b",
        ] {
            assert!(authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "user@example.test",
            "user:pw@example.test",
            "example.test:80@evil.test",
            "example.test/x",
            "example.test?x",
            "example.test#x",
            "a.test, b.test",
            "a.test,b.test",
            "a.test b.test",
            "example.test:65536",
            "example.test:8a",
            "example.test:+80",
            "example.test:-1",
            "example.test:80:80",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]]",
            "[::1%25eth0]",
            "[v1.a]",
            "[]",
            "[1.2.3.4]",
            "exam\"ple.test",
            "exam\\ple.test",
            "exam%2",
            "exam%zz",
            "exämple.test",
            "a\tb",
            "a\u{7f}b",
        ] {
            assert!(!authority(bad.as_bytes()), "{bad}");
        }
    }
}
