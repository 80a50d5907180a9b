//! What a cleartext connection speaks, by its first bytes.
//!
//! Only bytes that may be the beginning of HTTP/2's preface are waited behind; whatever else comes first is HTTP/1's to judge.

use std::sync::Arc;

use ringway_protocols::codec::{Codec, Sniff};
use ringway_protocols::http2::{Opening, opening};

use super::http1::{HEAD_READ, quiet};
use super::{Connection, Spoken};
use crate::time::Deadline;

/// Waits until it is clear. None: the connection has ended, or its time is up.
pub(super) async fn spoken(connection: &mut Connection) -> Option<Spoken> {
    let Connection {
        client,
        ticket,
        stream,
        ..
    } = connection;
    let limits = &client.listener.spec.config.limits;
    let reader = &mut stream.reader;
    let mut deadline = Deadline::after(limits.idle_timeout);
    loop {
        let begun = !reader.input.is_empty();
        match opening(&reader.input) {
            Opening::Http2 => return Some(Spoken::Http2),
            Opening::Other => return Some(Spoken::Http1),
            Opening::NeedMore => {}
        }
        let read = if begun {
            client.timer.within(deadline, reader.fill(HEAD_READ)).await
        } else {
            client.timer.within(deadline, quiet(reader)).await
        };
        match read {
            Ok(Ok(1..)) if !begun => {
                ticket.set_idle(false);
                deadline = Deadline::after(limits.header_timeout);
            }
            Ok(Ok(1..)) => {}
            // HTTP/1 has words for the end of a connection and for a head that breaks off.
            Ok(Ok(0) | Err(_)) if begun => return Some(Spoken::Http1),
            Ok(Ok(0) | Err(_)) => return None,
            Err(_elapsed) => {
                let stats = &client.listener.stats;
                match begun {
                    true => stats.limit_header_timeout.inc(),
                    false => stats.limit_idle_timeout.inc(),
                }
                return None;
            }
        }
    }
}

/// Waits until it is clear which of the listener's RPC protocols the connection is of. None: of none, it has ended, or its time is up.
pub(super) async fn codec(connection: &mut Connection) -> Option<Arc<dyn Codec>> {
    let Connection { client, stream, .. } = connection;
    let codecs = &client.listener.spec.codecs;
    if let [only] = &codecs[..] {
        return Some(Arc::clone(only));
    }
    let limits = &client.listener.spec.config.limits;
    let reader = &mut stream.reader;
    let mut deadline = Deadline::after(limits.idle_timeout);
    loop {
        let mut undecided = false;
        for codec in codecs {
            match codec.sniff(&reader.input) {
                Sniff::Yes => return Some(Arc::clone(codec)),
                Sniff::NeedMore => undecided = true,
                Sniff::No => {}
            }
        }
        if !undecided {
            client.listener.stats.rpc_unknown.inc();
            return None;
        }
        if !reader.input.is_empty() {
            deadline = deadline.min(Deadline::after(limits.header_timeout));
        }
        match client.timer.within(deadline, reader.fill(HEAD_READ)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return None,
            Err(_elapsed) => {
                client.listener.stats.limit_header_timeout.inc();
                return None;
            }
        }
    }
}
