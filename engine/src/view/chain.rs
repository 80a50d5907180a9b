//! A core's side of a chain: what its connections carry, and where it goes.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringway_config::{Name, Service, TcpProxy};

use super::Table;
use crate::cluster::Cluster;
use crate::filter::Chain;
use crate::rng::Rng;
use crate::snapshot::ChainSpec;

/// A core's side of a chain.
pub(crate) enum LiveChain {
    /// Its connections carry requests.
    Http(HttpChain),
    /// Their bytes are passed on.
    Tcp(TcpChain),
}

/// Requests, to be routed.
pub(crate) struct HttpChain {
    pub(crate) table: Rc<Table>,
    /// Its filters and then those of each route, by the index of the route.
    filters: Vec<Chain>,
}

/// Bytes, to be passed on.
pub(crate) struct TcpChain {
    pub(crate) proxy: TcpProxy,
    /// Each with the sum of the weights up to its own.
    clusters: Vec<(u64, Rc<Cluster>)>,
}

impl LiveChain {
    /// The live side of a chain. None where what it refers to is not there, which a sound configuration rules out.
    pub(super) fn new(
        spec: &ChainSpec,
        tables: &BTreeMap<Name, Rc<Table>>,
        clusters: &BTreeMap<Name, Rc<Cluster>>,
    ) -> Option<Self> {
        match &spec.service {
            Service::Routes(name) => {
                let table = tables.get(name).cloned()?;
                let routes = table.spec.filters.iter();
                let filters = routes.map(|route| Chain::new(&spec.filters, route));
                Some(Self::Http(HttpChain {
                    filters: filters.collect(),
                    table,
                }))
            }
            Service::Tcp(proxy) => TcpChain::new(proxy, clusters).map(Self::Tcp),
        }
    }

    /// Whether it refers to the same tables and clusters as another made from the same configuration.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(a), Self::Http(b)) => Rc::ptr_eq(&a.table, &b.table),
            (Self::Tcp(a), Self::Tcp(b)) => {
                let mut pairs = a.clusters.iter().zip(&b.clusters);
                pairs.all(|((_, a), (_, b))| Rc::ptr_eq(a, b))
            }
            (Self::Http(_), Self::Tcp(_)) | (Self::Tcp(_), Self::Http(_)) => false,
        }
    }

    /// Its routes, if its connections carry requests.
    pub(crate) fn http(&self) -> Option<&HttpChain> {
        match self {
            Self::Http(chain) => Some(chain),
            Self::Tcp(_) => None,
        }
    }

    /// Where its bytes go, if they are passed on.
    pub(crate) fn tcp(&self) -> Option<&TcpChain> {
        match self {
            Self::Http(_) => None,
            Self::Tcp(chain) => Some(chain),
        }
    }
}

impl HttpChain {
    /// The filters of a route.
    pub(crate) fn filters(&self, route: u32) -> Option<&Chain> {
        self.filters.get(route as usize)
    }
}

impl TcpChain {
    fn new(proxy: &TcpProxy, clusters: &BTreeMap<Name, Rc<Cluster>>) -> Option<Self> {
        let mut sum = 0;
        let mut list = Vec::with_capacity(proxy.clusters.len());
        for choice in proxy.clusters.iter().filter(|choice| choice.weight > 0) {
            sum += u64::from(choice.weight);
            list.push((sum, Rc::clone(clusters.get(&choice.cluster)?)));
        }
        Some(Self {
            proxy: proxy.clone(),
            clusters: list,
        })
    }

    /// The cluster for a connection, by weight.
    pub(crate) fn choose(&self, rng: &Rng) -> Option<&Rc<Cluster>> {
        let point = match self.clusters.as_slice() {
            [_] => 0,
            [.., (total, _)] => rng.below(*total),
            [] => return None,
        };
        let at = self.clusters.partition_point(|(sum, _)| *sum <= point);
        self.clusters.get(at).map(|(_, cluster)| cluster)
    }
}
