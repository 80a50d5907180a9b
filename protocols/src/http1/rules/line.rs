//! The first line of a head: RFC 9112 §3 and §4.

use super::{authority, charset};
use crate::http1::{Scheme, Violation};
use crate::message::{Method, Version};

/// A request line's parts as offsets into it.
#[derive(Clone, Debug)]
pub(in crate::http1) struct RequestLine {
    pub(in crate::http1) method: Method,
    pub(in crate::http1) version: Version,
    /// Where the target lies: from, to.
    pub(in crate::http1) target: (usize, usize),
}

/// Takes a request line (without CR, LF, NUL) apart.
pub(in crate::http1) fn request_line(line: &[u8]) -> Result<RequestLine, Violation> {
    let space = memchr::memchr(b' ', line).ok_or(Violation::RequestLine)?;
    let last = memchr::memrchr(b' ', line).ok_or(Violation::RequestLine)?;
    let method = line.get(..space).unwrap_or_default();
    let target = line.get(space + 1..last).unwrap_or_default();
    let version = line.get(last + 1..).unwrap_or_default();
    if !charset::is_token(method) {
        return Err(Violation::Method);
    }
    // RFC 9113 §3.4 reserves the method, so that nothing that speaks HTTP/1 passes a preface on.
    if method == b"PRI" {
        return Err(Violation::Http2Preface);
    }
    if target.is_empty() || target.contains(&b' ') || target.contains(&b'\t') {
        return Err(Violation::RequestLine);
    }
    Ok(RequestLine {
        method: Method::from_token(method),
        version: self::version(version)?,
        target: (space + 1, last),
    })
}

/// A version with a higher minor is one that its sender takes for compatible (RFC 9110 §2.5).
fn version(text: &[u8]) -> Result<Version, Violation> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            match major {
                b'1' => Ok(Version::Http11),
                _ => Err(Violation::VersionUnsupported),
            }
        }
        _ => Err(Violation::Version),
    }
}

/// A target's parts as offsets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http1) enum Target {
    /// It begins with `/`.
    Origin,
    /// `*`.
    Asterisk,
    /// `scheme://authority[path][?query]`.
    Absolute {
        /// Its scheme.
        scheme: Scheme,
        /// Where the authority lies: from, to.
        authority: (usize, usize),
        /// Whether the path begins with `/`; else it is empty, and there may be a query.
        path: bool,
    },
}

/// Tells the forms of RFC 9112 §3.2 apart.
pub(in crate::http1) fn target(method: &Method, text: &[u8]) -> Result<Target, Violation> {
    if *method == Method::Connect {
        return Err(Violation::Connect);
    }
    match text {
        [b'/', ..] => {
            path_and_query(text)?;
            Ok(Target::Origin)
        }
        b"*" if *method == Method::Options => Ok(Target::Asterisk),
        _ => absolute(text),
    }
}

/// Whether a target that begins with `/` has only bytes that may stand there as they are.
pub(crate) fn path_and_query(text: &[u8]) -> Result<(), Violation> {
    // A query may hold all that a path may, `?` too, so that mostly there is no need to tell them apart.
    if charset::is_path(text) {
        return Ok(());
    }
    let query = memchr::memchr(b'?', text).unwrap_or(text.len());
    let (path, query) = text.split_at_checked(query).unwrap_or_default();
    if charset::is_path(path) && charset::is_query(query) {
        return Ok(());
    }
    match text.contains(&b'#') {
        true => Err(Violation::TargetFragment),
        false => Err(Violation::TargetByte),
    }
}

fn absolute(text: &[u8]) -> Result<Target, Violation> {
    let colon = memchr::memchr(b':', text).ok_or(Violation::TargetForm)?;
    let scheme = match text.get(..colon).unwrap_or_default() {
        name if name.eq_ignore_ascii_case(b"http") => Scheme::Http,
        name if name.eq_ignore_ascii_case(b"https") => Scheme::Https,
        _ => return Err(Violation::TargetForm),
    };
    let start = colon + 3;
    if text.get(colon..start) != Some(b"://") {
        return Err(Violation::TargetForm);
    }
    let rest = text.get(start..).unwrap_or_default();
    let end = rest.iter().position(|byte| b"/?#".contains(byte));
    let end = end.unwrap_or(rest.len());
    let (host, tail) = rest.split_at_checked(end).unwrap_or_default();
    if !authority(host) {
        return Err(Violation::AuthorityInvalid);
    }
    path_and_query(tail)?;
    Ok(Target::Absolute {
        scheme,
        authority: (start, start + end),
        path: tail.first() == Some(&b'/'),
    })
}

