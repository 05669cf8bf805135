//! The suite that every store passes: the [contract](super) as claims that can fail.
//!
//! Behind the feature `contract`, for stores of your own. [`verify`] runs everything; each claim is a function of its own, so
//! that a test can name the one that failed. A claim panics where the store departs from the contract. They need a tokio
//! runtime with its timers on.
//!
//! ```
//! use mqttx::MemoryStore;
//! use mqttx::store::contract;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! contract::verify(async || MemoryStore::new()).await;
//! # });
//! ```
//!
//! The model is [`FoldedState`](super::FoldedState): what a store gives back must be what it makes of the same records.

mod fetch;
mod ownership;
mod probe;
mod progress;
mod random;
mod records;
mod sessions;
mod state;

use super::Store;

pub use fetch::{
    a_fetch_gives_queued_messages_in_order, a_fetch_honours_its_limits,
    a_fetch_past_the_end_is_empty, a_fetch_sees_what_was_submitted_before_it,
    requeued_messages_are_fetched_again,
};
pub use ownership::{
    a_second_owner_fences_the_first, a_second_owner_starts_where_the_first_was,
    closing_waits_for_what_was_submitted, dropped_logs_have_handed_everything_over,
};
pub use progress::{
    finished_becomes_written_with_nothing_behind_it, positions_never_fall_and_reach_the_last,
    the_last_waker_is_woken,
};
pub use random::random_records_come_back_as_the_model_has_them;
pub use sessions::{many_sessions_share_a_store, odd_session_names_are_kept_apart};
pub use state::{
    assignments_come_back_in_their_order, epochs_void_received_ids_and_grants,
    filters_come_back_with_everything_in_order, finished_messages_are_gone,
    messages_come_back_whole, numbers_are_not_used_again, priorities_are_kept_apart,
    received_ids_come_back, records_come_back_in_order, released_and_requeued_messages_stay_so,
};

/// Runs every claim, each on an empty store from `make`. Stores that share one place (a server) are fine too: the claims use
/// session names of their own, which must be new there.
///
/// # Panics
/// Where the store departs from the contract.
pub async fn verify<S: Store>(mut make: impl AsyncFnMut() -> S) {
    records_come_back_in_order(&make().await).await;
    messages_come_back_whole(&make().await).await;
    finished_messages_are_gone(&make().await).await;
    assignments_come_back_in_their_order(&make().await).await;
    released_and_requeued_messages_stay_so(&make().await).await;
    received_ids_come_back(&make().await).await;
    epochs_void_received_ids_and_grants(&make().await).await;
    filters_come_back_with_everything_in_order(&make().await).await;
    priorities_are_kept_apart(&make().await).await;
    numbers_are_not_used_again(&make().await).await;
    positions_never_fall_and_reach_the_last(&make().await).await;
    finished_becomes_written_with_nothing_behind_it(&make().await).await;
    the_last_waker_is_woken(&make().await).await;
    a_second_owner_fences_the_first(&make().await).await;
    a_second_owner_starts_where_the_first_was(&make().await).await;
    dropped_logs_have_handed_everything_over(&make().await).await;
    closing_waits_for_what_was_submitted(&make().await).await;
    odd_session_names_are_kept_apart(&make().await).await;
    many_sessions_share_a_store(&make().await, 100).await;
    a_fetch_gives_queued_messages_in_order(&make().await).await;
    a_fetch_sees_what_was_submitted_before_it(&make().await).await;
    a_fetch_honours_its_limits(&make().await).await;
    requeued_messages_are_fetched_again(&make().await).await;
    a_fetch_past_the_end_is_empty(&make().await).await;
    for seed in 1..=4 {
        random_records_come_back_as_the_model_has_them(&make().await, seed, 400).await;
    }
}

#[cfg(test)]
mod tests;
