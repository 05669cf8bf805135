//! Events as JSON.

use mqttx::{Event, EventKind, ReasonCode};
use serde_json::{Value, json};

use super::sessions::time;

/// One server-sent event.
pub(super) fn piece(event: &Event) -> String {
    // JSON has no line breaks.
    format!("data: {}\n\n", object(event))
}

/// The event as an object.
pub(super) fn object(event: &Event) -> Value {
    json!({
        "type": event.kind.name().as_str(),
        "session": event.session.as_deref(),
        "data": data(&event.kind),
        "timestamp": time(event.timestamp),
    })
}

fn data(kind: &EventKind) -> Value {
    match kind {
        EventKind::SessionConnecting { broker, attempt } => {
            json!({ "broker": broker, "attempt": attempt })
        }
        EventKind::SessionConnected { broker, session_present, client_id } => json!({
            "broker": broker, "session_present": session_present, "client_id": client_id,
        }),
        EventKind::SessionReady { subscriptions } => json!({ "subscriptions": subscriptions }),
        EventKind::SessionDisconnected { error, reason } => json!({
            "error": error.as_ref().map(ToString::to_string), "reason": reason.map(code),
        }),
        EventKind::SessionReconnecting { attempt, delay } => {
            json!({ "attempt": attempt, "delay_ms": delay.as_millis() as u64 })
        }
        EventKind::SessionRemoved { unacknowledged } => json!({ "unacknowledged": unacknowledged }),
        EventKind::SessionStateChanged { old, new } => {
            json!({ "old_state": old.name(), "new_state": new.name() })
        }
        EventKind::SessionLost { requeued } => json!({ "requeued": requeued }),
        EventKind::SessionRedirected { server_reference, permanent } => {
            json!({ "server_reference": server_reference, "permanent": permanent })
        }
        EventKind::SubscriptionRefused { filter, reason, reason_string } => json!({
            "filter": filter, "reason": code(*reason), "reason_string": reason_string,
        }),
        EventKind::MessageDropped { reason, count, topic, route } => json!({
            "reason": reason.name(), "count": count, "topic": topic, "route": route,
        }),
        EventKind::MessageUnrouted { topic, count } => json!({ "topic": topic, "count": count }),
        EventKind::HandlerFailed { route, topic, payload, panic, attempts } => json!({
            "route": route, "topic": topic, "payload_bytes": payload.len(), "panic": panic,
            "attempts": attempts,
        }),
        EventKind::RouteAdded { filter } | EventKind::RouteStopped { filter } => {
            json!({ "filter": &**filter })
        }
        EventKind::ForwarderStarted { forwarder } => json!({ "forwarder": &**forwarder }),
        EventKind::ForwarderStopped { forwarder, unacknowledged } => {
            json!({ "forwarder": &**forwarder, "unacknowledged": unacknowledged })
        }
        EventKind::ForwarderMessageDropped { forwarder, reason, count, topic } => json!({
            "forwarder": &**forwarder, "reason": reason, "count": count, "topic": topic,
        }),
        EventKind::ForwarderBlocked { forwarder, target } => {
            json!({ "forwarder": &**forwarder, "target": &**target })
        }
        EventKind::ForwarderTargetChanged { forwarder, from, to, again } => json!({
            "forwarder": &**forwarder, "from": &**from, "to": &**to, "again": again,
        }),
        EventKind::ForwarderAckTimeout { forwarder, target, after } => json!({
            "forwarder": &**forwarder, "target": &**target, "after_seconds": after.as_secs_f64(),
        }),
        EventKind::ForwarderDeliveryFailed { forwarder, target, reason, error, topic, outcome } => {
            json!({
                "forwarder": &**forwarder, "target": &**target, "reason": reason, "error": error,
                "topic": topic, "outcome": outcome,
            })
        }
        EventKind::MessageRefused { topic, reason, reason_string } => json!({
            "topic": topic, "reason": code(*reason), "reason_string": reason_string,
        }),
        EventKind::StoreError { error } | EventKind::StoreUnavailable { error } => {
            json!({ "error": error.to_string() })
        }
        EventKind::StoreNotice { text, lost_records } => {
            json!({ "text": text, "lost_records": lost_records })
        }
        EventKind::StoreFull { full } => json!({ "full": full }),
        EventKind::EventsLagged { missed } => json!({ "missed": missed }),
        // Those without data.
        _ => json!({}),
    }
}

fn code(reason: ReasonCode) -> Value {
    json!({ "code": reason.value(), "name": reason.name() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttx::SessionStatus;

    #[test]
    fn data_has_the_names_that_the_documentation_promises() {
        let changed = EventKind::SessionStateChanged {
            old: SessionStatus::Connecting,
            new: SessionStatus::Connected,
        };
        assert_eq!(data(&changed), json!({ "old_state": "connecting", "new_state": "connected" }));
        let disconnected =
            EventKind::SessionDisconnected { error: None, reason: Some(ReasonCode::new(0x8e)) };
        assert_eq!(data(&disconnected)["reason"]["code"], 0x8e);
        assert_eq!(data(&EventKind::SessionAdded), json!({}));
    }
}