/// A status line's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http1) struct StatusLine {
    pub(in crate::http1) version: Version,
    pub(in crate::http1) status: u16,
    /// Where the reason lies: from, to.
    pub(in crate::http1) reason: (usize, usize),
}

/// Takes a status line (without CR, LF, NUL) apart. The space before a missing reason may be missing too: many servers'.
pub(in crate::http1) fn status_line(line: &[u8]) -> Result<StatusLine, Violation> {
    let (version, rest) = line.split_at_checked(8).ok_or(Violation::StatusLine)?;
    if !version.starts_with(b"HTTP/") {
        return Err(Violation::StatusLine);
    }
    let version = self::version(version)?;
    let (digits, tail) = match rest {
        [b' ', a, b, c, tail @ ..] => ([*a, *b, *c], tail),
        _ => return Err(Violation::StatusLine),
    };
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(tail, [] | [b' ', ..]) {
        return Err(Violation::StatusLine);
    }
    if !charset::is_value(tail) {
        return Err(Violation::StatusLine);
    }
    let status = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    if !is_status(status) {
        return Err(Violation::StatusCode);
    }
    Ok(StatusLine {
        version,
        status,
        reason: reason(line.len()),
    })
}

/// Whether a status has one of the five classes of RFC 9110 §15.
pub(in crate::http1) fn is_status(status: u16) -> bool {
    (100..600).contains(&status)
}

