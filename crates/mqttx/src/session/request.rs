//! Request and response (MQTT 5, section 4.10).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mqttx_proto::{Limits, Outcome, Property, PropertyId, QoS, SubscribeOptions, Version};
use mqttx_proto::{PropertiesRef, validate_topic};
use tokio::sync::oneshot;

use super::Session;
use super::interest::Owner;
use super::shared::Shared;
use crate::error::Error;
use crate::message::{Message, MessageRef, Publish};
use crate::router::Route;

/// Sends requests over a session and awaits their responses (MQTT 5, section 4.10).
///
/// It is subscribed to one response topic and tells the responses apart by their correlation data, so any
/// number of requests may be under way. Dropping it unsubscribes the topic, unless somebody else wants it.
///
/// ```no_run
/// # async fn example(session: mqttx::Session) -> Result<(), mqttx::Error> {
/// use mqttx::{Publish, QoS};
/// use std::time::Duration;
///
/// let requester = session.requester("plant/7/answers", QoS::AtLeastOnce).await?;
/// let question = Publish::new("recipes/get", "17").qos(QoS::AtLeastOnce);
/// let answer = requester.request(question, Duration::from_secs(5)).await?;
/// println!("{:?}", answer.payload_str());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Requester {
    session: Session,
    response_topic: Arc<str>,
    pending: Arc<Pending>,
    /// Tells the correlation data of this requester from those of others on the same topic.
    nonce: u64,
    requests: AtomicU64,
    _route: Route,
    _interest: Interest,
}

impl Session {
    /// A requester whose responses come to `response_topic`; it is ready once the server has granted the
    /// subscription, over any number of reconnects. Others must not publish to that topic without being asked:
    /// what fits no request is dropped.
    ///
    /// # Errors
    /// The session speaks MQTT 3.1.1, the topic is not valid, the server refused the subscription, or the
    /// session was removed.
    pub async fn requester(&self, response_topic: &str, qos: QoS) -> Result<Requester, Error> {
        if self.common_options().protocol == Version::V311 {
            let text = "requests need MQTT 5: 3.1.1 has no response topic and no correlation data";
            return Err(Error::config(text).with_session(self.name()));
        }
        if let Err(error) = validate_topic(response_topic) {
            return Err(Error::subscribe(format!("the response topic is not valid: {error}"))
                .with_session(self.name())
                .with_topic(response_topic));
        }
        let owner = Owner::Requester(NUMBERS.fetch_add(1, Ordering::Relaxed));
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let filters = [(response_topic, options)];
        let granted = self.request_subscribe(&filters, PropertiesRef::EMPTY, owner)?;
        let response_topic: Arc<str> = response_topic.into();
        let interest = Interest {
            shared: Arc::clone(&self.shared),
            filter: Arc::clone(&response_topic),
            owner,
        };
        let pending = Arc::new(Pending::default());
        let route = {
            let pending = Arc::clone(&pending);
            self.route(&response_topic)
                .subscribe(false)
                .inline(move |response| pending.on_response(response))?
        };
        match granted.await {
            Outcome::Subscribed(codes) => {
                if let Some(code) = codes.first().filter(|code| code.is_error()) {
                    return Err(Error::refused("SUBSCRIBE", *code, None)
                        .with_code("subscribe.refused")
                        .with_session(self.name())
                        .with_topic(&*response_topic));
                }
            }
            _ => return Err(Error::closed().with_session(self.name())),
        }
        Ok(Requester {
            session: self.clone(),
            response_topic,
            pending,
            nonce: RandomState::new().hash_one(owner_number(owner)),
            requests: AtomicU64::new(0),
            _route: route,
            _interest: interest,
        })
    }

    /// Publishes a request with QoS 1 and returns its response. The response topic is made for this one request:
    /// under the server's Response Information, when it gave one, else under `mqttx/response/`. Whoever sends
    /// more than a few takes a [`requester`](Self::requester), which subscribes only once.
    ///
    /// # Errors
    /// As for [`requester`](Self::requester) and [`Requester::request`].
    pub async fn request(
        &self,
        topic: impl Into<Arc<str>>,
        payload: impl Into<Bytes>,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let (topic, payload) = (topic.into(), payload.into());
        let until = tokio::time::Instant::now() + timeout;
        let limits = self.limits();
        let information = limits.as_ref().and_then(Limits::response_information);
        let base = information.unwrap_or("mqttx/response").trim_end_matches('/');
        let random = RandomState::new();
        let response_topic =
            format!("{base}/{:016x}{:016x}", random.hash_one(1), random.hash_one(2));
        let asking = self.requester(&response_topic, QoS::AtLeastOnce);
        let requester = tokio::time::timeout_at(until, asking).await.unwrap_or_else(|_| {
            let error = Error::timeout(format!(
                "the subscription for the response was not granted within {} ms",
                timeout.as_millis()
            ));
            Err(error.with_session(self.name()).with_topic(&*response_topic))
        })?;
        let message = Publish::new(topic, payload).qos(QoS::AtLeastOnce);
        requester
            .request(message, until.saturating_duration_since(tokio::time::Instant::now()))
            .await
    }
}

impl Requester {
    /// Most requests without a response.
    pub const MAX_PENDING: usize = 65_536;

    /// Where the responses come.
    #[must_use]
    pub fn response_topic(&self) -> &str {
        &self.response_topic
    }

