//! Envoy's `%OPERATOR%` language: text with operators, compiled once into pieces that read facts of a request.

use std::fmt;

use super::fact::{
    Detail, End, Operator, Plain, RequestField, ResponseField, TlsFact, What, alternatives,
    hostname,
};
use super::log_time::{LETTERS, TimeFormat};
use ringway_protocols::proxy_protocol::tlv;

/// From when on a fact is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// When the request's head is there and its route is chosen.
    Request,
    /// When the answer's head is there.
    Response,
    /// When it is over.
    End,
}

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The JSON key whose value is wrong; none for a text.
    pub key: Option<String>,
    /// What is wrong.
    pub kind: FormatErrorKind,
}

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatErrorKind {
    /// A `%` without its end; the text from it on.
    Unclosed(String),
    /// No operator of that name; the nearest one.
    Unknown(String, Option<&'static str>),
    /// An operator that needs an argument has none.
    NeedsArgument(&'static str),
    /// An operator that takes no argument has one.
    TakesNoArgument(&'static str),
    /// An operator whose value has no length to cut has a `:N`, or the N is no number above 0.
    Length(&'static str),
    /// `%START_TIME(…)%` with a part that is not known, or that would have to be escaped.
    TimePart(String),
    /// A fact that is not known when it is asked for.
    TooEarly(&'static str, When),
    /// A control character, which must not be in a field's value.
    ControlCharacter,
    /// `%PROXY_PROTOCOL_TLV(…)%` with what is neither a field's name nor its number.
    ProxyField(String),
    /// A JSON key given twice.
    DuplicateKey,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        match &self.kind {
            FormatErrorKind::Unclosed(text) => write!(
                f,
                "the operator at `{text}` has no closing `%`; write `%%` for a percent sign"
            ),
            FormatErrorKind::Unknown(name, nearest) => {
                write!(f, "there is no operator `%{name}%`; ")?;
                if let Some(nearest) = nearest {
                    return write!(f, "did you mean `%{nearest}%`?");
                }
                f.write_str("the operators are ")?;
                for (at, operator) in OPERATORS.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { ", " }, operator.name)?;
                }
                Ok(())
            }
            FormatErrorKind::NeedsArgument(name) => {
                write!(f, "`%{name}%` needs an argument, as in `%{name}(NAME)%`")
            }
            FormatErrorKind::TakesNoArgument(name) => {
                write!(f, "`%{name}%` takes no argument; write `%{name}%`")
            }
            FormatErrorKind::Length(name) => write!(
                f,
                "`:N` after `{name}` must be a number above 0, and stands after REQ, RESP, DYNAMIC_METADATA, PROXY_PROTOCOL_TLV and ENVIRONMENT only"
            ),
            FormatErrorKind::TimePart(part) => write!(
                f,
                "`{part}` cannot stand in a time; the parts are {LETTERS}, and plain ASCII but quotes and backslashes"
            ),
            FormatErrorKind::TooEarly(name, when) => write!(
                f,
                "`%{name}%` is not known yet when {}",
                match when {
                    When::Request => "the request is forwarded",
                    When::Response => "the answer is forwarded",
                    When::End => "the request ends",
                }
            ),
            FormatErrorKind::ControlCharacter => {
                f.write_str("a field's value must not hold control characters; remove them")
            }
            FormatErrorKind::ProxyField(text) => write!(
                f,
                "`{text}` is no field of a PROXY header; write `alpn`, `authority`, `unique_id`, `netns`, or a number such as `0xEA`"
            ),
            FormatErrorKind::DuplicateKey => {
                f.write_str("this key is given twice; remove one of the two")
            }
        }
    }
}

impl std::error::Error for FormatError {}

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Operator(Operator),
}

/// How an operator is written.
#[derive(Clone, Copy)]
enum Shape {
    Plain(Plain),
    StartTime,
    Request,
    Response,
    Metadata,
    ProxyField,
    Hostname,
    Environment,
}

struct Known {
    name: &'static str,
    shape: Shape,
    when: When,
}

const fn known(name: &'static str, shape: Shape, when: When) -> Known {
    Known { name, shape, when }
}

const fn of_tls(name: &'static str, fact: TlsFact) -> Known {
    known(name, Shape::Plain(Plain::Tls(fact)), When::Request)
}

const fn address(name: &'static str, end: End, detail: Detail) -> Known {
    known(
        name,
        Shape::Plain(Plain::Address(end, detail)),
        When::Request,
    )
}

const fn answered(name: &'static str, plain: Plain) -> Known {
    known(name, Shape::Plain(plain), When::Response)
}

const fn ending(name: &'static str, plain: Plain) -> Known {
    known(name, Shape::Plain(plain), When::End)
}

/// The operators, in the order that error messages list them.
static OPERATORS: [Known; 45] = [
    known("START_TIME", Shape::StartTime, When::Request),
    known("REQ", Shape::Request, When::Request),
    known("RESP", Shape::Response, When::Response),
    known("PROTOCOL", Shape::Plain(Plain::Protocol), When::Request),
    answered("RESPONSE_CODE", Plain::ResponseCode),
    ending("RESPONSE_CODE_DETAILS", Plain::ResponseCodeDetails),
    ending("RESPONSE_FLAGS", Plain::ResponseFlags),
    ending("RESPONSE_FLAGS_LONG", Plain::ResponseFlagsLong),
    ending("BYTES_RECEIVED", Plain::BytesReceived),
    ending("BYTES_SENT", Plain::BytesSent),
    ending("DURATION", Plain::Duration),
    ending("RESPONSE_DURATION", Plain::ResponseDuration),
    ending("GRPC_STATUS", Plain::GrpcStatus),
    ending("GRPC_STATUS_NUMBER", Plain::GrpcStatusNumber),
    known("ROUTE_NAME", Shape::Plain(Plain::RouteName), When::Request),
    answered("UPSTREAM_HOST", Plain::UpstreamHost),
    answered(
        "UPSTREAM_REMOTE_ADDRESS",
        Plain::UpstreamAddress(Detail::Whole),
    ),
    answered(
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Plain::UpstreamAddress(Detail::WithoutPort),
    ),
    answered("UPSTREAM_REMOTE_PORT", Plain::UpstreamAddress(Detail::Port)),
    answered("UPSTREAM_CLUSTER", Plain::UpstreamCluster),
    // A cluster has no other name for counters, as Envoy's may have.
    answered("UPSTREAM_CLUSTER_RAW", Plain::UpstreamCluster),
    answered("UPSTREAM_REQUEST_ATTEMPT_COUNT", Plain::UpstreamAttempts),
    ending("UPSTREAM_TRANSPORT_FAILURE_REASON", Plain::TransportFailure),
    known(
        "REQUESTED_SERVER_NAME",
        Shape::Plain(Plain::ServerName),
        When::Request,
    ),
    address("DOWNSTREAM_REMOTE_ADDRESS", End::Client, Detail::Whole),
    address(
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        End::Client,
        Detail::WithoutPort,
    ),
    address("DOWNSTREAM_REMOTE_PORT", End::Client, Detail::Port),
    address("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", End::Peer, Detail::Whole),
    address(
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        End::Peer,
        Detail::WithoutPort,
    ),
    address("DOWNSTREAM_DIRECT_REMOTE_PORT", End::Peer, Detail::Port),
    address("DOWNSTREAM_LOCAL_ADDRESS", End::Local, Detail::Whole),
    address(
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        End::Local,
        Detail::WithoutPort,
    ),
    address("DOWNSTREAM_LOCAL_PORT", End::Local, Detail::Port),
    of_tls("DOWNSTREAM_TLS_VERSION", TlsFact::Version),
    of_tls("DOWNSTREAM_TLS_CIPHER", TlsFact::Cipher),
    of_tls("DOWNSTREAM_PEER_SUBJECT", TlsFact::Subject),
    of_tls("DOWNSTREAM_PEER_ISSUER", TlsFact::Issuer),
    of_tls("DOWNSTREAM_PEER_SERIAL", TlsFact::Serial),
    of_tls("DOWNSTREAM_PEER_FINGERPRINT_256", TlsFact::Fingerprint),
    of_tls("DOWNSTREAM_PEER_DNS_SAN", TlsFact::Dns),
    of_tls("DOWNSTREAM_PEER_URI_SAN", TlsFact::Uri),
    known("PROXY_PROTOCOL_TLV", Shape::ProxyField, When::Request),
    known("HOSTNAME", Shape::Hostname, When::Request),
    known("ENVIRONMENT", Shape::Environment, When::Request),
    known("DYNAMIC_METADATA", Shape::Metadata, When::Request),
];

/// Compiles a text that will be rendered at `when`; returns all that is wrong with it.
pub(super) fn compile(text: &str, when: When) -> Result<Vec<Piece>, Vec<FormatErrorKind>> {
    let mut pieces = Vec::new();
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('%') {
        push_literal(&mut pieces, literal);
        if let Some(after) = after.strip_prefix('%') {
            push_literal(&mut pieces, "%");
            rest = after;
            continue;
        }
        let Some((body, after)) = Body::split(after) else {
            let start = rest.get(literal.len()..).unwrap_or_default();
            errors.push(FormatErrorKind::Unclosed(start.chars().take(30).collect()));
            return Err(errors);
        };
        match body.compile(when) {
            Ok(operator) => pieces.push(Piece::Operator(operator)),
            Err(error) => errors.push(error),
        }
        rest = after;
    }
    push_literal(&mut pieces, rest);
    if errors.is_empty() {
        Ok(pieces)
    } else {
        Err(errors)
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Literal(last)) => last.push_str(text),
        Some(Piece::Operator(_)) | None if text.is_empty() => {}
        Some(Piece::Operator(_)) | None => pieces.push(Piece::Literal(text.to_owned())),
    }
}

