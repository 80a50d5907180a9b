//! One downstream connection: what it speaks, and each of its requests handed to `proxy`.
//!
//! ```text
//!  PROXY header, where one is to come → hello, where chains are chosen by it → the chain ─┬─ tcp: bytes
//!                                                                                        └─ sniff → http1 | http2: requests
//! ```

mod accept;
mod body;
mod hello;
mod http1;
mod http2;
mod outcome;
mod pace;
mod proxied;
mod respond;
mod root;
mod rpc;
mod sniff;
mod tcp;
mod tls;

use std::net::IpAddr;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use ringway_config::Protocol;
use ringway_protocols::client_hello::ClientHello;
use ringway_protocols::http1::RequestParser;

use crate::net::{Accepted, Stream};
use crate::proxy::{Introduction, is_within};
use crate::request::{Peer, PeerAddr, Proxied, Secured};
use crate::time::Timer;
use crate::view::{Listener, ListenerId, LiveChain, Local, Ticket};

pub(crate) use accept::{Gate, accept};

/// A client's connection, beside its stream.
struct Client {
    local: Rc<Local>,
    id: ListenerId,
    remote: PeerAddr,
    own: PeerAddr,
    /// What a proxy in front of us said.
    proxied: Option<Rc<Proxied>>,
    /// The listener as the last request saw it, with the place of its chain: none ([`NO_CHAIN`]) until it is chosen.
    listener: Rc<Listener>,
    chain: usize,
    /// What its TLS said first, where the chain was chosen by it.
    hello: Option<Rc<ClientHello>>,
    /// What its handshake agreed on, if it is under TLS.
    tls: Option<Rc<Secured>>,
    intro: Introduction,
    timer: Timer,
    /// Requests begun.
    requests: u64,
}

/// A place at which no listener has a chain.
const NO_CHAIN: usize = usize::MAX;

impl Client {
    /// A connection whose listener has a chain for it, or may have one once it has said whose it is and its hello.
    fn new(local: Rc<Local>, listener: Rc<Listener>, accepted: &Accepted) -> Option<Self> {
        let proxies = listener.spec.config.proxy_protocol.as_ref();
        let proxied = proxies.is_some_and(|proxies| proxies.is_from(accepted.remote.ip()));
        let chain = if proxied || listener.hello.is_some() {
            NO_CHAIN
        } else {
            listener.place(&accepted.remote, &accepted.local, None)?
        };
        let intro = introduction(&listener, &accepted.remote, None);
        Some(Self {
            local,
            id: listener.id,
            remote: accepted.remote.clone(),
            own: accepted.local.clone(),
            proxied: None,
            listener,
            chain,
            hello: None,
            tls: None,
            intro,
            timer: Timer::new(),
            requests: 0,
        })
    }

    /// The same for one of several requests at once, which has a timer of its own.
    fn beside(&self) -> Self {
        Self {
            local: Rc::clone(&self.local),
            id: self.id,
            remote: self.remote.clone(),
            own: self.own.clone(),
            proxied: self.proxied.clone(),
            listener: Rc::clone(&self.listener),
            chain: self.chain,
            hello: self.hello.clone(),
            tls: self.tls.clone(),
            intro: self.intro.clone(),
            timer: Timer::new(),
            requests: self.requests,
        }
    }

    /// Takes the newest view's listener; `false` if it is gone or no chain of it takes the requests of this connection any more.
    fn refresh(&mut self) -> bool {
        let Some(listener) = self.local.view().listener_of(self.id) else {
            return false;
        };
        if Rc::ptr_eq(&listener, &self.listener) {
            return true;
        }
        let place = listener.place(&self.remote, &self.own, self.hello.as_deref());
        let requests = |place: &usize| {
            listener
                .chain(*place)
                .is_some_and(|chain| chain.http().is_some())
        };
        let Some(chain) = place.filter(requests) else {
            return false;
        };
        self.intro = introduction(&listener, &self.remote, self.tls.as_deref());
        (self.listener, self.chain) = (listener, chain);
        true
    }

    /// Whether its certificate is not for the host of a request and another one of ours is, or another chain: the client took them
    /// for one server's (RFC 9110 §15.5.20), or hopes to get past what the other asks for.
    fn is_misdirected(&self, authority: &[u8]) -> bool {
        let (Some(tls), Some(server)) = (&self.tls, self.listener.tls(self.chain)) else {
            return false;
        };
        let asked = tls.server_name.as_deref();
        let host = host_of(authority);
        let host = host.strip_suffix(b".").unwrap_or(host);
        if asked.is_some_and(|asked| host.eq_ignore_ascii_case(asked.as_bytes())) {
            return false;
        }
        let one_chain = self.listener.spec.config.chains.len() == 1;
        if one_chain && server.has_one_certificate() {
            return false;
        }
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let elsewhere = || {
            let hello = self.hello.as_deref();
            let hello = hello.map(|hello| hello.asking_for(&host));
            let place = self.listener.place(&self.remote, &self.own, hello.as_ref());
            place.is_some_and(|place| place != self.chain)
        };
        let misdirected = !server.serves_both(asked, &host) || (!one_chain && elsewhere());
        if misdirected {
            self.listener.stats.tls_misdirected.inc();
        }
        misdirected
    }

