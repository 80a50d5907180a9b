//! One downstream connection: what it speaks, and each of its requests handed to `proxy`.

mod accept;
mod body;
mod http1;
mod outcome;
mod pace;
mod respond;

use std::rc::Rc;

use bytes::Bytes;
use ringway_protocols::http1::RequestParser;

use crate::net::{Accepted, Stream};
use crate::proxy::{Introduction, is_within};
use crate::request::PeerAddr;
use crate::time::Timer;
use crate::view::{Listener, ListenerId, Local, Ticket};

pub(crate) use accept::{Gate, accept};

/// A client's connection, beside its stream.
struct Client {
    local: Rc<Local>,
    id: ListenerId,
    remote: PeerAddr,
    own: PeerAddr,
    /// The listener as the last request saw it, with the place of its chain.
    listener: Rc<Listener>,
    chain: usize,
    intro: Introduction,
    timer: Timer,
    ticket: Ticket,
    /// Requests begun.
    requests: u64,
}

impl Client {
    /// A connection whose listener has a chain for it.
    fn new(
        local: Rc<Local>,
        listener: Rc<Listener>,
        accepted: &Accepted,
        ticket: Ticket,
    ) -> Option<Self> {
        let chain = listener.place(&accepted.remote, &accepted.local)?;
        let intro = introduction(&listener, &accepted.remote);
        Some(Self {
            local,
            id: listener.id,
            remote: accepted.remote.clone(),
            own: accepted.local.clone(),
            listener,
            chain,
            intro,
            timer: Timer::new(),
            ticket,
            requests: 0,
        })
    }

    /// Takes the newest view's listener; `false` if it is gone or no chain of it takes this connection any more.
    fn refresh(&mut self) -> bool {
        let Some(listener) = self.local.view().listener_of(self.id) else {
            return false;
        };
        if Rc::ptr_eq(&listener, &self.listener) {
            return true;
        }
        let Some(chain) = listener.place(&self.remote, &self.own) else {
            return false;
        };
        self.intro = introduction(&listener, &self.remote);
        (self.listener, self.chain) = (listener, chain);
        true
    }

    /// Whether this connection should end after the request in flight.
    fn is_leaving(&self) -> bool {
        self.local.draining.get() || self.local.view().listener_of(self.id).is_none()
    }
}

fn introduction(listener: &Listener, remote: &PeerAddr) -> Introduction {
    let forwarded = &listener.spec.config.forwarded;
    Introduction {
        trusted: is_within(&forwarded.trusted, remote.ip()),
        address: remote.ip().map_or_else(Bytes::new, |address| {
            address.to_canonical().to_string().into()
        }),
        scheme: "http",
        via: listener.via.clone(),
    }
}

/// A connection in service. One box, so that its task holds no more than a pointer and what it waits for.
struct Connection {
    client: Client,
    stream: Stream,
    parser: RequestParser,
}

impl Connection {
    /// A connection that came in; none if no chain takes it, or the driver does not.
    fn open(
        local: &Rc<Local>,
        listener: &Rc<Listener>,
        accepted: Accepted,
        ticket: Ticket,
    ) -> Option<Box<Self>> {
        let Some(client) = Client::new(Rc::clone(local), Rc::clone(listener), &accepted, ticket)
        else {
            listener.stats.downstream_cx_no_chain.inc();
            return None;
        };
        let stream = Stream::new(accepted.fd).ok()?;
        Some(Box::new(Self {
            client,
            stream,
            parser: RequestParser::new(),
        }))
    }
}
