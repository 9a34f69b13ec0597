//! Topics whose records do not keep their partitions.

use super::*;

#[test]
fn records_are_spread_over_as_many_partitions_as_there_are_whatever_their_number() {
    let source = with(source(), "t", "4 1");
    let mut intent = intent(&["t"], "${topic}");
    intent.topics.preserve_partitions = false;
    for over in [1, 4, 7] {
        let copy = format!("{over} 1 message.timestamp.after.max.ms=9223372036854775807");
        let destination = with(destination(), "t", &copy);
        let plan = planned(&source, &destination, &intent, &HeldBack::new());
        assert!(!plan.is_pending() && plan.warnings.is_empty(), "{plan}");
        let routed = |route: &model::Route| {
            (route.source.partition.0, route.destination.partition.0, route.spread_over)
        };
        let routes: Vec<_> = plan.routes.iter().map(routed).collect();
        assert_eq!(routes, [0, 1, 2, 3].map(|from| (from, 0, Some(over))));
    }
    // One that is created gets as many as its source has, which are not followed later.
    let plan = planned(&source, &destination(), &intent, &HeldBack::new());
    assert!(plan.routes.iter().all(|route| route.spread_over == Some(4)) && plan.routes.len() == 4, "{plan}");
}
