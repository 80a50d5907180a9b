//! What the engine needs of HTTP/2 beside its codecs: windows that grow and shrink, and PINGs, for both sides; and for upstreams, whose codec
//! is the `h2` crate, heads as the `http` crate has them, to ours and back.

mod pulse;
mod window;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ringway_protocols::{FieldId, Fields};

pub(crate) use pulse::{Beat, Gone, Pinger, Pulse};
pub(crate) use window::Window;

/// Fields whose values do not come again, beside `x-request-id`. They are sent as such as no table keeps (RFC 7541 §6.2.3): kept,
/// they would push out those that do come again, and the codec compares a value with each one kept of its name.
const NEVER_TWICE: [&str; 2] = ["grpc-timeout", "traceparent"];
/// Room for a few fields that routes and filters add.
const FIELDS_ADDED: usize = 4;

/// The fields of a map, copied into one buffer.
pub(crate) fn to_fields(map: &HeaderMap) -> Fields {
    let size = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let mut raw = BytesMut::with_capacity(size);
    for (name, value) in map {
        raw.extend_from_slice(name.as_str().as_bytes());
        raw.extend_from_slice(value.as_bytes());
    }
    let mut fields = Fields::over(raw.freeze(), map.len() + FIELDS_ADDED);
    let mut at = 0_u32;
    // A list of headers is limited to far less than 4 GiB.
    let mut span = |len: usize| {
        let span = (at, u32::try_from(len).unwrap_or(u32::MAX));
        at = at.saturating_add(span.1);
        span
    };
    for (name, value) in map {
        let id = FieldId::of(name.as_str().as_bytes());
        let name = span(name.as_str().len());
        fields.push_span(id, name, span(value.len()));
    }
    fields
}

/// Fields as a map, with their names in lower case (RFC 9113 §8.2). `None` if one of them cannot be in HTTP.
pub(crate) fn to_map(fields: &Fields) -> Option<HeaderMap> {
    let mut map = HeaderMap::try_with_capacity(fields.len()).ok()?;
    for (id, name, value) in fields.shared() {
        let name = match known(id) {
            Some(known) => known,
            None => HeaderName::from_bytes(name).ok()?,
        };
        let mut value = to_value(value)?;
        value.set_sensitive(id == FieldId::XRequestId || NEVER_TWICE.contains(&name.as_str()));
        map.try_append(name, value).ok()?;
    }
    Some(map)
}

/// The names that most answers and requests have, which need not be looked up.
fn known(id: FieldId) -> Option<HeaderName> {
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    match id {
        FieldId::ContentLength => Some(header::CONTENT_LENGTH),
        FieldId::ContentType => Some(header::CONTENT_TYPE),
        FieldId::Date => Some(header::DATE),
        FieldId::Server => Some(header::SERVER),
        FieldId::Te => Some(header::TE),
        FieldId::UserAgent => Some(header::USER_AGENT),
        FieldId::Via => Some(header::VIA),
        FieldId::XForwardedFor => Some(FOR),
        FieldId::XForwardedHost => Some(HOST),
        FieldId::XForwardedProto => Some(PROTO),
        FieldId::XRequestId => Some(REQUEST_ID),
        FieldId::Connection
        | FieldId::Expect
        | FieldId::Host
        | FieldId::KeepAlive
        | FieldId::ProxyAuthenticate
        | FieldId::ProxyConnection
        | FieldId::Trailer
        | FieldId::TransferEncoding
        | FieldId::Upgrade
        | FieldId::XEnvoyUpstreamRqTimeoutMs
        | FieldId::XForwardedClientCert
        | FieldId::Other => None,
    }
}

/// A field's value; nothing is copied.
pub(crate) fn to_value(value: Bytes) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_went_in_lower_case() {
        let mut fields = Fields::over(Bytes::from_static(b"X-OneaTwob"), 3);
        fields.push_span(FieldId::Other, (0, 5), (5, 1));
        fields.push_span(FieldId::Other, (6, 3), (9, 1));
        fields.push("x-one", "c\u{e9}");
        let map = to_map(&fields).expect("names and values of HTTP");
        let again: Vec<_> = to_fields(&map)
            .iter()
            .map(|field| (field.name.to_vec(), field.value.to_vec()))
            .collect();
        let line = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
        assert_eq!(
            again,
            [
                line("x-one", b"a"),
                line("x-one", "c\u{e9}".as_bytes()),
                line("two", b"b")
            ]
        );
    }

    #[test]
    fn a_known_name_stays_itself() {
        for name in [
            "content-length",
            "content-type",
            "date",
            "server",
            "te",
            "user-agent",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
        ] {
            let known = known(FieldId::of(name.as_bytes()));
            assert_eq!(known.as_ref().map(HeaderName::as_str), Some(name));
        }
    }

    #[test]
    fn values_that_do_not_come_again_are_kept_out_of_tables() {
        let mut fields = Fields::new();
        for name in [
            "X-Request-Id",
            "Traceparent",
            "grpc-timeout",
            "via",
            "accept",
        ] {
            fields.push(name, "1");
        }
        let map = to_map(&fields).expect("names and values of HTTP");
        let sensitive = |name: &str| map[name].is_sensitive();
        assert!(["x-request-id", "traceparent", "grpc-timeout"].map(sensitive) == [true; 3]);
        assert!(["via", "accept"].map(sensitive) == [false; 2]);
    }

    #[test]
    fn what_cannot_be_in_http_makes_no_map() {
        for (name, value) in [("a b", "1"), ("a", "1\n2"), ("", "1")] {
            let mut fields = Fields::new();
            fields.push(name, value);
            assert!(to_map(&fields).is_none(), "{name:?}: {value:?}");
        }
    }
}
