//! Publishing and subscribing by session name, or on all sessions.

use std::sync::Arc;

use bytes::Bytes;
use mqttx_proto::{QoS, ReasonCode};

use super::{SessionManager, each};
use crate::error::{Error, PublishError};
use crate::message::Publish;
use crate::session::Published;

/// Publishing and subscribing by session name.
impl SessionManager {
    /// [`Session::publish`](crate::Session::publish) on the session called `name`.
    ///
    /// # Errors
    /// No session has that name, or as [`Session::publish`](crate::Session::publish); the error holds the message.
    pub async fn publish_to(
        &self,
        name: &str,
        topic: impl Into<Arc<str>>,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: bool,
    ) -> Result<Published, PublishError> {
        let message = Publish::new(topic, payload).qos(qos).retain(retain);
        match self.session(name) {
            Ok(session) => session.publish_message(message).await,
            Err(error) => Err(PublishError::new(error, message)),
        }
    }

    /// Publishes on every session at once and waits for all acknowledgements.
    pub async fn publish_to_all(
        &self,
        message: Publish,
    ) -> Vec<(String, Result<Published, PublishError>)> {
        each(self.all(), move |session| {
            let message = message.clone();
            async move { session.publish_message(message).await }
        })
        .await
    }

    /// [`Session::subscribe`](crate::Session::subscribe) on the session called `name`.
    ///
    /// # Errors
    /// No session has that name, or as [`Session::subscribe`](crate::Session::subscribe).
    pub async fn subscribe_to(
        &self,
        name: &str,
        filter: &str,
        qos: QoS,
    ) -> Result<ReasonCode, Error> {
        self.session(name)?.subscribe(filter, qos).await
    }

    /// Subscribes on every session there is now and waits for their answers.
    pub async fn subscribe_all(
        &self,
        filter: &str,
        qos: QoS,
    ) -> Vec<(String, Result<ReasonCode, Error>)> {
        let filter: Arc<str> = filter.into();
        each(self.all(), move |session| {
            let filter = Arc::clone(&filter);
            async move { session.subscribe(&filter, qos).await }
        })
        .await
    }

    /// [`Session::unsubscribe`](crate::Session::unsubscribe) on the session called `name`.
    ///
    /// # Errors
    /// No session has that name, or as [`Session::unsubscribe`](crate::Session::unsubscribe).
    pub async fn unsubscribe_to(&self, name: &str, filter: &str) -> Result<ReasonCode, Error> {
        self.session(name)?.unsubscribe(filter).await
    }

    /// Unsubscribes on every session and waits for their answers.
    pub async fn unsubscribe_all(&self, filter: &str) -> Vec<(String, Result<ReasonCode, Error>)> {
        let filter: Arc<str> = filter.into();
        each(self.all(), move |session| {
            let filter = Arc::clone(&filter);
            async move { session.unsubscribe(&filter).await }
        })
        .await
    }
}
