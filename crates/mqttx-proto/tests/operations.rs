//! Random and recorded sequences of calls against the session.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

#[path = "support/operations.rs"]
mod operations;
#[path = "support/restored.rs"]
mod restored;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

#[test]
fn the_session_withstands_its_fuzz_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/operations");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let data = fs::read(entry.expect("readable").path()).expect("readable");
        operations::operate(&data);
        replayed += 1;
    }
    assert!(replayed >= 4, "only {replayed} files in {}", folder.display());
}

#[test]
fn a_restored_session_withstands_its_fuzz_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/records");
    let files = fs::read_dir(&folder).expect("the corpus is part of the repository");
    let all: Vec<_> = files.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(all.len() >= 3, "only {} files in {}", all.len(), folder.display());
    all.iter().for_each(|data| restored::live_with(data));
}

/// A call with an argument; most bytes from the peer are packets that an honest server might send.
fn call() -> impl Strategy<Value = Vec<u8>> {
    let packet = prop_oneof![
        (4..8_u8, 0..6_u8)
            .prop_map(|(kind, id)| { vec![if kind == 6 { 0x62 } else { kind << 4 }, 2, 0, id] }),
        (0..3_u8, 1..5_u8).prop_map(|(qos, id)| match qos {
            0 => vec![0x30, 4, 0, 1, b't', 0],
            qos => vec![0x30 | qos << 1, 6, 0, 1, b't', 0, id, 0],
        }),
        Just(vec![0xd0, 0]),
        (1..6_u8, 0..3_u8).prop_map(|(id, code)| vec![0x90, 4, 0, id, 0, code]),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    prop_oneof![
        3 => packet.prop_map(|bytes| [vec![2, bytes.len() as u8], bytes].concat()),
        2 => (Just(4_u8), 0..4_u8).prop_map(|(code, n)| vec![code, n]),
        2 => (Just(0_u8), 0..2_u8).prop_map(|(code, n)| vec![code, n]),
        9 => (5..16_u8, any::<u8>()).prop_map(|(code, n)| vec![code, n]),
    ]
}

/// The same sequences at every run; others, and more, with `PROPTEST_RNG_SEED` and `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        cases: given.cases.max(3_000),
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_records_of_a_store_can_be_lived_with(
        data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        restored::live_with(&data);
    }

    #[test]
    fn any_sequence_of_calls_keeps_the_bounds(
        setting: u8,
        calls in proptest::collection::vec(call(), 0..120),
    ) {
        operations::operate(&[vec![setting], calls.concat()].concat());
    }
}
