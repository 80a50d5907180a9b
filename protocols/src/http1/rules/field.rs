//! One field line: RFC 9112 §5.

use super::charset;
use crate::FieldId;
use crate::http1::Violation;

/// A field line's parts as offsets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http1) struct FieldLine {
    /// Bytes of the name.
    pub(in crate::http1) name: usize,
    /// The value without the white space around it: from, to.
    pub(in crate::http1) value: (usize, usize),
}

/// Takes a line (not empty, without CR, LF, NUL) apart.
pub(in crate::http1) fn field(line: &[u8]) -> Result<FieldLine, Violation> {
    let name = line
        .iter()
        .position(|byte| !charset::is_tchar(*byte))
        .ok_or(Violation::FieldNoColon)?;
    if name == 0 || line.get(name) != Some(&b':') {
        return Err(bad_name(line, name));
    }
    let value = line.get(name + 1..).unwrap_or_default();
    if !charset::is_value(value) {
        return Err(Violation::FieldValueByte);
    }
    let is_text = |byte: &u8| *byte != b' ' && *byte != b'\t';
    let Some(first) = value.iter().position(is_text) else {
        return Ok(FieldLine {
            name,
            value: (line.len(), line.len()),
        });
    };
    let last = value.iter().rposition(is_text).unwrap_or(first);
    Ok(FieldLine {
        name,
        value: (name + 1 + first, name + 2 + last),
    })
}

/// What is wrong with a line whose name does not go straight to its colon.
#[cold]
fn bad_name(line: &[u8], name: usize) -> Violation {
    let rest = line.get(name..).unwrap_or_default();
    let after_space = rest.iter().find(|byte| **byte != b' ' && **byte != b'\t');
    match rest.first() {
        Some(b' ' | b'\t') if name == 0 => Violation::ObsFold,
        Some(b' ' | b'\t') if after_space == Some(&b':') => Violation::FieldNameSpace,
        _ if !line.contains(&b':') => Violation::FieldNoColon,
        Some(b':') => Violation::FieldNameEmpty,
        _ => Violation::FieldNameByte,
    }
}

/// Holds a name that somebody else has read against RFC 9110 §5.1.
pub(crate) fn name(name: &[u8]) -> Result<(), Violation> {
    match charset::is_token(name) {
        true => Ok(()),
        false => Err(Violation::FieldNameByte),
    }
}

