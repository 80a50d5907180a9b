//! HTTP/2 as far as it is ours, without a socket: frames, HPACK and flow control are the `h2` crate's. What that leaves to check
//! of a request, and what it does not show of a connection's frames, is here.

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
