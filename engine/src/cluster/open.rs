//! A new connection to a host: reached, introduced, secured, and counted.

use std::time::Instant;

use ringway_config::UpstreamSocket;

use super::{Cluster, Host, Speaks};
use crate::fault::{Fault, FaultKind, Retry};
use crate::net::{ConnectError, Stream, connect_any};
use crate::time::{Deadline, Timer};

impl Cluster {
    /// A stream to the host, under TLS where the cluster asks for it, for one of these protocols; RPC protocols have no names there.
    pub(super) async fn open(
        &self,
        host: &Host,
        offer: &[Speaks],
        timer: &Timer,
    ) -> Result<Stream, Fault> {
        self.stats.upstream_cx_total.inc();
        host.stats.cx_total.inc();
        let deadline = Deadline::after(self.spec.config.connect_timeout);
        let begun = Instant::now();
        let reaching = reach(host, &self.spec.config.socket);
        let connected = timer.within(deadline, reaching).await;
        let fault = match connected {
            Ok(Ok(mut stream)) => match self.secure(&mut stream, host, offer, timer).await {
                Ok(()) => {
                    self.stats.upstream_cx_connect_time.record(begun.elapsed());
                    return Ok(stream);
                }
                Err(fault) => {
                    stream.close();
                    fault
                }
            },
            Ok(Err(error @ ConnectError::Refused(_))) => {
                Fault::new(FaultKind::ConnectRefused).because(error)
            }
            Ok(Err(error @ ConnectError::Failed(_))) => {
                Fault::new(FaultKind::ConnectFailed).because(error)
            }
            Err(_elapsed) => Fault::new(FaultKind::ConnectTimeout),
        };
        host.stats.cx_connect_fail.inc();
        if fault.kind == FaultKind::ConnectTimeout {
            self.stats.upstream_cx_connect_timeout.inc();
        } else {
            self.stats.upstream_cx_connect_fail.inc();
        }
        Err(fault.retry(Retry::Safe))
    }
}

/// A connection to a host, which has been told whose it is where it is to know.
async fn reach(host: &Host, options: &UpstreamSocket) -> Result<Stream, ConnectError> {
    let mut stream = connect_any(&host.addresses(), options).await?;
    if let Some(header) = &host.header {
        stream.writer.write_all(header.clone(), |_| ()).await?;
    }
    Ok(stream)
}
