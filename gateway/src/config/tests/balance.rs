//! How a route chooses among its targets.

use super::*;

#[test]
fn the_choice_among_targets_is_read_and_has_defaults() {
    let config = good("balance.toml");
    let [turns, fewest, defaults] = &config.routes[..] else {
        panic!("three routes");
    };
    let slow_start = |route: &RouteConfig| route.health.as_ref().and_then(|one| one.slow_start);
    let limits = |route: &RouteConfig| -> Vec<_> {
        let targets = route.targets.iter();
        targets.map(|target| target.connections).collect()
    };
    assert_eq!(turns.balance, Balance::RoundRobin);
    assert_eq!(turns.when_down, WhenDown::Refuse);
    assert_eq!(slow_start(turns), Some(Duration::from_secs(90)));
    assert_eq!(limits(turns), [Some(20), None]);
    assert_eq!(fewest.balance, Balance::LeastConnections);
    assert_eq!(fewest.when_down, WhenDown::Accept);
    assert_eq!(limits(fewest), [Some(1 << 20), None]);
    assert_eq!(defaults.balance, Balance::Priority);
    assert_eq!(defaults.when_down, WhenDown::Accept);
    assert_eq!((slow_start(defaults), limits(defaults)), (None, vec![None]));
}
