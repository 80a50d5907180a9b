//! TLS towards the hosts of a cluster: who they must be, and what is spoken inside.

use ringway_config::EndpointAddress;

use super::{Cluster, Host, HostSpec, Speaks};
use crate::fault::{Fault, FaultKind};
use crate::net::{Stream, tls};
use crate::time::{Deadline, Timer};

/// How connections to a host are made secure.
pub(crate) struct HostTls {
    pub(super) client: tls::Client,
    pub(super) name: tls::ServerName,
}

impl Cluster {
    /// How connections to a host are to be made secure.
    pub(super) fn host_tls(&self, spec: &HostSpec) -> Option<HostTls> {
        let client = self.client.clone()?;
        let fixed = self.spec.config.tls.as_ref()?.server_name.as_deref();
        let name = match (fixed, &spec.endpoint.address) {
            (Some(name), _) => tls::ServerName::new(name),
            (None, EndpointAddress::Name(name, _)) => tls::ServerName::new(name),
            (None, EndpointAddress::Ip(address)) => tls::ServerName::new(&address.ip().to_string()),
            // Without a name there is nothing to hold it to; the configuration asks for one.
            (None, EndpointAddress::Unix(_)) => None,
        }?;
        Some(HostTls { client, name })
    }

    /// Brings a new connection under TLS, where the cluster asks for it.
    pub(super) async fn secure(
        &self,
        stream: &mut Stream,
        host: &Host,
        offer: &[Speaks],
        timer: &Timer,
    ) -> Result<(), Fault> {
        let Some(config) = &self.spec.config.tls else {
            return Ok(());
        };
        let Some(tls) = host.tls() else {
            return Err(Fault::new(FaultKind::TlsFailed));
        };
        let deadline = Deadline::after(config.handshake_timeout);
        let alpn: Vec<&[u8]> = offer.iter().map(|speaks| speaks.alpn()).collect();
        let handshake = Box::pin(tls::connect(stream, &tls.client, &tls.name, &alpn));
        match timer.within(deadline, handshake).await {
            Ok(Ok(())) => {
                self.stats.upstream_tls_handshakes.inc();
                if stream.facts().is_some_and(|facts| facts.resumed) {
                    self.stats.upstream_tls_resumed.inc();
                }
                if offer == [Speaks::Http2] && !is_agreed(stream, Speaks::Http2) {
                    // It chose otherwise before, or never: it is asked anew next time.
                    host.agree(None);
                    return Err(Fault::new(FaultKind::TlsFailed)
                        .because("the host does not agree on HTTP/2 (ALPN)"));
                }
                Ok(())
            }
            Ok(Err(error)) => {
                self.stats.upstream_tls_error.inc();
                Err(Fault::new(FaultKind::TlsFailed).because(error))
            }
            Err(_elapsed) => {
                self.stats.upstream_tls_timeout.inc();
                Err(Fault::new(FaultKind::TlsTimeout))
            }
        }
    }
}

/// Whether TLS agreed on a protocol.
pub(super) fn is_agreed(stream: &Stream, speaks: Speaks) -> bool {
    let facts = stream.facts();
    facts.is_some_and(|facts| facts.alpn.as_deref() == Some(speaks.alpn()))
}
