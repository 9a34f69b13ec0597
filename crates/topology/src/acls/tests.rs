//! What is granted, revoked and left out, case by case, and what holds whatever the ACLs are.

use proptest::prelude::*;

use super::*;

/// `ALLOW User:ann READ topic t` and the like: a name that ends in `^` is a prefix; a last word is a host.
fn acl(text: &str) -> Acl {
    let words: Vec<&str> = text.split(' ').collect();
    let [permission, principal, operation, resource_type, name, rest @ ..] = &words[..] else {
        panic!("{text}")
    };
    let resource_type = match *resource_type {
        "topic" => ResourceType::Topic,
        "group" => ResourceType::Group,
        other => panic!("{other}"),
    };
    let resource = match name.strip_suffix('^') {
        Some(prefix) => ResourcePattern::prefixed(resource_type, prefix),
        None => ResourcePattern::literal(resource_type, *name),
    };
    let entry = AccessControlEntry {
        principal: (*principal).to_owned(),
        host: rest.first().copied().unwrap_or("*").to_owned(),
        operation: operation.parse().map_or_else(|_| AclOperation::named(operation).unwrap(), AclOperation),
        permission: if *permission == "DENY" { AclPermission::Deny } else { AclPermission::Allow },
    };
    Acl { resource, entry }
}

fn text(acl: &Acl) -> String {
    let Acl { resource, entry } = acl;
    let sign = if resource.pattern_type == PatternType::Prefixed { "^" } else { "" };
    let host = if entry.host == "*" { String::new() } else { format!(" {}", entry.host) };
    let (permission, resource_type) = (entry.permission.word(), resource.resource_type.word());
    let (principal, operation, name) = (&entry.principal, entry.operation, &resource.name);
    format!("{permission} {principal} {operation} {resource_type} {name}{sign}{host}")
}

fn by_resource(acls: &BTreeSet<Acl>) -> Acls {
    let mut all = Acls::new();
    for Acl { resource, entry } in acls.clone() {
        all.entry(resource).or_default().insert(entry);
    }
    all
}

/// Both clusters, where `orders`, `orders.eu` and `bills` are copied.
#[derive(Debug)]
struct Desk {
    rules: AclRules,
    naming: Naming,
    source: BTreeSet<Acl>,
    copies_at_source: BTreeSet<Acl>,
    destination: BTreeSet<Acl>,
    granted: BTreeSet<Acl>,
    copied: Vec<&'static str>,
}

impl Desk {
    fn new(format: &str, source: &[&str]) -> Desk {
        Desk {
            rules: AclRules::default(),
            naming: Naming::new(format).unwrap(),
            source: source.iter().map(|text| acl(text)).collect(),
            copies_at_source: BTreeSet::new(),
            destination: BTreeSet::new(),
            granted: BTreeSet::new(),
            copied: vec!["orders", "orders.eu", "bills"],
        }
    }

    fn plan(&self) -> AclPlan {
        let copied = self.copied.iter().map(|name| TopicName::from(*name));
        let copied = copied.map(|name| (name.clone(), self.naming.destination(&name))).collect();
        let sight = AclSight {
            source: &self.source,
            copies_at_source: &self.copies_at_source,
            destination: &self.destination,
            granted: &by_resource(&self.granted),
            copied: &copied,
        };
        plan_acls(&self.rules, &self.naming, &sight)
    }

    /// Does what the plan says.
    fn carry_out(&mut self, plan: &AclPlan) {
        for Grant { acl, .. } in &plan.grants {
            assert!(self.destination.insert(acl.clone()), "{acl} is there");
            self.granted.insert(acl.clone());
        }
        for acl in &plan.revokes {
            assert!(self.destination.remove(acl), "{acl} is not there");
        }
        self.granted.retain(|acl| !plan.revokes.contains(acl) && !plan.gone.contains(acl));
    }

    fn grants(&self) -> Vec<String> {
        self.plan().grants.iter().map(|grant| text(&grant.acl)).collect()
    }

