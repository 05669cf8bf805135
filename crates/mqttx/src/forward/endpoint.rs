//! Where a forwarder receives and publishes: the public rules and their compiled forms.

use std::sync::Arc;

use mqttx_proto::QoS;

use super::rule::Problems;
use super::template::{BoundTemplate, TopicTemplate};
use super::topic_map::TopicMap;

/// Where a forwarder receives.
#[derive(Clone, Debug)]
pub struct ForwarderSource {
    pub(super) session: String,
    pub(super) topics: Vec<String>,
    pub(super) qos: QoS,
}

impl ForwarderSource {
    /// Messages of this session.
    #[must_use]
    pub fn new(session: impl Into<String>) -> Self {
        Self { session: session.into(), topics: Vec::new(), qos: QoS::AtLeastOnce }
    }

    /// Adds a filter, `$share/group/filter` included.
    #[must_use]
    pub fn topic(mut self, filter: impl Into<String>) -> Self {
        self.topics.push(filter.into());
        self
    }

    /// Adds filters.
    #[must_use]
    pub fn topics<S: Into<String>>(mut self, filters: impl IntoIterator<Item = S>) -> Self {
        self.topics.extend(filters.into_iter().map(Into::into));
        self
    }

    /// The QoS to subscribe with; default 1.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }
}

/// Where a forwarder publishes, and how.
#[derive(Clone, Debug)]
pub struct ForwarderTarget {
    session: String,
    topic: Option<String>,
    map: Vec<(String, String)>,
    qos: QosRule,
    retain: RetainRule,
    required: bool,
    failover: Vec<String>,
}

impl ForwarderTarget {
    /// Publishes to this session with the topic, QoS and retain flag of the source.
    #[must_use]
    pub fn new(session: impl Into<String>) -> Self {
        Self {
            session: session.into(),
            topic: None,
            map: Vec::new(),
            qos: QosRule::Source,
            retain: RetainRule::Source,
            required: true,
            failover: Vec::new(),
        }
    }

    /// The [template](TopicTemplate) of the topic for messages that no entry of the map matches. Its
    /// captures count in the source's filter. Default: the topic of the source.
    #[must_use]
    pub fn topic(mut self, template: impl Into<String>) -> Self {
        self.topic = Some(template.into());
        self
    }

    /// Adds an entry to the [map](TopicMap): `from` is a topic or a filter, the captures of `to` count in it.
    #[must_use]
    pub fn map(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.map.push((from.into(), to.into()));
        self
    }

    /// The QoS to publish with; default [`QosRule::Source`]. A server that allows less gets what it allows.
    #[must_use]
    pub fn qos(mut self, rule: impl Into<QosRule>) -> Self {
        self.qos = rule.into();
        self
    }

    /// The retain flag to publish with; default [`RetainRule::Source`].
    #[must_use]
    pub fn retain(mut self, rule: impl Into<RetainRule>) -> Self {
        self.retain = rule.into();
        self
    }

    /// Whether the source waits for this target's acknowledgement; default `true`. A target that is not
    /// required has a bounded queue (`qos0_queue` messages) and loses, counted, what does not fit.
    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// Adds a session that takes the place of the one before it while that is down for more than 5 s. The first
    /// that is connected is used, in their order; an earlier one again once its connection was stable for the
    /// time of its `stable_after` (10 s by default). What is not acknowledged, nor durably stored, is sent again to the next one: the
    /// first may still send it, too.
    #[must_use]
    pub fn failover(mut self, session: impl Into<String>) -> Self {
        self.failover.push(session.into());
        self
    }

    pub(super) fn has_failover(&self) -> bool {
        !self.failover.is_empty()
    }

