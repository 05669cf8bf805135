//! Requests that the server has not answered in full.
//!
//! Each of their filters is an item that has one place: it is *ready* until a packet takes it along, *held* while too much of its
//! filter has no answer, and then *sent* with its operation. All are found by their numbers or their filter, so that a request costs
//! the same however many others there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pending::{Pending, UNANSWERED};
use crate::session::event::{NO_TOKEN, Outcome, Token};
use crate::session::lazy::Blank;
use crate::session::record::Lsn;
use crate::{PacketId, Properties, ReasonCode, SubscribeOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Subscribe,
    Unsubscribe,
}

/// One filter of a request, without an answer.
#[derive(Debug)]
pub(super) struct Item {
    /// Rises with every item: the order of sending.
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) filter: Arc<str>,
    pub(super) options: SubscribeOptions,
    pub(super) identifier: Option<u32>,
    /// What a server that still has our session granted: it need not be asked.
    pub(super) known: Option<ReasonCode>,
    pub(super) request: u64,
    /// Its index among the filters of the request.
    pub(super) place: usize,
}

/// A call of the application, or our own subscribing again. It may take several packets.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) properties: Arc<Properties>,
    pub(super) token: Token,
    pub(super) lsn: Lsn,
    /// Ours: made anew at each connection.
    pub(super) internal: bool,
    /// How many items have no answer.
    pub(super) open: usize,
    /// The answers so far, if somebody waits for them.
    pub(super) codes: Vec<ReasonCode>,
    /// Its items have numbers between its own and this one.
    pub(super) last: u64,
}

/// One packet on its way.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) id: PacketId,
    pub(super) kind: Kind,
    pub(super) items: Vec<Item>,
}

/// All that was asked for and not answered.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) all: BTreeMap<u64, Request>,
    /// To be sent, in this order.
    pub(super) ready: BTreeMap<u64, Item>,
    pub(super) held: BTreeMap<u64, Item>,
    pub(super) operations: BTreeMap<u64, Operation>,
    pub(super) filters: BTreeMap<Arc<str>, Pending>,
    /// The items that may have a known answer.
    pub(super) known: Vec<u64>,
    /// The requests that somebody waits for.
    pub(super) tokens: BTreeSet<(Token, u64)>,
}

impl Blank for Requests {
    const BLANK: Self = Self {
        all: BTreeMap::new(),
        ready: BTreeMap::new(),
        held: BTreeMap::new(),
        operations: BTreeMap::new(),
        filters: BTreeMap::new(),
        known: Vec::new(),
        tokens: BTreeSet::new(),
    };
    const SHARED: &'static Self = &Self::BLANK;
}

impl Requests {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a SUBSCRIBE with that filter has no answer.
    pub(super) fn subscribes(&self, filter: &str) -> bool {
        self.filters.get(filter).is_some_and(|pending| pending.of(Kind::Subscribe).open > 0)
    }

    /// The filter in the memory that its other requests have it in.
    pub(super) fn shared(&self, filter: &str) -> Arc<str> {
        let known = self.filters.get_key_value(filter);
        known.map_or_else(|| filter.into(), |(known, _)| Arc::clone(known))
    }

    pub(super) fn open(&mut self, number: u64, request: Request) {
        if request.token != NO_TOKEN {
            self.tokens.insert((request.token, number));
        }
        self.all.insert(number, request);
    }

    /// Adds an item to its request, and tells the numbers of those that are needless from now on.
    pub(super) fn push(&mut self, item: Item) -> [Option<u64>; 2] {
        let Some(request) = self.all.get_mut(&item.request) else { return [None; 2] };
        request.last = item.number;
        let pending = self.filters.entry(Arc::clone(&item.filter)).or_default();
        let needless = pending.add(item.kind, item.number, request.token == NO_TOKEN);
        if item.known.is_some() {
            self.known.push(item.number);
        }
        self.ready.insert(item.number, item);
        needless
    }

    /// A request is not over before this record is durable.
    pub(super) fn waits_for(&mut self, request: u64, lsn: Lsn) {
        if let Some(request) = self.all.get_mut(&request) {
            request.lsn = lsn;
        }
    }

    /// Whether nothing newer of its kind was asked for with its filter.
    pub(super) fn is_newest(&self, item: &Item) -> bool {
        let pending = self.filters.get(&item.filter);
        pending.is_some_and(|pending| pending.of(item.kind).newest == item.number)
    }

