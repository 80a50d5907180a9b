//! A chain chosen by what the client's TLS says first. What is read is left where it is, for whoever serves the connection.

use std::rc::Rc;

use ringway_protocols::client_hello::{ClientHello, HelloError, HelloReader, is_tls};

use super::Connection;
use crate::net::Stream;
use crate::time::Deadline;

/// What a read for a ClientHello makes room for: one with a post-quantum key fits.
const HELLO_READ: usize = 2 << 10;

/// Reads until the chain can be chosen. `false`: there is none for this connection, or it said nothing that one is chosen by.
pub(super) async fn choose(connection: &mut Connection) -> bool {
    let Connection { client, stream, .. } = connection;
    let listener = &*client.listener;
    let Some(limits) = listener.hello else {
        return true;
    };
    let stats = &listener.stats;
    let within = listener.spec.config.limits.client_hello_timeout;
    let mut reader = HelloReader::new(limits);
    let read = read(stream, &mut reader);
    let hello = match client.timer.within(Deadline::after(within), read).await {
        Ok(Read::Hello(hello)) => Some(hello),
        Ok(Read::Plain) => None,
        Ok(Read::Wrong(error)) => {
            stats.client_hello_error.inc(error.index());
            return false;
        }
        Ok(Read::Ended) => return false,
        Err(_elapsed) => {
            stats.limit_client_hello_timeout.inc();
            return false;
        }
    };
    settle(connection, hello)
}

/// Takes the chain that fits best. `false`: there is none for this connection.
pub(super) fn settle(connection: &mut Connection, hello: Option<Rc<ClientHello>>) -> bool {
    let client = &mut connection.client;
    let listener = &client.listener;
    let Some(chain) = listener.place(&client.remote, &client.own, hello.as_deref()) else {
        listener.stats.downstream_cx_no_chain.inc();
        return false;
    };
    (client.chain, client.hello) = (chain, hello);
    true
}

enum Read {
    Hello(Rc<ClientHello>),
    /// What comes is no TLS.
    Plain,
    Wrong(HelloError),
    /// The client went away before that could be told.
    Ended,
}

async fn read(stream: &mut Stream, hello: &mut HelloReader) -> Read {
    let reader = &mut stream.reader;
    // Without a buffer until there is something to read: this is where crowds wait that never say a word.
    if reader.readable().await.is_err() {
        return Read::Ended;
    }
    loop {
        match reader.fill(HELLO_READ).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Read::Ended,
        }
        if is_tls(&reader.input) == Some(false) {
            return Read::Plain;
        }
        match hello.read(&reader.input) {
            Ok(None) => {}
            Ok(Some(hello)) => return Read::Hello(Rc::new(hello)),
            Err(error) => return Read::Wrong(error),
        }
    }
}
