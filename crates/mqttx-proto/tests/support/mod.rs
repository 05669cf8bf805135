//! The readable form of packets that the vectors use.

use mqttx_proto::{
    Ack, Connect, Packet, PropertiesRef, Property, Publish, QoS, RetainHandling, SubAck, Will,
};

/// One packet as one line: only what differs from "nothing".
pub(crate) fn describe(packet: &Packet<'_>) -> String {
    let words = match packet {
        Packet::Connect(connect) => describe_connect(connect),
        Packet::ConnAck(ack) => vec![
            flag("present", ack.session_present),
            format!("reason={:02x}", ack.reason.value()),
            properties(ack.properties),
        ],
        Packet::Publish(publish) => describe_publish(publish),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            describe_ack(ack)
        }
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.filters.iter().map(|f| {
                let o = f.options;
                let handling = match o.retain_handling {
                    RetainHandling::SendAtSubscribe => String::new(),
                    other => format!("handling={}", other as u8),
                };
                join(&[
                    format!("'{}'", f.filter),
                    format!("qos={}", o.qos),
                    flag("no-local", o.no_local),
                    flag("as-published", o.retain_as_published),
                    handling,
                ])
            });
            let filters = filters.collect::<Vec<_>>().join(", ");
            vec![format!("id={}", subscribe.packet_id), properties(subscribe.properties), filters]
        }
        Packet::SubAck(ack) | Packet::UnsubAck(ack) => describe_sub_ack(ack),
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().map(|f| format!("'{f}'")).collect();
            vec![
                format!("id={}", unsubscribe.packet_id),
                properties(unsubscribe.properties),
                filters.join(", "),
            ]
        }
        Packet::PingReq | Packet::PingResp => vec![],
        Packet::Disconnect(p) => {
            vec![format!("reason={:02x}", p.reason.value()), properties(p.properties)]
        }
        Packet::Auth(p) => {
            vec![format!("reason={:02x}", p.reason.value()), properties(p.properties)]
        }
    };
    join(&words)
}

fn describe_connect(connect: &Connect<'_>) -> Vec<String> {
    vec![
        flag("clean", connect.clean_start),
        format!("keep-alive={}", connect.keep_alive.as_secs()),
        properties(connect.properties),
        format!("id={}", text(connect.client_id)),
        connect.will.map_or(String::new(), |will| describe_will(&will)),
        connect.username.map_or(String::new(), |name| format!("user={}", text(name))),
        connect.password.map_or(String::new(), |word| format!("password={}", bytes(word))),
    ]
}

fn describe_will(will: &Will<'_>) -> String {
    let words = [
        qos(will.qos),
        flag("retain", will.retain),
        format!("topic={}", text(will.topic)),
        properties(will.properties),
        format!("payload={}", bytes(will.payload)),
    ];
    format!("will({})", join(&words))
}

fn describe_publish(publish: &Publish<'_>) -> Vec<String> {
    vec![
        flag("dup", publish.dup),
        qos(publish.qos),
        flag("retain", publish.retain),
        format!("topic={}", text(publish.topic)),
        publish.packet_id.map_or(String::new(), |id| format!("id={id}")),
        properties(publish.properties),
        format!("payload={}", bytes(publish.payload)),
    ]
}

fn describe_ack(ack: &Ack<'_>) -> Vec<String> {
    vec![
        format!("id={}", ack.packet_id),
        format!("reason={:02x}", ack.reason.value()),
        properties(ack.properties),
    ]
}

fn describe_sub_ack(ack: &SubAck<'_>) -> Vec<String> {
    let codes: Vec<_> = ack.reasons().map(|code| format!("{:02x}", code.value())).collect();
    vec![
        format!("id={}", ack.packet_id),
        properties(ack.properties),
        format!("codes={}", codes.join(",")),
    ]
}

fn properties(properties: PropertiesRef<'_>) -> String {
    if properties.is_empty() {
        return String::new();
    }
    let list: Vec<_> = properties.iter().map(|p| format!("{}={}", p.id(), value(p))).collect();
    format!("{{{}}}", list.join(", "))
}

fn value(property: Property<'_>) -> String {
    use Property as P;
    match property {
        P::PayloadFormatIndicator(v)
        | P::RequestProblemInformation(v)
        | P::RequestResponseInformation(v)
        | P::MaximumQoS(v)
        | P::RetainAvailable(v)
        | P::WildcardSubscriptionAvailable(v)
        | P::SubscriptionIdentifierAvailable(v)
        | P::SharedSubscriptionAvailable(v) => v.to_string(),
        P::ServerKeepAlive(v)
        | P::ReceiveMaximum(v)
        | P::TopicAliasMaximum(v)
        | P::TopicAlias(v) => v.to_string(),
        P::MessageExpiryInterval(v)
        | P::SubscriptionIdentifier(v)
        | P::SessionExpiryInterval(v)
        | P::WillDelayInterval(v)
        | P::MaximumPacketSize(v) => v.to_string(),
        P::ContentType(v)
        | P::ResponseTopic(v)
        | P::AssignedClientIdentifier(v)
        | P::AuthenticationMethod(v)
        | P::ResponseInformation(v)
        | P::ServerReference(v)
        | P::ReasonString(v) => text(v),
        P::CorrelationData(v) | P::AuthenticationData(v) => bytes(v),
        P::UserProperty(name, value) => format!("{}:{}", text(name), text(value)),
        other => panic!("{other:?} has no readable form yet"),
    }
}

fn qos(qos: QoS) -> String {
    if qos == QoS::AtMostOnce { String::new() } else { format!("qos={qos}") }
}

fn flag(name: &str, set: bool) -> String {
    if set { name.to_owned() } else { String::new() }
}

/// Long runs of one character are written as in the vectors: `'x'*125`.
fn text(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if text.len() > 100 && chars.all(|c| c == first) => {
            format!("'{first}'*{}", text.len())
        }
        _ => format!("'{}'", text.replace('\u{feff}', "\\u{feff}").replace('\u{7f}', "\\u{7f}")),
    }
}

fn bytes(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(printable) if !printable.contains(char::is_control) => text(printable),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn join(words: &[String]) -> String {
    let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).cloned().collect();
    words.join(" ")
}
