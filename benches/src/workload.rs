//! What is measured: every workload in all its sizes, under one name each.

use mqttx_test::{Flood, LoadOptions};

/// Messages that may be unacknowledged, for every contestant.
pub(crate) const WINDOW: u16 = 1000;

/// The topic that is published to and flooded: the length that sensors use.
pub(crate) const TOPIC: &str = "bench/plant/line/7/temperature";

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
    /// Unacknowledged messages on each session.
    pub(crate) window: u16,
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
}

impl Case {
    fn new(work: Work, name: String, title: String) -> Self {
        Self { name, title, work, qos: 0, payload: 64, sessions: 1, window: WINDOW }
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

    fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// How the test peer behaves for so many messages.
    pub(crate) fn peer(&self, messages: u64) -> LoadOptions {
        let flood = match self.work {
            Work::Publish => None,
            Work::Receive | Work::Forward => Some(Flood {
                topic: TOPIC.to_owned(),
                payload: self.payload,
                qos: self.qos,
                messages: messages / self.sessions as u64,
                window: self.window,
            }),
        };
        LoadOptions { receive_maximum: Some(self.window), flood }
    }

    /// With how many messages the speed is estimated before the first round.
    pub(crate) fn estimate(&self) -> u64 {
        let most = 50_000_000 / self.payload.max(500) as u64;
        most.min(50_000).max(self.sessions as u64)
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
    for qos in 0..3 {
        let name = format!("receive-q{qos}-64");
        let title = format!("receive QoS {qos}, 64 B");
        cases.push(Case::new(Work::Receive, name, title).qos(qos));
    }
    let (name, title) =
        ("sessions-100-q1", "100 sessions publish QoS 1 together, 100 in flight each");
    let case = Case::new(Work::Publish, name.to_owned(), title.to_owned());
    cases.push(case.qos(1).sessions(100).window(100));
    for qos in 0..2 {
        let name = format!("forward-q{qos}");
        let title = format!("forward QoS {qos}, session to session, 64 B");
        cases.push(Case::new(Work::Forward, name, title).qos(qos));
    }
    cases
}

pub(crate) fn by_name(name: &str) -> Option<Case> {
    all().into_iter().find(|case| case.name == name)
}