    fn not_copied(&self) -> Vec<(String, WithheldReason)> {
        self.plan().not_copied.iter().map(|withheld| (text(&withheld.acl), withheld.why)).collect()
    }
}

#[track_caller]
fn check(format: &str, source: &[&str], expected: &[&str]) {
    let mut grants = Desk::new(format, source).grants();
    let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    grants.sort();
    expected.sort();
    assert_eq!(grants, expected, "{format}");
}

#[test]
fn an_acl_is_renamed_with_its_topic_and_only_that_of_a_copied_one_is_copied() {
    let source = [
        "ALLOW User:ann READ topic orders",
        "ALLOW User:ann DESCRIBE topic bills 10.0.0.1",
        "ALLOW User:ann READ topic other",
        "DENY User:bob READ topic orders",
    ];
    check(
        "copy.${topic}",
        &source,
        &[
            "ALLOW User:ann READ topic copy.orders",
            "ALLOW User:ann DESCRIBE topic copy.bills 10.0.0.1",
            "DENY User:bob READ topic copy.orders",
        ],
    );
    check("${topic}.replica", &source[..1], &["ALLOW User:ann READ topic orders.replica"]);
    check("all", &source[..1], &["ALLOW User:ann READ topic all"]);
}

#[test]
fn a_pattern_becomes_the_narrowest_one_that_covers_the_copies() {
    let prefix = ["ALLOW User:ann READ topic ord^"];
    check("${topic}", &prefix, &["ALLOW User:ann READ topic ord^"]);
    check("dc.${topic}.x", &prefix, &["ALLOW User:ann READ topic dc.ord^"]);
    check("all", &prefix, &["ALLOW User:ann READ topic all"]);
    check("dc.${topic}", &["ALLOW User:ann READ topic unknown^"], &[]);
    // One that is as long as the topic's name, and one that is longer.
    check("dc.${topic}", &["ALLOW User:ann READ topic bills^"], &["ALLOW User:ann READ topic dc.bills^"]);
    check("dc.${topic}", &["ALLOW User:ann READ topic bills.^"], &[]);
    let all = ["ALLOW User:ann READ topic *"];
    check("dc.${topic}", &all, &["ALLOW User:ann READ topic dc.^"]);
    check("${topic}.x", &all, &["ALLOW User:ann READ topic *"]);
    check("all", &all, &["ALLOW User:ann READ topic all"]);
    // Here it is a name, not everything.
    check("dc.${topic}", &["ALLOW User:ann READ topic *^"], &[]);
}

#[test]
fn a_prefix_that_would_cover_other_copies_is_granted_copy_by_copy() {
    let prefix = ["ALLOW User:ann READ topic orders.^", "DENY User:bob READ topic orders.^"];
    let one = ["ALLOW User:ann READ topic orders.eu.replica", "DENY User:bob READ topic orders.^"];
    check("${topic}.replica", &prefix, &one);
    check("${topic}-replica", &prefix, &prefix);
    check("${topic}", &prefix, &prefix);
    // What follows may be the topic's own name.
    let twice = ["ALLOW User:ann READ topic oo^"];
    let mut desk = Desk::new("${topic}${topic}", &twice);
    desk.copied = vec!["o", "oo"];
    assert_eq!(desk.grants(), ["ALLOW User:ann READ topic oooo"]);

    // A topic that is not copied any more keeps them, until the prefix is gone.
    let mut desk = Desk::new("${topic}.replica", &prefix[..1]);
    let plan = desk.plan();
    desk.carry_out(&plan);
    desk.copied = vec!["bills"];
    assert_eq!(desk.plan(), AclPlan::default());
    desk.source.clear();
    assert_eq!(desk.plan().revokes, [acl(one[0])]);
}

#[test]
fn a_deny_counts_also_while_its_topic_is_not_copied() {
    for deny in ["DENY User:* READ topic orders", "DENY User:ann READ topic orders"] {
        let mut desk = Desk::new("copy.${topic}", &["ALLOW User:ann READ topic *", deny]);
        desk.copied = vec!["bills"];
        let plan = desk.plan();
        desk.carry_out(&plan);
        assert!(!may(&desk.destination, "User:ann", AclOperation::READ, "copy.orders"), "{deny}");
    }
}

