//! Who takes part, and in what.

use crate::workload::{Case, Noise, Work};

/// One client in one way of use.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) version: Version,
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
    /// It publishes on the thread of `main`, inside `block_on`, and is no task of the runtime.
    Main,
    /// The acknowledgement of each message is awaited by the application.
    Awaited,
    /// A callback on the session's own driver.
    Inline,
    /// A stream.
    Stream,
    /// What is in flight is kept in a file store, synced in groups.
    FileStore,
}

use Family::{Mqttx, Ntex, Paho, Raw, Rumqttc, RumqttcNext};
use Variant::{Awaited, CurrentThread, FileStore, Inline, Main, Plain, Stream};
use Version::{V5, V311};

/// All contestants, in the order of the report.
pub(crate) const ALL: &[Contestant] = &[
    row("raw", Raw, V311, Plain, "encoded packets on a socket"),
    row("mqttx-v5", Mqttx, V5, Plain, ""),
    row("mqttx-v311", Mqttx, V311, Plain, ""),
    row("mqttx-v5-current", Mqttx, V5, CurrentThread, "current_thread"),
    row("mqttx-v5-main", Mqttx, V5, Main, "on the thread of main"),
    row("mqttx-v5-awaited", Mqttx, V5, Awaited, "each acknowledgement awaited"),
    row("mqttx-v5-inline", Mqttx, V5, Inline, "inline callback"),
    row("mqttx-v5-stream", Mqttx, V5, Stream, "stream"),
    row("mqttx-v5-file", Mqttx, V5, FileStore, "file store, synced in groups"),
    row("ntex-v311", Ntex, V311, Plain, "one thread"),
    row("ntex-v5", Ntex, V5, Plain, "one thread"),
    row("rumqttc-next-v4", RumqttcNext, V311, Plain, "batches of 64"),
    row("rumqttc-next-v5", RumqttcNext, V5, Plain, "batches of 64"),
    row("rumqttc-next-v4-current", RumqttcNext, V311, CurrentThread, "batches, current_thread"),
    row("rumqttc-v4", Rumqttc, V311, Plain, ""),
    row("rumqttc-v5", Rumqttc, V5, Plain, ""),
    row("rumqttc-v4-current", Rumqttc, V311, CurrentThread, "current_thread"),
    row("paho-v311", Paho, V311, Plain, "C"),
];

const fn row(
    name: &'static str,
    family: Family,
    version: Version,
    variant: Variant,
    note: &'static str,
) -> Contestant {
    Contestant { name, family, version, note, variant }
}

impl Contestant {
    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|contestant| contestant.name == name)
    }

    pub(crate) fn takes_part(&self, case: &Case) -> bool {
        if self.is_peer() && !cfg!(feature = "peers") {
            return false;
        }
        if case.local && self.family != Mqttx || case.on_demand && self.is_peer() {
            return false;
        }
        let can = match self.family {
            Raw => !matches!(case.work, Work::Metrics | Work::Lifecycles),
            Mqttx => true,
            // Some bring another implementation of TLS, whose speed is not their own.
            _ if case.tls => false,
            Ntex | Rumqttc | RumqttcNext => match case.work {
                Work::Publish | Work::Forward | Work::Idle => true,
                Work::Receive => case.filters == 1,
                Work::Latency(noise) => noise == Noise::Nothing,
                _ => false,
            },
            // It takes half a minute to connect some thousand sessions.
            Paho => {
                matches!(case.work, Work::Publish | Work::Receive)
                    && case.sessions <= 100
                    && case.tasks == 1
                    && case.filters == 1
            }
        };
        can && self.variant_fits(case)
    }

    /// Whether its way of use differs from the plain one in this workload.
    fn variant_fits(&self, case: &Case) -> bool {
        match self.variant {
            Plain => true,
            CurrentThread => !matches!(case.work, Work::Metrics | Work::Lifecycles),
            Main => case.work == Work::Publish && case.tasks == 1 && case.sessions == 1,
            Awaited => case.work == Work::Publish && case.qos > 0,
            Inline => case.work == Work::Receive,
            Stream => case.work == Work::Receive && case.filters == 1,
            FileStore => case.work == Work::Durable,
        }
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.family == Raw
    }

    /// Whether it is somebody else's client.
    pub(crate) fn is_peer(&self) -> bool {
        !matches!(self.family, Raw | Mqttx)
    }
}
