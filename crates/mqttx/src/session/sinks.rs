//! Those who are told of many finished messages together, without a task or a place for each: forwarders.

use std::sync::{Arc, Weak};

use mqttx_proto::{FailedMessage, Origin, Outcome, Sequence, Token};

use super::Session;
use super::delivery::{Published, Wake};
use crate::error::Error;

/// Takes completions without a task that waits: called by the session's driver, or by whoever hands a message over, outside
/// the locks. It must not block.
pub(crate) trait CompletionSink: Send + Sync {
    /// These messages are finished. `tag` is that of the registration.
    fn complete(&self, tag: usize, finished: &mut Finished<'_>);
    /// The session's connection is over, or the session: what it has and did not send waits for another one.
    fn left(&self, tag: usize);
}

/// Gets messages back that the store had and that the server does not take; called by the session's driver, outside the locks.
/// It must not block.
pub(crate) trait FailureSink: Send + Sync {
    /// With [`FailedMessage::sequence`], the store keeps the message until [`Session::forget`] is called with that.
    fn failed(&self, session: &Session, message: FailedMessage);
}

/// What became of messages.
pub(crate) type Finished<'a> = dyn Iterator<Item = Finish> + 'a;

/// The end of a message, or of several with QoS 0 that have one key.
pub(crate) struct Finish {
    pub(crate) key: u32,
    pub(crate) count: u64,
    pub(crate) result: Result<Published, Error>,
}

/// A registration with one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SinkId(u32);

impl SinkId {
    /// What the core gives back with the outcome of the message.
    pub(super) fn token(self, key: u32) -> Token {
        MARK | u64::from(self.0) << 32 | u64::from(key)
    }

    /// The registration that a token belongs to; `None`: it names a place among the waiters.
    pub(super) fn of(token: Token) -> Option<Self> {
        (token & MARK != 0).then_some(Self((token >> 32) as u32 & LARGEST))
    }
}

/// Set in the tokens of sinks, and in no other.
const MARK: u64 = 1 << 63;

const LARGEST: u32 = u32::MAX >> 1;

/// The sinks of a session.
#[derive(Default)]
pub(crate) struct Sinks {
    /// From the first one on; one word before.
    list: Option<Box<List>>,
}

#[derive(Default)]
struct List {
    /// By their ids.
    registered: Vec<Registered>,
    last: u32,
    /// Who gets what failed, by its origin.
    origins: Vec<(Origin, Weak<dyn FailureSink>)>,
}

struct Registered {
    id: SinkId,
    tag: usize,
    /// A sink keeps its sessions, and not the other way round.
    sink: Weak<dyn CompletionSink>,
}

impl Sinks {
    fn add(&mut self, sink: Weak<dyn CompletionSink>, tag: usize) -> SinkId {
        let list = self.list.get_or_insert_default();
        loop {
            // An id is not used again before all others were: what is finished late finds nobody.
            list.last = (list.last + 1) & LARGEST;
            let id = SinkId(list.last);
            if let Err(at) = list.registered.binary_search_by_key(&id.0, |known| known.id.0) {
                list.registered.insert(at, Registered { id, tag, sink });
                return id;
            }
        }
    }

    fn remove(&mut self, id: SinkId) {
        if let Some(list) = &mut self.list {
            list.registered.retain(|known| known.id != id);
        }
    }

    /// Appends what became of so many messages of a sink, behind the sink itself.
    pub(super) fn tell(&self, token: Token, count: u64, outcome: Outcome, wakes: &mut Vec<Wake>) {
        let Some(id) = SinkId::of(token) else { return };
        let goes_on =
            matches!(wakes.last(), Some(Wake::Finished(last, ..)) if SinkId::of(*last) == Some(id));
        if !goes_on {
            let Some((sink, tag)) = self.find(id) else { return };
            wakes.push(Wake::Sink(sink, tag));
        }
        wakes.push(Wake::Finished(token, count, outcome));
    }

    fn add_origin(&mut self, origin: Origin, sink: Weak<dyn FailureSink>) {
        let list = self.list.get_or_insert_default();
        list.origins.retain(|(known, old)| *known != origin && old.strong_count() > 0);
        list.origins.push((origin, sink));
    }

