//! Probes of hosts that speak TLS: believed and shown as the cluster's connections are.

use ringway_config::{HealthCheck, Probe};
use ringway_engine::tls::ForProbes;
use ringway_engine::{ClusterSpec, HostSpec};
use tokio_rustls::TlsConnector;

use super::probe::{Connection, said};

/// How connections to a host are made secure; none: they are not. Or why they cannot be.
#[derive(Clone, Debug)]
pub(crate) struct Secure(Result<Option<ForProbes>, &'static str>);

impl Secure {
    /// As a cluster's are.
    pub(crate) fn of(cluster: &ClusterSpec, host: &HostSpec, config: &HealthCheck) -> Self {
        let named = match &config.probe {
            Probe::Http(probe) => probe.host.as_deref(),
            Probe::Grpc { authority, .. } => authority.as_deref(),
            Probe::Tcp { .. } => None,
        };
        Self(cluster.own_tls(host, named))
    }

    /// Whether both are made from the same configuration and files.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Ok(Some(a)), Ok(Some(b))) => a.is_same(b),
            (Ok(None), Ok(None)) => true,
            (Err(a), Err(b)) => a == b,
            (Ok(_), Ok(_) | Err(_)) | (Err(_), Ok(_)) => false,
        }
    }

    /// What URIs begin with.
    pub(super) fn scheme(&self) -> &'static str {
        match self.0 {
            Ok(None) => "http",
            Ok(Some(_)) | Err(_) => "https",
        }
    }

    /// Brings a connection under TLS for this protocol, if it is to be.
    pub(super) async fn wrap(
        &self,
        stream: Connection,
        alpn: &[&[u8]],
    ) -> Result<Connection, String> {
        let Some(tls) = self.0.as_ref().map_err(|why| (*why).to_owned())? else {
            return Ok(stream);
        };
        let (config, name) = tls.parts(alpn);
        let secure = TlsConnector::from(config).connect(name, stream).await;
        let secure = secure.map_err(said("no secure connection to it can be made"))?;
        Ok(Box::pin(secure))
    }
}
