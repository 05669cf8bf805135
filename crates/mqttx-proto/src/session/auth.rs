//! Enhanced authentication, section 4.12: before CONNACK, and again during the connection.
//!
//! The core keeps the order of the steps; what the data means is the application's. It answers each
//! [`Event::Challenged`](super::Event::Challenged), and judges what the server says at the end.
//!
//! ```text
//!  CONNECT ──▶ Server ◀── authenticate ── Ours      0x19 ──▶ Server ◀── authenticate ── Ours
//!                │ └───── AUTH 0x18 ───────▲                    │ └───── AUTH 0x18 ───────▲
//!             CONNACK                                       AUTH 0x00
//!                ▼                                              ▼
//!             Verify ── confirm ──▶ Done ── reauthenticate ─▶ Verify ── confirm ──▶ Done
//! ```
//!
//! Only the client begins an authentication again: MQTT 5 gives the server no way to ask for it. A server that wants one
//! disconnects, with 0x87 for instance, and the next connection authenticates anew.

use std::fmt;
use std::time::Instant;

use crate::packet::ConnAck;
use crate::{
    Auth, DecodeError, EncodeError, Hidden, Properties, Property, PropertyError, ReasonCode,
};

use super::event::{CloseCause, Event};
use super::link::Stage;
use super::{Context, Session};

/// What CONNECT says of enhanced authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// The authentication method, at most 65 535 bytes `[MQTT-4.12.0-5]`.
    pub method: Box<str>,
    /// The client's first data, if the method has the client begin; at most 65 535 bytes.
    pub data: Option<Hidden>,
}

/// How often the server may ask for more in one exchange; then the client disconnects with 0x97.
pub(crate) const MAX_CHALLENGES: u8 = 16;

/// The authentication of one connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    method: Box<str>,
    step: Step,
    /// Challenges of the exchange that is under way.
    challenges: u8,
    /// When the exchange that runs during the connection is too late; before CONNACK the handshake has its own deadline.
    pub(super) deadline: Option<Instant>,
}

/// Whose turn it is.
#[derive(Debug)]
enum Step {
    /// The method came as a plain property of CONNECT: nobody here can answer.
    Unanswerable,
    Server,
    Ours,
    /// The server is content; before CONNACK with what it said, which takes effect if we are content, too.
    Verify(Option<Box<Accepted>>),
    Done,
}

/// A CONNACK that waits.
#[derive(Debug)]
struct Accepted {
    session_present: bool,
    properties: Properties,
}

/// A step of an authentication that cannot be made; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// It is not the application's turn: the exchange is over, or the connection is.
    NotNow,
    /// CONNECT named no method, or there is no connection `[MQTT-4.12.0-7]`.
    NotPossible,
    /// The data is too long for MQTT.
    Data(PropertyError),
    /// The packet cannot be encoded.
    Encode(EncodeError),
    /// The packet is larger than the server accepts.
    TooLarge {
        /// The packet's size in bytes.
        size: usize,
        /// The server's maximum.
        limit: u32,
    },
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNow => f.write_str("no authentication waits for this step"),
            Self::NotPossible => f.write_str("the connection has no authentication method"),
            Self::Data(error) => error.fmt(f),
            Self::Encode(error) => error.fmt(f),
            Self::TooLarge { size, limit } => {
                write!(f, "AUTH of {size} bytes is larger than the server's maximum of {limit}")
            }
        }
    }
}

impl std::error::Error for AuthenticateError {}

impl Exchange {
    pub(super) fn new(method: &str, answerable: bool) -> Self {
        let step = if answerable { Step::Server } else { Step::Unanswerable };
        Self { method: method.into(), step, challenges: 0, deadline: None }
    }

    /// Whether the server has to say something.
    pub(super) fn awaits_server(&self) -> bool {
        matches!(self.step, Step::Server)
    }
}

/// What the application says.
impl Session {
    /// Answers the last challenge: AUTH with 0x18 `[MQTT-4.12.0-3]`.
    ///
    /// # Errors
    /// Nothing was sent: there is no challenge to answer, or the data does not fit.
    pub fn authenticate(&mut self, data: Option<&[u8]>) -> Result<(), AuthenticateError> {
        let exchange = self.cx.link.as_ref().and_then(|link| link.exchange.as_ref());
        if !exchange.is_some_and(|exchange| matches!(exchange.step, Step::Ours)) {
            return Err(AuthenticateError::NotNow);
        }
        self.cx.send_auth(ReasonCode::CONTINUE_AUTHENTICATION, data)
    }

