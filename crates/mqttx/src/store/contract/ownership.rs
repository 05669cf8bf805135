//! Who owns a log, and what becomes of it at the end.

use mqttx_proto::RecordBatch;

use super::super::{Store, Update};
use super::probe::{Probe, within};
use super::records::{assign, done, enqueue, low, received, subscribe};

/// Nothing that the first owner submits after the second opened the log is kept, and it is told.
///
/// # Panics
/// When it is otherwise.
pub async fn a_second_owner_fences_the_first(store: &dyn Store) {
    let mut first = Probe::new(store, "two owners").await;
    first.keep(&[enqueue(low(0), b"x"), subscribe("a")]).await;
    let mut second = Probe::open(store, "two owners", first.model.clone()).await;
    first.submit(&[done(low(0)), received(1), enqueue(low(1), b"of the first")]);
    let error = loop {
        match first.update().await {
            Ok(Update::Progress(progress)) => {
                assert!(progress.written <= 2, "what a fenced owner submits is not kept");
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "store.fenced", "{error}");
    assert_eq!(error.session(), Some("two owners"));
    second.keep(&[enqueue(low(1), b"of the second"), assign(low(1), 1, 1)]).await;
    // Its end changes nothing either.
    drop(first);
    second.keep(&[received(2)]).await;
    second.reopen().await;
}

/// What the first owner was told is durable is there for the second, whatever else is under way.
///
/// # Panics
/// When it is not.
pub async fn a_second_owner_starts_where_the_first_was(store: &dyn Store) {
    let mut probe = Probe::new(store, "heirs").await;
    for life in 0..10 {
        probe.keep(&[enqueue(low(life), b"x"), received(1 + life as u16)]).await;
        let heir = Probe::open(store, "heirs", probe.model.clone()).await;
        drop(std::mem::replace(&mut probe, heir));
    }
}

/// A log that is dropped has handed over what was submitted: it is there when the session is opened again, at once.
///
/// # Panics
/// When something is missing.
pub async fn dropped_logs_have_handed_everything_over(store: &dyn Store) {
    let mut probe = Probe::new(store, "dropped").await;
    for life in 0..10 {
        probe.submit(&[enqueue(low(2 * life), b"x"), enqueue(low(2 * life + 1), &[7; 50_000])]);
        probe.submit(&[assign(low(2 * life), 1 + life as u16, life)]);
        probe = if life % 2 == 0 { probe.reopen_at_once().await } else { probe.reopen().await };
        probe.submit(&[done(low(2 * life + 1))]);
        probe = probe.reopen_at_once().await;
    }
}

/// Closing waits for everything, also for logs that are open; those go on afterwards.
///
/// # Panics
/// When it does not.
pub async fn closing_waits_for_what_was_submitted(store: &dyn Store) {
    within("closing an unused store", store.close()).await;
    let mut probe = Probe::new(store, "closing").await;
    probe.submit(&[enqueue(low(0), b"x"), assign(low(0), 1, 1)]);
    within("closing the store", store.close()).await;
    probe.synced().await;
    probe.log.submit(&mut RecordBatch::new());
    probe.keep(&[received(1)]).await;
    within("closing the store", store.close()).await;
    within("closing it twice", store.close()).await;
    probe.submit(&[done(low(0))]);
    probe.reopen().await;
}
