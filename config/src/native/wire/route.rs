//! Route tables, virtual hosts, routes, matches and actions.

use std::time::Duration;

use super::{
    Authority, ChangedField, ClusterRef, Cx, FieldName, FieldValue, Filled, FilterItem,
    HashKeyRecord, Int, Listed, MetadataPairs, Method, NonEmpty, OneOrMore, Pairs, Positive, Regex,
    Shape, UrlPath, Wire, choice, fields::record, fields::wrong_shape,
};
use crate::native::tree::{Node, Value};
use crate::{
    ByteSize, Domain, Name, PathNormalize, Percent, Priority, RetryHosts, RetryOn, WaitValue,
};

record! {
    /// A route table that listeners share: exactly one of `virtual_hosts` and `routes`.
    RouteTableRecord {
        /// Its name, by which listeners refer to it.
        name: Name,
        /// How paths are made plain before they are matched and forwarded.
        path_normalize: PathNormalize = "strict",
        /// Whether `//` in a path becomes `/`.
        merge_slashes: bool = false,
        /// Routes by host.
        virtual_hosts: Option<NonEmpty<VirtualHostRecord>>,
        /// Routes of all hosts, in order: the first match wins. Short for one virtual host with the domain `*`.
        routes: Option<Vec<RouteRecord>>,
    }
}

record! {
    /// The routes of some hosts. Exact domains are asked first, then `*.suffix`, then `prefix.*`, then `*`; of each kind the longest first.
    VirtualHostRecord {
        /// Its name, in logs. Default: its first domain.
        name: Option<Name>,
        /// The hosts it answers for, without ports: `www.example.com`, `*.example.com`, `www.*` or `*`.
        domains: NonEmpty<Domain>,
        /// Its routes, in order: the first match wins. A request that none takes is a 404.
        routes: Vec<RouteRecord>,
    }
}

record! {
    /// A route: which requests, and what becomes of them. It has exactly one of `cluster`, `respond` and `redirect`; `rewrite`, `timeout`, `idle_timeout`, `retry`, `mirror`, `upgrade`, `hash`, `metadata_match` and `priority` go with `cluster` only.
    RouteRecord {
        /// Its name in logs.
        name: Option<Name>,
        /// Which requests it takes; all conditions must hold. Without this key: every request.
        r#match: MatchRecord = {},
        /// The cluster it goes to, or several with their weights: `{ web-v1: 90, web-v2: 10 }`.
        cluster: Option<ClusterChoice>,
        /// An answer made here.
        respond: Option<RespondRecord>,
        /// A redirect. Parts of the URL that are not given stay as requested.
        redirect: Option<RedirectRecord>,
        /// Changes of path and host on the way.
        rewrite: RewriteRecord = {},
        /// From the request to its answer's last byte, all tries included; 0 sets no limit. Without this key: 15s, and none for gRPC calls, whose clients say how long they may take.
        timeout: Option<Duration>,
        /// How long nothing may move in either direction while the answer streams or a tunnel is open; for a gRPC call without any other limit, from its beginning on.
        idle_timeout: Positive = "5m",
        /// Further tries of requests that failed.
        retry: RetryRecord = {},
        /// Copies requests to another cluster and discards its answers.
        mirror: Option<MirrorRecord>,
        /// Whether `Upgrade` (WebSocket) may pass.
        upgrade: bool = true,
        /// What `ring_hash` and `maglev` hash, in order, as far as a request has it. A request with none of it goes to a random host.
        hash: Listed<HashKeyRecord>,
        /// Use only hosts with this metadata, such as `{ version: v2 }`. The cluster's `subsets` say which keys can be used.
        metadata_match: MetadataPairs,
        /// Which of the cluster's `limits` its requests count against.
        priority: Priority = "default",
        /// Changes of the request's headers before it goes on, after the filters.
        request_headers: HeaderOpsRecord = {},
        /// Changes of the answer's headers.
        response_headers: HeaderOpsRecord = {},
        /// Filters of this route, after those of the listener.
        filters: Vec<FilterItem>,
    }
}

record! {
    /// Which requests a route takes: at most one of `path`, `prefix`, `starts_with` and `regex`, at most one of `method` and `methods`.
    MatchRecord {
        /// The whole path, without the query.
        path: Option<UrlPath>,
        /// Whole segments: `/api` and `/api/` are the same, and take `/api` and `/api/x` but not `/apix`. `/` takes all.
        prefix: Option<UrlPath>,
        /// The raw beginning of the path.
        starts_with: Option<UrlPath>,
        /// A regular expression over the whole path, matched in linear time.
        regex: Option<Regex>,
        /// A method.
        method: Option<Method>,
        /// Any of these methods.
        methods: Option<NonEmpty<Method>>,
        /// Headers, all of them.
        headers: Vec<HeaderMatchRecord>,
        /// Query parameters, all of them.
        query: Vec<QueryMatchRecord>,
        /// What an RPC call calls; over HTTP, a call of gRPC or Triple.
        rpc: RpcMatchRecord = {},
    }
}

