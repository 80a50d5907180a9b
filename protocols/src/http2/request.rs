//! What a request of HTTP/2 has to be so that it may become one of HTTP/1: RFC 9113 §8.1 to §8.3.
//!
//! The codec refuses unknown, repeated and late pseudo-fields, names that are not lower-case tokens, fields of a connection, control
//! bytes in values, and a `content-length` that the data do not have. Here is the rest, under the same names that HTTP/1's rules have.

use bytes::Bytes;

use crate::http1::{
    Violation, field_name, is_authority, is_forbidden_trailer, path_and_query, unambiguous,
};
use crate::message::{Framing, Method, RequestHead, Version};
use crate::{FieldId, Fields};

/// Limits of what the codec has decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many fields, cookies apart.
    pub fields: usize,
    /// Bytes of one field.
    pub field: usize,
    /// How many pieces `cookie` may come in.
    pub cookies: usize,
    /// Bytes of the target.
    pub target: usize,
}

/// A request's head as the codec gives it.
#[derive(Clone, Debug)]
pub struct Parts {
    /// `:method`
    pub method: Method,
    /// `:scheme`
    pub scheme: Option<Bytes>,
    /// `:authority`
    pub authority: Option<Bytes>,
    /// `:path`
    pub path: Option<Bytes>,
    /// `:protocol` (RFC 8441)
    pub protocol: Option<Bytes>,
    /// The fields, with `cookie` joined.
    pub fields: Fields,
    /// In how many pieces `cookie` came.
    pub cookies: usize,
    /// The stream ends with the head.
    pub ended: bool,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub head: RequestHead,
    /// How long its body is. `Length(0)`: there is none, and the stream has yet to end.
    pub framing: Framing,
    /// It waits for `100 Continue`.
    pub expect_continue: bool,
    /// To what it wants to turn the stream (RFC 8441).
    pub upgrade: Option<Bytes>,
    /// It takes trailers.
    pub te_trailers: bool,
}

/// Holds a request against the rules.
pub fn request(parts: Parts, limits: &Limits) -> Result<Request, Violation> {
    let Parts {
        method,
        scheme,
        authority,
        path,
        protocol,
        mut fields,
        cookies,
        ended,
    } = parts;
    count(&fields, cookies, limits)?;
    if method == Method::Connect && authority.is_none() {
        return Err(Violation::HostMissing);
    }
    let upgrade = upgrade(&method, protocol)?;
    if scheme.is_some_and(|scheme| !is_scheme(&scheme)) {
        return Err(Violation::SchemeInvalid);
    }
    let target = target(&method, upgrade.is_some(), path, limits)?;
    let authority = host(authority, &mut fields)?;
    let known = known(&fields, limits)?;
    if upgrade.is_some() && known.length.is_some() {
        // The bytes behind it are the tunnel's.
        return Err(Violation::LengthInvalid);
    }
    // An extended CONNECT is a GET of HTTP/1.1 with `Upgrade` (RFC 8441 §5).
    let method = match upgrade.is_some() {
        true => Method::Get,
        false => method,
    };
    let framing = match known.length {
        _ if ended || upgrade.is_some() => Framing::Empty,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    };
    let expect_continue = known.expect && framing != Framing::Empty;
    if known.expect && !expect_continue {
        fields.remove(b"expect");
    }
    Ok(Request {
        head: RequestHead {
            method,
            target,
            authority,
            version: Version::Http2,
            fields,
        },
        framing,
        expect_continue,
        upgrade,
        te_trailers: known.te_trailers,
    })
}

/// Takes off a trailer what must not stand there, and holds the rest against the limits.
pub fn trailers(fields: &mut Fields, limits: &Limits) -> Result<(), Violation> {
    if fields.len() > limits.fields {
        return Err(Violation::TrailersTooMany);
    }
    names(fields)?;
    for field in fields.iter() {
        value(field.value)?;
    }
    fields.retain(|field| !is_forbidden_trailer(field.id, field.name));
    Ok(())
}

/// Holds the names of fields against RFC 9110 §5.1, of which the codec's types know most: they take `"`, which another parser may take
/// for the beginning of something.
pub(super) fn names(fields: &Fields) -> Result<(), Violation> {
    let mut others = fields.iter().filter(|field| field.id == FieldId::Other);
    others.try_for_each(|field| field_name(field.name))
}

fn count(fields: &Fields, cookies: usize, limits: &Limits) -> Result<(), Violation> {
    if cookies > limits.cookies {
        return Err(Violation::CookiesTooMany);
    }
    match fields.len() > limits.fields {
        true => Err(Violation::FieldsTooMany),
        false => Ok(()),
    }
}

