//! When a code is void, and which connections count.

use super::*;

#[test]
fn a_right_last_try_is_no_void_code_before_its_result_arrives() {
    let now = Instant::now();
    let mut tries = Tries::new(now);
    assert_eq!(tries.attempt(now, || false), Ok(false));
    assert_eq!(tries.attempt(now, || false), Ok(false));
    assert_eq!(tries.attempt(now, || true), Ok(true));
    check_tries(&Mutex::new(tries)).expect("the connection that proved the code goes on");
    let mut tries = Tries::new(now);
    for _ in 0..3 {
        assert_eq!(tries.attempt(now, || false), Ok(false));
    }
    let void = check_tries(&Mutex::new(tries)).expect_err("three wrong codes");
    assert!(void.to_string().contains("after wrong tries"), "{void}");
}

#[test]
fn connections_that_are_closed_at_once_do_not_end_a_pairing() {
    let mut open = OpenConnections::default();
    let (flood, partner) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let examined = (0..2 * CONNECTIONS_MAX)
        .filter(|_| open.begin(flood))
        .count();
    assert_eq!(examined, UNPROVED_PER_ADDRESS_MAX);
    assert!(open.count < CONNECTIONS_MAX, "{}", open.count);
    assert!(open.begin(partner));
    // Those that are examined count, however often they come.
    for _ in 0..CONNECTIONS_MAX {
        open.ended(flood);
        assert!(open.begin(flood));
    }
    assert!(open.count >= CONNECTIONS_MAX);
}