record! {
    /// What a call calls; all that is said must hold. A text that ends with `*` is a beginning. Of HTTP, a POST to `/service/method` is a call, as those of gRPC and Triple (Dubbo 3) are; its version and group are the headers `tri-service-version` and `tri-service-group`.
    RpcMatchRecord {
        /// The service, as the protocol names it: `com.test.Echo:1.0` of SOFARPC, `com.test.Echo` of Dubbo, a servant of Tars.
        service: Option<Filled>,
        /// The method or function.
        method: Option<Filled>,
        /// The version of the service, where the protocol says it.
        version: Option<Filled>,
        /// The group of the service, where the protocol says it; SOFARPC's unique id.
        group: Option<Filled>,
    }
}

record! {
    /// A header to match: at most one of `exact`, `prefix`, `suffix`, `regex`, `present` and `absent`; none of them means `present`.
    HeaderMatchRecord {
        /// Its name.
        name: FieldName,
        /// Its value is this.
        exact: Option<String>,
        /// Its value begins so.
        prefix: Option<Filled>,
        /// Its value ends so.
        suffix: Option<Filled>,
        /// Its whole value matches this regular expression.
        regex: Option<Regex>,
        /// `true`: it is there at all.
        present: Option<bool>,
        /// `true`: it is not there.
        absent: Option<bool>,
        /// Take the opposite.
        invert: bool = false,
    }
}

record! {
    /// A query parameter to match: at most one of `exact`, `prefix`, `suffix`, `regex`, `present` and `absent`; none of them means `present`.
    QueryMatchRecord {
        /// Its name.
        name: Filled,
        /// Its value is this.
        exact: Option<String>,
        /// Its value begins so.
        prefix: Option<Filled>,
        /// Its value ends so.
        suffix: Option<Filled>,
        /// Its whole value matches this regular expression.
        regex: Option<Regex>,
        /// `true`: it is there at all.
        present: Option<bool>,
        /// `true`: it is not there.
        absent: Option<bool>,
        /// Take the opposite.
        invert: bool = false,
    }
}

/// One cluster, or several with weights.
#[derive(Clone, Debug)]
pub(crate) struct ClusterChoice(pub Vec<(Name, u32)>);

type Weights = Pairs<ClusterRef, Int<0, 1_000_000>>;

impl Wire for ClusterChoice {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Text(_) => {
                ClusterRef::read(node, cx).map(|ClusterRef(name)| Self(vec![(name, 1)]))
            }
            Value::Map(entries) => {
                let before = cx.problems.len();
                let Pairs(pairs) = Weights::read(node, cx)?;
                let pairs: Vec<_> = pairs
                    .into_iter()
                    .map(|(ClusterRef(name), weight)| (name, weight.u32()))
                    .collect();
                let zero = pairs.iter().all(|(_, weight)| *weight == 0);
                if zero && cx.problems.len() == before {
                    let message = if entries.is_empty() {
                        "write at least one cluster with its weight, such as `{ web: 1 }`"
                    } else {
                        "write a weight above zero for at least one of these clusters"
                    };
                    cx.problem_at(&node.path, node.span.clone(), message);
                }
                Some(Self(pairs))
            }
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Unknown => {
                wrong_shape(node, &Self::shape(), cx);
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![ClusterRef::shape(), Weights::shape()])
    }
    fn hole() -> Self {
        Self(Vec::new())
    }
}

record! {
    /// Changes of path and host on the way to the upstream: at most one of `prefix` and `regex`.
    RewriteRecord {
        /// What the route's `path`, `prefix` or `starts_with` matched becomes this.
        prefix: Option<UrlPath>,
        /// Every match in the path becomes the substitution.
        regex: Option<RegexRewriteRecord>,
        /// The host sent upstream.
        host: Option<Authority>,
    }
}

record! {
    /// A rewrite of the path by a regular expression.
    RegexRewriteRecord {
        /// What to find.
        pattern: Regex,
        /// What to put. `$1` is a group; a named group is written `$${name}`, since `${name}` is an environment variable.
        substitution: FieldValue,
    }
}

record! {
    /// Further tries of a request that failed, on a host not yet tried.
    RetryRecord {
        /// What is tried again.
        on: NonEmpty<RetryOn> = ["connect_failure", "reset"],
        /// Tries after the first; 0: none.
        retries: Int<0, 100> = 1,
        /// The limit of each try, to the answer's headers. Without this key: only the route's timeout.
        per_try_timeout: Option<Positive>,
        /// The limit of a try's silence: from the whole request, or an interim answer, to the answer's headers, and then while its body streams.
        per_try_idle_timeout: Option<Positive>,
        /// A try that outlasts `per_try_timeout` goes on beside the next one, and the first answer that needs no other try counts.
        hedge: bool = false,
        /// The base of the wait before a try, of which each wait is a random part; it doubles each time.
        back_off: Duration = "25ms",
        /// What the doubled base stays below. Default: ten times the base.
        back_off_max: Option<Positive>,
        /// The statuses of `on: [status_codes]`.
        status_codes: Vec<Int<200, 599>>,
        /// The headers of `on: [headers]`: an answer that has one of them is tried again.
        headers: Vec<FieldName>,
        /// Headers of an answer that say how long to wait before another try, instead of the back-off: the first that is there.
        wait_headers: Vec<WaitHeaderRecord>,
        /// A longer wait that an answer asks for is disregarded.
        wait_max: Positive = "5m",
        /// Which hosts a further try may go to.
        hosts: RetryHosts = "untried",
        /// Further tries go to another priority of the cluster, where another gets any requests.
        other_priorities: bool = false,
        /// Try again even what may have had an effect (POST, PATCH).
        non_idempotent: bool = false,
        /// Bytes of a body kept for another try; a body that streamed further is not sent again.
        buffer: ByteSize = "64KiB",
    }
}

