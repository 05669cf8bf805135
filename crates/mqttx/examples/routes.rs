//! The three ways to receive: a callback, an async callback, and a stream with manual acknowledgement.
//!
//! `cargo run -p mqttx --example routes -- mqtt://127.0.0.1:1883`

use std::time::Duration;

use mqttx::{QoS, SessionManager, SessionOptions};

#[tokio::main]
async fn main() -> Result<(), mqttx::Error> {
    let broker = std::env::args().nth(1).unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    let manager = SessionManager::new();
    let session = manager.add_session(SessionOptions::quick_connect("routes", broker).build()?)?;

    // Runs on a thread that may block; the message is acknowledged when it returns.
    let _callback = session.handle("example/temperature/+", |message| {
        println!("callback: {} = {:?}", message.topic(), message.payload_str());
    })?;
    // One at a time; acknowledged when the future is finished.
    let _asynchronous = session.handle_async("example/humidity/+", |message| async move {
        println!("async:    {} = {:?}", message.topic(), message.payload_str());
    })?;
    // Acknowledged by `ack`, whenever that is.
    let mut alarms =
        session.route("example/alarm/#").qos(QoS::AtLeastOnce).manual_ack(true).listen()?;

    session.wait_ready(Duration::from_secs(10)).await?;
    session.publish("example/temperature/1", "21.5", QoS::AtLeastOnce, false).await?;
    session.publish("example/humidity/1", "40", QoS::AtLeastOnce, false).await?;
    session.publish("example/alarm/fire/1", "!", QoS::AtLeastOnce, false).await?;
    if let Some(alarm) = alarms.next().await {
        println!("stream:   {} = {:?}", alarm.topic(), alarm.payload_str());
        alarm.ack();
    }
    manager.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
