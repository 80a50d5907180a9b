//! Words of HTTP: domains, header names and values, methods, paths.

use super::super::{Cx, Form};
use super::{Leaf, Wrong, because};
use crate::{Domain, ServerName};

/// Declares a leaf that wraps a text which a test accepts.
macro_rules! text_leaf {
    ($(#[doc = $doc:literal])* $name:ident, $form:literal, $what:literal, $parse:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub String);

        impl Leaf for $name {
            const FORM: Form = Form { name: $form, what: $what };
            fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
                let parse: fn(&str) -> Result<String, Wrong> = $parse;
                parse(text).map(Self)
            }
            fn hole() -> Self {
                Self(String::new())
            }
        }
    };
}

impl Leaf for Domain {
    const FORM: Form = Form {
        name: "domain",
        what: "a host such as `www.example.com`, `*.example.com`, `www.*` or `*`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let text = text.to_ascii_lowercase();
        if text == "*" {
            return Ok(Self::Any);
        }
        let bracketed = text.starts_with('[') && text.ends_with(']');
        if !bracketed && text.contains(':') {
            return because("write the host without a port: a domain is matched without it");
        }
        let whole = |text: &str| {
            let parts = text.trim_matches('.');
            !parts.is_empty() && parts.split('.').all(|label| !label.is_empty())
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        let (domain, rest) = if let Some(rest) = text.strip_prefix('*') {
            if !rest.starts_with('.') {
                return because("write a `.` after the `*`, as in `*.example.com`");
            }
            (Self::Suffix(rest.to_owned()), rest)
        } else if let Some(rest) = text.strip_suffix('*') {
            if !rest.ends_with('.') {
                return because("write a `.` before the `*`, as in `www.*`");
            }
            (Self::Prefix(rest.to_owned()), rest)
        } else {
            (Self::Exact(text.clone()), text.as_str())
        };
        if !whole(rest) || !rest.bytes().all(plain) {
            return Err(Wrong::Form);
        }
        Ok(domain)
    }
    fn hole() -> Self {
        Self::Exact(String::new())
    }
}

impl Leaf for ServerName {
    const FORM: Form = Form {
        name: "server name",
        what: "a name such as `www.example.com` or `*.example.com`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let text = text.to_ascii_lowercase();
        if text == "*" {
            return because("leave `sni` out to take every name");
        }
        if text.parse::<std::net::IpAddr>().is_ok() {
            return because("write a name: no client asks for an address by SNI");
        }
        // As ClientHellos are read: what is refused there would never be found here.
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(plain)
        };
        let whole = |name: &str| name.len() <= 253 && name.split('.').all(label);
        match text.strip_prefix("*.") {
            Some(rest) if whole(rest) => Ok(Self::Suffix(format!(".{rest}"))),
            None if whole(&text) => Ok(Self::Exact(text)),
            Some(_) | None => Err(Wrong::Form),
        }
    }
    fn hole() -> Self {
        Self::Exact(String::new())
    }
}

text_leaf!(
    /// The name of a protocol, as ALPN says it (RFC 7301).
    AlpnName,
    "protocol",
    "a protocol such as `h2` or `http/1.1`",
    |text| (1..=255)
        .contains(&text.len())
        .then(|| text.to_owned())
        .ok_or(Wrong::Form)
);

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

fn clean(text: &str) -> Result<String, Wrong> {
    if text.contains(['\r', '\n', '\0']) {
        return because(
            "leave line breaks and NUL out of this value: they would split the message",
        );
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return because("leave control characters out of this value");
    }
    Ok(text.to_owned())
}

/// Fields that the proxy itself writes, because they frame the message or concern one hop (RFC 9110 §7.6.1).
const OWN_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

text_leaf!(
    /// A field's name to match, lower case.
    FieldName,
    "header name",
    "a header name such as `x-team`",
    |text| {
        if text.starts_with(':') {
            return because("write a header name; match the host with `domains`, the path with `path`");
        }
        is_token(text)
            .then(|| text.to_ascii_lowercase())
            .ok_or(Wrong::Form)
    }
);

text_leaf!(
    /// A field's name to change, as it is to be written.
    ChangedField,
    "header name",
    "a header name such as `x-team`",
    |text| {
        if !is_token(text) {
            return Err(Wrong::Form);
        }
        if OWN_FIELDS.contains(&text.to_ascii_lowercase().as_str()) {
            return because("this header cannot be changed: the proxy writes it itself to frame the message");
        }
        if text.eq_ignore_ascii_case("host") {
            return because("the host is changed by the route's `rewrite: {host: ...}`, not as a header");
        }
        Ok(text.to_owned())
    }
);

text_leaf!(
    /// A field's value.
    FieldValue,
    "text",
    "a text without line breaks",
    clean
);

text_leaf!(
    /// A method.
    Method,
    "method",
    "a method such as `GET`",
    |text| {
        if !is_token(text) {
            return Err(Wrong::Form);
        }
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return because("write methods in capitals, such as `GET`: they are compared case by case");
        }
        if text == "CONNECT" {
            return because("leave `CONNECT` out: it is refused before routes are asked");
        }
        Ok(text.to_owned())
    }
);

text_leaf!(
    /// A path, as a request's.
    UrlPath,
    "URL path",
    "a path that begins with `/`",
    |text| {
        if text.contains(['?', '#']) {
            return because("write the path without `?` and `#`: match queries with `query`");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return because("write spaces and characters beyond ASCII in a path as %XX");
        }
        text.starts_with('/')
            .then(|| text.to_owned())
            .ok_or(Wrong::Form)
    }
);

text_leaf!(
    /// What a probe asks for: a path, with or without a query.
    ProbePath,
    "path and query",
    "a path that begins with `/`, and a query if there is one",
    |text| {
        if text.contains('#') {
            return because("write what is asked for without `#`: servers never see it");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return because("write spaces and characters beyond ASCII in it as %XX");
        }
        text.starts_with('/')
            .then(|| text.to_owned())
            .ok_or(Wrong::Form)
    }
);

text_leaf!(
    /// Host with or without a port, as in a `Host` field.
    Authority,
    "host",
    "a host such as `example.com` or `example.com:8443`",
    |text| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let (fits, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (literal, port) = rest.split_once(']').ok_or(Wrong::Form)?;
                (literal.parse::<std::net::Ipv6Addr>().is_ok(), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (!host.is_empty() && host.len() <= 255 && host.bytes().all(plain), port)
            }
        };
        if fits && !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return because("write a port from 1 to 65535 after the host, or none");
        }
        fits.then(|| text.to_owned()).ok_or(Wrong::Form)
    }
);

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<u16>().is_ok_and(|port| port > 0)
}

text_leaf!(
    /// A token.
    Token,
    "token",
    "a word of letters, digits and `-`",
    |text| is_token(text).then(|| text.to_owned()).ok_or(Wrong::Form)
);

text_leaf!(
    /// A regular expression; compiled when a snapshot is built.
    Regex,
    "regular expression",
    "a regular expression such as `/v[0-9]+/.*`",
    |text| {
        if text.is_empty() {
            return Err(Wrong::Form);
        }
        Ok(text.to_owned())
    }
);

text_leaf!(
    /// A text that is not empty.
    Filled,
    "text",
    "a text that is not empty",
    |text| (!text.is_empty()).then(|| text.to_owned()).ok_or(Wrong::Form)
);

text_leaf!(
    /// An access log's format.
    LogText,
    "log format",
    "a log format such as `%RESPONSE_CODE% %DURATION%`",
    |text| {
        if text.is_empty() {
            return Err(Wrong::Form);
        }
        Ok(text.to_owned())
    }
);