#[test]
fn a_removal_is_followed_where_every_topic_has_the_same_name_there() {
    let orders = "ALLOW User:ann READ topic orders";
    let mut desk = Desk::new("all", &[orders, "ALLOW User:ann READ topic other"]);
    let plan = desk.plan();
    desk.carry_out(&plan);
    desk.source.remove(&acl(orders));
    assert_eq!(desk.plan().revokes, [acl("ALLOW User:ann READ topic all")]);
}

#[test]
fn groups_keep_their_names_and_all_that_is_said_of_them() {
    let groups = [
        "ALLOW User:ann READ group billing",
        "ALLOW User:ann ALL group team.^",
        "DENY User:* DELETE group *",
        "DENY User:* READ group secret",
    ];
    check("copy.${topic}", &groups, &groups);
}

#[test]
fn what_changes_copies_is_copied_only_where_it_is_asked_for() {
    let source = [
        "ALLOW User:p ALL topic bills",
        "ALLOW User:p ALTER topic orders",
        "ALLOW User:p ALTER_CONFIGS topic orders",
        "ALLOW User:p CREATE topic orders",
        "ALLOW User:p DELETE topic orders",
        "ALLOW User:p WRITE topic orders",
    ];
    let mut desk = Desk::new("${topic}", &source);
    assert_eq!(
        desk.grants(),
        ["ALLOW User:p READ topic bills", "ALLOW User:p DESCRIBE_CONFIGS topic bills"],
        "of ALL what a reader needs"
    );
    let not_copied = desk.not_copied();
    assert_eq!(not_copied.len(), 5);
    assert!(not_copied.iter().all(|(_, why)| *why == WithheldReason::ChangesCopies), "{not_copied:?}");

    desk.rules.write = true;
    let mut grants = desk.grants();
    grants.sort();
    assert_eq!(grants, source);
    // Who takes that back takes back what was granted by it.
    let plan = desk.plan();
    desk.carry_out(&plan);
    desk.rules.write = false;
    let plan = desk.plan();
    assert_eq!((plan.grants.len(), plan.revokes.len()), (2, 6));
    desk.carry_out(&plan);
    assert_eq!(desk.destination.len(), 2);
}

#[test]
fn what_would_shut_out_this_program_is_not_copied_nor_what_it_outweighs() {
    for (deny, is_needed) in [
        ("DENY User:* ALL topic orders", true),
        ("DENY User:* READ topic ord^", true),
        ("DENY User:* WRITE topic *", true),
        ("DENY User:* CREATE topic orders 10.0.0.1", true),
        ("DENY User:* ALTER topic orders", true),
        ("DENY User:* DESCRIBE topic orders", true),
        ("DENY User:* DESCRIBE_CONFIGS topic orders", true),
        ("DENY User:* ALTER_CONFIGS topic orders", true),
        ("DENY User:* DELETE topic orders", false),
        ("DENY User:bob ALL topic orders", false),
    ] {
        let desk = Desk::new("${topic}", &[deny]);
        let expected = is_needed.then(|| (deny.to_owned(), WithheldReason::ShutsOut));
        assert_eq!(desk.not_copied(), expected.into_iter().collect::<Vec<_>>(), "{deny}");
        assert_eq!(desk.grants().len(), usize::from(!is_needed), "{deny}");
    }
    // Who may not read there may not read here.
    let outweighed = |deny: &str, allow: &str| {
        let desk = Desk::new("${topic}", &[deny, allow]);
        let told = desk.not_copied().contains(&(allow.to_owned(), WithheldReason::Outweighed));
        assert_eq!(told, desk.grants().is_empty(), "{deny}, {allow}");
        told
    };
    assert!(outweighed("DENY User:* READ topic orders", "ALLOW User:ann READ topic orders"));
    assert!(outweighed("DENY User:* ALL topic ord^", "ALLOW User:ann READ topic orders"));
    assert!(outweighed("DENY User:* READ topic orders", "ALLOW User:ann ALL topic o^"));
    assert!(outweighed("DENY User:* READ topic orders 10.0.0.1", "ALLOW User:ann READ topic *"));
    assert!(outweighed("DENY User:* DESCRIBE topic orders", "ALLOW User:ann READ topic orders"));
    assert!(!outweighed("DENY User:* WRITE topic orders", "ALLOW User:ann READ topic orders"));
    assert!(!outweighed("DENY User:* WRITE topic orders", "ALLOW User:ann ALL topic orders"));
    assert!(!outweighed("DENY User:* READ topic orders", "ALLOW User:ann READ topic bills"));
    assert!(!outweighed(
        "DENY User:* READ topic orders 10.0.0.1",
        "ALLOW User:ann READ topic orders 10.0.0.2"
    ));
    // It may have been copied before.
    assert!(outweighed("DENY User:* READ topic secret", "ALLOW User:ann READ topic *"));
    assert!(!outweighed("DENY User:* READ topic orders", "ALLOW User:ann READ group orders"));
}

