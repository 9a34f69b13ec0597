//! The ACLs that a flow has created, as they are written down: an entry for each resource pattern of the destination.
//!
//! ```text
//! ["replicator-source",{"paralog":"acls","resource":"topic","pattern":"literal","name":"copy.orders"}]
//!     {"paralog":1,"entries":"[[\"User:ann\",\"*\",\"READ\",\"ALLOW\"]]"}
//! ```
//!
//! The list is text, since Connect takes no nested values. An operation without a name is its number. Where nothing is
//! left of a pattern, its entry is gone: an earlier program, which knows no such entries, leaves them as they are.

use std::collections::BTreeSet;

use model::{AccessControlEntry, AclOperation, AclPermission, PatternType, ResourcePattern, ResourceType};
use serde_json::{Map, Value, json};

/// The version of the value.
const VERSION: u64 = 1;

/// The second part of the key of these ACLs.
pub(crate) fn key(pattern: &ResourcePattern) -> Value {
    json!({
        "paralog": "acls",
        "resource": pattern.resource_type.word(),
        "pattern": pattern.pattern_type.word(),
        "name": pattern.name,
    })
}

/// The resources that a key is about, if it is such a key.
pub(crate) fn read_key(members: &Map<String, Value>) -> Option<ResourcePattern> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if members.len() != 4 || text("paralog") != Some("acls") {
        return None;
    }
    let resource_types = [ResourceType::Topic, ResourceType::Group];
    let pattern_types = [PatternType::Literal, PatternType::Prefixed];
    Some(ResourcePattern {
        resource_type: resource_types.into_iter().find(|it| text("resource") == Some(it.word()))?,
        pattern_type: pattern_types.into_iter().find(|it| text("pattern") == Some(it.word()))?,
        name: text("name")?.to_owned(),
    })
}

pub(crate) fn write(entries: &BTreeSet<AccessControlEntry>) -> Value {
    let entry = |AccessControlEntry { principal, host, operation, permission }: &AccessControlEntry| {
        let operation = operation.name().map_or_else(|| Value::from(operation.0), Value::from);
        json!([principal, host, operation, permission.word()])
    };
    let entries = Value::from(entries.iter().map(entry).collect::<Vec<_>>());
    json!({ "paralog": VERSION, "entries": entries.to_string() })
}

/// How many bytes these entries of one pattern take where they are written down.
pub fn acls_bytes(entries: &BTreeSet<AccessControlEntry>) -> usize {
    write(entries).to_string().len()
}

/// What [`write`] has written.
pub(crate) fn read(value: &[u8]) -> Result<BTreeSet<AccessControlEntry>, String> {
    let members: Map<String, Value> = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    match members.get("paralog").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(format!(
                "version {version} was written by a newer paralog, this one reads {VERSION}"
            ));
        }
        None => return Err(String::from("member `paralog` is not a version number")),
    }
    let list = members.get("entries").and_then(Value::as_str).unwrap_or_default();
    let list: Vec<Value> =
        serde_json::from_str(list).map_err(|error| format!("member `entries`: {error}"))?;
    let read = |entry: &Value| {
        read_entry(entry).ok_or_else(|| format!("member `entries` holds {entry}, which is no ACL's entry"))
    };
    list.iter().map(read).collect()
}

fn read_entry(entry: &Value) -> Option<AccessControlEntry> {
    let [Value::String(principal), Value::String(host), operation, permission] = &entry.as_array()?[..]
    else {
        return None;
    };
    let operation = match operation {
        Value::String(name) => AclOperation::named(name)?,
        number => AclOperation(i8::try_from(number.as_i64()?).ok()?),
    };
    let permissions = [AclPermission::Deny, AclPermission::Allow];
    let permission = permissions.into_iter().find(|it| permission.as_str() == Some(it.word()))?;
    Some(AccessControlEntry { principal: principal.clone(), host: host.clone(), operation, permission })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_entry() -> impl Strategy<Value = AccessControlEntry> {
        (any::<String>(), any::<String>(), any::<i8>(), any::<bool>()).prop_map(
            |(principal, host, operation, is_deny)| AccessControlEntry {
                principal,
                host,
                operation: AclOperation(operation),
                permission: if is_deny { AclPermission::Deny } else { AclPermission::Allow },
            },
        )
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for (value, expected) in [
            ("[]", "invalid type"),
            ("{}", "not a version number"),
            (r#"{"paralog":2,"entries":"[]"}"#, "version 2 was written by a newer paralog"),
            (r#"{"paralog":1}"#, "member `entries`: EOF"),
            (r#"{"paralog":1,"entries":"[[]]"}"#, "member `entries` holds [], which is no ACL's entry"),
            (r#"{"paralog":1,"entries":"[[\"a\",\"*\",\"EAT\",\"ALLOW\"]]"}"#, "no ACL's entry"),
            (r#"{"paralog":1,"entries":"[[\"a\",\"*\",300,\"ALLOW\"]]"}"#, "no ACL's entry"),
            (r#"{"paralog":1,"entries":"[[\"a\",\"*\",3,\"ANY\"]]"}"#, "no ACL's entry"),
        ] {
            let problem = read(value.as_bytes()).unwrap_err();
            assert!(problem.contains(expected), "{value}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn entries_are_read_as_they_were_written(
            entries in proptest::collection::btree_set(any_entry(), 0..5), name: String, is_group: bool, is_prefix: bool,
        ) {
            prop_assert_eq!(read(write(&entries).to_string().as_bytes()), Ok(entries));
            let resource_type = if is_group { ResourceType::Group } else { ResourceType::Topic };
            let pattern_type = if is_prefix { PatternType::Prefixed } else { PatternType::Literal };
            let pattern = ResourcePattern { resource_type, pattern_type, name };
            let key = key(&pattern);
            prop_assert_eq!(read_key(key.as_object().unwrap()), Some(pattern));
        }

        #[test]
        fn anything_is_read_or_refused(value: Vec<u8>, list: String) {
            let _ = read(&value);
            let _ = read(json!({ "paralog": 1, "entries": list }).to_string().as_bytes());
        }
    }
}
