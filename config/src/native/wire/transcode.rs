//! `transcode`: what the file says of the calls that requests become.

use super::values::choice;
use super::{Cx, FieldName, Filled, Form, Leaf, Pairs, Shape, Wire, Wrong, fields::record};
use crate::ByteSize;
use crate::native::tree::Node;
use crate::transcode::{Longs, Parameter, Piece, Source, Template, Transcode, TranscodeTo};

choice! {
    TranscodeTo {
        Dubbo = "dubbo": "generic calls of Dubbo 2 (`$invoke`), with Hessian 2",
        Bolt = "bolt": "calls of SOFARPC over Bolt, with JSON",
    }
}

choice! {
    Longs {
        Number = "number": "all of their digits",
        Text = "text": "a text where JavaScript would round them: beyond 2^53 - 1",
    }
}

record! {
    /// `transcode`: makes of HTTP requests with JSON calls of an RPC protocol, and of their answers JSON. Its route leads to clusters of that protocol.
    TranscodeRecord {
        /// What requests become, which is the `protocol` of the route's clusters.
        to: TranscodeTo,
        /// The service that is called; of Bolt with its version, as `com.test.Echo:1.0`. `{path.2}` and other sources stand for their values.
        service: Template,
        /// Its method.
        method: Template,
        /// The service's version. Dubbo alone.
        version: Option<Template>,
        /// The service's group. Dubbo alone.
        group: Option<Template>,
        /// The arguments. Without this key the body says them: for Dubbo `{"types": [...], "values": [...]}`, for Bolt it is the arguments as SOFARPC writes them in JSON.
        parameters: Option<Vec<ParameterRecord>>,
        /// Headers (of Dubbo: attachments) of the call, each with the request's header whose value it has.
        headers: Pairs<Filled, FieldName>,
        /// Whether objects say their class under `class`. Without it, `class` is left out of answers, and refused in requests: it would let clients choose the class that a provider makes. Dubbo alone.
        class_names: bool = false,
        /// How whole numbers of 64 bits are written in answers. Dubbo alone.
        longs: Longs = "number",
        /// The size of a request's body; 413 above.
        max_body: ByteSize = "1MiB",
        /// The size of an answer as JSON; 502 above. Dubbo alone.
        max_answer: ByteSize = "16MiB",
    }
}

record! {
    /// An argument of a call.
    ParameterRecord {
        /// Its type, as Java names it: `int`, `java.lang.String`, `com.test.User`.
        r#type: Filled,
        /// Where its value is: `path.2` (a segment), `query.id`, `header.x-user`, `body`, `body.user.id`. Without this key, for all parameters, the body is a list with an item for each.
        from: Option<Source>,
    }
}

/// What is Dubbo's alone, and what to do about it.
const DUBBO_ALONE: &[(&str, &str)] = &[
    (
        "version",
        "Bolt's services have their version in their name: write it in `service`, as `com.test.Echo:1.0`",
    ),
    (
        "group",
        "Bolt's services have their unique id in their name: write it in `service`, as `com.test.Echo:1.0:blue`",
    ),
    (
        "class_names",
        "the answers of `bolt` are JSON already: leave `class_names` out",
    ),
    (
        "longs",
        "the answers of `bolt` are JSON already: leave `longs` out",
    ),
    (
        "max_answer",
        "the answers of `bolt` are JSON already, and limited by the cluster's `rpc.max_frame`: leave `max_answer` out",
    ),
];

impl Wire for Transcode {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let record = TranscodeRecord::read(node, cx)?;
        check(&record, cx);
        let parameters = record.parameters.map(|list| {
            list.into_iter()
                .map(|parameter| Parameter {
                    kind: parameter.r#type.0,
                    from: parameter.from,
                })
                .collect()
        });
        Some(Self {
            to: record.to,
            service: record.service,
            method: record.method,
            version: record.version,
            group: record.group,
            parameters,
            headers: record
                .headers
                .0
                .into_iter()
                .map(|(to, from)| (to.0, from.0))
                .collect(),
            class_names: record.class_names,
            longs: record.longs,
            max_body: record.max_body,
            max_answer: record.max_answer,
        })
    }
    fn shape() -> Shape {
        TranscodeRecord::shape()
    }
    fn hole() -> Self {
        let nothing = || Template(Vec::new());
        Self {
            to: TranscodeTo::Dubbo,
            service: nothing(),
            method: nothing(),
            version: None,
            group: None,
            parameters: None,
            headers: Vec::new(),
            class_names: false,
            longs: Longs::Number,
            max_body: ByteSize(0),
            max_answer: ByteSize(0),
        }
    }
}

/// Notes what only several keys together can tell.
fn check(record: &TranscodeRecord, cx: &mut Cx) {
    let below = |key: &str| match record.at.as_str() {
        "" => key.to_owned(),
        at => format!("{at}.{key}"),
    };
    if record.to == TranscodeTo::Bolt {
        for (key, message) in DUBBO_ALONE {
            if record.keys.contains(key) {
                cx.problem(&below(key), *message);
            }
        }
    }
    let parameters = record.parameters.as_deref().unwrap_or_default();
    let sourced = parameters.iter().filter(|one| one.from.is_some()).count();
    let without = parameters.iter().find(|one| one.from.is_none());
    if let (1.., Some(without)) = (sourced, without) {
        let message = "write `from` for all parameters, or for none: then the body is a list with an item for each";
        cx.problem(&without.at, message);
    }
}

const SOURCE: Form = Form {
    name: "source",
    what: "a source such as `path.2`, `query.id`, `header.x-user`, `body` or `body.user.id`",
};

impl Leaf for Source {
    const FORM: Form = SOURCE;
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let (kind, name) = text.split_once('.').unwrap_or((text, ""));
        let names = || name.split('.');
        match (kind, name) {
            ("body", "") if text == "body" => Ok(Self::Body(Vec::new())),
            ("body", _) if names().all(|name| !name.is_empty()) => {
                Ok(Self::Body(names().map(str::to_owned).collect()))
            }
            ("query", name) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            ("header", name) if !name.is_empty() => Ok(Self::Header(name.to_ascii_lowercase())),
            ("path", number) => match number.parse() {
                Ok(0) => Err(Wrong::Because(
                    "write the number of a segment, counted from 1".to_owned(),
                )),
                Ok(at) => Ok(Self::Path(at)),
                Err(_) => Err(Wrong::Form),
            },
            _ => Err(Wrong::Form),
        }
    }
    fn hole() -> Self {
        Self::Body(Vec::new())
    }
}

impl Leaf for Template {
    const FORM: Form = Form {
        name: "template",
        what: "a text, with `{path.2}`, `{query.id}` or another source where its value is to stand",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((source, after)) = after.split_once('}') else {
                let message = "a source begins here with `{`: close it with `}`";
                return Err(Wrong::Because(message.to_owned()));
            };
            let source = Source::parse(source, cx).map_err(|wrong| match wrong {
                Wrong::Form => {
                    Wrong::Because(format!("between `{{` and `}}` write {}", SOURCE.what))
                }
                because @ Wrong::Because(_) => because,
            })?;
            pieces.push(Piece::From(source));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        match pieces.is_empty() {
            true => Err(Wrong::Form),
            false => Ok(Self(pieces)),
        }
    }
    fn hole() -> Self {
        Self(Vec::new())
    }
}
