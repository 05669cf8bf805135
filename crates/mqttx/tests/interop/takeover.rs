//! Two sessions with one client id.

use mqttx::{EventName, QoS, ReasonCode, SessionStatus, Version};

use crate::support::*;

#[tokio::test]
async fn the_loser_of_a_takeover_stays_down_and_says_why() {
    in_time(async {
        let broker = broker!();
        let (losers, loser) = ready(persistent("plant", &broker.url(), Version::V5)).await;
        let mut events = losers.events();
        let (_winners, winner) = ready(persistent("plant", &broker.url(), Version::V5)).await;
        event(&mut events, EventName::SessionDisconnected).await;
        until(&losers, "failed", || loser.status() == SessionStatus::Failed).await;
        let error = loser.last_error().unwrap();
        assert_eq!(error.reason_code(), Some(ReasonCode::SESSION_TAKEN_OVER));
        assert!(!error.is_temporary());
        let waited = loser.wait_ready(PATIENCE).await.unwrap_err();
        assert_eq!(waited.reason_code(), Some(ReasonCode::SESSION_TAKEN_OVER));
        winner.publish("t", "x", QoS::AtLeastOnce, false).await.unwrap();
        assert_eq!(winner.metrics().reconnects, 0);

        // What it accepts now waits until somebody brings it back, at the other's cost.
        let delivery = loser.try_publish(numbered("t", 1, QoS::AtLeastOnce)).unwrap();
        loser.connect();
        delivery.await.unwrap();
        until(&_winners, "failed", || winner.status() == SessionStatus::Failed).await;
    })
    .await;
}
