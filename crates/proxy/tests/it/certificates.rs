//! What the fuzz target `client_cert` starts from, and bytes around it, as ordinary tests.

use crate::it::certificate_checks::{check, check_headers};
use proptest::prelude::*;
use std::path::Path;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/client_cert");
    let files = std::fs::read_dir(folder).unwrap();
    let files: Vec<_> = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.len() >= 6);
    files
}

#[test]
fn certificates_of_the_corpus_pass_their_checks() {
    let mut read = 0;
    for bytes in corpus() {
        check(&bytes);
        check_headers(&bytes);
        read += usize::from(proxy::client_certificate::read_der(&bytes).is_some());
    }
    assert!(read >= 2, "no certificate of the corpus is one");
}

proptest! {
    #[test]
    fn a_changed_certificate_passes_them_too(
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
        check_headers(&bytes);
    }
}
