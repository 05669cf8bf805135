//! Happy Eyeballs (RFC 8305): the first of several addresses that answers.
//!
//! An address that drops packets would otherwise hold up a broker that is well at its other one.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How long an attempt has the network for itself (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses that are tried at most.
const MOST: usize = 32;
/// Failures that the error tells of at most.
const TOLD: usize = 4;

/// Connects to `addresses` by `connect`, each a quarter of a second after the one before, or once that
/// failed; the families alternate, the resolver's first one first. What is not first is dropped.
///
/// # Errors
/// No address, or what failed at each of them.
pub(super) async fn first<T, F>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    match addresses {
        [] => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        [only] => connect(*only).await,
        several => race(&alternating(several), connect).await,
    }
}

async fn race<T, F>(addresses: &[SocketAddr], connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.iter().copied();
    let mut attempts = Vec::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            attempts.push((address, Box::pin(connect(address))));
        } else if attempts.is_empty() {
            return Err(all_of(failures));
        }
        let outcome = if waiting.len() == 0 {
            any(&mut attempts).await
        } else if let Ok(outcome) = tokio::time::timeout(STAGGER, any(&mut attempts)).await {
            outcome
        } else {
            continue;
        };
        match outcome {
            (_, Ok(stream)) => return Ok(stream),
            (address, Err(error)) => failures.push((address, error)),
        }
    }
}

/// The outcome of the first attempt that has one; it leaves the list. There must be an attempt.
async fn any<T, F: Future<Output = T>>(
    attempts: &mut Vec<(SocketAddr, Pin<Box<F>>)>,
) -> (SocketAddr, T) {
    poll_fn(|cx| {
        for at in 0..attempts.len() {
            let (address, attempt) = &mut attempts[at];
            if let Poll::Ready(outcome) = attempt.as_mut().poll(cx) {
                let address = *address;
                drop(attempts.remove(at));
                return Poll::Ready((address, outcome));
            }
        }
        Poll::Pending
    })
    .await
}

/// The families take turns (RFC 8305, section 4).
pub(super) fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().map(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| Some(address.is_ipv6()) == first);
    one.reverse();
    other.reverse();
    let mut sorted = Vec::with_capacity(addresses.len());
    while sorted.len() < MOST && !(one.is_empty() && other.is_empty()) {
        sorted.extend(one.pop());
        sorted.extend(other.pop());
    }
    sorted
}

/// One error for all; its kind is that of the last.
fn all_of(failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let kind = failures.last().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let told = failures.iter().take(TOLD).map(|(address, error)| format!("{address}: {error}"));
    let mut text = told.collect::<Vec<_>>().join("; ");
    if failures.len() > TOLD {
        text.push_str(&format!("; and {} more addresses", failures.len() - TOLD));
    }
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use tokio::time::{Instant, sleep};

    /// What an address does, and after how many milliseconds.
    #[derive(Clone, Copy)]
    enum Does {
        Answer(u64),
        Refuse(u64),
        Nothing,
    }

    const A: &str = "[2001:db8::1]:1883";
    const B: &str = "192.0.2.1:1883";
    const C: &str = "[2001:db8::2]:1883";
    const D: &str = "192.0.2.2:1883";

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The outcome, when it came, and the attempts with the times of their beginnings.
    async fn race_of(
        plan: &[(&str, Does)],
    ) -> (io::Result<SocketAddr>, u128, Vec<(SocketAddr, u128)>) {
        let start = Instant::now();
        let begun = RefCell::new(Vec::new());
        let running = Cell::new(0);
        struct Running<'a>(&'a Cell<u32>);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        let plan: Vec<_> = plan.iter().map(|(text, does)| (address(text), *does)).collect();
        let addresses: Vec<_> = plan.iter().map(|(address, _)| *address).collect();
        let (plan, begun_in, running_in) = (&plan, &begun, &running);
        let outcome = first(&addresses, |to| async move {
            begun_in.borrow_mut().push((to, start.elapsed().as_millis()));
            running_in.set(running_in.get() + 1);
            let _running = Running(running_in);
            match plan.iter().find(|(address, _)| *address == to).expect("in the plan").1 {
                Does::Answer(after) => sleep(Duration::from_millis(after)).await,
                Does::Refuse(after) => {
                    sleep(Duration::from_millis(after)).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Does::Nothing => std::future::pending().await,
            }
            Ok(to)
        })
        .await;
        assert_eq!(running.get(), 0, "what is not first is dropped");
        (outcome, start.elapsed().as_millis(), begun.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_answers_soon_is_the_only_one() {
        let plan = [(A, Does::Answer(200)), (C, Does::Answer(0)), (B, Does::Answer(0))];
        let (outcome, time, begun) = race_of(&plan).await;
        assert_eq!((outcome.expect("answered"), time), (address(A), 200));
        assert_eq!(begun, [(address(A), 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_has_a_quarter_of_a_second_and_the_families_take_turns() {
        let plan =
            [(A, Does::Nothing), (C, Does::Nothing), (B, Does::Nothing), (D, Does::Answer(10))];
        let (outcome, time, begun) = race_of(&plan).await;
        assert_eq!((outcome.expect("answered"), time), (address(D), 760));
        let expected = [(A, 0), (B, 250), (C, 500), (D, 750)].map(|(a, time)| (address(a), time));
        assert_eq!(begun, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_still_wins_when_the_others_fail() {
        let plan = [(A, Does::Answer(5000)), (B, Does::Refuse(10)), (C, Does::Refuse(10))];
        let (outcome, time, begun) = race_of(&plan).await;
        assert_eq!((outcome.expect("answered"), time), (address(A), 5000));
        assert_eq!(begun[1..], [(address(B), 250), (address(C), 260)], "failures move on at once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_answer_wins_whoever_began_first() {
        let plan = [(A, Does::Answer(1000)), (B, Does::Answer(20))];
        let (outcome, time, _) = race_of(&plan).await;
        assert_eq!((outcome.expect("answered"), time), (address(B), 270));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_told_for_every_address() {
        let (outcome, time, _) = race_of(&[(A, Does::Refuse(0)), (B, Does::Refuse(0))]).await;
        let error = outcome.expect_err("refused");
        assert_eq!((error.kind(), time), (io::ErrorKind::ConnectionRefused, 0));
        let text = error.to_string();
        assert!(text.contains(&format!("{A}: ")) && text.contains(&format!("; {B}: ")), "{text}");
        let error = first(&[], |_| async { Ok(()) }).await.expect_err("no address");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_with_many_addresses_is_tried_a_bounded_number_of_times() {
        let many: Vec<_> = (0..200).map(|n| format!("192.0.2.{n}:1883")).collect();
        let plan: Vec<_> = many.iter().map(|text| (text.as_str(), Does::Refuse(0))).collect();
        let (outcome, _, begun) = race_of(&plan).await;
        assert_eq!(begun.len(), MOST);
        let text = outcome.expect_err("refused").to_string();
        assert!(text.ends_with("; and 28 more addresses") && text.len() < 400, "{text}");
    }
}
