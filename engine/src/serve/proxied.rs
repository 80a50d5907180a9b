//! The PROXY header of a connection from a trusted proxy: whose it is from here on, in all respects.

use bytes::Buf;
use ringway_protocols::proxy_protocol::{Ends, ProxyError, ProxyHeader, ProxyLimits, read};

use std::rc::Rc;

use super::{Connection, introduction};
use crate::net::Reader;
use crate::request::{PeerAddr, Proxied};
use crate::time::Deadline;

/// What a read for a header makes room for: one of either version with the usual fields.
const READ: usize = 512;

/// Reads the header, if the connection is to begin with one. `false`: it does not, and is to be closed.
pub(super) async fn accept(connection: &mut Connection) -> bool {
    let Connection { client, stream, .. } = connection;
    let listener = Rc::clone(&client.listener);
    let config = listener.spec.config.proxy_protocol.as_ref();
    let Some(config) = config.filter(|config| config.is_from(client.remote.ip())) else {
        return true;
    };
    let limits = ProxyLimits {
        header: usize::try_from(config.header.0).unwrap_or(usize::MAX),
    };
    let stats = &listener.stats;
    let coming = header(&mut stream.reader, &limits);
    let within = Deadline::after(config.timeout);
    let header = match client.timer.within(within, coming).await {
        Ok(Came::Header(header)) => header,
        Ok(Came::Wrong(ProxyError::Absent)) if config.optional => return true,
        Ok(Came::Wrong(error)) => {
            tracing::debug!(%error, listener = %listener.spec.config.name, "no PROXY header");
            stats.proxy_protocol_error.inc(error.index());
            return false;
        }
        Ok(Came::Ended) => return false,
        Err(_elapsed) => {
            stats.limit_proxy_protocol_timeout.inc();
            return false;
        }
    };
    stats.proxy_protocol_headers.inc();
    client.proxied = Some(Rc::new(Proxied {
        from: client.remote.clone(),
        tlvs: header.tlvs,
    }));
    if let Some(ends) = header.ends {
        (client.remote, client.own) = addresses(ends);
        client.intro = introduction(&listener, &client.remote, None);
    }
    true
}

enum Came {
    Header(ProxyHeader),
    Wrong(ProxyError),
    /// The other end went away before.
    Ended,
}

/// Takes the header off the front of what comes.
async fn header(reader: &mut Reader, limits: &ProxyLimits) -> Came {
    // Without a buffer until there is something to read: some proxies connect before they have a client.
    if reader.readable().await.is_err() {
        return Came::Ended;
    }
    loop {
        match reader.fill(READ).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Came::Ended,
        }
        match read(&reader.input, limits) {
            Ok(None) => {}
            Ok(Some((header, length))) => {
                reader.input.advance(length);
                return Came::Header(header);
            }
            Err(error) => return Came::Wrong(error),
        }
    }
}

fn addresses(ends: Ends) -> (PeerAddr, PeerAddr) {
    let path = |bytes: Vec<u8>| PeerAddr::Unix(String::from_utf8_lossy(&bytes).into());
    match ends {
        Ends::Tcp {
            source,
            destination,
        } => (PeerAddr::Ip(source), PeerAddr::Ip(destination)),
        Ends::Unix {
            source,
            destination,
        } => (path(source), path(destination)),
    }
}
