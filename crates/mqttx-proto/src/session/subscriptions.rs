//! The desired set of subscriptions and the requests that bring the server there.
//!
//! A filter that was asked for stays *desired* until it is unsubscribed. When the server has no session, all of them are asked for
//! again; when it kept the session, only those that it has not confirmed.

mod again;
mod restored;
mod send;
mod unanswered;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::{
    DecodeError, PacketId, Properties, PropertiesRef, PropertyContext, ReasonCode, SubAck,
    SubscribeOptions, validate_filter,
};

use super::Context;
use super::event::{Event, NO_TOKEN, Outcome, SubscribeError, Token};
use super::lazy::Blank;
use super::record::{Lsn, Record};
use send::send_next;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Subscribe,
    Unsubscribe,
}

#[derive(Debug)]
struct Item {
    filter: String,
    options: SubscribeOptions,
    identifier: Option<u32>,
    /// What a server that still has our session granted: it need not be asked.
    known: Option<ReasonCode>,
    code: Option<ReasonCode>,
}

/// A call of the application, or our own subscribing again. It may take several packets.
#[derive(Debug)]
struct Request {
    number: u64,
    kind: Kind,
    items: Vec<Item>,
    properties: Arc<Properties>,
    token: Token,
    lsn: Lsn,
    /// Ours: made anew at each connection.
    internal: bool,
    /// The first item that has not been sent on this connection.
    unsent: usize,
}

/// One packet on its way: the items `from..to` of a request, without those that have a code.
#[derive(Debug)]
struct Operation {
    number: u64,
    id: PacketId,
    request: u64,
    from: usize,
    to: usize,
}

#[derive(Debug)]
pub(crate) struct Subscriptions {
    desired: BTreeMap<String, Desired>,
    requests: VecDeque<Request>,
    operations: Vec<Operation>,
    /// Completions that wait for their record.
    waiting: VecDeque<(Lsn, Token, Outcome)>,
    numbers: u64,
}

impl Blank for Subscriptions {
    const BLANK: Self = Self {
        desired: BTreeMap::new(),
        requests: VecDeque::new(),
        operations: Vec::new(),
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
        self.requests.is_empty()
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
        let mut lsn = 0;
        let mut items = Vec::with_capacity(subscriptions.len());
        for &Subscription { filter, options, identifier } in subscriptions {
            let known = self.take_inherited(filter, options, identifier, &properties);
            if known.is_some() {
                let filter = filter.to_owned();
                items.push(Item { filter, options, identifier, known, code: None });
                continue;
            }
            // Only what is desired can have been asked for.
            if self.desired.contains_key(filter) {
                self.supersede(filter, |kind| kind == Kind::Subscribe);
            }
            let order = self.number();
            lsn = cx.journal.push(|| Record::Subscribe {
                filter,
                options,
                identifier,
                properties: properties.as_ref().as_ref(),
            });
            self.call_off(filter);
            self.desired.insert(
                filter.to_owned(),
                Desired {
                    order,
                    options,
                    identifier,
                    properties: Arc::clone(&properties),
                    standing: Standing::Unconfirmed,
                    inherited: false,
                    restored: false,
                },
            );
            let filter = filter.to_owned();
            items.push(Item { filter, options, identifier, known: None, code: None });
        }
        self.request(Kind::Subscribe, items, properties, token, lsn, false);
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
        let mut lsn = 0;
        let mut items = Vec::with_capacity(filters.len());
        for &filter in filters {
            self.supersede(filter, |_| true);
            if self.desired.remove(filter).is_some() {
                lsn = cx.journal.push(|| Record::Unsubscribe { filter });
            }
            let options = SubscribeOptions::default();
            let filter = filter.to_owned();
            items.push(Item { filter, options, identifier: None, known: None, code: None });
        }
        let properties = Arc::new(properties.to_owned());
        self.request(Kind::Unsubscribe, items, properties, token, lsn, false);
        self.pump(cx);
        Ok(())
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
        self.ask_again();
        self.pump(cx);
    }

    /// The server has none of the filters.
    pub(crate) fn on_session_lost(&mut self) {
        for desired in self.desired.values_mut() {
            desired.standing = Standing::Unconfirmed;
            desired.inherited = false;
        }
    }

    /// The connection is gone: what was not answered is asked again, with new packet ids.
    pub(crate) fn on_disconnected(&mut self, cx: &mut Context) {
        for operation in self.operations.drain(..) {
            cx.ids.free(operation.id);
        }
        self.forgive_unanswered();
        self.finish(cx);
        self.requests.retain_mut(|request| {
            request.unsent = 0;
            !request.internal
        });
    }

