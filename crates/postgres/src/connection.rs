//! One connection: reads its messages within limits and gives them to the handlers. Half a message
//! is waited for until its time is over, and all that is read but not answered counts against one
//! sum for all connections. Read next: `frames.rs`, `session.rs`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use datafusion_postgres::pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use datafusion_postgres::pgwire::api::{
    ClientInfo, DefaultClient, ErrorHandler, NoopHandler, PgWireConnectionState,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use datafusion_postgres::pgwire::messages::{
    DecodeContext, PgWireFrontendMessage, ProtocolVersion,
};
use datafusion_postgres::pgwire::tokio::server::{
    PgWireMessageServerCodec, process_error, process_message,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::Framed;

use crate::errors::Codes;
use crate::frames::{self, Phase};
use crate::session::Statement;
use crate::settings;
use crate::{Handlers, Limits, PERMIT_BYTES};

/// Why a connection is ended, as the client is told: SQLSTATE and message.
struct End(&'static str, String);

/// A message with the memory it takes, and what came behind it.
struct Message {
    bytes: BytesMut,
    /// Given back when the message was answered.
    _memory: Option<OwnedSemaphorePermit>,
}

/// Read from the socket at once.
const READ_BYTES: usize = 16 << 10;
/// How long a client that finds no room may take to say who it is.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

struct Reader<'a> {
    limits: &'a Limits,
    phase: Phase,
    buffer: BytesMut,
}

impl Reader<'_> {
    fn new(limits: &Limits) -> Reader<'_> {
        Reader { limits, phase: Phase::Startup, buffer: BytesMut::new() }
    }

    /// The message that says who is there, after the client was told that there is no TLS here.
    async fn first(
        &mut self,
        socket: &mut TcpStream,
        until: Instant,
    ) -> io::Result<Option<Message>> {
        // Once for TLS, once for GSSAPI, and then the message.
        for _ in 0..3 {
            let message = match self.next(socket, Some(until)).await? {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(None),
                Err(end) => return refuse(socket, &end).await.map(|()| None),
            };
            match frames::code(&message.bytes) {
                frames::TLS | frames::GSS => socket.write_all(b"N").await?,
                _ => return Ok(Some(message)),
            }
        }
        let end = End("08P01", "encryption was asked for again".into());
        refuse(socket, &end).await.map(|()| None)
    }

    /// The next message; none when the client is gone. All of it must be there by `until`, or
    /// within the time for a message after its first byte.
    async fn next(
        &mut self,
        socket: &mut TcpStream,
        until: Option<Instant>,
    ) -> io::Result<Result<Option<Message>, End>> {
        let mut memory: Option<OwnedSemaphorePermit> = None;
        let mut until = until;
        loop {
            let length =
                match frames::length(&self.buffer, self.phase, self.limits.message_bytes_max) {
                    Ok(length) => length,
                    Err(fault) => return Ok(Err(End("08P01", fault.into()))),
                };
            if let Some(length) = length
                && self.buffer.len() >= length
            {
                let bytes = self.buffer.split_to(length);
                if self.buffer.is_empty() {
                    // A large message does not leave its room behind.
                    self.buffer = BytesMut::new();
                }
                return Ok(match frames::check(&bytes, self.phase) {
                    Ok(()) => Ok(Some(Message { bytes, _memory: memory })),
                    Err(fault) => Err(End("08P01", fault.into())),
                });
            }
            if !self.buffer.is_empty() && until.is_none() {
                until = Some(Instant::now() + self.limits.message_timeout);
            }
            if !self.account(&mut memory) {
                let message = "too much is being sent at once; try again later";
                return Ok(Err(End("53200", message.into())));
            }
            self.buffer.reserve(READ_BYTES);
            let mut room = (&mut *socket).take(READ_BYTES as u64);
            let read = room.read_buf(&mut self.buffer);
            let n = match until {
                None => read.await?,
                Some(until) => match timeout_at(until, read).await {
                    Ok(n) => n?,
                    Err(_) => return Ok(Err(End("08006", "a message did not end in time".into()))),
                },
            };
            if n == 0 {
                return Ok(Ok(None));
            }
        }
    }

    /// Counts what is in the buffer beyond the little that each connection has.
    fn account(&self, memory: &mut Option<OwnedSemaphorePermit>) -> bool {
        let held = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = self.buffer.len() / PERMIT_BYTES;
        let Some(more) = wanted.checked_sub(held).filter(|m| *m > 0) else { return true };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let Ok(permit) = self.limits.messages.clone().try_acquire_many_owned(more) else {
            return false;
        };
        match memory {
            Some(memory) => memory.merge(permit),
            None => *memory = Some(permit),
        }
        true
    }
}

