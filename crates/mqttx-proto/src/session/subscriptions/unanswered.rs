//! Requests that the server does not answer while the connection lasts, or their caller waits.

use super::requests::{Item, Kind};
use super::{Standing, Subscriptions};
use crate::ReasonCode;
use crate::session::Context;
use crate::session::event::{NO_TOKEN, Token};

impl Subscriptions {
    /// The connection is gone: what was not answered is asked again, with new packet ids.
    pub(crate) fn on_disconnected(&mut self, cx: &mut Context) {
        let Some(asked) = self.asked.used() else { return };
        let mut unsent = std::mem::take(&mut asked.ready);
        unsent.append(&mut asked.held);
        for pending in asked.filters.values_mut() {
            pending.held.clear();
            for kind in [Kind::Subscribe, Kind::Unsubscribe] {
                let tally = pending.of_mut(kind);
                (tally.sent, tally.quiet) = (0, None);
            }
        }
        let mut forgiven = Vec::new();
        for operation in std::mem::take(&mut asked.operations).into_values() {
            cx.ids.free(operation.id);
            for item in operation.items {
                match self.desired.get(&*item.filter).map(|desired| desired.standing) {
                    Some(Standing::Granted(code)) => forgiven.push((item, code)),
                    _ => drop(unsent.insert(item.number, item)),
                }
            }
        }
        for (item, granted) in forgiven {
            // The server answered what came behind it. Sent again, it would undo what was granted since.
            let code = match item.kind {
                Kind::Subscribe => granted,
                Kind::Unsubscribe => ReasonCode::SUCCESS,
            };
            self.done(cx, &item, code);
        }
        let needless: Vec<_> = unsent.values().map(|item| self.needless(item)).collect();
        for (item, needless) in unsent.into_values().zip(needless) {
            match needless {
                Some(code) => self.done(cx, &item, code),
                None => self.keep(item),
            }
        }
        self.finish(cx);
    }

    /// The answer to an item that need not be sent on the next connection.
    fn needless(&self, item: &Item) -> Option<ReasonCode> {
        let request = self.asked.all.get(&item.request)?;
        let pending = self.asked.filters.get(&item.filter)?;
        let outdone = pending.is_outdone(item.kind, item.number);
        if request.internal || request.token == NO_TOKEN && outdone {
            return Some(ReasonCode::SUCCESS);
        }
        // The server has answered that it is unsubscribed: nothing would take away what this asks for.
        let unsubscribe = pending.of(Kind::Unsubscribe);
        let is_over = unsubscribe.answered > item.number && unsubscribe.open == 0;
        (item.kind == Kind::Subscribe && is_over).then_some(ReasonCode::UNSPECIFIED_ERROR)
    }

    /// An item waits for the next connection.
    fn keep(&mut self, item: Item) {
        let asked = &mut *self.asked;
        let quiet = asked.all.get(&item.request).is_some_and(|request| request.token == NO_TOKEN);
        if let Some(pending) = asked.filters.get_mut(&item.filter).filter(|_| quiet) {
            pending.of_mut(item.kind).quiet = Some(item.number);
        }
        asked.ready.insert(item.number, item);
    }

    /// Nobody waits for a request any more: what was not sent of it gives way to newer ones. `false`: it has been answered.
    pub(crate) fn abandon(&mut self, cx: &mut Context, token: Token) -> bool {
        let Some(asked) = self.asked.used() else { return false };
        let requests = asked.silence(token);
        for number in &requests {
            let Some(request) = self.asked.all.get(number) else { continue };
            let range = *number..=request.last;
            let unsent = self.asked.ready.range(range.clone()).chain(self.asked.held.range(range));
            let unsent: Vec<u64> = unsent.map(|(number, _)| *number).collect();
            for number in unsent {
                self.abandon_item(cx, number);
            }
        }
        if !requests.is_empty() {
            self.pump(cx);
        }
        !requests.is_empty()
    }

    fn abandon_item(&mut self, cx: &mut Context, number: u64) {
        let asked = &mut *self.asked;
        let item = asked.ready.get(&number).or_else(|| asked.held.get(&number));
        let Some((kind, pending)) =
            item.and_then(|item| Some((item.kind, asked.filters.get_mut(&item.filter)?)))
        else {
            return;
        };
        if pending.is_outdone(kind, number) {
            self.withdraw(cx, number);
        } else {
            pending.of_mut(kind).quiet = Some(number);
        }
    }
}
