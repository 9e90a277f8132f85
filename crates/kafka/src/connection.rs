//! One connection: frames in, answers out in the order of the requests. A client may send on while
//! earlier requests wait for the disk; appends happen in the order they were sent.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::{Error, Result};
use engine::Principal;
use futures::future::BoxFuture;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::reader::Reader;
use super::sasl::{Login, Taken};
use super::security::{Endpoint, Security};
use super::versions::{self, Served};
use super::{
    acls, cluster, configs, fetch, group_admin, groups, list_offsets, metadata, offsets, one_node,
    partitions, produce, topics, transaction_admin, transactions, user_scram,
};
use crate::{App, PERMIT_BYTES};

/// Requests of one connection that wait for their answer.
const PIPELINED_MAX: usize = 64;
/// A client that is silent for so long is taken for gone (`connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(600);
/// A client that stops in the middle of a frame.
const STALLED_MAX: Duration = Duration::from_secs(30);

/// A client that takes large answers more slowly is cut off: they wait in memory.
const TAKEN_BYTES_PER_SECOND_MIN: u64 = 64 << 10;
/// Requests are read in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// Shortest request: a header.
const REQUEST_BYTES_MIN: usize = 8;
/// What a client begins with that speaks TLS: a handshake record of TLS 1.
const TLS_HELLO: i32 = 0x1603;

/// An answer in the making; none for a client that wants none.
pub type Answer = BoxFuture<'static, Result<Option<Frame>>>;

/// What is sent: one piece after the other. Records are pieces of their own, so that they need not
/// be copied.
#[derive(Default)]
pub struct Frame {
    pub pieces: VecDeque<Bytes>,
    /// Memory of the records, until the client took them.
    pub _memory: Option<OwnedSemaphorePermit>,
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Frame {
        Frame { pieces: VecDeque::from([bytes]), _memory: None }
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut n: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if n < piece.len() {
                piece.advance(n);
                return;
            }
            n -= piece.len();
            self.pieces.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces.iter().zip(slices.iter_mut());
        pieces.map(|(piece, slice)| *slice = IoSlice::new(piece)).count()
    }
}

/// Who sits at the other end.
#[derive(Clone)]
pub struct Client {
    /// What it is told to connect to: what is configured, or the address it came through.
    pub endpoint: Endpoint,
    pub peer: SocketAddr,
    /// Nobody listens in: TLS, or the same machine.
    pub is_private: bool,
    pub principal: Principal,
}

/// A request, read as far as its header.
pub struct Request {
    pub version: i16,
    pub correlation_id: i32,
    pub served: &'static Served,
    pub body: Reader,
    pub client: Arc<Client>,
    pub client_id: Option<String>,
    /// Memory of the frame.
    pub memory: Option<OwnedSemaphorePermit>,
}

