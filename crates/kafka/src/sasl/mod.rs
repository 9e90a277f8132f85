//! Logins: SaslHandshake and SaslAuthenticate (KIP-43, KIP-152), the older form where messages come
//! without a header (after SaslHandshake 0), and logins anew on an open connection (KIP-368).
//! A login that fails is told nothing but that. `Login` is the state of one connection; the
//! messages of the mechanisms have a file each.

pub mod tokens;

mod oauthbearer;
mod plain;
mod scram;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::{Error, Result};
use engine::{Principal, ScramMechanism, Verifier};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, SaslAuthenticateResponse, SaslHandshakeResponse};
use tokio::time::Instant;

use super::connection::{Client, Frame, Request};
use super::security::Security;
use super::{blocking, text};
use crate::App;

/// Largest message before a login (`sasl.server.max.receive.size`), in bytes.
const MESSAGE_BYTES_MAX: usize = 512 << 10;
/// From the connection's start, or the handshake of a login anew, to its end.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// What a login that fails waits for its answer (`connection.failed.authentication.delay.ms`).
const FAILED_DELAY: Duration = Duration::from_millis(100);
/// Random bytes of a server's nonce; their base64 text has no padding.
const NONCE_BYTES: usize = 24;

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Scram(ScramMechanism),
    OAuthBearer,
}

impl Mechanism {
    pub const ALL: [Mechanism; 4] = [
        Mechanism::Plain,
        Mechanism::Scram(ScramMechanism::Sha256),
        Mechanism::Scram(ScramMechanism::Sha512),
        Mechanism::OAuthBearer,
    ];

    /// As registered with IANA.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(scram) => scram.name(),
            Mechanism::OAuthBearer => "OAUTHBEARER",
        }
    }

    pub fn from_name(name: &str) -> Option<Mechanism> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// Whether who listens in learns what to log in with.
    pub fn shows_secrets(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::OAuthBearer)
    }
}

/// What is done with a frame.
pub enum Taken {
    /// It is a request like any other.
    Request(Bytes),
    Answer(Frame),
    /// The answer, if any, is the last one.
    Last(Option<Frame>),
}

/// What a message of a mechanism leads to.
enum Step {
    /// More messages are to come.
    Challenge(Vec<u8>),
    /// The last answer; how long the login is good at most.
    Done {
        answer: Vec<u8>,
        name: String,
        expires_in: Option<Duration>,
    },
    Failed,
}

enum State {
    /// Nothing was said yet.
    Start,
    /// A mechanism is chosen.
    Handshaken,
    Scram(Box<scram::Exchange>),
    /// The token was not accepted; the client has to acknowledge that.
    TokenRefused,
    /// Requests are served.
    Open,
}

/// The login of one connection.
pub struct Login {
    app: App,
    security: Arc<Security>,
    client: Arc<Client>,
    mechanisms: Vec<Mechanism>,
    state: State,
    mechanism: Option<Mechanism>,
    /// Messages come without a header.
    is_raw: bool,
    /// The login that is good: by which mechanism, and until when.
    good: Option<(Mechanism, Option<Instant>)>,
    deadline: Instant,
}

