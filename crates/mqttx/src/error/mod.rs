//! The library's error type: what went wrong, in which session, and what the caller can do about it.

mod config;
mod publish;

pub use config::{ConfigErrors, ConfigProblem};
pub use publish::PublishError;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use mqttx_proto::ReasonCode;

/// A failed operation.
///
/// It is one pointer wide. Its text says what to do next, [`kind`](Self::kind) and [`code`](Self::code)
/// are for programs.
///
/// ```
/// let error = mqttx::Error::connection("the broker does not answer")
///     .with_session("plant")
///     .with_context("retry_count", 3);
/// assert!(error.is_temporary());
/// assert_eq!(error.session(), Some("plant"));
/// assert_eq!(error.code(), "connection.failed");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

/// What failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transport: name resolution, connect, read, write, keep-alive.
    Connection,
    /// An option is missing, unknown or out of range.
    Config,
    /// A message cannot be sent as it is.
    Publish,
    /// A filter cannot be subscribed or unsubscribed.
    Subscribe,
    /// A forwarder.
    Forwarder,
    /// A session: unknown, there already, in the wrong state.
    Session,
    /// A deadline of the caller passed.
    Timeout,
    /// The store.
    Store,
    /// The server said no; [`Error::reason_code`] says why.
    Refused,
    /// The peer broke the protocol.
    Protocol,
    /// Credentials that could not be had, or an authentication that failed on our side.
    Authentication,
    /// The outbox has no room.
    Full,
    /// The session was removed, or the manager shut down.
    Closed,
}

/// How bad it is for a running process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Expected in normal operation.
    Info,
    /// Heals by itself or concerns one message.
    Warning,
    /// One operation or session failed and needs a look.
    Error,
    /// Messages may be lost or nothing works until somebody acts.
    Critical,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: &'static str,
    temporary: bool,
    reason: Option<ReasonCode>,
    message: Cow<'static, str>,
    session: Option<Box<str>>,
    topic: Option<Box<str>>,
    context: Vec<(Cow<'static, str>, String)>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of the given kind; it is temporary and has the code that fit its kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: kind.code(),
            temporary: kind.heals(),
            reason: None,
            message: message.into(),
            session: None,
            topic: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The transport failed; a retry may help.
    #[must_use]
    pub fn connection(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Connection, message)
    }

    /// An option cannot be used.
    #[must_use]
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A message cannot be published.
    #[must_use]
    pub fn publish(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Publish, message)
    }

    /// A filter cannot be subscribed or unsubscribed.
    #[must_use]
    pub fn subscribe(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Subscribe, message)
    }

    /// A forwarder failed.
    #[must_use]
    pub fn forwarder(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Forwarder, message)
    }

    /// A session is unknown, there already or in the wrong state.
    #[must_use]
    pub fn session_error(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Session, message)
    }

    /// A deadline of the caller passed.
    #[must_use]
    pub fn timeout(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Timeout, message)
    }

    /// The store failed.
    #[must_use]
    pub fn store(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Store, message)
    }

    /// Another process, or another session of this one, opened the stored state of `session` and owns it now.
    #[must_use]
    pub fn fenced(session: &str) -> Self {
        let text = "fenced: another owner has taken over the stored state of this session";
        Self::store(text).with_code("store.fenced").with_session(session)
    }

    /// The peer broke the protocol.
    #[must_use]
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// The outbox has no room.
    #[must_use]
    pub fn full(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Full, message)
    }

    /// The session is gone.
    #[must_use]
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the session was removed")
    }

    /// The server refused with `reason`; `what` names the packet or operation.
    #[must_use]
    pub fn refused(what: &str, reason: ReasonCode, reason_string: Option<&str>) -> Self {
        let text = match reason_string {
            Some(text) if !text.is_empty() => format!("{what} refused: {reason}: {text}"),
            _ => format!("{what} refused: {reason}"),
        };
        let mut error = Self::new(ErrorKind::Refused, text);
        error.0.reason = Some(reason);
        error
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same operation may succeed later without any change.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout || self.0.code.ends_with(".timeout")
    }

    /// How bad it is for a running process.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.0.kind {
            ErrorKind::Closed => Severity::Info,
            ErrorKind::Store => Severity::Critical,
            _ if self.0.temporary => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// A stable name for programs and logs, such as `publish.refused`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The reason code that the server gave, or that was sent to it.
    #[must_use]
    pub fn reason_code(&self) -> Option<ReasonCode> {
        self.0.reason
    }

    /// The session that it happened in.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.0.session.as_deref()
    }

    /// The topic or filter that it concerns.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.0.topic.as_deref()
    }

    /// The message alone, without session, topic and context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Further facts, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.context.iter().map(|(key, value)| (key.as_ref(), value.as_str()))
    }

    /// Names the session.
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.0.session = Some(session.into().into_boxed_str());
        self
    }

    /// Names the topic or filter.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>) -> Self {
        self.0.topic = Some(topic.into().into_boxed_str());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn with_context(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
    ) -> Self {
        self.0.context.push((key.into(), value.to_string()));
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Attaches the reason code that belongs to it.
    #[must_use]
    pub fn with_reason(mut self, reason: ReasonCode) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// Replaces the stable name.
    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    /// Says whether a later retry may succeed, where the kind alone does not tell.
    pub(crate) fn with_temporary(mut self, temporary: bool) -> Self {
        self.0.temporary = temporary;
        self
    }
}

