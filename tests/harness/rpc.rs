//! gRPC as others speak it: an origin and a client on `tonic`, whose messages are plain bytes.
//!
//! | method of `test.Echo` | what it does |
//! |---|---|
//! | `Unary` | gives the message and the metadata (`x-*`, with `-bin`) back, some as trailers |
//! | `Down` | sends the message as often as its first byte says, a window apart |
//! | `Up` | gives all messages back as one |
//! | `Both` | gives each message back as it comes |
//! | `Fail` | ends at once with the status of which the code is the first byte of the message, the rest of it as text |
//! | `Keep` | never answers; counts how often it was let go |
//! | `Flaky` | `Fail`s with 14 until it was asked as often as the first byte says, then as `Unary` |

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

/// Messages up to this.
const MESSAGE_MAX: usize = 8 << 20;

/// Messages that are bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicUsize,
    kept: AtomicUsize,
    /// `grpc-timeout` of each call.
    timeouts: Mutex<Vec<Option<String>>>,
}

/// An origin, listening until it is dropped.
#[derive(Debug)]
pub struct RpcOrigin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

impl RpcOrigin {
    /// Listens on a free port; so many streams at once on a connection.
    pub fn start(streams: Option<u32>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let addr = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared::default());
        let (stop, mut stopped) = watch::channel(false);
        let echo = Echo(Arc::clone(&shared));
        std::thread::spawn(move || {
            run(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
                let server = Server::builder()
                    .max_concurrent_streams(streams)
                    .add_service(echo)
                    .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
                        let _gone = stopped.changed().await;
                    });
                let _ = server.await;
            });
        });
        Self { addr, shared, stop }
    }
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }
    /// Calls of `Keep` under way.
    pub fn kept(&self) -> usize {
        self.shared.kept.load(Ordering::SeqCst)
    }
    /// The `grpc-timeout` of each call so far.
    pub fn timeouts(&self) -> Vec<Option<String>> {
        self.shared.timeouts.lock().expect("whole").clone()
    }
    /// Takes no more connections, and says GOAWAY on those there are.
    pub fn leave(&self) {
        let _ = self.stop.send(true);
    }
}

/// Runs to the end on a runtime of its own.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}

#[derive(Clone)]
struct Echo(Arc<Shared>);

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let shared = Arc::clone(&self.0);
        let count = shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let timeout = request.headers().get("grpc-timeout");
        let timeout = timeout.and_then(|text| text.to_str().ok().map(str::to_owned));
        shared.timeouts.lock().expect("whole").push(timeout);
        let mut grpc = tonic::server::Grpc::new(Raw)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        match method.to_owned().as_str() {
            "Unary" => Box::pin(async move { Ok(grpc.unary(service_fn(unary), request).await) }),
            "Down" => {
                Box::pin(async move { Ok(grpc.server_streaming(service_fn(down), request).await) })
            }
            "Up" => {
                Box::pin(async move { Ok(grpc.client_streaming(service_fn(up), request).await) })
            }
            "Both" => Box::pin(async move { Ok(grpc.streaming(service_fn(both), request).await) }),
            "Fail" => Box::pin(async move { Ok(grpc.unary(service_fn(fail), request).await) }),
            "Flaky" => Box::pin(async move {
                let flaky = service_fn(|message: Request<Bytes>| async move {
                    if count < usize::from(message.get_ref()[0]) {
                        return Err(Status::unavailable("not yet"));
                    }
                    unary(message).await
                });
                Ok(grpc.unary(flaky, request).await)
            }),
            "Keep" => Box::pin(async move {
                let keeping = service_fn(move |_: Request<Bytes>| keep(Arc::clone(&shared)));
                Ok(grpc.unary(keeping, request).await)
            }),
            _ => Box::pin(async {
                let status = Status::unimplemented("no such method");
                Ok(status.into_http())
            }),
        }
    }
}

