//! Sessions on the nodes of a cluster.

use mqttx_test::{Redis, RedisCluster};

use super::support::{Session, assign, is_available, is_unavailable, message, store};

fn id(node: &Redis) -> String {
    let answer = node.command(&["CLUSTER", "MYID"]);
    answer.lines().nth(1).expect("an id").to_owned()
}

#[tokio::test]
async fn a_session_follows_its_slot_to_another_node() {
    let Some(cluster) = RedisCluster::start().await else { return };
    let store = store(&cluster.url());
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "before"), assign(0), message(1, "before too")]).await;
    let slot = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "mqttx:{plant}:state"]);
    let slot = slot.trim_start_matches(':').to_owned();
    let has = |node: &&Redis| node.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]) != ":0";
    let from = cluster.nodes.iter().find(has).expect("a node has it");
    let to = cluster.nodes.iter().find(|node| !has(node)).expect("others do not");

    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    // Some of the keys are here, some there.
    let (host, port) = (to.address().ip().to_string(), to.address().port().to_string());
    let migrate = |part: &str| {
        let key = format!("mqttx:{{plant}}:{part}");
        from.command(&["MIGRATE", &host, &port, &key, "0", "5000"]);
    };
    migrate("messages");
    session.submit(&[message(2, "in the middle")]);
    session.until(is_unavailable).await;
    for part in ["state", "queue", "assigned", "received", "filters"] {
        migrate(part);
    }
    for node in [to, from] {
        assert_eq!(node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]), "+OK");
    }
    session.until(is_available).await;
    session.synced().await;
    assert_eq!(
        Session::open(&store, "plant").await.payloads().await,
        ["before too", "in the middle"]
    );
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(3, "after")]).await;
    assert_eq!(session.payloads().await, ["before too", "in the middle", "after"]);
}

#[tokio::test]
async fn a_node_that_is_away_holds_up_its_own_sessions_only() {
    let Some(mut cluster) = RedisCluster::start().await else { return };
    // Otherwise the whole cluster stops with one of its nodes.
    for node in &cluster.nodes {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let store = store(&cluster.url());
    let mut sessions = Vec::new();
    for n in 0..30 {
        let mut session = Session::open(&store, &format!("s{n}")).await;
        session.keep(&[message(0, "before")]).await;
        sessions.push(session);
    }
    let at_last_node = |n: usize| {
        let key = format!("mqttx:{{s{n}}}:state");
        cluster.nodes[2].command(&["EXISTS", &key]) == ":1"
    };
    let there: Vec<bool> = (0..30).map(at_last_node).collect();
    assert!(there.contains(&true) && there.contains(&false), "{there:?}");
    cluster.nodes[2].kill();
    sessions.iter_mut().for_each(|session| session.submit(&[message(1, "meanwhile")]));
    for (session, there) in sessions.iter_mut().zip(&there) {
        if *there { session.until(is_unavailable).await } else { session.synced().await }
    }
    cluster.nodes[2].restart().await;
    for session in &mut sessions {
        session.synced().await;
        assert_eq!(session.payloads().await, ["before", "meanwhile"]);
    }
}

#[tokio::test]
async fn a_session_follows_its_master_to_a_replica() {
    let Some(mut cluster) = RedisCluster::start().await else { return };
    let store = store(&cluster.url());
    // Any session of the last master.
    let name = (0..).map(|n| format!("s{n}")).find(|name| {
        let slot = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", name]);
        slot.trim_start_matches(':').parse::<u32>().is_ok_and(|slot| slot > 10_922)
    });
    let name = name.expect("there are many");
    cluster.add_replica(2).await;
    let mut session = Session::open(&store, &name).await;
    session.keep(&[message(0, "before")]).await;
    let state = format!("mqttx:{{{name}}}:messages");
    cluster.nodes[3].wait_for(&["INFO", "keyspace"], "keys=3").await;
    cluster.nodes[2].kill();
    session.submit(&[message(1, "meanwhile")]);
    session.until(is_unavailable).await;
    session.until(is_available).await;
    session.synced().await;
    assert_eq!(session.payloads().await, ["before", "meanwhile"]);
    assert_eq!(cluster.nodes[3].command(&["HLEN", &state]), ":2");
}

#[tokio::test]
async fn an_unreachable_first_node_is_made_up_for_by_the_others() {
    let Some(mut cluster) = RedisCluster::start().await else { return };
    for node in &cluster.nodes {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let hosts: Vec<String> = cluster.nodes.iter().map(|node| node.address().to_string()).collect();
    cluster.nodes[0].kill();
    let store = store(&format!("redis+cluster://{}", hosts.join(",")));
    // Its slot, 12182, is in the last third.
    Session::open(&store, "foo").await.keep(&[message(0, "x")]).await;
}
