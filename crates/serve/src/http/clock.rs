//! When a connection is overdue: a head that does not come to its end, an answer that nobody takes,
//! nothing at all for long. It is told of each byte and of each request, and asked for the time;
//! hyper's own time-outs know neither the first byte of a head nor a client that stopped reading.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::held::Answering;
use crate::app::HttpLimits;
use crate::rest::KEEP_ALIVE;

/// How soon at least something overdue is seen.
const LOOK_MIN: Duration = Duration::from_millis(50);

/// What a connection does, and since when.
pub struct Clock {
    limits: HttpLimits,
    now: Mutex<Now>,
}

struct Now {
    /// Requests whose answer is not known yet: these have time-outs of their own.
    working: usize,
    /// Answers on their way.
    answering: usize,
    /// The first byte of a head that is not complete.
    head_since: Option<Instant>,
    /// The last byte, or the end of an answer.
    moved: Instant,
    /// When each large answer must have been taken.
    owed: Vec<Instant>,
}

impl Clock {
    pub fn new(limits: HttpLimits) -> Clock {
        let now =
            Now { working: 0, answering: 0, head_since: None, moved: Instant::now(), owed: vec![] };
        Clock { limits, now: Mutex::new(now) }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> Option<(Instant, &'static str)> {
        let now = self.now();
        let owed = now.owed.iter().min().map(|at| (*at, "the client takes its answer too slowly"));
        let other = self.due_otherwise(&now);
        owed.into_iter().chain(other).min_by_key(|(at, _)| *at)
    }

    fn due_otherwise(&self, now: &Now) -> Option<(Instant, &'static str)> {
        if now.working > 0 {
            return None;
        }
        if now.answering > 0 {
            // A stream of events is quiet between two comments.
            let quiet = self.limits.write_timeout.max(2 * KEEP_ALIVE);
            return Some((now.moved + quiet, "the client does not take its answer"));
        }
        Some(match now.head_since {
            Some(since) => (since + self.limits.head_timeout, "the head of a request is too slow"),
            None => (now.moved + self.limits.idle_timeout, "nothing came for long"),
        })
    }

    /// Resolves when the client had its time, and says for what.
    pub async fn overdue(&self) -> &'static str {
        // A head may begin while this sleeps, and has less time than what was waited for.
        let look = self.limits.head_timeout.min(self.limits.idle_timeout).max(LOOK_MIN);
        loop {
            let now = Instant::now();
            match self.due() {
                Some((at, why)) if at <= now => return why,
                Some((at, _)) => tokio::time::sleep_until(at.min(now + look)).await,
                None => tokio::time::sleep(look).await,
            }
        }
    }

    fn read(&self) {
        let mut now = self.now();
        now.moved = Instant::now();
        if now.working + now.answering == 0 && now.head_since.is_none() {
            now.head_since = Some(now.moved);
        }
    }

    fn written(&self) {
        self.now().moved = Instant::now();
    }
}

/// A large answer, until its last byte is sent.
pub struct Owed {
    clock: Arc<Clock>,
    until: Instant,
}

impl Owed {
    pub fn begin(clock: &Arc<Clock>, bytes: u64) -> Option<Owed> {
        let HttpLimits { write_timeout, answer_rate_min, .. } = clock.limits;
        let time = Duration::from_secs(bytes.checked_div(answer_rate_min)?);
        let until = Instant::now() + write_timeout + time;
        clock.now().owed.push(until);
        Some(Owed { clock: clock.clone(), until })
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let owed = &mut self.clock.now().owed;
        if let Some(at) = owed.iter().position(|until| *until == self.until) {
            owed.swap_remove(at);
        }
    }
}

/// A request that is worked on, then its answer, until both are over.
pub struct Running {
    clock: Arc<Clock>,
    is_answering: bool,
}

impl Running {
    pub fn begin(clock: &Arc<Clock>) -> Running {
        let mut now = clock.now();
        now.working += 1;
        now.head_since = None;
        drop(now);
        Running { clock: clock.clone(), is_answering: false }
    }

    pub fn answer(mut self, body: Body) -> Answering {
        let mut now = self.clock.now();
        now.working -= 1;
        now.answering += 1;
        now.moved = Instant::now();
        drop(now);
        self.is_answering = true;
        Answering::new(body, self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut now = self.clock.now();
        match self.is_answering {
            true => now.answering -= 1,
            false => now.working -= 1,
        }
        now.moved = Instant::now();
    }
}

/// A socket that tells the clock, and fails when the client takes nothing for too long.
pub struct Timed {
    socket: TcpStream,
    clock: Arc<Clock>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub fn new(socket: TcpStream, clock: Arc<Clock>) -> Timed {
        Timed { socket, clock, stalled: None }
    }

    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            self.clock.written();
            return written;
        }
        let timeout = self.clock.limits.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match stalled.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.clock.read();
        }
        read
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
