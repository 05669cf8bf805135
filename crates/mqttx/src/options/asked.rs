//! What sessions were asked for, kept once for all of which the same was asked.
//!
//! Thousands of sessions differ in their names and client ids, perhaps in credentials, will and filters, and
//! in nothing else. A [`Kind`] is what they have in common; [`Asked`] is one session's.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mqttx_proto::{Authentication, Config, QoS};

use super::access::{Access, Identity};
use super::{Secret, SessionOptions, Will, core_config};
use crate::error::Error;
use crate::metrics::SessionMetrics;
use crate::transport::tls::TlsPool;
use crate::transport::{Dialer, Endpoint};

/// The options of one session. Dereferenced, they are those of its kind, without what is its own.
pub(crate) struct Asked {
    kind: Arc<Kind>,
    /// Whether there is a client id, which the core has.
    named: bool,
    clean_start: Option<bool>,
    own: Option<Box<Own>>,
}

/// What many sessions have in common.
struct Kind {
    /// Without name, client id and [`Own`].
    options: SessionOptions,
    /// The core's, made from them.
    config: Arc<Config>,
    /// Opens their connections.
    dialer: Arc<Dialer>,
    /// What a session with nothing of its own was asked last, for the next one like it.
    plain: Mutex<Weak<Asked>>,
}

/// What a session seldom has, and then for itself.
#[derive(Default, PartialEq)]
struct Own {
    identity: Identity,
    will: Option<Will>,
    subscriptions: Vec<(String, QoS)>,
}

impl Own {
    fn is_blank(&self) -> bool {
        let Self { identity, will, subscriptions } = self;
        identity.is_blank() && will.is_none() && subscriptions.is_empty()
    }
}

/// What [`Access`] answered for one attempt.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) authentication: Option<Authentication>,
}

impl Answers {
    const NONE: Self = Self { username: None, password: None, authentication: None };
}

/// The kinds of a manager's sessions.
#[derive(Default)]
pub(crate) struct Kinds {
    known: Mutex<VecDeque<Weak<Kind>>>,
    /// What kinds have in common that differ in other things than TLS.
    pub(crate) tls: TlsPool,
}

/// Kinds that are compared with a new session's. With more of them a session may keep for itself what it could share.
const KINDS: usize = 32;
/// Clocks that were read at different times differ by the steps of the system's clock.
const CLOCK_STEP_MS: u64 = 100;

impl Kinds {
    pub(crate) fn new(tls: TlsPool) -> Self {
        Self { known: Mutex::default(), tls }
    }

    /// Keeps checked options, all but the client id: empty, when the server is to assign one.
    ///
    /// # Errors
    /// A password file, certificate or key that cannot be read, or properties of the will that cannot be encoded.
    pub(crate) fn keep(&self, mut options: SessionOptions) -> Result<(Arc<Asked>, String), Error> {
        let client_id = options.client_id.take();
        let named = client_id.is_some();
        let clean_start = options.clean_start;
        options.clean_start =
            Some(clean_start.unwrap_or_else(|| client_id.as_deref().is_none_or(str::is_empty)));
        options.name = String::new();
        if let Some(will) = &options.will {
            // Whoever connects later relies on it.
            will.to_message()?;
        }
        let own = Own {
            identity: Identity::take(&mut options)?,
            will: options.will.take(),
            subscriptions: std::mem::take(&mut options.subscriptions),
        };
        let own = (!own.is_blank()).then(|| Box::new(own));
        let asked = Asked { kind: self.kind(options)?, named, clean_start, own };
        Ok((asked.share(), client_id.unwrap_or_default()))
    }

