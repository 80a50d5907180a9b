//! Which route takes a request, and what it makes of it. Pure: no I/O, no clock, and nothing allocated to find a route.
//!
//! ```text
//!  authority → Hosts → virtual host → Trie(path) → candidates in order → Matcher: the first that holds
//! ```
//!
//! A table is compiled once per snapshot. What is large is shared by all cores and never written; what carries a count of
//! references or scratch space (names, answers, regular expressions) each core has for itself, by [`Router::for_core`].

mod action;
mod hosts;
mod matcher;
mod normalize;
mod redirect;
mod regexes;
mod rewrite;
mod scratch;
mod trie;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use ringway_config::{self as config, Name, PathError, PathMatch, PathNormalize, RouteTable};
use ringway_protocols::message::RequestHead;

use self::hosts::Hosts;
use self::matcher::{Matcher, Subject};
use self::regexes::{Collector, Regexes};
use self::trie::Trie;
use crate::header_ops::HeaderOps;
use crate::observe::access_log::When;
use crate::request::LocalReply;

pub use self::action::{Action, ClusterRef, Forward, Weighted};
pub use self::normalize::{BadPath, normalize};
pub use self::redirect::Redirect;

/// A compiled route table.
#[derive(Debug)]
pub struct Router {
    index: Arc<Index>,
    regexes: Regexes,
    routes: Box<[Route]>,
    clusters: Box<[Name]>,
}

/// How routes are found: the same for every core.
#[derive(Debug)]
struct Index {
    path_normalize: PathNormalize,
    merge_slashes: bool,
    hosts: Hosts,
    /// One for each virtual host.
    tries: Box<[Trie]>,
    /// One for each route.
    matchers: Box<[Matcher]>,
}

/// One compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its place in [`Router::routes`], counted through all virtual hosts.
    pub index: u32,
    /// Its place in the table, as `virtual_hosts[0].routes[3]`.
    pub place: Arc<str>,
    /// Its name, for logs.
    pub name: Option<Name>,
    /// Its virtual host's name.
    pub virtual_host: Name,
    /// What becomes of the request.
    pub action: Action,
    /// Changes of the request's fields.
    pub request_headers: Arc<HeaderOps>,
    /// Changes of the answer's fields.
    pub response_headers: Arc<HeaderOps>,
    /// Its filters, as configured.
    pub filters: Arc<[config::Filter]>,
}

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Route,
    regexes: &'a Regexes,
}

/// What a route's path match says of the paths that it takes, for rewrites of "the prefix".
#[derive(Debug)]
enum Matched {
    /// They begin with this, and it is what a prefix rewrite replaces.
    Literal(Box<[u8]>),
    Regex,
}

impl Router {
    /// Compiles a table, or returns all that is wrong with it; paths are relative to the table.
    pub fn build(table: &RouteTable) -> Result<Self, Vec<PathError>> {
        let mut errors = Vec::new();
        let hosts = Hosts::build(&table.virtual_hosts, &mut errors);
        let mut builder = Builder {
            table,
            regexes: Collector::default(),
            clusters: Vec::new(),
            routes: Vec::new(),
            matchers: Vec::new(),
            errors,
        };
        let tries = table
            .virtual_hosts
            .iter()
            .enumerate()
            .map(|(at, host)| builder.virtual_host(host, &format!("virtual_hosts[{at}]")))
            .collect();
        if !builder.errors.is_empty() {
            return Err(builder.errors);
        }
        Ok(Self {
            index: Arc::new(Index {
                path_normalize: table.path_normalize,
                merge_slashes: table.merge_slashes,
                hosts,
                tries,
                matchers: builder.matchers.into_boxed_slice(),
            }),
            regexes: builder.regexes.finish(),
            routes: builder.routes.into_boxed_slice(),
            clusters: builder.clusters.into_boxed_slice(),
        })
    }

    /// A core's own: it shares with others only what is never written, not even by a count of references.
    #[must_use]
    pub fn for_core(&self) -> Self {
        Self {
            index: Arc::clone(&self.index),
            regexes: self.regexes.clone(),
            routes: self.routes.iter().map(Route::for_core).collect(),
            clusters: self.clusters.iter().map(action::fresh_name).collect(),
        }
    }

    /// The target as it is to be matched and forwarded; `None` if it is so already.
    pub fn normalize(&self, target: &[u8]) -> Result<Option<Bytes>, BadPath> {
        normalize(target, self.index.path_normalize, self.index.merge_slashes)
    }

