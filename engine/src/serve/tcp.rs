//! A client's connection whose bytes are passed on: a host is picked and connected to, then each direction is copied until
//! it ends by itself.
//!
//! ```text
//!  pick → connect, or the next host → both ways, until both have ended | one broke | silence | too long
//! ```
//!
//! What does not end in order is reset at both ends, so that neither takes what it got for the whole.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::{Client, Connection, outcome};
use ringway_config::{Priority, TcpHash};

use crate::cluster::{
    Active, Ask, Cluster, Connection as Upstream, MetadataMatch, Search, of_address,
};
use crate::fault::{Fault, FaultKind, Retry, Side};
use crate::net::{Broken, Stream, relay};
use crate::request::{Outcome, Record};
use crate::time::{Deadline, now_millis, try_both};
use crate::view::{LiveChain, TcpChain};

/// Passes the bytes of a connection on, to its end.
pub(super) async fn serve(connection: Box<Connection>) {
    let Connection {
        client,
        ticket,
        mut stream,
        ..
    } = *connection;
    ticket.set_idle(false);
    let chain = client.listener.chain(client.chain);
    let cluster = chain
        .and_then(LiveChain::tcp)
        .and_then(|chain| Some((chain, chain.choose(&client.local.rng)?)));
    let Some((chain, cluster)) = cluster else {
        drop((client, ticket));
        return stream.abort();
    };
    let mut passing = Passing::new(&client, chain, cluster);
    let end = passing.run(&mut stream).await;
    passing.log(&end);
    drop(passing);
    // First the place among the connections: its descriptor may be another's as soon as it is closed.
    drop((client, ticket));
    match end {
        End::Whole => stream.close(),
        End::Fault(_) | End::TooLong => stream.abort(),
    }
}

/// How a connection ended.
enum End {
    /// Both ends have said all that they had to say, and were told all of it.
    Whole,
    Fault(Fault),
    /// `max_duration`.
    TooLong,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A connection that is passed on.
struct Passing<'c> {
    client: &'c Client,
    chain: &'c TcpChain,
    cluster: &'c Rc<Cluster>,
    begun: Instant,
    begun_at: SystemTime,
    /// The last host tried.
    host: Option<Rc<str>>,
    attempts: u32,
    /// Bytes from the client, and to it.
    received: Cell<u64>,
    sent: Cell<u64>,
    /// When something last moved.
    last: Cell<u64>,
}

impl<'c> Passing<'c> {
    fn new(client: &'c Client, chain: &'c TcpChain, cluster: &'c Rc<Cluster>) -> Self {
        let stats = &client.listener.stats;
        stats.tcp_cx_total.inc();
        stats.tcp_cx_active.inc();
        Self {
            client,
            chain,
            cluster,
            begun: Instant::now(),
            begun_at: SystemTime::now(),
            host: None,
            attempts: 0,
            received: Cell::new(0),
            sent: Cell::new(0),
            last: Cell::new(0),
        }
    }

