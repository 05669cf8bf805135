//! Everything that all sessions of a server have to say, as one pipeline.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::{Cmd, Pipeline, Value};
use mqttx_proto::{Lsn, Priority, RecordBatch, Sequence};

use super::address::Host;
use super::connect::{Connection, text};
use super::engine::{OpenRequest, Request, Shared};
use super::fault::{Fault, away, lost};
use super::log::{Cell, Inner, Stage};
use super::opened::{Parts, bytes, list, push_message, sequence};
use super::worker::Leftover;
use crate::error::Error;
use crate::store::{Fetch, Fetched};

/// Records of one session in a group, and of all.
const SESSION_BYTES: usize = 4 << 20;
const GROUP_BYTES: usize = 32 << 20;
/// Until a store without room is asked again.
const ROOM: Duration = Duration::from_millis(250);
const MOMENT: Duration = Duration::from_millis(100);

/// By what a server knows the scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    apply: String,
    open: String,
    fetch: String,
}

impl Scripts {
    pub(super) async fn load(connection: &mut Connection) -> Result<Self, Fault> {
        let mut names = Vec::new();
        for source in
            [include_str!("apply.lua"), include_str!("open.lua"), include_str!("fetch.lua")]
        {
            let mut command = ::redis::cmd("SCRIPT");
            command.arg("LOAD").arg(source);
            let answer = connection.ask(command).await?;
            let name = text(&answer)
                .ok_or_else(|| Fault::Away(away("SCRIPT LOAD has no answer", &connection.host)))?;
            names.push(name.to_owned());
        }
        let mut names = names.into_iter();
        let mut next = || names.next().unwrap_or_default();
        Ok(Self { apply: next(), open: next(), fetch: next() })
    }
}

/// A pipeline, and what its answers are for.
pub(super) struct Group {
    pipeline: Pipeline,
    bytes: usize,
    records: u64,
    jobs: Vec<Job>,
    waits: bool,
}

enum Job {
    Open(Box<OpenRequest>),
    Log(LogJob),
}

struct LogJob {
    cell: Arc<Cell>,
    /// The position of the last record in the group.
    last: Lsn,
    /// It may use more memory than Redis is allowed to.
    exceeds: bool,
    fetch: Option<Fetch>,
}

impl Group {
    /// As many requests as fit, and the others.
    pub(super) fn build(
        shared: &Shared,
        scripts: &Scripts,
        mut requests: VecDeque<Request>,
    ) -> (Self, VecDeque<Request>) {
        let mut group = Self {
            pipeline: Pipeline::new(),
            bytes: 0,
            records: 0,
            jobs: Vec::new(),
            waits: false,
        };
        while group.bytes < GROUP_BYTES
            && let Some(request) = requests.pop_front()
        {
            match request {
                // Nobody waits for it any more.
                Request::Open(open) if open.answer.is_closed() => {}
                Request::Open(open) => group.add_open(shared, scripts, open),
                Request::Log(cell) => group.add_log(shared, scripts, cell),
            }
        }
        if let Some((replicas, timeout)) = shared.settings.replicas
            && !group.is_empty()
        {
            let mut wait = ::redis::cmd("WAIT");
            wait.arg(replicas).arg(timeout.as_millis().max(1) as u64);
            group.pipeline.add_command(wait);
            group.waits = true;
        }
        (group, requests)
    }

    fn add_open(&mut self, shared: &Shared, scripts: &Scripts, open: Box<OpenRequest>) {
        let mut command = evalsha(&scripts.open, open.keys.all());
        command.arg(shared.settings.nonce()).arg(shared.settings.ttl_millis());
        self.pipeline.add_command(command);
        self.jobs.push(Job::Open(open));
    }

