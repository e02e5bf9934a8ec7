#![no_main]

#[path = "../../tests/properties/role.rs"]
mod role;
#[path = "../../tests/properties/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| role::check(bytes));
