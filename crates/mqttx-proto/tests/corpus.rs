//! Replays what the fuzzer starts from, and what it once found.

#[path = "support/exercise.rs"]
mod exercise;

use std::fs;
use std::path::Path;

#[test]
fn the_decoder_withstands_its_fuzz_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let data = fs::read(entry.expect("readable").path()).expect("readable");
        exercise::exercise(&data);
        replayed += 1;
    }
    assert!(replayed >= 25, "only {replayed} files in {}", folder.display());
}
