#![no_main]

#[path = "../checks/proof.rs"]
mod proof;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    proof::check(data);
    proof::check_answer(data);
});