    fn kind(&self, options: SessionOptions) -> Result<Arc<Kind>, Error> {
        let config = core_config(&options)?;
        let mut kinds = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            kinds.iter().filter_map(Weak::upgrade).find(|kind| kind.fits(&options, &config));
        if let Some(known) = known {
            return Ok(known);
        }
        kinds.retain(|kind| kind.strong_count() > 0);
        if kinds.len() >= KINDS {
            kinds.pop_front();
        }
        let tls = if options.encrypts() { Some(self.tls.connector(&options)?) } else { None };
        let dialer = Arc::new(Dialer { tls, ..options.dialer() });
        let plain = Mutex::default();
        let kind = Arc::new(Kind { options, config: Arc::new(config), dialer, plain });
        kinds.push_back(Arc::downgrade(&kind));
        Ok(kind)
    }
}

impl Asked {
    /// The same, kept once for sessions that differ in nothing but their names and client ids.
    fn share(self) -> Arc<Self> {
        if self.own.is_some() {
            return Arc::new(self);
        }
        let kind = Arc::clone(&self.kind);
        let mut plain = kind.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |known: &Arc<Self>| known.named == self.named && known.clean_start == self.clean_start;
        if let Some(known) = plain.upgrade().filter(same) {
            return known;
        }
        let shared = Arc::new(self);
        *plain = Arc::downgrade(&shared);
        shared
    }

    /// The filters to subscribe from the start.
    pub(crate) fn subscriptions(&self) -> &[(String, QoS)] {
        self.own.as_ref().map_or(&[], |own| &own.subscriptions)
    }

    /// The core's configuration between connections.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.kind.config)
    }

    /// What opens the session's connections.
    pub(crate) fn dialer(&self) -> Arc<Dialer> {
        Arc::clone(&self.kind.dialer)
    }

    /// Until when the certificates are valid.
    pub(crate) fn certificate_ends(&self, metrics: &mut SessionMetrics) {
        let Some(tls) = &self.kind.dialer.tls else { return };
        metrics.client_certificate_not_after = tls.client_not_after();
        let brokers = self.brokers.iter().filter_map(|broker| self.endpoint(broker).ok());
        metrics.server_certificate_not_after =
            brokers.filter_map(|broker| tls.server_not_after(&broker)).min();
    }

    /// Who is asked at every attempt; `None` when everything is known.
    pub(crate) fn access(&self) -> Option<&Access> {
        let access = &self.own.as_ref()?.identity.access;
        (access.credentials.is_some() || access.authenticator.is_some()).then_some(access)
    }

    /// The core's configuration for a connection to `endpoint`: with credentials and will. What was `asked` for counts first,
    /// then the options, then the URL's user and password.
    ///
    /// # Errors
    /// Properties of the will that cannot be encoded.
    pub(crate) fn config_for(
        &self,
        endpoint: Option<&Endpoint>,
        asked: Option<&Answers>,
    ) -> Result<Arc<Config>, Error> {
        let own = self.own.as_deref();
        let identity = own.map(|own| &own.identity);
        let asked = asked.unwrap_or(&Answers::NONE);
        let username = asked.username.as_deref();
        let username = username.or_else(|| identity?.username.as_deref());
        let username = username.or_else(|| endpoint?.username());
        let password = asked.password.as_ref();
        let password = password.or_else(|| identity?.password.as_ref());
        let password = password.or_else(|| endpoint?.password());
        let will = own.and_then(|own| own.will.as_ref());
        let authentication = asked.authentication.as_ref();
        let mut config = self.config();
        if username.is_some() || password.is_some() || will.is_some() || authentication.is_some() {
            let config = Arc::make_mut(&mut config);
            config.username = username.map(str::to_owned);
            config.password = password.map(|password| password.expose().into());
            config.authentication = authentication.cloned();
            config.will = will.map(Will::to_message).transpose()?;
        }
        Ok(config)
    }

    /// Whether the same is asked for. Files are read at every attempt to connect: what is in them does not count here.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_kind =
            Arc::ptr_eq(&self.kind, &other.kind) || self.kind.options.is_same(&other.kind.options);
        same_kind
            && self.named == other.named
            && self.clean_start == other.clean_start
            && self.own == other.own
    }

    /// All of it, as it was asked for by the session with that name and client id.
    pub(crate) fn to_options(&self, name: &str, client_id: &str) -> SessionOptions {
        let mut options = self.kind.options.clone();
        options.name = name.to_owned();
        options.client_id = self.named.then(|| client_id.to_owned());
        options.clean_start = self.clean_start;
        if let Some(own) = &self.own {
            own.identity.put(&mut options);
            options.will.clone_from(&own.will);
            options.subscriptions.clone_from(&own.subscriptions);
        }
        options
    }
}

