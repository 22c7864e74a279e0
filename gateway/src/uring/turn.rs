//! One turn of a worker's loop without waiting.

use std::io;

use super::driver::Driver;

/// Submits queued requests and processes completions once. Other tasks run in the meantime.
///
/// Yielding is not enough: the loop enters the ring between two rounds of its tasks, and one round may poll a
/// yielding task several times.
///
/// # Errors
/// `Unsupported` on a thread without a ring.
pub async fn turn() -> io::Result<()> {
    match Driver::current() {
        Some(driver) => {
            driver.turn().await;
            Ok(())
        }
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use super::super::{probe, spawn, start, wait_acceptable};
    use super::*;

    /// While one task only calls `turn`, the operation of another task must be submitted and completed.
    #[test]
    fn other_tasks_reach_the_ring_while_one_task_calls_turn() {
        let capabilities = probe().expect("io_uring");
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let address = listener.local_addr().expect("it is bound");
        let work = async move {
            let waiting = spawn(async move { wait_acceptable(&listener).await });
            let begun = Instant::now();
            let mut connected = None;
            while !waiting.is_finished() {
                turn().await.expect("nothing can be done");
                connected.get_or_insert_with(|| TcpStream::connect(address).expect("it listens"));
                assert!(
                    begun.elapsed() < Duration::from_secs(10),
                    "the operation never completed"
                );
            }
            waiting.await.expect("no panic").expect("it is acceptable");
        };
        start(&capabilities, work).expect("a ring");
    }
}
