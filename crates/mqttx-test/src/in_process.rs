//! The broker of the `mqtt5` crate in this process: an oracle that needs nothing installed.

use mqtt5::broker::auth_mechanisms::scram::generate_scram_credential_line_with_iterations;
use mqtt5::broker::config::{AuthConfig, BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::task::JoinHandle;

use crate::free_address;

/// A running broker that keeps its sessions in memory and drops no message above QoS 0.
///
/// It speaks MQTT 3.1.1 and 5.0 and stops on drop.
pub struct InProcessBroker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: Option<JoinHandle<()>>,
}

impl InProcessBroker {
    /// Starts on a free port of the loopback interface.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start() -> Self {
        Self::start_at(free_address()).await
    }

    /// Starts at this address, as after [`stop`](Self::stop) of another one there.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::start_as(unlimited(address)).await
    }

    /// Starts with one user, who authenticates with SCRAM-SHA-256; nobody else may connect.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_with_scram(user: &str, password: &str) -> Self {
        let directory = crate::TempDir::new("scram");
        let path = directory.path().join("users");
        let line = generate_scram_credential_line_with_iterations(user, password, 10_000);
        std::fs::write(&path, line.expect("random numbers")).expect("a file");
        let config = unlimited(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let auth = AuthConfig::new().with_scram_file(path).with_allow_anonymous(false);
        Self::start_as(config.with_auth(auth)).await
    }

    async fn start_as(config: BrokerConfig) -> Self {
        let mut broker = MqttBroker::with_config(config).await.expect("broker starts");
        let address = broker.local_addr().expect("broker listens");
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move {
            broker.run().await.expect("broker runs");
        });
        ready.wait_for(|ready| *ready).await.expect("broker becomes ready");
        Self { address, shutdown, task: Some(task) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a client takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Disconnects every client and waits until the port is free; sessions are gone with it.
    ///
    /// # Panics
    /// When the broker itself panicked.
    pub async fn stop(mut self) {
        self.shutdown.shutdown();
        if let Some(task) = self.task.take() {
            task.await.expect("broker stops");
        }
    }
}

impl Drop for InProcessBroker {
    fn drop(&mut self) {
        // Dropping its future takes the broker's tasks and sockets down with it.
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Every limit that could drop or delay a message, lifted.
fn unlimited(address: SocketAddr) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_max_queued_messages_per_client(usize::MAX)
        .with_max_queued_bytes_per_client(usize::MAX);
    let mut config = BrokerConfig::default().with_bind_address(address).with_storage(storage);
    // Messages in flight to one client before the broker waits for acknowledgements.
    config.max_outbound_inflight = u16::MAX;
    config.client_channel_capacity = 100_000;
    config.max_clients = 100_000;
    // Its own topics would only be noise.
    config.sys_topics_enabled = false;
    config
}
