//! One connection that somebody else made: what comes by it is a message or an ordinary request.

use super::*;
use crate::wire::Kind;
use http::StatusCode;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::atomic::AtomicBool;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves one connection until it ends.
pub(super) async fn converse<S: Stream>(stream: S, config: Arc<Config>, shared: Arc<Shared>) {
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = asked.clone();
    let refused = shared.clone();
    let service = service_fn(move |request| {
        has_asked.store(true, Relaxed);
        answer(request, config.clone(), shared.clone())
    });
    // No header time-out: a master's connection may be idle for as long as it likes.
    let mut http = hyper::server::conn::http1::Builder::new();
    http.half_close(true);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    // But one that has never asked for anything takes the place of one that does.
    let silent = async {
        tokio::time::sleep(FIRST_REQUEST).await;
        if asked.load(Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        },
        () = silent => drop(refused.totals.connections_refused.fetch_add(1, Relaxed)),
    }
}

/// Serves one connection that was not made here, as [`Transport::bind`] serves its own: what a stranger may send can be
/// tried without a socket.
pub async fn serve_stream<S>(stream: S, config: Config, events: mpsc::Sender<Event>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let shared = Shared {
        local: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
        peers: Mutex::default(),
        events,
        totals: Totals::default(),
        generations: AtomicU64::new(0),
        tls: None,
    };
    converse(stream, Arc::new(config), Arc::new(shared)).await;
}

async fn answer(
    request: Request<Incoming>,
    config: Arc<Config>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, Infallible> {
    let kind = wire::classify(request.method(), request.uri().path(), request.headers());
    let status = match &kind {
        Kind::BadPath => Some((StatusCode::BAD_REQUEST, "bad path")),
        Kind::Message { to, .. } if !(config.is_hosted)(to) => Some((StatusCode::NOT_FOUND, "no such actor")),
        _ => None,
    };
    let (head, body) = request.into_parts();
    // A body that does not come ends its connection's request, not the connection's silence between requests.
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, config.max_body).collect()).await;
    if let Some((status, why)) = status {
        shared.totals.refused.fetch_add(1, Relaxed);
        return Ok(plain(status, why));
    }
    let Ok(Ok(body)) = body.map(|body| body.map(|body| body.to_bytes())) else {
        shared.totals.refused.fetch_add(1, Relaxed);
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "body too large, too slow or cut off"));
    };
    match kind {
        Kind::Message { from, to, name } => {
            shared.totals.received.fetch_add(1, Relaxed);
            let message = Message { from, to, name, body };
            match shared.events.send(Event::Message(message)).await {
                Ok(()) => Ok(plain(StatusCode::ACCEPTED, "")),
                Err(_) => Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "stopping")),
            }
        }
        _ => Ok((config.http)(Request::from_parts(head, body)).await),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}
