#![no_main]

#[path = "../checks/http2_head.rs"]
mod http2_head;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    http2_head::check(data);
});