/// What an extended CONNECT asks for. A plain one asks for a tunnel to anywhere, which a gateway does not give.
fn upgrade(method: &Method, protocol: Option<Bytes>) -> Result<Option<Bytes>, Violation> {
    match (method, protocol) {
        (Method::Connect, None) => Err(Violation::Connect),
        (Method::Connect, Some(protocol)) if protocol.eq_ignore_ascii_case(b"websocket") => {
            Ok(Some(Bytes::from_static(b"websocket")))
        }
        (_, Some(_)) => Err(Violation::ConnectProtocol),
        (_, None) => Ok(None),
    }
}

/// RFC 9113 §8.3.1: what this proxy serves is under these two.
fn is_scheme(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
}

/// RFC 9113 §8.3.1: a path with or without a query, or `*` for OPTIONS.
fn target(
    method: &Method,
    upgrade: bool,
    path: Option<Bytes>,
    limits: &Limits,
) -> Result<Bytes, Violation> {
    let path = path.ok_or(Violation::TargetForm)?;
    if path.len() > limits.target {
        return Err(Violation::StartLineTooLong);
    }
    match &path[..] {
        [b'/', ..] => path_and_query(&path)?,
        b"*" if *method == Method::Options && !upgrade => {}
        _ => return Err(Violation::TargetForm),
    }
    Ok(path)
}

/// RFC 9113 §8.3.1: `host` may stand for `:authority`, and beside it has to say the same. It becomes the authority, and is no
/// field any more.
fn host(authority: Option<Bytes>, fields: &mut Fields) -> Result<Bytes, Violation> {
    let mut hosts = fields.all_known(FieldId::Host);
    let host = hosts.next().map(Bytes::copy_from_slice);
    if hosts.next().is_some() {
        return Err(Violation::HostDuplicate);
    }
    drop(hosts);
    if let Some(host) = &host {
        if !is_authority(host) {
            return Err(Violation::HostInvalid);
        }
        fields.remove(b"host");
    }
    match (authority, host) {
        (Some(authority), _) if !is_authority(&authority) => Err(Violation::AuthorityInvalid),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(&host) => {
            Err(Violation::AuthorityMismatch)
        }
        (Some(authority), _) => Ok(authority),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Violation::HostMissing),
    }
}

/// What fields say that the proxy has to know.
struct Known {
    length: Option<u64>,
    expect: bool,
    te_trailers: bool,
}

fn known(fields: &Fields, limits: &Limits) -> Result<Known, Violation> {
    let mut known = Known {
        length: None,
        expect: false,
        te_trailers: false,
    };
    for field in fields.iter() {
        if field.name.len() + field.value.len() > limits.field {
            return Err(Violation::FieldTooLong);
        }
        value(field.value)?;
        match field.id {
            FieldId::ContentLength => {
                if known.length.is_some() {
                    return Err(Violation::LengthDuplicate);
                }
                known.length = Some(length(field.value)?);
            }
            FieldId::Expect => {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Violation::Expectation);
                }
                known.expect = true;
            }
            // The codec lets nothing else through.
            FieldId::Te => known.te_trailers = true,
            FieldId::Connection
            | FieldId::ContentType
            | FieldId::Date
            | FieldId::Host
            | FieldId::KeepAlive
            | FieldId::ProxyAuthenticate
            | FieldId::ProxyConnection
            | FieldId::Server
            | FieldId::Trailer
            | FieldId::TransferEncoding
            | FieldId::Upgrade
            | FieldId::UserAgent
            | FieldId::Via
            | FieldId::XEnvoyUpstreamRqTimeoutMs
            | FieldId::XForwardedClientCert
            | FieldId::XForwardedFor
            | FieldId::XForwardedHost
            | FieldId::XForwardedProto
            | FieldId::XRequestId => {}
            FieldId::Other => {
                field_name(field.name)?;
                unambiguous(field.name)?;
            }
        }
    }
    Ok(known)
}

/// RFC 9113 §8.2.1: no white space at either end. HTTP/1 has none there either, so that dropping it would make another message.
fn value(value: &[u8]) -> Result<(), Violation> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    match is_space(value.first()) || is_space(value.last()) {
        true => Err(Violation::FieldValueSpace),
        false => Ok(()),
    }
}

fn length(value: &[u8]) -> Result<u64, Violation> {
    let digits = value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    digits
        .filter(|_| !value.is_empty())
        .ok_or(Violation::LengthInvalid)
}
