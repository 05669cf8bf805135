//! Who takes part, and in what.

use crate::workload::{Case, Work};

/// One client in one way of use.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) version: Version,
    /// The workloads it takes part in.
    works: &'static [Work],
    /// What its row tells besides the name.
    pub(crate) note: &'static str,
    pub(crate) variant: Variant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Sockets and encoded packets: the limit.
    Raw,
    Mqttx,
    Ntex,
    Rumqttc,
    /// Its successor, with batches on.
    RumqttcNext,
    /// The C library, through its Rust interface.
    Paho,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

/// What differs between rows of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The way its documentation shows first.
    Plain,
    /// On a runtime of one thread.
    CurrentThread,
    /// The acknowledgement of each message is awaited by the application.
    Awaited,
    /// A callback on the session's own driver.
    Inline,
    /// A stream.
    Stream,
}

const ANY: &[Work] = &[Work::Publish, Work::Receive, Work::Forward];
const PUBLISH_RECEIVE: &[Work] = &[Work::Publish, Work::Receive];
const PUBLISH: &[Work] = &[Work::Publish];
const RECEIVE: &[Work] = &[Work::Receive];

/// All contestants, in the order of the report.
pub(crate) const ALL: &[Contestant] = &[
    row("raw", Family::Raw, Version::V311, Variant::Plain, ANY, "encoded packets on a socket"),
    row("mqttx-v5", Family::Mqttx, Version::V5, Variant::Plain, ANY, ""),
    row("mqttx-v311", Family::Mqttx, Version::V311, Variant::Plain, ANY, ""),
    row(
        "mqttx-v5-current",
        Family::Mqttx,
        Version::V5,
        Variant::CurrentThread,
        ANY,
        "current_thread",
    ),
    row(
        "mqttx-v5-awaited",
        Family::Mqttx,
        Version::V5,
        Variant::Awaited,
        PUBLISH,
        "each acknowledgement awaited",
    ),
    row("mqttx-v5-inline", Family::Mqttx, Version::V5, Variant::Inline, RECEIVE, "inline callback"),
    row("mqttx-v5-stream", Family::Mqttx, Version::V5, Variant::Stream, RECEIVE, "stream"),
    row("ntex-v311", Family::Ntex, Version::V311, Variant::Plain, ANY, "one thread"),
    row("ntex-v5", Family::Ntex, Version::V5, Variant::Plain, ANY, "one thread"),
    row(
        "rumqttc-next-v4",
        Family::RumqttcNext,
        Version::V311,
        Variant::Plain,
        ANY,
        "batches of 64",
    ),
    row("rumqttc-next-v5", Family::RumqttcNext, Version::V5, Variant::Plain, ANY, "batches of 64"),
    row(
        "rumqttc-next-v4-current",
        Family::RumqttcNext,
        Version::V311,
        Variant::CurrentThread,
        ANY,
        "batches of 64, current_thread",
    ),
    row("rumqttc-v4", Family::Rumqttc, Version::V311, Variant::Plain, ANY, ""),
    row("rumqttc-v5", Family::Rumqttc, Version::V5, Variant::Plain, ANY, ""),
    row(
        "rumqttc-v4-current",
        Family::Rumqttc,
        Version::V311,
        Variant::CurrentThread,
        ANY,
        "current_thread",
    ),
    row("paho-v311", Family::Paho, Version::V311, Variant::Plain, PUBLISH_RECEIVE, "C"),
];

const fn row(
    name: &'static str,
    family: Family,
    version: Version,
    variant: Variant,
    works: &'static [Work],
    note: &'static str,
) -> Contestant {
    Contestant { name, family, version, works, note, variant }
}

impl Contestant {
    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|contestant| contestant.name == name)
    }

    pub(crate) fn takes_part(&self, case: &Case) -> bool {
        let nothing_to_await = self.variant == Variant::Awaited && case.qos == 0;
        self.works.contains(&case.work) && !nothing_to_await
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.family == Family::Raw
    }

    /// Whether it is somebody else's client.
    pub(crate) fn is_peer(&self) -> bool {
        !matches!(self.family, Family::Raw | Family::Mqttx)
    }
}
