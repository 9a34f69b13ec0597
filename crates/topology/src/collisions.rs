//! Which topics Kafka would not have side by side, found without comparing each with each.

use std::collections::BTreeMap;

use model::TopicName;

/// Topics by what Kafka's metrics call them. Two that differ in `.` and `_` only have one name there, and Kafka
/// refuses to have both in a cluster.
#[derive(Debug, Default)]
pub(crate) struct MetricNames(BTreeMap<String, Vec<TopicName>>);

impl MetricNames {
    pub(crate) fn of<'a>(topics: impl Iterator<Item = &'a TopicName>) -> MetricNames {
        let mut names = MetricNames::default();
        topics.for_each(|topic| names.add(topic));
        names
    }

    pub(crate) fn add(&mut self, topic: &TopicName) {
        if let Some(name) = metric_name(topic) {
            self.0.entry(name).or_default().push(topic.clone());
        }
    }

    /// A topic other than `topic` with the same name there: the first that was added.
    pub(crate) fn other_than(&self, topic: &TopicName) -> Option<&TopicName> {
        self.0.get(&metric_name(topic)?)?.iter().find(|other| *other != topic)
    }
}

/// What metrics call `topic`, if another topic may be called so as well.
///
/// Source: `org.apache.kafka.common.internals.Topic.hasCollisionChars`, `unifyCollisionChars`.
fn metric_name(topic: &TopicName) -> Option<String> {
    topic.as_str().contains(['.', '_']).then(|| topic.as_str().replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_collide_that_differ_in_dots_and_underscores_only() {
        let topics: Vec<TopicName> = ["a", "a.b", "a_b", "c.d", "x.y_z", "a._"].map(TopicName::from).into();
        let names = MetricNames::of(topics.iter());
        let check = |topic: &str, expected: Option<&str>| {
            assert_eq!(names.other_than(&topic.into()).map(TopicName::as_str), expected, "{topic}");
        };
        check("a", None);
        check("a.b", Some("a_b"));
        check("a_b", Some("a.b"));
        check("c.d", None);
        check("c_d", Some("c.d"));
        check("c-d", None);
        check("x_y.z", Some("x.y_z"));
        check("a_.", Some("a._"));
        check("a.bc", None);
    }
}
