//! The sensors: as fast as messages arrive at the other end, or at a given rate.

use std::time::{Duration, Instant};

use super::plant::Plant;

/// Publishes for so long; returns how long it really was.
pub(super) async fn publish(plant: &Plant, rate: Option<u64>, time: Duration) -> Duration {
    let start = Instant::now();
    while start.elapsed() < time {
        // Not more than in the time that was asked for, when it is over by now.
        let wanted = rate.map_or(u64::MAX, |rate| due(rate, start.elapsed().min(time)));
        while plant.published() < wanted && plant.publish() {}
        if plant.published() < wanted {
            plant.room().await;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    start.elapsed()
}

/// How many messages a rate per second asks for until now.
fn due(rate: u64, elapsed: Duration) -> u64 {
    let due = u128::from(rate) * elapsed.as_micros() / 1_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_per_second() {
        assert_eq!(due(1000, Duration::from_millis(1500)), 1500);
        assert_eq!(due(1, Duration::from_millis(999)), 0);
        assert_eq!(due(u64::MAX, Duration::from_secs(10)), u64::MAX);
    }
}
