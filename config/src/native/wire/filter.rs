//! Filters: a name and its configuration. Those that are built in are read here already, so that their errors appear with
//! all others; a filter of somebody else's is read when a snapshot is built.

use std::time::Duration;

use ipnet::IpNet;

use super::{Cx, HeaderOpsRecord, Int, Listed, Shape, Wire, fields::record, fields::wrong_shape};
use crate::native::tree::{Entry, Node, Value};
use crate::transcode::Transcode;
use crate::{Filter, Name, Percent};

record! {
    /// `headers`: changes of the headers of requests and answers.
    HeadersRecord {
        /// Changes of the request, before it goes on.
        request: HeaderOpsRecord = {},
        /// Changes of the answer, before it goes back.
        response: HeaderOpsRecord = {},
    }
}

record! {
    /// `ip_access`: who may come in, by the client's address. `deny` is asked first; with an `allow` list, all that it does not hold are refused with 403.
    IpAccessRecord {
        /// Ranges let in. Without this key: all that are not denied.
        allow: Listed<IpNet>,
        /// Ranges refused with 403.
        deny: Listed<IpNet>,
    }
}

record! {
    /// `fault`: delays and errors on purpose, to see how those bear them who depend on the upstream. The delay comes first.
    FaultRecord {
        /// Waiting before the request goes on.
        delay: Option<FaultDelayRecord>,
        /// An answer in the upstream's stead.
        abort: Option<FaultAbortRecord>,
    }
}

record! {
    /// A delay of some requests.
    FaultDelayRecord {
        /// How long.
        r#for: Duration,
        /// The share of requests.
        share: Percent = "100%",
    }
}

record! {
    /// An error for some requests.
    FaultAbortRecord {
        /// Its status.
        status: Int<200, 599>,
        /// The share of requests.
        share: Percent = "100%",
    }
}

record! {
    /// `grpc_web`: calls of gRPC-Web, as browsers make them, to and from upstreams that speak gRPC. It has no keys.
    GrpcWebRecord {
    }
}

/// A filter's use: `{ name: configuration }`, or the bare name.
#[derive(Clone, Debug)]
pub(crate) struct FilterItem(pub Filter);

impl Wire for FilterItem {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let (name, config) = match &node.value {
            Value::Text(name) => (name, None),
            Value::Map(entries) => match entries.as_slice() {
                [only] => (&only.key, Some(only)),
                [] | [_, _, ..] => {
                    let message =
                        "write each filter as an item of its own: `- name: { ... }`, with one key";
                    cx.problem_at(&node.path, node.span.clone(), message);
                    return None;
                }
            },
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Unknown => {
                wrong_shape(node, &Self::shape(), cx);
                return None;
            }
        };
        if let Some(Entry { node: config, .. }) = config {
            cx.spans.filter(node.path.clone(), config.path.clone());
        }
        check_built_in(name, config, node, cx);
        let config = config.map_or(serde_json::Value::Null, |entry| entry.node.to_json());
        Some(Self(Filter {
            name: Name::new(name),
            config,
        }))
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![
            Name::shape(),
            Shape::Tagged(vec![
                ("headers", HeadersRecord::shape()),
                ("ip_access", IpAccessRecord::shape()),
                ("fault", FaultRecord::shape()),
                ("grpc_web", GrpcWebRecord::shape()),
                ("transcode", Transcode::shape()),
            ]),
        ])
    }
    fn hole() -> Self {
        Self(Filter {
            name: Name::new(""),
            config: serde_json::Value::Null,
        })
    }
}

/// Reads a built-in filter's configuration for its problems only.
fn check_built_in(name: &str, config: Option<&Entry>, item: &Node, cx: &mut Cx) {
    let nothing = Node {
        path: item.path.clone(),
        ..Node::new(item.span.clone(), Value::Null)
    };
    let config = config.map_or(&nothing, |entry| &entry.node);
    match name {
        "headers" => drop(HeadersRecord::read(config, cx)),
        "ip_access" => drop(IpAccessRecord::read(config, cx)),
        "fault" => drop(FaultRecord::read(config, cx)),
        "grpc_web" => drop(GrpcWebRecord::read(config, cx)),
        "transcode" => drop(Transcode::read(config, cx)),
        _ => {}
    }
}
