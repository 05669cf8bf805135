//! Request and response through the broker.

use mqttx::{Message, ReasonCode, Version};

use crate::support::*;

#[tokio::test]
async fn a_responder_answers_what_it_was_asked() {
    in_time(async {
        let broker = broker!();
        let (_one, responder) = ready(options("responder", &broker.url(), Version::V5)).await;
        let (_two, asker) = ready(options("asker", &broker.url(), Version::V5)).await;
        let answering = responder.clone();
        let answer = move |question: Message| {
            let session = answering.clone();
            async move {
                let payload = [question.payload(), b"!"].concat();
                let answer = question.response(payload).expect("a response topic");
                session.publish_message(answer).await.expect("acknowledged");
            }
        };
        let _route = responder.handle_async("ask/+", answer).unwrap();
        responder.wait_ready(PATIENCE).await.unwrap();
        let response = asker.request("ask/one", "1", PATIENCE).await.unwrap();
        assert_eq!(response.payload(), b"1!");
        let requester = asker.requester("answers/asker", mqttx::QoS::ExactlyOnce).await.unwrap();
        let ask = |n: u32| {
            let question =
                mqttx::Publish::new("ask/many", n.to_string()).qos(mqttx::QoS::ExactlyOnce);
            requester.request(question, PATIENCE)
        };
        for n in (0..100).step_by(4) {
            let (a, b, c, d) = tokio::join!(ask(n), ask(n + 1), ask(n + 2), ask(n + 3));
            for (n, response) in (n..).zip([a, b, c, d]) {
                assert_eq!(response.unwrap().payload_str().unwrap(), format!("{n}!"));
            }
        }
        let nobody = asker.request("nobody/there", "?", PATIENCE).await.unwrap_err();
        assert_eq!(nobody.reason_code(), Some(ReasonCode::NO_MATCHING_SUBSCRIBERS));
    })
    .await;
}
