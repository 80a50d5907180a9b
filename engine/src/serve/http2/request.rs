//! A request as the codec gives it, in the parts that the rules want.

use bytes::{Bytes, BytesMut};
use h2::ext::Protocol;
use http::header::COOKIE;
use http::{HeaderMap, request};
use ringway_protocols::http2::{Limits, Parts};
use ringway_protocols::message::Method;
use ringway_protocols::{FieldId, Fields};

use crate::view::Listener;

/// Room for the fields that are added on the way.
const FIELDS_ADDED: usize = 4;

/// The limits of a listener's requests.
pub(super) fn limits(listener: &Listener) -> Limits {
    let head = &listener.head_limits;
    Limits {
        fields: head.fields,
        field: head.field,
        cookies: listener.spec.config.http2.cookie_pieces as usize,
        target: head.start_line,
    }
}

/// Takes a head apart; `ended`: the stream ends with it.
pub(super) fn parts(head: request::Parts, ended: bool) -> Parts {
    let request::Parts {
        method,
        uri,
        headers,
        mut extensions,
        ..
    } = head;
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let protocol = extensions.remove::<Protocol>();
    let (fields, cookies) = fields(&headers);
    Parts {
        method: self::method(&method),
        scheme: uri.scheme_str().map(text),
        authority: uri.authority().map(|authority| text(authority.as_str())),
        path: uri.path_and_query().map(|path| text(path.as_str())),
        protocol: protocol.map(|protocol| text(protocol.as_str())),
        fields,
        cookies,
        ended,
    }
}

fn method(method: &http::Method) -> Method {
    Method::from_token(method.as_str().as_bytes())
}

/// The fields, copied into one buffer, with the pieces of `cookie` joined (RFC 9113 §8.2.3); and how many pieces there were.
fn fields(map: &HeaderMap) -> (Fields, usize) {
    let size = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 2)
        .sum();
    let mut raw = BytesMut::with_capacity(size);
    let mut spans = Vec::with_capacity(map.len() + FIELDS_ADDED);
    let mut cookies = 0;
    // A list of headers is limited to far less than 4 GiB.
    let at = |raw: &BytesMut| u32::try_from(raw.len()).unwrap_or(u32::MAX);
    for (name, value) in map {
        // All values of a name come one after the other.
        if name == COOKIE {
            cookies += 1;
            if cookies > 1 {
                raw.extend_from_slice(b"; ");
                raw.extend_from_slice(value.as_bytes());
                if let Some((_, _, (from, len))) = spans.last_mut() {
                    *len = at(&raw) - *from;
                }
                continue;
            }
        }
        let name = name.as_str().as_bytes();
        let name_at = at(&raw);
        raw.extend_from_slice(name);
        let value_at = at(&raw);
        raw.extend_from_slice(value.as_bytes());
        let name_span = (name_at, value_at - name_at);
        spans.push((
            FieldId::of(name),
            name_span,
            (value_at, at(&raw) - value_at),
        ));
    }
    let mut fields = Fields::over(raw.freeze(), spans.len() + FIELDS_ADDED);
    for (id, name, value) in spans {
        fields.push_span(id, name, value);
    }
    (fields, cookies)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_joined_in_their_order_and_counted() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("a", "1"),
            ("cookie", "x=1"),
            ("b", "2"),
            ("cookie", "y=2"),
            ("cookie", "z=3"),
        ] {
            map.append(name, HeaderValue::from_static(value));
        }
        let (fields, cookies) = fields(&map);
        assert_eq!(cookies, 3);
        assert_eq!(fields.len(), 3);
        assert_eq!(fields.get(b"cookie"), Some(&b"x=1; y=2; z=3"[..]));
        assert_eq!(fields.get(b"b"), Some(&b"2"[..]));
    }
}