    /// Begins another authentication with the method of CONNECT, while everything else goes on: AUTH with 0x19
    /// `[MQTT-4.12.1-1]`. It has to be over within [`Config::handshake_timeout`](super::Config::handshake_timeout).
    ///
    /// # Errors
    /// Nothing was sent: there is no connection with a method, one is under way, or the data does not fit.
    pub fn reauthenticate(
        &mut self,
        now: Instant,
        data: Option<&[u8]>,
    ) -> Result<(), AuthenticateError> {
        let limit = self.cx.config.handshake_timeout;
        let link = self.cx.link.as_ref().filter(|link| link.is_online());
        let exchange = link.and_then(|link| link.exchange.as_ref());
        match exchange.map(|exchange| &exchange.step) {
            None | Some(Step::Unanswerable) => return Err(AuthenticateError::NotPossible),
            Some(Step::Done) => {}
            Some(_) => return Err(AuthenticateError::NotNow),
        }
        self.cx.send_auth(ReasonCode::RE_AUTHENTICATE, data)?;
        if let Some(exchange) = self.cx.exchange() {
            exchange.challenges = 0;
            exchange.deadline = Some(now + limit);
        }
        Ok(())
    }

    /// What [`Event::Authenticated`](super::Event::Authenticated) carried proves the server: a new connection is online from
    /// here on. The rest of the input that was kept back is to be offered again.
    ///
    /// # Errors
    /// The server has not said that the authentication is over.
    pub fn confirm_authentication(&mut self, now: Instant) -> Result<(), AuthenticateError> {
        let exchange = self.cx.exchange().ok_or(AuthenticateError::NotNow)?;
        let accepted = match std::mem::replace(&mut exchange.step, Step::Done) {
            Step::Verify(accepted) => accepted,
            other => {
                exchange.step = other;
                return Err(AuthenticateError::NotNow);
            }
        };
        exchange.deadline = None;
        let Some(accepted) = accepted else { return Ok(()) };
        let connack = ConnAck {
            session_present: accepted.session_present,
            reason: ReasonCode::SUCCESS,
            properties: accepted.properties.as_ref(),
        };
        if let Err(error) = self.on_accepted(&connack) {
            self.cx.fault(error);
            return Ok(());
        }
        self.pump(now);
        Ok(())
    }

    /// The authentication cannot go on, or the server could not prove itself: DISCONNECT with 0x80, and the end of the
    /// connection `[MQTT-4.12.1-2]`. Without an authentication under way it does nothing.
    pub fn fail_authentication(&mut self, why: String) {
        let under_way = |exchange: &Exchange| {
            matches!(exchange.step, Step::Server | Step::Ours | Step::Verify(_))
        };
        let link = self.cx.link.as_ref();
        if link.and_then(|link| link.exchange.as_deref()).is_some_and(under_way) {
            self.cx.give_up_authentication(ReasonCode::UNSPECIFIED_ERROR, why);
        }
    }

    /// Whether the server's word on the authentication is being judged before the connection counts: no input is taken until
    /// [`confirm_authentication`](Self::confirm_authentication) or [`fail_authentication`](Self::fail_authentication).
    #[must_use]
    pub fn is_verifying(&self) -> bool {
        self.cx.link.as_ref().is_some_and(|link| link.stage == Stage::Verifying)
    }
}

