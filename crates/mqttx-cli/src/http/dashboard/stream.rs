//! `/api/v1/dashboard`: what a page shows, then what changes, as server-sent events.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::super::sessions::time;
use super::super::{Site, reply};
use super::Seen;
use super::board::Board;
use super::table::{Cursor, Piece};

/// Rows and events of one piece: some 100 KiB at most, and that is all that waits for a page.
const ROWS: usize = 500;
const FORWARDERS: usize = 50;
const EVENTS: usize = 100;
/// Rows that a page gets after each look, once it has seen all. With more of them busy, each comes less often.
const PER_LOOK: usize = 5000;

/// Everything, then what changed, once a second. What a page does not take in time is not queued for it: it gets the state
/// of the moment at which it takes more.
pub(in crate::http) async fn stream(State(site): State<Arc<Site>>) -> Response {
    let Some(place) = site.dashboard.place() else {
        return reply::error(StatusCode::SERVICE_UNAVAILABLE, "too many watch");
    };
    let seen = site.dashboard.seen.subscribe();
    site.dashboard.arrived.notify_one();
    let watcher = Watcher { site, seen, progress: Progress::default(), _place: place };
    let pieces = unfold(watcher, |mut watcher| async {
        let piece = watcher.piece().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), watcher))
    });
    reply::typed(StatusCode::OK, reply::EVENTS, Body::from_stream(pieces))
}

struct Watcher {
    site: Arc<Site>,
    seen: watch::Receiver<Seen>,
    progress: Progress,
    _place: OwnedSemaphorePermit,
}

/// How far a page is.
#[derive(Default)]
pub(super) struct Progress {
    greeted: bool,
    version: u64,
    sessions: Cursor,
    forwarders: Cursor,
    points: u64,
    events: u64,
    /// Rows sent since the last look.
    rows: usize,
}

impl Watcher {
    /// What to send next; `None` at the end.
    async fn piece(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.progress.greeted, true) {
            return Some(self.greeting());
        }
        loop {
            let seen = *self.seen.borrow_and_update();
            if seen.over {
                return None;
            }
            let piece = self.progress.piece(&self.site.dashboard.board());
            if piece.is_some() {
                return piece;
            }
            self.seen.changed().await.ok()?;
        }
    }

    fn greeting(&self) -> String {
        let hello = json!({
            "name": self.site.forwarders.name(),
            "version": env!("CARGO_PKG_VERSION"),
            "started": time(self.site.dashboard.started),
            "stopping": self.site.stopping.load(Ordering::Acquire),
        });
        format!("data: {{\"hello\":{hello}}}\n\n")
    }
}

impl Progress {
    /// The next piece of what is new; `None` until the next look.
    pub(super) fn piece(&mut self, board: &Board) -> Option<String> {
        let rows = board.rows.as_ref()?;
        if board.version != self.version {
            (self.version, self.rows) = (board.version, 0);
        } else if self.rows >= PER_LOOK && !self.sessions.is_new() {
            return None;
        }
        let first = self.sessions.is_new();
        let forwarders = rows.forwarders.piece(&mut self.forwarders, FORWARDERS);
        let sessions = rows.sessions.piece(&mut self.sessions, ROWS);
        self.rows += sessions.count;
        let points = board.history.after(&mut self.points);
        let events = board.journal.after(&mut self.events, EVENTS);
        let mut parts = Vec::new();
        parts.extend((!points.is_empty()).then(|| format!("\"points\":[{points}]")));
        parts.extend(written("forwarders", &forwarders));
        parts.extend(written("sessions", &sessions));
        parts.extend((!events.is_empty()).then(|| format!("\"events\":[{events}]")));
        if first && sessions.complete {
            parts.push("\"complete\":true".to_owned());
        }
        if parts.is_empty() {
            return None;
        }
        // JSON has no line breaks.
        Some(format!("data: {{{}}}\n\n", parts.join(",")))
    }
}

/// `"KIND":{"rows":[…],"gone":[…],"reset":true}`, if there is anything.
fn written(kind: &str, piece: &Piece) -> Option<String> {
    if piece.count == 0 && piece.gone.is_empty() && !piece.reset {
        return None;
    }
    let mut text = format!("\"{kind}\":{{\"rows\":[{}]", piece.rows);
    // Writing to memory does not fail.
    if !piece.gone.is_empty() {
        let _ = write!(text, ",\"gone\":{}", json!(piece.gone));
    }
    if piece.reset {
        text.push_str(",\"reset\":true");
    }
    text.push('}');
    Some(text)
}