impl Login {
    pub fn new(app: &App, security: &Arc<Security>, client: Client) -> Login {
        let mechanisms = security.mechanisms_for(client.is_private);
        // Mechanisms that are not for this connection do not make it an open one.
        let state = if security.mechanisms.is_empty() { State::Open } else { State::Start };
        Login {
            app: app.clone(),
            security: security.clone(),
            client: Arc::new(client),
            mechanisms,
            state,
            mechanism: None,
            is_raw: false,
            good: None,
            deadline: Instant::now() + LOGIN_MAX,
        }
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether clients have to log in at all.
    pub fn is_asked_for(&self) -> bool {
        !self.security.mechanisms.is_empty()
    }

    /// Until when the login must be done; none when it is.
    pub fn deadline(&self) -> Option<Instant> {
        (!matches!(self.state, State::Open)).then_some(self.deadline)
    }

    /// Bytes that a frame may have now, where those of requests have `others`.
    pub fn frame_bytes(&self, others: std::ops::RangeInclusive<usize>) -> (usize, usize) {
        match self.state {
            State::Open => (*others.start(), *others.end()),
            _ if self.is_raw => (0, MESSAGE_BYTES_MAX.min(*others.end())),
            _ => (*others.start(), MESSAGE_BYTES_MAX.min(*others.end())),
        }
    }

    /// Takes what belongs to logins.
    ///
    /// # Errors
    /// A request that is not for now; the connection must be closed without an answer.
    pub async fn take(&mut self, frame: Bytes) -> Result<Taken> {
        if self.is_raw && !matches!(self.state, State::Start | State::Open) {
            return self.raw_message(frame).await;
        }
        let key = frame.get(..2).map_or(-1, |mut key| key.get_i16());
        if key == ApiKey::SaslHandshake as i16 {
            return self.handshake(Request::open(frame, self.client.clone(), None)?);
        }
        if key == ApiKey::SaslAuthenticate as i16 {
            return self.authenticate(Request::open(frame, self.client.clone(), None)?).await;
        }
        match self.state {
            State::Open if !self.has_expired() => Ok(Taken::Request(frame)),
            State::Open => Err(Error::denied("the session is over, and no new login came")),
            State::Start if key == ApiKey::ApiVersions as i16 => Ok(Taken::Request(frame)),
            _ => Err(Error::denied(format!("request {key} came before a login"))),
        }
    }

    fn has_expired(&self) -> bool {
        let until = self.good.as_ref().and_then(|(_, until)| *until);
        until.is_some_and(|until| until <= Instant::now())
    }

    fn handshake(&mut self, mut request: Request) -> Result<Taken> {
        let name = request.body.string()?;
        let answer = |code: i16, mechanisms: &[Mechanism]| {
            let mechanisms = mechanisms.iter().map(|m| text(m.name())).collect();
            let out = SaslHandshakeResponse::default().with_error_code(code);
            request.encode(&out.with_mechanisms(mechanisms))
        };
        if self.security.mechanisms.is_empty() || !matches!(self.state, State::Start | State::Open)
        {
            let frame = answer(ResponseError::IllegalSaslState.code(), &[])?;
            return Ok(Taken::Last(Some(frame)));
        }
        // A login anew is by the same mechanism (KIP-368).
        let mechanisms = match &self.good {
            Some((mechanism, _)) => vec![*mechanism],
            None => self.mechanisms.clone(),
        };
        let Some(mechanism) = mechanisms.iter().copied().find(|m| m.name() == name) else {
            tracing::warn!(peer = %self.client.peer, mechanism = %short(&name),
                "a Kafka client asks for a SASL mechanism that is not there for it");
            let code = ResponseError::UnsupportedSaslMechanism.code();
            return Ok(Taken::Last(Some(answer(code, &mechanisms)?)));
        };
        let frame = answer(0, &mechanisms)?;
        self.is_raw = request.version == 0;
        self.mechanism = Some(mechanism);
        self.state = State::Handshaken;
        if self.good.is_some() {
            self.deadline = Instant::now() + LOGIN_MAX;
        }
        Ok(Taken::Answer(frame))
    }

    async fn authenticate(&mut self, mut request: Request) -> Result<Taken> {
        let out = SaslAuthenticateResponse::default();
        let message = request.body.bytes()?;
        if !matches!(self.state, State::Handshaken | State::Scram(_) | State::TokenRefused) {
            let code = ResponseError::IllegalSaslState;
            let out =
                out.with_error_code(code.code()).with_error_message(Some(text("no handshake")));
            return Ok(Taken::Last(Some(request.encode(&out)?)));
        }
        match self.step(message).await? {
            Step::Challenge(bytes) => {
                Ok(Taken::Answer(request.encode(&out.with_auth_bytes(bytes.into()))?))
            }
            Step::Done { answer, expires_in, .. } => {
                let lifetime = expires_in.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(0));
                let out = out.with_auth_bytes(answer.into());
                let out = match request.version {
                    0 => out,
                    _ => out.with_session_lifetime_ms(lifetime),
                };
                Ok(Taken::Answer(request.encode(&out)?))
            }
            Step::Failed => {
                let code = ResponseError::SaslAuthenticationFailed.code();
                let message = Some(text("Authentication failed"));
                let out = out.with_error_code(code).with_error_message(message);
                Ok(Taken::Last(Some(request.encode(&out)?)))
            }
        }
    }

    /// A message without a header gets an answer without one; a login that fails, none.
    async fn raw_message(&mut self, message: Bytes) -> Result<Taken> {
        let answer = match self.step(message).await? {
            Step::Challenge(bytes) => bytes,
            Step::Done { answer, .. } => answer,
            Step::Failed => return Ok(Taken::Last(None)),
        };
        let mut frame = BytesMut::new();
        frame.put_i32(answer.len() as i32);
        frame.put_slice(&answer);
        Ok(Taken::Answer(frame.freeze().into()))
    }

