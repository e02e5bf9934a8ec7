#![no_main]

#[path = "../../tests/properties/revocations.rs"]
mod revocations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| revocations::check(bytes));
