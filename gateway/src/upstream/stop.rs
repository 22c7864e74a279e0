//! The signal that ends attempts and probes.

use tokio::sync::watch;

/// Waits until `stop` becomes true, or its sender is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
