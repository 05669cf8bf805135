//! Records to the store, and its progress to the core.

use std::task::{Context, Poll};
use std::time::Instant;

use mqttx_proto::{PropertiesRef, ReasonCode};

use super::desk::Desk;
use super::{Driver, Phase};
use crate::error::Error;
use crate::store::Update;

impl Driver {
    /// Hands records over and takes progress back; `true` if there was progress.
    pub(super) fn drive_store(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk,
    ) -> bool {
        let Some(log) = &mut self.log else { return false };
        if !desk.records.is_empty() {
            log.submit(&mut desk.records);
        }
        match log.poll_update(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(Update::Progress(progress))) => {
                self.shared.lock().core.handle_stored(now, progress.written, progress.synced);
                true
            }
            Poll::Ready(Ok(_)) => true,
            Poll::Ready(Err(error)) => {
                self.on_store_error(error);
                true
            }
        }
    }

    /// The log is lost: nothing that it would have to keep may be sent any more.
    fn on_store_error(&mut self, error: Error) {
        self.log = None;
        let mut state = self.shared.lock();
        state.core.disconnect(ReasonCode::UNSPECIFIED_ERROR, PropertiesRef::EMPTY);
        drop(state);
        if let Phase::Open(_) = self.phase {
            self.store_error = Some(Box::new(error));
        } else {
            self.fail(Some(error));
        }
    }
}
