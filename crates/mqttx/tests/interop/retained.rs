//! Retained messages.

use mqttx::{MessageStream, QoS, RetainHandling, Session, Version};

use crate::support::*;

both_versions! {
    async fn a_retained_message_comes_at_subscription_until_it_is_cleared(version: Version) {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), version)).await;
        session.publish("state/a", "on", QoS::AtLeastOnce, true).await.unwrap();
        session.publish("state/b", "off", QoS::AtLeastOnce, false).await.unwrap();
        let mut messages = session.listen("state/+").unwrap();
        let message = next(&mut messages).await;
        assert_eq!((message.topic(), message.payload()), ("state/a", &b"on"[..]));
        assert!(message.retain(), "it was there before the subscription");
        // A message of now is not marked, also when it is kept for others.
        session.publish("state/a", "idle", QoS::AtLeastOnce, true).await.unwrap();
        let message = next(&mut messages).await;
        assert_eq!((message.payload(), message.retain()), (&b"idle"[..], false));
        drop(messages);
        session.publish("state/a", "", QoS::AtLeastOnce, true).await.unwrap();
        let mut messages = session.listen("state/+").unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        session.publish("state/c", "now", QoS::AtLeastOnce, false).await.unwrap();
        assert_eq!(text(&mut messages).await, "now");
    }

    async fn a_retained_message_comes_with_the_lower_qos(version: Version) {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), version)).await;
        session.publish("t", "x", QoS::ExactlyOnce, true).await.unwrap();
        for qos in ALL_QOS {
            let mut messages = session.route("t").qos(qos).listen().unwrap();
            let message = next(&mut messages).await;
            assert_eq!((message.qos(), message.retain()), (qos, true));
        }
    }
}

/// The first message after a subscription: the retained one, or the one published now.
async fn first(session: &Session, messages: &mut MessageStream) -> String {
    session.wait_ready(PATIENCE).await.unwrap();
    session.publish("t", "now", QoS::AtLeastOnce, false).await.unwrap();
    let first = text(messages).await;
    if first != "now" {
        assert_eq!(text(messages).await, "now");
    }
    first
}

#[tokio::test]
async fn retain_handling_says_when_retained_messages_come() {
    in_time(async {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        session.publish("t", "kept", QoS::AtLeastOnce, true).await.unwrap();
        let listen = |handling| session.route("t").retain_handling(handling).listen().unwrap();

        let mut never = listen(RetainHandling::DoNotSend);
        assert_eq!(first(&session, &mut never).await, "now");
        drop(never);

        let mut new = listen(RetainHandling::SendIfNew);
        assert_eq!(first(&session, &mut new).await, "kept", "the filter was given up before");
        // The subscription exists: it is changed, and nothing is sent for it.
        session.subscribe_with("t", retained_if_new()).await.unwrap();
        assert_eq!(first(&session, &mut new).await, "now");
        drop(new);

        let mut always = listen(RetainHandling::SendAtSubscribe);
        assert_eq!(first(&session, &mut always).await, "kept");
    })
    .await;
}

fn retained_if_new() -> mqttx::SubscribeOptions {
    mqttx::SubscribeOptions {
        qos: QoS::ExactlyOnce,
        retain_handling: RetainHandling::SendIfNew,
        ..Default::default()
    }
}

#[tokio::test]
async fn retain_as_published_keeps_the_flag_of_the_publisher() {
    in_time(async {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        let mut plain = session.listen("t").unwrap();
        let mut kept = session.route("+").retain_as_published(true).listen().unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        session.publish("t", "x", QoS::AtLeastOnce, true).await.unwrap();
        assert!(!next(&mut plain).await.retain());
        assert!(next(&mut kept).await.retain());
    })
    .await;
}