#[test]
fn its_own_user_what_is_unknown_and_what_is_a_copy_itself_is_left_out() {
    let source = [
        "DENY User:paralog WRITE topic orders",
        "ALLOW User:paralog READ topic *",
        "ALLOW User:ann 77 topic orders",
        "ALLOW User:ann READ group g",
    ];
    let mut desk = Desk::new("${topic}", &source);
    desk.rules.own_principal = Some("User:paralog".to_owned());
    desk.copies_at_source.insert(acl(source[3]));
    assert_eq!(desk.grants(), <[String; 0]>::default());
    let mut reasons: Vec<WithheldReason> = desk.not_copied().into_iter().map(|(_, why)| why).collect();
    reasons.sort();
    use WithheldReason::{CopyAtSource, OwnUser, UnknownOperation};
    assert_eq!(reasons, [OwnUser, OwnUser, UnknownOperation, CopyAtSource]);
    // Not known who it is: to whom writing is denied may be this program, whom reading is not.
    desk.rules.own_principal = None;
    assert_eq!(desk.grants(), ["ALLOW User:paralog READ topic *"]);
    assert!(desk.not_copied().contains(&(source[0].to_owned(), WithheldReason::MayShutOut)));
    desk.rules.write = true;
    assert_eq!(desk.grants().len(), 2);
}

#[test]
fn a_removal_at_the_source_is_followed_and_nothing_of_others_is_touched() {
    let read = "ALLOW User:ann READ topic orders";
    let mut desk =
        Desk::new("copy.${topic}", &[read, "ALLOW User:ann READ topic bills", "ALLOW User:ann READ group g"]);
    // It was there before, as somebody else's.
    desk.destination.insert(acl("ALLOW User:ann READ group g"));
    desk.destination.insert(acl("ALLOW User:eve WRITE topic copy.orders"));
    let plan = desk.plan();
    assert_eq!(plan.grants.len(), 2);
    desk.carry_out(&plan);

    desk.source.clear();
    let plan = desk.plan();
    let revoked: Vec<String> = plan.revokes.iter().map(text).collect();
    assert_eq!(revoked, ["ALLOW User:ann READ topic copy.bills", "ALLOW User:ann READ topic copy.orders"]);
    desk.carry_out(&plan);
    assert_eq!(desk.destination.len(), 2);
    assert!(desk.granted.is_empty());
}

#[test]
fn a_topic_that_is_not_copied_any_more_keeps_the_rights_of_its_copy() {
    let read = "ALLOW User:ann READ topic orders";
    let mut desk = Desk::new("${topic}", &[read, "ALLOW User:ann ALL topic ord^"]);
    let plan = desk.plan();
    desk.carry_out(&plan);
    desk.copied = vec!["bills"];
    assert_eq!(desk.plan(), AclPlan::default());
    desk.source.remove(&acl(read));
    // It is gone at the source, but the prefix is not, which is about another pattern.
    assert_eq!(desk.plan().revokes, [acl(read)]);
}

