//! A refused publish hands the message back.

use std::fmt;

use super::Error;
use crate::Publish;

/// The message was not accepted; it is here, unchanged.
///
/// ```
/// # fn retry(_: mqttx::Publish) {}
/// # fn example(session: &mqttx::Session, message: mqttx::Publish) {
/// if let Err(refused) = session.try_publish(message)
///     && refused.error().is_temporary()
/// {
///     retry(refused.into_message());
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct PublishError(Box<(Error, Publish)>);

impl PublishError {
    pub(crate) fn new(error: Error, message: Publish) -> Self {
        Self(Box::new((error, message)))
    }

    /// Why it was not accepted.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Publish {
        &self.0.1
    }

    /// The reason alone.
    #[must_use]
    pub fn into_error(self) -> Error {
        self.0.0
    }

    /// The message, to be tried again or kept elsewhere.
    #[must_use]
    pub fn into_message(self) -> Publish {
        self.0.1
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl fmt::Debug for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.error())
    }
}
