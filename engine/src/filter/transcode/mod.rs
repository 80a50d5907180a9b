//! `transcode`: HTTP with JSON made calls of an RPC protocol, and their answers made HTTP with JSON.
//!
//! ```text
//!  a request, its body whole ─► values of path, query, headers, body ─► a frame (`RequestCx::rpc`) ─► the route's cluster, as any call
//!  JSON and a status ◄─ the result, an exception, a refusal ◄─ the frame that answers it
//! ```
//!
//! What of the request becomes an argument is the operator's to say; how values are written is the protocol's (`dubbo`, `bolt`).

mod bolt;
mod dubbo;
mod json;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ringway_config::transcode::{Transcode, TranscodeTo};
use ringway_protocols::bolt::Bolt;
use ringway_protocols::codec::{Codec, Frame, Limits, Side};
use ringway_protocols::dubbo::Dubbo;
use ringway_protocols::message::ResponseHead;
use serde_json::{Value, json};

use self::source::Inputs;
use super::{Answered, BadBody, Filter, FilterSpec, Flow, Parsed, Step, Transform};
use crate::request::{LocalReply, RequestCx, RpcCall};
use crate::rng::Rng;

/// RESPONSE_CODE_DETAILS of a request of which no call can be made.
const BAD_REQUEST: &str = "transcode_bad_request";
/// The same of an answer that cannot be JSON.
const BAD_ANSWER: &str = "transcode_bad_answer";
/// And of one that is the upstream's word.
const VIA_UPSTREAM: &str = "via_upstream";
/// What a client is told of what a provider says in words: it may hold a whole trace of its stack.
const WORDS_MAX: usize = 1024;

struct Spec {
    config: Transcode,
    codec: Arc<dyn Codec>,
    /// Headers of the call, each with the request's whose value it has.
    carried: Box<[(Bytes, Bytes)]>,
}

pub(super) fn parse(value: &Value) -> Parsed {
    let config = Transcode::parse(value)?;
    let codec: Arc<dyn Codec> = match config.to {
        TranscodeTo::Dubbo => Arc::new(Dubbo),
        TranscodeTo::Bolt => Arc::new(Bolt),
    };
    let pairs = config.headers.iter().cloned();
    let carried = pairs.map(|(to, from)| (Bytes::from(to), Bytes::from(from)));
    Ok(Arc::new(Spec {
        carried: carried.collect(),
        config,
        codec,
    }))
}

impl FilterSpec for Spec {
    fn start<'a>(&'a self, _: &'a Rng) -> Box<dyn Filter + 'a> {
        Box::new(Transcoding {
            spec: self,
            speaks: false,
        })
    }

    fn calls(&self) -> Option<&'static str> {
        Some(self.config.to.word())
    }
}

/// Why no call can be made of a request: for who wrote it.
#[derive(Debug)]
enum Bad {
    /// No JSON.
    NotJson(serde_json::Error),
    /// The body is not what the arguments are read from.
    Body(&'static str),
    /// A list of the body with another length than it should have.
    Count { wanted: usize, got: usize },
    /// Nothing is where a value has to be.
    Missing(String),
    /// An argument that is not of its type.
    Mistyped {
        at: usize,
        kind: String,
        why: &'static str,
    },
    /// It is too long for the protocol.
    TooLong,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(error) => write!(f, "the body is not JSON: {error}"),
            Self::Body(why) => f.write_str(why),
            Self::Count { wanted, got } => {
                write!(
                    f,
                    "the body has {got} values, and the call {wanted} parameters"
                )
            }
            Self::Missing(place) => write!(f, "nothing is in {place}"),
            Self::Mistyped { at, kind, why } => write!(f, "parameter {at} ({kind}): {why}"),
            Self::TooLong => f.write_str("the service's or the method's name is too long"),
        }
    }
}

/// One request on its way to become a call.
struct Transcoding<'a> {
    spec: &'a Spec,
    /// It has written the answer itself.
    speaks: bool,
}

