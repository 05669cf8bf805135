//! What is measured: every workload in all its sizes, under one name each.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mqttx_test::{Flood, LoadOptions};

/// Messages that may be unacknowledged, for every contestant.
pub(crate) const WINDOW: u16 = 1000;

/// The topic that is published to and flooded: the length that sensors use.
pub(crate) const TOPIC: &str = "bench/plant/line/7/temperature";

/// What matches every topic of the workloads.
const ALL_TOPICS: &str = "bench/#";

/// Sessions that connect from one local address.
const SESSIONS_OF_AN_ADDRESS: usize = 20_000;

/// One workload in one size.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What the heading of its table says.
    pub(crate) title: String,
    pub(crate) work: Work,
    pub(crate) qos: u8,
    pub(crate) payload: usize,
    pub(crate) sessions: usize,
    /// Tasks that publish on each session.
    pub(crate) tasks: usize,
    /// Topics of the messages, which take turns.
    pub(crate) topics: usize,
    /// Filters with a handler on the session.
    pub(crate) filters: usize,
    /// Unacknowledged messages on each session.
    pub(crate) window: u16,
    /// TLS stands in front of the test peer.
    pub(crate) tls: bool,
    /// The other end is in the contestant's own process, without sockets.
    pub(crate) local: bool,
    /// Only where it is asked for by its whole name.
    pub(crate) on_demand: bool,
}

/// What a contestant has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Publish until the test peer has everything, and has acknowledged it.
    Publish,
    /// Take a flood, and acknowledge it.
    Receive,
    /// Take a flood on one session and publish it on another.
    Forward,
    /// Publish with what is in flight kept on disk.
    Durable,
    /// Publish one message at a time and wait for its acknowledgement, while something else goes on.
    Latency(Noise),
    /// Connect many sessions.
    Connect,
    /// Keep many sessions.
    Idle,
    /// Read a session's metrics.
    Metrics,
    /// Start and stop a forwarder.
    Lifecycles,
}

/// What goes on while latency is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noise {
    Nothing,
    /// All metrics are read ten times a second.
    Scrape,
    /// As many sessions again are added.
    Adding,
}

/// Has no divisor in common with the numbers of topics.
const STRIDE: usize = 38_197;

/// Topics where they differ from message to message.
const TOPICS: usize = 1000;

/// The distance between messages whose latency is measured.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// At what distance sessions are added meanwhile.
pub(crate) const ADD: Duration = Duration::from_millis(2);

impl Case {
    fn new(work: Work, name: String, title: String) -> Self {
        Self {
            name,
            title,
            work,
            qos: 0,
            payload: 64,
            sessions: 1,
            tasks: 1,
            topics: 1,
            filters: 1,
            window: WINDOW,
            tls: false,
            local: false,
            on_demand: false,
        }
    }

    fn qos(self, qos: u8) -> Self {
        Self { qos, ..self }
    }

    fn payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    fn sessions(self, sessions: usize) -> Self {
        Self { sessions, ..self }
    }

    fn tasks(self, tasks: usize) -> Self {
        Self { tasks, ..self }
    }

    fn topics(self, topics: usize) -> Self {
        Self { topics, ..self }
    }

    fn filters(self, filters: usize) -> Self {
        Self { filters, ..self }
    }

    fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    fn tls(self) -> Self {
        Self { tls: true, ..self }
    }

    fn local(self) -> Self {
        Self { local: true, ..self }
    }

    fn on_demand(self) -> Self {
        Self { on_demand: true, ..self }
    }

    /// Whether a name of `--only` means it: a beginning of its own.
    pub(crate) fn is_meant_by(&self, name: &str) -> bool {
        self.name == name || !self.on_demand && self.name.starts_with(name)
    }

    /// The local address of that session; `None` lets the system choose. One address has some 28 000 ports.
    pub(crate) fn local_address(&self, number: usize) -> Option<IpAddr> {
        let address = u8::try_from(number / SESSIONS_OF_AN_ADDRESS).ok().filter(|&n| n > 0)?;
        Some(Ipv4Addr::new(127, 0, 1, address).into())
    }