    /// The first route of the request's virtual host that takes it. The target has been normalized.
    pub fn find(&self, head: &RequestHead) -> Option<Found<'_>> {
        let host = self.index.hosts.find(&head.authority)?;
        let trie = self.index.tries.get(host as usize)?;
        let subject = Subject::of(head);
        let route = trie.candidates(subject.path).find(|route| {
            let matcher = self.index.matchers.get(*route as usize);
            matcher.is_some_and(|matcher| matcher.takes(&subject, &self.regexes))
        })?;
        self.route(route)
    }

    /// A route by its index.
    pub fn route(&self, index: u32) -> Option<Found<'_>> {
        let route = self.routes.get(index as usize)?;
        Some(Found {
            route,
            regexes: &self.regexes,
        })
    }

    /// All routes, by index.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The clusters that the table refers to, each once: what [`ClusterRef::index`] counts.
    pub fn clusters(&self) -> &[Name] {
        &self.clusters
    }
}

impl Route {
    fn for_core(&self) -> Self {
        Self {
            index: self.index,
            place: Arc::clone(&self.place),
            name: self.name.as_ref().map(action::fresh_name),
            virtual_host: action::fresh_name(&self.virtual_host),
            action: self.action.for_core(),
            request_headers: Arc::clone(&self.request_headers),
            response_headers: Arc::clone(&self.response_headers),
            filters: Arc::clone(&self.filters),
        }
    }
}

impl Found<'_> {
    /// The target that goes upstream; `None` if it is the request's own. An error is answered with 400.
    pub fn rewrite(&self, target: &[u8]) -> Result<Option<Bytes>, BadPath> {
        match &self.route.action {
            Action::Forward(Forward {
                rewrite: Some(rewrite),
                ..
            }) => rewrite.apply(target, self.regexes),
            Action::Forward(_) | Action::Respond(_) | Action::Redirect(_) => Ok(None),
        }
    }

    /// The answer of a route that redirects, to a request that came by `scheme` (`http` or `https`); `None` of any other.
    pub fn redirect(&self, head: &RequestHead, scheme: &str) -> Option<LocalReply> {
        match &self.route.action {
            Action::Redirect(redirect) => Some(redirect.reply(head, scheme)),
            Action::Forward(_) | Action::Respond(_) => None,
        }
    }
}

struct Builder<'a> {
    table: &'a RouteTable,
    regexes: Collector,
    clusters: Vec<Name>,
    routes: Vec<Route>,
    matchers: Vec<Matcher>,
    errors: Vec<PathError>,
}

impl Builder<'_> {
    fn virtual_host(&mut self, host: &config::VirtualHost, place: &str) -> Trie {
        let first = self.matchers.len();
        for (at, route) in host.routes.iter().enumerate() {
            // A broken route leaves a gap, which no one sees: with errors there is no router.
            self.route(route, &host.name, &format!("{place}.routes[{at}]"));
        }
        Trie::build(
            (0_u32..)
                .zip(&self.matchers)
                .skip(first)
                .map(|(route, matcher)| {
                    let (literal, reach) = matcher.literal();
                    (route, literal, reach)
                }),
        )
    }

    fn route(&mut self, route: &config::Route, host: &Name, place: &str) {
        let matcher = matcher::Builder {
            table: self.table,
            regexes: &mut self.regexes,
            errors: &mut self.errors,
        }
        .build(&route.matches, &format!("{place}.match"));
        let action = action::Builder {
            strict: self.table.path_normalize == PathNormalize::Strict,
            clusters: &mut self.clusters,
            regexes: &mut self.regexes,
            errors: &mut self.errors,
        }
        .build(&route.action, &Matched::of(&route.matches.path), place);
        let mut headers = |ops, when, key| {
            Arc::new(HeaderOps::compile(
                ops,
                when,
                &format!("{place}.{key}"),
                &mut self.errors,
            ))
        };
        let request_headers = headers(&route.request_headers, When::Request, "request_headers");
        let response_headers = headers(&route.response_headers, When::Response, "response_headers");
        let (Some(matcher), Some(action)) = (matcher, action) else {
            return;
        };
        self.matchers.push(matcher);
        self.routes.push(Route {
            index: self.routes.len() as u32,
            place: place.into(),
            name: route.name.clone(),
            virtual_host: host.clone(),
            action,
            request_headers,
            response_headers,
            filters: route.filters.clone().into(),
        });
    }
}

impl Matched {
    fn of(path: &PathMatch) -> Self {
        match path {
            PathMatch::Exact(text) | PathMatch::StartsWith(text) => {
                Self::Literal(text.as_bytes().into())
            }
            // Without its last slash, so that `/api/` is taken off `/api` too, and what is left begins with a slash.
            PathMatch::Prefix(text) => {
                Self::Literal(text.strip_suffix('/').unwrap_or(text).as_bytes().into())
            }
            PathMatch::Regex(_) => Self::Regex,
        }
    }
}