impl ErrorKind {
    const fn code(self) -> &'static str {
        match self {
            Self::Connection => "connection.failed",
            Self::Config => "config.invalid",
            Self::Publish => "publish.invalid",
            Self::Subscribe => "subscribe.invalid",
            Self::Forwarder => "forwarder.failed",
            Self::Session => "session.invalid",
            Self::Timeout => "timeout",
            Self::Store => "store.failed",
            Self::Refused => "server.refused",
            Self::Protocol => "protocol.violated",
            Self::Authentication => "authentication.failed",
            Self::Full => "outbox.full",
            Self::Closed => "session.closed",
        }
    }

    const fn heals(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::Timeout | Self::Full | Self::Protocol | Self::Authentication
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(session) = self.session() {
            write!(f, ", session {session}")?;
        }
        if let Some(topic) = self.topic() {
            write!(f, ", topic {topic}")?;
        }
        for (key, value) in self.context() {
            write!(f, ", {key} {value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("message", &format_args!("{self}"))
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::config(errors.to_string()).with_source(errors)
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        error.into_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_everything_that_is_known() {
        let error = Error::publish("the topic is empty")
            .with_session("plant")
            .with_topic("a/b")
            .with_context("attempt", 2);
        assert_eq!(error.to_string(), "the topic is empty, session plant, topic a/b, attempt 2");
        assert_eq!(error.context().collect::<Vec<_>>(), [("attempt", "2")]);
    }

    #[test]
    fn source_is_kept_through_clones() {
        let error = Error::connection("no route").with_source(std::io::Error::other("cable cut"));
        let source = std::error::Error::source(&error.clone()).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("cable cut"));
    }

    #[test]
    fn refusals_carry_the_reason_and_are_not_temporary() {
        let error = Error::refused("CONNECT", ReasonCode::new(0x87), Some("go away"));
        assert_eq!(error.reason_code(), Some(ReasonCode::new(0x87)));
        assert!(!error.is_temporary());
        assert!(error.to_string().ends_with("go away"), "{error}");
        assert_eq!(error.severity(), Severity::Error);
    }

    #[test]
    fn timeouts_are_temporary_timeouts() {
        let error = Error::timeout("not connected after 5 s");
        assert!(error.is_timeout() && error.is_temporary());
        assert!(!Error::closed().is_timeout());
    }

    #[test]
    fn one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
