//! The store's side of a turn: opening it, records to it, its news to the core.

use std::task::{Context, Poll};
use std::time::Instant;

use mqttx_proto::{PropertiesRef, ReasonCode};

use super::desk::Desk;
use super::{Driver, Phase};
use crate::error::Error;
use crate::event::EventKind;
use crate::session::delivery::Wake;
use crate::session::shared::now;
use crate::session::storage::Condition;
use crate::store::{Fetch, Fetched, Opened, StoreNotice, Update};

impl Driver {
    /// Hands records over and takes news back; `true` if there were any.
    pub(super) fn drive_store(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk,
    ) -> bool {
        if let Some(opening) = &mut self.opening {
            return match (**opening).as_mut().poll(cx) {
                Poll::Pending => {
                    self.tell_why_it_waits();
                    false
                }
                Poll::Ready(outcome) => {
                    self.opening = None;
                    if std::mem::take(&mut self.told_waiting) && outcome.is_ok() {
                        self.shared.emit(EventKind::StoreAvailable);
                    }
                    match outcome {
                        Ok(opened) => self.on_opened(opened),
                        Err(error) => self.on_store_error(error),
                    }
                    true
                }
            };
        }
        let Some(log) = &mut self.log else { return false };
        if let Some(position) = desk.wanted.take() {
            log.hurry(position);
        }
        if !desk.records.is_empty() {
            log.submit(&mut desk.records);
        }
        if let Some(wanted) = desk.fetch.take() {
            let (priority, from) = (wanted.priority, wanted.from);
            let (messages, bytes) = (wanted.messages, wanted.bytes);
            log.fetch(Fetch { priority, from, messages, bytes });
        }
        let mut news = false;
        while let Some(log) = &mut self.log {
            match log.poll_update(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(update)) => self.on_update(now, update, desk),
                Poll::Ready(Err(error)) => self.on_store_error(error),
            }
            news = true;
        }
        self.shared.fire(&mut desk.wakes);
        news
    }

    /// A store that cannot be reached has no log yet that could say so.
    fn tell_why_it_waits(&mut self) {
        let Some(store) = self.options.store.as_ref().filter(|_| !self.told_waiting) else {
            return;
        };
        if let Some(error) = store.trouble() {
            self.told_waiting = true;
            self.shared.origin.counters.record_error();
            self.shared.lock().last_error = Some(error.clone());
            self.shared.emit(EventKind::StoreUnavailable { error });
        }
    }

    fn on_update(&mut self, now: Instant, update: Update, desk: &mut Desk) {
        match update {
            Update::Progress(progress) => {
                let mut state = self.shared.lock();
                let state = &mut *state;
                state.core.handle_stored(now, progress.written, progress.synced);
                let (core, sinks) = (&state.core, &state.sinks);
                state.storage.on_stored(|lsn| core.is_stored(lsn), sinks, &mut desk.wakes);
            }
            Update::Fetched(Fetched { priority, records, next }) => {
                self.shared.lock().core.handle_fetched(now, priority, next, &records);
            }
            Update::Full(full) => {
                let changed = std::mem::replace(&mut self.shared.lock().storage.full, full) != full;
                if changed {
                    self.shared.emit(EventKind::StoreFull { full });
                }
            }
            Update::Unavailable(error) => {
                self.shared.origin.counters.record_error();
                self.shared.emit(EventKind::StoreUnavailable { error });
            }
            Update::Available => self.shared.emit(EventKind::StoreAvailable),
            Update::Notice(notice) => self.tell(notice),
        }
    }

    /// The store gave the session's state: the session begins with it.
    pub(in crate::session) fn on_opened(&mut self, opened: Opened) {
        self.opening = None;
        let Opened { records, lanes, log, notices } = opened;
        let mut wakes = Vec::new();
        let mut state = self.shared.lock();
        state.core.restore_state(now(), &records, &lanes);
        state.storage.opened();
        state.collect_completions(&mut wakes);
        state.offer_room(&mut wakes);
        drop(state);
        self.log = Some(log);
        self.shared.fire(&mut wakes);
        notices.into_iter().for_each(|notice| self.tell(notice));
        self.shared.changed.notify_waiters();
    }

    /// Opens the store again after it failed; somebody asked for a connection.
    pub(super) fn reopen_store(&mut self) {
        let Some(store) = &self.options.store else { return };
        if self.log.is_some() || self.opening.is_some() {
            return;
        }
        self.opening = Some(Box::new(store.open(&self.shared.name)));
        self.shared.lock().storage.condition = Condition::Opening;
    }

    fn tell(&self, notice: StoreNotice) {
        let StoreNotice { text, lost_records } = notice;
        self.shared.emit(EventKind::StoreNotice { text, lost_records });
    }

    /// The log is lost: nothing that it would have to keep may be sent any more.
    fn on_store_error(&mut self, error: Error) {
        self.log = None;
        if error.code() == "store.fenced" {
            self.shared.emit(EventKind::SessionFenced);
        }
        self.shared.emit(EventKind::StoreError { error: error.clone() });
        let mut state = self.shared.lock();
        state.core.disconnect(ReasonCode::UNSPECIFIED_ERROR, PropertiesRef::EMPTY);
        let mut wakes = Vec::new();
        let inner = &mut *state;
        inner.storage.fail(error.clone(), &inner.sinks, &mut wakes);
        // Who waits for room learns that there will be none.
        state.room.close(|waker| wakes.push(Wake::Task(waker)));
        drop(state);
        self.shared.fire(&mut wakes);
        if let Phase::Open(_) = self.phase {
            self.store_failed = true;
        } else {
            self.fail_store(error);
        }
    }

    /// The connection that the store's failure ended is closed.
    pub(super) fn fail_store(&mut self, error: Error) {
        let mut wakes = Vec::new();
        let mut state = self.shared.lock();
        state.core.handle_store_failed();
        state.collect_completions(&mut wakes);
        drop(state);
        self.fail(Some(error));
        self.shared.fire(&mut wakes);
    }
}
