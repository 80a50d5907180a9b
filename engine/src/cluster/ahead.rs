//! Connections made before they are needed: while requests are in flight at a host, some more are kept ready, so that one
//! that comes beside them waits for no handshake.
//!
//! They are asked for by the request that was given its place, and made beside it. They never wait for anything under a
//! limit, and never for longer than any connection may take.

use std::rc::Rc;

use ringway_protocols::message::Version;

use super::pool::http1::Places;
use super::{Cluster, Connection, Host, Speaks};
use crate::net::spawn;
use crate::time::Timer;

/// One request begins no more at once: what a burst needs comes with the burst's own requests (Envoy has the same number).
const AT_ONCE: usize = 3;

/// A connection of HTTP/1 that is being made, counted at its host.
struct Coming(Rc<Host>);

impl Coming {
    fn new(host: &Rc<Host>) -> Self {
        host.coming.set(host.coming.get() + 1);
        Self(Rc::clone(host))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.set(self.0.coming.get() - 1);
    }
}

impl Cluster {
    /// A request of that version has its place at a host: has some more made ready there, as `pool.preconnect` says.
    pub(crate) fn anticipate(self: &Rc<Self>, host: &Rc<Host>, client: Version) {
        let part = usize::from(self.spec.config.pool.preconnect.basis_points());
        if part == 0 || host.is_retired() {
            return;
        }
        // It is counted among those in flight from when it is sent on.
        let wanted = ((host.active() as usize + 1) * part).div_ceil(10_000);
        match self.speaks(client).or(host.agreed()) {
            Some(Speaks::Http1) => self.make_http1(host, wanted),
            Some(Speaks::Http2) => self.make_http2(host, wanted),
            // Its first connection is not there yet.
            None => {}
        }
    }

    fn make_http1(self: &Rc<Self>, host: &Rc<Host>, wanted: usize) {
        let pool = &self.spec.config.pool;
        let wanted = wanted.min(pool.max_idle as usize);
        let ready = host.http1.len() + host.coming.get();
        for _ in 0..wanted.saturating_sub(ready).min(AT_ONCE) {
            let Some(places) = self.spare_places(host) else {
                return;
            };
            let (this, coming) = (Rc::clone(self), Coming::new(host));
            spawn(async move {
                let timer = Timer::new();
                let opened = this.open(&coming.0, &[Speaks::Http1], &timer).await;
                // Why one was not made is counted, and the next request hears it for itself.
                if let Ok(stream) = opened {
                    this.stats.upstream_cx_preconnect.inc();
                    let mut connection = Connection::new(stream, &coming.0, places);
                    connection.keep(&this.spec.config.pool);
                    drop(connection);
                    this.made_room();
                }
            });
        }
    }

    fn make_http2(self: &Rc<Self>, host: &Rc<Host>, wanted: usize) {
        let Some(connecting) = host.http2.ahead(wanted, &self.spec.config.http2) else {
            return;
        };
        let Some(places) = self.spare_places(host) else {
            return;
        };
        let (this, host) = (Rc::clone(self), Rc::clone(host));
        spawn(async move {
            let timer = Timer::new();
            if let Ok(stream) = this.open(&host, &[Speaks::Http2], &timer).await {
                this.stats.upstream_cx_preconnect.inc();
                // The place that comes with it is for whoever is next.
                let opened = (stream, places);
                drop(connecting.open(opened, &host, &this.spec.config).await);
            }
        });
    }

    /// Places under the limits that nobody waits for.
    fn spare_places(&self, host: &Host) -> Option<Places> {
        let limit = self.spec.config.limits.host_connections;
        let place = limit.map(|limit| host.state().connect(limit));
        let place = place.transpose().ok()?;
        if !self.gate.counts_connections() {
            return Some((None, place));
        }
        let permit = self.gate.try_connect()?;
        Some((Some(permit), place))
    }
}