#[test]
fn what_several_lead_to_stays_as_long_as_one_does() {
    let all = "ALLOW User:ann ALL topic orders";
    let read = "ALLOW User:ann READ topic orders";
    let mut desk = Desk::new("${topic}", &[all, read]);
    let plan = desk.plan();
    assert_eq!(plan.grants.len(), 2, "READ once");
    desk.carry_out(&plan);
    desk.source.remove(&acl(all));
    let revoked: Vec<String> = desk.plan().revokes.iter().map(text).collect();
    assert_eq!(revoked, ["ALLOW User:ann DESCRIBE_CONFIGS topic orders"]);
}

#[test]
fn what_was_about_to_be_created_or_is_gone_there_is_made_or_forgotten() {
    let read = acl("ALLOW User:ann READ topic orders");
    let mut desk = Desk::new("${topic}", &["ALLOW User:ann READ topic orders"]);
    // Killed between the two, or deleted there by somebody.
    desk.granted.insert(read.clone());
    assert_eq!(desk.grants(), ["ALLOW User:ann READ topic orders"]);
    desk.source.clear();
    let plan = desk.plan();
    assert_eq!((plan.revokes.len(), &plan.gone), (0, &vec![read]));
    assert!(!plan.is_pending());
}

#[test]
fn a_plan_reads_as_a_review_and_as_a_document() {
    let mut desk = Desk::new(
        "copy.${topic}",
        &[
            "ALLOW User:ann READ topic orders",
            "ALLOW User:adm ALL topic *",
            "DENY User:bob READ group secret",
            "ALLOW User:p WRITE topic orders",
            "ALLOW User:q WRITE topic orders",
        ],
    );
    let old = acl("ALLOW User:old READ topic copy.bills");
    desk.destination.insert(old.clone());
    desk.granted.insert(old);
    let plan = desk.plan();
    assert_eq!(
        plan.to_string(),
        "grant User:ann READ on topic `copy.orders` (as on `orders` at the source)
grant User:adm READ on topics that begin with `copy.` (of ALL, as on all topics at the source)
grant User:adm DESCRIBE_CONFIGS on topics that begin with `copy.` (of ALL, as on all topics at the source)
add DENY User:bob READ on group `secret` (as on `secret` at the source)
revoke User:old READ on topic `copy.bills` (nothing at the source leads to it any more)
not copied: 2 ACLs, copies would be changed by others; sync.topic.acls.write=true allows it (User:p WRITE on topic `orders`, User:q WRITE on topic `orders`)
"
    );
    let json = plan.json();
    assert_eq!(
        json["grants"][0].to_string(),
        r#"{"resource":"topic","pattern":"literal","name":"copy.orders","principal":"User:ann","host":"*","operation":"READ","permission":"ALLOW","as":{"resource":"topic","pattern":"literal","name":"orders","principal":"User:ann","host":"*","operation":"READ","permission":"ALLOW"}}"#
    );
    assert_eq!(
        (json["revokes"][0]["name"].as_str(), &json["trouble"]),
        (Some("copy.bills"), &serde_json::Value::Null)
    );
    assert_eq!(json["not_copied"][1]["reason"], "changes_copies");
    assert!(plan.is_pending());
    let what = "it says no".to_owned();
    let plan = AclPlan {
        trouble: Some(crate::AclTrouble { what, hint: "ask", is_partial: false }),
        ..AclPlan::default()
    };
    assert!(plan.is_pending());
    assert_eq!(plan.to_string(), "ACLs are not copied: it says no\n    hint: ask\n");
}

