//! The admin interface: HTTP/1.1 on loopback or a Unix socket, Envoy's paths, changes by POST only.

pub(crate) mod client;
mod dump;
mod guard;
mod listen;
mod pages;
mod router;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ringway_config::AdminAddress;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::process::Process;
use router::Query;

pub(crate) use listen::AdminListener;

/// Nothing that is posted here has a body; what one sends is read and forgotten up to this, so that it may read the answer.
const BODY_MAX: usize = 64 << 10;
/// A head takes little; between requests, longer than the usual interval of a scraper.
const HEAD_TIMEOUT: Duration = Duration::from_secs(70);
/// A client that reads no answer holds one of few places: not for ever.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// Without descriptors, accepting waits this long instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address as the configuration writes it.
pub(crate) fn text_of(address: &AdminAddress) -> String {
    match address {
        AdminAddress::Tcp(address) => address.to_string(),
        AdminAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Plain text.
const TEXT: &str = "text/plain; charset=utf-8";

/// What a page answers.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    allow: Option<&'static str>,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: TEXT,
            body: body.into(),
            allow: None,
        }
    }

    fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: format!("{value:#}\n"),
            allow: None,
        }
    }
}

/// Answers until the process stops.
pub(crate) async fn serve(listener: AdminListener, process: Rc<Process>) {
    let places = usize::try_from(process.plan.get().admin).unwrap_or(1);
    let places = Arc::new(Semaphore::new(places));
    let local = listener.is_loopback();
    loop {
        // The semaphore is never closed. A client beyond the limit waits in the kernel's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let process = Rc::clone(&process);
        let accepted = match &listener {
            AdminListener::Tcp(socket) => socket.accept().await.map(|(stream, _)| {
                spawn_local(async move {
                    converse(TokioIo::new(stream), process, local).await;
                    drop(place);
                });
            }),
            AdminListener::Unix(socket, _) => socket.accept().await.map(|(stream, _)| {
                spawn_local(async move {
                    converse(TokioIo::new(stream), process, local).await;
                    drop(place);
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "the admin interface cannot accept");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn converse<S: Read + Write + Unpin>(stream: S, process: Rc<Process>, loopback: bool) {
    let service = service_fn(|request| {
        let process = Rc::clone(&process);
        async move { Ok::<_, Infallible>(respond(&process, request, loopback).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(64)
        .max_buf_size(32 << 10)
        .serve_connection(stream, service);
    match timeout(CONNECTION_MAX, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
    }
}

async fn respond(
    process: &Process,
    request: Request<Incoming>,
    loopback: bool,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answer = match guard::check(&head, process.admin.as_deref(), loopback) {
        Err(why) => Answer::text(StatusCode::FORBIDDEN, format!("{why}\n")),
        Ok(()) => match router::find(&head.method, head.uri.path()) {
            Err(refused) => refused,
            Ok(page) => match Limited::new(body, BODY_MAX).collect().await {
                Ok(_) => pages::answer(process, page, &Query::parse(head.uri.query())).await,
                Err(_) => {
                    Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "no page here takes a body\n")
                }
            },
        },
    };
    response(answer)
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    fields.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0"),
    );
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(allow) = answer.allow {
        fields.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
