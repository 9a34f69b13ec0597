//! Schemas carried from one registry to another.

use super::{Feature, Group, Property, later, refused};
use crate::value::Kind;

/// Schema migration.
pub(super) static SCHEMAS: Group = Group { title: "Schemas", properties: PROPERTIES };

const FEATURE: Feature = Feature::Schemas;

const PROPERTIES: &[Property] = &[
    refused(
        "schema.registry.topic",
        Kind::Text,
        "",
        FEATURE,
        &[],
        "the topic that is a registry's log, whose schemas are written to the destination's registry in place of its records being copied",
    ),
    later(
        "schema.registry.url",
        Kind::List,
        "",
        FEATURE,
        "addresses of the destination's registry; without `schema.registry.topic` they serve nothing",
    ),
    later(
        "schema.registry.max.schemas.per.subject",
        Kind::count(1),
        "1000",
        FEATURE,
        "how many schemas of a subject are remembered",
    ),
    later(
        "schema.registry.client.basic.auth.credentials.source",
        Kind::Text,
        "URL",
        FEATURE,
        "where the registry's user and password are found",
    ),
    later(
        "schema.registry.client.basic.auth.user.info",
        Kind::Password,
        "",
        FEATURE,
        "the registry's user and password",
    ),
    later("schema.registry.ssl.*", Kind::Text, "", FEATURE, "TLS to the registry"),
    later("schema.registry.*", Kind::Text, "", FEATURE, "more about the registry's client"),
    later("schema.subject.translator.class", Kind::Class, "", FEATURE, "class that renames subjects"),
    later("schema.subject.translator.*", Kind::Text, "", FEATURE, "set-up of that class"),
];
