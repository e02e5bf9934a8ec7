#![no_main]

#[path = "../../tests/properties/config.rs"]
mod config;
#[path = "../../tests/properties/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config::check(bytes));
