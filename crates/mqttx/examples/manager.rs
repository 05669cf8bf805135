//! Several sessions in one process: added, awaited, watched, shut down.
//!
//! `cargo run -p mqttx --example manager -- mqtt://127.0.0.1:1883`

use std::time::Duration;

use mqttx::{EventFilter, Publish, QoS, SessionManager, SessionOptions};

#[tokio::main]
async fn main() -> Result<(), mqttx::Error> {
    let broker = std::env::args().nth(1).unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    let manager = SessionManager::new();
    let _events = manager.on_event(EventFilter::all(), |event| {
        println!("{:>10}  {}", event.session.as_deref().unwrap_or("manager"), event.kind.name());
    })?;

    for device in 0..3 {
        let options = SessionOptions::quick_connect(format!("device-{device}"), &broker)
            .keep_alive(Duration::from_secs(30))
            .build()?;
        manager.add_session(options)?;
    }
    manager.wait_for_all_sessions(Duration::from_secs(10)).await?;

    // `publish` completes at the server's acknowledgement, `enqueue` when the session accepted the message.
    let session = manager.session("device-0")?;
    session.publish("devices/0/state", "up", QoS::AtLeastOnce, false).await?;
    let delivery =
        session.enqueue(Publish::new("devices/0/level", "42").qos(QoS::ExactlyOnce)).await?;
    println!("acknowledged: {:?}", delivery.await?);

    for (name, status) in manager.statuses() {
        println!("{name}: {status}");
    }
    let report = manager.shutdown(Duration::from_secs(5)).await;
    println!("clean: {}", report.clean);
    Ok(())
}
