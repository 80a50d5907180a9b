//! The gRPC health service as a probe (`grpc.health.v1.Health/Check`), over HTTP/2 as a client of hyper makes it. The two
//! messages are a field each, so they are written and read here.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;

use super::probe::{Connection, driven, said};
use super::track::Answer;

/// A health answer is seven bytes.
const ANSWER_MAX: usize = 4 << 10;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

pub(super) async fn check(
    stream: Connection,
    scheme: &str,
    service: &str,
    authority: &str,
) -> Result<Answer, String> {
    let request = http::Request::post(format!(
        "{scheme}://{authority}/grpc.health.v1.Health/Check"
    ))
    .header(http::header::CONTENT_TYPE, "application/grpc")
    .header(http::header::TE, "trailers")
    .header(http::header::USER_AGENT, "ringway-health")
    .body(Full::new(question(service)))
    .map_err(said("the probe's request cannot be made"))?;
    let (mut sender, connection) = http2::handshake(super::Local, TokioIo::new(stream))
        .await
        .map_err(said("it does not speak HTTP/2"))?;
    driven(connection, async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(said("no answer"))?;
        let status = answer.status();
        if status != http::StatusCode::OK {
            return Err(format!("its HTTP status is {status}"));
        }
        let head = answer.headers().clone();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(said("its answer cannot be read"))?;
        let code = body.trailers().unwrap_or(&head).get("grpc-status");
        match code.map(http::HeaderValue::as_bytes) {
            Some(b"0") => {}
            Some(code) => {
                return Err(format!(
                    "its gRPC status is {}",
                    String::from_utf8_lossy(code)
                ));
            }
            None => return Err("it gives no gRPC status".to_owned()),
        }
        match serving(&body.to_bytes()) {
            Some(SERVING) => Ok(Answer::Good),
            Some(2) => Err("it says NOT_SERVING".to_owned()),
            Some(3) => Err("it does not know the service".to_owned()),
            Some(other) => Err(format!("its serving status is {other}")),
            None => Err("its answer is no health answer".to_owned()),
        }
    })
    .await
}

/// `HealthCheckRequest { string service = 1; }` in gRPC's frame: not compressed, a length of four bytes.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length as u8) | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

/// `HealthCheckResponse { ServingStatus status = 1; }`; none: it is something else. Absent, the status is 0.
fn serving(framed: &[u8]) -> Option<u64> {
    let (head, message) = framed.split_first_chunk::<5>()?;
    let [0, length @ ..] = head else { return None };
    if u32::from_be_bytes(*length) as usize != message.len() {
        return None;
    }
    match message {
        [] => Some(0),
        [0x08, status @ 0..=0x7f] => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_protobuf_in_a_grpc_frame() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn the_answer_is_read_whatever_comes() {
        for (bytes, expect) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0, 0], None),
            (&[], None),
            (&[0, 0, 0, 0, 2, 8, 0x81], None),
        ] {
            assert_eq!(serving(bytes), expect, "{bytes:?}");
        }
    }
}
