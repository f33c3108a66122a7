#![no_main]

#[path = "../checks/chunks.rs"]
mod chunks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    chunks::check(data);
});
