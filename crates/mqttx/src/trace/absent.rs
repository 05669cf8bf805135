//! In place of traces, in a build without the feature `otel`: nothing that costs anything. Forwarders pass `traceparent` and
//! `tracestate` on as any other user property.

use mqttx_proto::{Properties, PropertiesRef};

use super::About;

pub(crate) const AVAILABLE: bool = false;

/// There is none.
#[derive(Debug)]
pub(crate) enum Hop {}

/// There is none either.
#[derive(Debug)]
pub(crate) enum Span {}

pub(crate) struct Surroundings;

pub(crate) struct Entered;

pub(crate) struct Injected;

pub(crate) fn inject(_: PropertiesRef<'_>) -> Injected {
    Injected
}

pub(crate) fn may_be_in(_: PropertiesRef<'_>) -> bool {
    false
}

impl Injected {
    #[expect(clippy::unused_self, reason = "the other build has something to give")]
    pub(crate) fn or<'a>(&'a self, own: PropertiesRef<'a>) -> PropertiesRef<'a> {
        own
    }
}

impl Surroundings {
    pub(crate) fn of(_: PropertiesRef<'_>) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the other build has something to enter")]
    pub(crate) fn enter(&self) -> Entered {
        Entered
    }
}

impl Hop {
    pub(crate) fn begin(_: PropertiesRef<'_>, _: About<'_>) -> Option<Self> {
        None
    }

    pub(crate) fn span(&mut self) -> Option<Span> {
        match *self {}
    }

    pub(crate) fn replace(&self, _: &mut Properties) {
        match *self {}
    }
}

impl Span {
    pub(crate) fn fail(&mut self, _: &'static str) {
        match *self {}
    }
}
