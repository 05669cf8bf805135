//! Names of hosts to addresses: attempts that need the same name at the same time share one lookup.
//!
//! The system's resolver blocks a thread for each lookup. Thousands of sessions that come up together would
//! start hundreds of threads to ask it the same question.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::net::lookup_host;
use tokio::sync::OnceCell;

static LOOKUPS: Mutex<Option<Lookups>> = Mutex::new(None);

/// The lookups that somebody waits for.
type Lookups = HashMap<Box<str>, Weak<Lookup>>;
type Lookup = OnceCell<Result<Box<[SocketAddr]>, Failure>>;

/// The resolver's error, for everybody who waited.
struct Failure {
    kind: io::ErrorKind,
    text: String,
}

/// The addresses of a host, in the resolver's order; an address is its own.
///
/// # Errors
/// The resolver's.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let lookup = async { Ok(lookup_host((host, 0)).await?.collect()) };
    let mut found = Box::pin(share(host, lookup)).await?;
    found.iter_mut().for_each(|address| address.set_port(port));
    Ok(found)
}

/// The result of `lookup`, or of one for the same host that is under way. Whoever asks once it is done asks anew.
async fn share(
    host: &str,
    lookup: impl Future<Output = io::Result<Box<[SocketAddr]>>>,
) -> io::Result<Vec<SocketAddr>> {
    let shared = under_way(host);
    let lookup = async {
        lookup.await.map_err(|error| Failure { kind: error.kind(), text: error.to_string() })
    };
    match shared.get_or_init(|| lookup).await {
        Ok(found) => Ok(found.to_vec()),
        Err(Failure { kind, text }) => Err(io::Error::new(*kind, text.as_str())),
    }
}

fn under_way(host: &str) -> Arc<Lookup> {
    let mut lookups = LOOKUPS.lock().unwrap_or_else(PoisonError::into_inner);
    let lookups = lookups.get_or_insert_default();
    let known = lookups.get(host).and_then(Weak::upgrade);
    // An answer is as old as the question: who comes after it wants a new one.
    if let Some(lookup) = known.filter(|lookup| !lookup.initialized()) {
        return lookup;
    }
    lookups.retain(|_, lookup| lookup.strong_count() > 0);
    let lookup = Arc::new(Lookup::new());
    lookups.insert(host.into(), Arc::downgrade(&lookup));
    lookup
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use tokio::sync::oneshot;

    fn answer(last: u8) -> io::Result<Box<[SocketAddr]>> {
        Ok([SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), 0)].into())
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn attempts_at_the_same_time_share_a_lookup_and_later_ones_ask_anew() {
        let (reply, asked) = oneshot::channel();
        let mut first = pin!(share("shared", async { asked.await.expect("an answer") }));
        assert!(poll(first.as_mut()).is_pending());
        let mut second = pin!(share("shared", async { unreachable!("one is under way") }));
        assert!(poll(second.as_mut()).is_pending());
        let mut other = pin!(share("other", async { answer(9) }));
        assert!(poll(other.as_mut()).is_ready(), "another name is another question");
        reply.send(answer(1)).expect("somebody waits");
        let Poll::Ready(Ok(of_first)) = poll(first.as_mut()) else { panic!("it was answered") };
        let mut third = pin!(share("shared", async { answer(2) }));
        let Poll::Ready(Ok(of_third)) = poll(third.as_mut()) else { panic!("asked anew") };
        let Poll::Ready(Ok(of_second)) = poll(second.as_mut()) else { panic!("it was answered") };
        assert_eq!(of_first, of_second);
        assert_ne!(of_first, of_third);
    }

    #[test]
    fn everybody_who_waits_learns_why_a_lookup_failed() {
        let (reply, asked) = oneshot::channel::<io::Result<_>>();
        let mut first = pin!(share("nowhere", async { asked.await.expect("an answer") }));
        let mut second = pin!(share("nowhere", async { unreachable!("one is under way") }));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        let error = io::Error::new(io::ErrorKind::NotFound, "no such host");
        reply.send(Err(error)).expect("somebody waits");
        for waiting in [poll(first.as_mut()), poll(second.as_mut())] {
            let Poll::Ready(Err(error)) = waiting else { panic!("it failed") };
            assert_eq!(
                (error.kind(), error.to_string().as_str()),
                (io::ErrorKind::NotFound, "no such host")
            );
        }
    }

    #[test]
    fn one_that_gives_up_leaves_the_lookup_to_the_others() {
        let mut second = pin!(share("slow", async { answer(3) }));
        {
            let mut first = Box::pin(share("slow", std::future::pending()));
            assert!(poll(first.as_mut()).is_pending());
            assert!(poll(second.as_mut()).is_pending());
        }
        assert!(poll(second.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn an_address_is_its_own() {
        let found = resolve("::1", 1883).await.expect("an address");
        assert_eq!(found, ["[::1]:1883".parse().expect("an address")]);
    }
}
