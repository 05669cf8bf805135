//! Handing one message to its targets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, UNIX_EPOCH};

use mqttx_proto::{Priority, Properties, PropertiesRef, Property, PropertyId};

use super::endpoint::TargetRule;
use super::engine::{Engine, Scratch, Target};
use super::flows::{FlowKey, Held};
use super::reason::ForwardDrop;
use super::template::TopicContext;
use crate::error::{Error, ErrorKind};
use crate::message::Message;
use crate::session::{CompletionSink, Draft};

/// What sending a message came to.
pub(super) struct Sent {
    /// Required targets that did not take it.
    pub(super) failed: usize,
    /// Why the first of them did not.
    pub(super) failure: Option<ForwardDrop>,
    /// This target has no room; those after it were not tried.
    pub(super) full: Option<usize>,
}

impl Engine {
    pub(super) fn send(&self, held: &mut Held, key: FlowKey, scratch: &mut Scratch) -> Sent {
        let (mut taken, mut failed, mut failure) = (0, 0, None);
        let now = crate::session::now();
        let properties = match outgoing_properties(&held.message, now, &mut scratch.properties) {
            Ok(properties) => properties,
            Err(reason) => {
                let left = self.options.targets.iter().skip(held.next_target);
                let failed = left.filter(|target| target.required).count();
                return Sent { failed, failure: Some(reason), full: None };
            }
        };
        let payload = held.message.payload_bytes();
        let pairs = self.options.targets.iter().zip(&self.targets).enumerate();
        for (n, (rule, target)) in pairs.skip(held.next_target) {
            let outcome = self.render(held, rule, target, &mut scratch.topic).and_then(|()| {
                let draft = Draft {
                    topic: &scratch.topic,
                    payload: &payload,
                    qos: rule.qos.apply(held.qos),
                    retain: rule.retain.apply(held.message.retain()),
                    properties,
                    ttl: None,
                    priority: Priority::LOWEST,
                };
                self.hand_over(n, rule, target, draft, key)
            });
            match outcome {
                Ok(()) => taken += 1,
                Err(NotTaken::Full) if rule.required => {
                    held.next_target = n;
                    return Sent { failed, failure, full: Some(n) };
                }
                Err(_) if !rule.required => self.lock().flows.counts.optional_lost += 1,
                Err(NotTaken::Full) => {}
                Err(NotTaken::Refused(reason)) => {
                    failed += 1;
                    failure = failure.or(Some(reason));
                }
            }
        }
        // With optional targets only, a message that none of them took is lost.
        let lost = taken == 0 && self.options.targets.iter().all(|target| !target.required);
        let failure = failure.or_else(|| lost.then_some(ForwardDrop::QueueFull));
        Sent { failed, failure, full: None }
    }

    fn render(
        &self,
        held: &Held,
        rule: &TargetRule,
        target: &Target,
        out: &mut String,
    ) -> Result<(), NotTaken> {
        let template = rule.template(held.source, held.filter, held.message.topic());
        let received_unix_ms = if target.uses_time {
            let since = held.message.received_system().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        } else {
            0
        };
        let cx = TopicContext {
            topic: held.message.topic(),
            forwarder: &self.options.name,
            session: held.message.session(),
            received_unix_ms,
        };
        template.render(&cx, out).map_err(|_| NotTaken::Refused(ForwardDrop::Topic))
    }

    fn hand_over(
        &self,
        n: usize,
        rule: &TargetRule,
        target: &Target,
        mut draft: Draft<'_>,
        key: FlowKey,
    ) -> Result<(), NotTaken> {
        if !rule.required && target.pending.load(Ordering::Relaxed) >= self.options.qos0_queue {
            return Err(NotTaken::Full);
        }
        let Some(engine) = self.me.upgrade() else { return Err(NotTaken::Full) };
        let enqueue = |draft: &Draft<'_>| {
            let sink = Arc::clone(&engine) as Arc<dyn CompletionSink>;
            target.session.try_enqueue_with(draft, sink, ticket(n, key))
        };
        // Counted before: the completion may come before the call returns.
        target.pending.fetch_add(1, Ordering::Relaxed);
        let mut outcome = enqueue(&draft);
        if outcome.as_ref().is_err_and(|error| error.code() == "publish.not_allowed")
            && let Some(limits) = target.session.limits()
            && limits.maximum_qos < draft.qos
        {
            draft.qos = limits.maximum_qos;
            outcome = enqueue(&draft);
            self.lock().flows.counts.downgraded += u64::from(outcome.is_ok());
        }
        outcome.map_err(|error| {
            target.pending.fetch_sub(1, Ordering::Relaxed);
            NotTaken::of(&error)
        })
    }
}