fn any_acl() -> impl Strategy<Value = Acl> {
    const NAMES: &[&str] =
        &["orders", "orders.", "orders.eu", "bills", "other", "*", "o", "copy.", "copy.orders"];
    const PRINCIPALS: &[&str] = &["User:ann", "User:bob", "User:*", "User:paralog"];
    let operations = (2i8..=12).prop_map(AclOperation);
    let hosts = prop_oneof![3 => Just("*"), 1 => Just("10.0.0.1")];
    (
        (any::<bool>(), any::<bool>(), proptest::sample::select(NAMES)),
        (proptest::sample::select(PRINCIPALS), hosts, operations, proptest::bool::weighted(0.2)),
    )
        .prop_map(|((is_topic, is_prefix, name), (principal, host, operation, is_deny))| {
            let resource_type = if is_topic { ResourceType::Topic } else { ResourceType::Group };
            let resource = match is_prefix {
                true => ResourcePattern::prefixed(resource_type, name),
                false => ResourcePattern::literal(resource_type, name),
            };
            let permission = if is_deny { AclPermission::Deny } else { AclPermission::Allow };
            let (principal, host) = (principal.to_owned(), host.to_owned());
            Acl { resource, entry: AccessControlEntry { principal, host, operation, permission } }
        })
}

fn any_acls(most: usize) -> impl Strategy<Value = BTreeSet<Acl>> {
    proptest::collection::btree_set(any_acl(), 0..most)
}

fn any_desk() -> impl Strategy<Value = Desk> {
    const FORMATS: &[&str] = &["${topic}", "copy.${topic}", "${topic}.r", "${topic}.${topic}", "one"];
    const TOPICS: &[&str] = &["orders", "orders.eu", "bills"];
    let copied = proptest::sample::subsequence(TOPICS, 0..=3);
    (
        (proptest::sample::select(FORMATS), any::<bool>(), any::<bool>()),
        (any_acls(12), any_acls(2), any_acls(6), any_acls(3)),
        copied,
    )
        .prop_map(
            |((format, write, is_known), (source, copies_at_source, destination, granted), copied)| {
                let own_principal = is_known.then(|| "User:paralog".to_owned());
                let rules = AclRules { write, own_principal };
                let naming = Naming::new(format).unwrap();
                Desk { rules, naming, source, copies_at_source, destination, granted, copied }
            },
        )
}

proptest! {
    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(mut desk in any_desk()) {
        let plan = desk.plan();
        desk.carry_out(&plan);
        let again = desk.plan();
        prop_assert!(again.changes() == 0 && again.gone.is_empty(), "{again}");
        prop_assert_eq!(again.not_copied, plan.not_copied);
    }

    #[test]
    fn what_is_not_ours_stays_and_what_is_granted_was_not_there(mut desk in any_desk(), next in any_acls(8)) {
        let others: Vec<Acl> = desk.destination.difference(&desk.granted).cloned().collect();
        for source in [desk.source.clone(), next, BTreeSet::new()] {
            desk.source = source;
            let plan = desk.plan();
            prop_assert!(plan.revokes.iter().all(|acl| desk.granted.contains(acl)));
            desk.carry_out(&plan);
            prop_assert!(others.iter().all(|acl| desk.destination.contains(acl)));
        }
        // With nothing at the source nothing of ours is left.
        prop_assert!(desk.granted.is_empty());
        prop_assert_eq!(desk.destination.into_iter().collect::<Vec<_>>(), others);
    }

    #[test]
    fn nobody_may_change_a_copy_unless_it_is_asked_for(mut desk in any_desk()) {
        desk.rules.write = false;
        for Grant { acl: Acl { resource, entry }, .. } in desk.plan().grants {
            let reads = [AclOperation::READ, AclOperation::DESCRIBE, AclOperation::DESCRIBE_CONFIGS];
            prop_assert!(
                resource.resource_type == ResourceType::Group
                    || entry.permission == AclPermission::Deny
                    || reads.contains(&entry.operation)
            );
        }
    }

    #[test]
    fn this_program_is_never_shut_out(mut desk in any_desk()) {
        desk.rules.own_principal = Some("User:paralog".to_owned());
        for Grant { acl: Acl { resource, entry }, .. } in desk.plan().grants {
            let hits = ["User:*", "User:paralog"].contains(&entry.principal.as_str());
            prop_assert!(
                entry.permission == AclPermission::Allow
                    || resource.resource_type == ResourceType::Group
                    || !hits
                    || !NEEDED.contains(&entry.operation)
            );
        }
        // Where it is not known who that is.
        (desk.rules.own_principal, desk.rules.write) = (None, false);
        for Grant { acl: Acl { resource, entry }, .. } in desk.plan().grants {
            prop_assert!(
                entry.permission == AclPermission::Allow
                    || resource.resource_type == ResourceType::Group
                    || !CHANGING.contains(&entry.operation)
            );
        }
    }
}

