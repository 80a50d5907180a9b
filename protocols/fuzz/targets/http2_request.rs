//! Lists of fields as an HTTP/2 codec decodes them: whatever of them our rules let through is one message of HTTP/1.1, and the same.
//!
//! The input is a line for each field, `name: value`, of which the first bytes of a name with a colon make pseudo-fields.
#![no_main]

use http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use ringway_protocols::http2::{request, trailers};
use ringway_protocols_fuzz::http2::{self as shared, LIMITS, crosses, fields, parts};

fuzz_target!(|data: &[u8]| {
    let Some((first, list)) = data.split_first() else {
        return;
    };
    let ended = first & 1 != 0;
    let mut builder = http::Request::builder().version(http::Version::HTTP_2);
    let mut uri = http::uri::Parts::default();
    let mut map = HeaderMap::new();
    for line in list.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().skip(1).position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..=at], line[at + 2..].to_vec());
        match name {
            b":method" => builder = builder.method(&value[..]),
            b":path" => uri.path_and_query = value.try_into().ok(),
            b":authority" => uri.authority = value.try_into().ok(),
            b":scheme" => uri.scheme = value[..].try_into().ok(),
            b":protocol" => {
                let Ok(protocol) = String::from_utf8(value) else {
                    continue;
                };
                builder = builder.extension(h2::ext::Protocol::from(&protocol[..]));
            }
            // What the codec takes: lower-case tokens, and fields of no connection.
            name if !name.iter().any(u8::is_ascii_uppercase) => {
                let field = HeaderName::from_bytes(name).ok().zip(HeaderValue::from_bytes(&value).ok());
                if let Some((name, value)) = field
                    && is_of_http2(&name, &value)
                {
                    map.append(name, value);
                }
            }
            _ => {}
        }
    }
    if let Ok(mut list) = Ok::<_, ()>(fields(&map).0)
        && trailers(&mut list, &LIMITS).is_ok()
    {
        shared::trailers(&list);
    }
    let Ok(uri) = http::Uri::from_parts(uri) else {
        return;
    };
    let Ok(head) = builder.uri(uri).body(()) else {
        return;
    };
    let (mut head, ()) = head.into_parts();
    // The codec holds the length against the data; an end with the head is none.
    if ended && map.get("content-length").is_some_and(|length| length != "0") {
        return;
    }
    head.headers = map;
    if let Ok(request) = request(parts(&head, ended), &LIMITS) {
        crosses(request);
    }
});

/// RFC 9113 §8.2.2, which the codec holds.
fn is_of_http2(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "connection" | "transfer-encoding" | "upgrade" | "keep-alive" | "proxy-connection" => false,
        "te" => value == "trailers",
        _ => true,
    }
}