choice!(Priority {
    Default = "default": "as others",
    High = "high": "apart, against `limits.high`",
});

record! {
    /// A header that says how long to wait.
    WaitHeaderRecord {
        /// Its name, such as `retry-after`.
        name: FieldName,
        /// What its value is.
        is: WaitValue = "seconds",
    }
}

choice!(WaitValue {
    Seconds = "seconds": "seconds from now",
    UnixTime = "unix_time": "seconds since 1970",
});

choice!(RetryHosts {
    Untried = "untried": "those that this request has not tried; with none left, it is not tried again",
    Any = "any": "any, the same too",
});

choice!(RetryOn {
    ConnectFailure = "connect_failure": "the connection could not be made",
    Reset = "reset": "the upstream closed, reset or timed out before its answer's headers",
    GatewayError = "gateway_error": "it answered 502, 503 or 504",
    ServerError = "server_error": "it answered 500 to 599",
    Cancelled = "cancelled": "it ended a call of gRPC, before any message, with `CANCELLED`; this and the others of gRPC whatever the method",
    DeadlineExceeded = "deadline_exceeded": "likewise with `DEADLINE_EXCEEDED`",
    Internal = "internal": "likewise with `INTERNAL`",
    ResourceExhausted = "resource_exhausted": "likewise with `RESOURCE_EXHAUSTED`",
    Unavailable = "unavailable": "likewise with `UNAVAILABLE`",
    ResetBeforeRequest = "reset_before_request": "the upstream closed or reset and cannot have taken the request up; this whatever the method",
    RefusedStream = "refused_stream": "the upstream refused the stream (HTTP/2), and did so again at once; this whatever the method",
    Retriable4xx = "retriable_4xx": "it answered 409",
    StatusCodes = "status_codes": "it answered with one of `status_codes`",
    Headers = "headers": "its answer has one of `headers`",
});

record! {
    /// A copy of requests to another cluster, fire and forget.
    MirrorRecord {
        /// The cluster.
        cluster: ClusterRef,
        /// The share of requests that is copied.
        share: Percent = "100%",
        /// Copies in flight per core; beyond it none is made, and it counts.
        max_in_flight: Int<1, 1_000_000> = 64,
    }
}

record! {
    /// An answer made here.
    RespondRecord {
        /// Its status.
        status: Int<200, 599>,
        /// Its body.
        body: String = "",
        /// Its content type. Default, where there is a body: `text/plain; charset=utf-8`.
        content_type: Option<FieldValue>,
    }
}

record! {
    /// A redirect. Parts of the URL that are not given stay as requested; at most one of `path` and `prefix`.
    RedirectRecord {
        /// `http` or `https`.
        scheme: Option<Scheme>,
        /// Host, with a port if it says one.
        host: Option<Authority>,
        /// The whole path.
        path: Option<UrlPath>,
        /// What replaces the matched prefix.
        prefix: Option<UrlPath>,
        /// Its status: 301, 302, 303, 307 or 308.
        code: RedirectCode = 302,
        /// Drop the query.
        strip_query: bool = false,
    }
}

/// A redirect's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

choice!(Scheme {
    Http = "http": "plain",
    Https = "https": "with TLS",
});

/// A status that redirects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedirectCode(pub u16);

impl Wire for RedirectCode {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let code = super::whole(node).and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308));
        if code.is_none() {
            wrong_shape(node, &Self::shape(), cx);
        }
        code.map(Self)
    }
    fn shape() -> Shape {
        let codes = [301, 302, 303, 307, 308];
        Shape::AnyOf(
            codes
                .into_iter()
                .map(|code| Shape::Only(code.into()))
                .collect(),
        )
    }
    fn hole() -> Self {
        Self(302)
    }
}

record! {
    /// Changes of headers: `remove` first, then `set`, then `add`. Values may hold those `%OPERATOR%`s of the access log that are known by then.
    HeaderOpsRecord {
        /// Headers to append; a value may be a list of them.
        add: Pairs<ChangedField, OneOrMore<FieldValue>>,
        /// Headers to replace, or to add where they are not there.
        set: Pairs<ChangedField, FieldValue>,
        /// Names of headers to drop.
        remove: Vec<ChangedField>,
    }
}
