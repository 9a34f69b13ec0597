//! Lanes that spread one source partition.

use super::*;
use crate::events::LaneId;

#[test]
fn a_share_that_comes_later_begins_where_the_first_one_did() {
    let mut run = Run::with(Options::new("flow"), None, true, (0, 100), shown(0, 0));
    let route = Route { spread_over: Some(2), ..route_for_tests(orders(), orders()) };
    let routes = Routes { generation: 1, routes: vec![route] };
    let now = Now { instant: run.started, wall_ms: 0 };
    run.engine.handle(now, Event::Routes(Arc::new(routes)));
    let ids: Vec<LaneId> = run.engine.lanes.keys().copied().collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(run.engine.begin_of(ids[1], Offset(5)), Offset(5));
    assert_eq!(run.engine.begin_of(ids[0], Offset(9)), Offset(5), "what the source has deleted since shows");
}
