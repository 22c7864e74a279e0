//! When a code is void, and which connections count.

use super::*;

#[test]
fn a_right_last_try_is_no_void_code_before_its_result_arrives() {
    let now = Instant::now();
    let mut tries = Tries::new(now);
    assert_eq!(tries.attempt(now, || false), Ok(false));
    assert_eq!(tries.attempt(now, || false), Ok(false));
    assert_eq!(tries.attempt(now, || true), Ok(true));
    check_tries(&Mutex::new(tries), now).expect("the connection that proved the code goes on");
    let mut tries = Tries::new(now);
    for _ in 0..3 {
        assert_eq!(tries.attempt(now, || false), Ok(false));
    }
    let void = check_tries(&Mutex::new(tries), now).expect_err("three wrong codes");
    assert!(void.to_string().contains("after wrong tries"), "{void}");
}

#[test]
fn connections_that_are_closed_at_once_do_not_end_a_pairing() {
    let mut open = OpenConnections::default();
    let (flood, partner) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let examined = (0..2 * CONNECTIONS_MAX)
        .filter(|_| open.begin(flood))
        .count();
    assert_eq!(examined, UNAUTHENTICATED_PER_ADDRESS_MAX);
    assert!(open.count < CONNECTIONS_MAX, "{}", open.count);
    assert!(open.begin(partner));
    // Those that are examined count, however often they come.
    for _ in 0..CONNECTIONS_MAX {
        open.ended(flood);
        assert!(open.begin(flood));
    }
    assert!(open.count >= CONNECTIONS_MAX);
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_is_closed_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let mut client = TcpStream::connect(address).expect("it listens");
    let (server, _) = listener.accept().expect("the client has connected");
    let trickle = thread::spawn(move || {
        while client.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let begin = Instant::now();
    let mut timed = Timed::new(server, Duration::from_millis(60));
    let error = timed
        .read_exact(&mut [0; 4096])
        .expect_err("it is too slow");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(begin.elapsed() >= Duration::from_millis(60));
    assert!(
        timed.write(b"x").is_err(),
        "the deadline is for both directions"
    );
    // The rest of the exchange has a deadline of its own.
    let mut timed = timed.within(Duration::from_secs(60));
    timed.read_exact(&mut [0]).expect("there is time again");
    drop(timed);
    trickle.join().expect("it ends with the connection");
}

#[test]
fn connections_that_prove_nothing_are_bounded_for_each_address_and_in_all() {
    let mut open = OpenConnections::default();
    let address = |number: u8| IpAddr::from([192, 0, 2, number]);
    for number in 0..4 {
        for _ in 0..UNAUTHENTICATED_PER_ADDRESS_MAX {
            assert!(open.begin(address(number)));
        }
        assert!(!open.begin(address(number)), "more of one address");
    }
    assert!(
        !open.begin(address(9)),
        "more than {UNAUTHENTICATED_MAX} in all"
    );
    open.ended(address(0));
    assert!(open.begin(address(9)));
    while !open.is_over() {
        open.ended(address(1));
        assert!(open.begin(address(1)));
    }
    assert_eq!(open.count, CONNECTIONS_MAX);
}

#[test]
fn the_addresses_of_one_network_of_ipv6_count_as_one() {
    let mut open = OpenConnections::default();
    let address = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]);
    let taken = (0..100).filter(|number| open.begin(address(*number)));
    assert_eq!(taken.count(), UNAUTHENTICATED_PER_ADDRESS_MAX);
    assert!(open.begin(IpAddr::from([192, 0, 2, 1])));
}

#[test]
fn a_refused_connection_of_a_new_address_leaves_nothing_behind() {
    let mut open = OpenConnections::default();
    let address = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 1]);
    let taken = (0..1000).filter(|number| open.begin(address(*number)));
    assert_eq!(taken.count(), UNAUTHENTICATED_MAX);
    assert_eq!(open.open.len(), UNAUTHENTICATED_MAX);
    for number in 0..1000 {
        open.ended(address(number));
    }
    assert_eq!(open.open.len(), 0);
}

#[test]
fn the_listening_side_ends_after_ten_minutes_and_after_three_wrong_codes() {
    let now = Instant::now();
    let tries = Mutex::new(Tries::new(now));
    let second = Duration::from_secs(1);
    check_tries(&tries, now + CODE_LIFE - second).expect("the code is valid");
    let late = check_tries(&tries, now + CODE_LIFE).expect_err("the code is void");
    assert!(
        late.to_string().contains("10 minutes have passed"),
        "{late}"
    );
    for _ in 0..3 {
        let mut tries = tries.lock().expect("no thread has failed");
        tries.attempt(now, || false).expect("a try is left");
    }
    let void = check_tries(&tries, now).expect_err("the code is void");
    assert!(void.to_string().contains("after wrong tries"), "{void}");
}