/// `NAME(argument):length` between two percent signs.
struct Body<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    length: Option<&'a str>,
}

impl<'a> Body<'a> {
    /// Takes a body and its closing `%` off a text. The argument may hold percent signs itself, as times do.
    fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let end = text.find(['(', ':', '%'])?;
        let (name, mut rest) = text.split_at_checked(end)?;
        let mut argument = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let (inside, after) = inner.split_once(')')?;
            argument = Some(inside);
            rest = after;
        }
        let (tail, after) = rest.split_once('%')?;
        let length = match tail {
            "" => None,
            tail => Some(tail.strip_prefix(':')?),
        };
        let body = Self {
            name,
            argument,
            length,
        };
        Some((body, after))
    }

    fn compile(&self, when: When) -> Result<Operator, FormatErrorKind> {
        let Some(known) = OPERATORS.iter().find(|known| known.name == self.name) else {
            return Err(FormatErrorKind::Unknown(
                self.name.to_owned(),
                nearest(self.name),
            ));
        };
        let what = self.what(known)?;
        let needs_end = what.needs_outcome() && when < When::End;
        if needs_end || known.when > when {
            return Err(FormatErrorKind::TooEarly(known.name, when));
        }
        Ok(Operator {
            what,
            length: self.length(known)?,
        })
    }

    fn what(&self, known: &Known) -> Result<What, FormatErrorKind> {
        let argument = self.argument.map(str::trim).filter(|text| !text.is_empty());
        let needed = || argument.ok_or(FormatErrorKind::NeedsArgument(known.name));
        Ok(match known.shape {
            Shape::Plain(_) | Shape::Hostname if self.argument.is_some() => {
                return Err(FormatErrorKind::TakesNoArgument(known.name));
            }
            Shape::Plain(plain) => What::Plain(plain),
            Shape::Hostname => What::Fixed(hostname()),
            Shape::StartTime => What::StartTime(match self.argument {
                None => TimeFormat::default(),
                Some(format) => TimeFormat::compile(format).map_err(FormatErrorKind::TimePart)?,
            }),
            Shape::Request => What::Request(alternatives(needed()?, RequestField::of)),
            Shape::Response => What::Response(alternatives(needed()?, ResponseField::of)),
            Shape::Metadata => What::Metadata(needed()?.to_owned()),
            Shape::ProxyField => {
                let wrong = || FormatErrorKind::ProxyField(needed().unwrap_or_default().to_owned());
                What::ProxyField(proxy_field(needed()?).ok_or_else(wrong)?)
            }
            Shape::Environment => What::Fixed(
                std::env::var_os(needed()?).map(std::os::unix::ffi::OsStringExt::into_vec),
            ),
        })
    }

    fn length(&self, known: &Known) -> Result<usize, FormatErrorKind> {
        let Some(text) = self.length else {
            return Ok(usize::MAX);
        };
        let cuts = match known.shape {
            Shape::Request
            | Shape::Response
            | Shape::Metadata
            | Shape::ProxyField
            | Shape::Environment => true,
            Shape::Plain(_) | Shape::StartTime | Shape::Hostname => false,
        };
        let length = text.parse().ok().filter(|length| cuts && *length > 0);
        length.ok_or(FormatErrorKind::Length(known.name))
    }
}

/// The type of a PROXY header's field.
fn proxy_field(name: &str) -> Option<u8> {
    match name.to_ascii_lowercase().as_str() {
        "alpn" => Some(tlv::ALPN),
        "authority" => Some(tlv::AUTHORITY),
        "unique_id" => Some(tlv::UNIQUE_ID),
        "netns" => Some(tlv::NETNS),
        number => u8::from_str_radix(number.strip_prefix("0x")?, 16).ok(),
    }
}

/// The operator that a misspelt name most likely meant.
fn nearest(name: &str) -> Option<&'static str> {
    ringway_config::nearest(name, OPERATORS.iter().map(|known| known.name))
}
