//! A connection to a host that was picked: one that is there and still good, a place on one, or a new one. What is spoken on it is
//! known from the configuration, or agreed on by TLS with the first connection.

use std::rc::Rc;

use ringway_config::UpstreamProtocol;
use ringway_protocols::message::Version;

use super::permits::Admitted;
use super::pool::http2::Place as StreamPlace;
use super::pool::rpc;
use super::secure::is_agreed;
use super::{Cluster, Connection, Group, Host, Lease};
use crate::fault::{Fault, FaultKind, Retry};
use crate::request::RpcCall;
use crate::time::{Deadline, Timer};

/// What a request wants of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want<'w> {
    /// One that was not kept from an earlier request.
    pub(crate) fresh: bool,
    /// What the client speaks.
    pub(crate) version: Version,
    /// For whom it is, where that matters.
    pub(crate) group: Option<&'w Rc<Group>>,
    /// The call, if it is one of an RPC protocol.
    pub(crate) call: Option<&'w Rc<RpcCall>>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

impl Speaks {
    /// Its name where TLS agrees on it (ALPN).
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

impl Cluster {
    /// The right to send one request to the host, over a connection that is there and still good, or a new one.
    pub(crate) async fn checkout(
        &self,
        host: &Rc<Host>,
        want: Want<'_>,
        timer: &Timer,
    ) -> Result<Lease, Fault> {
        let max = self.spec.config.pool.groups;
        let in_group = want.group.map(|group| host.in_group(group, max));
        let host = in_group.as_ref().unwrap_or(host);
        match (want.call, &self.spec.codec) {
            (Some(call), Some(codec)) if call.codec.name() == codec.name() => {
                return self.checkout_rpc(host, call, want.fresh, timer).await;
            }
            (None, None) => {}
            (Some(_), _) | (None, Some(_)) => {
                let why = "the cluster speaks another protocol than the client";
                return Err(Fault::new(FaultKind::Internal).because(why));
            }
        }
        match self.speaks(want.version).or(host.agreed()) {
            Some(Speaks::Http1) => self.checkout_http1(host, want.fresh, timer).await,
            Some(Speaks::Http2) => self.checkout_http2(host, timer).await,
            None => self.checkout_agreed(host, timer).await,
        }
    }

    /// The first connection to a host that chooses itself what is spoken. Until it has, others may make theirs meanwhile.
    async fn checkout_agreed(&self, host: &Rc<Host>, timer: &Timer) -> Result<Lease, Fault> {
        let places = self.places(host).await?;
        let stream = self
            .open(host, &[Speaks::Http2, Speaks::Http1], timer)
            .await?;
        if !is_agreed(&stream, Speaks::Http2) {
            host.agree(Some(Speaks::Http1));
            return Ok(Lease::Http1(Connection::new(stream, host, places)));
        }
        host.agree(Some(Speaks::Http2));
        match host.http2.place(&self.spec.config.http2) {
            StreamPlace::Connect(connecting) => {
                let slot = connecting
                    .open((stream, places), host, &self.spec.config)
                    .await?;
                Ok(Lease::Http2(slot))
            }
            StreamPlace::Here(slot) => {
                stream.close();
                Ok(Lease::Http2(slot))
            }
            StreamPlace::Wait(_) | StreamPlace::Full => {
                stream.close();
                drop(places);
                self.checkout_http2(host, timer).await
            }
        }
    }

    /// What a host is spoken to in, for a client of that version. None: it chooses itself. Without TLS it cannot, and it is
    /// HTTP/1 unless we are told.
    pub(super) fn speaks(&self, client: Version) -> Option<Speaks> {
        match self.spec.config.protocol {
            UpstreamProtocol::Auto if self.client.is_some() => None,
            UpstreamProtocol::Auto | UpstreamProtocol::Http1 | UpstreamProtocol::Rpc(_) => {
                Some(Speaks::Http1)
            }
            UpstreamProtocol::Http2 => Some(Speaks::Http2),
            UpstreamProtocol::SameAsClient if client == Version::Http2 => Some(Speaks::Http2),
            UpstreamProtocol::SameAsClient => Some(Speaks::Http1),
        }
    }

    /// Whether a host may say that it did not process a request of which parts have been sent.
    pub(crate) fn may_refuse(&self) -> bool {
        self.speaks(Version::Http2) != Some(Speaks::Http1)
    }

