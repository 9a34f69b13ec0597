//! Whatever the bytes, nothing panics and the claims of `fuzz/src/batch.rs` hold: for noise, and for real
//! batches with a few bytes changed, which get further in.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "../../../fuzz/src/batch.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets reach it")]
mod claims;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn captures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A real reply with some bytes changed, and cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), prop_oneof![any::<u8>(), select(vec![0, 1, 0x7f, 0x80, 0xff])]);
    (select(captures()), vec(change, 0..6), any::<Index>(), any::<bool>()).prop_map(
        |(mut bytes, changes, cut, is_cut)| {
            for (at, byte) in changes {
                // Half of the changes go into the first header, where most of the decisions are.
                let range = if byte & 1 == 0 { bytes.len() } else { bytes.len().min(90) };
                bytes[at.index(range)] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let noise = vec(any::<u8>(), 0..400).prop_map(|mut bytes| {
        // A magic byte that is known, or hardly any noise gets past it.
        if let Some(magic) = bytes.get_mut(16) {
            *magic %= 3;
        }
        bytes
    });
    prop_oneof![1 => noise, 4 => damaged()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn splitting_anything_gives_whole_entries(data in anything()) {
        claims::split_check(&data);
    }

    #[test]
    fn walking_anything_ends(data in anything()) {
        claims::records_check(&data);
        claims::records_check(&claims::with_right_checksums(&data));
    }

    #[test]
    fn patching_anything_keeps_a_right_checksum_right_and_a_wrong_one_wrong(data in anything()) {
        claims::patch_check(&data);
        claims::patch_check(&claims::with_right_checksums(&data));
    }

    #[test]
    fn transcoding_anything_loses_nothing(data in anything()) {
        claims::transcode_check(&data);
    }
}
