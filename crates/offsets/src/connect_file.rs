//! The file in which a standalone Connect worker keeps its source connectors' progress.
//!
//! Connect's `FileOffsetBackingStore` writes one `java.util.HashMap<byte[], byte[]>` with Java's object
//! serialization, and replaces the file whole at every flush. So the file is read and written whole
//! here too, and entries that are not ours go back as they came. Only what that class can write is read:
//!
//! ```text
//! AC ED 00 05                      magic, version
//! 73 HashMap-description           an object of class java.util.HashMap
//!   loadFactor threshold           its two fields
//!   77 08 buckets size             block data: two ints
//!   (key value) × size             each 70 (null), 75 (array of byte) or 71 (one seen before)
//! 78                               end
//! ```
//!
//! Descriptions and arrays are numbered in the order they appear, from `0x7E0000`, and referred to by
//! number from then on.
//!
//! Source: Java Object Serialization Specification, chapter 6; `java.util.HashMap.writeObject`.

use std::collections::HashMap;
use std::sync::Arc;

/// One entry: usually JSON in both, for Connect any bytes or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key. Shared where the file shares it.
    pub key: Option<Arc<[u8]>>,
    /// The value; Connect writes null for a source partition that was reset.
    pub value: Option<Arc<[u8]>>,
}

/// Why bytes are not such a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Nothing at all, as a worker leaves it that is killed while it writes.
    #[error("the file is empty")]
    Empty,
    /// It does not begin as Java's object serialization does.
    #[error("not a Java serialization stream")]
    NotJava,
    /// It ends early.
    #[error("the file ends in the middle, at byte {at}")]
    Truncated {
        /// Where more was expected.
        at: usize,
    },
    /// Something else than a map of byte arrays.
    #[error("not a map of byte arrays: expected {expected}, found {found} at byte {at}")]
    Unexpected {
        /// Where.
        at: usize,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The map is whole, and something follows it.
    #[error("{count} bytes follow the map")]
    Trailing {
        /// How many.
        count: usize,
    },
}

const MAGIC: [u8; 4] = [0xAC, 0xED, 0x00, 0x05];
const TC_NULL: u8 = 0x70;
const TC_REFERENCE: u8 = 0x71;
const TC_CLASSDESC: u8 = 0x72;
const TC_OBJECT: u8 = 0x73;
const TC_ARRAY: u8 = 0x75;
const TC_BLOCKDATA: u8 = 0x77;
const TC_ENDBLOCKDATA: u8 = 0x78;
const HANDLE_BASE: u32 = 0x007E_0000;

/// `java.util.HashMap`: serialVersionUID, flags (own write method, serializable), two fields, no
/// annotation, no serializable superclass. Every Java version since 1.4 writes exactly these bytes.
const HASH_MAP: &[u8] = b"\x72\x00\x11java.util.HashMap\x05\x07\xDA\xC1\xC3\x16\x60\xD1\x03\x00\x02\
    F\x00\x0AloadFactorI\x00\x09threshold\x78\x70";

/// `byte[]`: serialVersionUID, flags (serializable), no fields, no annotation, no superclass.
const BYTE_ARRAY: &[u8] = b"\x72\x00\x02[B\xAC\xF3\x17\xF8\x06\x08\x54\xE0\x02\x00\x00\x78\x70";

