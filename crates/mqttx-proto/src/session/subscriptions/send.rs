//! SUBSCRIBE and UNSUBSCRIBE: which filters go together, and which CONNACK rules out.

use std::sync::Arc;

use super::requests::{Item, Kind, Operation};
use super::{Subscriptions, settle};
use crate::session::Context;
use crate::session::packet_ids::Owner;
use crate::{Properties, Property, ReasonCode, encode_subscribe, encode_unsubscribe};

impl Subscriptions {
    /// Sends what was asked for and not sent on this connection.
    pub(crate) fn pump(&mut self, cx: &mut Context) {
        if !cx.link.as_ref().is_some_and(|link| link.is_online()) {
            return;
        }
        self.settle_known(cx, true);
        while !cx.ids.are_exhausted()
            && let Some((_, first)) = self.asked.ready.first_key_value()
        {
            let request = first.request;
            let Some(known) = self.asked.all.get(&request) else { return };
            let properties = Arc::clone(&known.properties);
            let items = self.next_packet(cx, request, &properties);
            self.send(cx, items, &properties);
        }
        self.finish(cx);
    }

    /// Takes the items of the next packet of a request: of one identifier, at most the batch, within the server's maximum.
    fn next_packet(
        &mut self,
        cx: &mut Context,
        request: u64,
        properties: &Arc<Properties>,
    ) -> Vec<Item> {
        let properties = properties.as_ref().as_ref();
        let explicit = properties.subscription_identifiers().next().is_some();
        let limit = cx.link.as_ref().map_or(u32::MAX, |link| link.limits.maximum_packet_size);
        let mut size = 16 + properties.as_bytes().len();
        let mut packet: Vec<Item> = Vec::new();
        while let Some((&number, item)) = self.asked.ready.first_key_value()
            && item.request == request
        {
            let larger = size + item.filter.len() + 3;
            if let Some(first) = packet.first()
                && (first.identifier != item.identifier
                    || packet.len() >= cx.config.subscribe_batch
                    || larger > limit as usize)
            {
                break;
            }
            let Some(item) = self.asked.ready.remove(&number) else { break };
            if let Some(item) = self.admit(cx, item, explicit) {
                packet.push(item);
                size = larger;
            }
        }
        packet
    }

    /// Decides whether an item goes now. Otherwise it has its answer, or is held.
    fn admit(&mut self, cx: &mut Context, item: Item, explicit: bool) -> Option<Item> {
        if item.kind == Kind::Subscribe {
            let link = cx.link.as_ref()?;
            if let Some(code) = link.refuses_filter(&item.filter, explicit && link.has_reasons) {
                self.refuse(cx, &item, code);
                return None;
            }
            // The filter is wanted again: what is held to unsubscribe it has nothing to do any more.
            while let Some(held) = self.asked.last_held_unsubscribe(&item.filter, item.number) {
                self.withdraw(cx, held);
            }
        }
        let asked = &mut *self.asked;
        let pending = asked.filters.get_mut(&item.filter)?;
        if !pending.may_go(&item) {
            asked.hold(item);
            return None;
        }
        let tally = pending.of_mut(item.kind);
        tally.sent += 1;
        tally.quiet.take_if(|quiet| *quiet == item.number);
        Some(item)
    }

    fn send(&mut self, cx: &mut Context, items: Vec<Item>, properties: &Arc<Properties>) {
        let Some(kind) = items.first().map(|item| item.kind) else { return };
        let number = self.number();
        let Some(id) = cx.ids.allocate(Owner::Operation(number)) else { return };
        let Some(link) = cx.link.as_mut() else { return };
        let version = cx.config.version;
        let limit = link.limits.maximum_packet_size as usize;
        let out = link.writes.bytes_mut();
        let before = out.len();
        let encoded = match kind {
            Kind::Subscribe => {
                let mut properties = (**properties).clone();
                let identifier = items.iter().find_map(|item| item.identifier);
                if let Some(identifier) = identifier
                    && link.limits.subscription_identifiers
                    && properties.as_ref().subscription_identifiers().next().is_none()
                {
                    let _ = properties.push(Property::SubscriptionIdentifier(identifier));
                }
                let filters = items.iter().map(|item| (&*item.filter, item.options));
                encode_subscribe(version, id, properties.as_ref(), filters, out)
            }
            Kind::Unsubscribe => {
                let filters = items.iter().map(|item| &*item.filter);
                encode_unsubscribe(version, id, properties.as_ref().as_ref(), filters, out)
            }
        };
        if encoded.is_ok() && out.len() - before <= limit {
            self.asked.operations.insert(number, Operation { id, kind, items });
            return;
        }
        // One filter with its properties that the server does not accept [MQTT-3.2.2-15], or a batch of the longest filters.
        out.truncate(before);
        cx.ids.free(id);
        for item in items {
            self.asked.not_sent(&item);
            self.refuse(cx, &item, ReasonCode::PACKET_TOO_LARGE);
        }
    }

    /// An item gets its refusal here, and is not sent.
    fn refuse(&mut self, cx: &mut Context, item: &Item, code: ReasonCode) {
        if item.kind == Kind::Subscribe {
            let newest = self.asked.is_newest(item);
            settle(cx, &mut self.desired, &item.filter, code, None, newest);
        }
        self.done(cx, item, code);
    }
}
