//! What the fuzz target `proof` starts from, and texts around it, as ordinary tests.

use super::proof_checks::{check, check_answer};
use proptest::prelude::*;
use std::path::Path;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/proof");
    let files = std::fs::read_dir(folder).unwrap();
    let files: Vec<_> = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.len() >= 10);
    files
}

#[test]
fn proofs_and_answers_of_the_corpus_pass_their_checks() {
    for bytes in corpus() {
        check(&bytes);
        check_answer(&bytes);
    }
}

proptest! {
    #[test]
    fn a_changed_proof_or_answer_passes_them_too(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        is_cut in any::<bool>(),
    ) {
        let corpus = corpus();
        let mut bytes = corpus[which.index(corpus.len())].clone();
        let at = at.index(bytes.len());
        if is_cut { bytes.truncate(at) } else { bytes[at] = byte }
        check(&bytes);
        check_answer(&bytes);
    }
}