    /// Its two ends, as a request or a log line knows them.
    fn peer(&self) -> Peer {
        let hello = self.hello.as_deref();
        Peer {
            remote: self.remote.clone(),
            local: self.own.clone(),
            proxied: self.proxied.clone(),
            client: self.remote.ip(),
            server_name: hello
                .and_then(|hello| hello.server_name.as_deref())
                .map(Rc::from),
            tls: self.tls.clone(),
        }
    }

    /// Whether this connection should end after the request in flight.
    fn is_leaving(&self) -> bool {
        self.local.draining.get() || self.local.view().listener_of(self.id).is_none()
    }
}

/// An authority without its port.
fn host_of(authority: &[u8]) -> &[u8] {
    let end = authority.iter().rposition(|byte| *byte == b':');
    let port = |at: &usize| authority[at + 1..].iter().all(u8::is_ascii_digit);
    end.filter(port).map_or(authority, |end| &authority[..end])
}

fn introduction(listener: &Listener, remote: &PeerAddr, tls: Option<&Secured>) -> Introduction {
    let forwarded = &listener.spec.config.forwarded;
    Introduction {
        trusted: is_within(&forwarded.trusted, remote.ip()),
        address: remote
            .ip()
            .map_or_else(Bytes::new, |address| written(address.to_canonical())),
        scheme: if tls.is_some() { "https" } else { "http" },
        client_cert: tls
            .and_then(|tls| tls.peer.as_ref())
            .map(|peer| peer.element.clone()),
        via: listener.via.clone(),
    }
}

/// An address as fields and logs have it. `Display` of IPv4 addresses costs a new connection a twentieth of its instructions.
fn written(address: IpAddr) -> Bytes {
    let IpAddr::V4(address) = address else {
        return address.to_string().into();
    };
    let mut out = BytesMut::with_capacity("255.255.255.255".len());
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.put_u8(b'.');
        }
        out.put_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
    out.freeze()
}

/// Serves a connection to its end.
async fn serve(mut connection: Box<Connection>) {
    if connection.client.chain == NO_CHAIN && !Box::pin(begin(&mut connection)).await {
        return connection.close();
    }
    let client = &connection.client;
    if let Some(LiveChain::Tcp(_)) = client.listener.chain(client.chain) {
        return Box::pin(tcp::serve(connection)).await;
    }
    let agreed = client.tls.as_deref().and_then(|tls| tls.alpn.as_deref());
    let spoken = match (agreed, &client.listener.spec.config.protocol) {
        (_, Protocol::Rpc(_)) => {
            return match Box::pin(sniff::codec(&mut connection)).await {
                Some(codec) => Box::pin(rpc::serve(connection, codec)).await,
                None => connection.close(),
            };
        }
        (Some(b"h2"), _) | (_, Protocol::Http2) => Some(Spoken::Http2),
        (Some(b"http/1.1"), _) | (_, Protocol::Http1) => Some(Spoken::Http1),
        (_, Protocol::Http) => sniff::spoken(&mut connection).await,
    };
    match spoken {
        Some(Spoken::Http1) => http1::serve(connection).await,
        Some(Spoken::Http2) => Box::pin(http2::serve(connection)).await,
        None => connection.close(),
    }
}

/// What a connection turns out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    Http2,
}

/// What comes before the first request: the PROXY header, the ClientHello, the chain, the handshake. `false`: there is none to
/// serve.
async fn begin(connection: &mut Connection) -> bool {
    if !proxied::accept(connection).await {
        return false;
    }
    if connection.client.listener.hello.is_none() {
        return hello::settle(connection, None);
    }
    let Connection { client, stream, .. } = &*connection;
    let max = client.listener.spec.config.limits.tls_handshakes;
    let (_place, full) = client.local.handshakes.enter(stream.raw_fd(), max);
    if full {
        client.listener.stats.limit_tls_handshakes.inc();
    }
    hello::choose(connection).await && tls::accept(connection).await
}

/// A connection in service. One box, so that its task holds no more than a pointer and what it waits for.
struct Connection {
    client: Client,
    ticket: Ticket,
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
        let Some(client) = Client::new(Rc::clone(local), Rc::clone(listener), &accepted) else {
            listener.stats.downstream_cx_no_chain.inc();
            return None;
        };
        let stream = Stream::new(accepted.fd).ok()?;
        Some(Box::new(Self {
            client,
            ticket,
            stream,
            parser: RequestParser::new(),
        }))
    }
    /// Closes it at once.
    fn close(self) {
        let Self {
            client,
            ticket,
            stream,
            ..
        } = self;
        // First the place among the connections: its descriptor may be another's as soon as it is closed.
        drop((client, ticket));
        stream.close();
    }

    /// Closes it with a reset.
    fn abort(self) {
        let Self {
            client,
            ticket,
            stream,
            ..
        } = self;
        drop((client, ticket));
        stream.abort();
    }
}
