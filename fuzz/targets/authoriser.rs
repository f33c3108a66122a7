#![no_main]

#[path = "../checks/authoriser.rs"]
mod authoriser;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    authoriser::check(data);
});
