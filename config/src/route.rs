//! Which request goes where: route tables, virtual hosts, routes, matches and actions.

use std::time::Duration;

use crate::{ByteSize, Domain, Filter, HashKey, Name, Pattern, Percent, Priority};

/// A table of virtual hosts that chains refer to by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// Its name; of an inline table, its listener's (and `#n` for the nth chain but the first).
    pub name: Name,
    /// How paths are made plain before they are matched and forwarded.
    pub path_normalize: PathNormalize,
    /// Whether `//` in a path becomes `/`. Default false.
    pub merge_slashes: bool,
    /// The hosts it answers for. A request for none of them is a 404.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// How paths are made plain before they are matched and forwarded: what routes match is what upstreams get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PathNormalize {
    /// Decode unreserved `%XX`, resolve dot segments, refuse encoded `/`, `\`, NUL and `#` with 400.
    #[default]
    Strict,
    /// Leave the path as it came.
    Off,
}

/// The routes of some domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualHost {
    /// Its name, in logs.
    pub name: Name,
    /// The hosts it answers for.
    pub domains: Vec<Domain>,
    /// Tried in order; the first match wins.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in logs; absent: none.
    pub name: Option<Name>,
    /// Which requests.
    pub matches: RouteMatch,
    /// What becomes of them.
    pub action: Action,
    /// Changes of the request's fields before it goes on, after the filters.
    pub request_headers: HeaderOps,
    /// Changes of the answer's fields.
    pub response_headers: HeaderOps,
    /// Filters of this route, after those of the chain.
    pub filters: Vec<Filter>,
}

/// Which requests a route takes. All that is said must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// The path, without the query.
    pub path: PathMatch,
    /// Any of these methods; empty: any at all.
    pub methods: Vec<String>,
    /// Fields, all of them.
    pub headers: Vec<ValueMatch>,
    /// Query parameters, all of them.
    pub query: Vec<ValueMatch>,
    /// What an RPC call says it calls, all of it: `:service`, `:method`, `:version`, `:group`, exact or by their beginning.
    pub rpc: Vec<ValueMatch>,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments: `/api` and `/api/` are the same, and take `/api` and `/api/x` but not `/apix`. `/` takes all.
    Prefix(String),
    /// The raw beginning.
    StartsWith(String),
    /// A regular expression over the whole path.
    Regex(Pattern),
}

/// A match of one field or query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueMatch {
    /// Its name (of a field: lower case).
    pub name: String,
    /// What its value must be.
    pub test: ValueTest,
    /// Take the opposite.
    pub invert: bool,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueTest {
    /// Equal.
    Exact(String),
    /// Begin so.
    Prefix(String),
    /// End so.
    Suffix(String),
    /// Match as a whole.
    Regex(Pattern),
    /// Be there at all.
    Present,
    /// Not be there.
    Absent,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes to a cluster.
    Forward(Box<Forward>),
    /// It is answered here.
    Respond(Respond),
    /// It is sent elsewhere.
    Redirect(Redirect),
}

/// How a request goes to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// One or more, each with its weight; the sum of the weights is not zero.
    pub clusters: Vec<WeightedCluster>,
    /// Changes of path and host on the way.
    pub rewrite: Rewrite,
    /// From the whole request (head) to the answer's last byte, retries included; zero: none. Absent: 15 s, and none for a call of gRPC,
    /// which may be a stream for days, and whose client knows how long.
    pub timeout: Option<Duration>,
    /// Time without a byte in either direction while the answer streams, and of a call of gRPC without any other limit before it too; and
    /// the idle limit of an upgraded tunnel. Default 5 min.
    pub idle_timeout: Duration,
    /// Extra tries.
    pub retry: Retry,
    /// A copy to another cluster, fire and forget.
    pub mirror: Option<Mirror>,
    /// Whether `Upgrade` may pass (WebSocket). Default true.
    pub upgrade: bool,
    /// What balancing by hash hashes, in order; empty: chance.
    pub hash: Vec<HashKey>,
    /// The metadata of the hosts it may go to, sorted by key; empty: any.
    pub metadata_match: Vec<(String, String)>,
    /// Which of the cluster's limits its requests count against.
    pub priority: Priority,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            clusters: Vec::new(),
            rewrite: Rewrite::default(),
            timeout: None,
            idle_timeout: Duration::from_secs(300),
            retry: Retry::default(),
            mirror: None,
            upgrade: true,
            hash: Vec::new(),
            metadata_match: Vec::new(),
            priority: Priority::Default,
        }
    }
}

/// A cluster and its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// The cluster.
    pub cluster: Name,
    /// Its share of the sum.
    pub weight: u32,
}

/// Changes of path and host on the way to the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// The path.
    pub path: Option<PathRewrite>,
    /// The host sent upstream.
    pub host: Option<String>,
}

