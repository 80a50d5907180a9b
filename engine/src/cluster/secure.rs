//! TLS towards the hosts of a cluster: who they must be, and what is spoken inside.

use ringway_config::UpstreamName;

use super::group::name_of;
use super::{Cluster, Host, HostSpec, Speaks};
use crate::fault::{Fault, FaultKind};
use crate::net::{Stream, tls};
use crate::time::{Deadline, Timer};

/// How connections to a host are made secure.
#[derive(Clone)]
pub(crate) struct HostTls {
    pub(super) client: tls::Client,
    /// None: nothing is known to ask for but by the request.
    pub(super) name: Option<tls::ServerName>,
}

impl Cluster {
    /// How connections to a host are to be made secure.
    pub(super) fn host_tls(&self, spec: &HostSpec) -> Option<HostTls> {
        let client = self.client.clone()?;
        let name = match &self.spec.config.tls.as_ref()?.server_name {
            UpstreamName::Fixed(name) => tls::ServerName::new(name),
            UpstreamName::Endpoint | UpstreamName::Host => name_of(&spec.endpoint.address),
        };
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
        let Some((tls, name)) = host.tls().and_then(|tls| Some((tls, tls.name.as_ref()?))) else {
            return Err(Fault::new(FaultKind::TlsFailed).because("there is no name to ask it for"));
        };
        let deadline = Deadline::after(config.handshake_timeout);
        let alpn: Vec<&[u8]> = offer.iter().map(|speaks| speaks.alpn()).collect();
        let handshake = Box::pin(tls::connect(stream, &tls.client, name, &alpn));
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
