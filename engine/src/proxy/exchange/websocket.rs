//! WebSocket at an upstream of HTTP/2: what is a GET with `Upgrade` here is an extended CONNECT there (RFC 8441 §5). Inside the proxy it has
//! one form, whatever its client and its upstream speak: that of HTTP/1.1.

use bytes::Bytes;
use ringway_protocols::http2::websocket;
use ringway_protocols::message::{Framing, Method, ResponseHead};

use super::super::outgoing::Outgoing;

const KEY: &[u8] = b"sec-websocket-key";
const ACCEPT: &str = "sec-websocket-accept";

/// What the client wants to read in answer to its key, which an upstream of HTTP/2 is not asked with; `None`: this asks for no
/// WebSocket, or not as RFC 6455 §4.1 has it, and is any other request.
pub(super) fn accept(request: &Outgoing<'_>) -> Option<Vec<u8>> {
    let asks = request
        .upgrade
        .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"));
    if !asks || *request.method != Method::Get || request.framing != Framing::Empty {
        return None;
    }
    Some(websocket::accept(request.fields.get(KEY)?))
}

/// Makes of the answer to CONNECT the one that an upstream of HTTP/1.1 would give. Says whether it switches.
pub(super) fn answer(head: &mut ResponseHead, accept: Vec<u8>) -> bool {
    let switches = (200..300).contains(&head.status);
    if switches {
        head.status = 101;
        head.reason = Bytes::new();
        head.fields.remove(b"content-length");
        head.fields.set("upgrade", "websocket");
        head.fields.set(ACCEPT, accept);
    }
    switches
}
