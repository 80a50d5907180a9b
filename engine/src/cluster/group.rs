//! Connections that are kept apart: by the name that TLS asks for, where that is the request's, and by the client that the PROXY
//! protocol names. What was said at a connection's beginning is true of all that goes over it.
//!
//! A group of a host is a `Host` of its own, with pools of its own; what is counted and what is picked is the host. There are so
//! many groups as `pool.groups` says; for one more, that one ends which was unused for longest.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use ringway_config::{EndpointAddress, Pool, ProxyField, ProxyVersion, SendProxy, UpstreamName};
use ringway_protocols::proxy_protocol::{self as proxy, Ends, Ssl, Tlv, tlv};

use super::{Cluster, ClusterSpec, Host, HostSpec};
use crate::fault::{Fault, FaultKind};
use crate::net::tls;
use crate::request::{Peer, PeerAddr};

const NO_NAME: &str = "there is no name to ask the server for";

/// What is said at the beginning of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    /// The name that TLS asks for.
    pub(super) name: Option<tls::ServerName>,
    /// The PROXY header.
    pub(super) header: Option<Bytes>,
}

/// A host's groups.
#[derive(Default)]
pub(super) struct Groups {
    members: RefCell<HashMap<Rc<Group>, Member>>,
    /// Uses so far: which of two was used later is told within a millisecond too.
    uses: Cell<u64>,
}

struct Member {
    host: Rc<Host>,
    /// The number of its last use.
    used: Cell<u64>,
}

impl Groups {
    /// The host of a group; made by `new` when it is first asked for.
    pub(super) fn host(
        &self,
        group: &Rc<Group>,
        max: u32,
        new: impl FnOnce() -> Host,
    ) -> (Rc<Host>, Option<Rc<Host>>) {
        let mut groups = self.members.borrow_mut();
        let now = self.uses.get() + 1;
        self.uses.set(now);
        if let Some(member) = groups.get(group) {
            member.used.set(now);
            return (Rc::clone(&member.host), None);
        }
        let mut ended = None;
        if groups.len() >= max as usize {
            let oldest = groups.iter().min_by_key(|(_, member)| member.used.get());
            let oldest = oldest.map(|(group, _)| Rc::clone(group));
            ended = oldest.and_then(|oldest| groups.remove(&oldest));
        }
        let member = Member {
            host: Rc::new(new()),
            used: Cell::new(now),
        };
        let host = Rc::clone(&member.host);
        groups.insert(Rc::clone(group), member);
        (host, ended.map(|member| member.host))
    }

    /// Closes what was kept too long, and forgets groups of which nothing is left.
    pub(super) fn sweep(&self, pool: &Pool) {
        self.members.borrow_mut().retain(|_, member| {
            member.host.sweep(pool);
            !member.host.is_unused() || Rc::strong_count(&member.host) > 1
        });
    }

    /// Closes a connection that is idle in one of them, if there is one.
    pub(super) fn close_one(&self) -> bool {
        let groups = self.members.borrow();
        groups.values().any(|member| member.host.close_one())
    }

    /// Closes what is kept, and keeps nothing more.
    pub(super) fn retire(&self) {
        for (_, member) in self.members.take() {
            member.host.retire();
        }
    }
}

impl Cluster {
    /// The group of a connection for a client, and for the host of its request if it has one. None: connections serve anybody.
    pub(crate) fn group(
        &self,
        host: Option<&[u8]>,
        peer: &Peer,
    ) -> Result<Option<Rc<Group>>, Fault> {
        let config = &self.spec.config;
        let by_name = config
            .tls
            .as_ref()
            .is_some_and(|tls| tls.server_name == UpstreamName::Host);
        if !by_name && config.proxy_protocol.is_none() {
            return Ok(None);
        }
        let name = match host.filter(|host| by_name && !host.is_empty()) {
            Some(host) => {
                let name = server_name(host);
                Some(name.map_err(|why| Fault::new(FaultKind::TlsFailed).because(why))?)
            }
            None => None,
        };
        let header = match &config.proxy_protocol {
            Some(sent) => Some(header(sent, peer)?),
            None => None,
        };
        Ok(Some(Rc::new(Group { name, header })))
    }
}

impl ClusterSpec {
    /// How a probe of a host is made secure, if the cluster's connections are: held to the name that all are held to, else to the
    /// one that the probe asks for, else to the endpoint's own. An error is a sentence.
    pub fn own_tls(
        &self,
        host: &HostSpec,
        named: Option<&str>,
    ) -> Result<Option<tls::ForProbes>, &'static str> {
        let (Some((client, _)), Some(config)) = (&self.tls, &self.config.tls) else {
            return Ok(None);
        };
        let name = match (&config.server_name, named) {
            (UpstreamName::Fixed(name), _) => tls::ServerName::new(name),
            (UpstreamName::Host, Some(named)) => Some(server_name(named.as_bytes())?),
            (UpstreamName::Host, None) | (UpstreamName::Endpoint, _) => {
                name_of(&host.endpoint.address)
            }
        };
        let name = name.ok_or(NO_NAME)?;
        Ok(Some(client.for_probes(name)))
    }

    /// What hosts are told first on a connection of the proxy's own, such as a probe's; empty: nothing.
    pub fn own_header(&self) -> Vec<u8> {
        let sent = self.config.proxy_protocol.as_ref();
        sent.map_or_else(Vec::new, |sent| proxy::write_local(version(sent)))
    }
}

