//! HTTP/2 without a socket: HPACK, the codec of a client's connection, and what a request has to be so that it may become one of
//! HTTP/1. Towards upstreams frames and flow control are the `h2` crate's; what that leaves to check of an answer is here too.

mod answer;
pub mod codec;
mod ends;
mod heads;
pub mod hpack;
mod preface;
mod request;
#[cfg(test)]
mod tests;
pub mod websocket;

pub use answer::{answer, answer_trailers};
pub use ends::EndScanner;
pub use preface::{Opening, opening};
pub use request::{Limits, Parts, Request, request, trailers};
