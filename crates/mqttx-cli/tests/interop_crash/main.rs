//! `pub` and `sub` killed at random points, with what others wrote: their state in Redis (`MQTTX_TEST_REDIS`), their messages
//! through Mosquitto (`MQTTX_TEST_MOSQUITTO`). The kills are those of the tests in `crash`.

#[path = "../crash/broker.rs"]
mod broker;
#[path = "../crash/inbound.rs"]
mod inbound;
mod mosquitto;
#[path = "../crash/outbound.rs"]
mod outbound;
#[path = "../crash/packet.rs"]
mod packet;
#[path = "../crash/publish.rs"]
mod publish;
#[path = "../crash/random.rs"]
mod random;
mod redis;
#[path = "../crash/scenario.rs"]
mod scenario;
#[path = "../crash/subscribe.rs"]
mod subscribe;
#[path = "../crash/victim.rs"]
mod victim;

use mqttx_test::Redis;
use scenario::{Scenario, kills};

/// Tests: a name that is a claim, the direction, the version, the QoS.
macro_rules! crashes {
    ($($name:ident: $direction:ident $version:literal $qos:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let Some(redis) = Redis::builder().start().await else { return };
                let scenario = Scenario::new(stringify!($name), $version, $qos, &redis.url(), &[]);
                $direction::run(&scenario, kills()).await;
            }
        )*
    };
}

crashes! {
    killed_pub_with_redis_loses_no_qos_1_message: publish "311" 1;
    killed_pub_with_redis_sends_qos_2_exactly_once: publish "5" 2;
    killed_sub_with_redis_prints_every_qos_1_message: subscribe "5" 1;
    killed_sub_with_redis_prints_qos_2_exactly_once: subscribe "311" 2;
}

#[tokio::test]
async fn killed_pub_with_redis_loses_nothing_when_the_server_forgets() {
    let Some(redis) = Redis::builder().start().await else { return };
    let name = "killed_pub_with_redis_loses_nothing_when_the_server_forgets";
    let scenario = Scenario::new(name, "5", 2, &redis.url(), &[]);
    publish::run_forgetful(&scenario, kills()).await;
}