    /// Files that each of the two processes needs.
    pub(crate) fn files(&self) -> u64 {
        if self.local { 64 } else { self.sessions as u64 + 64 }
    }

    /// The topics of the messages, in their order. All are of one length; neighbours differ in their middle only.
    pub(crate) fn topic_names(&self) -> Vec<String> {
        if self.topics == 1 {
            return vec![TOPIC.to_owned()];
        }
        // Each number once, far from the one before.
        let number = |n: usize| n * STRIDE % self.topics;
        (0..self.topics).map(|n| format!("bench/plant/{:06}/temperature", number(n))).collect()
    }

    /// The filter with which a flood is asked for.
    pub(crate) fn filter(&self) -> &'static str {
        if self.topics == 1 { TOPIC } else { ALL_TOPICS }
    }

    /// Whether each topic of the flood has a filter of its own.
    pub(crate) fn has_exact_filters(&self) -> bool {
        self.topics > 1 && self.filters == self.topics
    }

    /// How the test peer behaves for so many messages.
    pub(crate) fn peer(&self, messages: u64) -> LoadOptions {
        let flood = match self.work {
            Work::Receive | Work::Forward => Some(Flood {
                topics: self.topic_names(),
                payload: self.payload,
                qos: self.qos,
                messages: messages / self.sessions as u64,
                window: self.window,
            }),
            _ => None,
        };
        LoadOptions { receive_maximum: Some(self.window), flood }
    }

    /// Whether less is better: the figure is a time or a size, not a rate.
    pub(crate) fn less_is_better(&self) -> bool {
        matches!(self.work, Work::Latency(_) | Work::Idle)
    }

    /// How many messages or operations each contestant gets; `None`: as many as keep it busy for a while.
    pub(crate) fn fixed(&self, quick: bool) -> Option<u64> {
        match self.work {
            Work::Latency(_) => Some(if quick { 1000 } else { 3000 }),
            Work::Connect => Some(if quick { 2000 } else { 10_000 }),
            Work::Idle => Some(0),
            _ => None,
        }
    }

    /// With how many messages the speed is estimated before the first round.
    pub(crate) fn estimate(&self) -> u64 {
        let most = 50_000_000 / self.payload.max(500) as u64;
        match self.work {
            Work::Lifecycles => 100,
            _ => most.min(50_000).max(self.sessions as u64),
        }
    }
}

