//! The PROXY protocol of a dump.

use ringway_config::{ProxyField, ProxyProtocol, ProxyVersion, SendProxy};
use serde_json::Value;

use super::{each, list, map, some, texts, time};

/// A listener's side.
pub(super) fn taken(taken: &ProxyProtocol) -> Value {
    let ProxyProtocol {
        trusted,
        optional,
        header,
        timeout,
    } = taken;
    map([
        ("trusted", list(texts(trusted))),
        ("optional", some(*optional)),
        ("header", some(header.0)),
        ("timeout", some(time(*timeout))),
    ])
}

/// A cluster's side.
pub(super) fn sent(sent: &SendProxy) -> Value {
    let SendProxy { version, fields } = sent;
    let version = match version {
        ProxyVersion::V1 => "v1",
        ProxyVersion::V2 => "v2",
    };
    map([
        ("version", some(version)),
        ("fields", list(each(fields, |field| word(*field).into()))),
    ])
}

fn word(field: ProxyField) -> &'static str {
    match field {
        ProxyField::Authority => "authority",
        ProxyField::Alpn => "alpn",
        ProxyField::Ssl => "ssl",
        ProxyField::Received => "received",
        ProxyField::Crc32c => "crc32c",
    }
}
