//! The desired set of subscriptions and the requests that bring the server there.
//!
//! A filter that was asked for stays *desired* until it is unsubscribed. When the server has no session, all of them are asked for
//! again; when it kept the session, only those that it has not confirmed.

mod again;
mod pending;
mod requests;
mod restored;
mod send;
#[cfg(test)]
mod tests;
mod unanswered;

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::{
    DecodeError, Properties, PropertiesRef, PropertyContext, ReasonCode, SubAck, SubscribeOptions,
    validate_filter,
};

use super::Context;
use super::event::{Event, NO_TOKEN, Outcome, SubscribeError, Token};
use super::lazy::{Blank, Lazy};
use super::record::{Lsn, Record};
use requests::{Item, Kind, Request, Requests};

/// One filter of a subscribe call.
#[derive(Debug, Clone, Copy)]
pub struct Subscription<'a> {
    /// A topic filter, `$share/group/filter` included.
    pub filter: &'a str,
    /// How messages are to be sent.
    pub options: SubscribeOptions,
    /// What messages of this subscription carry back, 1 to 268 435 455; left out where the server cannot (and in 3.1.1).
    pub identifier: Option<u32>,
}

/// What the server knows of a desired filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unconfirmed,
    Granted(ReasonCode),
    Refused,
}

#[derive(Debug)]
struct Desired {
    order: u64,
    options: SubscribeOptions,
    identifier: Option<u32>,
    properties: Arc<Properties>,
    standing: Standing,
    /// Granted in an earlier life of this process, and not asked for in this one.
    inherited: bool,
    /// It comes from the store, and nobody asked for it in this life.
    restored: bool,
}

#[derive(Debug)]
pub(crate) struct Subscriptions {
    desired: BTreeMap<String, Desired>,
    /// There only while something was asked for and not answered.
    asked: Lazy<Requests>,
    /// Completions that wait for their record.
    waiting: VecDeque<(Lsn, Token, Outcome)>,
    numbers: u64,
}

