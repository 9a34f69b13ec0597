//! Keytabs: files of keys that stand in for a principal's password.
//!
//! Read here and not by the library, whose reader takes a file on trust; and because it says which principals a file is for
//! where the one that is wanted is not among them.
//!
//! Source: MIT Kerberos, "Keytab file format", version 2.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use krb5::acceptor::EncType;
use krb5::{Keytab, Principal, ServiceKey};

/// A larger file is no keytab.
const FILE_BYTES_MAX: u64 = 1 << 20;
const VERSION_2: [u8; 2] = [5, 2];
/// Removed entries leave holes, and whoever writes keeps adding.
const NAMES_TOLD_MAX: usize = 5;

/// One key. It does not print.
struct Entry {
    /// Without the realm, its parts joined by `/`.
    name: String,
    realm: String,
    version: u32,
    /// The number of the encryption type (RFC 3961).
    kind: u16,
    key: Vec<u8>,
}

/// The keys of `principal` in the file at `path`.
///
/// # Errors
/// In words: the file cannot be read, is no keytab, or has no key of that principal that can be used.
pub(super) fn load(path: &Path, principal: &Principal) -> Result<Keytab, String> {
    let shown = path.display();
    let fault = |error: std::io::Error| format!("the keytab {shown} cannot be read: {error}");
    let metadata = fs::metadata(path).map_err(fault)?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(format!("{shown} is no file, or too large to be a keytab"));
    }
    let bytes = fs::read(path).map_err(fault)?;
    let entries = parse(&bytes).map_err(|what| format!("{shown} is no keytab that can be read: {what}"))?;
    keys_of(principal, entries).map_err(|what| format!("the keytab {shown} {what}"))
}

/// The keys of `principal` among all, or what the file holds instead.
fn keys_of(principal: &Principal, entries: Vec<Entry>) -> Result<Keytab, String> {
    let (own, others): (Vec<Entry>, Vec<Entry>) = entries
        .into_iter()
        .partition(|entry| entry.name == principal.name() && entry.realm == principal.realm);
    if own.is_empty() {
        let names: BTreeSet<String> =
            others.iter().map(|entry| format!("`{}@{}`", entry.name, entry.realm)).collect();
        let mut told: Vec<String> = names.iter().take(NAMES_TOLD_MAX).cloned().collect();
        if names.len() > NAMES_TOLD_MAX {
            told.push(format!("{} others", names.len() - NAMES_TOLD_MAX));
        }
        let told = if told.is_empty() { "nobody".to_owned() } else { told.join(", ") };
        return Err(format!(
            "has no key of `{principal}`, only of {told}: check `principal`, or export its key into the file"
        ));
    }
    let usable = own.into_iter().filter_map(|entry| {
        let kind = EncType::from_i32(i32::from(entry.kind))?;
        Some(ServiceKey::new(entry.name, entry.realm, entry.version, kind, entry.key))
    });
    let keys: Vec<ServiceKey> = usable.collect();
    if keys.is_empty() {
        return Err(format!(
            "has keys of `{principal}`, none of them for AES, and older encryption (RC4, DES) is not spoken: export them \
             anew, with an AES type"
        ));
    }
    Ok(Keytab::from_keys(keys))
}

/// All entries of a file, in its order.
fn parse(bytes: &[u8]) -> Result<Vec<Entry>, &'static str> {
    let Some(mut rest) = bytes.strip_prefix(&VERSION_2) else {
        return Err("it does not begin with 05 02, as version 2 does");
    };
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let length = take_u32(&mut rest).ok_or("it ends in the middle of a length")?.cast_signed();
        let record =
            take(&mut rest, length.unsigned_abs() as usize).ok_or("it ends in the middle of an entry")?;
        match length {
            // What was removed leaves a hole.
            ..0 => {}
            // Padding to the end of the file.
            0 => break,
            _ => entries.push(parse_entry(record).ok_or("an entry is shorter than what it holds")?),
        }
    }
    Ok(entries)
}

