//! The admin interface: HTTP/1.1 on loopback or a Unix socket, Envoy's paths, changes by POST only.

pub(crate) mod client;
mod content;
mod dump;
mod guard;
mod guests;
mod listen;
mod pages;
mod router;

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ringway_config::AdminAddress;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::process::Process;
use content::Content;
use guests::{Guests, Visit};
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
    body: Content,
    allow: Option<&'static str>,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: TEXT,
            body: Content::from(body.into()),
            allow: None,
        }
    }

    fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: format!("{value:#}\n").into(),
            allow: None,
        }
    }
}

/// Answers until the process stops.
pub(crate) async fn serve(listener: AdminListener, process: Rc<Process>) {
    let places = usize::try_from(process.plan.get().admin).unwrap_or(1);
    let door = Door {
        guests: Guests::new(places),
        loopback: listener.is_loopback(),
        process,
    };
    loop {
        let admitted = match &listener {
            AdminListener::Tcp(socket) => {
                door.admit(socket.accept().await.map(|(stream, _)| stream))
                    .await
            }
            AdminListener::Unix(socket, _) => {
                door.admit(socket.accept().await.map(|(stream, _)| stream))
                    .await
            }
        };
        if let Err(error) = admitted {
            tracing::warn!(%error, "the admin interface cannot accept");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// What lets clients in.
struct Door {
    guests: Rc<Guests>,
    process: Rc<Process>,
    loopback: bool,
}

impl Door {
    async fn admit<S>(&self, accepted: io::Result<S>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let stream = TokioIo::new(accepted?);
        let closed = &self.process.stats.process.admin_cx_closed_for_room;
        let visit = self.guests.enter(|| closed.inc()).await;
        let process = Rc::clone(&self.process);
        spawn_local(converse(stream, visit, process, self.loopback));
        Ok(())
    }
}

async fn converse<S: Read + Write + Unpin>(
    stream: S,
    visit: Visit,
    process: Rc<Process>,
    loopback: bool,
) {
    let visit = &visit;
    let service = service_fn(|request| {
        let process = Rc::clone(&process);
        async move { Ok::<_, Infallible>(respond(&process, request, loopback, visit).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(64)
        .max_buf_size(32 << 10)
        .serve_connection(visit.watch(stream), service);
    tokio::select! {
        outcome = connection => {
            if let Err(error) = outcome {
                tracing::debug!(%error, "admin connection");
            }
        }
        () = visit.over() => {}
        () = sleep(CONNECTION_MAX) => {}
    }
}

async fn respond(
    process: &Process,
    request: Request<Incoming>,
    loopback: bool,
    visit: &Visit,
) -> Response<Content> {
    let (head, body) = request.into_parts();
    let answer = match guard::check(&head, process.admin.as_deref(), loopback) {
        Err(why) => Answer::text(StatusCode::FORBIDDEN, format!("{why}\n")),
        Ok(()) => match router::find(&head.method, head.uri.path()) {
            Err(refused) => refused,
            Ok(page) => match Limited::new(body, BODY_MAX).collect().await {
                Ok(_) => {
                    let _page = visit.page();
                    pages::answer(process, page, &Query::parse(head.uri.query())).await
                }
                Err(_) => {
                    Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "no page here takes a body\n")
                }
            },
        },
    };
    response(answer)
}

fn response(answer: Answer) -> Response<Content> {
    let mut response = Response::new(answer.body);
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