/// Every workload, in the order of the report.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = [(64, "64"), (1024, "1k"), (16 << 10, "16k")];
    for (payload, size) in sizes {
        for qos in 0..3 {
            let name = format!("publish-q{qos}-{size}");
            let flight = if qos > 0 { format!(", {WINDOW} in flight") } else { String::new() };
            let title = format!("publish QoS {qos}, {payload} B{flight}");
            cases.push(Case::new(Work::Publish, name, title).qos(qos).payload(payload));
        }
    }
    for (payload, size) in [(64, "64"), (16 << 10, "16k")] {
        let name = format!("tls-publish-q1-{size}");
        let title = format!("publish QoS 1 over TLS, {payload} B, {WINDOW} in flight");
        cases.push(Case::new(Work::Publish, name, title).qos(1).payload(payload).tls());
    }
    for qos in 0..3 {
        let name = format!("receive-q{qos}-64");
        let title = format!("receive QoS {qos}, 64 B");
        cases.push(Case::new(Work::Receive, name, title).qos(qos));
    }
    cases.extend(many_topics());
    let (name, title) =
        ("sessions-100-q1", "100 sessions publish QoS 1 together, 100 in flight each");
    let case = Case::new(Work::Publish, name.to_owned(), title.to_owned());
    cases.push(case.qos(1).sessions(100).window(100));
    for qos in 0..2 {
        let name = format!("forward-q{qos}");
        let title = format!("forward QoS {qos}, session to session, 64 B");
        cases.push(Case::new(Work::Forward, name, title).qos(qos));
    }
    for (qos, tasks) in [(0, 1), (0, 10), (0, 1000), (1, 1), (1, 10), (1, 1000)] {
        let name = format!("tasks-{tasks}-q{qos}");
        let title = format!("QoS {qos} published on one session, by tasks: {tasks}");
        cases.push(Case::new(Work::Publish, name, title).qos(qos).tasks(tasks));
    }
    let (name, title) = ("fan-in-1000-q1", "1000 sessions receive QoS 1 in one handler, 64 B");
    let case = Case::new(Work::Receive, name.to_owned(), title.to_owned());
    cases.push(case.qos(1).sessions(1000).window(100));
    for (filters, name) in [(10_000, "filters-10k-q0"), (100_000, "filters-100k-q0")] {
        let title = format!("receive QoS 0 on a session with {filters} filters, 64 B");
        cases.push(Case::new(Work::Receive, name.to_owned(), title).filters(filters));
    }
    for (sessions, window) in [(1, 1000), (1000, 16)] {
        let name = format!("durable-{sessions}x{window}");
        let title =
            format!("durable publish QoS 1, 256 B, {sessions} sessions, {window} in flight");
        let case = Case::new(Work::Durable, name, title).qos(1).payload(256);
        cases.push(case.sessions(sessions).window(window));
    }
    for (noise, name, what) in [
        (Noise::Nothing, "latency", ""),
        (Noise::Scrape, "latency-scrape", ", all metrics read 10 times a second"),
        (Noise::Adding, "latency-adding", ", 1000 sessions added meanwhile"),
    ] {
        let title = format!("publish to acknowledgement, 1000 msg/s on one of 1000 sessions{what}");
        let case = Case::new(Work::Latency(noise), name.to_owned(), title);
        cases.push(case.qos(1).sessions(1000));
    }
    let (name, title) = ("connect", "sessions connected, sockets and CONNACK");
    cases.push(Case::new(Work::Connect, name.to_owned(), title.to_owned()));
    for sessions in [1000, 10_000] {
        let (name, title) = (format!("idle-{sessions}"), format!("{sessions} idle sessions"));
        // What others set aside for messages in flight is as small as in their examples.
        cases.push(Case::new(Work::Idle, name, title).sessions(sessions).window(10));
    }
    let (sessions, name) = (100_000, "idle-100000".to_owned());
    for (local, end, where_) in [(false, "", ""), (true, "-local", ", the server in the process")] {
        let title = format!("{sessions} idle sessions{where_}");
        let case = Case::new(Work::Idle, name.clone() + end, title);
        let case = case.sessions(sessions).window(10).on_demand();
        cases.push(if local { case.local() } else { case });
    }
    let (name, title) = ("metrics", "snapshots of a session's metrics");
    cases.push(Case::new(Work::Metrics, name.to_owned(), title.to_owned()));
    let (name, title) = ("lifecycles", "a forwarder started and stopped, sessions offline");
    cases.push(Case::new(Work::Lifecycles, name.to_owned(), title.to_owned()));
    cases
}

/// What was measured with one topic, with topics that differ from message to message.
fn many_topics() -> Vec<Case> {
    let mut cases = Vec::new();
    for (work, verb, size) in [
        (Work::Publish, "publish", "-64"),
        (Work::Receive, "receive", "-64"),
        (Work::Forward, "forward", ""),
    ] {
        for qos in 0..2 {
            let name = format!("{verb}-q{qos}{size}-topics");
            let title = format!("{verb} QoS {qos}, {TOPICS} topics in turn, 64 B");
            cases.push(Case::new(work, name, title).qos(qos).topics(TOPICS));
        }
    }
    for topics in [100, 100_000] {
        let title = format!("receive QoS 0, {topics} topics in turn, each with a filter, 64 B");
        let case = Case::new(Work::Receive, format!("topics-{topics}-q0"), title);
        cases.push(case.topics(topics).filters(topics));
    }
    cases
}

pub(crate) fn by_name(name: &str) -> Option<Case> {
    all().into_iter().find(|case| case.name == name)
}
