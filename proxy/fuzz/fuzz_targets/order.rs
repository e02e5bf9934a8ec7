#![no_main]

#[path = "../../tests/properties/order.rs"]
mod order;
#[path = "../../tests/properties/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| order::check(bytes));