/// The entries of the file, in its order.
///
/// Memory is bounded by the length of `bytes`: an array that the file refers to several times is shared.
///
/// # Errors
/// [`FileError`] if `bytes` are not one whole serialized map of byte arrays.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>, FileError> {
    if bytes.is_empty() {
        return Err(FileError::Empty);
    }
    let present = bytes.len().min(MAGIC.len());
    if bytes[..present] != MAGIC[..present] {
        return Err(FileError::NotJava);
    }
    let mut reader = Reader { bytes, at: 0, handles: Vec::new() };
    reader.take(MAGIC.len())?;
    reader.expect(&[TC_OBJECT], "an object")?;
    reader.expect(HASH_MAP, "the description of java.util.HashMap")?;
    reader.handles.push(Handle::Other);
    reader.handles.push(Handle::Other);
    reader.take(4 + 4)?; // loadFactor and threshold: Java computes its own when it reads
    reader.expect(&[TC_BLOCKDATA, 8], "block data of 8 bytes")?;
    reader.take(4)?; // buckets
    let at = reader.at;
    let size = reader.int()?;
    let size = usize::try_from(size).map_err(|_| FileError::Unexpected {
        at,
        expected: "the number of entries",
        found: size.to_string(),
    })?;
    // An entry takes at least two bytes, so the count cannot make this allocate beyond the file's length.
    let mut entries = Vec::with_capacity(size.min((bytes.len() - reader.at) / 2));
    for _ in 0..size {
        entries.push(Entry { key: reader.array()?, value: reader.array()? });
    }
    reader.expect(&[TC_ENDBLOCKDATA], "the end of the map")?;
    match bytes.len() - reader.at {
        0 => Ok(entries),
        count => Err(FileError::Trailing { count }),
    }
}

/// The file with these entries, as Java writes a map that has grown to this size.
///
/// # Panics
/// If there are 2^31 entries, or one has 2^31 bytes: Java has no such map.
pub fn write(entries: &[Entry]) -> Vec<u8> {
    let java_int = |count: usize| i32::try_from(count).expect("Java's maps and arrays are shorter than 2^31");
    let buckets = entries.len().saturating_mul(4).div_ceil(3).next_power_of_two().max(16);
    let threshold = if entries.is_empty() { 0 } else { buckets / 4 * 3 };

    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.push(TC_OBJECT);
    out.extend_from_slice(HASH_MAP);
    out.extend_from_slice(&0.75f32.to_be_bytes());
    out.extend_from_slice(&java_int(threshold).to_be_bytes());
    out.extend_from_slice(&[TC_BLOCKDATA, 8]);
    out.extend_from_slice(&java_int(buckets).to_be_bytes());
    out.extend_from_slice(&java_int(entries.len()).to_be_bytes());

    let mut next_handle = HANDLE_BASE + 2;
    let mut class_handle = None;
    // By the array's place in memory, as Java does it: what is one array stays one.
    let mut written: HashMap<*const u8, u32> = HashMap::new();
    for array in entries.iter().flat_map(|entry| [&entry.key, &entry.value]) {
        let Some(array) = array else {
            out.push(TC_NULL);
            continue;
        };
        if let Some(handle) = written.get(&array.as_ptr()) {
            out.push(TC_REFERENCE);
            out.extend_from_slice(&handle.to_be_bytes());
            continue;
        }
        out.push(TC_ARRAY);
        match class_handle {
            Some(handle) => {
                out.push(TC_REFERENCE);
                out.extend_from_slice(&u32::to_be_bytes(handle));
            }
            None => {
                out.extend_from_slice(BYTE_ARRAY);
                class_handle = Some(next_handle);
                next_handle += 1;
            }
        }
        written.insert(array.as_ptr(), next_handle);
        next_handle += 1;
        out.extend_from_slice(&java_int(array.len()).to_be_bytes());
        out.extend_from_slice(array);
    }
    out.push(TC_ENDBLOCKDATA);
    out
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    handles: Vec<Handle>,
}

/// What the file has numbered.
enum Handle {
    /// The map or its description.
    Other,
    ByteArrayClass,
    Array(Arc<[u8]>),
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FileError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(FileError::Truncated { at: self.bytes.len() })?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, FileError> {
        Ok(self.take(1)?[0])
    }

