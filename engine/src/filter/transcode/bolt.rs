//! Calls of SOFARPC with JSON over Bolt, and their answers.

use bytes::Bytes;
use ringway_config::transcode::Transcode;
use ringway_protocols::bolt::{JsonCall, json_content};
use ringway_protocols::codec::{Frame, Verdict};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::source::Inputs;
use super::{BAD_ANSWER, Bad, refusal, values};
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
pub(super) fn answer(answer: &Frame) -> LocalReply {
    if answer.verdict == Verdict::Failed {
        let (status, text) = failure(answer.code);
        return refusal(status, "via_upstream", text, None);
    }
    let Some(content) = json_content(answer) else {
        return refusal(502, BAD_ANSWER, "the server's answer is not JSON", None);
    };
    if answer.verdict == Verdict::Exception {
        let text: Option<String> = serde_json::from_slice(content).unwrap_or_default();
        return refusal(500, "via_upstream", &text.unwrap_or_default(), None);
    }
    if content.is_empty() {
        return super::answer(200, "via_upstream", Bytes::from_static(b"null"));
    }
    match serde_json::from_slice::<IgnoredAny>(content) {
        Ok(_) => super::answer(200, "via_upstream", answer.bytes.slice_ref(content)),
        Err(_) => refusal(502, BAD_ANSWER, "the server's answer is not JSON", None),
    }
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
