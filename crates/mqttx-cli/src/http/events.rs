//! `/api/v1/events`: what happens, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use mqttx::EventStream;
use tokio::sync::OwnedSemaphorePermit;

use super::{Site, event, reply};

/// Clients at a time; one more gets 503.
pub(super) const LISTENERS: usize = 32;
/// Without an event a comment is sent, so that a client that left is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Events that are sent as one piece.
const TOGETHER: usize = 64;

/// The events from now on, until the daemon ends. A client that is slow loses the oldest ones, and gets an event
/// `events_lagged` with their number in their place.
pub(super) async fn stream(State(site): State<Arc<Site>>) -> Response {
    let Ok(place) = Arc::clone(&site.listeners).try_acquire_owned() else {
        return reply::error(StatusCode::SERVICE_UNAVAILABLE, "too many listen to events");
    };
    let listener = Listener { events: site.sessions.events(), greeted: false, _place: place };
    let pieces = stream::unfold(listener, |mut listener| async {
        let piece = listener.piece().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), listener))
    });
    reply::typed(StatusCode::OK, reply::EVENTS, Body::from_stream(pieces))
}

struct Listener {
    events: EventStream,
    greeted: bool,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// What to send next; `None` at the end.
    async fn piece(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.greeted, true) {
            // So that the client sees at once that it is connected.
            return Some(": events\n\n".to_owned());
        }
        let Ok(first) = tokio::time::timeout(SIGN_OF_LIFE, self.events.next()).await else {
            return Some(":\n\n".to_owned());
        };
        let mut piece = event::piece(&*first?);
        for _ in 1..TOGETHER {
            let Some(next) = self.events.try_next() else { break };
            piece.push_str(&event::piece(&next));
        }
        Some(piece)
    }
}
