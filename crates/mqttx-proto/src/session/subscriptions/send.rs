//! SUBSCRIBE and UNSUBSCRIBE: which filters go together, and which CONNACK rules out.

use std::collections::BTreeMap;

use super::{Desired, Kind, Operation, Request, settle};
use crate::session::Context;
use crate::session::packet_ids::Owner;
use crate::{Property, ReasonCode, encode_subscribe, encode_unsubscribe};

/// Encodes the next packet of a request; `false` when no packet id is free.
pub(super) fn send_next(
    cx: &mut Context,
    desired: &mut BTreeMap<String, Desired>,
    request: &mut Request,
    operations: &mut Vec<Operation>,
    numbers: &mut u64,
) -> bool {
    if request.kind == Kind::Subscribe {
        refuse_ruled_out(cx, desired, request);
    }
    let from = request.unsent;
    let to = end_of_packet(cx, request);
    let items = request.items.get(from..to).unwrap_or_default();
    let open = items.iter().filter(|item| item.code.is_none());
    if open.clone().next().is_none() {
        request.unsent = to;
        return true;
    }
    *numbers += 1;
    let number = *numbers;
    let Some(id) = cx.ids.allocate(Owner::Operation(number)) else { return false };
    let Some(link) = cx.link.as_mut() else { return false };
    let version = cx.config.version;
    let limit = link.limits.maximum_packet_size as usize;
    let out = link.writes.bytes_mut();
    let before = out.len();
    let encoded = match request.kind {
        Kind::Subscribe => {
            let mut properties = (*request.properties).clone();
            let identifier = items.iter().find_map(|item| item.identifier);
            if let Some(identifier) = identifier
                && link.limits.subscription_identifiers
                && properties.as_ref().subscription_identifiers().next().is_none()
            {
                let _ = properties.push(Property::SubscriptionIdentifier(identifier));
            }
            let filters = open.map(|item| (item.filter.as_str(), item.options));
            encode_subscribe(version, id, properties.as_ref(), filters, out)
        }
        Kind::Unsubscribe => {
            let filters = open.map(|item| item.filter.as_str());
            encode_unsubscribe(version, id, request.properties.as_ref().as_ref(), filters, out)
        }
    };
    if encoded.is_err() || out.len() - before > limit {
        // One filter with its properties that the server does not accept [MQTT-3.2.2-15], or a batch of the longest filters.
        out.truncate(before);
        cx.ids.free(id);
        let items = request.items.get_mut(from..to).unwrap_or_default();
        for item in items.iter_mut().filter(|item| item.code.is_none()) {
            item.code = Some(ReasonCode::PACKET_TOO_LARGE);
            if request.kind == Kind::Subscribe {
                settle(cx, desired, &item.filter, ReasonCode::PACKET_TOO_LARGE, None);
            }
        }
    } else {
        operations.push(Operation { number, id, request: request.number, from, to });
    }
    request.unsent = to;
    true
}

/// Filters that CONNACK rules out get their refusal here and are not sent.
fn refuse_ruled_out(
    cx: &mut Context,
    desired: &mut BTreeMap<String, Desired>,
    request: &mut Request,
) {
    let explicit = request.properties.as_ref().as_ref().subscription_identifiers().next().is_some();
    for item in request.items.iter_mut().filter(|item| item.code.is_none()) {
        let Some(link) = cx.link.as_ref() else { return };
        let code = link.refuses_filter(&item.filter, explicit && link.has_reasons);
        if let Some(code) = code {
            item.code = Some(code);
            settle(cx, desired, &item.filter, code, None);
        }
    }
}

/// Where the packet that begins at the first unsent item ends: one identifier, at most the batch, within the server's maximum.
fn end_of_packet(cx: &Context, request: &Request) -> usize {
    let from = request.unsent;
    let limit = cx.link.as_ref().map_or(u32::MAX, |link| link.limits.maximum_packet_size) as usize;
    let mut size = 16 + request.properties.as_ref().as_ref().as_bytes().len();
    let mut identifier = None;
    let items = request.items.get(from..).unwrap_or_default();
    for (count, item) in items.iter().enumerate() {
        size += item.filter.len() + 3;
        let same = *identifier.get_or_insert(item.identifier) == item.identifier;
        if count > 0 && (!same || count >= cx.config.subscribe_batch || size > limit) {
            return from + count;
        }
    }
    request.items.len()
}