    fn int(&mut self) -> Result<i32, FileError> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes(bytes.try_into().expect("four bytes were taken")))
    }

    fn expect(&mut self, expected: &[u8], what: &'static str) -> Result<(), FileError> {
        let at = self.at;
        let rest = &self.bytes[at..];
        let length = rest.len().min(expected.len());
        if rest[..length] != expected[..length] {
            return Err(FileError::Unexpected { at, expected: what, found: describe(rest) });
        }
        self.take(expected.len()).map(|_| ())
    }

    /// A byte array, an earlier one, or null.
    fn array(&mut self) -> Result<Option<Arc<[u8]>>, FileError> {
        let at = self.at;
        match self.byte()? {
            TC_NULL => Ok(None),
            TC_ARRAY => self.new_array().map(Some),
            TC_REFERENCE => match self.handle()? {
                Handle::Array(array) => Ok(Some(Arc::clone(array))),
                _ => Err(self.unexpected(at, "a byte array")),
            },
            _ => Err(self.unexpected(at, "a byte array or null")),
        }
    }

    fn new_array(&mut self) -> Result<Arc<[u8]>, FileError> {
        let at = self.at;
        if self.bytes.get(at) == Some(&TC_REFERENCE) {
            self.at += 1;
            if !matches!(self.handle()?, Handle::ByteArrayClass) {
                return Err(self.unexpected(at, "the class byte[]"));
            }
        } else {
            self.expect(BYTE_ARRAY, "the description of byte[]")?;
            self.handles.push(Handle::ByteArrayClass);
        }
        let at = self.at;
        let length = self.int()?;
        let length = usize::try_from(length).map_err(|_| FileError::Unexpected {
            at,
            expected: "the length of a byte array",
            found: length.to_string(),
        })?;
        let array: Arc<[u8]> = Arc::from(self.take(length)?);
        self.handles.push(Handle::Array(Arc::clone(&array)));
        Ok(array)
    }

    fn handle(&mut self) -> Result<&Handle, FileError> {
        let at = self.at;
        let number = self.int()?.cast_unsigned();
        let index = number.checked_sub(HANDLE_BASE).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.handles.get(index)).ok_or_else(|| FileError::Unexpected {
            at,
            expected: "the number of something seen before",
            found: format!("{number:#x}"),
        })
    }

    fn unexpected(&self, at: usize, expected: &'static str) -> FileError {
        FileError::Unexpected { at, expected, found: describe(&self.bytes[at..]) }
    }
}

