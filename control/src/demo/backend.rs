//! A small back-end for the demo: hyper on a thread of its own.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_secs(1);
/// A demo's bodies are small.
const BODY_MAX: usize = 1 << 20;

/// A running back-end.
pub(super) struct Backend {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Backend {
    /// Starts one on a free port; the one named `one` is flaky.
    pub(super) fn start(name: &'static str) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("demo-{name}"))
            .spawn(move || {
                LocalSet::new().block_on(&runtime, async {
                    tokio::select! {
                        // Dropped without a word or with one: either way it is over.
                        _ = stopped => {}
                        () = serve(name, socket) => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            stop,
            thread,
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it; connections still open are cut.
    pub(super) fn stop(self) {
        drop(self.stop);
        let _it_panicked = self.thread.join();
    }
}

async fn serve(name: &'static str, socket: std::net::TcpListener) {
    let Ok(socket) = TcpListener::from_std(socket) else {
        return;
    };
    let flaky = Rc::new(Cell::new(0_u32));
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let flaky = Rc::clone(&flaky);
        let service = service_fn(move |request| {
            let flaky = Rc::clone(&flaky);
            async move { Ok::<_, Infallible>(answer(name, request, &flaky).await) }
        });
        spawn_local(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no event here.
            let _gone = connection.await;
        });
    }
}

async fn answer(
    name: &str,
    request: Request<Incoming>,
    flaky: &Cell<u32>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return reply(StatusCode::PAYLOAD_TOO_LARGE, "too much\n".to_owned()),
    };
    match head.uri.path() {
        "/slow" => tokio::time::sleep(SLOW).await,
        "/flaky" if name == "one" => {
            let count = flaky.get();
            flaky.set(count.wrapping_add(1));
            if count.is_multiple_of(2) {
                return reply(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("back-end {name} fails this time\n"),
                );
            }
        }
        _ => {}
    }
    let mut text = format!("back-end {name}\n{} {}\n", head.method, head.uri);
    for (field, value) in &head.headers {
        let _ = writeln!(
            text,
            "{field}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    let _ = writeln!(text, "{} bytes of body", body.len());
    reply(StatusCode::OK, text)
}

fn reply(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, plain);
    response
}