    /// One message further. A login that ends, well or badly, waits for its turn first.
    async fn step(&mut self, message: Bytes) -> Result<Step> {
        let ends_here = !matches!(
            (&self.state, self.mechanism),
            (State::Handshaken, Some(Mechanism::Scram(_)))
        );
        let queue = self.security.queue(self.client.peer.ip()).filter(|_| ends_here);
        let turn = match queue {
            Some(queue) => queue.acquire_owned().await.ok(),
            None => None,
        };
        let state = std::mem::replace(&mut self.state, State::Handshaken);
        let step = match (state, self.mechanism) {
            (State::Scram(exchange), _) => match exchange.finish(&message) {
                Some(answer) => done(answer.into_bytes(), exchange.name.clone()),
                None => Step::Failed,
            },
            (State::Handshaken, Some(Mechanism::Plain)) => self.plain(&message).await?,
            (State::Handshaken, Some(Mechanism::Scram(scram))) => self.scram(scram, &message)?,
            (State::Handshaken, Some(Mechanism::OAuthBearer)) => self.bearer(&message),
            // Whatever it says: its token was refused.
            _ => Step::Failed,
        };
        let step = self.limited(step);
        match &step {
            Step::Done { name, expires_in, .. } => self.open(name, *expires_in),
            Step::Failed => {
                let mechanism = self.mechanism.map_or("?", Mechanism::name);
                tracing::warn!(peer = %self.client.peer, mechanism, "a Kafka login failed");
                tokio::time::sleep(FAILED_DELAY).await;
            }
            Step::Challenge(_) => {}
        }
        drop(turn);
        Ok(step)
    }

    async fn plain(&self, message: &[u8]) -> Result<Step> {
        let Some((name, password)) = plain::parse(message) else { return Ok(Step::Failed) };
        let (users, secret) = (self.app.session.users().clone(), self.security.secret);
        blocking(move || {
            let user = users.get(&name);
            let of = |mechanism| user.as_ref().and_then(|u| u.verifier(mechanism)).cloned();
            let found = ScramMechanism::ALL.into_iter().find_map(|m| Some((m, of(m)?)));
            let (mechanism, verifier) = found.unwrap_or_else(|| {
                let mechanism = ScramMechanism::Sha256;
                (mechanism, Verifier::mock(mechanism, &name, &secret))
            });
            match verifier.is_of(mechanism, password.expose()) {
                true => done(vec![], name),
                false => Step::Failed,
            }
        })
        .await
    }

    fn scram(&mut self, mechanism: ScramMechanism, message: &[u8]) -> Result<Step> {
        let Some(first) = scram::ClientFirst::parse(message) else { return Ok(Step::Failed) };
        let user = self.app.session.users().get(&first.name).filter(|_| !first.is_token);
        let verifier = user.and_then(|u| u.verifier(mechanism).cloned());
        let verifier = verifier
            .unwrap_or_else(|| Verifier::mock(mechanism, &first.name, &self.security.secret));
        let nonce = STANDARD.encode(engine::scram::random::<NONCE_BYTES>()?);
        let (exchange, answer) = scram::Exchange::begin(mechanism, first, verifier, &nonce);
        self.state = State::Scram(Box::new(exchange));
        Ok(Step::Challenge(answer.into_bytes()))
    }

    fn bearer(&mut self, message: &[u8]) -> Step {
        let Some(message) = oauthbearer::parse(message) else { return Step::Failed };
        let bearer = self.security.tokens.as_ref().and_then(|t| t.check(&message.token));
        let bearer =
            bearer.filter(|b| message.authzid.as_ref().is_none_or(|other| *other == b.name));
        match bearer {
            Some(b) => Step::Done { answer: vec![], name: b.name, expires_in: Some(b.expires_in) },
            None => {
                self.state = State::TokenRefused;
                Step::Challenge(oauthbearer::REFUSED.to_vec())
            }
        }
    }

    /// A login is good for no longer than is configured, and one anew is of the same user.
    fn limited(&self, step: Step) -> Step {
        let Step::Done { answer, name, expires_in } = step else { return step };
        if self.good.is_some() && self.client.principal != Principal::User(name.as_str().into()) {
            return Step::Failed;
        }
        let expires_in = match (expires_in, self.security.session_lifetime) {
            (Some(token), Some(most)) => Some(token.min(most)),
            (token, most) => token.or(most),
        };
        Step::Done { answer, name, expires_in }
    }

    fn open(&mut self, name: &str, expires_in: Option<Duration>) {
        let Some(mechanism) = self.mechanism else { return };
        let principal = Principal::User(name.into());
        tracing::debug!(peer = %self.client.peer, %principal, mechanism = mechanism.name(),
            "a Kafka client logged in");
        self.good = Some((mechanism, expires_in.map(|d| Instant::now() + d)));
        self.client = Arc::new(Client { principal, ..(*self.client).clone() });
        self.state = State::Open;
        self.is_raw = false;
    }
}

fn done(answer: Vec<u8>, name: String) -> Step {
    Step::Done { answer, name, expires_in: None }
}

/// For a log line: what a stranger sent, not longer than a name.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
