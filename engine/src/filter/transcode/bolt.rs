//! Calls of SOFARPC with JSON over Bolt, and their answers.

use bytes::Bytes;
use ringway_config::transcode::Transcode;
use ringway_protocols::bolt::{JsonCall, json_content};
use ringway_protocols::codec::{Frame, Verdict};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::json::Unfit;
use super::source::Inputs;
use super::{Bad, VIA_UPSTREAM, refusal, values};
use crate::request::LocalReply;

/// The frame of the call that a request asks for.
pub(super) fn call(config: &Transcode, inputs: &Inputs<'_>, body: &[u8]) -> Result<Vec<u8>, Bad> {
    let service = inputs.render(&config.service)?;
    let method = inputs.render(&config.method)?;
    let call = JsonCall {
        service: &service,
        method: &method,
    };
    let Some(parameters) = &config.parameters else {
        return call.write(body).map_err(|_| Bad::TooLong);
    };
    let mut arguments = Vec::with_capacity(parameters.len());
    for (at, (argument, parameter)) in inputs
        .arguments(parameters)?
        .into_iter()
        .zip(parameters)
        .enumerate()
    {
        arguments.push(values::fit(argument, at, parameter)?.into_owned());
    }
    let content = match arguments.as_slice() {
        [only] => only.to_string(),
        many => Value::from(many).to_string(),
    };
    call.write(content.as_bytes()).map_err(|_| Bad::TooLong)
}

/// What an answer is in HTTP.
pub(super) fn answer(answer: &Frame) -> Result<LocalReply, Unfit> {
    if answer.verdict == Verdict::Failed {
        let (status, text) = failure(answer.code);
        return Ok(refusal(status, VIA_UPSTREAM, text, None));
    }
    let content = json_content(answer).ok_or(Unfit::NotJson)?;
    if answer.verdict == Verdict::Exception {
        let text: Option<String> = serde_json::from_slice(content).unwrap_or_default();
        return Ok(refusal(500, VIA_UPSTREAM, &text.unwrap_or_default(), None));
    }
    if content.is_empty() {
        return Ok(super::value(Bytes::from_static(b"null")));
    }
    let _is_json: IgnoredAny = serde_json::from_slice(content).map_err(|_| Unfit::NotJson)?;
    Ok(super::value(answer.bytes.slice_ref(content)))
}

/// What a status says: in HTTP's numbers, and in words, for there are none with it.
fn failure(code: i32) -> (u16, &'static str) {
    match code {
        4 => (503, "the server is busy"),
        6 => (404, "the server has no such service"),
        7 => (504, "the server did not end it in time"),
        0x12 => (400, "the server could not read the arguments"),
        9 | 0x11 => (
            502,
            "the server could not read the call, or write its answer",
        ),
        5 | 8 | 0x10 => (502, "the server could not answer"),
        _ => (500, "the server failed"),
    }
}