    /// SUBACK or UNSUBACK.
    pub(crate) fn on_suback(
        &mut self,
        cx: &mut Context,
        number: u64,
        ack: &SubAck<'_>,
        unsubscribed: bool,
    ) -> Result<(), DecodeError> {
        let Some(index) = self.operations.iter().position(|o| o.number == number) else {
            return Ok(());
        };
        let operation = self.operations.swap_remove(index);
        cx.ids.free(operation.id);
        let Some(request) = self.requests.iter_mut().find(|r| r.number == operation.request) else {
            return Ok(());
        };
        let expected = match request.kind {
            Kind::Subscribe => false,
            Kind::Unsubscribe => true,
        };
        if expected != unsubscribed {
            return Err(DecodeError::protocol("SUBACK and UNSUBACK do not fit their request"));
        }
        let reason_string = ack.properties.reason_string();
        let mut codes = ack.reasons();
        let range = operation.from..operation.to;
        for item in request.items.get_mut(range).unwrap_or_default() {
            if item.code.is_some() {
                continue;
            }
            // UNSUBACK of 3.1.1 carries no codes: it means success.
            let code = match (codes.next(), unsubscribed && ack.codes.is_empty()) {
                (Some(code), _) => code,
                (None, true) => ReasonCode::SUCCESS,
                (None, false) => {
                    return Err(DecodeError::protocol(
                        "fewer codes than filters in the acknowledgement",
                    ));
                }
            };
            item.code = Some(code);
            match request.kind {
                Kind::Subscribe => {
                    settle(cx, &mut self.desired, &item.filter, code, reason_string);
                }
                Kind::Unsubscribe => {
                    let filter = item.filter.clone();
                    cx.events.push_back(Event::Unsubscribed { filter, reason: code });
                }
            }
        }
        if codes.next().is_some() {
            return Err(DecodeError::protocol("more codes than filters in the acknowledgement"));
        }
        self.finish(cx);
        Ok(())
    }

    /// Sends what was asked for and not sent on this connection.
    pub(crate) fn pump(&mut self, cx: &mut Context) {
        if !cx.link.as_ref().is_some_and(|link| link.is_online()) {
            return;
        }
        self.settle_known(cx, true);
        for at in 0..self.requests.len() {
            if self.is_held(at) {
                continue;
            }
            let Some(request) = self.requests.get_mut(at) else { break };
            while request.unsent < request.items.len() {
                if !send_next(
                    cx,
                    &mut self.desired,
                    request,
                    &mut self.operations,
                    &mut self.numbers,
                ) {
                    return;
                }
            }
        }
        self.finish(cx);
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
        for request in self.requests.drain(..) {
            cx.complete(request.token, outcome.clone());
        }
        for (_, token, _) in self.waiting.drain(..) {
            cx.complete(token, outcome.clone());
        }
    }

    /// What nobody waits for and was not sent, a newer request for the filter makes needless: asked twice, the server would
    /// send retained messages twice, the first time with options that nobody wants any more. So without a connection no more
    /// than one request of each kind waits for a filter, however often it comes and goes.
    fn supersede(&mut self, filter: &str, which: impl Fn(Kind) -> bool) {
        let needless = |r: &&mut Request| which(r.kind) && r.token == NO_TOKEN;
        for request in self.requests.iter_mut().filter(needless) {
            let mut index = 0;
            let unsent = request.unsent;
            request.items.retain(|item| {
                index += 1;
                index <= unsent || item.filter != filter
            });
        }
        self.requests.retain(|request| !request.items.is_empty());
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn request(
        &mut self,
        kind: Kind,
        items: Vec<Item>,
        properties: Arc<Properties>,
        token: Token,
        lsn: Lsn,
        internal: bool,
    ) {
        let number = self.number();
        self.requests.push_back(Request {
            number,
            kind,
            items,
            properties,
            token,
            lsn,
            internal,
            unsent: 0,
        });
    }

    /// Completes the requests that are answered in full, and says "ready" once nothing is left to ask.
    fn finish(&mut self, cx: &mut Context) {
        let waiting = &mut self.waiting;
        self.requests.retain(|request| {
            if request.items.iter().any(|item| item.code.is_none()) {
                return true;
            }
            let codes = request.items.iter().filter_map(|item| item.code).collect();
            let outcome = match request.kind {
                Kind::Subscribe => Outcome::Subscribed(codes),
                Kind::Unsubscribe => Outcome::Unsubscribed(codes),
            };
            if cx.journal.is_synced(request.lsn) {
                cx.complete(request.token, outcome);
            } else {
                waiting.push_back((request.lsn, request.token, outcome));
            }
            false
        });
        if self.requests.is_empty() {
            cx.subscribed();
        }
    }
}

fn check(filter: &str) -> Result<(), SubscribeError> {
    validate_filter(filter)
        .map_err(|error| SubscribeError::Filter { filter: filter.to_owned(), error })
}

/// Notes what the server said of a filter.
fn settle(
    cx: &mut Context,
    desired: &mut BTreeMap<String, Desired>,
    filter: &str,
    code: ReasonCode,
    reason_string: Option<&str>,
) {
    if let Some(desired) = desired.get_mut(filter) {
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
