//! Tests of targets that fail, come back, or are in maintenance.

use super::*;
use crate::upstream::TargetHealth;
use crate::upstream::limits::{BACK_OFF_FIRST, BACK_OFF_MAX};
use crate::upstream::watch::note;

/// A route with two targets at these addresses.
fn two_targets(first: &str, second: &str) -> Arc<RouteConfig> {
    let both = format!("\"{first}\", \"{second}\"");
    let text = ROUTE.replace("\"gw.region.example:2762\"", &both);
    let config = config::parse(&text, Path::new("wardgate.toml")).expect("a good route");
    config.routes.into_iter().next().expect("one route")
}

/// The addresses that one connection tries, and whether it is connected.
async fn tried(net: &Net, route: &RouteConfig, targets: &RouteTargets) -> (Vec<IpAddr>, bool) {
    net.begun.borrow_mut().clear();
    let dns = DnsCache::default();
    let mut attempts = Attempts::new(route, &targets.own);
    let is_connected = attempts.next(net, &dns).await.is_some();
    if is_connected {
        attempts.accept(&dns);
    }
    let begun = net.begun.borrow();
    let addresses = begun.iter().map(|(_, ip)| *ip).collect();
    (addresses, is_connected)
}

#[tokio::test(start_paused = true)]
async fn a_target_that_refused_is_tried_after_the_others_until_its_back_off_is_over() {
    let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
    for fate in [Fate::Refuses, Fate::Unreachable, Fate::IsSilent] {
        let net = with_addresses(&[("192.0.2.1", fate), ("192.0.2.2", Fate::Answers)]);
        let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
        let targets = RouteTargets::new(&route, &[]);
        assert_eq!(tried(&net, &route, &targets).await, (vec![a, b], true));
        for _ in 0..3 {
            assert_eq!(tried(&net, &route, &targets).await, (vec![b], true));
        }
        let failed = &targets.all[0].state.counters.failed;
        assert_eq!(failed.get(), 1);
        sleep(BACK_OFF_FIRST).await;
        assert_eq!(tried(&net, &route, &targets).await, (vec![a, b], true));
        assert_eq!(tried(&net, &route, &targets).await, (vec![b], true));
        // It answers again. One success ends the back-off.
        net.addresses.borrow_mut()[0].1 = Fate::Answers;
        sleep(2 * BACK_OFF_FIRST).await;
        for _ in 0..3 {
            assert_eq!(tried(&net, &route, &targets).await, (vec![a], true));
        }
        assert_eq!(targets.all[0].state.counters.is_backed_off.get(), 0);
    }
}

/// The answers to the client's address may have no way back, which other clients may have.
#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_answer_the_address_of_one_client_is_not_tried_later_for_others() {
    let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
    for fate in [Fate::IsSilent, Fate::Unreachable] {
        let net = with_addresses(&[("192.0.2.1", fate), ("192.0.2.2", Fate::Answers)]);
        let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
        let targets = RouteTargets::new(&route, &[]);
        let dns = DnsCache::default();
        let of_client = Attempts::new(&route, &targets.own);
        let mut of_client = of_client.from_source(Some(ip("10.30.0.5")));
        assert!(of_client.next(&net, &dns).await.is_some());
        drop(of_client);
        assert_eq!(targets.all[0].state.counters.failed.get(), 0);
        assert_eq!(tried(&net, &route, &targets).await, (vec![a, b], true));
    }
    let net = with_addresses(&[("192.0.2.1", Fate::Refuses), ("192.0.2.2", Fate::Answers)]);
    let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
    let targets = RouteTargets::new(&route, &[]);
    let of_client = Attempts::new(&route, &targets.own);
    let mut of_client = of_client.from_source(Some(ip("10.30.0.5")));
    assert!(of_client.next(&net, &DnsCache::default()).await.is_some());
    assert_eq!(tried(&net, &route, &targets).await, (vec![b], true));
}