/// Serves a client until it leaves.
pub async fn serve(mut socket: TcpStream, limits: &Limits, handlers: Handlers) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let address = socket.peer_addr()?;
    let mut reader = Reader::new(limits);
    let until = Instant::now() + limits.startup_timeout;
    let Some(first) = reader.first(&mut socket, until).await? else { return Ok(()) };
    let client = DefaultClient::new(address, false);
    let mut framed = Framed::new(socket, PgWireMessageServerCodec::new(client));
    framed.set_state(PgWireConnectionState::AwaitingStartup);
    let mut next = Some(first);
    while let Some(message) = next {
        if !answer(&mut framed, message, reader.phase, &handlers).await? {
            return Ok(());
        }
        reader.phase = Phase::Queries;
        next = match reader.next(framed.get_mut(), None).await? {
            Ok(message) => message,
            Err(end) => return refuse(framed.get_mut(), &end).await,
        };
    }
    Ok(())
}

/// Says that there is no room for a client, once it has said who it is. A cancel is taken: it ends
/// work.
pub async fn no_room(
    mut socket: TcpStream,
    limits: &Limits,
    cancel: &DefaultCancelHandler,
) -> io::Result<()> {
    let mut reader = Reader::new(limits);
    let until = Instant::now() + REFUSAL_PATIENCE;
    let Some(mut first) = reader.first(&mut socket, until).await? else { return Ok(()) };
    if let Ok(Some(PgWireFrontendMessage::CancelRequest(request))) =
        decode(&mut first.bytes, Phase::Startup, ProtocolVersion::default())
    {
        cancel.on_cancel_request(request).await;
        return Ok(());
    }
    let end = End("53300", "sorry, too many clients already (pg.connections_max)".into());
    refuse(&mut socket, &end).await
}

/// Answers one message. False when the connection is over.
async fn answer(
    framed: &mut Framed<TcpStream, PgWireMessageServerCodec<Statement>>,
    mut message: Message,
    phase: Phase,
    handlers: &Handlers,
) -> io::Result<bool> {
    let decoded = decode(&mut message.bytes, phase, framed.protocol_version());
    let decoded = match decoded {
        Ok(Some(decoded)) if message.bytes.is_empty() => decoded,
        Ok(_) => {
            let end = End("08P01", "the message is not understood".into());
            return refuse(framed.get_mut(), &end).await.map(|()| false);
        }
        Err(e) => {
            let end = End("08P01", e.to_string());
            return refuse(framed.get_mut(), &end).await.map(|()| false);
        }
    };
    if matches!(decoded, PgWireFrontendMessage::Terminate(_)) {
        return Ok(false);
    }
    let over = matches!(decoded, PgWireFrontendMessage::CancelRequest(_));
    let extended = decoded.is_extended_query();
    // The library never lets a failed transaction go on, but for its end.
    if goes_back(framed, &decoded) {
        framed.set_transaction_status(TransactionStatus::Transaction);
    }
    let done = process_message(
        decoded,
        framed,
        handlers.startup.clone(),
        handlers.session.clone(),
        handlers.session.clone(),
        Arc::new(NoopHandler),
        Arc::new(handlers.cancel()),
    );
    if let Err(mut e) = done.await {
        Codes.on_error(framed, &mut e);
        let info = ErrorInfo::from(e);
        let fatal = phase == Phase::Startup || info.is_fatal();
        process_error(framed, PgWireError::UserError(Box::new(info)), extended).await?;
        return Ok(!fatal);
    }
    Ok(!over)
}

/// ROLLBACK TO a savepoint in a failed transaction.
fn goes_back(
    framed: &Framed<TcpStream, PgWireMessageServerCodec<Statement>>,
    message: &PgWireFrontendMessage,
) -> bool {
    if framed.transaction_status() != TransactionStatus::Error {
        return false;
    }
    match message {
        PgWireFrontendMessage::Query(query) => settings::goes_back(&query.query),
        PgWireFrontendMessage::Parse(parse) => settings::goes_back(&parse.query),
        _ => false,
    }
}

fn decode(
    bytes: &mut BytesMut,
    phase: Phase,
    version: ProtocolVersion,
) -> PgWireResult<Option<PgWireFrontendMessage>> {
    let mut context = DecodeContext::new(version);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = phase == Phase::Startup;
    PgWireFrontendMessage::decode(bytes, &context)
}

async fn refuse(socket: &mut TcpStream, end: &End) -> io::Result<()> {
    socket.write_all(&frames::fatal(end.0, &end.1)).await?;
    socket.shutdown().await
}