    /// Takes out an item that was not sent.
    pub(super) fn take_unsent(&mut self, number: u64) -> Option<Item> {
        self.ready.remove(&number).or_else(|| self.held.remove(&number))
    }

    /// An item that was taken out has its answer. With the last one the request ends.
    pub(super) fn close(&mut self, item: &Item, code: ReasonCode) -> Option<Request> {
        if let Some(pending) = self.filters.get_mut(&item.filter) {
            pending.remove(item);
            if pending.is_empty() {
                self.filters.remove(&item.filter);
            } else {
                self.release(&item.filter);
            }
        }
        let request = self.all.get_mut(&item.request)?;
        if let Some(place) = request.codes.get_mut(item.place) {
            *place = code;
        }
        request.open = request.open.saturating_sub(1);
        if request.open > 0 {
            return None;
        }
        self.tokens.remove(&(request.token, item.request));
        self.all.remove(&item.request)
    }

    /// What is held and may go now is ready again.
    fn release(&mut self, filter: &str) {
        let Some(pending) = self.filters.get_mut(filter) else { return };
        let room = |kind| UNANSWERED.saturating_sub(pending.of(kind).sent);
        let (mut subscribes, mut unsubscribes) = (room(Kind::Subscribe), room(Kind::Unsubscribe));
        while let Some(first) = pending.held.first()
            && let Some(item) = self.held.get(first)
        {
            let room = match item.kind {
                Kind::Subscribe => &mut subscribes,
                Kind::Unsubscribe => &mut unsubscribes,
            };
            if *room == 0 {
                return;
            }
            *room -= 1;
            if let Some(item) = pending.held.pop_first().and_then(|first| self.held.remove(&first))
            {
                self.ready.insert(item.number, item);
            }
        }
    }

    /// The server answered an item.
    pub(super) fn answered(&mut self, item: &Item) {
        self.not_sent(item);
        if let Some(pending) = self.filters.get_mut(&item.filter) {
            pending.of_mut(item.kind).answered = item.number;
        }
    }

    /// An item that was sent has its answer, or could not be sent after all.
    pub(super) fn not_sent(&mut self, item: &Item) {
        if let Some(pending) = self.filters.get_mut(&item.filter) {
            let tally = pending.of_mut(item.kind);
            tally.sent = tally.sent.saturating_sub(1);
        }
    }

    /// An item waits for answers to what was sent for its filter.
    pub(super) fn hold(&mut self, item: Item) {
        if let Some(pending) = self.filters.get_mut(&item.filter) {
            pending.held.insert(item.number);
            self.held.insert(item.number, item);
        }
    }

    /// The last item that is held of a filter, if it is an UNSUBSCRIBE from before `number`.
    pub(super) fn last_held_unsubscribe(&self, filter: &str, number: u64) -> Option<u64> {
        let last = *self.filters.get(filter)?.held.last()?;
        let unsubscribes = self.held.get(&last)?.kind == Kind::Unsubscribe;
        (unsubscribes && last < number).then_some(last)
    }

    /// Nobody waits for the requests with this token any more; their numbers.
    pub(super) fn silence(&mut self, token: Token) -> Vec<u64> {
        let numbers: Vec<u64> =
            self.tokens.range((token, 0)..=(token, u64::MAX)).map(|(_, number)| *number).collect();
        for number in &numbers {
            self.tokens.remove(&(token, *number));
            if let Some(request) = self.all.get_mut(number) {
                request.token = NO_TOKEN;
                request.codes = Vec::new();
            }
        }
        numbers
    }
}

impl Request {
    /// One for so many filters, which are still to be added.
    pub(super) fn new(kind: Kind, properties: Arc<Properties>, token: Token, open: usize) -> Self {
        let count = if token == NO_TOKEN { 0 } else { open };
        let codes = vec![ReasonCode::SUCCESS; count];
        Self { kind, properties, token, lsn: 0, internal: false, open, codes, last: 0 }
    }

    /// What its caller is told.
    pub(super) fn into_outcome(self) -> Outcome {
        match self.kind {
            Kind::Subscribe => Outcome::Subscribed(self.codes),
            Kind::Unsubscribe => Outcome::Unsubscribed(self.codes),
        }
    }
}
