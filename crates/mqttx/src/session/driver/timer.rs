//! The one timer of a session.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::Sleep;

/// A sleep that is moved only when it must fire earlier: one that fires too early is armed again.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// `sleep` fired, and was not armed again.
    fired: bool,
}

impl Timer {
    /// Whether `deadline` is over; otherwise the task is woken at it, or earlier.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        deadline: Option<Instant>,
    ) -> bool {
        let Some(deadline) = deadline else { return false };
        if deadline <= now {
            return true;
        }
        loop {
            let sleep = match &mut self.sleep {
                Some(sleep) => {
                    if self.fired || sleep.deadline() > deadline.into() {
                        sleep.as_mut().reset(deadline.into());
                        self.fired = false;
                    }
                    sleep
                }
                none => none.insert(Box::pin(tokio::time::sleep_until(deadline.into()))),
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.fired = true;
            if sleep.deadline() >= deadline.into() {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    async fn until(timer: &mut Timer, deadline: Instant) {
        poll_fn(|cx| {
            let now = tokio::time::Instant::now().into_std();
            if timer.poll(cx, now, Some(deadline)) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_move_in_both_directions() {
        let mut timer = Timer::default();
        let start = tokio::time::Instant::now();
        let at = |seconds| (start + Duration::from_secs(seconds)).into_std();
        // Armed for 60 s, wanted at 5 s; then wanted at 90 s, armed earlier.
        poll_fn(|cx| {
            assert!(!timer.poll(cx, at(0), Some(at(60))));
            Poll::Ready(())
        })
        .await;
        until(&mut timer, at(5)).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        poll_fn(|cx| {
            assert!(!timer.poll(cx, at(5), Some(at(10))));
            Poll::Ready(())
        })
        .await;
        until(&mut timer, at(90)).await;
        assert_eq!(start.elapsed().as_secs(), 90);
    }
}