/// Why a target did not take a message.
enum NotTaken {
    Full,
    Refused(ForwardDrop),
}

impl NotTaken {
    fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Full => Self::Full,
            _ => Self::Refused(ForwardDrop::of(error)),
        }
    }
}

/// The properties to publish with: those that arrived, without what concerns one connection only, and
/// with the message expiry counted down by the time since then `[MQTT-3.3.2-6]`.
fn outgoing_properties<'a>(
    message: &'a Message,
    now: Instant,
    scratch: &'a mut Properties,
) -> Result<PropertiesRef<'a>, ForwardDrop> {
    let arrived = message.properties();
    if arrived.is_empty() {
        return Ok(arrived);
    }
    let waited = now.saturating_duration_since(message.received_at()).as_secs();
    let waited = u32::try_from(waited).unwrap_or(u32::MAX);
    let expiry = arrived.message_expiry_interval();
    if waited > 0 && expiry.is_some_and(|expiry| expiry <= waited) {
        return Err(ForwardDrop::Expired);
    }
    let is_local =
        arrived.subscription_identifiers().next().is_some() || arrived.topic_alias().is_some();
    if !is_local && (waited == 0 || expiry.is_none()) {
        return Ok(arrived);
    }
    scratch.copy_from(arrived);
    scratch.remove(PropertyId::SubscriptionIdentifier);
    scratch.remove(PropertyId::TopicAlias);
    if let Some(expiry) = expiry {
        // Any value of the counter is valid.
        let _ = scratch.set(Property::MessageExpiryInterval(expiry.saturating_sub(waited)));
    }
    Ok(scratch.as_ref())
}

fn ticket(target: usize, key: FlowKey) -> u64 {
    (target as u64) << 32 | u64::from(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{InboundMeta, Origin};
    use mqttx_proto::QoS;
    use mqttx_proto::packet::Publish;
    use std::time::Duration;

    fn passed_on(properties: &[Property<'_>], waited: Duration) -> Result<Properties, ForwardDrop> {
        let mut given = Properties::new();
        for property in properties {
            given.push(*property).unwrap();
        }
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t",
            packet_id: None,
            properties: given.as_ref(),
            payload: b"",
        };
        let now = Instant::now();
        let inbound =
            InboundMeta { ticket: None, received_at: now, flow_controlled: true, shed: false };
        let message = Message::new(&publish, &inbound, &Arc::new(Origin::new("s".into(), now)));
        let mut scratch = Properties::new();
        scratch.user_property("left", "over").unwrap();
        outgoing_properties(&message, now + waited, &mut scratch).map(PropertiesRef::to_owned)
    }

    #[test]
    fn what_concerns_one_connection_stays_behind() {
        let user = Property::UserProperty("k", "v");
        let local = [Property::SubscriptionIdentifier(1), Property::SubscriptionIdentifier(9)];
        let out = passed_on(&[local[0], user, Property::TopicAlias(3), local[1]], Duration::ZERO);
        assert_eq!(out, passed_on(&[user], Duration::ZERO));
        assert!(passed_on(&local, Duration::ZERO).unwrap().is_empty());
    }

    #[test]
    fn message_expiry_counts_down_and_ends() {
        let ten = [Property::MessageExpiryInterval(10)];
        let after = |seconds| passed_on(&ten, Duration::from_secs(seconds));
        let left = |out: Properties| out.as_ref().message_expiry_interval();
        assert_eq!(after(0).map(left), Ok(Some(10)));
        assert_eq!(after(4).map(left), Ok(Some(6)));
        assert_eq!(after(10), Err(ForwardDrop::Expired));
        let zero = passed_on(&[Property::MessageExpiryInterval(0)], Duration::ZERO);
        assert_eq!(zero.map(left), Ok(Some(0)), "the server decided to send it");
    }
}