    async fn run(&mut self, stream: &mut Stream) -> End {
        let client = self.client;
        let longest = Deadline::after_opt(self.chain.proxy.max_duration);
        let connected = client.timer.within(longest, self.connect()).await;
        let (_active, mut upstream) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(fault)) => return fault.into(),
            Err(_elapsed) => return self.too_long(),
        };
        let copying = self.both_ways(stream, &mut upstream);
        let end = match client.timer.within(longest, copying).await {
            Ok(end) => end,
            Err(_elapsed) => self.too_long(),
        };
        match end {
            End::Whole => drop(upstream),
            End::Fault(_) | End::TooLong => upstream.abort(),
        }
        end
    }

    fn too_long(&self) -> End {
        self.client.listener.stats.limit_tcp_max_duration.inc();
        End::TooLong
    }

    /// A connection to a host of the cluster: nothing has been sent yet, so that another host may always be tried.
    async fn connect(&mut self) -> Result<(Active, Upstream), Fault> {
        let Client { local, timer, .. } = self.client;
        let limit = self.chain.proxy.connect_attempts;
        let peer = self.client.peer();
        let server_name = peer.server_name.as_deref().map(str::as_bytes);
        let hash = match self.chain.proxy.hash {
            Some(TcpHash::Source) => peer.client.map(of_address),
            None => None,
        };
        let metadata = MetadataMatch::new(&self.chain.proxy.metadata_match);
        let mut search = Search::new(self.cluster);
        let mut last = None;
        loop {
            if !search.follow()
                && let Some(fault) = last
            {
                return Err(fault);
            }
            let cluster = search.cluster();
            let group = cluster.group(server_name, &peer)?;
            let ask = Ask {
                tried: search.tried(),
                hash,
                metadata,
                ..Ask::new(&local.rng)
            };
            let (slot, host) = match cluster.pick(&ask) {
                Ok(picked) => picked,
                Err(none) => return Err(last.unwrap_or(none)),
            };
            if self.attempts > 0 {
                cluster.stats.tcp_connect_retry.inc();
            }
            self.attempts += 1;
            self.host = Some(Rc::clone(&host.label));
            let places = cluster.admit(&host, Priority::Default)?;
            let active = Active::new(&host, places);
            let connected = cluster.connect(&host, group.as_ref(), timer).await;
            match &connected {
                // A connection that is made counts as an answer that is well.
                Ok(_made) => local.report(cluster.judge(&host, Some(200))),
                Err(fault) if fault.kind.side() == Side::Upstream => {
                    local.report(cluster.judge(&host, None));
                }
                Err(_ours) => {}
            }
            match connected {
                Ok(upstream) => return Ok((active, upstream)),
                // It went away while this waited: as if it had not been asked.
                Err(fault) if fault.retry == Retry::NotBegun => {
                    self.attempts -= 1;
                    continue;
                }
                Err(fault) if self.attempts >= limit => return Err(fault),
                Err(fault) => last = Some(fault),
            }
            search.note(slot);
        }
    }

    /// Copies until both directions have ended, one broke, or nothing moved for too long.
    async fn both_ways(&self, stream: &mut Stream, upstream: &mut Upstream) -> End {
        let Some((reader, writer)) = upstream.both() else {
            return Fault::new(FaultKind::Internal).into();
        };
        let stats = &self.client.listener.stats;
        let up = |bytes: usize| {
            self.moved(&self.received, bytes);
            stats.bytes_received.add(bytes as u64);
            self.cluster.stats.bytes_sent.add(bytes as u64);
        };
        let down = |bytes: usize| {
            self.moved(&self.sent, bytes);
            stats.bytes_sent.add(bytes as u64);
            self.cluster.stats.bytes_received.add(bytes as u64);
        };
        let pipes = &self.client.local.pipes;
        let up = relay(&mut stream.reader, writer, pipes, &up);
        let down = relay(reader, &mut stream.writer, pipes, &down);
        let both = try_both(
            async {
                up.await.map_err(|broken| match broken {
                    Broken::Reading(error) => client_gone(error),
                    Broken::Writing(error) => upstream_gone(error),
                })
            },
            async {
                down.await.map_err(|broken| match broken {
                    Broken::Reading(error) => upstream_gone(error),
                    Broken::Writing(error) => client_gone(error),
                })
            },
        );
        let mut both = std::pin::pin!(both);
        let idle = self.chain.proxy.idle_timeout;
        self.last.set(now_millis());
        loop {
            let before = self.last.get();
            let quiet = Duration::from_millis(now_millis().saturating_sub(before));
            let deadline = Deadline::after(idle.saturating_sub(quiet));
            match self.client.timer.within(deadline, both.as_mut()).await {
                Ok(Ok(())) => return End::Whole,
                Ok(Err(fault)) => return fault.into(),
                Err(_elapsed) if self.last.get() == before => {
                    stats.limit_tcp_idle_timeout.inc();
                    return Fault::new(FaultKind::IdleTimeout).into();
                }
                Err(_elapsed) => {}
            }
        }
    }

    fn moved(&self, sum: &Cell<u64>, bytes: usize) {
        sum.set(sum.get() + bytes as u64);
        self.last.set(now_millis());
    }

    /// Says what the connection came to.
    fn log(&self, end: &End) {
        let client = self.client;
        let (flag, details) = match end {
            End::Whole => ("-", "-"),
            End::TooLong => ("DT", "max_duration"),
            End::Fault(fault) if fault.kind.flag() == "UF" && self.attempts > 1 => {
                ("UF,URX", fault.kind.details())
            }
            End::Fault(fault) => (fault.kind.flag(), fault.kind.details()),
        };
        match end {
            End::Whole => {}
            End::TooLong => client.listener.stats.tcp_cx_reset.inc(),
            End::Fault(fault) => {
                client.listener.stats.tcp_cx_reset.inc();
                tracing::debug!(%fault, "a connection was not passed on whole");
            }
        }
        let outcome = Outcome {
            status: 0,
            flag,
            details,
            bytes_received: self.received.get(),
            bytes_sent: self.sent.get(),
            duration: self.begun.elapsed(),
            response_duration: None,
            upstream_service_time: None,
            cluster: Some(self.cluster.name.clone()),
            upstream_host: self.host.clone(),
            transport_failure: None,
            attempts: self.attempts,
            grpc_status: None,
        };
        let record = Record {
            peer: &client.peer(),
            started_at: self.begun_at,
            request: None,
            response: None,
            outcome: &outcome,
        };
        outcome::log(client, &record);
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.client.listener.stats.tcp_cx_active.dec();
    }
}

fn client_gone(error: std::io::Error) -> Fault {
    Fault::new(FaultKind::ClientGone).because(error)
}

fn upstream_gone(error: std::io::Error) -> Fault {
    Fault::new(FaultKind::Truncated).because(error)
}