    fn add_log(&mut self, shared: &Shared, scripts: &Scripts, cell: Arc<Cell>) {
        let mut inner = cell.lock();
        if inner.stage == Stage::UnderWay {
            return;
        }
        if !inner.wants_service() {
            inner.stage = Stage::Idle;
            return;
        }
        inner.stage = Stage::UnderWay;
        inner.touch = false;
        inner.sent = 0;
        let mut last = inner.confirmed;
        let (mut sent, mut size) = (0, 0);
        let exceeds = inner.exceeds();
        let mut command = evalsha(&scripts.apply, cell.keys.all());
        command.arg(&cell.owner).arg(inner.confirmed + 1).arg(u8::from(exceeds));
        command.arg(shared.settings.ttl_millis()).arg(&now()[..]);
        for batch in &inner.batches {
            if sent > 0 && size + batch.records.byte_len() > SESSION_BYTES {
                break;
            }
            sent += 1;
            size += batch.records.byte_len();
            last += batch.records.len() as Lsn;
            batch.records.iter().raw().for_each(|record| {
                command.arg(record);
            });
        }
        // It must see everything that was submitted before it.
        let fetch = inner.fetch.filter(|_| sent == inner.batches.len());
        inner.sent = sent;
        self.records += last - inner.confirmed;
        drop(inner);
        self.bytes += size + 500;
        for command in [Some(command), fetch.map(|wanted| fetch_command(scripts, &cell, wanted))]
            .into_iter()
            .flatten()
        {
            self.pipeline.add_command(command);
        }
        self.jobs.push(Job::Log(LogJob { cell, last, exceeds, fetch }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Nothing of it is known to have happened.
    pub(super) fn undo(self) -> VecDeque<Request> {
        self.jobs.into_iter().map(Job::undo).collect()
    }

    /// Tells what happened.
    pub(super) fn finish(self, shared: &Arc<Shared>, host: &Host, answers: Vec<Value>) -> Leftover {
        let mut answers: VecDeque<Value> = answers.into();
        let short = if self.waits {
            shared.settings.missing_replicas(answers.pop_back(), host)
        } else {
            None
        };
        let mut leftover = Leftover::default();
        for job in self.jobs {
            let answer = answers.pop_front().unwrap_or_default();
            match job {
                Job::Open(open) => finish_open(shared, host, open, answer, &mut leftover),
                Job::Log(job) => {
                    let fetched = job.fetch.and_then(|_| answers.pop_front());
                    job.finish(shared, host, answer, fetched, short.as_ref(), &mut leftover);
                }
            }
        }
        leftover
    }
}

impl Job {
    fn undo(self) -> Request {
        match self {
            Self::Open(open) => Request::Open(open),
            Self::Log(job) => job.undo(),
        }
    }
}

impl LogJob {
    fn undo(self) -> Request {
        {
            let mut inner = self.cell.lock();
            inner.land(Stage::Queued);
            inner.touch = true;
        }
        Request::Log(self.cell)
    }

    fn finish(
        self,
        shared: &Arc<Shared>,
        host: &Host,
        answer: Value,
        fetched: Option<Value>,
        short: Option<&Error>,
        leftover: &mut Leftover,
    ) {
        let fail = |error: Error| self.cell.change(shared, |inner| inner.fail(error));
        let session = &self.cell.session;
        match answer {
            Value::Int(FENCED) => return fail(Error::fenced(session)),
            Value::Int(LOST) => return fail(lost(session, "the session is not there any more")),
            Value::Int(HOLE) => return fail(lost(session, "its last records are missing")),
            Value::Int(_) => {}
            Value::ServerError(error) => {
                let fault = Fault::of_reply(&error, host);
                return self.on_fault(shared, fault, leftover);
            }
            other => return fail(Error::store(format!("Redis answered a group with {other:?}"))),
        }
        let mut repeat = None;
        shared.change(&self.cell, |inner| {
            inner.land(Stage::Idle);
            match short {
                None => {
                    inner.confirm(self.last);
                    inner.set_unavailable(None);
                }
                Some(error) if shared.fails_when_away() => inner.fail(error.clone()),
                Some(error) => {
                    inner.written(self.last);
                    inner.set_unavailable(Some(error));
                    // Not `Idle`: only the timer asks again.
                    inner.land(Stage::Queued);
                    inner.touch = true;
                    repeat = Some(MOMENT);
                }
            }
            if !self.exceeds {
                inner.set_full(false);
            }
            if let (Some(wanted), Some(answer)) = (self.fetch, fetched) {
                answer_fetch(inner, wanted, answer);
            }
        });
        if let Some(delay) = repeat {
            shared.dispatch_later(Request::Log(Arc::clone(&self.cell)), delay);
        }
        self.probe(shared);
    }

    /// A log without room looks from time to time whether there is some.
    fn probe(&self, shared: &Arc<Shared>) {
        let mut inner = self.cell.lock();
        if !inner.full || inner.is_failed() || std::mem::replace(&mut inner.probing, true) {
            return;
        }
        drop(inner);
        let (later, cell) = (Arc::clone(shared), Arc::clone(&self.cell));
        shared.later(ROOM, move || {
            later.change(&cell, |inner| {
                inner.probing = false;
                inner.touch = true;
                // It may wait for nothing but this timer.
                if inner.stage == Stage::Waiting {
                    inner.stage = Stage::Idle;
                }
            });
        });
    }

    fn on_fault(self, shared: &Arc<Shared>, fault: Fault, leftover: &mut Leftover) {
        match fault {
            Fault::Final(error) => {
                let error = error.with_session(&self.cell.session);
                self.cell.change(shared, |inner| inner.fail(error));
            }
            Fault::Full => {
                shared.change(&self.cell, |inner| {
                    inner.set_full(true);
                    let stage = if inner.exceeds() { Stage::Idle } else { Stage::Waiting };
                    inner.land(stage);
                    inner.touch = true;
                });
                self.probe(shared);
            }
            Fault::Away(error) => {
                leftover.away.get_or_insert(error);
                leftover.requests.push_back(self.undo());
            }
            Fault::NoScript => {
                leftover.no_script = true;
                leftover.requests.push_back(self.undo());
            }
            Fault::Moved(target) => {
                leftover.moved.get_or_insert(target);
                leftover.requests.push_back(self.undo());
            }
            Fault::Again(error) => {
                self.cell.change(shared, |inner| inner.set_unavailable(Some(&error)));
                shared.dispatch_later(self.undo(), MOMENT);
            }
        }
    }
}

fn finish_open(
    shared: &Arc<Shared>,
    host: &Host,
    open: Box<OpenRequest>,
    answer: Value,
    leftover: &mut Leftover,
) {
    let fault = match answer {
        Value::ServerError(error) => Fault::of_reply(&error, host),
        answer => return drop(open.answer.send(Parts::of_answer(answer))),
    };
    match fault {
        Fault::Final(error) => return drop(open.answer.send(Err(error))),
        Fault::Away(error) => drop(leftover.away.get_or_insert(error)),
        Fault::NoScript => leftover.no_script = true,
        Fault::Moved(target) => drop(leftover.moved.get_or_insert(target)),
        Fault::Full | Fault::Again(_) => return shared.dispatch_later(Request::Open(open), MOMENT),
    }
    leftover.requests.push_back(Request::Open(open));
}

/// What `apply.lua` answers instead of a position.
const FENCED: i64 = -1;
const LOST: i64 = -2;
const HOLE: i64 = -3;

fn evalsha(script: &str, keys: &[String]) -> Cmd {
    let mut command = ::redis::cmd("EVALSHA");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

fn fetch_command(scripts: &Scripts, cell: &Cell, wanted: Fetch) -> Cmd {
    let priority = wanted.priority.get();
    let first = Sequence::new(wanted.priority, wanted.from).to_bits().to_be_bytes();
    let end = match priority + 1 {
        priority if usize::from(priority) < Priority::COUNT => vec![b'(', priority << 6],
        _ => vec![b'+'],
    };
    let mut command = evalsha(&scripts.fetch, cell.keys.queued());
    command.arg(&cell.owner).arg(&first[..]).arg(end).arg(wanted.messages.max(1)).arg(wanted.bytes);
    command.arg(format!("end{}", priority + 1));
    command
}

fn answer_fetch(inner: &mut Inner, wanted: Fetch, answer: Value) {
    let Value::Array(values) = answer else { return };
    let Ok([found, last, stopped]) = <[Value; 3]>::try_from(values) else { return };
    let mut records = RecordBatch::new();
    let mut notices = Vec::new();
    for stored in list(found).into_iter().map(bytes) {
        let name =
            stored.get(9..17).and_then(|bits| Some(u64::from_le_bytes(bits.try_into().ok()?)));
        push_message(
            &mut records,
            Sequence::from_bits(name.unwrap_or_default()),
            &stored,
            &mut notices,
        );
    }
    let last = sequence(&bytes(last)).map_or(0, |last| last.number() + 1);
    let next = if text(&stopped) == Some("1") { last } else { last.max(wanted.from) };
    inner.answer(Fetched { priority: wanted.priority, records, next }, notices);
}

fn now() -> [u8; 8] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_millis() as u64).to_le_bytes()
}