    /// Requests that have no response yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.lock().len()
    }

    /// Publishes `message` with this requester's response topic, and with its own correlation data unless the
    /// message has some; returns the response. A message that could not be sent within `timeout` is not sent
    /// later, unless it has a [`ttl`](Publish::ttl) of its own.
    ///
    /// # Errors
    /// `timeout` is over; nobody subscribes the topic (reason code 0x10), where the server says so; the message is refused
    /// or cannot be sent; another request with that correlation data is under way; [`MAX_PENDING`](Self::MAX_PENDING)
    /// requests are; or the session was removed.
    pub async fn request(&self, mut message: Publish, timeout: Duration) -> Result<Message, Error> {
        let topic = Arc::clone(&message.topic);
        let fail = |error: Error| error.with_session(self.session.name()).with_topic(&*topic);
        let correlation = self.prepare(&mut message).map_err(fail)?;
        message.ttl.get_or_insert(timeout);
        let mut ticket = self.pending.wait_for(correlation).map_err(fail)?;
        let exchange = async {
            // The response may be there before the acknowledgement of the request.
            tokio::select! {
                biased;
                response = &mut ticket.response => return response.map_err(|_| Error::closed()),
                sent = self.session.publish_message(message) => {
                    let published = sent.map_err(crate::PublishError::into_error)?;
                    if published.reason == mqttx_proto::ReasonCode::NO_MATCHING_SUBSCRIBERS {
                        let text = "nobody subscribes the topic of the request";
                        return Err(Error::publish(text).with_reason(published.reason).with_temporary(true));
                    }
                }
            }
            let closed = self.session.closed();
            tokio::select! {
                biased;
                response = &mut ticket.response => response.map_err(|_| Error::closed()),
                () = closed => Err(Error::closed()),
            }
        };
        let response = tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
            Err(Error::timeout(format!("no response within {} ms", timeout.as_millis())))
        });
        response.map_err(|error| if error.session().is_some() { error } else { fail(error) })
    }

    /// Puts response topic and correlation data into the message; returns the latter.
    fn prepare(&self, message: &mut Publish) -> Result<Box<[u8]>, Error> {
        let properties = &mut message.properties;
        let own = properties.as_ref().correlation_data().map(Box::<[u8]>::from);
        properties.remove(PropertyId::ResponseTopic);
        let bad = |error| Error::publish("a property of the request").with_source(error);
        properties.push(Property::ResponseTopic(&self.response_topic)).map_err(bad)?;
        if let Some(own) = own {
            return Ok(own);
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let correlation = [self.nonce.to_be_bytes(), number.to_be_bytes()].concat();
        properties.push(Property::CorrelationData(&correlation)).map_err(bad)?;
        Ok(correlation.into_boxed_slice())
    }
}

impl Message {
    /// The response to this request: a message with QoS 1 to its response topic, with its correlation data; `None`
    /// when it asks for no response.
    ///
    /// ```no_run
    /// # async fn example(session: mqttx::Session) -> Result<(), mqttx::Error> {
    /// let mut questions = session.listen("recipes/get")?;
    /// while let Some(question) = questions.next().await {
    ///     if let Some(answer) = question.response("flour, water, salt") {
    ///         session.publish_message(answer).await?;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn response(&self, payload: impl Into<Bytes>) -> Option<Publish> {
        let properties = self.properties();
        let mut response =
            Publish::new(properties.response_topic()?, payload).qos(QoS::AtLeastOnce);
        if let Some(correlation) = properties.correlation_data() {
            // It fitted into the request.
            response.properties.push(Property::CorrelationData(correlation)).ok()?;
        }
        Some(response)
    }
}

/// The numbers of requesters in this process.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

const fn owner_number(owner: Owner) -> u64 {
    match owner {
        Owner::Requester(number) | Owner::Route(number) => number,
        Owner::Caller => 0,
    }
}

/// The requests that wait, by their correlation data.
#[derive(Debug, Default)]
struct Pending(Mutex<HashMap<Box<[u8]>, oneshot::Sender<Message>>>);

/// One of them; leaves when it is dropped.
struct Ticket<'a> {
    pending: &'a Pending,
    correlation: Box<[u8]>,
    response: oneshot::Receiver<Message>,
}

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<[u8]>, oneshot::Sender<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, correlation: Box<[u8]>) -> Result<Ticket<'_>, Error> {
        let mut waiting = self.lock();
        if waiting.len() >= Requester::MAX_PENDING {
            let text = format!("{} requests wait for their responses", Requester::MAX_PENDING);
            return Err(Error::full(text));
        }
        let (sender, response) = oneshot::channel();
        match waiting.entry(correlation.clone()) {
            Entry::Occupied(_) => {
                Err(Error::publish("a request with this correlation data is under way"))
            }
            Entry::Vacant(place) => {
                place.insert(sender);
                Ok(Ticket { pending: self, correlation, response })
            }
        }
    }

    fn on_response(&self, response: &MessageRef<'_>) {
        let properties = response.properties();
        let Some(correlation) = properties.correlation_data() else { return };
        // A request comes back to whoever subscribes its topic, and is no response.
        if properties.response_topic().is_some_and(|topic| topic == response.topic()) {
            return;
        }
        let waiting = self.lock().remove(correlation);
        if let Some(waiting) = waiting {
            // Who gave up just now does not need it.
            let _ = waiting.send(response.to_message());
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.response.close();
        let mut waiting = self.pending.lock();
        // After the response the same correlation data may belong to another request.
        if waiting.get(&self.correlation).is_some_and(oneshot::Sender::is_closed) {
            waiting.remove(&self.correlation);
        }
    }
}

/// The wish for the response topic, as long as there is a requester.
struct Interest {
    shared: Arc<Shared>,
    filter: Arc<str>,
    owner: Owner,
}

impl std::fmt::Debug for Interest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Interest").field(&self.filter).finish()
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.shared.disown(&self.filter, self.owner);
    }
}
