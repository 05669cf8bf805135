//! One for each server: takes what is there, sends it as one group, and tells what became of it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::address::Host;
use super::connect::{Connection, SlotMap};
use super::engine::{Request, Shared};
use super::fault::Fault;
use super::group::{Group, Scripts};
use crate::error::Error;

/// Before the second attempt to connect, and at most.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Until a command is sent again that may work in a moment.
const MOMENT: Duration = Duration::from_millis(100);

/// What a worker has to do.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    requests: Mutex<VecDeque<Request>>,
    bell: Notify,
}

impl Inbox {
    pub(super) fn put(&self, request: Request) {
        self.with(|requests| requests.push_back(request));
        self.bell.notify_one();
    }

    fn put_back(&self, earlier: VecDeque<Request>) {
        self.with(|requests| {
            for request in earlier.into_iter().rev() {
                requests.push_front(request);
            }
        });
    }

    async fn take(&self) -> VecDeque<Request> {
        loop {
            let requests = self.with(std::mem::take);
            if !requests.is_empty() {
                return requests;
            }
            self.bell.notified().await;
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<Request>) -> T) -> T {
        change(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    host: Host,
    inbox: Arc<Inbox>,
    connection: Option<(Connection, Scripts)>,
    /// Failures in a row.
    failures: u32,
    told: bool,
}

/// What a group did not do, and why.
#[derive(Default)]
pub(super) struct Leftover {
    /// Still to do, in this order.
    pub(super) requests: VecDeque<Request>,
    /// The server is away.
    pub(super) away: Option<Error>,
    /// The connection's scripts are not there.
    pub(super) no_script: bool,
    /// The slots are elsewhere; this node knows where.
    pub(super) moved: Option<Option<Host>>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, host: Host, inbox: Arc<Inbox>) -> Self {
        Self { shared, host, inbox, connection: None, failures: 0, told: false }
    }

    pub(super) async fn run(mut self) {
        loop {
            let requests = self.inbox.take().await;
            if let Err((fault, leftover)) = self.serve(requests).await {
                self.inbox.put_back(leftover);
                self.on_fault(fault).await;
            }
        }
    }

    async fn serve(
        &mut self,
        requests: VecDeque<Request>,
    ) -> Result<(), (Fault, VecDeque<Request>)> {
        let (connection, scripts) = match &mut self.connection {
            Some(connected) => connected,
            connection => match connect(&self.shared, &self.host).await {
                Ok(connected) => connection.insert(connected),
                Err(fault) => return Err((fault, requests)),
            },
        };
        let (group, later) = Group::build(&self.shared, scripts, requests);
        self.inbox.put_back(later);
        if group.is_empty() {
            return Ok(());
        }
        let (records, bytes, begun) = (group.records(), group.bytes(), Instant::now());
        let answers = connection
            .send(group.pipeline(), group.bytes(), self.shared.settings.wait_time())
            .await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(fault) => return Err((fault, group.undo())),
        };
        let counters = &self.shared.counters;
        counters.answer_time.record_time(begun.elapsed());
        if records > 0 {
            counters.records.fetch_add(records, Ordering::Relaxed);
            counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            counters.group_records.record(records);
        }
        let host = connection.host.clone();
        if self.told {
            self.shared.set_trouble(None);
        }
        let leftover = group.finish(&self.shared, &host, answers);
        if let Some(error) = leftover.away {
            return Err((Fault::Away(error), leftover.requests));
        }
        self.failures = 0;
        if std::mem::take(&mut self.told) {
            tracing::info!(host = %self.host, "Redis can be used again");
        }
        if leftover.no_script {
            self.connection = None;
        }
        if let Some(target) = leftover.moved {
            self.find_slots(target).await;
            self.hand_over(leftover.requests);
        } else {
            self.inbox.put_back(leftover.requests);
        }
        Ok(())
    }

    async fn on_fault(&mut self, fault: Fault) {
        self.connection = None;
        self.shared.counters.errors.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::Final(error) => self.fail(&error),
            Fault::Away(error) => {
                self.failures += 1;
                tracing::debug!(%error, failures = self.failures, "Redis");
                if self.shared.is_cluster() {
                    self.find_slots(None).await;
                    let requests = self.inbox.with(std::mem::take);
                    self.hand_over(requests);
                }
                // The first failure may be that of a connection which was idle for long.
                if self.failures == 1 {
                    return;
                }
                if self.shared.fails_when_away() {
                    self.fail(&error.with_temporary(false));
                    return;
                }
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(%error, "Redis cannot be used: what was submitted waits");
                }
                self.shared.set_trouble(Some(error.clone()));
                self.shared.tell_unavailable(&self.host, &error);
                tokio::time::sleep(delay(self.failures - 2)).await;
            }
            Fault::Full | Fault::NoScript | Fault::Moved(_) | Fault::Again(_) => {
                tokio::time::sleep(MOMENT).await;
            }
        }
    }

    /// Nothing that goes to this server works, now or later.
    fn fail(&mut self, error: &Error) {
        self.failures = 0;
        tracing::error!(%error, "the Redis store fails");
        for request in self.inbox.with(std::mem::take) {
            match request {
                Request::Open(open) => drop(open.answer.send(Err(error.clone()))),
                Request::Log(cell) => cell.change(&self.shared, |inner| inner.fail(error.clone())),
            }
        }
        self.shared.fail_all(&self.host, error);
    }

    /// Asks the cluster where its slots are.
    async fn find_slots(&self, first: Option<Host>) {
        let mut hosts = self.shared.hosts();
        // The one that failed, or does not have the slot, is asked last.
        hosts.sort_by_key(|host| *host == self.host);
        hosts.splice(0..0, first);
        match SlotMap::load(&self.shared.settings.address, &hosts).await {
            Ok(slots) => self.shared.set_slots(slots),
            Err(fault) => tracing::debug!(?fault, "no node of the Redis cluster knows the slots"),
        }
    }

    /// Gives requests to whoever has their slots now.
    fn hand_over(&self, requests: VecDeque<Request>) {
        for request in requests {
            if self.shared.host_of(&request) == self.host {
                self.shared.dispatch_later(request, MOMENT);
            } else {
                self.shared.dispatch(request);
            }
        }
    }
}

async fn connect(shared: &Shared, host: &Host) -> Result<(Connection, Scripts), Fault> {
    let mut connection = Connection::open(&shared.settings.address, host).await?;
    let scripts = Scripts::load(&mut connection).await?;
    tracing::debug!(host = %connection.host, "connected to Redis");
    Ok((connection, scripts))
}

/// Longer with every attempt, and not the same for all who wait.
fn delay(attempt: u32) -> Duration {
    let full = FIRST_DELAY.saturating_mul(1 << attempt.min(10)).min(LONGEST_DELAY);
    let part = RandomState::new().hash_one(attempt) % 512;
    full / 2 + full * part as u32 / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_and_are_bounded() {
        for attempt in [0, 3, 9, 10, 1000, u32::MAX] {
            let full = Duration::from_millis(100 << attempt.min(10)).min(LONGEST_DELAY);
            let delay = delay(attempt);
            assert!((full / 2..=full).contains(&delay), "{attempt}: {delay:?}");
        }
    }
}
