#![no_main]

#[path = "../../tests/properties/answer.rs"]
mod answer;
#[path = "../../tests/properties/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| answer::check(bytes));
