//! The desired set from the records of a store.

use std::sync::Arc;

use super::requests::{Item, Kind, Request};
use super::{Desired, Standing, Subscription, Subscriptions};
use crate::session::Context;
use crate::session::event::{Event, NO_TOKEN, Outcome};
use crate::session::record::Record;
use crate::{Properties, PropertiesRef, ReasonCode, SubscribeOptions};

impl Subscriptions {
    /// A store remembered that this filter is desired.
    pub(crate) fn restore(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
        identifier: Option<u32>,
        properties: PropertiesRef<'_>,
    ) {
        let order = self.number();
        let properties = Arc::new(properties.to_owned());
        let standing = Standing::Unconfirmed;
        let (inherited, restored) = (false, true);
        let desired =
            Desired { order, options, identifier, properties, standing, inherited, restored };
        self.desired.insert(filter.to_owned(), desired);
    }

    /// A store remembered that the server granted this filter.
    pub(crate) fn restore_granted(&mut self, filter: &str, code: ReasonCode) {
        if let Some(desired) = self.desired.get_mut(filter) {
            desired.standing = Standing::Granted(code);
            desired.inherited = true;
        }
    }

    /// A store remembered that this filter is not desired any more.
    pub(crate) fn restore_removal(&mut self, filter: &str) {
        self.desired.remove(filter);
    }

    /// What was asked for while the store was being opened comes on top of what it has.
    pub(crate) fn adopt(&mut self, cx: &mut Context, asked: Self) {
        for (_, token, _) in asked.waiting {
            cx.complete(token, Outcome::Closed);
        }
        let requests = asked.asked.into_used();
        let requested = |filter: &str| {
            requests.as_ref().is_some_and(|asked| asked.filters.contains_key(filter))
        };
        let mut desired: Vec<_> =
            asked.desired.iter().filter(|(filter, _)| !requested(filter)).collect();
        desired.sort_by_key(|(_, desired)| desired.order);
        for (filter, desired) in desired {
            if !self.desired.get(filter).is_some_and(|known| known.is_like(desired)) {
                let Desired { options, identifier, .. } = *desired;
                let wanted = [Subscription { filter, options, identifier }];
                let properties = desired.properties.as_ref().as_ref();
                // It was valid when it was asked for.
                let _ = self.subscribe(cx, &wanted, properties, NO_TOKEN);
            }
        }
        let Some(mut requests) = requests else { return };
        let (mut before, mut request) = (0, 0);
        for item in requests.ready.into_values() {
            if item.request != before {
                let Some(again) = requests.all.remove(&item.request) else { continue };
                (before, request) = (item.request, self.begin(Request { lsn: 0, ..again }));
            }
            let Item { ref filter, options, identifier, place, .. } = item;
            match item.kind {
                Kind::Subscribe => {
                    let wanted = Subscription { filter, options, identifier };
                    self.want(cx, request, place, &wanted);
                }
                Kind::Unsubscribe => self.leave(cx, request, place, filter),
            }
        }
    }

    /// What the server granted in an earlier life, when it is asked for in the same way for the first time in this one.
    pub(super) fn take_inherited(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
        identifier: Option<u32>,
        properties: &Arc<Properties>,
    ) -> Option<ReasonCode> {
        let order = self.number();
        let desired = self.desired.get_mut(filter).filter(|desired| desired.inherited)?;
        // Its place is among what was asked for in this life.
        (desired.inherited, desired.restored, desired.order) = (false, false, order);
        let same = desired.options == options
            && desired.identifier == identifier
            && desired.properties == *properties;
        match desired.standing {
            Standing::Granted(code) if same => Some(code),
            _ => None,
        }
    }

    /// Filters that nobody asked for in this life, and that would have to be asked for, are not desired any more.
    pub(super) fn give_up_restored(&mut self, cx: &mut Context, session_kept: bool) {
        self.desired.retain(|filter, desired| {
            let known = session_kept && matches!(desired.standing, Standing::Granted(_));
            let stays = known || !desired.restored;
            if !stays {
                cx.journal.push(|| Record::Unsubscribe { filter });
            }
            stays
        });
    }

    /// Answers what a server that kept the session need not be asked; otherwise it is asked.
    pub(super) fn settle_known(&mut self, cx: &mut Context, session_kept: bool) {
        let asked = self.asked.used();
        let known = asked.map(|asked| std::mem::take(&mut asked.known)).unwrap_or_default();
        for number in known {
            let Some(item) = self.asked.ready.get_mut(&number) else { continue };
            let Some(code) = item.known.take().filter(|_| session_kept) else { continue };
            let filter = item.filter.as_ref().to_owned();
            cx.events.push_back(Event::Subscribed { filter, granted: code });
            if let Some(item) = self.asked.take_unsent(number) {
                self.done(cx, &item, code);
            }
        }
    }
}

impl Desired {
    fn is_like(&self, other: &Self) -> bool {
        self.options == other.options
            && self.identifier == other.identifier
            && self.properties == other.properties
    }
}
