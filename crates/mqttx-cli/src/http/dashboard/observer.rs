//! Who looks, and when.

use std::sync::Arc;
use std::time::Duration;

use mqttx::{Event, EventStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::super::Site;

/// While somebody watches.
const OFTEN: Duration = Duration::from_secs(1);
/// While nobody watches only the charts go on, in steps of so many [`OFTEN`]s.
const SELDOM: u32 = 5;

/// Keeps the board up to date until `stop` says so.
pub(in crate::http) async fn observe(site: Arc<Site>, mut stop: watch::Receiver<bool>) {
    let mut events = Some(site.sessions.events());
    let mut observer = Observer { site: Arc::clone(&site), looked: None, quiet: SELDOM };
    let mut ticks = interval(OFTEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => observer.look(),
            () = site.dashboard.arrived.notified() => observer.arrival(),
            event = next(&mut events) => match event {
                Some(event) => site.dashboard.board().journal.add(&event),
                None => events = None,
            },
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    site.dashboard.seen.send_modify(|seen| seen.over = true);
}

struct Observer {
    site: Arc<Site>,
    /// When the rows were looked at; `None` while nobody watches.
    looked: Option<Instant>,
    /// Looks left out since the last one.
    quiet: u32,
}

impl Observer {
    fn look(&mut self) {
        let site = &*self.site;
        let watched = site.dashboard.is_watched();
        self.quiet += 1;
        if watched || self.quiet >= SELDOM {
            self.quiet = 0;
            site.dashboard.board().count(&site.sessions, &site.forwarders);
        }
        if watched {
            self.look_at_rows();
        } else if self.looked.take().is_some() {
            site.dashboard.board().rest();
        }
    }

    /// Somebody begins to watch: the first one must not wait for the next turn.
    fn arrival(&mut self) {
        if self.looked.is_none() {
            self.look_at_rows();
        }
    }

    fn look_at_rows(&mut self) {
        let site = &*self.site;
        let now = Instant::now();
        let before = self.looked.replace(now);
        let elapsed = before.map_or(Duration::ZERO, |before| now - before);
        let mut board = site.dashboard.board();
        board.look(&site.sessions, &site.forwarders, elapsed);
        let version = board.version;
        drop(board);
        site.dashboard.seen.send_modify(|seen| seen.version = version);
    }
}

/// The next event; `None` at the end, and never after it.
async fn next(events: &mut Option<EventStream>) -> Option<Arc<Event>> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}
