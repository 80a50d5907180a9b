//! Lookups, by `hickory` on the control thread's runtime: hosts files, search lists and name servers as the system has them, or
//! the name servers of the configuration.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use ringway_config::Dns;
use tokio::task::JoinSet;

use super::{Answer, Families, Found, Had, Kind, Question, Service};

/// Tries of a lookup, each within its part of the lookup's time: a datagram that is lost is sent again.
const TRIES: u32 = 3;

/// Why a name has nothing.
#[derive(Clone, Debug)]
pub(crate) enum LookupError {
    /// The name servers said so, or none could be asked.
    Failed(Box<NetError>),
    /// They answered with nothing.
    Empty,
    /// They did not answer in time.
    Timeout,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Empty => f.write_str("no records"),
            Self::Timeout => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for LookupError {}

impl From<NetError> for LookupError {
    fn from(error: NetError) -> Self {
        if error.is_no_records_found() && !error.is_nx_domain() {
            Self::Empty
        } else {
            Self::Failed(Box::new(error))
        }
    }
}

/// Who looks names up.
#[derive(Clone)]
pub(crate) struct Resolver {
    /// Or why there is none.
    resolver: Result<TokioResolver, LookupError>,
    timeout: Duration,
}

impl Resolver {
    /// As the configuration wants it; what the system says is read anew.
    pub(crate) fn new(dns: &Dns) -> Self {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match dns.servers.is_empty() {
            true => TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system's name servers are not known");
                TokioResolver::builder_with_config(ResolverConfig::default(), provider)
            }),
            false => {
                let servers = dns.servers.iter().copied().map(server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                TokioResolver::builder_with_config(config, provider)
            }
        };
        options(builder.options_mut(), dns.timeout);
        Self {
            resolver: builder.build().map_err(LookupError::from),
            timeout: dns.timeout,
        }
    }

    fn resolver(&self) -> Result<&TokioResolver, LookupError> {
        self.resolver.as_ref().map_err(LookupError::clone)
    }

    /// What a name has now, which had addresses of these families. Each question to the name servers has the whole of the time.
    pub(crate) async fn lookup(
        &self,
        question: &Question,
        had: &Had,
    ) -> Result<Answer, LookupError> {
        match question.kind {
            Kind::Addresses => self.addresses(&question.name, had).await,
            Kind::Services => self.services(&question.name, had).await,
        }
    }

    async fn in_time<T>(
        &self,
        asking: impl Future<Output = Result<T, NetError>>,
    ) -> Result<T, LookupError> {
        let answer = tokio::time::timeout(self.timeout, asking).await;
        Ok(answer.map_err(|_elapsed| LookupError::Timeout)??)
    }

    /// The addresses in the order of the answer, each once.
    async fn ips(&self, name: &str, had: &Had) -> Result<(Vec<IpAddr>, Instant), LookupError> {
        let found = self.in_time(self.resolver()?.lookup_ip(name)).await?;
        let mut until = found.valid_until();
        let mut all: Vec<IpAddr> = found.iter().collect();
        let (now, had) = (Families::of(&all), had.of(name));
        for (kind, missing) in [
            (RecordType::A, had.ipv4 && !now.ipv4),
            (RecordType::AAAA, had.ipv6 && !now.ipv6),
        ] {
            if missing {
                let (more, good) = self.family(found.query().name(), kind).await?;
                until = good.map_or(until, |good| until.min(good));
                all.extend(more);
            }
        }
        let mut seen = HashSet::new();
        all.retain(|ip| seen.insert(*ip));
        if all.is_empty() {
            return Err(LookupError::Empty);
        }
        Ok((all, until))
    }

    /// A name's addresses of a family that was missing in its answer. A lookup of both families is content with one where the other
    /// fails, which would take half of the hosts away: so that one is asked for by itself, and if it fails, the lookup does.
    async fn family(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<(Vec<IpAddr>, Option<Instant>), LookupError> {
        let found = self
            .in_time(self.resolver()?.lookup(name.clone(), kind))
            .await;
        match found {
            Ok(found) => {
                let answers = found.answers().iter();
                let ips = answers.filter_map(|record| record.data.ip_addr());
                Ok((ips.collect(), Some(found.valid_until())))
            }
            Err(LookupError::Empty) => Ok((Vec::new(), None)),
            Err(LookupError::Failed(error)) if error.is_nx_domain() => Ok((Vec::new(), None)),
            Err(error) => Err(error),
        }
    }

    async fn addresses(&self, name: &str, had: &Had) -> Result<Answer, LookupError> {
        let (addresses, until) = self.ips(name, had).await?;
        Ok(Answer {
            found: Found::Addresses(addresses),
            lives: until.saturating_duration_since(Instant::now()),
        })
    }

    /// Services, and of each what was found of where it is.
    async fn services(&self, name: &str, had: &Had) -> Result<Answer, LookupError> {
        let found = self.in_time(self.resolver()?.srv_lookup(name)).await?;
        let mut until = found.valid_until();
        let mut lookups = JoinSet::new();
        for record in found.answers() {
            let RData::SRV(service) = &record.data else {
                continue;
            };
            // A target of `.` says that there is none (RFC 2782).
            if service.target.is_root() {
                continue;
            }
            let (this, had, service) = (self.clone(), had.clone(), service.clone());
            lookups.spawn_local(async move {
                let target = service.target.to_utf8();
                let found = this.ips(&target, &had).await;
                (service, target, found)
            });
        }
        let mut services = Vec::new();
        while let Some(done) = lookups.join_next().await {
            let Ok((service, target, found)) = done else {
                continue;
            };
            if let Ok((_, good)) = &found {
                until = until.min(*good);
            }
            services.push(Service {
                priority: service.priority,
                weight: service.weight,
                port: service.port,
                target,
                addresses: found.map(|(addresses, _)| addresses),
            });
        }
        if services.is_empty() {
            return Err(LookupError::Empty);
        }
        Ok(Answer {
            found: Found::Services(services),
            lives: until.saturating_duration_since(Instant::now()),
        })
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

fn options(options: &mut ResolverOpts, timeout: Duration) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Names are asked for when they are due; an answer from a store would be an old one.
    options.cache_size = 0;
    options.timeout = timeout / TRIES;
    options.attempts = TRIES as usize - 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_found() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let found = runtime.block_on(async {
            let resolver = Resolver::new(&Dns::default());
            let question = Question {
                name: "localhost".to_owned(),
                kind: Kind::Addresses,
            };
            resolver.lookup(&question, &Had::default()).await.unwrap()
        });
        let Found::Addresses(addresses) = found.found else {
            panic!("addresses");
        };
        assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback));
    }
}
