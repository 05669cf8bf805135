//! The builder of session options.

#[cfg(feature = "redis")]
mod redis;
mod ways;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mqttx_proto::{Property, PropertyContext, QoS, SessionExpiry, Version};

use super::{
    Backoff, OnRefusal, Outbox, Performance, Secret, SessionOptions, TlsOptions, Will, WireLog,
};
use crate::auth::{AuthOptions, Authenticator, CredentialsProvider};
use crate::error::{ConfigErrors, ConfigProblem};
use crate::store::{FileStore, Store};

/// Builds [`SessionOptions`]; the meaning of each option is told there.
///
/// ```
/// # use std::time::Duration;
/// let errors = mqttx::SessionBuilder::new("plant")
///     .broker("mqtt://plant:70000")
///     .keep_alive(Duration::from_secs(100_000))
///     .build()
///     .unwrap_err();
/// assert_eq!(errors.problems().len(), 2, "every problem is named at once");
/// ```
#[derive(Clone, Debug)]
pub struct SessionBuilder {
    options: SessionOptions,
    problems: Vec<ConfigProblem>,
    #[cfg(feature = "redis")]
    redis: redis::Wanted,
}

impl SessionBuilder {
    /// Starts options for the session `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let options = SessionOptions { name: name.into(), ..SessionOptions::default() };
        Self {
            options,
            problems: Vec::new(),
            #[cfg(feature = "redis")]
            redis: redis::Wanted::default(),
        }
    }

    /// Finishes the options.
    ///
    /// # Errors
    /// Every option that cannot be used, with its value and what is allowed.
    pub fn build(mut self) -> Result<SessionOptions, ConfigErrors> {
        #[cfg(feature = "redis")]
        self.redis.apply(&mut self.options, &mut self.problems);
        self.problems.extend(self.options.problems());
        self.problems.extend(self.options.unused_tls());
        match ConfigErrors::from_problems(self.problems) {
            Some(errors) => Err(errors),
            None => Ok(self.options),
        }
    }

    /// Adds a broker, to be used when those before it fail.
    #[must_use]
    pub fn broker(mut self, broker: impl Into<String>) -> Self {
        self.options.brokers.push(broker.into());
        self
    }

    /// Adds brokers, to be used in their order.
    #[must_use]
    pub fn brokers<I: IntoIterator<Item: Into<String>>>(mut self, brokers: I) -> Self {
        self.options.brokers.extend(brokers.into_iter().map(Into::into));
        self
    }

    /// Sets whom to trust and who we are, for brokers that are reached by TLS. At least one must be: `mqtts://`, or
    /// without a scheme.
    #[must_use]
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.options.tls = Some(options);
        self
    }

    /// Sets TLS by files: the authorities, our certificate and its key, each none when empty. `danger_skip_verify` accepts
    /// any certificate of the server: see [`TlsOptions::danger_accept_invalid_certs`].
    #[must_use]
    pub fn tls_files(
        self,
        ca: impl Into<PathBuf>,
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        danger_skip_verify: bool,
    ) -> Self {
        let given = |path: PathBuf| (!path.as_os_str().is_empty()).then(|| path.into());
        let mut tls = TlsOptions::new().danger_accept_invalid_certs(danger_skip_verify);
        (tls.ca, tls.cert, tls.key) = (given(ca.into()), given(cert.into()), given(key.into()));
        self.tls(tls)
    }

    /// Sets the local address of the connections.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.options.bind = Some(address);
        self
    }

    /// Sets the client id.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.options.client_id = Some(id.into());
        self
    }

    /// Sets user name and password.
    #[must_use]
    pub fn auth(self, username: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.username(username).password(password)
    }

    /// Sets the user name.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.options.username = Some(username.into());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.options.password = Some(password.into());
        self
    }

    /// Sets the file that holds the password.
    #[must_use]
    pub fn password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.password_file = Some(path.into());
        self
    }

    /// Sets who is asked for user name and password at every attempt.
    #[must_use]
    pub fn credentials(mut self, provider: impl CredentialsProvider + 'static) -> Self {
        self.options.credentials = Some(Arc::new(provider));
        self
    }

    /// Sets the method of enhanced authentication (MQTT 5). User name and password of the session are not part of it.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Self {
        self.options.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Sets the method of enhanced authentication as the configuration file says it.
    #[must_use]
    pub fn auth_options(mut self, auth: AuthOptions) -> Self {
        self.options.auth = Some(auth);
        self
    }

    /// Sets the protocol version.
    #[must_use]
    pub fn protocol(mut self, version: Version) -> Self {
        self.options.protocol = version;
        self
    }

    /// Sets the keep-alive; zero turns it off.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.options.keep_alive = interval;
        self
    }

    /// Sets whether every connect starts a new session.
    #[must_use]
    pub fn clean_start(mut self, clean: bool) -> Self {
        self.options.clean_start = Some(clean);
        self
    }

    /// The opposite of [`clean_start`](Self::clean_start).
    #[must_use]
    pub fn persistent(self, persistent: bool) -> Self {
        self.clean_start(!persistent)
    }

    /// Sets how long the server keeps the session, rounded up to whole seconds.
    #[must_use]
    pub fn session_expiry(mut self, duration: Duration) -> Self {
        self.options.session_expiry = Some(expiry(duration));
        self
    }

    /// Sets that the session never expires.
    #[must_use]
    pub fn session_never_expires(mut self) -> Self {
        self.options.session_expiry = Some(SessionExpiry::NEVER);
        self
    }

    /// Sets whether a failed or lost connection is tried again.
    #[must_use]
    pub fn auto_reconnect(mut self, on: bool) -> Self {
        self.options.auto_reconnect = on;
        self
    }

    /// Sets the delays between attempts, and what follows on which refusal.
    #[must_use]
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.options.reconnect = backoff;
        self
    }

    /// Sets what happens after a refusal that a retry will hardly change.
    #[must_use]
    pub fn on_refusal(mut self, policy: OnRefusal) -> Self {
        self.options.on_refusal = policy;
        self
    }

    /// Sets the time for one attempt, and the time in which a socket must take some bytes.
    #[must_use]
    pub fn timeouts(mut self, connect: Duration, write: Duration) -> Self {
        self.options.performance.write_timeout = write;
        self.connect_timeout(connect)
    }

    /// Sets the time for one attempt.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets buffer sizes and time limits.
    #[must_use]
    pub fn performance(mut self, performance: Performance) -> Self {
        self.options.performance = performance;
        self
    }

    /// Sets the queue of a route, in messages.
    #[must_use]
    pub fn message_channel_size(mut self, messages: usize) -> Self {
        self.options.performance.message_channel = messages;
        self
    }

    /// Sets how many messages may wait to be sent or acknowledged.
    #[must_use]
    pub fn max_pending(mut self, messages: usize) -> Self {
        self.options.performance.max_pending = Some(messages);
        self
    }

    /// Sets how many messages may be unacknowledged.
    #[must_use]
    pub fn max_in_flight(mut self, messages: u16) -> Self {
        self.options.max_in_flight = messages;
        self
    }

    /// Sets the Receive Maximum, or that none is sent. A server that sends more is disconnected: see
    /// [`enforce_receive_maximum`](Self::enforce_receive_maximum).
    #[must_use]
    pub fn receive_maximum(mut self, maximum: impl Into<Option<u16>>) -> Self {
        self.options.receive_maximum = maximum.into();
        self.options.enforce_receive_maximum = true;
        self
    }

    /// Sets whether a server that sends more than the Receive Maximum is disconnected with 0x93
    /// `[MQTT-3.3.4-9]`, after [`receive_maximum`](Self::receive_maximum), which turns it on. Turned
    /// off, the surplus is taken like any message: Mosquitto 2.0.11, for one, sends more to a client
    /// that acknowledges slowly.
    #[must_use]
    pub fn enforce_receive_maximum(mut self, enforce: bool) -> Self {
        self.options.enforce_receive_maximum = enforce;
        self
    }

    /// Sets how many topic aliases the server may use.
    #[must_use]
    pub fn topic_alias_maximum(mut self, maximum: u16) -> Self {
        self.options.topic_alias_maximum = Some(maximum);
        self
    }

    /// Sets the largest packet that the server may send, in bytes.
    #[must_use]
    pub fn maximum_packet_size(mut self, bytes: u32) -> Self {
        self.options.maximum_packet_size = Some(bytes);
        self
    }

    /// Sets the will.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.options.will = Some(will);
        self
    }

    /// Subscribes a filter from the start, without a route.
    #[must_use]
    pub fn subscribe(mut self, filter: impl Into<String>, qos: QoS) -> Self {
        self.options.subscriptions.push((filter.into(), qos));
        self
    }

    /// Adds a user property to CONNECT.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.user_properties.push((name.into(), value.into()));
        self
    }

    /// Adds a property to CONNECT that has no option of its own.
    #[must_use]
    pub fn connect_property(mut self, property: Property<'_>) -> Self {
        let properties = &mut self.options.connect_properties;
        let outcome = properties.push(property).map_err(|error| error.to_string()).and_then(|()| {
            if property.id().allowed_in(PropertyContext::Connect) {
                Ok(())
            } else {
                Err("is not allowed in CONNECT".to_owned())
            }
        });
        if let Err(message) = outcome {
            let field = format!("connect_properties.{}", property.id().name());
            self.problems.push(ConfigProblem { field, value: format!("{property:?}"), message });
        }
        self
    }

    /// Sets whether the session waits for `connect`.
    #[must_use]
    pub fn manual_connect(mut self, manual: bool) -> Self {
        self.options.manual_connect = manual;
        self
    }

    /// Sets whether the session connects at all.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.options.enabled = enabled;
        self
    }

    /// Sets the limits of what waits to be sent or acknowledged.
    #[must_use]
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.options.outbox = outbox;
        self
    }

    /// Sets how long messages without a route stay unacknowledged after a connect.
    #[must_use]
    pub fn unrouted_hold(mut self, duration: Duration) -> Self {
        self.options.unrouted_hold = duration;
        self
    }

    /// Sets how many bytes of received messages may wait for slow routes.
    #[must_use]
    pub fn inbound_buffer(mut self, bytes: usize) -> Self {
        self.options.inbound_buffer = bytes;
        self
    }

    /// Sets whether filters are subscribed with identifiers.
    #[must_use]
    pub fn subscription_identifiers(mut self, on: bool) -> Self {
        self.options.subscription_identifiers = on;
        self
    }

    /// Sets whether filters are subscribed again after a session was lost.
    #[must_use]
    pub fn resume_subscriptions(mut self, on: bool) -> Self {
        self.options.resume_subscriptions = on;
        self
    }

    /// Sets whether filters that only the store knows are subscribed when the server does not have them.
    #[must_use]
    pub fn restore_subscriptions(mut self, on: bool) -> Self {
        self.options.restore_subscriptions = on;
        self
    }

    /// Sets whether all brokers share one session store.
    #[must_use]
    pub fn shared_session(mut self, shared: bool) -> Self {
        self.options.shared_session = shared;
        self
    }

    /// Keeps the state in the session itself, the default: it ends with the session.
    #[must_use]
    pub fn memory_storage(mut self) -> Self {
        self.options.store = None;
        self
    }

    /// Keeps the state in a store, so that it outlives the session. The store knows the session by its name.
    #[must_use]
    pub fn storage(mut self, store: impl Store + 'static) -> Self {
        self.options.store = Some(Arc::new(store));
        self
    }

    /// Keeps the state in files in `directory`: [`FileStore`] with its defaults. Sessions with the same directory share the
    /// store, whichever way they name it.
    #[must_use]
    pub fn file_storage(self, directory: impl Into<PathBuf>) -> Self {
        self.storage(FileStore::new(directory))
    }

    /// Shows the bytes of every connection to `log`.
    #[must_use]
    pub fn wire_log(mut self, log: Arc<dyn WireLog>) -> Self {
        self.options.wire_log = Some(log);
        self
    }
}

/// Whole seconds, rounded up; what does not fit means never.
pub(super) fn expiry(duration: Duration) -> SessionExpiry {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    SessionExpiry::from_secs(u32::try_from(seconds).unwrap_or(u32::MAX))
}
