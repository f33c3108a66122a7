//! The checks of a fuzz target, on the inputs that it is kept with.

use crate::it::http2_checks::check;
use std::path::Path;

#[test]
fn a_request_of_http_2_becomes_the_request_of_http_1_that_was_meant() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/http2_head");
    let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(inputs.len() > 20);
    for input in inputs {
        check(&std::fs::read(input.path()).unwrap());
    }
}
