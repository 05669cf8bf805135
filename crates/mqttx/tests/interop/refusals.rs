//! What a broker refuses.

use mqttx::{ErrorKind, QoS, ReasonCode, SessionStatus, Version};
use mqttx_test::{Mosquitto, TempDir};

use crate::support::*;

/// A broker where only topics under `open/` are allowed.
fn restricted(directory: &TempDir) -> mqttx_test::MosquittoBuilder {
    let file = directory.path().join("acl");
    std::fs::write(&file, "topic readwrite open/#\n").unwrap();
    Mosquitto::builder().line(&format!("acl_file {}", file.display()))
}

both_versions! {
    async fn refused_credentials_end_the_attempts(version: Version) {
        let directory = TempDir::new("passwords");
        let file = directory.path().join("passwords");
        std::fs::write(&file, "").unwrap();
        let builder = Mosquitto::builder().line("allow_anonymous false");
        let broker = broker!(builder.line(&format!("password_file {}", file.display())));
        let options = options("s", &broker.url(), version).auth("somebody", "wrong");
        let (_manager, session) = start(options);
        let error = session.wait_ready(PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(!error.is_temporary());
        assert_eq!(session.status(), SessionStatus::Failed);
        assert_eq!(error.reason_code(), Some(ReasonCode::NOT_AUTHORIZED));
        assert_eq!(session.metrics().errors, 1);
    }
}

#[tokio::test]
async fn a_refused_message_is_handed_back_and_the_next_one_goes() {
    in_time(async {
        let directory = TempDir::new("acl");
        let broker = broker!(restricted(&directory));
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let refused = session.publish("closed", "kept", qos, true).await.unwrap_err();
            assert_eq!(refused.error().reason_code(), Some(ReasonCode::NOT_AUTHORIZED), "{qos:?}");
            assert_eq!(refused.error().topic(), Some("closed"));
            assert_eq!(
                refused.into_message(),
                mqttx::Publish::new("closed", "kept").qos(qos).retain(true)
            );
            session.publish("open/a", "x", qos, false).await.unwrap();
        }
        assert_eq!(session.metrics().in_flight, 0);
        assert_eq!(session.metrics().reconnects, 0);
    })
    .await;
}
