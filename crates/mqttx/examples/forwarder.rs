//! Messages moved from one session to another under new topics, acknowledged only after the target took them.
//!
//! `cargo run -p mqttx --example forwarder -- mqtt://127.0.0.1:1883 mqtt://127.0.0.1:1884`

use std::time::Duration;

use mqttx::{ForwarderBuilder, ForwarderManager, QoS, SessionManager, SessionOptions};

#[tokio::main]
async fn main() -> Result<(), mqttx::Error> {
    let mut brokers = std::env::args().skip(1);
    let plant = brokers.next().unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    let cloud = brokers.next().unwrap_or_else(|| plant.clone());
    let manager = SessionManager::new();
    let sensor = manager.add_session(SessionOptions::quick_connect("sensor", &plant).build()?)?;
    let source = manager.add_session(SessionOptions::quick_connect("plant", plant).build()?)?;
    let cloud = manager.add_session(SessionOptions::quick_connect("cloud", cloud).build()?)?;

    let forwarders = ForwarderManager::new(&manager);
    let options = ForwarderBuilder::new("telemetry")
        .source("plant", "line/+/sensor/#")
        .target("cloud")
        .topic("site/a/{1}/{#}")
        .build()?;
    let forwarder = forwarders.add_forwarder(options)?;
    forwarder.start().await?;

    let mut arrived = cloud.listen("site/a/#")?;
    for session in [&sensor, &source, &cloud] {
        session.wait_ready(Duration::from_secs(10)).await?;
    }
    // By another session: a forwarder does not take what its own source session publishes.
    sensor.publish("line/7/sensor/temp/1", "21.5", QoS::AtLeastOnce, false).await?;
    if let Some(message) = arrived.next().await {
        println!("{} = {:?}", message.topic(), message.payload_str());
    }
    println!("{:?}", forwarder.metrics());
    forwarders.shutdown(Duration::from_secs(5)).await;
    manager.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
