//! A site of one listener `web` that forwards everything to one cluster `up`, and what a case wants otherwise: most cases need
//! no more of a configuration than the one key that they are about.

use std::net::SocketAddr;

use crate::proxy::{Driver, Proxy};

/// The site, to be started or taken as text.
#[derive(Clone, Debug)]
pub struct Site {
    addrs: Vec<SocketAddr>,
    listener: String,
    route: String,
    cluster: String,
}

impl Site {
    /// To these addresses, with every default.
    pub fn to(addrs: &[SocketAddr]) -> Self {
        Self {
            addrs: addrs.to_vec(),
            listener: String::new(),
            route: String::new(),
            cluster: String::new(),
        }
    }

    /// Keys of the listener, as `max_connections: 3`.
    #[must_use]
    pub fn listener(mut self, keys: &str) -> Self {
        self.listener += &format!("    {keys}\n");
        self
    }

    /// Limits of the listener, as `idle_timeout: 1s`.
    #[must_use]
    pub fn limits(self, keys: &str) -> Self {
        self.listener(&format!("limits: {{ {keys} }}"))
    }

    /// Keys of the route, as `timeout: 1s, retry: { retries: 0 }`.
    #[must_use]
    pub fn route(mut self, keys: &str) -> Self {
        self.route += &format!(", {keys}");
        self
    }

    /// No tries after the first.
    #[must_use]
    pub fn one_try(self) -> Self {
        self.route("retry: { retries: 0 }")
    }

    /// Keys of the cluster, as `connect_timeout: 1s`.
    #[must_use]
    pub fn cluster(mut self, keys: &str) -> Self {
        if !keys.is_empty() {
            self.cluster += &format!("{keys}, ");
        }
        self
    }

    /// The configuration.
    pub fn text(&self) -> String {
        let Self {
            addrs,
            listener,
            route,
            cluster,
        } = self;
        let addrs: Vec<String> = addrs.iter().map(|addr| format!("\"{addr}\"")).collect();
        let addrs = addrs.join(", ");
        format!(
            "listeners:\n  - name: web\n    address: 127.0.0.1:0\n{listener}    routes:\n      \
             - {{ match: {{ prefix: / }}, cluster: up{route} }}\n\
             clusters:\n  - {{ name: up, {cluster}endpoints: [{addrs}] }}\n"
        )
    }

    /// Starts a proxy on it.
    #[track_caller]
    pub fn start(&self, driver: Driver) -> Proxy {
        Proxy::start(driver, &self.text())
    }
}
