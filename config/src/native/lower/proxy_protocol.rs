//! The PROXY protocol: whom to believe must be said.

use crate::native::wire::{Cx, NonEmpty, ProxyProtocolRecord, SendProxyItem};
use crate::{ListenAddress, ProxyProtocol, ProxyVersion, SendProxy};

/// Makes a listener's side.
pub(super) fn taken(
    record: ProxyProtocolRecord,
    address: &ListenAddress,
    cx: &mut Cx,
) -> ProxyProtocol {
    let at = record.at;
    match (address, &record.trusted) {
        (ListenAddress::Tcp(_), None) => {
            let message =
                "name the proxies with `trusted`: whoever sends a header can pretend to be anybody";
            cx.problem(&at, message);
        }
        (ListenAddress::Unix { .. }, Some(_)) => {
            let message = "leave `trusted` out: connections of a Unix socket have no addresses, and its file's permissions say who may connect";
            cx.problem(&format!("{at}.trusted"), message);
        }
        (ListenAddress::Tcp(_), Some(_)) | (ListenAddress::Unix { .. }, None) => {}
    }
    ProxyProtocol {
        trusted: record
            .trusted
            .map_or_else(Vec::new, |NonEmpty(ranges)| ranges),
        optional: record.optional,
        header: record.header.0,
        timeout: record.timeout.0,
    }
}

/// Makes a cluster's side.
pub(super) fn sent(item: SendProxyItem, cx: &mut Cx) -> SendProxy {
    let record = match item {
        SendProxyItem::Word(version) => {
            return SendProxy {
                version,
                fields: Vec::new(),
            };
        }
        SendProxyItem::Record(record) => record,
    };
    if record.version == ProxyVersion::V1 && !record.fields.is_empty() {
        let message = "leave `fields` out, or write `version: v2`: a line of text has none";
        cx.problem(&format!("{}.fields", record.at), message);
    }
    let mut fields = record.fields;
    let mut seen = Vec::new();
    fields.retain(|field| {
        let new = !seen.contains(field);
        seen.push(*field);
        new
    });
    SendProxy {
        version: record.version,
        fields,
    }
}
