//! The sensors: as fast as messages arrive at the other end, or at a given rate.

use std::time::{Duration, Instant};

use super::plant::Plant;

/// Publishes for so long; returns how long it really was.
pub(super) async fn publish(plant: &Plant, rate: Option<u64>, time: Duration) -> Duration {
    let start = Instant::now();
    while start.elapsed() < time {
        let wanted = rate.map_or(u64::MAX, |rate| due(rate, start.elapsed(), time));
        while plant.published() < wanted && plant.publish() {}
        if plant.published() < wanted {
            plant.room().await;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    start.elapsed()
}

/// How many messages a rate per second asks for until now, and not for a time that is over meanwhile.
fn due(rate: u64, elapsed: Duration, time: Duration) -> u64 {
    let due = u128::from(rate) * elapsed.min(time).as_micros() / 1_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn rate_is_per_second() {
        assert_eq!(due(1000, Duration::from_millis(1500), HOUR), 1500);
        assert_eq!(due(1, Duration::from_millis(999), HOUR), 0);
        assert_eq!(due(u64::MAX, Duration::from_secs(10), HOUR), u64::MAX);
    }

    #[test]
    fn a_publisher_that_comes_late_is_asked_for_no_more_than_its_time_holds() {
        assert_eq!(due(200, Duration::from_millis(1100), Duration::from_secs(1)), 200);
    }
}
