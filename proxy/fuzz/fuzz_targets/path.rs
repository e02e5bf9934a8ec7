#![no_main]

#[path = "../../tests/properties/lenient.rs"]
mod lenient;
#[path = "../../tests/properties/path.rs"]
mod path;
#[path = "../../tests/properties/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| path::check(bytes));
