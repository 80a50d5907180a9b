//! One probe of a host: a connection of its own, a question, an answer. No connection is kept: making one is a part of what
//! is probed.

use std::fmt::Display;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use ringway_config::{EndpointAddress, HttpProbe, Probe};
use ringway_engine::{HostSpec, Location};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::secure::Secure;
use super::track::Answer;

/// What is looked at of an answer's body.
const BODY_MAX: usize = 64 << 10;

pub(super) trait Stream: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Stream for T {}

/// To a host.
pub(super) type Connection = Pin<Box<dyn Stream>>;

/// Asks a host, for as long as that may take. It is told `header` first.
pub(crate) async fn probe(
    host: &HostSpec,
    header: &[u8],
    tls: &Secure,
    probe: &Probe,
    timeout: Duration,
) -> Answer {
    let asked = tokio::time::timeout(timeout, ask(host, header, tls, probe)).await;
    match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(reason)) => Answer::Bad(reason),
        Err(_elapsed) => Answer::Timeout,
    }
}

async fn ask(
    host: &HostSpec,
    header: &[u8],
    tls: &Secure,
    probe: &Probe,
) -> Result<Answer, String> {
    let mut stream = connect(host).await.map_err(said("it cannot be reached"))?;
    if !header.is_empty() {
        let sent = stream.write_all(header).await;
        sent.map_err(said("what is sent does not arrive"))?;
    }
    let alpn: &[&[u8]] = match probe {
        Probe::Tcp { .. } => &[],
        Probe::Http(wanted) if !wanted.http2 => &[b"http/1.1"],
        Probe::Http(_) | Probe::Grpc { .. } => &[b"h2"],
    };
    let stream = tls.wrap(stream, alpn).await?;
    match probe {
        Probe::Tcp { send, expect } => tcp(stream, send, expect).await,
        Probe::Http(wanted) => http(stream, tls.scheme(), wanted, authority(host)).await,
        Probe::Grpc {
            service,
            authority: named,
        } => {
            let authority = named.clone().unwrap_or_else(|| authority(host));
            super::grpc::check(stream, tls.scheme(), service, &authority).await
        }
    }
}

/// An error in a sentence.
pub(super) fn said<E: Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

async fn connect(host: &HostSpec) -> std::io::Result<Connection> {
    let stream = match &host.location {
        Location::Unix(path) => return Ok(Box::pin(UnixStream::connect(path).await?)),
        Location::Ip(address) => TcpStream::connect(address).await?,
        // One after the other, as far as the probe's time goes.
        Location::Name(_, _, addresses) => TcpStream::connect(&addresses[..]).await?,
    };
    stream.set_nodelay(true)?;
    Ok(Box::pin(stream))
}

/// What a host is called where nothing else is said.
fn authority(host: &HostSpec) -> String {
    match &host.endpoint.address {
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Name(name, port) => format!("{name}:{port}"),
        EndpointAddress::Unix(_) => "localhost".to_owned(),
    }
}

async fn tcp(mut stream: Connection, send: &str, expect: &str) -> Result<Answer, String> {
    if !send.is_empty() {
        let sent = stream.write_all(send.as_bytes()).await;
        sent.map_err(said("what is sent does not arrive"))?;
    }
    if expect.is_empty() {
        return Ok(Answer::Good);
    }
    let mut came = Vec::new();
    loop {
        let read = stream.read_buf(&mut came).await;
        if read.map_err(said("its answer broke off"))? == 0 {
            return Err("it closed before it said what is expected".to_owned());
        }
        if contains(&came, expect.as_bytes()) {
            return Ok(Answer::Good);
        }
        if came.len() > BODY_MAX {
            return Err("it says other things than what is expected".to_owned());
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

async fn http(
    stream: Connection,
    scheme: &str,
    wanted: &HttpProbe,
    address: String,
) -> Result<Answer, String> {
    let authority = wanted.host.clone().unwrap_or(address);
    let request = request(wanted, scheme, &authority)?;
    if wanted.http2 {
        let (mut sender, connection) = http2::handshake(super::Local, TokioIo::new(stream))
            .await
            .map_err(said("it does not speak HTTP/2"))?;
        return driven(connection, async {
            let answer = sender.send_request(request).await;
            judge(answer.map_err(said("no answer"))?, wanted).await
        })
        .await;
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(said("it does not speak HTTP"))?;
    driven(connection, async {
        let answer = sender.send_request(request).await;
        judge(answer.map_err(said("no answer"))?, wanted).await
    })
    .await
}

/// Runs a connection while it is used.
pub(super) async fn driven<T>(
    connection: impl Future,
    used: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let mut connection = std::pin::pin!(connection);
    let mut used = std::pin::pin!(used);
    let mut ended = false;
    std::future::poll_fn(|cx| {
        if !ended {
            ended = connection.as_mut().poll(cx).is_ready();
        }
        used.as_mut().poll(cx)
    })
    .await
}

fn request(
    wanted: &HttpProbe,
    scheme: &str,
    authority: &str,
) -> Result<http::Request<Full<Bytes>>, String> {
    let uri = if wanted.http2 {
        format!("{scheme}://{authority}{}", wanted.path)
    } else {
        wanted.path.clone()
    };
    let mut request = http::Request::builder()
        .method(wanted.method.as_str())
        .uri(uri)
        .header(http::header::USER_AGENT, "ringway-health");
    if !wanted.http2 {
        request = request
            .header(http::header::HOST, authority)
            .header(http::header::CONNECTION, "close");
    }
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    request
        .body(Full::default())
        .map_err(said("the probe's request cannot be made"))
}

async fn judge(answer: http::Response<Incoming>, wanted: &HttpProbe) -> Result<Answer, String> {
    let status = answer.status().as_u16();
    let mut ranges = wanted.statuses.iter();
    if !ranges.any(|(first, last)| (*first..=*last).contains(&status)) {
        return Err(format!("its status is {status}"));
    }
    let degraded = answer.headers().contains_key("x-envoy-degraded");
    if !wanted.body.is_empty() {
        let body = Limited::new(answer.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(said("its body cannot be read"))?.to_bytes();
        if !contains(&body, wanted.body.as_bytes()) {
            return Err("its body does not hold what is expected".to_owned());
        }
    }
    Ok(if degraded {
        Answer::Degraded
    } else {
        Answer::Good
    })
}