/// Few words, so that they meet.
fn any_about_reading() -> impl Strategy<Value = Acl> {
    const WORDS: [&[&str]; 4] = [
        &["ALLOW", "DENY"],
        &["User:ann", "User:*", "User:bob"],
        &["READ", "ALL"],
        &["orders", "orders.^", "orders.eu", "o^", "*", "bills"],
    ];
    WORDS.map(proptest::sample::select).prop_map(|[permission, principal, operation, name]| {
        acl(&format!("{permission} {principal} {operation} topic {name}"))
    })
}

/// A small authorizer: whether `principal` may do `wanted` with `topic`, from the one host that there is.
fn may(acls: &BTreeSet<Acl>, principal: &str, wanted: AclOperation, topic: &str) -> bool {
    let resource = ResourcePattern::literal(ResourceType::Topic, topic);
    let concerns = |acl: &&Acl| {
        overlap(&acl.resource, &resource) && [principal, EVERYBODY].contains(&acl.entry.principal.as_str())
    };
    let mut about = acls.iter().filter(concerns);
    let denied = about.clone().any(|acl| {
        acl.entry.permission == AclPermission::Deny
            && [wanted, AclOperation::ALL].contains(&acl.entry.operation)
    });
    !denied
        && about.any(|acl| {
            acl.entry.permission == AclPermission::Allow
                && [wanted, AclOperation::ALL].contains(&acl.entry.operation)
        })
}

proptest! {
    /// Nobody may read a copy who may not read the topic, whatever was copied before, and of which topics.
    #[test]
    fn nobody_is_let_in_who_was_kept_out(
        format in proptest::sample::select(FORMATS_APART),
        steps in proptest::collection::vec(any_step(), 1..4),
    ) {
        let mut desk = Desk::new(format, &[]);
        let topics = desk.copied.clone();
        for (source, copied) in steps {
            (desk.source, desk.copied) = (source, copied);
            let plan = desk.plan();
            desk.carry_out(&plan);
            for topic in &topics {
                let copy = desk.naming.destination(&TopicName::from(*topic));
                for principal in ["User:ann", "User:bob"] {
                    let there = may(&desk.destination, principal, AclOperation::READ, copy.as_str());
                    let here = may(&desk.source, principal, AclOperation::READ, topic);
                    prop_assert!(here || !there, "{} {}", principal, topic);
                }
            }
        }
    }

    #[test]
    fn many_patterns_are_searched_as_one_by_one(all in any_acls(6), one in any_acl()) {
        let topics = all.into_iter().map(|acl| acl.resource).filter(|it| it.resource_type == ResourceType::Topic);
        let patterns: BTreeSet<ResourcePattern> = topics.collect();
        let expected = patterns.iter().any(|pattern| overlap(pattern, &one.resource));
        prop_assert_eq!(meets(&patterns, &one.resource), expected);
    }
}

/// Names are kept apart by them.
const FORMATS_APART: &[&str] =
    &["copy.${topic}", "${topic}", "${topic}.eu", "${topic}.e.${topic}", "c.${topic}.r", "${topic}${topic}"];

/// What is at the source, and what is copied, at some moment.
fn any_step() -> impl Strategy<Value = (BTreeSet<Acl>, Vec<&'static str>)> {
    const TOPICS: &[&str] = &["orders", "orders.eu", "bills"];
    (proptest::collection::btree_set(any_about_reading(), 0..6), proptest::sample::subsequence(TOPICS, 0..=3))
}
