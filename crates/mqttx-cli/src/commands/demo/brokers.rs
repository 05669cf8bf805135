//! The brokers of the demo, in this process.

use std::net::{Ipv4Addr, SocketAddr};

use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use tokio::task::JoinHandle;

use crate::exit::Failure;

/// Messages that may wait in the broker for one client: more than the demo ever has on its way.
const QUEUE: usize = 100_000;

/// A broker on a free port of the loopback interface.
pub(super) struct Broker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl Broker {
    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    /// There is no free port, or the broker does not start.
    pub(super) async fn start() -> Result<Self, Failure> {
        let failed =
            |error: String| Failure::runtime(format_args!("broker in this process: {error}"));
        let mut broker =
            MqttBroker::with_config(config()).await.map_err(|error| failed(error.to_string()))?;
        let address = broker.local_addr().ok_or_else(|| failed("it does not listen".to_owned()))?;
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move {
            // Why it ended is seen by its clients.
            let _ = broker.run().await;
        });
        ready
            .wait_for(|ready| *ready)
            .await
            .map_err(|_| failed("it ended while it started".to_owned()))?;
        Ok(Self { address, shutdown, task })
    }

    pub(super) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    pub(super) async fn stop(self) {
        self.shutdown.shutdown();
        // The demo's result does not depend on how the broker ends.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), self.task).await;
    }
}

fn config() -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_max_queued_messages_per_client(usize::MAX)
        .with_max_queued_bytes_per_client(usize::MAX);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = BrokerConfig::default().with_bind_address(address).with_storage(storage);
    config.max_outbound_inflight = u16::MAX;
    config.client_channel_capacity = QUEUE;
    config.sys_topics_enabled = false;
    config
}