/// The name in an authority.
fn server_name(authority: &[u8]) -> Result<tls::ServerName, &'static str> {
    let end = authority.iter().rposition(|byte| *byte == b':');
    let port = |at: &usize| authority[at + 1..].iter().all(u8::is_ascii_digit);
    let host = end.filter(port).map_or(authority, |end| &authority[..end]);
    let name = std::str::from_utf8(host).ok();
    let name = name.and_then(|name| tls::ServerName::new(&name.to_ascii_lowercase()));
    name.ok_or(NO_NAME)
}

/// What the host is told of the client.
fn header(sent: &SendProxy, peer: &Peer) -> Result<Bytes, Fault> {
    let checksum = sent.fields.contains(&ProxyField::Crc32c);
    let (ends, fields) = (ends(peer), fields(sent, peer));
    let written = proxy::write(version(sent), ends.as_ref(), &fields, checksum);
    let header = written.map_err(|error| Fault::new(FaultKind::Internal).because(error))?;
    Ok(header.into())
}

fn version(sent: &SendProxy) -> proxy::ProxyVersion {
    match sent.version {
        ProxyVersion::V1 => proxy::ProxyVersion::V1,
        ProxyVersion::V2 => proxy::ProxyVersion::V2,
    }
}

fn ends(peer: &Peer) -> Option<Ends> {
    match (&peer.remote, &peer.local) {
        (PeerAddr::Ip(source), PeerAddr::Ip(destination)) => Some(Ends::Tcp {
            source: *source,
            destination: *destination,
        }),
        (PeerAddr::Unix(source), PeerAddr::Unix(destination)) => Some(Ends::Unix {
            source: source.as_bytes().to_vec(),
            destination: destination.as_bytes().to_vec(),
        }),
        (PeerAddr::Ip(_), PeerAddr::Unix(_)) | (PeerAddr::Unix(_), PeerAddr::Ip(_)) => None,
    }
}

fn fields(sent: &SendProxy, peer: &Peer) -> Vec<Tlv> {
    let mut tlvs = Vec::new();
    let mut add = |kind: u8, value: &[u8]| {
        if !value.is_empty() {
            let value = value.to_vec();
            tlvs.push(Tlv { kind, value });
        }
    };
    for field in &sent.fields {
        match (field, &peer.tls) {
            (ProxyField::Authority, _) => {
                let name = peer.server_name.as_deref().unwrap_or_default();
                add(tlv::AUTHORITY, name.as_bytes());
            }
            (ProxyField::Alpn, Some(tls)) => {
                add(tlv::ALPN, tls.alpn.as_deref().unwrap_or_default());
            }
            (ProxyField::Ssl, Some(tls)) => {
                let ssl = Ssl {
                    version: tls.version.map(ringway_config::TlsVersion::protocol),
                    cipher: tls.cipher.map(ringway_config::Cipher::name),
                    verified: tls.peer.is_some(),
                    common_name: tls
                        .peer
                        .as_ref()
                        .and_then(|peer| common_name(&peer.subject)),
                };
                add(tlv::SSL, &ssl.tlv().value);
            }
            (ProxyField::Alpn | ProxyField::Ssl, None)
            | (ProxyField::Received | ProxyField::Crc32c, _) => {}
        }
    }
    if sent.fields.contains(&ProxyField::Received) {
        let received = peer.proxied.iter().flat_map(|proxied| &proxied.tlvs);
        let own: Vec<u8> = tlvs.iter().map(|tlv| tlv.kind).collect();
        tlvs.extend(received.filter(|tlv| !own.contains(&tlv.kind)).cloned());
    }
    tlvs
}

/// The common name of a subject as RFC 2253 writes it, where it is one that needs no escaping.
fn common_name(subject: &str) -> Option<&str> {
    let mut parts = subject.split(',').map(str::trim);
    let name = parts.find_map(|part| part.strip_prefix("CN="))?;
    (!name.contains(['\\', '"', '+'])).then_some(name)
}

impl Host {
    /// This host for the connections of a group.
    pub(super) fn in_group(&self, group: &Rc<Group>, max: u32) -> Rc<Self> {
        if self.is_retired() {
            return self.apart(group);
        }
        let (host, ended) = self.groups.host(group, max, || self.of_group(group));
        if let Some(ended) = ended {
            self.cluster.upstream_cx_groups_closed.inc();
            ended.retire();
        }
        host
    }

    /// This host for one connection of a group, which is not kept.
    pub(super) fn apart(&self, group: &Rc<Group>) -> Rc<Self> {
        let host = self.of_group(group);
        host.retire();
        Rc::new(host)
    }
}

/// The name that hosts of an endpoint are asked for where nothing else is said. Without one there is nothing to hold them to.
pub(super) fn name_of(address: &EndpointAddress) -> Option<tls::ServerName> {
    match address {
        EndpointAddress::Name(name, _) => tls::ServerName::new(name),
        EndpointAddress::Ip(address) => tls::ServerName::new(&address.ip().to_string()),
        EndpointAddress::Unix(_) => None,
    }
}