/// CGI and WSGI turn `-` into `_`, so that a back-end of that kind cannot tell these from the fields that frame and route.
const COLLAPSING: [&[u8]; 5] = [
    b"content-length",
    b"transfer-encoding",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// Refuses a name that differs from one of those by underscores only.
pub(crate) fn unambiguous(name: &[u8]) -> Result<(), Violation> {
    // Length and first letter settle nearly all.
    let begins = matches!(name.first(), Some(b'c' | b'C' | b't' | b'T' | b'x' | b'X'));
    if !begins || !(14..=17).contains(&name.len()) || !name.contains(&b'_') {
        return Ok(());
    }
    let same = |known: &&[u8]| {
        let dashed = name.iter().map(|byte| match byte {
            b'_' => b'-',
            other => other.to_ascii_lowercase(),
        });
        known.len() == name.len() && known.iter().copied().eq(dashed)
    };
    match COLLAPSING.iter().any(same) {
        true => Err(Violation::FieldNameAmbiguous),
        false => Ok(()),
    }
}

/// Whether a field must not stand in a trailer: framing, routing, authentication, request modifiers, control data and
/// content's description (RFC 9110 §6.5.1). Dropped, since back-ends that merge trailers into the head exist.
pub(crate) fn is_forbidden_trailer(id: FieldId, name: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "age",
        "authentication-info",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-location",
        "content-range",
        "cookie",
        "expires",
        "forwarded",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authentication-info",
        "proxy-authorization",
        "range",
        "retry-after",
        "set-cookie",
        "vary",
        "www-authenticate",
        "x-real-ip",
    ];
    const PREFIXES: &[&str] = &["if-", "x-forwarded-", "sec-", "access-control-"];
    match id {
        FieldId::Connection
        | FieldId::ContentLength
        | FieldId::ContentType
        | FieldId::Date
        | FieldId::Expect
        | FieldId::Host
        | FieldId::KeepAlive
        | FieldId::ProxyAuthenticate
        | FieldId::ProxyConnection
        | FieldId::Te
        | FieldId::Trailer
        | FieldId::TransferEncoding
        | FieldId::Upgrade
        | FieldId::Via
        | FieldId::XEnvoyUpstreamRqTimeoutMs
        | FieldId::XForwardedClientCert
        | FieldId::XForwardedFor
        | FieldId::XForwardedHost
        | FieldId::XForwardedProto => true,
        FieldId::Server | FieldId::UserAgent | FieldId::XRequestId | FieldId::Other => {
            let starts = |prefix: &&str| {
                name.get(..prefix.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            };
            unambiguous(name).is_err()
                || NAMES
                    .iter()
                    .any(|n| n.as_bytes().eq_ignore_ascii_case(name))
                || PREFIXES.iter().any(starts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Result<(&str, &str), Violation>) {
        let line = line.as_bytes();
        let got = field(line).map(|f| (&line[..f.name], &line[f.value.0..f.value.1]));
        let expect = expect.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(got, expect, "{}", line.escape_ascii());
    }

    #[test]
    fn white_space_around_a_value_is_not_of_it() {
        check("a:b", Ok(("a", "b")));
        check("a: \t b c \t", Ok(("a", "b c")));
        check("a:", Ok(("a", "")));
        check("a: \t", Ok(("a", "")));
        check("a:: b:", Ok(("a", ": b:")));
        check(
            "!#$%&'*+-.^_`|~09azAZ:é",
            Ok(("!#$%&'*+-.^_`|~09azAZ", "é")),
        );
    }

    #[test]
    fn names_are_tokens_up_to_the_colon() {
        for (line, rule) in [
            (" a: b", Violation::ObsFold),
            ("\ta: b", Violation::ObsFold),
            ("a", Violation::FieldNoColon),
            ("a b", Violation::FieldNoColon),
            ("(", Violation::FieldNoColon),
            (": b", Violation::FieldNameEmpty),
            ("a : b", Violation::FieldNameSpace),
            ("a\t: b", Violation::FieldNameSpace),
            ("a b: c", Violation::FieldNameByte),
            ("a(b: c", Violation::FieldNameByte),
            ("\"a\": c", Violation::FieldNameByte),
            ("aé: c", Violation::FieldNameByte),
            ("a\u{1}: c", Violation::FieldNameByte),
            ("a\u{7f}: c", Violation::FieldNameByte),
        ] {
            check(line, Err(rule));
        }
    }

    #[test]
    fn values_hold_no_control_bytes() {
        for byte in (1..32).chain([127]).filter(|byte| *byte != b'\t') {
            let line = [b'a', b':', b'x', byte, b'y'];
            assert_eq!(field(&line), Err(Violation::FieldValueByte), "{byte}");
        }
    }

    #[test]
    fn underscores_do_not_hide_framing() {
        for (name, refused) in [
            ("Content_Length", true),
            ("TRANSFER_ENCODING", true),
            ("X_Forwarded-For", true),
            ("X-Forwarded-For", false),
            ("x_request_id", false),
            ("Content_Length_", false),
        ] {
            assert_eq!(unambiguous(name.as_bytes()).is_err(), refused, "{name}");
        }
    }

    #[test]
    fn trailers_cannot_frame_route_or_authenticate() {
        for (name, forbidden) in [
            ("Content-Length", true),
            ("content_length", true),
            ("AUTHORIZATION", true),
            ("Set-Cookie", true),
            ("X-Forwarded-Anything", true),
            ("If-Match", true),
            ("X-Sum", false),
            ("grpc-status", false),
            ("Digest", false),
            ("ETag", false),
            ("Server-Timing", false),
        ] {
            let name = name.as_bytes();
            assert_eq!(
                is_forbidden_trailer(FieldId::of(name), name),
                forbidden,
                "{}",
                name.escape_ascii()
            );
        }
    }
}