fn parse_entry(mut rest: &[u8]) -> Option<Entry> {
    let rest = &mut rest;
    let parts = take_u16(rest)?;
    let realm = take_text(rest)?;
    let names: Option<Vec<String>> = (0..parts).map(|_| take_text(rest)).collect();
    let (_name_type, _written_at) = (take_u32(rest)?, take_u32(rest)?);
    let [short_version] = *take(rest, 1)? else { return None };
    let kind = take_u16(rest)?;
    let key_bytes = take_u16(rest)?;
    let key = take(rest, usize::from(key_bytes))?.to_vec();
    // Versions beyond a byte stand behind the key; zero there says nothing.
    let version = take_u32(rest).filter(|version| *version != 0).unwrap_or(u32::from(short_version));
    Some(Entry { name: names?.join("/"), realm, version, kind, key })
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = take_u16(rest)?;
    take(rest, usize::from(length)).map(|text| String::from_utf8_lossy(text).into_owned())
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    rest.split_off(..count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the library writes it, which is as MIT does; the kernel of truth is the test with a real KDC.
    fn file(keys: &[(&str, u32, EncType)]) -> Vec<u8> {
        let keys = keys.iter().map(|(name, version, kind)| {
            let key = if matches!(kind, EncType::AES256CtsHmacSha196) { vec![7; 32] } else { vec![7; 16] };
            ServiceKey::new(*name, "R", *version, *kind, key)
        });
        Keytab::from_keys(keys.collect()).to_bytes()
    }

    fn ann() -> Principal {
        Principal::parse("ann/desk@R").unwrap()
    }

    fn told(bytes: &[u8]) -> String {
        keys_of(&ann(), parse(bytes).unwrap()).map(|_| ()).unwrap_err()
    }

    #[test]
    fn the_keys_of_one_principal_are_taken_with_their_versions() {
        let aes = EncType::AES256CtsHmacSha196;
        let bytes =
            file(&[("bob", 1, aes), ("ann/desk", 3, aes), ("ann/desk", 1000, EncType::AES128CtsHmacSha196)]);
        let keytab = keys_of(&ann(), parse(&bytes).unwrap()).unwrap();
        let found: Vec<(u32, i32)> =
            keytab.keys().iter().map(|key| (key.kvno, key.enctype.etype())).collect();
        assert_eq!(found, [(3, 18), (1000, 17)]);
    }

    #[test]
    fn removed_entries_and_padding_are_passed_over() {
        let whole = file(&[("ann/desk", 2, EncType::AES128CtsHmacSha196)]);
        let hole = [&VERSION_2[..], &(-3i32).to_be_bytes(), &[9, 9, 9], &whole[2..], &[0; 8]].concat();
        assert_eq!(keys_of(&ann(), parse(&hole).unwrap()).unwrap().keys().len(), 1);
    }

    #[test]
    fn what_a_keytab_lacks_is_told_and_its_keys_are_not() {
        let aes = EncType::AES128CtsHmacSha196;
        let others = told(&file(&[("bob", 1, aes), ("bob", 2, aes), ("carol", 1, aes)]));
        assert!(others.starts_with("has no key of `ann/desk@R`, only of `bob@R`, `carol@R`: "), "{others}");
        assert!(told(&VERSION_2).starts_with("has no key of `ann/desk@R`, only of nobody: "));
        let many: Vec<String> = (0..9).map(|index| format!("user{index}")).collect();
        let many: Vec<(&str, u32, EncType)> = many.iter().map(|name| (name.as_str(), 1, aes)).collect();
        assert!(told(&file(&many)).contains("`user4@R`, 4 others: "));
        let mut old = file(&[("ann/desk", 1, aes)]);
        // The encryption type stands 20 bytes before the end: a 16-byte key with its length, and a long version.
        let at = old.len() - 4 - 16 - 4;
        assert_eq!(old[at..at + 2], 17u16.to_be_bytes());
        old[at..at + 2].copy_from_slice(&23u16.to_be_bytes());
        assert!(told(&old).starts_with("has keys of `ann/desk@R`, none of them for AES"));
    }

    #[test]
    fn what_is_no_keytab_is_told_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.keytab");
        let told = |path: &Path| load(path, &ann()).map(|_| ()).unwrap_err();
        assert!(told(&path).starts_with(&format!("the keytab {} cannot be read: ", path.display())));
        assert!(told(folder.path()).contains("is no file"));
        fs::write(&path, "password").unwrap();
        assert!(told(&path).contains("does not begin with 05 02"));
        let whole = file(&[("ann/desk", 1, EncType::AES128CtsHmacSha196)]);
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(told(&path).contains("it ends in the middle of an entry"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>, entry: Vec<u8>) {
            let _ = parse(&bytes).map(|entries| keys_of(&ann(), entries));
            let length = u32::try_from(entry.len()).unwrap();
            let _ = parse(&[&VERSION_2[..], &length.to_be_bytes(), &entry].concat());
        }
    }
}
