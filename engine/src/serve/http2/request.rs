//! The limits of a request, as its listener has them.

use ringway_protocols::http2::Limits;

use crate::view::Listener;

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