/// What a person would call the thing that begins here: its class where there is one.
fn describe(bytes: &[u8]) -> String {
    let description = match bytes {
        [TC_CLASSDESC, rest @ ..] | [TC_OBJECT | TC_ARRAY, TC_CLASSDESC, rest @ ..] => rest,
        [TC_NULL, ..] => return String::from("null"),
        [TC_REFERENCE, ..] => return String::from("a reference to something else"),
        [0x74, ..] => return String::from("a string"),
        [other, ..] => return format!("byte {other:#04x}"),
        [] => return String::from("the end"),
    };
    let name = description
        .split_at_checked(2)
        .and_then(|(length, rest)| rest.get(..usize::from(u16::from_be_bytes([length[0], length[1]]))));
    match name {
        Some(name) if name.len() <= 200 => {
            format!("class `{}`", String::from_utf8_lossy(name).escape_debug())
        }
        _ => String::from("some class"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(key: &str, value: Option<&str>) -> Entry {
        Entry { key: Some(Arc::from(key.as_bytes())), value: value.map(|value| Arc::from(value.as_bytes())) }
    }

    /// `tests/golden/README.md` says how these files were made.
    fn golden(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn what_java_wrote_is_read_and_written_again_byte_for_byte() {
        let cases: [(&str, Vec<Entry>); 4] = [
            ("empty.bin", vec![]),
            (
                "one.bin",
                vec![entry(
                    r#"["replicator-source",{"topic":"test-topic","partition":0}]"#,
                    Some(r#"{"offset":9999}"#),
                )],
            ),
            ("nulls.bin", {
                vec![Entry { key: None, value: Some(Arc::from(&b""[..])) }, entry("reset", None)]
            }),
            ("shared.bin", {
                let both: Arc<[u8]> = Arc::from(&b"both"[..]);
                vec![Entry { key: Some(Arc::clone(&both)), value: Some(both) }]
            }),
        ];
        for (name, mut expected) in cases {
            let bytes = golden(name);
            let entries = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut sorted = entries.clone();
            sorted.sort_by(|a, b| a.key.cmp(&b.key));
            expected.sort_by(|a, b| a.key.cmp(&b.key));
            assert_eq!(sorted, expected, "{name}");
            assert_eq!(write(&entries), bytes, "{name}");
        }
    }

    #[test]
    fn a_map_that_has_grown_is_written_as_java_writes_it() {
        for (name, size, longest) in [("thirteen.bin", 13, 7), ("long.bin", 1, 70_000)] {
            let bytes = golden(name);
            let entries = read(&bytes).unwrap();
            assert_eq!(entries.len(), size, "{name}");
            let lengths = entries.iter().filter_map(|entry| entry.value.as_ref()).map(|value| value.len());
            assert_eq!(lengths.max(), Some(longest), "{name}");
            assert_eq!(write(&entries), bytes, "{name}");
        }
    }

    #[test]
    fn a_file_that_ends_early_is_not_taken_for_a_shorter_one() {
        let bytes = golden("thirteen.bin");
        assert_eq!(read(&[]), Err(FileError::Empty));
        for length in 1..bytes.len() {
            assert_eq!(read(&bytes[..length]), Err(FileError::Truncated { at: length }), "{length}");
        }
        let mut longer = bytes;
        longer.extend_from_slice(b"xx");
        assert_eq!(read(&longer), Err(FileError::Trailing { count: 2 }));
    }

    #[test]
    fn other_content_is_named() {
        let cases = [
            (b"name=replicator\n".to_vec(), "not a Java serialization stream"),
            (
                golden("tree_map.bin"),
                "expected the description of java.util.HashMap, found class `java.util.TreeMap` at byte 5",
            ),
            (golden("strings.bin"), "expected a byte array or null, found a string at byte 81"),
        ];
        for (bytes, expected) in cases {
            let message = read(&bytes).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_huge_length_asks_for_no_memory() {
        let one = golden("one.bin");
        let size_at = MAGIC.len() + 1 + HASH_MAP.len() + 8 + 2 + 4;
        for lie in [i32::MAX, -1, i32::MIN] {
            let mut bytes = one.clone();
            bytes[size_at..size_at + 4].copy_from_slice(&lie.to_be_bytes());
            read(&bytes).unwrap_err();
            let mut bytes = one.clone();
            let length_at = size_at + 4 + 1 + BYTE_ARRAY.len();
            bytes[length_at..length_at + 4].copy_from_slice(&lie.to_be_bytes());
            read(&bytes).unwrap_err();
        }
    }

    fn any_array() -> impl Strategy<Value = Option<Arc<[u8]>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40).prop_map(Arc::from))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(arrays in proptest::collection::vec((any_array(), any_array()), 0..60)) {
            let entries: Vec<Entry> = arrays.into_iter().map(|(key, value)| Entry { key, value }).collect();
            prop_assert_eq!(read(&write(&entries)).unwrap(), entries);
        }

        #[test]
        fn damaged_files_never_panic(at in 0usize..1000, to in any::<u8>(), cut in 0usize..2000) {
            let mut bytes = golden("thirteen.bin");
            let at = at % bytes.len();
            bytes[at] = to;
            bytes.truncate(bytes.len().saturating_sub(cut / 4));
            let _ = read(&bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&tail);
            let mut bytes = golden("empty.bin");
            bytes.pop();
            let size_at = bytes.len() - 4;
            bytes[size_at..].copy_from_slice(&3i32.to_be_bytes());
            bytes.extend_from_slice(&tail);
            let _ = read(&bytes);
        }
    }
}
