//! Two sessions with one client id.

use mqttx::{QoS, SessionStatus, Version};

use crate::support::*;

both_versions! {
    async fn the_loser_of_a_takeover_stays_down_unless_it_may_reconnect(version: Version) {
        let broker = broker!();
        let plant = || persistent("plant", &broker.url(), version).auto_reconnect(false);
        let (losers, loser) = ready(plant()).await;
        let (winners, winner) = ready(plant()).await;
        until(&losers, "failed", || loser.status() == SessionStatus::Failed).await;
        assert!(loser.last_error().is_some());
        assert!(!loser.wait_ready(PATIENCE).await.unwrap_err().is_timeout(), "it is known at once");
        winner.publish("t", "x", QoS::AtLeastOnce, false).await.unwrap();

        // What it accepts now waits until somebody brings it back, at the other's cost.
        let delivery = loser.try_publish(numbered("t", 1, QoS::AtLeastOnce)).unwrap();
        loser.connect();
        delivery.await.unwrap();
        until(&winners, "failed", || winner.status() == SessionStatus::Failed).await;
    }
}
