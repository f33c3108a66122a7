#![no_main]

#[path = "../checks/heads.rs"]
mod heads;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    heads::response(data);
});
