//! When the service manager keeps the listeners, and when it closes them.

use std::collections::BTreeMap;
use std::io;

use super::fd_store::{FdStore, name};
use super::notice;
use super::running::Running;
use crate::audit::messages;
use crate::config::{RouteConfig, WhenDown};

impl Running {
    /// Makes the service manager keep the listeners that are open now. To be called after each change of them.
    pub(super) fn store_listeners(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let routes = self.workers.table().routes.iter();
        let open = routes.filter(|route| outlives_the_process(&route.config));
        let open = open.filter_map(|route| {
            let listener = self.workers.listener(route.id())?;
            Some((name(&listener)?, listener))
        });
        let open = open.collect();
        self.report_store(|store| store.keep(&open));
    }

    /// Makes the service manager close the listeners: the service stops, and clients are refused from now on.
    pub(super) fn forget_listeners(&mut self) {
        self.report_store(|store| store.keep(&BTreeMap::new()));
    }

    fn report_store(&mut self, change: impl FnOnce(&mut FdStore) -> io::Result<()>) {
        if let Err(error) = change(&mut self.fd_store) {
            let text = format!(
                "the service manager does not take the listeners: {error}; `systemctl restart` may refuse clients, \
                 and `wardgate upgrade` does not"
            );
            notice(&self.journal, &messages::LISTENERS_NOT_KEPT, text);
        }
    }
}

// A route that refuses clients while no target can serve them also does so while there is no gateway.
fn outlives_the_process(route: &RouteConfig) -> bool {
    route.when_down != WhenDown::Refuse
}