impl Spec {
    /// The call that a request asks for.
    fn call(&self, request: &RequestCx, body: &[u8]) -> Result<Frame, Bad> {
        let inputs = Inputs::new(request, body, &self.config)?;
        let bytes = match self.config.to {
            TranscodeTo::Dubbo => dubbo::call(&self.config, &inputs)?,
            TranscodeTo::Bolt => bolt::call(&self.config, &inputs, body)?,
        };
        // Read as a client's own is: what routes, metrics and pools want of a frame is then known in one way alone.
        let limits = Limits {
            frame: usize::MAX,
            ..Limits::default()
        };
        let mut session = self.codec.start(Side::Client, &limits);
        let frame = session.decode(&mut BytesMut::from(&bytes[..]));
        match frame {
            Ok(Some(frame)) if frame.broken.is_none() => Ok(frame),
            Ok(_) | Err(_) => Err(Bad::TooLong),
        }
    }
}

impl Filter for Transcoding<'_> {
    fn wants_body(&self) -> Option<u64> {
        Some(self.spec.config.max_body.0)
    }

    fn on_body(&mut self, request: &mut RequestCx, body: Bytes) -> Flow {
        match self.spec.call(request, &body) {
            Ok(frame) => {
                request.rpc = Some(Rc::new(RpcCall {
                    codec: Arc::clone(&self.spec.codec),
                    frame,
                    tie: Rc::default(),
                    carried: Some(self.spec.carried.clone()),
                }));
                Flow::Continue
            }
            Err(bad) => {
                self.speaks = true;
                Flow::Respond(refusal(400, BAD_REQUEST, &bad.to_string(), None))
            }
        }
    }

    fn on_answer(&mut self, answer: &Frame) -> Option<Answered> {
        self.speaks = true;
        let told = match self.spec.config.to {
            TranscodeTo::Dubbo => dubbo::answer(&self.spec.config, answer),
            TranscodeTo::Bolt => bolt::answer(answer),
        };
        Some(match told {
            Ok(reply) => Answered::Told(reply),
            Err(unfit) => Answered::Unfit(refusal(502, BAD_ANSWER, &unfit.to_string(), None)),
        })
    }

    fn on_response<'a>(&'a mut self, _: &'a RequestCx, response: &'a mut ResponseHead) -> Step<'a> {
        if !self.speaks {
            response.fields.set("content-type", "application/json");
        }
        Step::Now(Flow::Continue)
    }

    fn response_body(&mut self) -> Option<Box<dyn Transform>> {
        let wraps = !std::mem::replace(&mut self.speaks, true);
        wraps.then(|| Box::new(Wrap::default()) as Box<dyn Transform>)
    }
}

/// A line of the proxy's own as JSON.
#[derive(Default)]
struct Wrap(Vec<u8>);

impl Transform for Wrap {
    fn part(&mut self, part: Bytes, _: &mut Vec<Bytes>) -> Result<(), BadBody> {
        self.0.extend_from_slice(&part);
        Ok(())
    }

    fn end(
        &mut self,
        _: &mut Option<ringway_protocols::Fields>,
        out: &mut Vec<Bytes>,
    ) -> Result<(), BadBody> {
        let text = String::from_utf8_lossy(&self.0);
        out.push(error_body(text.trim_end(), None));
        Ok(())
    }
}

/// `{"error": {"message": …, "exception": …}}`.
fn error_body(text: &str, exception: Option<&str>) -> Bytes {
    let error = match exception {
        None => json!({ "message": text }),
        Some(class) => json!({ "message": text, "exception": class }),
    };
    json!({ "error": error }).to_string().into()
}

/// The first line of what somebody said in words, and not too much of it.
fn brief(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let mut end = line.len().min(WORDS_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// An answer that is an error.
fn refusal(status: u16, details: &'static str, text: &str, exception: Option<&str>) -> LocalReply {
    LocalReply {
        body: error_body(brief(text), exception),
        ..answer(status, details, Bytes::new())
    }
}

/// An answer that is what the call gave.
fn value(json: Bytes) -> LocalReply {
    answer(200, VIA_UPSTREAM, json)
}

/// An answer with JSON for its body.
fn answer(status: u16, details: &'static str, body: Bytes) -> LocalReply {
    let mut reply = LocalReply::text(status, details, body);
    reply.fields.set("content-type", "application/json");
    reply
}
