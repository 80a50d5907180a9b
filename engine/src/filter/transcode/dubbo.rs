//! Generic calls of Dubbo, and their answers.

use std::borrow::Cow;
use std::time::Duration;

use ringway_config::transcode::{Parameter, Transcode};
use ringway_protocols::codec::{Frame, Limits};
use ringway_protocols::dubbo::{GenericAnswer, GenericCall, generic_answer};
use ringway_protocols::hessian::{Tree, Value as Hessian};
use serde_json::Value;

use super::json::{self, Unfit};
use super::source::Inputs;
use super::{Bad, VIA_UPSTREAM, refusal, values};
use crate::request::LocalReply;

/// What a call says at first of how long it waits: each try says what is left of the request's time instead, if that has a limit.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The frame of the call that a request asks for.
pub(super) fn call(config: &Transcode, inputs: &Inputs<'_>) -> Result<Vec<u8>, Bad> {
    let open;
    let (parameters, arguments) = match &config.parameters {
        Some(parameters) => (parameters.as_slice(), inputs.arguments(parameters)?),
        None => {
            open = Open::read(inputs.body())?;
            let arguments = open.values.iter().map(Cow::Borrowed).collect();
            (open.parameters.as_slice(), arguments)
        }
    };
    let service = inputs.render(&config.service)?;
    let method = inputs.render(&config.method)?;
    let optional = |template| Option::map(template, |template| inputs.render(template)).transpose();
    let version = optional(config.version.as_ref())?;
    let group = optional(config.group.as_ref())?;
    let types: Vec<&str> = parameters.iter().map(|one| one.kind.as_str()).collect();
    let call = GenericCall {
        service: &service,
        version: version.as_deref(),
        group: group.as_deref(),
        method: &method,
        types: &types,
        timeout: FOR_EVER,
    };
    call.write(|out| {
        for (at, (argument, parameter)) in arguments.into_iter().zip(parameters).enumerate() {
            let argument = values::fit(argument, at, parameter)?;
            values::write(&argument, &parameter.kind, out)?;
        }
        Ok(())
    })
}

/// The arguments of a route that leaves their types to its clients.
struct Open<'a> {
    parameters: Vec<Parameter>,
    values: &'a [Value],
}

impl<'a> Open<'a> {
    fn read(body: &'a Value) -> Result<Self, Bad> {
        const FORM: Bad = Bad::Body(
            "the body has to be an object with the lists `types` (names of types, as texts) and `values`",
        );
        let (Some(Value::Array(types)), Some(Value::Array(values))) =
            (body.get("types"), body.get("values"))
        else {
            return Err(FORM);
        };
        if types.len() != values.len() {
            return Err(Bad::Count {
                wanted: types.len(),
                got: values.len(),
            });
        }
        let kinds = types.iter().map(|kind| kind.as_str().map(str::to_owned));
        let parameters = kinds.map(|kind| {
            Some(Parameter {
                kind: kind?,
                from: None,
            })
        });
        Ok(Self {
            parameters: parameters.collect::<Option<_>>().ok_or(FORM)?,
            values,
        })
    }
}

/// What an answer is in HTTP.
pub(super) fn answer(config: &Transcode, answer: &Frame) -> Result<LocalReply, Unfit> {
    let (answer, tree) = generic_answer(answer, &Limits::default()).map_err(Unfit::Unread)?;
    Ok(match answer {
        GenericAnswer::Value(value) => super::value(json::write(&value, &tree, config)?),
        GenericAnswer::Exception(thrown) => {
            let (class, text) = exception(&thrown, &tree);
            refusal(500, VIA_UPSTREAM, text, Some(class))
        }
        GenericAnswer::Failed { status, text } => {
            refusal(status_of(status), VIA_UPSTREAM, &text, None)
        }
    })
}

/// The class and the words of what was thrown. What a provider wraps, because its callers may not have the class, is what it wraps.
fn exception<'t>(thrown: &'t Hessian, tree: &'t Tree) -> (&'t str, &'t str) {
    let text = |name: &str| match tree.field(thrown, name) {
        Some(Hessian::Text(text)) => Some(&**text),
        Some(_) | None => None,
    };
    let class = tree.node(thrown).and_then(|node| node.class.as_deref());
    let class = text("exceptionClass").or(class).unwrap_or_default();
    let words = text("exceptionMessage").or_else(|| text("detailMessage"));
    (class, words.unwrap_or_default())
}

/// The status of HTTP that says what the protocol's does.
fn status_of(status: u8) -> u16 {
    match status {
        // Its time was over, here or there.
        30 | 31 => 504,
        // No such service. Java's providers say that they could not read the request (40): of a generic call there is nothing else that
        // one who has the service could not.
        40 | 60 => 404,
        // Its threads are all at work.
        100 => 503,
        // An answer that the provider, or its client, could not read or write; a connection that was gone.
        25 | 35 | 50 | 90 => 502,
        // The service's or the server's error, and what is yet to come.
        _ => 500,
    }
}
