//! Serves HTTP/1 and HTTP/2: a bound on connections and on the heads of requests, and a time for
//! each thing that a client has to do. How long what may take stands in `clock.rs`; what an answer
//! holds on to until it is taken in `held.rs`.

pub mod clock;
pub mod held;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::app::{App, HttpLimits};
use clock::{Clock, Timed};
use held::Answering;

/// Requests of one connection of HTTP/2 at once.
const STREAMS_MAX: u32 = 100;
/// What a client is told that finds all connections taken.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: text/plain\r\ncontent-length: 87\r\n\r\n\
    too many connections at once; try again in a moment (the limit is http.connections_max)";

/// Takes connections until the process stops; returns when the last request is answered.
pub async fn serve(app: App, listener: TcpListener, router: Router) {
    let open = Arc::new(Semaphore::new(app.limits.http.connections));
    let (running, all_ended) = watch::channel(());
    drop(all_ended);
    let mut stopping = app.stopping.clone();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(e) => {
                // Out of file handles, most likely: others may close some.
                tracing::warn!(error = %e, "an HTTP connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = open.clone().try_acquire_owned() else {
            tracing::debug!("an HTTP connection is refused: http.connections_max are open");
            let _ = socket.try_write(FULL);
            continue;
        };
        let (limits, router, stopping) = (app.limits.http, router.clone(), stopping.clone());
        let is_running = running.subscribe();
        tokio::spawn(async move {
            connection(limits, socket, router, stopping).await;
            drop((permit, is_running));
        });
    }
    drop(listener);
    running.closed().await;
}

async fn connection(
    limits: HttpLimits,
    socket: TcpStream,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = socket.set_nodelay(true);
    let clock = Arc::new(Clock::new(limits));
    let io = TokioIo::new(Timed::new(socket, clock.clone()));
    let inner = TowerToHyperService::new(router);
    let for_service = clock.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(for_service.clone());
        let begun = clock::Running::begin(&for_service);
        let answer = inner.call(request);
        async move {
            let answer = answer.await?;
            Ok::<Response<Answering>, Infallible>(answer.map(|body| begun.answer(body)))
        }
    });
    let builder = builder(&limits);
    let mut served = pin!(builder.serve_connection(io, service));
    let mut stops = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(e) = ended {
                    tracing::debug!("an HTTP connection ended: {e}");
                }
                return;
            }
            _ = stopping.wait_for(|stop| *stop), if !stops => {
                stops = true;
                served.as_mut().graceful_shutdown();
            }
            why = clock.overdue() => {
                tracing::debug!("an HTTP connection is closed: {why}");
                return;
            }
        }
    }
}

fn builder(limits: &HttpLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // From the end of the request before on; the clock knows when a head begins.
        .header_read_timeout(limits.idle_timeout + limits.head_timeout)
        .max_buf_size(limits.head_bytes_max);
    let head_bytes_max = u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(head_bytes_max)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(limits.head_bytes_max)
        .keep_alive_interval(limits.write_timeout)
        .keep_alive_timeout(limits.write_timeout);
    builder
}