    /// `place`: where its problems are, as in the configuration file.
    pub(super) fn compile(
        self,
        place: &str,
        sources: &[ForwarderSource],
        problems: &mut Problems,
    ) -> TargetRule {
        if self.session.is_empty() {
            problems.add(format!("{place}.session"), "", "a target needs the name of a session");
        }
        let mut seen = vec![&self.session];
        for (n, session) in self.failover.iter().enumerate() {
            if session.is_empty() || seen.contains(&session) {
                let message = "a session stands here once, and has a name";
                problems.add(format!("{place}.failover[{n}]"), session, message);
            }
            seen.push(session);
        }
        let mut map = TopicMap::default();
        for (from, to) in &self.map {
            if let Err(error) = map.insert(from, to) {
                problems.add(format!("{place}.map[{from:?}]"), error.value(), error.message());
            }
        }
        let field = format!("{place}.topic");
        let template = self.topic.as_deref().and_then(|text| {
            TopicTemplate::parse(text)
                .map_err(|error| problems.add(&*field, error.value(), error.message()))
                .ok()
        });
        let mut fallback = Vec::with_capacity(sources.len());
        for source in sources {
            let mut bound = Vec::with_capacity(source.topics.len());
            for filter in &source.topics {
                bound.push(template.as_ref().map_or_else(BoundTemplate::identity, |template| {
                    template.bind(filter).unwrap_or_else(|error| {
                        problems.add(&*field, error.value(), error.message());
                        BoundTemplate::identity()
                    })
                }));
            }
            fallback.push(bound);
        }
        TargetRule {
            session: self.session.into(),
            failover: self.failover.into_iter().map(Into::into).collect(),
            map,
            fallback,
            qos: self.qos,
            retain: self.retain,
            required: self.required,
        }
    }
}

/// The QoS that a target publishes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QosRule {
    /// That of the message as it arrived: the smaller of the subscription's and the publisher's.
    #[default]
    Source,
    /// Always this one.
    Fixed(QoS),
}

impl QosRule {
    pub(super) fn apply(self, source: QoS) -> QoS {
        match self {
            Self::Source => source,
            Self::Fixed(qos) => qos,
        }
    }
}

impl From<QoS> for QosRule {
    fn from(qos: QoS) -> Self {
        Self::Fixed(qos)
    }
}

/// The retain flag that a target publishes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RetainRule {
    /// That of the message as it arrived. MQTT 5 sources subscribe with Retain As Published, so that it is
    /// what the publisher set; in 3.1.1 only messages retained before the subscription carry it.
    #[default]
    Source,
    /// Always this one.
    Fixed(bool),
}

impl RetainRule {
    pub(super) fn apply(self, source: bool) -> bool {
        match self {
            Self::Source => source,
            Self::Fixed(retain) => retain,
        }
    }
}

impl From<bool> for RetainRule {
    fn from(retain: bool) -> Self {
        Self::Fixed(retain)
    }
}

/// A source that passed the checks.
#[derive(Clone, Debug)]
pub(super) struct SourceRule {
    pub(super) session: Arc<str>,
    pub(super) topics: Vec<Arc<str>>,
    pub(super) qos: QoS,
}

impl From<ForwarderSource> for SourceRule {
    fn from(source: ForwarderSource) -> Self {
        Self {
            session: source.session.into(),
            topics: source.topics.into_iter().map(Into::into).collect(),
            qos: source.qos,
        }
    }
}

/// A target that passed the checks, its topics compiled.
#[derive(Clone, Debug)]
pub(super) struct TargetRule {
    pub(super) session: Arc<str>,
    /// Those that take its place, in their order.
    pub(super) failover: Vec<Arc<str>>,
    pub(super) map: TopicMap,
    /// What becomes of a topic that the map does not match, by source and by filter of the source.
    pub(super) fallback: Vec<Vec<BoundTemplate>>,
    pub(super) qos: QosRule,
    pub(super) retain: RetainRule,
    pub(super) required: bool,
}

impl TargetRule {
    /// All sessions that it may publish to.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.session).chain(&self.failover)
    }

    /// The template for a topic that arrived through a filter of a source, if the map has none for it.
    pub(super) fn fallback(&self, (source, filter): (usize, usize)) -> &BoundTemplate {
        static IDENTITY: std::sync::LazyLock<BoundTemplate> =
            std::sync::LazyLock::new(BoundTemplate::identity);
        let template = self.fallback.get(source).and_then(|of_source| of_source.get(filter));
        template.unwrap_or_else(|| &*IDENTITY)
    }

    pub(super) fn uses_time(&self) -> bool {
        self.map.uses_time() || self.fallback.iter().flatten().any(BoundTemplate::uses_time)
    }
}