/// Where the reason phrase lies in a status line of that length: from, to.
pub(in crate::http1) fn reason(len: usize) -> (usize, usize) {
    (len.min(13), len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_three_words_with_one_space_between() {
        use Violation::{Http2Preface, Method as BadMethod, RequestLine, Version as BadVersion};
        for (line, expect) in [
            ("GET /a HTTP/1.1", Ok(("GET", "/a", Version::Http11))),
            ("get * HTTP/1.0", Ok(("get", "*", Version::Http10))),
            (
                "M-SEARCH /é HTTP/1.9",
                Ok(("M-SEARCH", "/é", Version::Http11)),
            ),
            ("GET", Err(RequestLine)),
            ("GET /", Err(RequestLine)),
            ("GET HTTP/1.1", Err(RequestLine)),
            ("GET  HTTP/1.1", Err(RequestLine)),
            ("GET  /a HTTP/1.1", Err(RequestLine)),
            ("GET /a  HTTP/1.1", Err(RequestLine)),
            ("GET /a HTTP/1.1 /b HTTP/1.1", Err(RequestLine)),
            ("GET /a\tb HTTP/1.1", Err(RequestLine)),
            ("GET\t/a\tHTTP/1.1", Err(RequestLine)),
            (" GET /a HTTP/1.1", Err(BadMethod)),
            ("GE(T /a HTTP/1.1", Err(BadMethod)),
            ("GET: /a HTTP/1.1", Err(BadMethod)),
            ("GËT /a HTTP/1.1", Err(BadMethod)),
            ("GET /a ", Err(BadVersion)),
            ("GET /a HTTP/1.1 ", Err(RequestLine)),
            ("GET /a HTTP/1.10", Err(BadVersion)),
            ("GET /a HTTP/01.1", Err(BadVersion)),
            ("GET /a HTTP/1,1", Err(BadVersion)),
            ("GET /a HTTP/1", Err(BadVersion)),
            ("GET /a HTTP/a.b", Err(BadVersion)),
            ("GET /a http/1.1", Err(BadVersion)),
            ("GET /a IHTTP/1.1", Err(BadVersion)),
            ("GET /a RTSP/1.0", Err(BadVersion)),
            ("GET /a HTTP/0.9", Err(Violation::VersionUnsupported)),
            ("GET /a HTTP/2.0", Err(Violation::VersionUnsupported)),
            ("GET /a HTTP/9.9", Err(Violation::VersionUnsupported)),
            ("PRI * HTTP/2.0", Err(Http2Preface)),
            ("PRI * HTTP/1.1", Err(Http2Preface)),
        ] {
            let got = request_line(line.as_bytes()).map(|parts| {
                let target = line.get(parts.target.0..parts.target.1).unwrap();
                (parts.method.to_string(), target, parts.version)
            });
            let expect =
                expect.map(|(method, target, version)| (method.to_owned(), target, version));
            assert_eq!(got, expect, "{line:?}");
        }
    }

    fn check(method: Method, text: &str, expect: Result<Target, Violation>) {
        assert_eq!(
            target(&method, text.as_bytes()),
            expect,
            "{method} {text:?}"
        );
    }

    #[test]
    fn a_target_has_one_of_the_forms() {
        use Method::{Connect, Get, Options};
        check(Get, "/", Ok(Target::Origin));
        check(Get, "//evil.test/a", Ok(Target::Origin));
        check(Get, "/a|b[]?x={y}\\^`|&z=http://a/", Ok(Target::Origin));
        check(Get, "/a%0d%0a%zz", Ok(Target::Origin));
        check(Options, "*", Ok(Target::Asterisk));
        for text in [
            "*",
            "**",
            "?a",
            "a",
            "a/b",
            "",
            "foo://a/b",
            "http:/a",
            "http:a",
            "a.test:80",
        ] {
            check(Get, text, Err(Violation::TargetForm));
        }
        check(Connect, "a.test:80", Err(Violation::Connect));
        check(Connect, "/", Err(Violation::Connect));
        for text in ["/a#b", "/a?b#c", "http://a.test/#", "http://a.test#b"] {
            check(Get, text, Err(Violation::TargetFragment));
        }
        for text in [
            "/a\\b", "/<", "/\"", "/{a}", "/a^", "/`", "/é", "/?é", "/?<a>", "/\u{1}", "/\u{7f}",
        ] {
            check(Get, text, Err(Violation::TargetByte));
        }
    }

    #[test]
    fn an_absolute_target_names_its_authority() {
        let absolute = |scheme, from, to, path| {
            Ok(Target::Absolute {
                scheme,
                authority: (from, to),
                path,
            })
        };
        check(
            Method::Get,
            "http://a.test/b",
            absolute(Scheme::Http, 7, 13, true),
        );
        check(
            Method::Get,
            "HTTPS://a.test:1?b",
            absolute(Scheme::Https, 8, 16, false),
        );
        check(
            Method::Options,
            "http://a.test",
            absolute(Scheme::Http, 7, 13, false),
        );
        for text in [
            "http:///b",
            "http://",
            "http://u@a.test/",
            "http://a.test:x/",
            "http://[::1/",
        ] {
            check(Method::Get, text, Err(Violation::AuthorityInvalid));
        }
    }

    #[test]
    fn a_status_line_is_version_status_reason() {
        for (line, expect) in [
            ("HTTP/1.1 200 OK", Ok((200, "OK"))),
            ("HTTP/1.1 200 Not  a\tproblém", Ok((200, "Not  a\tproblém"))),
            ("HTTP/1.1 204 ", Ok((204, ""))),
            ("HTTP/1.1 204", Ok((204, ""))),
            ("HTTP/1.2 100 X", Ok((100, "X"))),
            ("HTTP/1.0 599 X", Ok((599, "X"))),
            ("HTTP/1.1 999 X", Err(Violation::StatusCode)),
            ("HTTP/1.1 099 X", Err(Violation::StatusCode)),
            ("HTTP/1.1 600 X", Err(Violation::StatusCode)),
            ("HTTP/1.1 2000 X", Err(Violation::StatusLine)),
            ("HTTP/1.1 200OK", Err(Violation::StatusLine)),
            ("HTTP/1.1 20", Err(Violation::StatusLine)),
            ("HTTP/1.1 2x0 X", Err(Violation::StatusLine)),
            ("HTTP/1.1 -20 X", Err(Violation::StatusLine)),
            ("HTTP/1.1  200 X", Err(Violation::StatusLine)),
            ("HTTP/1.1\t200 X", Err(Violation::StatusLine)),
            ("HTTP/1.1 200\tX", Err(Violation::StatusLine)),
            ("HTTP/1.1 200 \u{1b}[2J", Err(Violation::StatusLine)),
            ("HTTP/1.1", Err(Violation::StatusLine)),
            ("ICY 200 OK", Err(Violation::StatusLine)),
            ("Hello, I am not", Err(Violation::StatusLine)),
            ("HTTP/9.9 200 X", Err(Violation::VersionUnsupported)),
            ("HTTP/2 200 X", Err(Violation::Version)),
            ("HTTP/01.1 200 X", Err(Violation::Version)),
        ] {
            let got = status_line(line.as_bytes()).map(|parts| {
                (
                    parts.status,
                    line.get(parts.reason.0..parts.reason.1).unwrap(),
                )
            });
            assert_eq!(got, expect, "{line:?}");
        }
    }
}
