#![no_main]

#[path = "../checks/client_cert.rs"]
mod client_cert;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    client_cert::check(data);
    client_cert::check_headers(data);
});
