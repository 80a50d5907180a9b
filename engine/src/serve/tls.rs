//! The handshake with a client, where its chain ends TLS.

use std::rc::Rc;

use super::http1::linger;
use super::{Connection, introduction};
use crate::net::tls::{self, HandshakeError};
use crate::time::Deadline;

/// Brings the connection under TLS if its chain asks for that. `false`: there is no session, and the connection is to be closed.
pub(super) async fn accept(connection: &mut Connection) -> bool {
    let Connection { client, stream, .. } = connection;
    let listener = Rc::clone(&client.listener);
    let (Some(server), Some(hello)) = (listener.tls(client.chain), client.hello.as_deref()) else {
        // No TLS here, or none with this client, which a permissive chain takes too.
        return true;
    };
    let stats = &listener.stats;
    let within = Deadline::after(listener.spec.config.limits.tls_handshake_timeout);
    let handshake = tls::accept(stream, server, hello.server_name.clone());
    match client.timer.within(within, handshake).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, listener = %listener.spec.config.name, "handshake failed");
            stats.tls_error.note(error.failure());
            if let HandshakeError::Tls(_) = error {
                // It has been told why. What it has still sent would reset the connection before it reads that.
                Box::pin(linger(connection)).await;
            }
            return false;
        }
        Err(_elapsed) => {
            stats.limit_tls_handshake_timeout.inc();
            return false;
        }
    }
    let Some(facts) = stream.facts().map(Rc::clone) else {
        return false;
    };
    stats.tls_handshakes.inc();
    if facts.resumed {
        stats.tls_resumed.inc();
    }
    if let Some(version) = facts.version {
        stats.tls_version.note(version);
    }
    if let Some(cipher) = facts.cipher {
        stats.tls_cipher.note(cipher);
    }
    client.tls = Some(facts);
    client.intro = introduction(&listener, &client.remote, client.tls.as_deref());
    true
}
