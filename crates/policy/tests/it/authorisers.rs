//! What the fuzz target `authoriser` starts from, and bytes around it, as ordinary tests.

use super::authoriser_checks::check;
use policy::kinds::ext_authz::says_yes;
use proptest::prelude::*;
use std::path::Path;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/authoriser");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    assert!(files.len() >= 10);
    files
}

/// A file's name begins with what is said.
#[test]
fn answers_of_the_corpus_say_what_their_names_say() {
    check(b"");
    for (name, bytes) in corpus() {
        check(&bytes);
        let said = match says_yes(&bytes) {
            Ok(true) => "yes",
            Ok(false) => "no",
            Err(_) => "nothing",
        };
        assert_eq!(name.split('_').next(), Some(said), "{name}");
    }
}

proptest! {
    #[test]
    fn a_changed_answer_passes_the_checks_too(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        is_cut in any::<bool>(),
    ) {
        let corpus = corpus();
        let mut bytes = corpus[which.index(corpus.len())].1.clone();
        let at = at.index(bytes.len());
        if is_cut { bytes.truncate(at) } else { bytes[at] = byte }
        check(&bytes);
        if let Some(length) = u32::try_from(bytes.len().saturating_sub(5)).ok().filter(|_| bytes.len() >= 5) {
            // Also with a prefix that fits, so that the message is looked at.
            bytes[..5].copy_from_slice(&[[0].as_slice(), &length.to_be_bytes()].concat());
            check(&bytes);
        }
    }
}