    /// Who asked for messages of this origin.
    pub(super) fn of_origin(&self, origin: Origin) -> Option<Arc<dyn FailureSink>> {
        let origins = &self.list.as_ref()?.origins;
        let (_, sink) = origins.iter().find(|(known, _)| *known == origin)?;
        sink.upgrade()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(Arc<dyn CompletionSink>, usize)> {
        let all = self.list.iter().flat_map(|list| &list.registered);
        all.filter_map(|known| Some((known.sink.upgrade()?, known.tag))).collect()
    }

    fn find(&self, id: SinkId) -> Option<(Arc<dyn CompletionSink>, usize)> {
        let registered = &self.list.as_ref()?.registered;
        let at = registered.binary_search_by_key(&id.0, |known| known.id.0).ok()?;
        let known = registered.get(at)?;
        Some((known.sink.upgrade()?, known.tag))
    }
}

impl Session {
    /// `sink` learns, with `tag`, what becomes of messages that are handed over in its name.
    pub(crate) fn register_sink(&self, sink: Weak<dyn CompletionSink>, tag: usize) -> SinkId {
        self.shared.lock().sinks.add(sink, tag)
    }

    /// `sink` gets back what of this origin the server does not take, in the place of the one before it.
    pub(crate) fn register_origin(&self, origin: Origin, sink: Weak<dyn FailureSink>) {
        let mut state = self.shared.lock();
        state.sinks.add_origin(origin, sink);
        // Some may have failed before.
        state.routes_added = true;
        self.shared.unlock_and_wake(state);
    }

    /// The store need not keep a message of [`FailureSink::failed`] any longer.
    pub(crate) fn forget(&self, sequence: Sequence) {
        let mut state = self.shared.lock();
        state.core.forget(sequence);
        self.shared.unlock_and_wake(state);
    }

    /// It learns nothing more.
    pub(crate) fn unregister_sink(&self, id: SinkId) {
        self.shared.lock().sinks.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A tag with keys and counts.
    type Told = (usize, Vec<(u32, u64)>);

    #[derive(Default)]
    struct Recorder(Mutex<Vec<Told>>);

    impl CompletionSink for Recorder {
        fn left(&self, _: usize) {}

        fn complete(&self, tag: usize, finished: &mut Finished<'_>) {
            let finished = finished.map(|finish| (finish.key, finish.count)).collect();
            self.0.lock().unwrap().push((tag, finished));
        }
    }

    fn register(sinks: &mut Sinks, recorder: &Arc<Recorder>, tag: usize) -> SinkId {
        let weak: Weak<Recorder> = Arc::downgrade(recorder);
        sinks.add(weak, tag)
    }

    #[test]
    fn a_sink_gets_what_is_finished_together_in_one_call() {
        let (recorder, mut sinks) = (Arc::new(Recorder::default()), Sinks::default());
        let first = register(&mut sinks, &recorder, 1);
        let second = register(&mut sinks, &recorder, 2);
        let mut wakes = Vec::new();
        for (id, key) in [(first, 5), (first, u32::MAX), (second, 0), (first, 6)] {
            sinks.tell(id.token(key), u64::from(key) + 1, Outcome::Written, &mut wakes);
        }
        Wake::fire_all(&mut wakes, &Arc::from("s"));
        let expected =
            [(1, vec![(5, 6), (u32::MAX, 1 << 32)]), (2, vec![(0, 1)]), (1, vec![(6, 7)])];
        assert_eq!(*recorder.0.lock().unwrap(), expected);
        assert!(wakes.is_empty());
    }

    #[test]
    fn nobody_is_told_in_the_place_of_one_that_is_gone() {
        let (recorder, mut sinks) = (Arc::new(Recorder::default()), Sinks::default());
        let gone = register(&mut sinks, &recorder, 1);
        sinks.remove(gone);
        let other = register(&mut sinks, &recorder, 2);
        assert_ne!(gone, other);
        let dropped = register(&mut sinks, &Arc::new(Recorder::default()), 3);
        let mut wakes = Vec::new();
        for id in [gone, dropped] {
            sinks.tell(id.token(1), 1, Outcome::Written, &mut wakes);
        }
        assert!(wakes.is_empty());
    }

    #[test]
    fn those_that_are_there_are_told_of_the_end_of_a_connection() {
        let (recorder, mut sinks) = (Arc::new(Recorder::default()), Sinks::default());
        assert!(sinks.all().is_empty());
        let gone = register(&mut sinks, &recorder, 1);
        register(&mut sinks, &recorder, 2);
        register(&mut sinks, &Arc::new(Recorder::default()), 3);
        sinks.remove(gone);
        let tags: Vec<_> = sinks.all().into_iter().map(|(_, tag)| tag).collect();
        assert_eq!(tags, [2], "the third one was dropped");
    }
}
