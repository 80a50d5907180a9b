//! The origin of HTTP/2 in cleartext: the answers of [`crate::origin`], and gRPC's unary echo for every POST.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use crate::args::Args;
use crate::error::LoadError;
use crate::origin::pattern;

/// Streams a connection may have open: more than any case has.
const STREAMS: u32 = 1000;
/// No window ever holds a case's bodies up.
const WINDOW: u32 = 16 << 20;

/// Answers until it is killed.
pub(crate) fn run(args: &Args) -> Result<(), LoadError> {
    let address: SocketAddr = args.need("listen")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(LoadError::io("runtime"))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, accept(address))
}

async fn accept(address: SocketAddr) -> Result<(), LoadError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(LoadError::io("bind"))?;
    let local = listener.local_addr();
    let ip = Ipv4Addr::LOCALHOST.into();
    println!("{}", local.unwrap_or(SocketAddr::new(ip, 0)));
    let origin = Rc::new(Origin {
        taken: Cell::new(0),
        block: Bytes::from(pattern()),
    });
    loop {
        let (stream, _) = listener.accept().await.map_err(LoadError::io("accept"))?;
        origin.taken.set(origin.taken.get() + 1);
        let origin = Rc::clone(&origin);
        tokio::task::spawn_local(async move {
            // A peer that breaks off is no affair of the others.
            let _ended = serve(&origin, stream).await;
        });
    }
}

struct Origin {
    taken: Cell<u64>,
    /// The beginning of every body.
    block: Bytes,
}

async fn serve(origin: &Rc<Origin>, stream: TcpStream) -> Result<(), h2::Error> {
    // A socket without it is only slower.
    let _set = stream.set_nodelay(true);
    let mut codec = server::Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream)
        .await?;
    while let Some(request) = codec.accept().await {
        let (request, respond) = request?;
        let get = *request.method() == Method::GET;
        if get && let Some(body) = origin.body(&request) {
            whole(respond, body)?;
        } else {
            tokio::task::spawn_local(async move {
                let _ended = echo(request, respond).await;
            });
        }
    }
    Ok(())
}

impl Origin {
    fn body(&self, request: &Request<RecvStream>) -> Option<Bytes> {
        match request.uri().path() {
            "/connections" => Some(self.taken.get().to_string().into()),
            "/head" => Some(head(request.headers())),
            path => {
                let length: usize = path.strip_prefix("/bytes/")?.parse().ok()?;
                (length <= self.block.len()).then(|| self.block.slice(..length))
            }
        }
    }
}

/// A request's fields as lines.
fn head(fields: &HeaderMap) -> Bytes {
    let mut text = BytesMut::new();
    for (name, value) in fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.freeze()
}

fn whole(mut respond: SendResponse<Bytes>, body: Bytes) -> Result<(), h2::Error> {
    let head = answer_head("application/octet-stream", Some(body.len()));
    let mut stream = respond.send_response(head, false)?;
    stream.reserve_capacity(body.len());
    // What the peer's windows do not take waits in the codec, which is given it whole.
    stream.send_data(body, true)
}

/// A message for a message, and the status of success.
async fn echo(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut stream: SendStream<Bytes> =
        respond.send_response(answer_head("application/grpc", None), false)?;
    let mut body = request.into_body();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        stream.send_data(bytes, false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

fn answer_head(kind: &'static str, length: Option<usize>) -> Response<()> {
    let mut head = Response::new(());
    let fields = head.headers_mut();
    fields.insert("server", HeaderValue::from_static("origin"));
    fields.insert(
        "date",
        HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
    );
    fields.insert("content-type", HeaderValue::from_static(kind));
    if let Some(length) = length {
        fields.insert("content-length", length.into());
    }
    head
}