/// A change of the path; the query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// What the route's `prefix`, `starts_with` or `path` matched becomes this.
    Prefix(String),
    /// Every match becomes the substitution, in which `$1` or `${name}` are groups.
    Regex {
        /// What to find.
        pattern: Pattern,
        /// What to put.
        substitution: String,
    },
}

/// Extra tries of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// What is tried again. Default `connect_failure`, `reset`.
    pub on: Vec<RetryOn>,
    /// Tries after the first. Default 1; 0: none.
    pub retries: u32,
    /// The limit of each try, to the answer's head; absent: only the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// The limit of a try's silence after the whole request, and while its answer streams; absent: none.
    pub per_try_idle_timeout: Option<Duration>,
    /// A try that outlasts `per_try_timeout` goes on beside the next. Default false.
    pub hedge: bool,
    /// The base of the back-off, of which each wait is a random part, doubled each time. Default 25 ms.
    pub back_off: Duration,
    /// What the doubled base stays below; absent: ten times the base.
    pub back_off_max: Option<Duration>,
    /// Statuses that `status_codes` means.
    pub status_codes: Vec<u16>,
    /// Fields of an answer that `headers` means, in lower case.
    pub headers: Vec<String>,
    /// Fields of an answer that say how long to wait; empty: none is looked at.
    pub wait_headers: Vec<WaitHeader>,
    /// A longer wait that an answer asks for is disregarded. Default 300 s.
    pub wait_max: Duration,
    /// Which hosts a further try may go to.
    pub hosts: RetryHosts,
    /// Further tries go to another priority, where one has a load. Default false.
    pub other_priorities: bool,
    /// Tries again even what may have had an effect (POST, PATCH). Default false.
    pub non_idempotent: bool,
    /// Body bytes kept for another try; a body that streamed further is not sent again. Default 64 KiB.
    pub buffer: ByteSize,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            on: vec![RetryOn::ConnectFailure, RetryOn::Reset],
            retries: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            hedge: false,
            back_off: Duration::from_millis(25),
            back_off_max: None,
            status_codes: Vec::new(),
            headers: Vec::new(),
            wait_headers: Vec::new(),
            wait_max: Duration::from_secs(300),
            hosts: RetryHosts::Untried,
            other_priorities: false,
            non_idempotent: false,
            buffer: ByteSize(64 << 10),
        }
    }
}

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// The connection could not be made.
    ConnectFailure,
    /// The upstream closed, reset, or timed out before its answer's head, or sent nonsense.
    Reset,
    /// It answered 502, 503 or 504.
    GatewayError,
    /// It answered 500 to 599.
    ServerError,
    /// It ended a call of gRPC at once with `CANCELLED`.
    Cancelled,
    /// Likewise with `DEADLINE_EXCEEDED`.
    DeadlineExceeded,
    /// Likewise with `INTERNAL`.
    Internal,
    /// Likewise with `RESOURCE_EXHAUSTED`.
    ResourceExhausted,
    /// Likewise with `UNAVAILABLE`.
    Unavailable,
    /// The upstream closed or reset before it took the request up.
    ResetBeforeRequest,
    /// The upstream refused the stream (HTTP/2).
    RefusedStream,
    /// It answered 409.
    Retriable4xx,
    /// It answered with one of `status_codes`.
    StatusCodes,
    /// Its answer has one of `headers`.
    Headers,
}

/// Which hosts a further try may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RetryHosts {
    /// Those that this request has not tried; with none left, it is not tried again.
    #[default]
    Untried,
    /// Any, as if nothing had been tried.
    Any,
}

/// A field of an answer that says how long to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitHeader {
    /// Its name, in lower case.
    pub name: String,
    /// What its value is.
    pub is: WaitValue,
}

/// What a field says of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WaitValue {
    /// Seconds from now.
    #[default]
    Seconds,
    /// Seconds since 1970.
    UnixTime,
}

/// A copy of requests to another cluster; its answers are thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The cluster.
    pub cluster: Name,
    /// The share of requests. Default all.
    pub share: Percent,
    /// Copies in flight per core; beyond it none is made, and it counts. Default 64.
    pub max_in_flight: u32,
}

/// An answer made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Its content type; absent: `text/plain; charset=utf-8` where there is a body.
    pub content_type: Option<String>,
}

/// A redirect: what is absent stays as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Host, with a port if it says one.
    pub host: Option<String>,
    /// The whole path, or what replaces the matched prefix.
    pub path: Option<RedirectPath>,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub code: u16,
    /// Drop the query. Default false.
    pub strip_query: bool,
}

/// A redirect's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// The whole path.
    Full(String),
    /// What replaces the matched prefix.
    Prefix(String),
}

/// Changes of fields: `remove`, then `set` (replaces), then `add` (appends a line). Values may hold `%OPERATOR%`s of the access log that are known then.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderOps {
    /// Name and value of lines to append.
    pub add: Vec<(String, String)>,
    /// Name and value of fields to replace.
    pub set: Vec<(String, String)>,
    /// Names of fields to drop.
    pub remove: Vec<String>,
}
