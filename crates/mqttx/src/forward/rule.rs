//! What a forwarder is asked to do: sources, targets, and the rules between them.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use mqttx_proto::QoS;

use super::cycle;
use super::endpoint::{
    ForwarderSource, ForwarderTarget, QosRule, RetainRule, SourceRule, TargetRule,
};
use super::kept;
use super::rules::{Asked, Rules};
use crate::error::{ConfigErrors, ConfigProblem};

/// The rules of one forwarder, checked: made by [`ForwarderBuilder::build`].
#[derive(Clone, Debug)]
pub struct ForwarderOptions {
    pub(super) name: Arc<str>,
    pub(super) sources: Vec<SourceRule>,
    pub(super) targets: Vec<TargetRule>,
    pub(super) window: usize,
    pub(super) qos0_queue: usize,
    pub(super) ack_timeout: Option<Duration>,
    pub(super) enabled: bool,
    pub(super) rules: Rules,
}

impl ForwarderOptions {
    /// Starts the rules of a forwarder with this name.
    #[expect(clippy::new_ret_no_self, reason = "the options exist only after their check")]
    #[must_use]
    pub fn new(name: impl Into<String>) -> ForwarderBuilder {
        ForwarderBuilder::new(name)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it starts by itself when it is added.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The names of the sessions it receives from, in the order of the rules.
    pub fn source_sessions(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| &*source.session)
    }

