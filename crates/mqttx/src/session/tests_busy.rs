//! Publishers that pause while their driver always has something to do.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Session, driver};
use crate::options::SessionOptions;
use crate::transport::{Endpoint, Transport, TransportFuture};
use crate::{ManagerBuilder, Publish};

const CONNACK: &[u8] = b"\x20\x03\0\0\0";
/// A message with QoS 0 that no route takes.
const MESSAGE: &[u8] = b"\x30\x04\0\x01t\0";

/// A server that takes all, and sends messages as often as it is read, once it is to.
#[derive(Default)]
struct Flood {
    begins: AtomicBool,
    reads: AtomicUsize,
    reader: Mutex<Option<Waker>>,
}

impl Flood {
    fn begin(&self) {
        self.begins.store(true, Ordering::Relaxed);
        self.reader.lock().unwrap().take().expect("the driver waits").wake();
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

struct Server(Arc<Flood>);

impl Transport for Server {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> TransportFuture<'a> {
        let stream = Stream { flood: Arc::clone(&self.0), accepted: false };
        Box::pin(async { Ok(Box::new(stream) as _) })
    }
}

struct Stream {
    flood: Arc<Flood>,
    accepted: bool,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.accepted {
            self.accepted = true;
            out.put_slice(CONNACK);
        } else if self.flood.begins.load(Ordering::Relaxed) {
            self.flood.reads.fetch_add(1, Ordering::Relaxed);
            out.put_slice(MESSAGE);
        } else {
            *self.flood.reader.lock().unwrap() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Notes how often the server had been read when it was woken.
struct Publisher {
    flood: Arc<Flood>,
    woken_at: AtomicUsize,
}

impl Wake for Publisher {
    fn wake(self: Arc<Self>) {
        self.woken_at.store(self.flood.reads(), Ordering::Relaxed);
    }
}

async fn publish_for_ever(session: &Session) {
    loop {
        session.submit(Publish::new("t", vec![0; 64 << 10])).await.expect("accepted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_sleeps_wakes_who_pauses_all_the_same() {
    let flood = Arc::new(Flood::default());
    let manager = ManagerBuilder::default().connect_rate(0).build();
    let options =
        SessionOptions::quick_connect("s", "mqtt://flood").transport(Server(Arc::clone(&flood)));
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    session.wait_ready(Duration::from_secs(5)).await.expect("ready");
    tokio::task::yield_now().await;

    let waker = |woken_at| Arc::new(Publisher { flood: Arc::clone(&flood), woken_at });
    let publishers = [waker(AtomicUsize::new(0)), waker(AtomicUsize::new(0))];
    // The first one yields, so that the second one pauses for the driver's turn.
    let (mut first, mut second) =
        (pin!(publish_for_ever(&session)), pin!(publish_for_ever(&session)));
    let wakers = publishers.clone().map(Waker::from);
    assert!(first.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());

    flood.begin();
    tokio::task::yield_now().await;
    // It is read once in each turn.
    let (woken_at, all) = (publishers[1].woken_at.load(Ordering::Relaxed), flood.reads());
    let soon = 1..=driver::TURNS_OF_A_PAUSE as usize;
    assert!(soon.contains(&woken_at) && all >= driver::TURNS as usize, "{woken_at} of {all}");
}
