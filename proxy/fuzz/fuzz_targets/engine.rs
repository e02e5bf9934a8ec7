#![no_main]

#[path = "../../tests/properties/engine.rs"]
mod engine;
#[path = "../../tests/properties/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::check(bytes));
