use super::*;

#[tokio::test]
async fn a_message_of_a_stream_is_done_when_the_next_is_asked_for() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").listen().unwrap();
    let (_, first) = bench.qos1("t", "1");
    let (_, second) = bench.qos1("t", "2");
    let kept = stream.next().await.unwrap();
    assert!(bench.acked().is_empty(), "handed out is not done");
    stream.next().await.unwrap();
    assert_eq!(bench.acked(), [first]);
    stream.done();
    stream.done();
    assert_eq!(bench.acked(), [first, second]);
    assert_eq!(stream.route().stats().handled, 2);
    assert_eq!(kept.payload(), b"1");
}

#[tokio::test]
async fn a_message_of_two_routes_is_acknowledged_by_the_later_one() {
    let mut bench = Bench::new();
    let mut a = bench.route("t/+").listen().unwrap();
    let mut b = bench.route("t/#").listen().unwrap();
    let (dispatched, ticket) = bench.qos1("t/1", "1");
    assert_eq!(dispatched, Dispatched::Pending);
    for stream in [&mut a, &mut b] {
        assert_eq!(stream.next().await.unwrap().payload(), b"1");
    }
    b.done();
    assert!(bench.acked().is_empty());
    a.done();
    assert_eq!(bench.acked(), [ticket]);
}

#[tokio::test]
async fn inline_routes_leave_the_acknowledgement_to_the_driver() {
    let mut bench = Bench::new();
    let _a = bench.route("t").inline(|_| {}).unwrap();
    assert_eq!(bench.qos1("t", "1").0, Dispatched::DoneNow);
    let _b = bench.route("+").inline(|_| {}).unwrap();
    assert_eq!(bench.qos1("t", "2").0, Dispatched::DoneNow);
    let mut c = bench.route("#").listen().unwrap();
    let (dispatched, ticket) = bench.qos1("t", "3");
    assert_eq!(dispatched, Dispatched::Pending);
    assert!(bench.acked().is_empty());
    c.next().await.unwrap();
    c.done();
    assert_eq!(bench.acked(), [ticket]);
}

#[tokio::test]
async fn manual_messages_wait_for_ack_and_clones_share_it() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").manual_ack(true).listen().unwrap();
    let tickets = ["1", "2"].map(|payload| bench.qos1("t", payload).1);
    let first = stream.next().await.unwrap();
    let second = stream.next().await.unwrap();
    stream.done();
    assert!(bench.acked().is_empty(), "asking for the next one says nothing");
    assert_eq!(stream.route().stats().unacked, 2);
    second.ack();
    assert!(second.is_acked() && !first.is_acked());
    let clone = first.clone();
    clone.ack();
    first.ack();
    assert!(first.is_acked());
    assert_eq!(bench.acked(), [tickets[1], tickets[0]]);
    assert_eq!(stream.route().stats().unacked, 0);
}

#[tokio::test]
async fn a_late_clone_does_not_acknowledge_a_newer_message() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").manual_ack(true).listen().unwrap();
    let (_, first_ticket) = bench.qos1("t", "1");
    let first = stream.next().await.unwrap();
    first.ack();
    bench.qos1("t", "2");
    let second = stream.next().await.unwrap();
    first.ack();
    assert_eq!(bench.acked(), [first_ticket]);
    assert!(!second.is_acked(), "the place is reused, the right is not");
}

#[tokio::test]
async fn a_manual_message_without_qos_owes_nothing() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").manual_ack(true).listen().unwrap();
    bench.qos0("t", "1");
    let message = stream.next().await.unwrap();
    assert!(message.is_acked());
    message.ack();
    assert!(bench.acked().is_empty());
}

#[tokio::test]
async fn dropping_a_manual_message_acknowledges_nothing_but_stopping_does() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").manual_ack(true).listen().unwrap();
    let (_, ticket) = bench.qos1("t", "1");
    drop(stream.next().await.unwrap());
    assert!(bench.acked().is_empty());
    drop(stream);
    assert_eq!(bench.acked(), [ticket], "a stopped route owes nothing");
}

#[tokio::test]
async fn a_lost_link_forgets_what_will_be_sent_again() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").manual_ack(true).listen().unwrap();
    bench.qos1("t", "1");
    let (_, exactly_once) = bench.arrives("t", "2", QoS::ExactlyOnce);
    let one = stream.next().await.unwrap();
    let two = stream.next().await.unwrap();
    bench.host.router.link_lost(&bench.as_source);
    assert_eq!(stream.route().stats().unacked, 1, "QoS 2 goes by its id across connections");
    one.ack();
    two.ack();
    assert_eq!(bench.acked(), [exactly_once.unwrap()]);
}

#[tokio::test]
async fn an_inline_handler_may_keep_a_message_and_answer_later() {
    let mut bench = Bench::new();
    let kept: Arc<Mutex<Vec<Message>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let _route = bench
        .route("t")
        .manual_ack(true)
        .inline(move |message| keep.lock().unwrap().push(message.to_message()))
        .unwrap();
    let (dispatched, ticket) = bench.qos1("t", "1");
    assert_eq!(dispatched, Dispatched::Pending);
    assert!(bench.acked().is_empty());
    kept.lock().unwrap()[0].ack();
    assert_eq!(bench.acked(), [ticket]);
}
