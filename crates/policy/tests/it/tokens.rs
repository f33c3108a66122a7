//! What the fuzz target `token` starts from, and texts around it, as ordinary tests.

use super::token_checks::{check, check_keys};
use proptest::prelude::*;
use std::path::Path;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/token");
    let files = std::fs::read_dir(folder).unwrap();
    let files: Vec<_> = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.len() >= 10);
    files
}

#[test]
fn tokens_and_keys_of_the_corpus_pass_their_checks() {
    for bytes in corpus() {
        check(&bytes);
        check_keys(&bytes);
    }
}

proptest! {
    #[test]
    fn a_changed_token_or_set_of_keys_passes_them_too(
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
        check_keys(&bytes);
    }
}