/// What the server says.
impl Session {
    /// `[MQTT-4.12.0-6]`: a server sends AUTH only to a client that named a method.
    pub(super) fn on_auth(&mut self, auth: &Auth<'_>) -> Result<(), DecodeError> {
        let Some(link) = self.cx.link.as_mut() else { return Ok(()) };
        let online = link.is_online();
        let Some(exchange) = link.exchange.as_mut() else { return Err(NO_METHOD) };
        // [MQTT-4.12.0-5]. The shortest form of a success has no properties at all (section 3.15.2.1).
        if !auth.properties.is_empty()
            && auth.properties.authentication_method() != Some(&*exchange.method)
        {
            return Err(OTHER_METHOD);
        }
        if matches!(exchange.step, Step::Unanswerable) {
            let why = "the server asks for authentication data, and there is no authenticator";
            self.cx.give_up_authentication(ReasonCode::UNSPECIFIED_ERROR, why.to_owned());
            return Ok(());
        }
        let data = auth.properties.authentication_data().map(Hidden::from);
        match auth.reason {
            ReasonCode::CONTINUE_AUTHENTICATION if exchange.awaits_server() => {
                exchange.challenges += 1;
                if exchange.challenges > MAX_CHALLENGES {
                    let why = format!("the server asked more than {MAX_CHALLENGES} times");
                    self.cx.give_up_authentication(ReasonCode::QUOTA_EXCEEDED, why);
                    return Ok(());
                }
                exchange.step = Step::Ours;
                self.cx.events.push_back(Event::Challenged { data });
                Ok(())
            }
            ReasonCode::SUCCESS if online && exchange.awaits_server() => {
                exchange.step = Step::Verify(None);
                self.cx.events.push_back(Event::Authenticated { data });
                Ok(())
            }
            ReasonCode::RE_AUTHENTICATE => Err(BEGUN_BY_SERVER),
            _ => Err(OUT_OF_TURN),
        }
    }

    /// Keeps an accepting CONNACK until its authentication data was judged; `false`: there is nothing to judge.
    pub(super) fn holds_connack(&mut self, connack: &ConnAck<'_>) -> Result<bool, DecodeError> {
        let Some(link) = self.cx.link.as_mut() else { return Ok(false) };
        let given = connack.properties;
        let method = given.authentication_method();
        if method.is_none() && given.authentication_data().is_some() {
            return Err(DecodeError::protocol("authentication data without a method"));
        }
        let Some(exchange) = link.exchange.as_mut() else {
            return if method.is_some() { Err(NO_METHOD) } else { Ok(false) };
        };
        if method.is_some_and(|method| method != &*exchange.method) {
            return Err(OTHER_METHOD);
        }
        match exchange.step {
            Step::Unanswerable => return Ok(false),
            Step::Server => {}
            _ => return Err(OUT_OF_TURN),
        }
        let accepted =
            Accepted { session_present: connack.session_present, properties: given.to_owned() };
        exchange.step = Step::Verify(Some(Box::new(accepted)));
        link.stage = Stage::Verifying;
        let data = given.authentication_data().map(Hidden::from);
        self.cx.events.push_back(Event::Authenticated { data });
        Ok(true)
    }
}

impl Context {
    fn exchange(&mut self) -> Option<&mut Exchange> {
        self.link.as_mut().filter(|link| link.stage != Stage::Closing)?.exchange.as_deref_mut()
    }

    /// Our AUTH; then it is the server's turn.
    fn send_auth(
        &mut self,
        reason: ReasonCode,
        data: Option<&[u8]>,
    ) -> Result<(), AuthenticateError> {
        let version = self.config.version;
        let link = self.link.as_mut().filter(|link| link.stage != Stage::Closing);
        let Some(link) = link else { return Err(AuthenticateError::NotNow) };
        let Some(exchange) = link.exchange.as_mut() else {
            return Err(AuthenticateError::NotPossible);
        };
        let mut properties = Properties::new();
        let method = Property::AuthenticationMethod(&exchange.method);
        properties.push(method).map_err(AuthenticateError::Data)?;
        if let Some(data) = data {
            let data = Property::AuthenticationData(data);
            properties.push(data).map_err(AuthenticateError::Data)?;
        }
        let limit = link.limits.maximum_packet_size;
        let out = link.writes.bytes_mut();
        let before = out.len();
        let auth = Auth { reason, properties: properties.as_ref() };
        auth.encode(version, out).map_err(AuthenticateError::Encode)?;
        let size = out.len() - before;
        if size > limit as usize {
            out.truncate(before);
            return Err(AuthenticateError::TooLarge { size, limit });
        }
        exchange.step = Step::Server;
        Ok(())
    }

    pub(super) fn give_up_authentication(&mut self, reason: ReasonCode, why: String) {
        let nothing = crate::PropertiesRef::EMPTY;
        self.disconnect(reason, nothing, CloseCause::Authentication(why));
    }
}

const NO_METHOD: DecodeError =
    DecodeError::protocol("an authentication method that CONNECT did not name");
const OTHER_METHOD: DecodeError =
    DecodeError::protocol("another authentication method than that of CONNECT");
const BEGUN_BY_SERVER: DecodeError =
    DecodeError::protocol("only the client may begin an authentication again");
const OUT_OF_TURN: DecodeError = DecodeError::protocol("a step of authentication out of turn");
