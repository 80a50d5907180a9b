//! What concerns one connection only and does not pass the proxy: RFC 9110 §7.6.1.

use crate::{Field, FieldId, Fields};

/// The members of a comma-separated list, without the empty ones.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The members of all fields with that id.
fn listed(fields: &Fields, id: FieldId) -> impl Iterator<Item = &[u8]> {
    fields.all_known(id).flat_map(members)
}

/// Whether a list names it, whatever the case.
pub(super) fn names(fields: &Fields, list: FieldId, name: &[u8]) -> bool {
    listed(fields, list).any(|member| member.eq_ignore_ascii_case(name))
}

/// What `Connection` says of the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl Options {
    pub(super) fn of(fields: &Fields) -> Self {
        let mut options = Self::default();
        for value in fields.all_known(FieldId::Connection) {
            // Mostly there is one member and nothing else.
            if !options.take(value) {
                members(value).for_each(|member| {
                    options.take(member);
                });
            }
        }
        options
    }

    /// Says whether it is one of them.
    fn take(&mut self, member: &[u8]) -> bool {
        let option = match member.len() {
            5 if member.eq_ignore_ascii_case(b"close") => &mut self.close,
            10 if member.eq_ignore_ascii_case(b"keep-alive") => &mut self.keep_alive,
            7 if member.eq_ignore_ascii_case(b"upgrade") => &mut self.upgrade,
            _ => return false,
        };
        *option = true;
        true
    }
}

/// Whether a field concerns one connection only, whatever `Connection` says.
pub fn is_hop_by_hop(id: FieldId) -> bool {
    match id {
        FieldId::Connection
        | FieldId::KeepAlive
        | FieldId::ProxyConnection
        | FieldId::Te
        | FieldId::TransferEncoding
        | FieldId::Upgrade => true,
        FieldId::ContentLength
        | FieldId::ContentType
        | FieldId::Date
        | FieldId::Expect
        | FieldId::Host
        | FieldId::ProxyAuthenticate
        | FieldId::Server
        | FieldId::Trailer
        | FieldId::UserAgent
        | FieldId::Via
        | FieldId::XEnvoyUpstreamRqTimeoutMs
        | FieldId::XForwardedClientCert
        | FieldId::XForwardedFor
        | FieldId::XForwardedHost
        | FieldId::XForwardedProto
        | FieldId::XRequestId
        | FieldId::Other => false,
    }
}

/// Drops what concerns one connection only, and the fields that `Connection` names.
///
/// A peer cannot have framing or authority dropped by naming them. Fields that the proxy sets have to be set afterwards: what
/// `Connection` names is the peer's own (CVE-2022-31813).
pub fn strip_hop_by_hop(fields: &mut Fields) {
    let mut named: Vec<Vec<u8>> = Vec::new();
    for member in listed(fields, FieldId::Connection) {
        let id = FieldId::of(member);
        let is_option = member.eq_ignore_ascii_case(b"close");
        if !is_option && !is_hop_by_hop(id) && !is_kept(id) {
            named.push(member.to_vec());
        }
    }
    let is_named = |field: &Field<'_>| {
        named
            .iter()
            .any(|name| name.eq_ignore_ascii_case(field.name))
    };
    fields.retain(|field| !is_hop_by_hop(field.id) && !is_named(&field));
}

/// Whether an answer switches to what its client asked for and to nothing else (RFC 9110 §7.8); `asked` is the value of the request's
/// `Upgrade`.
pub fn switches_as_asked(answer: &Fields, asked: &[u8]) -> bool {
    let mut to = listed(answer, FieldId::Upgrade).peekable();
    to.peek().is_some()
        && to.all(|name| members(asked).any(|member| member.eq_ignore_ascii_case(name)))
}

/// What `Connection` must not name (RFC 9110 §7.6.1: fields for all recipients of the content).
fn is_kept(id: FieldId) -> bool {
    matches!(
        id,
        FieldId::ContentLength
            | FieldId::ContentType
            | FieldId::Date
            | FieldId::Expect
            | FieldId::Host
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &[(&'static str, &'static str)], after: &[&str]) {
        let mut fields = Fields::new();
        for (name, value) in before {
            fields.push(*name, *value);
        }
        strip_hop_by_hop(&mut fields);
        let names: Vec<_> = fields
            .iter()
            .map(|field| String::from_utf8(field.name.to_vec()).unwrap())
            .collect();
        assert_eq!(names, after);
    }

    #[test]
    fn connection_and_what_it_names_do_not_pass() {
        check(
            &[
                ("Connection", "close, X-Drop,,\tx-other "),
                ("x-drop", "1"),
                ("X-Keep", "1"),
                ("connection", "upgrade"),
                ("X-Other", "1"),
                ("X-Drop", "2"),
                ("Upgrade", "foo"),
                ("TE", "trailers"),
                ("Trailer", "X-Sum"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Connection", "keep-alive"),
                ("Transfer-Encoding", "chunked"),
            ],
            &["X-Keep", "Trailer"],
        );
    }

    #[test]
    fn an_answer_switches_to_what_was_asked_for() {
        for (asked, answered, good) in [
            ("websocket", &["websocket"][..], true),
            ("websocket", &["WebSocket"], true),
            ("a/1, websocket", &["websocket"], true),
            ("a/1, b", &["b", "a/1"], true),
            ("websocket", &[], false),
            ("websocket", &[""], false),
            ("websocket", &["h2c"], false),
            ("websocket", &["websocket, h2c"], false),
            ("websocket", &["web"], false),
        ] {
            let mut fields = Fields::new();
            answered.iter().for_each(|to| fields.push("Upgrade", *to));
            let got = switches_as_asked(&fields, asked.as_bytes());
            assert_eq!(got, good, "{asked} {answered:?}");
        }
    }

    #[test]
    fn framing_survives_being_named() {
        check(
            &[
                (
                    "Connection",
                    "content-length, transfer-encoding, host, date",
                ),
                ("Content-Length", "5"),
                ("Date", "x"),
            ],
            &["Content-Length", "Date"],
        );
    }
}
