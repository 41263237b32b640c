//! Connections: TLS, HTTP/1.1, and the faults that a connection can have.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::answer::{self, Outcome};
use super::{Emulator, webhook};
use crate::admin;
use crate::wire::{Reply, Request};

/// More than any request of the service.
const BODY_LEN_MAX: usize = 1 << 20;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);

/// Serves until `stopped` says so.
pub(super) async fn serve(
    emulator: Arc<Emulator>,
    listener: TcpListener,
    admin: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    let work = async {
        tokio::join!(
            accept(Arc::clone(&emulator), listener, true),
            accept(Arc::clone(&emulator), admin, false),
            tick(Arc::clone(&emulator)),
            webhook::deliver(Arc::clone(&emulator)),
        )
    };
    tokio::select! {
        _ = work => {}
        // An error means that the server was dropped.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

async fn tick(emulator: Arc<Emulator>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        let emulator = Arc::clone(&emulator);
        // A disk that refuses is reported to the callers whose changes it refuses.
        let _ = tokio::task::spawn_blocking(move || emulator.tick()).await;
    }
}

async fn accept(emulator: Arc<Emulator>, listener: TcpListener, tls: bool) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let emulator = Arc::clone(&emulator);
                tokio::spawn(connect(emulator, stream, peer, tls));
            }
            // Out of descriptors, most likely: others have to close theirs first.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connect(emulator: Arc<Emulator>, stream: TcpStream, peer: SocketAddr, tls: bool) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = stream.into_std() else {
        return;
    };
    // The same socket once more, to have its close made a reset.
    let Ok(socket) = socket2::SockRef::from(&stream).try_clone() else {
        return;
    };
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    let reset = Arc::new(Notify::new());
    let connection = async {
        if !tls {
            return http(emulator, stream, peer, Port::Admin, &reset).await;
        }
        let config = match emulator.faults.tls_expired() {
            true => emulator.tls.expired_config(),
            false => emulator.tls.config(),
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            http(emulator, stream, peer, Port::Vaults, &reset).await;
        }
    };
    tokio::select! {
        _ = connection => {}
        _ = reset.notified() => {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

#[derive(Clone, Copy)]
enum Port {
    Admin,
    Vaults,
}

async fn http<S>(
    emulator: Arc<Emulator>,
    stream: S,
    peer: SocketAddr,
    port: Port,
    reset: &Arc<Notify>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let emulator = Arc::clone(&emulator);
        let reset = Arc::clone(reset);
        async move {
            let request = match taken_apart(request, peer).await {
                Ok(request) => request,
                Err(reply) => return Ok::<_, Infallible>(put_together(reply)),
            };
            let outcome = match port {
                Port::Vaults => answer::answer(emulator, request).await,
                Port::Admin => answer::admin(emulator, request, admin::route).await,
            };
            match outcome {
                Outcome::Reply(reply) => Ok(put_together(reply)),
                Outcome::Reset => {
                    reset.notify_one();
                    std::future::pending().await
                }
                Outcome::BlackHole => std::future::pending().await,
            }
        }
    });
    // An error here is a client that went away.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn taken_apart(
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
) -> Result<Request, Reply> {
    let (head, body) = request.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let body = Limited::new(body, BODY_LEN_MAX)
        .collect()
        .await
        .map_err(|_| Reply::text(413, "The body is longer than 1 MiB, or was cut off."))?
        .to_bytes();
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    Ok(Request::new(
        head.method.as_str(),
        target,
        headers,
        body.to_vec(),
        peer,
    ))
}

fn put_together(reply: Reply) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name.as_str(), value.as_str());
    }
    response
        .body(Full::new(Bytes::from(reply.body)))
        .unwrap_or_else(|_| {
            // A header that echoes the client's bytes in a way HTTP does not allow.
            let mut response = hyper::Response::new(Full::new(Bytes::from_static(
                b"a header cannot be sent back",
            )));
            *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
            response
        })
}