async fn unary(message: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let (metadata, _, message) = message.into_parts();
    let mut response = Response::new(message);
    for entry in metadata.iter() {
        match entry {
            tonic::metadata::KeyAndValueRef::Ascii(key, value)
                if key.as_str().starts_with("x-") =>
            {
                response.metadata_mut().insert(key.clone(), value.clone());
            }
            tonic::metadata::KeyAndValueRef::Binary(key, value) => {
                response
                    .metadata_mut()
                    .insert_bin(key.clone(), value.clone());
            }
            tonic::metadata::KeyAndValueRef::Ascii(..) => {}
        }
    }
    Ok(response)
}

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

async fn down(message: Request<Bytes>) -> Result<Response<Messages>, Status> {
    let message = message.into_inner();
    let count = usize::from(message.first().copied().unwrap_or_default());
    let messages = tokio_stream::iter((0..count).map(move |_| Ok(message.clone())));
    Ok(Response::new(Box::pin(messages)))
}

async fn up(messages: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let mut messages = messages.into_inner();
    let mut all = Vec::new();
    while let Some(message) = messages.message().await? {
        all.extend_from_slice(&message);
    }
    Ok(Response::new(all.into()))
}

async fn both(messages: Request<Streaming<Bytes>>) -> Result<Response<Messages>, Status> {
    Ok(Response::new(Box::pin(messages.into_inner())))
}

async fn fail(message: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let message = message.into_inner();
    let code = Code::from(i32::from(message[0]));
    let mut details = MetadataMap::new();
    details.insert("x-why", "asked".parse().expect("a value"));
    let text = String::from_utf8_lossy(&message[1..]).into_owned();
    Err(Status::with_metadata(code, text, details))
}

/// Counts a call that is kept, until it is dropped.
struct Kept(Arc<Shared>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn keep(shared: Arc<Shared>) -> Result<Response<Bytes>, Status> {
    shared.kept.fetch_add(1, Ordering::SeqCst);
    let _kept = Kept(shared);
    std::future::pending::<()>().await;
    Err(Status::internal("pending for ever"))
}

/// A client of `test.Echo`.
#[derive(Clone, Debug)]
pub struct RpcClient {
    grpc: tonic::client::Grpc<Channel>,
}

impl RpcClient {
    /// Connects in cleartext by prior knowledge.
    pub async fn connect(addr: SocketAddr) -> Self {
        let endpoint = Endpoint::try_from(format!("http://{addr}")).expect("an address");
        let channel = endpoint.connect().await.expect("a connection");
        Self {
            grpc: tonic::client::Grpc::new(channel)
                .max_decoding_message_size(MESSAGE_MAX)
                .max_encoding_message_size(MESSAGE_MAX),
        }
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// One message for one.
    pub async fn unary(
        &mut self,
        method: &str,
        message: Request<Bytes>,
    ) -> Result<Response<Bytes>, Status> {
        self.ready().await?;
        self.grpc.unary(message, path(method), Raw).await
    }

    /// One message for many.
    pub async fn down(&mut self, message: Bytes) -> Result<Response<Streaming<Bytes>>, Status> {
        self.ready().await?;
        let request = Request::new(message);
        self.grpc.server_streaming(request, path("Down"), Raw).await
    }

    /// Many messages for one.
    pub async fn up(
        &mut self,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Response<Bytes>, Status> {
        self.ready().await?;
        let request = Request::new(messages);
        self.grpc.client_streaming(request, path("Up"), Raw).await
    }

    /// Many messages for many.
    pub async fn both(
        &mut self,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        self.ready().await?;
        let request = Request::new(messages);
        self.grpc.streaming(request, path("Both"), Raw).await
    }
}

fn path(method: &str) -> http::uri::PathAndQuery {
    let path = format!("/test.Echo/{method}");
    path.parse().expect("a path")
}

/// All messages of a stream.
pub async fn all(messages: Streaming<Bytes>) -> Result<Vec<Bytes>, Status> {
    messages.collect::<Result<Vec<_>, _>>().await
}

/// A request with a limit.
pub fn within(limit: Duration, message: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = Request::new(message.into());
    request.set_timeout(limit);
    request
}