    /// The names of the sessions it publishes to, in the order of the rules, without those that take their place
    /// when they are down.
    pub fn target_sessions(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| &*target.session)
    }

    /// The names of all sessions it needs, each once: sources, targets, those in their place, and dead letters.
    #[must_use]
    pub fn sessions(&self) -> Vec<&str> {
        let targets = self.targets.iter().chain(&self.rules.dead_letter);
        let targets = targets.flat_map(TargetRule::sessions).map(|name| &**name);
        let mut names: Vec<&str> = self.source_sessions().chain(targets).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Collects the rules of a forwarder.
///
/// ```
/// use mqttx::{ForwarderBuilder, QoS};
///
/// let options = ForwarderBuilder::new("telemetry")
///     .source("plant", "line/+/sensor/+/#")
///     .target("cloud")
///     .topic("site/a/l{1}/{2}/{#}")
///     .target("archive")
///     .qos(QoS::AtLeastOnce)
///     .required(false)
///     .window(512)
///     .build()?;
/// assert_eq!(options.name(), "telemetry");
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct ForwarderBuilder {
    name: String,
    sources: Vec<ForwarderSource>,
    targets: Vec<ForwarderTarget>,
    window: usize,
    qos0_queue: usize,
    ack_timeout: Option<Duration>,
    enabled: bool,
    pub(super) rules: Asked,
    problems: Vec<ConfigProblem>,
}

impl ForwarderBuilder {
    /// No source and no target yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sources: Vec::new(),
            targets: Vec::new(),
            window: DEFAULT_WINDOW,
            qos0_queue: DEFAULT_QOS0_QUEUE,
            ack_timeout: None,
            enabled: true,
            rules: Asked::default(),
            problems: Vec::new(),
        }
    }

    /// Receives what matches `filter` on `session`, at QoS 1. A second call for the same session adds a
    /// filter; a message that several filters match is forwarded once, by the first of them.
    #[must_use]
    pub fn source(mut self, session: impl Into<String>, filter: impl Into<String>) -> Self {
        let session = session.into();
        match self.sources.iter_mut().find(|s| s.session == session && s.qos == QoS::AtLeastOnce) {
            Some(source) => source.topics.push(filter.into()),
            None => self.sources.push(ForwarderSource::new(session).topic(filter)),
        }
        self
    }

    /// The same `filter` on several sessions, at QoS 1.
    #[must_use]
    pub fn sources<S: Into<String>>(
        self,
        sessions: impl IntoIterator<Item = S>,
        filter: &str,
    ) -> Self {
        sessions.into_iter().fold(self, |builder, session| builder.source(session, filter))
    }

    /// Receives by a rule of its own.
    #[must_use]
    pub fn from(mut self, source: ForwarderSource) -> Self {
        self.sources.push(source);
        self
    }

    /// Publishes to `session`. The calls that follow ([`topic`](Self::topic), [`map_topic`](Self::map_topic),
    /// [`qos`](Self::qos), [`retain`](Self::retain), [`required`](Self::required)) set this target.
    #[must_use]
    pub fn target(self, session: impl Into<String>) -> Self {
        self.to(ForwarderTarget::new(session))
    }

    /// Publishes by a rule of its own.
    #[must_use]
    pub fn to(mut self, target: ForwarderTarget) -> Self {
        self.targets.push(target);
        self
    }

    /// [`ForwarderTarget::topic`] of the last target.
    #[must_use]
    pub fn topic(self, template: impl Into<String>) -> Self {
        self.last("topic", |target| target.topic(template))
    }

    /// [`ForwarderTarget::map`] of the last target.
    #[must_use]
    pub fn map_topic(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.last("map", |target| target.map(from, to))
    }

    /// [`ForwarderTarget::qos`] of the last target.
    #[must_use]
    pub fn qos(self, rule: impl Into<QosRule>) -> Self {
        self.last("qos", |target| target.qos(rule))
    }

    /// [`ForwarderTarget::retain`] of the last target.
    #[must_use]
    pub fn retain(self, rule: impl Into<RetainRule>) -> Self {
        self.last("retain", |target| target.retain(rule))
    }

    /// [`ForwarderTarget::required`] of the last target.
    #[must_use]
    pub fn required(self, required: bool) -> Self {
        self.last("required", |target| target.required(required))
    }

    /// [`ForwarderTarget::failover`] of the last target.
    #[must_use]
    pub fn failover(self, session: impl Into<String>) -> Self {
        self.last("failover", |target| target.failover(session))
    }

    /// How many messages with QoS > 0 may be between their arrival and the targets' acknowledgements, over
    /// all sources; 1 to 65 535, default 256. Messages beyond it wait unacknowledged, so that the source's
    /// Receive Maximum stops its broker. 1 forwards one message at a time.
    #[must_use]
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages;
        self
    }

    /// How many messages with QoS 0 may wait for their target; 1 to 10 000 000, default 10 000. What comes
    /// beyond it is dropped and counted.
    #[must_use]
    pub fn qos0_queue(mut self, messages: usize) -> Self {
        self.qos0_queue = messages;
        self
    }

    /// How long a target that is connected may leave the message that waits longest without its acknowledgement; 100 ms to one
    /// day, default: for ever. Then the target's session connects anew and sends again what is not acknowledged, with the same
    /// ids and DUP where the server kept the session, or its [`failover`](Self::failover) takes its place. The source is not
    /// acknowledged before one of them has answered. Each time is counted (`ack_timeouts`) and an event. A short one repeats
    /// messages at servers that are slow. MQTT has no retransmission on a connection that stands `[MQTT-4.4.0-1]`.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = Some(timeout);
        self
    }

    /// `false`: the forwarder waits for [`Forwarder::start`](super::Forwarder::start). Default `true`.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Checks everything and compiles the topic rules.
    ///
    /// # Errors
    /// All problems at once. `field` has the form of the configuration file: `to[0].topic`.
    pub fn build(self) -> Result<ForwarderOptions, ConfigErrors> {
        let mut problems = Problems(self.problems);
        if self.name.is_empty() {
            problems.add("name", "", "a forwarder needs a name");
        }
        problems.range("window", self.window, 1, 65_535);
        problems.range("qos0_queue", self.qos0_queue, 1, 10_000_000);
        if let Some(timeout) = self.ack_timeout.filter(|timeout| !ACK_TIMEOUTS.contains(timeout)) {
            problems.0.push(ConfigProblem {
                field: "ack_timeout".to_owned(),
                value: format!("{timeout:?}"),
                message: "allowed are 100 ms to 24 h".to_owned(),
            });
        }
        if self.sources.is_empty() {
            problems.add("from", "[]", "a forwarder needs at least one source");
        }
        if self.targets.is_empty() {
            problems.add("to", "[]", "a forwarder needs at least one target");
        }
        check_sources(&self.sources, &mut problems);
        let late = self.targets.iter().enumerate().skip(kept::TARGETS);
        for (n, _) in late.filter(|(_, target)| target.has_failover()) {
            let message = format!("only the first {} targets can have one", kept::TARGETS);
            problems.add(format!("to[{n}].failover"), "", message);
        }
        let targets = self
            .targets
            .into_iter()
            .enumerate()
            .map(|(n, target)| target.compile(&format!("to[{n}]"), &self.sources, &mut problems))
            .collect();
        let rules = self.rules.compile(&self.sources, &mut problems);
        let sources = self.sources.into_iter().map(SourceRule::from).collect();
        let options = ForwarderOptions {
            name: self.name.into(),
            sources,
            targets,
            window: self.window,
            qos0_queue: self.qos0_queue,
            ack_timeout: self.ack_timeout,
            enabled: self.enabled,
            rules,
        };
        // Templates that could not be compiled stand as the identity and would be reported twice.
        if problems.0.is_empty() {
            for (n, message) in cycle::own_echoes(&options) {
                match options.targets.get(n) {
                    Some(target) => problems.add(format!("to[{n}]"), &target.session, message),
                    None => problems.add("dead_letter", "", message),
                }
            }
        }
        ConfigErrors::from_problems(problems.0).map_or(Ok(options), Err)
    }

    fn last(mut self, what: &str, set: impl FnOnce(ForwarderTarget) -> ForwarderTarget) -> Self {
        match self.targets.pop() {
            Some(target) => self.targets.push(set(target)),
            None => self.problems.push(ConfigProblem {
                field: format!("to[0].{what}"),
                value: String::new(),
                message: "stands before the first target".to_owned(),
            }),
        }
        self
    }
}

