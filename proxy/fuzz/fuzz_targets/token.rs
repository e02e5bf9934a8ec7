#![no_main]

#[path = "../../tests/properties/token.rs"]
mod token;
#[path = "../../tests/properties/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| token::check(bytes));