    async fn checkout_http1(
        &self,
        host: &Rc<Host>,
        fresh: bool,
        timer: &Timer,
    ) -> Result<Lease, Fault> {
        if !fresh && let Some(kept) = host.http1.unpark(host) {
            self.stats.upstream_cx_reused.inc();
            return Ok(Lease::Http1(kept));
        }
        let host_place = self.host_connection(host)?;
        let permit = match self.permit(host, fresh).await? {
            Admitted::Kept(kept) => return Ok(Lease::Http1(kept)),
            Admitted::New(permit) => permit,
        };
        let stream = self.open(host, &[Speaks::Http1], timer).await?;
        let places = (permit, host_place);
        Ok(Lease::Http1(Connection::new(stream, host, places)))
    }

    /// A place for a call of an RPC protocol.
    async fn checkout_rpc(
        &self,
        host: &Rc<Host>,
        call: &RpcCall,
        fresh: bool,
        timer: &Timer,
    ) -> Result<Lease, Fault> {
        let config = &self.spec.config;
        loop {
            match host.rpc.place(call, &config.rpc, fresh) {
                rpc::Place::Here(slot) => return Ok(Lease::Rpc(slot)),
                rpc::Place::Connect(connecting) => {
                    let places = self.places(host).await?;
                    let stream = self.open(host, &[], timer).await?;
                    let opened = (stream, places);
                    return Ok(Lease::Rpc(connecting.open(opened, host, call, config)));
                }
                rpc::Place::Wait(waiting) => {
                    self.stats.upstream_rq_waited.inc();
                    waiting.room().await;
                    if host.is_gone() {
                        return Err(self.moved());
                    }
                }
                rpc::Place::Full => {
                    self.stats.limit_rpc_waiting.inc();
                    return Err(Fault::new(FaultKind::Overflow).retry(Retry::Safe));
                }
            }
        }
    }

    async fn checkout_http2(&self, host: &Rc<Host>, timer: &Timer) -> Result<Lease, Fault> {
        let http2 = &self.spec.config.http2;
        let mut until = None;
        loop {
            match host.http2.place(http2) {
                StreamPlace::Here(slot) => return Ok(Lease::Http2(slot)),
                StreamPlace::Connect(connecting) => {
                    let opened = async {
                        let places = self.places(host).await?;
                        let stream = self.open(host, &[Speaks::Http2], timer).await?;
                        Ok::<_, Fault>((stream, places))
                    };
                    let (stream, places) = match opened.await {
                        Ok(opened) => opened,
                        // That is the host's doing, or the limits'; who else waits for it is told by itself.
                        Err(fault) if fault.retry == Retry::NotBegun => return Err(fault),
                        Err(fault) => {
                            connecting.failed(fault.kind);
                            return Err(fault);
                        }
                    };
                    let slot = connecting
                        .open((stream, places), host, &self.spec.config)
                        .await?;
                    return Ok(Lease::Http2(slot));
                }
                StreamPlace::Wait(waiting) => {
                    self.stats.upstream_rq_waited.inc();
                    let until =
                        *until.get_or_insert_with(|| Deadline::after(http2.waiting_timeout));
                    let Ok(place) = timer.within(until, waiting.place()).await else {
                        self.stats.upstream_rq_waiting_timeout.inc();
                        return Err(Fault::new(FaultKind::Overflow).retry(Retry::Safe));
                    };
                    if let Some(slot) = place? {
                        return Ok(Lease::Http2(slot));
                    }
                    if host.is_gone() {
                        return Err(self.moved());
                    }
                }
                StreamPlace::Full => {
                    self.stats.upstream_rq_waiting_overflow.inc();
                    return Err(Fault::new(FaultKind::Overflow).retry(Retry::Safe));
                }
            }
        }
    }

    /// A new connection to the host, for bytes of whatever kind: TLS agrees on no protocol.
    pub(crate) async fn connect(
        &self,
        host: &Rc<Host>,
        group: Option<&Rc<Group>>,
        timer: &Timer,
    ) -> Result<Connection, Fault> {
        let apart = group.map(|group| host.apart(group));
        let host = apart.as_ref().unwrap_or(host);
        let places = self.places(host).await?;
        let stream = self.open(host, &[], timer).await?;
        Ok(Connection::new(stream, host, places))
    }
}