fn check_sources(sources: &[ForwarderSource], problems: &mut Problems) {
    let mut seen = Vec::new();
    for (n, source) in sources.iter().enumerate() {
        if source.session.is_empty() {
            problems.add(format!("from[{n}].session"), "", "a source needs the name of a session");
        }
        if source.topics.is_empty() {
            problems.add(format!("from[{n}].topics"), "[]", "a source needs at least one filter");
        }
        for (m, filter) in source.topics.iter().enumerate() {
            let field = format!("from[{n}].topics[{m}]");
            if let Err(error) = mqttx_proto::validate_filter(filter) {
                problems.add(field, filter, error.to_string());
            } else if seen.contains(&(&source.session, filter)) {
                problems.add(field, filter, "the filter stands twice for this session");
            } else {
                seen.push((&source.session, filter));
            }
        }
    }
}

/// What was found wrong so far.
pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub(super) fn add(
        &mut self,
        field: impl Into<String>,
        value: &str,
        message: impl Into<String>,
    ) {
        let value = format!("{value:?}");
        self.0.push(ConfigProblem { field: field.into(), value, message: message.into() });
    }

    fn range(&mut self, field: &str, value: usize, least: usize, most: usize) {
        if !(least..=most).contains(&value) {
            self.0.push(ConfigProblem {
                field: field.to_owned(),
                value: value.to_string(),
                message: format!("allowed are {least} to {most}"),
            });
        }
    }
}

const ACK_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);
const DEFAULT_WINDOW: usize = 256;
const DEFAULT_QOS0_QUEUE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(result: Result<ForwarderOptions, ConfigErrors>) -> Vec<(String, String)> {
        let errors = result.expect_err("the rules are wrong");
        errors.problems().iter().map(|p| (p.field.clone(), p.message.clone())).collect()
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let found = fields(
            ForwarderBuilder::new("")
                .window(0)
                .qos0_queue(0)
                .from(ForwarderSource::new("").topics(["a/#/b", "ok/+", "ok/+"]))
                .from(ForwarderSource::new("s"))
                .to(ForwarderTarget::new("").topic("x/{2}").map("a/+", "{#}").map("b/#/", "y"))
                .build(),
        );
        let places: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            places,
            [
                "name",
                "window",
                "qos0_queue",
                "from[0].session",
                "from[0].topics[0]",
                "from[0].topics[2]",
                "from[1].topics",
                "to[0].session",
                "to[0].map[\"a/+\"]",
                "to[0].map[\"b/#/\"]",
                "to[0].topic",
                "to[0].topic",
                "to[0].topic",
            ]
        );
    }

    #[test]
    fn the_first_64_targets_can_have_a_failover() {
        let all = (0..65).map(|n| ForwarderTarget::new("t").topic(format!("x/{n}")));
        let one = |late: usize| {
            let all = all.clone().enumerate();
            all.map(|(n, to)| if n == late { to.failover("u") } else { to })
                .fold(ForwarderBuilder::new("f").source("s", "a"), ForwarderBuilder::to)
        };
        assert!(one(63).build().is_ok());
        assert_eq!(fields(one(64).build())[0].0, "to[64].failover");
    }

    #[test]
    fn a_target_setting_needs_a_target() {
        let found =
            fields(ForwarderBuilder::new("f").source("s", "a").qos(QoS::AtMostOnce).build());
        assert_eq!(found[0], ("to[0].qos".to_owned(), "stands before the first target".to_owned()));
        assert_eq!(found[1].0, "to");
    }

    #[test]
    fn a_capture_must_exist_in_every_filter_of_every_source() {
        let builder = ForwarderBuilder::new("f").source("s", "a/+").source("s", "b/+/c/+");
        assert!(builder.clone().target("t").topic("x/{1}").build().is_ok());
        let found = fields(builder.target("t").topic("x/{2}").build());
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("'a/+' has only one '+'"), "{found:?}");
    }

    #[test]
    fn the_map_wins_over_the_topic_and_the_topic_over_the_source() {
        let options = ForwarderBuilder::new("f")
            .source("s", "a/+")
            .source("s", "b/#")
            .target("t")
            .topic("x/{topic}")
            .map_topic("a/1", "one")
            .target("u")
            .build()
            .unwrap();
        let render = |target: usize, filter: usize, topic: &str| {
            let mut out = String::new();
            let cx = super::super::TopicContext {
                topic,
                forwarder: "f",
                session: "s",
                received_unix_ms: 0,
            };
            let rule = &options.targets[target];
            let template = rule.map.find(topic).unwrap_or_else(|| rule.fallback((0, filter)));
            template.render(&cx, &mut out).unwrap();
            out
        };
        assert_eq!(render(0, 0, "a/1"), "one");
        assert_eq!(render(0, 0, "a/2"), "x/a/2");
        assert_eq!(render(0, 1, "b/2"), "x/b/2");
        assert_eq!(render(1, 0, "a/2"), "a/2");
    }

    #[test]
    fn output_that_returns_to_its_own_filter_is_refused() {
        let found = fields(ForwarderBuilder::new("f").source("s", "a/#").target("s").build());
        assert_eq!(found[0].0, "to[0]");
        assert!(found[0].1.contains("own filter 'a/#'"), "{found:?}");
    }
}
