//! Checks of options, and the core's configuration made from them.

use std::time::Duration;

use mqttx_proto::{Clock, Config, OutboxLimits};
use mqttx_proto::{KeepAlive, PropertyContext, Version, validate_filter, validate_topic};

use super::{Performance, Reaction, SessionOptions, TlsOptions, Will};
use crate::error::{ConfigErrors, ConfigProblem, Error};
use crate::transport::{Endpoint, tls};

/// The longest string or binary value of MQTT, in bytes.
pub(super) const MAX_FIELD: usize = 65_535;
/// The `max_inflight_messages` of a Mosquitto that nobody configured.
const QOS2_IN_FLIGHT: u16 = 20;
/// What of the queued messages is in memory where the store keeps the rest.
const SPILL_WINDOW: OutboxLimits = OutboxLimits { messages: 8192, bytes: 4 << 20 };

impl SessionOptions {
    /// Checks everything that can be known before a connection.
    ///
    /// # Errors
    /// Every option that cannot be used, with its value and what is allowed.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        ConfigErrors::from_problems(self.problems()).map_or(Ok(()), Err)
    }

    pub(super) fn problems(&self) -> Vec<ConfigProblem> {
        let mut found = Problems(Vec::new());
        self.check_identity(&mut found);
        self.check_tls(&mut found);
        self.check_times(&mut found);
        self.check_limits(&mut found);
        self.check_will(&mut found);
        self.check_version(&mut found);
        self.check_ways(&mut found);
        for (n, (filter, _)) in self.subscriptions.iter().enumerate() {
            if let Err(error) = validate_filter(filter) {
                found.add(&format!("subscriptions[{n}]"), filter, error);
            }
        }
        found.0
    }

    fn check_identity(&self, found: &mut Problems) {
        if self.name.is_empty() {
            found.add("name", "\"\"", "a session needs a name");
        }
        if self.brokers.is_empty() {
            found.add("brokers", "[]", "at least one broker is needed, such as mqtt://host:1883");
        }
        for (n, broker) in self.brokers.iter().enumerate() {
            if let Err(error) = self.endpoint(broker) {
                found.add(&format!("brokers[{n}]"), error.shown(), &error);
            }
        }
        if let Some(id) = &self.client_id {
            found.text("client_id", id);
            // [MQTT-3.1.3-8]
            if id.is_empty() && self.protocol == Version::V311 && !self.starts_clean() {
                found.add("client_id", "\"\"", "MQTT 3.1.1 without clean_start needs a client id");
            }
        } else if self.protocol == Version::V311 && !self.starts_clean() {
            found.add("client_id", "unset", "MQTT 3.1.1 without clean_start needs a client id");
        }
        if let Some(username) = &self.username {
            found.text("username", username);
        }
        if self.password.as_ref().is_some_and(|secret| secret.expose().len() > MAX_FIELD) {
            found.add("password", "***", "at most 65535 bytes are allowed");
        }
        let has_password = self.password.is_some() || self.password_file.is_some();
        // [MQTT-3.1.2-22]
        if has_password && self.user_of_any_url().is_none() && self.protocol == Version::V311 {
            found.add("password", "***", "MQTT 3.1.1 needs a username with a password");
        }
        self.check_auth(found);
        if self.password.is_some() && self.password_file.is_some() {
            found.add("password_file", "set", "password is set, too: only one of them is allowed");
        } else if let Some(path) = &self.password_file
            && let Err(error) = std::fs::File::open(path)
        {
            found.add("password_file", &path.display().to_string(), error);
        }
    }

    fn user_of_any_url(&self) -> Option<()> {
        let in_url = |broker: &String| {
            broker.parse::<Endpoint>().is_ok_and(|endpoint| endpoint.username().is_some())
        };
        (self.username.is_some() || self.brokers.iter().any(in_url)).then_some(())
    }

    /// What TLS needs is read and put together as for a connection.
    fn check_tls(&self, found: &mut Problems) {
        let default = TlsOptions::new();
        let Some(options) = self.tls.as_ref().or_else(|| self.encrypts().then_some(&default))
        else {
            return;
        };
        found.0.extend(tls::check(options));
    }

    /// Options for TLS without a broker that it would be used for: what was to be encrypted would go out in plain.
    pub(super) fn unused_tls(&self) -> Option<ConfigProblem> {
        let plain = self.brokers.iter().all(|broker| {
            self.endpoint(broker).is_ok_and(|endpoint| !endpoint.scheme().is_encrypted())
        });
        (self.tls.is_some() && plain && !self.brokers.is_empty()).then(|| ConfigProblem {
            field: "tls".to_owned(),
            value: "set".to_owned(),
            message: "no broker is reached by TLS: write mqtts://host:port".to_owned(),
        })
    }

    fn check_times(&self, found: &mut Problems) {
        if self.keep_alive > Duration::from_secs(MAX_FIELD as u64) {
            found.duration("keep_alive", self.keep_alive, "0s (off) to 65535s are allowed");
        }
        if self.connect_timeout.is_zero() {
            found.duration("connect_timeout", self.connect_timeout, "more than 0 is needed");
        }
        if self.performance.write_timeout.is_zero() {
            let value = self.performance.write_timeout;
            found.duration("performance.write_timeout", value, "more than 0 is needed");
        }
        for (cause, reaction) in self.reconnect.on.without_address() {
            if reaction == Some(Reaction::Follow) {
                let field = format!("reconnect.on.{cause}");
                found.add(&field, "\"follow\"", "only server_moved has an address to follow");
            }
        }
        if self.reconnect.max < self.reconnect.initial {
            let value = self.reconnect.max;
            found.duration("reconnect.max", value, "it must not be below reconnect.initial");
        }
    }

    fn check_limits(&self, found: &mut Problems) {
        let performance = &self.performance;
        let reads = Performance::MIN_BUFFER..=Performance::MAX_READ_BUFFER;
        let outbox =
            [("outbox.messages", self.outbox.messages), ("outbox.bytes", self.outbox.bytes)];
        for (field, limit) in outbox {
            found.range(field, limit.unwrap_or(1), 1..=usize::MAX);
        }
        found.range("inbound_buffer", self.inbound_buffer, 64 << 10..=usize::MAX);
        found.range("performance.read_buffer", performance.read_buffer, reads);
        let writes = Performance::MIN_BUFFER..=usize::MAX;
        found.range("performance.write_buffer", performance.write_buffer, writes);
        let messages = Performance::MAX_MESSAGE;
        found.range("performance.max_message_size", performance.max_message_size, 1..=messages);
        found.range("performance.message_channel", performance.message_channel, 1..=usize::MAX);
        if let Some(pending) = performance.max_pending {
            found.range("performance.max_pending", pending, 1..=usize::MAX);
        }
        found.range("max_in_flight", self.max_in_flight.into(), 1..=MAX_FIELD);
        if let Some(maximum) = self.receive_maximum {
            // [MQTT-3.1.2.11.3]: zero is a protocol error.
            found.range("receive_maximum", maximum.into(), 1..=MAX_FIELD);
        }
        if let Some(size) = self.maximum_packet_size {
            found.range("maximum_packet_size", size as usize, 1..=u32::MAX as usize);
        }
    }

    fn check_will(&self, found: &mut Problems) {
        let Some(will) = &self.will else { return };
        if let Err(error) = validate_topic(&will.topic) {
            found.add("will.topic", &will.topic, error);
        }
        if will.payload.len() > MAX_FIELD {
            let value = format!("{} bytes", will.payload.len());
            found.add("will.payload", &value, "at most 65535 bytes are allowed");
        }
        if let Err(error) = will.wire_properties() {
            found.add("will.properties", "set", error);
        }
        let has_v5 = will.delay.is_some() || !will.properties.is_empty();
        if has_v5 && self.protocol == Version::V311 {
            found.add("will.properties", "set", "MQTT 3.1.1 has neither properties nor a delay");
        }
    }

    fn check_version(&self, found: &mut Problems) {
        for (name, value) in &self.user_properties {
            found.text("user_properties", name);
            found.text("user_properties", value);
        }
        if let Err(error) = self.connect_properties.check(PropertyContext::Connect) {
            found.add("connect_properties", "set", error);
        }
        if self.protocol == Version::V5 {
            return;
        }
        for (field, set) in [
            ("auth.method", self.auth.as_ref().is_some_and(|auth| auth.method.is_some())),
            ("authenticator", self.authenticator.is_some()),
            ("session_expiry", self.session_expiry.is_some()),
            ("topic_alias_maximum", self.topic_alias_maximum.is_some()),
            ("user_properties", !self.user_properties.is_empty()),
            ("connect_properties", !self.connect_properties.is_empty()),
        ] {
            if set {
                found.add(field, "set", "MQTT 3.1.1 does not have it: use protocol 5");
            }
        }
    }

    /// The time to live that the session gives its messages.
    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        self.outbox.ttl
    }
}

pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub(super) fn add(&mut self, field: &str, value: &str, message: impl ToString) {
        self.0.push(ConfigProblem {
            field: field.to_owned(),
            value: value.to_owned(),
            message: message.to_string(),
        });
    }

    pub(super) fn duration(&mut self, field: &str, value: Duration, message: &str) {
        self.add(field, &super::human::format_duration(value), message);
    }

    pub(super) fn range(
        &mut self,
        field: &str,
        value: usize,
        allowed: std::ops::RangeInclusive<usize>,
    ) {
        if !allowed.contains(&value) {
            let message = if *allowed.end() == usize::MAX {
                format!("at least {} is allowed", allowed.start())
            } else {
                format!("{} to {} are allowed", allowed.start(), allowed.end())
            };
            self.add(field, &value.to_string(), message);
        }
    }

    /// A UTF-8 string of MQTT `[MQTT-1.5.4-2]`.
    pub(super) fn text(&mut self, field: &str, value: &str) {
        if value.len() > MAX_FIELD {
            let shown = format!("{} bytes", value.len());
            self.add(field, &shown, "at most 65535 bytes are allowed");
        } else if value.contains('\0') {
            self.add(field, &format!("{value:?}"), "a NUL character is not allowed");
        }
    }
}

/// The core's configuration of checked options; the broker decides the credentials.
///
/// # Errors
/// Properties that cannot be encoded.
pub(super) fn core_config(options: &SessionOptions) -> Result<Config, Error> {
    let mut config = Config::new(options.protocol);
    config.client_id = options.client_id.clone().unwrap_or_default();
    config.clean_start = options.starts_clean();
    config.keep_alive = keep_alive(options.keep_alive);
    config.session_expiry = options.effective_session_expiry();
    if options.protocol == Version::V5 {
        config.receive_maximum = options.receive_maximum;
        config.enforce_receive_maximum = options.enforce_receive_maximum;
        config.topic_alias_maximum = options.topic_alias_maximum;
    }
    config.maximum_packet_size = options.maximum_packet_size;
    config.username.clone_from(&options.username);
    config.will = options.will.as_ref().map(Will::to_message).transpose()?;
    config.connect_properties = options.connect_properties.clone();
    for (name, value) in &options.user_properties {
        config
            .connect_properties
            .user_property(name, value)
            .map_err(|error| Error::config("a user property of CONNECT").with_source(error))?;
    }
    config.handshake_timeout = options.connect_timeout;
    config.max_in_flight = options.max_in_flight;
    if options.protocol == Version::V311 && options.max_in_flight == u16::MAX {
        config.max_in_flight_qos2 = QOS2_IN_FLIGHT;
    }
    let spills = options.store.as_ref().is_some_and(|store| store.spills());
    let in_memory = OutboxLimits::default();
    let unset = OutboxLimits { messages: usize::MAX, bytes: usize::MAX };
    let unset = if spills { unset } else { in_memory };
    config.outbox = OutboxLimits {
        messages: options
            .performance
            .max_pending
            .or(options.outbox.messages)
            .unwrap_or(unset.messages),
        bytes: options.outbox.bytes.unwrap_or(unset.bytes),
    };
    config.spill = spills.then_some(SPILL_WINDOW);
    config.clock = Some(Clock::new(crate::session::now(), crate::session::unix_ms()));
    config.write_buffer_limit = options.performance.write_buffer;
    config.journal = options.store.is_some();
    config.shared_session = options.shared_session;
    config.resume_subscriptions = options.resume_subscriptions;
    config.restore_subscriptions = options.restore_subscriptions;
    Ok(config)
}

/// Whole seconds, rounded up: a keep-alive below one second must not turn it off.
fn keep_alive(interval: Duration) -> KeepAlive {
    let seconds = interval.as_secs() + u64::from(interval.subsec_nanos() > 0);
    KeepAlive::from_secs(u16::try_from(seconds).unwrap_or(u16::MAX))
}
