//! The properties that a message is published with.

use std::time::Duration;

use mqttx_proto::{Properties, PropertiesRef, Property, PropertyId};

use super::hops::Mark;
use super::metadata;
use super::reason::ForwardDrop;
use super::template::TopicContext;
use super::topic_map::TopicMap;
use crate::trace::Hop;

/// What the properties of one message for one target come from.
pub(super) struct Outgoing<'a> {
    pub(super) arrived: PropertiesRef<'a>,
    /// Since it arrived.
    pub(super) waited: Duration,
    /// What only MQTT 5 targets get.
    pub(super) further: Option<Further<'a>>,
}

/// What a forwarder adds.
#[derive(Clone, Copy)]
pub(super) struct Further<'a> {
    pub(super) mark: &'a Mark,
    /// Changes the response topic as it changes topics.
    pub(super) map: &'a TopicMap,
    pub(super) cx: TopicContext<'a>,
    pub(super) metadata: Option<(&'a metadata::Rendered, &'a [metadata::Entry])>,
    /// Of a dead letter: why it is one.
    pub(super) error: Option<&'a str>,
    /// The trace that it belongs to.
    pub(super) trace: Option<&'a Hop>,
}

impl<'a> Outgoing<'a> {
    /// The properties that arrived, without what concerns one connection only, and with the message expiry counted
    /// down by the time since then `[MQTT-3.3.2-6]`; then what the forwarder adds.
    ///
    /// # Errors
    /// The message is expired, or something in it does not fit a property.
    pub(super) fn properties(
        &self,
        scratch: &'a mut Properties,
    ) -> Result<PropertiesRef<'a>, ForwardDrop> {
        match &self.further {
            None if pass_on(self.arrived, self.waited, scratch)? => Ok(scratch.as_ref()),
            None => Ok(self.arrived),
            // The usual case costs nothing.
            Some(more) if self.arrived.is_empty() && more.is_only_mark() => Ok(more.mark.first()),
            Some(more) => {
                if !pass_on(self.arrived, self.waited, scratch)? {
                    scratch.copy_from(self.arrived);
                }
                more.add(self.arrived, scratch)?;
                Ok(scratch.as_ref())
            }
        }
    }
}

impl Further<'_> {
    fn is_only_mark(&self) -> bool {
        self.metadata.is_none() && self.error.is_none() && self.trace.is_none()
    }

    fn add(&self, arrived: PropertiesRef<'_>, out: &mut Properties) -> Result<(), ForwardDrop> {
        if let Some(topic) = arrived.response_topic() {
            let mut mapped = String::new();
            let cx = TopicContext { topic, ..self.cx };
            if let Some(Ok(())) = self.map.render(&cx, &mut mapped) {
                out.set(Property::ResponseTopic(&mapped)).map_err(|_| ForwardDrop::Topic)?;
            }
        }
        if let Some(trace) = self.trace {
            trace.replace(out);
        }
        let mut user = |name: &str, value: &str| {
            out.user_property(name, value).map_err(|_| ForwardDrop::Transform)
        };
        if let Some((rendered, entries)) = self.metadata {
            for (name, value) in rendered.properties(entries) {
                user(name, value)?;
            }
        }
        if let Some(error) = self.error {
            user(ERROR, error)?;
            user(SOURCE_TOPIC, self.cx.topic)?;
        }
        self.mark.add(self.mark.read(arrived), out);
        Ok(())
    }
}

/// `false`: the properties may pass as they are; else what may pass is in `scratch`.
fn pass_on(
    arrived: PropertiesRef<'_>,
    waited: Duration,
    scratch: &mut Properties,
) -> Result<bool, ForwardDrop> {
    if arrived.is_empty() {
        return Ok(false);
    }
    let waited = u32::try_from(waited.as_secs()).unwrap_or(u32::MAX);
    let expiry = arrived.message_expiry_interval();
    if waited > 0 && expiry.is_some_and(|expiry| expiry <= waited) {
        return Err(ForwardDrop::Expired);
    }
    let is_local =
        arrived.subscription_identifiers().next().is_some() || arrived.topic_alias().is_some();
    if !is_local && (waited == 0 || expiry.is_none()) {
        return Ok(false);
    }
    scratch.copy_from(arrived);
    scratch.remove(PropertyId::SubscriptionIdentifier);
    scratch.remove(PropertyId::TopicAlias);
    if let Some(expiry) = expiry {
        // Any value of the counter is valid.
        let _ = scratch.set(Property::MessageExpiryInterval(expiry.saturating_sub(waited)));
    }
    Ok(true)
}

/// The user property that says why a message is a dead letter.
pub(super) const ERROR: &str = "mqttx-error";

/// The user property with the topic that a dead letter came with.
pub(super) const SOURCE_TOPIC: &str = "mqttx-source-topic";

#[cfg(test)]
mod tests {
    use super::*;

    fn list(properties: &[Property<'_>]) -> Properties {
        let mut list = Properties::new();
        for property in properties {
            list.push(*property).unwrap();
        }
        list
    }

    fn passed_on(properties: &[Property<'_>], waited: Duration) -> Result<Properties, ForwardDrop> {
        let given = list(properties);
        let mut scratch = Properties::new();
        scratch.user_property("left", "over").unwrap();
        let outgoing = Outgoing { arrived: given.as_ref(), waited, further: None };
        outgoing.properties(&mut scratch).map(PropertiesRef::to_owned)
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

    #[test]
    fn what_the_forwarder_adds_stands_behind_what_came() {
        let mark = Mark::new("d", "f", 8);
        let mut map = TopicMap::default();
        map.insert("reply/+", "r/{1}").unwrap();
        let entries = [metadata::Entry::new("by", "{forwarder}").unwrap()];
        let context = crate::forward::transform::tests::context("a/+", "a/b", b"");
        let rendered = metadata::render(&entries, &context).unwrap();
        let cx = TopicContext { topic: "a/b", forwarder: "f", session: "s", received_unix_ms: 0 };
        let further = Further {
            mark: &mark,
            map: &map,
            cx,
            metadata: Some((&rendered, &entries)),
            error: Some("why"),
            trace: None,
        };
        let came = list(&[
            Property::UserProperty("own", "1"),
            Property::UserProperty("mqttx-hops", "2"),
            Property::ResponseTopic("reply/x"),
            Property::TopicAlias(3),
        ]);
        let out = |further, arrived: &Properties| {
            let mut scratch = list(&[Property::UserProperty("left", "over")]);
            let (arrived, waited) = (arrived.as_ref(), Duration::ZERO);
            let outgoing = Outgoing { arrived, waited, further: Some(further) };
            outgoing.properties(&mut scratch).unwrap().to_owned()
        };
        let expected = list(&[
            Property::UserProperty("own", "1"),
            Property::ResponseTopic("r/x"),
            Property::UserProperty("by", "fw"),
            Property::UserProperty("mqttx-error", "why"),
            Property::UserProperty("mqttx-source-topic", "a/b"),
            Property::UserProperty("mqttx-via", "d/f"),
            Property::UserProperty("mqttx-hops", "3"),
        ]);
        assert_eq!(out(further, &came), expected);
        let plain = Further { metadata: None, error: None, ..further };
        assert_eq!(out(plain, &Properties::new()).as_ref(), mark.first());
        let other = list(&[Property::ResponseTopic("other"), Property::ContentType("x")]);
        let passed: Vec<_> = out(plain, &other).as_ref().iter().map(|p| format!("{p:?}")).collect();
        assert!(passed.iter().any(|property| property.contains("other")), "{passed:?}");
    }
}
