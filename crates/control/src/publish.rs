//! Publishes what copies to where, a new generation only when that changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Route, Routes, TopicName};
use tokio::sync::watch;
use topology::{Action, Plan};

/// The one place that counts generations.
#[derive(Debug)]
pub(crate) struct Publisher {
    sender: watch::Sender<Arc<Routes>>,
}

impl Publisher {
    pub(crate) fn new() -> Publisher {
        Publisher { sender: watch::Sender::new(Arc::default()) }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Routes>> {
        self.sender.subscribe()
    }

    /// What was published last.
    pub(crate) fn published(&self) -> Arc<Routes> {
        Arc::clone(&self.sender.borrow())
    }

    /// Publishes `routes`, sorted by source, if they are others than before, and says whether they are.
    pub(crate) fn publish(&self, routes: &[Route]) -> bool {
        debug_assert!(routes.is_sorted_by(|one, other| one.source < other.source));
        let last = self.published();
        if last.routes == routes {
            return false;
        }
        let routes = Routes { generation: last.generation + 1, routes: routes.to_vec() };
        self.sender.send_replace(Arc::new(routes));
        true
    }
}

/// The routes that hold while the steps of `plan` are carried out: those of topics that no step is about, and
/// of the others those that were `published` and stay.
pub(crate) fn meanwhile(plan: &Plan, published: &Routes) -> Vec<Route> {
    let changing: BTreeSet<&TopicName> = plan.steps.iter().map(|step| &step.topic).collect();
    let created: BTreeSet<&TopicName> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Create { .. }))
        .map(|step| &step.topic)
        .collect();
    let mut routes = Vec::new();
    for route in &plan.routes {
        let topic = &route.destination.topic;
        if !changing.contains(topic) {
            routes.push(route.clone());
        } else if !created.contains(topic) {
            let before = published.routes.binary_search_by(|before| before.source.cmp(&route.source));
            let before = before.ok().map(|index| &published.routes[index]).filter(|before| {
                before.destination == route.destination
                    && before.source_topic_id == route.source_topic_id
                    && before.destination_topic_id == route.destination_topic_id
            });
            routes.extend(before.cloned());
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use model::{RewriteRule, TimestampRule, TopicId, TopicPartition};
    use topology::Step;

    use super::*;

    fn route(topic: &str, partition: i32, batch_bytes_max: usize) -> Route {
        Route {
            source: TopicPartition::new(topic, partition),
            destination: TopicPartition::new(format!("{topic}.r"), partition),
            spread_over: None,
            source_topic_id: Some(TopicId([1; 16])),
            destination_topic_id: None,
            rule: RewriteRule {
                timestamps: TimestampRule::AsAtSource,
                batch_bytes_max,
                zstd: true,
                source_compacted: false,
            },
        }
    }

    fn step(topic: &str, action: Action) -> Step {
        Step { topic: format!("{topic}.r").into(), action, reason: String::new() }
    }

    #[test]
    fn a_generation_is_a_change() {
        let publisher = Publisher::new();
        let seen = publisher.subscribe();
        assert!(!publisher.publish(&[]));
        assert_eq!(seen.borrow().generation, 0);
        assert!(publisher.publish(&[route("a", 0, 1)]));
        assert!(!publisher.publish(&[route("a", 0, 1)]));
        assert_eq!(seen.borrow().generation, 1);
        assert!(publisher.publish(&[route("a", 0, 2)]));
        assert!(publisher.publish(&[]));
        assert_eq!(*seen.borrow().as_ref(), Routes { generation: 3, routes: Vec::new() });
    }

    #[test]
    fn while_some_topics_change_the_others_are_copied() {
        let grow = Action::Grow { from: 1, to: 2 };
        let change = Action::SetConfig { changes: [].into() };
        let create = Action::Create {
            partitions: 1,
            replication_factor: 1,
            settings: [].into(),
            left_out: Vec::new(),
        };
        let plan = Plan {
            steps: vec![
                step("created", create),
                step("grown", grow),
                step("new", change.clone()),
                step("set", change),
            ],
            routes: vec![
                route("created", 0, 9),
                route("grown", 0, 9),
                route("grown", 1, 9),
                route("kept", 0, 9),
                route("new", 0, 9),
                route("set", 0, 9),
            ],
            ..Plan::default()
        };
        let before = vec![
            route("created", 0, 1),
            route("gone", 0, 1),
            route("grown", 0, 1),
            route("kept", 0, 1),
            route("set", 0, 1),
        ];
        let expected = [route("grown", 0, 1), route("kept", 0, 9), route("set", 0, 1)];
        assert_eq!(meanwhile(&plan, &Routes { generation: 4, routes: before }), expected);
    }
}