impl Request {
    /// Reads the header.
    ///
    /// # Errors
    /// A request, or a version of it, that is not served.
    pub fn open(
        mut frame: Bytes,
        client: Arc<Client>,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<Request> {
        let (key, version) = (frame.get_i16(), frame.get_i16());
        let correlation_id = frame.get_i32();
        let served = Served::of(key)
            .ok_or_else(|| Error::unsupported(format!("request {key} is not served")))?;
        if !(served.min..=served.max).contains(&version) {
            let e = format!("version {version} of request {key} is not served");
            return Err(Error::unsupported(e));
        }
        let mut body = Reader::new(frame);
        let client_id = body.nullable_string()?;
        body.set_flexible(served.is_flexible(version));
        body.tags()?;
        Ok(Request { version, correlation_id, served, body, client, client_id, memory })
    }

    /// The frame of an answer.
    pub fn encode(&self, answer: &impl Encodable) -> Result<Frame> {
        encode(self.correlation_id, self.version, self.header_has_tags(), answer)
    }

    /// The beginning of the frame of an answer: room for its length, and the header.
    pub fn head(&self) -> BytesMut {
        head(self.correlation_id, self.header_has_tags())
    }

    /// The client's name, and its address as Kafka shows it.
    pub fn client(&self) -> (String, String) {
        (self.client_id.clone().unwrap_or_default(), format!("/{}", self.client.peer.ip()))
    }

    /// Answers to ApiVersions keep the first header, so that any client can read them (KIP-511).
    fn header_has_tags(&self) -> bool {
        self.served.key != ApiKey::ApiVersions && self.served.is_flexible(self.version)
    }
}

/// Serves a connection until the client goes.
pub async fn serve(app: &App, security: &Arc<Security>, socket: TcpStream) -> Result<()> {
    let bad = |e| Error::io("setting up a Kafka connection", e);
    socket.set_nodelay(true).map_err(bad)?;
    let (address, peer) = (socket.local_addr().map_err(bad)?, socket.peer_addr().map_err(bad)?);
    let own = || Endpoint { host: address.ip().to_string().into(), port: address.port() };
    let endpoint = security.advertised.clone().unwrap_or_else(own);
    let principal = Principal::Anonymous;
    let is_private = security.tls.is_some() || peer.ip().to_canonical().is_loopback();
    let mut client = Client { endpoint, peer, is_private, principal };
    let Some(tls) = &security.tls else {
        let (reading, writing) = socket.into_split();
        return exchange(app, Login::new(app, security, client), reading, writing).await;
    };
    let accepted = tokio::time::timeout(STALLED_MAX, tls.accept(socket)).await;
    let (stream, name) = accepted.map_err(|_| Error::cancelled("TLS did not begin"))??;
    if let Some(name) = name {
        client.principal = Principal::User(name.into());
    }
    let (reading, writing) = tokio::io::split(stream);
    exchange(app, Login::new(app, security, client), reading, writing).await
}

async fn exchange(
    app: &App,
    mut login: Login,
    reading: impl AsyncRead + Unpin,
    writing: impl AsyncWrite + Unpin,
) -> Result<()> {
    let (send, receive) = mpsc::channel(PIPELINED_MAX);
    let mut writing = std::pin::pin!(write(app, writing, receive));
    let served = tokio::select! {
        read = read(app, &mut login, reading, send) => match read {
            // The client may have closed its side only; what it asked for is still answered.
            Ok(()) => writing.await,
            Err(e) => Err(e),
        },
        written = &mut writing => written,
    };
    served.map_err(|e| e.context(login.client().principal.to_string()))
}

async fn read(
    app: &App,
    login: &mut Login,
    mut socket: impl AsyncRead + Unpin,
    answers: mpsc::Sender<Answer>,
) -> Result<()> {
    loop {
        let idle = Instant::now() + IDLE_MAX;
        let until = login.deadline().map_or(idle, |login| login.min(idle));
        let len = match tokio::time::timeout_at(until, socket.read_i32()).await {
            Ok(Ok(len)) => len,
            // Gone, or silent for too long.
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        let (min, max) = login.frame_bytes(REQUEST_BYTES_MIN..=app.limits.request_bytes_max);
        let len =
            usize::try_from(len).ok().filter(|n| (min..=max).contains(n)).ok_or_else(|| {
                let e =
                    Error::too_large(format!("a request of {len} bytes; {min} to {max} are taken"));
                match len >> 16 {
                    TLS_HELLO => e.hint("this is TLS, and there is no kafka.tls.certificate"),
                    _ => e,
                }
            })?;
        let (frame, memory) = read_frame(app, &mut socket, len).await?;
        let taken = match login.deadline() {
            None => login.take(frame).await?,
            Some(until) => tokio::time::timeout_at(until, login.take(frame))
                .await
                .map_err(|_| Error::cancelled("a login took too long"))??,
        };
        let (answer, is_last) = match taken {
            Taken::Request(frame) => (dispatch(app, login, frame, memory)?, false),
            Taken::Answer(frame) => (ready(Some(frame)), false),
            Taken::Last(frame) => (ready(frame), true),
        };
        if answers.send(answer).await.is_err() || is_last {
            return Ok(());
        }
    }
}

fn ready(frame: Option<Frame>) -> Answer {
    Box::pin(async move { Ok(frame) })
}

/// Memory is taken piece by piece, as the bytes come: who only announces much holds nothing.
async fn read_frame(
    app: &App,
    socket: &mut (impl AsyncRead + Unpin),
    len: usize,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>)> {
    let mut frame = BytesMut::new();
    let mut memory: Option<OwnedSemaphorePermit> = None;
    while frame.len() < len {
        let room = (len - frame.len()).min(PIECE_BYTES);
        if let Some(more) = take_memory(app, room).await? {
            match &mut memory {
                Some(memory) => memory.merge(more),
                None => memory = Some(more),
            }
        }
        frame.reserve(room);
        let piece = tokio::time::timeout(STALLED_MAX, read_piece(socket, &mut frame, room)).await;
        piece.map_err(|_| Error::cancelled("a request stopped coming"))??;
    }
    Ok((frame.freeze(), memory))
}

/// Not refused but kept waiting: the client sends on when others are done.
async fn take_memory(app: &App, bytes: usize) -> Result<Option<OwnedSemaphorePermit>> {
    let permits = (bytes / PERMIT_BYTES) as u32;
    if permits == 0 {
        return Ok(None);
    }
    let taken = app.limits.requests.clone().acquire_many_owned(permits);
    match tokio::time::timeout(STALLED_MAX, taken).await {
        Ok(taken) => Ok(taken.ok()),
        Err(_) => Err(Error::exhausted("the memory for requests is used up by others")),
    }
}

async fn read_piece(
    socket: &mut (impl AsyncRead + Unpin),
    frame: &mut BytesMut,
    len: usize,
) -> Result<()> {
    let end = frame.len() + len;
    while frame.len() < end {
        let room = end - frame.len();
        let n = socket.read_buf(&mut (&mut *frame).limit(room)).await;
        if n.map_err(|e| Error::io("reading a request", e))? == 0 {
            return Err(Error::cancelled("the connection ended within a request"));
        }
    }
    Ok(())
}

async fn write(
    app: &App,
    mut socket: impl AsyncWrite + Unpin,
    mut answers: mpsc::Receiver<Answer>,
) -> Result<()> {
    let patience = app.limits.write_timeout;
    while let Some(answer) = answers.recv().await {
        let Some(mut frame) = answer.await? else { continue };
        // Something must be taken all the time, and all of it at a least rate.
        let rate = frame.remaining() as u64 / TAKEN_BYTES_PER_SECOND_MIN;
        let until = Instant::now() + patience + Duration::from_secs(rate);
        loop {
            let is_over = !frame.has_remaining();
            let send = async {
                match is_over {
                    true => socket.flush().await,
                    false => socket.write_buf(&mut frame).await.map(|_| ()),
                }
            };
            match tokio::time::timeout_at(until.min(Instant::now() + patience), send).await {
                Ok(Ok(())) if is_over => break,
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(Error::cancelled("the client does not take its answers")),
            }
        }
    }
    Ok(())
}

fn dispatch(
    app: &App,
    login: &Login,
    frame: Bytes,
    memory: Option<OwnedSemaphorePermit>,
) -> Result<Answer> {
    let has_login = login.is_asked_for();
    if let Some(correlation_id) = versions::unknown_api_versions(&frame) {
        let answer = versions::answer(ResponseError::UnsupportedVersion.code(), has_login);
        return Ok(ready(Some(encode(correlation_id, 0, false, &answer)?)));
    }
    let request = Request::open(frame, login.client().clone(), memory)?;
    if request.served.key == ApiKey::ApiVersions {
        return Ok(ready(Some(request.encode(&versions::answer(0, has_login))?)));
    }
    if request.served.is_change {
        let (principal, peer) = (&request.client.principal, request.client.peer);
        tracing::info!(%principal, %peer, request = ?request.served.key, "admin request");
    }
    let app = app.of(&request.client.principal);
    route(&app, request)
}

fn route(app: &App, request: Request) -> Result<Answer> {
    match request.served.key {
        ApiKey::Produce => produce::answer(app, request),
        ApiKey::Fetch => fetch::answer(app, request),
        ApiKey::ListOffsets => list_offsets::answer(app, request),
        ApiKey::Metadata => metadata::answer(app, request),
        ApiKey::FindCoordinator => cluster::find_coordinator(request),
        ApiKey::JoinGroup => groups::join(app, request),
        ApiKey::SyncGroup => groups::sync(app, request),
        ApiKey::Heartbeat => groups::heartbeat(app, request),
        ApiKey::LeaveGroup => groups::leave(app, request),
        ApiKey::ConsumerGroupHeartbeat => groups::consumer_heartbeat(app, request),
        ApiKey::OffsetCommit => offsets::commit(app, request),
        ApiKey::OffsetFetch => offsets::fetch(app, request),
        ApiKey::OffsetDelete => offsets::delete(app, request),
        ApiKey::ListGroups => group_admin::list(app, request),
        ApiKey::DescribeGroups => group_admin::describe(app, request),
        ApiKey::ConsumerGroupDescribe => group_admin::describe_consumer(app, request),
        ApiKey::DeleteGroups => group_admin::delete(app, request),
        ApiKey::InitProducerId => transactions::init_producer_id(app, request),
        ApiKey::AddPartitionsToTxn => transactions::add_partitions(app, request),
        ApiKey::AddOffsetsToTxn => transactions::add_offsets(app, request),
        ApiKey::TxnOffsetCommit => transactions::commit_offsets(app, request),
        ApiKey::EndTxn => transactions::end(app, request),
        ApiKey::DescribeProducers => transaction_admin::describe_producers(app, request),
        ApiKey::DescribeTransactions => transaction_admin::describe(app, request),
        ApiKey::ListTransactions => transaction_admin::list(app, request),
        ApiKey::WriteTxnMarkers => transaction_admin::write_markers(app, request),
        ApiKey::OffsetForLeaderEpoch => cluster::offset_for_leader_epoch(app, request),
        ApiKey::DescribeCluster => cluster::describe(app, request),
        ApiKey::DescribeConfigs => configs::describe(app, request),
        ApiKey::IncrementalAlterConfigs => configs::alter_incrementally(app, request),
        ApiKey::AlterConfigs => configs::alter_all(app, request),
        ApiKey::CreatePartitions => partitions::create(app, request),
        ApiKey::DeleteRecords => partitions::delete_records(app, request),
        ApiKey::DescribeLogDirs => partitions::describe_log_dirs(app, request),
        ApiKey::AlterReplicaLogDirs => one_node::alter_log_dirs(app, request),
        ApiKey::AlterPartitionReassignments => one_node::alter_reassignments(app, request),
        ApiKey::ListPartitionReassignments => one_node::list_reassignments(request),
        ApiKey::ElectLeaders => one_node::elect_leaders(app, request),
        ApiKey::DescribeQuorum => one_node::describe_quorum(request),
        ApiKey::DescribeAcls => acls::describe(request),
        ApiKey::CreateAcls => acls::create(request),
        ApiKey::DeleteAcls => acls::delete(request),
        ApiKey::CreateTopics => topics::create(app, request),
        ApiKey::DeleteTopics => topics::delete(app, request),
        ApiKey::DescribeClientQuotas => user_scram::quotas(request),
        ApiKey::DescribeUserScramCredentials => user_scram::describe(app, request),
        ApiKey::AlterUserScramCredentials => user_scram::alter(app, request),
        other => Err(Error::unsupported(format!("request {other:?} is not served here"))),
    }
}

fn encode(
    correlation_id: i32,
    version: i16,
    header_has_tags: bool,
    answer: &impl Encodable,
) -> Result<Frame> {
    let mut frame = head(correlation_id, header_has_tags);
    answer
        .encode(&mut frame, version)
        .map_err(|e| Error::internal(format!("encoding an answer to a Kafka client: {e}")))?;
    let len = i32::try_from(frame.len() - 4);
    let len = len.map_err(|_| Error::too_large("an answer of more than 2 GiB"))?;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    Ok(frame.freeze().into())
}

fn head(correlation_id: i32, has_tags: bool) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if has_tags {
        frame.put_u8(0);
    }
    frame
}
