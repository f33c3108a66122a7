#![no_main]

#[path = "../checks/differential.rs"]
mod differential;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    differential::check(data);
});
