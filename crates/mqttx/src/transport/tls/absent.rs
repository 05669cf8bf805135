//! In place of TLS, in a build without the feature `tls`: whoever asks for it is told the feature.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;

use super::{ByteStream, ConnectError, Endpoint};
use crate::error::{ConfigProblem, Error};
use crate::event::EventBus;
use crate::options::{SessionOptions, TlsOptions};

const MISSING: &str = "this build has no TLS: it needs the feature `tls` of the crate `mqttx`";

/// There is none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Connector {}

/// There is none either.
pub(crate) type TlsStream<S> = S;

#[derive(Debug, Default)]
pub(crate) struct TlsPool;

pub(crate) fn check(_: &TlsOptions) -> Vec<ConfigProblem> {
    let problem = ConfigProblem {
        field: "tls".to_owned(),
        value: "set, or a broker with mqtts://".to_owned(),
        message: MISSING.to_owned(),
    };
    vec![problem]
}

impl TlsPool {
    pub(crate) fn new(_: Arc<EventBus>, _: Handle) -> Self {
        Self
    }

    pub(crate) fn connector(&self, _: &SessionOptions) -> Result<Arc<Connector>, Error> {
        Err(Error::config(MISSING))
    }

    pub(crate) fn reload(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Connector {
    pub(crate) async fn connect<S: ByteStream>(
        self: &Arc<Self>,
        _: S,
        _: &Endpoint,
    ) -> Result<TlsStream<S>, ConnectError> {
        match **self {}
    }

    pub(crate) fn client_not_after(&self) -> Option<SystemTime> {
        match *self {}
    }

    pub(crate) fn server_not_after(&self, _: &Endpoint) -> Option<SystemTime> {
        match *self {}
    }
}