#[tokio::test(start_paused = true)]
async fn targets_that_all_failed_are_still_tried_in_their_order() {
    let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let net = with_addresses(&[("192.0.2.1", Fate::Refuses), ("192.0.2.2", Fate::Refuses)]);
    let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
    let targets = RouteTargets::new(&route, &[]);
    for _ in 0..5 {
        assert_eq!(tried(&net, &route, &targets).await, (vec![a, b], false));
    }
    net.addresses.borrow_mut()[1].1 = Fate::Answers;
    assert_eq!(tried(&net, &route, &targets).await, (vec![a, b], true));
    assert_eq!(tried(&net, &route, &targets).await, (vec![b], true));
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_not_the_target_s_fault_begin_no_back_off() {
    let net = with_addresses(&[("192.0.2.1", Fate::NoPorts), ("192.0.2.2", Fate::Answers)]);
    let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
    let (targets, dns) = (RouteTargets::new(&route, &[]), DnsCache::default());
    tried(&net, &route, &targets).await;
    // The client goes while the gateway connects.
    net.addresses.borrow_mut()[0].1 = Fate::IsSilent;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut attempts = Attempts::new(&route, &targets.own).ended_by(stopped);
    let client = async {
        sleep(3 * ATTEMPT_DELAY).await;
        let _ = stop.send(true);
    };
    let (reached, ()) = tokio::join!(attempts.next(&net, &dns), client);
    assert!(reached.is_none());
    // The handshake had no time.
    net.addresses.borrow_mut()[0].1 = Fate::Answers;
    let mut attempts = Attempts::new(&route, &targets.own);
    assert!(attempts.next(&net, &dns).await.is_some());
    attempts.reject(&dns, "no time".to_owned(), ATTEMPT_DELAY / 2);
    for target in &targets.all {
        assert_eq!(target.state.counters.failed.get(), 0, "{}", target.target);
    }
    // It had time.
    let mut attempts = Attempts::new(&route, &targets.own);
    assert!(attempts.next(&net, &dns).await.is_some());
    attempts.reject(&dns, "a bad certificate".to_owned(), ATTEMPT_DELAY);
    assert_eq!(targets.all[0].state.counters.failed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_in_maintenance_is_not_tried_and_the_sentence_names_it() {
    let (net, b) = (with_addresses(&[]), ip("192.0.2.2"));
    let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
    let (targets, now) = (RouteTargets::new(&route, &[]), std::time::Instant::now());
    let set = |index: usize, on| targets.all[index].state.set_maintenance(on, now);
    set(0, true);
    assert_eq!(tried(&net, &route, &targets).await, (vec![b], true));
    set(1, true);
    assert_eq!(tried(&net, &route, &targets).await, (vec![], false));
    let mut attempts = Attempts::new(&route, &targets.own);
    assert!(attempts.next(&net, &DnsCache::default()).await.is_none());
    assert!(attempts.is_untried() && !attempts.is_full());
    let expected = "target 192.0.2.1:1 is in maintenance; target 192.0.2.2:1 is in maintenance";
    assert_eq!(attempts.sentence(), expected);
    set(1, false);
    assert_eq!(tried(&net, &route, &targets).await, (vec![b], true));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_goes_on_failing_is_reported_once_and_so_is_its_recovery() {
    let (dns, reports) = reported();
    let net = with_addresses(&[("192.0.2.1", Fate::Refuses), ("192.0.2.2", Fate::Answers)]);
    let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
    let targets = RouteTargets::new(&route, &[]);
    let connect = async || {
        let mut attempts = Attempts::new(&route, &targets.own);
        assert!(attempts.next(&net, &dns).await.is_some());
        attempts.accept(&dns);
    };
    connect().await;
    assert!(reports.borrow().is_empty(), "it may have restarted");
    for _ in 0..5 {
        sleep(BACK_OFF_MAX).await;
        connect().await;
    }
    let text = reports.borrow()[0].to_string();
    let start =
        "target 192.0.2.1:1 cannot be reached: connection refused; check that the service runs";
    assert!(text.starts_with(start), "{text}");
    assert!(
        text.contains("other targets are tried before this one"),
        "{text}"
    );
    net.addresses.borrow_mut()[0].1 = Fate::Answers;
    for _ in 0..2 {
        sleep(BACK_OFF_MAX).await;
        connect().await;
    }
    let texts: Vec<_> = reports.borrow().iter().map(ToString::to_string).collect();
    let end = "target 192.0.2.1:1: connections to it succeed again after 180 s";
    assert_eq!(texts[1..], [end]);
}

#[tokio::test(start_paused = true)]
async fn after_a_back_off_one_of_several_connections_tries_the_target() {
    let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let net = with_addresses(&[("192.0.2.1", Fate::Refuses), ("192.0.2.2", Fate::Answers)]);
    let route = two_targets("192.0.2.1:1", "192.0.2.2:1");
    let (targets, dns) = (RouteTargets::new(&route, &[]), DnsCache::default());
    assert_eq!(tried(&net, &route, &targets).await, (vec![a, b], true));
    sleep(BACK_OFF_FIRST).await;
    net.begun.borrow_mut().clear();
    let connect = async || {
        let mut attempts = Attempts::new(&route, &targets.own);
        assert!(attempts.next(&net, &dns).await.is_some());
    };
    tokio::join!(connect(), connect(), connect());
    let begun = net.begun.borrow();
    assert_eq!(begun.iter().filter(|(_, ip)| *ip == a).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_finds_the_target_up_ends_its_back_off_and_begins_its_slow_start() {
    let (route, targets) = probed();
    assert!(route.health.is_some());
    let (state, mut health) = (&targets.all[0].state, TargetHealth::new(1, 1));
    let now = || Instant::now().into_std();
    for turn in 0..5 {
        state.note_failure(now(), 0);
        sleep(Duration::from_secs(turn)).await;
    }
    state.note_failure(now(), 0);
    let up = note(&mut health, Ok(()), state);
    assert!(
        up.is_none() && state.is_backed_off(now()),
        "it was up before"
    );
    note(&mut health, Err("refused".to_owned()), state);
    assert!(state.is_down());
    note(&mut health, Ok(()), state).expect("a change");
    assert!(!state.is_down() && !state.is_backed_off(now()));
    let slow_start = Some(Duration::from_secs(30));
    assert!(state.weight(slow_start, now()) < state.weight(None, now()));
}
