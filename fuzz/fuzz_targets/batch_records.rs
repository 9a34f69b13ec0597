#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::batch::records_check(data));