impl Blank for Subscriptions {
    const BLANK: Self = Self {
        desired: BTreeMap::new(),
        asked: Lazy::blank(),
        waiting: VecDeque::new(),
        numbers: 0,
    };
    const SHARED: &'static Self = &Self::BLANK;
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.desired.len()
    }

    pub(crate) fn is_granted(&self, filter: &str) -> bool {
        let desired = self.desired.get(filter);
        desired.is_some_and(|desired| matches!(desired.standing, Standing::Granted(_)))
    }

    pub(crate) fn refused(&self) -> impl Iterator<Item = &str> {
        let refused = self.desired.iter().filter(|(_, d)| d.standing == Standing::Refused);
        refused.map(|(filter, _)| filter.as_str())
    }

    /// Whether every request was answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.asked.is_empty()
    }

    pub(crate) fn subscribe(
        &mut self,
        cx: &mut Context,
        subscriptions: &[Subscription<'_>],
        properties: PropertiesRef<'_>,
        token: Token,
    ) -> Result<(), SubscribeError> {
        if subscriptions.is_empty() {
            return Err(SubscribeError::Empty);
        }
        for Subscription { filter, options, .. } in subscriptions {
            check(filter)?;
            if options.no_local && filter.starts_with("$share/") {
                return Err(SubscribeError::NoLocalShared { filter: (*filter).to_owned() });
            }
        }
        properties.check(PropertyContext::Subscribe).map_err(SubscribeError::Property)?;
        let properties = Arc::new(properties.to_owned());
        let request = Request::new(Kind::Subscribe, properties, token, subscriptions.len());
        let request = self.begin(request);
        for (place, subscription) in subscriptions.iter().enumerate() {
            self.want(cx, request, place, subscription);
        }
        self.pump(cx);
        Ok(())
    }

    pub(crate) fn unsubscribe(
        &mut self,
        cx: &mut Context,
        filters: &[&str],
        properties: PropertiesRef<'_>,
        token: Token,
    ) -> Result<(), SubscribeError> {
        if filters.is_empty() {
            return Err(SubscribeError::Empty);
        }
        for filter in filters {
            check(filter)?;
        }
        properties.check(PropertyContext::Unsubscribe).map_err(SubscribeError::Property)?;
        let properties = Arc::new(properties.to_owned());
        let request = Request::new(Kind::Unsubscribe, properties, token, filters.len());
        let request = self.begin(request);
        for (place, filter) in filters.iter().enumerate() {
            self.leave(cx, request, place, filter);
        }
        self.pump(cx);
        Ok(())
    }

    fn begin(&mut self, request: Request) -> u64 {
        let number = self.number();
        self.asked.open(number, request);
        number
    }

    /// A filter of a SUBSCRIBE becomes desired.
    fn want(&mut self, cx: &mut Context, request: u64, place: usize, wanted: &Subscription<'_>) {
        let Subscription { filter, options, identifier } = *wanted;
        let Some(asked) = self.asked.all.get(&request) else { return };
        let properties = Arc::clone(&asked.properties);
        let known = self.take_inherited(filter, options, identifier, &properties);
        if known.is_none() {
            let order = self.number();
            let lsn = cx.journal.push(|| Record::Subscribe {
                filter,
                options,
                identifier,
                properties: properties.as_ref().as_ref(),
            });
            self.asked.waits_for(request, lsn);
            let standing = Standing::Unconfirmed;
            let (inherited, restored) = (false, false);
            let desired =
                Desired { order, options, identifier, properties, standing, inherited, restored };
            self.desired.insert(filter.to_owned(), desired);
        }
        let kind = Kind::Subscribe;
        let (number, filter) = (self.number(), self.asked.shared(filter));
        self.add(cx, Item { number, kind, filter, options, identifier, known, request, place });
    }

    /// A filter of an UNSUBSCRIBE is not desired any more.
    fn leave(&mut self, cx: &mut Context, request: u64, place: usize, filter: &str) {
        if self.desired.remove(filter).is_some() {
            let lsn = cx.journal.push(|| Record::Unsubscribe { filter });
            self.asked.waits_for(request, lsn);
        }
        let (kind, options) = (Kind::Unsubscribe, SubscribeOptions::default());
        let (number, filter) = (self.number(), self.asked.shared(filter));
        let (identifier, known) = (None, None);
        self.add(cx, Item { number, kind, filter, options, identifier, known, request, place });
    }

    fn add(&mut self, cx: &mut Context, item: Item) {
        for needless in self.asked.push(item).into_iter().flatten() {
            self.withdraw(cx, needless);
        }
    }

    /// An item that was not sent need not be any more.
    fn withdraw(&mut self, cx: &mut Context, number: u64) {
        if let Some(item) = self.asked.take_unsent(number) {
            self.done(cx, &item, ReasonCode::SUCCESS);
        }
    }

    /// An item has its answer. A request that has all of them is completed.
    fn done(&mut self, cx: &mut Context, item: &Item, code: ReasonCode) {
        let Some(request) = self.asked.close(item, code) else { return };
        let (token, lsn) = (request.token, request.lsn);
        if cx.journal.is_synced(lsn) {
            cx.complete(token, request.into_outcome());
        } else if token != NO_TOKEN {
            self.waiting.push_back((lsn, token, request.into_outcome()));
        }
    }

    /// Says "ready" once nothing is left to ask.
    fn finish(&mut self, cx: &mut Context) {
        if self.asked.is_empty() {
            self.asked = Lazy::blank();
            cx.subscribed();
        }
    }

    /// CONNACK: ask for what the server does not have.
    ///
    /// `resumed`: the server says that it has our session; `session_kept`: it has the filters for certain.
    pub(crate) fn on_connected(&mut self, cx: &mut Context, resumed: bool, session_kept: bool) {
        if !cx.config.restore_subscriptions {
            self.give_up_restored(cx, session_kept);
        }
        if !session_kept {
            if !resumed && !cx.config.resume_subscriptions {
                self.desired.retain(|_, desired| desired.standing == Standing::Unconfirmed);
            }
            self.on_session_lost();
        }
        self.settle_known(cx, session_kept);
        self.ask_again(cx);
        self.pump(cx);
    }

    /// The server has none of the filters.
    pub(crate) fn on_session_lost(&mut self) {
        for desired in self.desired.values_mut() {
            desired.standing = Standing::Unconfirmed;
            desired.inherited = false;
        }
    }

    /// SUBACK or UNSUBACK.
    pub(crate) fn on_suback(
        &mut self,
        cx: &mut Context,
        number: u64,
        ack: &SubAck<'_>,
        unsubscribed: bool,
    ) -> Result<(), DecodeError> {
        let Some(asked) = self.asked.used() else { return Ok(()) };
        let Some(operation) = asked.operations.get(&number) else { return Ok(()) };
        if (operation.kind == Kind::Unsubscribe) != unsubscribed {
            return Err(DecodeError::protocol("SUBACK and UNSUBACK do not fit their request"));
        }
        // UNSUBACK of 3.1.1 carries no codes: it means success.
        let implied = unsubscribed && ack.codes.is_empty();
        let wrong = match ack.codes.len().cmp(&operation.items.len()) {
            Ordering::Less if !implied => Some("fewer codes than filters in the acknowledgement"),
            Ordering::Greater => Some("more codes than filters in the acknowledgement"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(DecodeError::protocol(wrong));
        }
        let Some(operation) = asked.operations.remove(&number) else { return Ok(()) };
        cx.ids.free(operation.id);
        let codes = ack.reasons().chain(std::iter::repeat(ReasonCode::SUCCESS));
        for (item, code) in operation.items.into_iter().zip(codes) {
            match item.kind {
                Kind::Subscribe => {
                    let newest = self.asked.is_newest(&item);
                    let reason_string = ack.properties.reason_string();
                    settle(cx, &mut self.desired, &item.filter, code, reason_string, newest);
                }
                Kind::Unsubscribe => {
                    let filter = item.filter.as_ref().to_owned();
                    cx.events.push_back(Event::Unsubscribed { filter, reason: code });
                }
            }
            self.asked.answered(&item);
            self.done(cx, &item, code);
        }
        self.finish(cx);
        Ok(())
    }

    /// Records became durable: completions that waited for them are told.
    pub(crate) fn on_stored(&mut self, cx: &mut Context) {
        while let Some((lsn, _, _)) = self.waiting.front() {
            if !cx.journal.is_synced(*lsn) {
                return;
            }
            if let Some((_, token, outcome)) = self.waiting.pop_front() {
                cx.complete(token, outcome);
            }
        }
    }

    pub(crate) fn close(&mut self, cx: &mut Context, outcome: &Outcome) {
        let asked = std::mem::take(&mut self.asked).into_used();
        for request in asked.into_iter().flat_map(|asked| asked.all.into_values()) {
            cx.complete(request.token, outcome.clone());
        }
        for (_, token, _) in self.waiting.drain(..) {
            cx.complete(token, outcome.clone());
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

fn check(filter: &str) -> Result<(), SubscribeError> {
    validate_filter(filter)
        .map_err(|error| SubscribeError::Filter { filter: filter.to_owned(), error })
}

/// Tells what the server said of a filter, and notes it if nothing newer was asked for: what it says to that is what counts.
fn settle(
    cx: &mut Context,
    desired: &mut BTreeMap<String, Desired>,
    filter: &str,
    code: ReasonCode,
    reason_string: Option<&str>,
    newest: bool,
) {
    if let Some(desired) = desired.get_mut(filter).filter(|_| newest) {
        desired.standing = if code.is_error() {
            Standing::Refused
        } else {
            cx.journal.push(|| Record::Granted { filter, code });
            Standing::Granted(code)
        };
    }
    let filter = filter.to_owned();
    cx.events.push_back(if code.is_error() {
        let reason_string = reason_string.map(str::to_owned);
        Event::SubscriptionRefused { filter, reason: code, reason_string }
    } else {
        Event::Subscribed { filter, granted: code }
    });
}