impl Deref for Asked {
    type Target = SessionOptions;

    fn deref(&self) -> &SessionOptions {
        &self.kind.options
    }
}

impl Kind {
    /// Whether a session with these options, and the configuration made from them now, is of this kind.
    fn fits(&self, options: &SessionOptions, config: &Config) -> bool {
        let time = |config: &Config| Some(config.clock?.unix_ms(crate::session::now()));
        let step = time(&self.config).zip(time(config)).map_or(0, |(a, b)| a.abs_diff(b));
        step <= CLOCK_STEP_MS && self.options.is_same(options)
    }
}

/// Equal options ask for the same; a store, a transport or a wire log is the same if it is the same object.
impl PartialEq for SessionOptions {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl SessionOptions {
    #[expect(clippy::too_many_lines, reason = "a line for each option")]
    fn is_same(&self, other: &Self) -> bool {
        // Every field is named, so that a new one is not forgotten.
        let Self {
            name,
            enabled,
            brokers,
            tls,
            bind,
            tcp,
            proxy,
            ws,
            transport,
            client_id,
            protocol,
            keep_alive,
            clean_start,
            session_expiry,
            username,
            password,
            password_file,
            auth,
            authenticator,
            credentials,
            auto_reconnect,
            reconnect,
            on_refusal,
            connect_timeout,
            manual_connect,
            outbox,
            max_in_flight,
            receive_maximum,
            enforce_receive_maximum,
            maximum_packet_size,
            topic_alias_maximum,
            will,
            user_properties,
            connect_properties,
            subscriptions,
            subscription_identifiers,
            resume_subscriptions,
            restore_subscriptions,
            shared_session,
            unrouted_hold,
            inbound_buffer,
            performance,
            store,
            wire_log,
        } = self;
        *name == other.name
            && *enabled == other.enabled
            && *brokers == other.brokers
            && *tls == other.tls
            && *bind == other.bind
            && *tcp == other.tcp
            && *proxy == other.proxy
            && *ws == other.ws
            && is_same_object(transport.as_ref(), other.transport.as_ref())
            && *client_id == other.client_id
            && *protocol == other.protocol
            && *keep_alive == other.keep_alive
            && *clean_start == other.clean_start
            && *session_expiry == other.session_expiry
            && *username == other.username
            && *password == other.password
            && *password_file == other.password_file
            && *auth == other.auth
            && is_same_object(authenticator.as_ref(), other.authenticator.as_ref())
            && is_same_object(credentials.as_ref(), other.credentials.as_ref())
            && *auto_reconnect == other.auto_reconnect
            && *reconnect == other.reconnect
            && *on_refusal == other.on_refusal
            && *connect_timeout == other.connect_timeout
            && *manual_connect == other.manual_connect
            && *outbox == other.outbox
            && *max_in_flight == other.max_in_flight
            && *receive_maximum == other.receive_maximum
            && *enforce_receive_maximum == other.enforce_receive_maximum
            && *maximum_packet_size == other.maximum_packet_size
            && *topic_alias_maximum == other.topic_alias_maximum
            && *will == other.will
            && *user_properties == other.user_properties
            && *connect_properties == other.connect_properties
            && *subscriptions == other.subscriptions
            && *subscription_identifiers == other.subscription_identifiers
            && *resume_subscriptions == other.resume_subscriptions
            && *restore_subscriptions == other.restore_subscriptions
            && *shared_session == other.shared_session
            && *unrouted_hold == other.unrouted_hold
            && *inbound_buffer == other.inbound_buffer
            && *performance == other.performance
            && is_same_object(store.as_ref(), other.store.as_ref())
            && is_same_object(wire_log.as_ref(), other.wire_log.as_ref())
    }
}

pub(super) fn is_same_object<T: ?Sized>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other)),
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionBuilder;
    use mqttx_proto::Version;

    fn builder(name: &str) -> SessionBuilder {
        SessionOptions::quick_connect(name, "mqtt://url:secret@h").client_id(name)
    }

    fn keep(kinds: &Kinds, builder: SessionBuilder) -> Arc<Asked> {
        kinds.keep(builder.build().expect("valid")).expect("kept").0
    }

    #[test]
    fn sessions_that_differ_in_what_is_their_own_share_the_rest() {
        let kinds = Kinds::default();
        let one = keep(&kinds, builder("one").username("u").password("p"));
        let will = Will::new("two/state", "gone");
        let two = keep(&kinds, builder("two").will(will).subscribe("two/#", QoS::AtLeastOnce));
        assert!(Arc::ptr_eq(&one.kind, &two.kind));
        assert_eq!((one.subscriptions().len(), two.subscriptions().len()), (0, 1));
        let (three, four) = (keep(&kinds, builder("three")), keep(&kinds, builder("four")));
        assert!(Arc::ptr_eq(&three, &four), "they differ in nothing that is kept here");
        let clean = keep(&kinds, builder("five").clean_start(true));
        assert!(!Arc::ptr_eq(&three, &clean) && !three.is_same(&clean) && three.is_same(&four));
        let other = keep(&kinds, builder("three").protocol(Version::V311));
        assert!(!Arc::ptr_eq(&one.kind, &other.kind), "another version is another kind");
    }

    #[test]
    fn what_was_asked_for_comes_back() {
        let kinds = Kinds::default();
        let asked =
            keep(&kinds, builder("one").username("u").password("p").will(Will::new("t", "")));
        let options = asked.to_options("one", "id");
        assert_eq!((options.name.as_str(), options.client_id.as_deref()), ("one", Some("id")));
        assert_eq!((options.username.as_deref(), options.clean_start), (Some("u"), None));
        assert_eq!(options.password, Some("p".into()));
        assert_eq!(options.will.map(|will| will.topic).as_deref(), Some("t"));
        assert!(!asked.starts_clean(), "it has a client id");
        assert!(keep(&kinds, SessionOptions::quick_connect("s", "h")).starts_clean());
    }

    #[test]
    fn the_options_count_before_the_address_and_are_with_the_core_for_connect_only() {
        let kinds = Kinds::default();
        let endpoint: Endpoint = "mqtt://url:secret@h".parse().expect("an address");
        let config = |asked: &Asked| {
            let config = asked.config_for(Some(&endpoint), None).expect("a configuration");
            (config.username.clone(), config.password.clone(), config.will.is_some())
        };
        let plain = keep(&kinds, builder("one"));
        assert_eq!(config(&plain), (Some("url".into()), Some("secret".into()), false));
        let own = keep(&kinds, builder("two").username("u").will(Will::new("t", "")));
        assert_eq!(config(&own), (Some("u".into()), Some("secret".into()), true));
        assert_eq!((own.config().username.as_ref(), own.config().will.as_ref()), (None, None));
    }

    #[test]
    fn kinds_without_sessions_are_forgotten_and_their_number_is_bounded() {
        let kinds = Kinds::default();
        let hosts = (0..2 * KINDS).map(|n| SessionOptions::quick_connect("s", format!("h{n}")));
        let kept: Vec<_> = hosts.map(|builder| keep(&kinds, builder)).collect();
        assert_eq!(kinds.known.lock().expect("kinds").len(), KINDS);
        drop(kept);
        let _one = keep(&kinds, builder("one"));
        assert_eq!(kinds.known.lock().expect("kinds").len(), 1);
    }
}
