//! Calls of SOFARPC with JSON: what its clients send with their serialization `json`, and its answers.
//!
//! One argument is written as it is, several are a list; an answer is the result's JSON, or, where its headers say that it is an error,
//! the error's words as a text. Hessian, SOFARPC's other serialization, is a dialect of its own, and needs the types of all that it writes.

use super::block;
use super::head::{self, Head};
use crate::codec::{AmendError, Change, Frame, Limits};

/// The number of the serialization.
const JSON: u8 = 12;
const REQUEST_CLASS: &[u8] = b"com.alipay.sofa.rpc.core.request.SofaRequest";

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct JsonCall<'a> {
    /// The service: `interface:version[:uniqueId]`.
    pub service: &'a str,
    /// The method.
    pub method: &'a str,
}

impl JsonCall<'_> {
    /// The bytes of its frame, of Bolt's version 1, under the id 1.
    pub fn write(&self, arguments: &[u8]) -> Result<Vec<u8>, AmendError> {
        let (service, method) = (self.service.as_bytes(), self.method.as_bytes());
        let headers = [
            (&b"service"[..], service),
            (b"sofa_head_target_service", service),
            (b"sofa_head_method_name", method),
        ];
        let headers = headers.map(|(name, value)| Change {
            name,
            value: Some(value),
        });
        let block = block::amended(b"", Default::default(), &headers, &Limits::default())?;
        let head = Head {
            proto: 1,
            ver1: 0,
            kind: head::REQUEST,
            command: head::RPC_REQUEST,
            ver2: 1,
            id: 1,
            codec: JSON,
            switch: 0,
            // No limit of its own: it is told what is left of the request's.
            last: -1,
            class: REQUEST_CLASS.len(),
            header: block.len(),
            content: arguments.len(),
        };
        let mut bytes = Vec::with_capacity(head.total());
        head.write(&mut bytes);
        bytes.extend_from_slice(REQUEST_CLASS);
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(arguments);
        Ok(bytes)
    }
}

/// What an answer holds: its content, if that is JSON or nothing.
pub fn json_content(answer: &Frame) -> Option<&[u8]> {
    let head = Head::read(&answer.bytes).ok()??;
    let content = answer
        .bytes
        .get(head.header_at() + head.header..head.crc_at())?;
    (head.codec == JSON || content.is_empty()).then_some(content)
}
