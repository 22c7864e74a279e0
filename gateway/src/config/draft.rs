//! A route on its way from what is written to what it means.

use std::net::SocketAddr;
use std::path::Path;

use super::file;
use super::{InterfaceName, Located, Mode, Protocol, RouteConfig, Target};

/// What the meaning of a file depends on besides its text.
pub(super) struct FileContext<'a> {
    /// The file as given on the command line.
    pub(super) file: &'a Path,
    /// CPUs that this process may run on, ascending.
    pub(super) cpus: &'a [usize],
    /// The folder of the service's credentials (`CREDENTIALS_DIRECTORY`), if a service manager passed some.
    pub(super) credentials: Option<&'a Path>,
}

/// A route as far as it could be read.
pub(super) struct Draft<'a> {
    pub(super) written: &'a file::Route,
    pub(super) mode: Option<Mode>,
    pub(super) protocol: Option<Protocol>,
    pub(super) listen: Option<Located<SocketAddr>>,
    /// The interface that `listen` is restricted to, if any.
    pub(super) interface: Option<InterfaceName>,
    /// All that it may connect to, whatever chooses between them.
    pub(super) targets: Vec<Located<Target>>,
    /// Complete, if all of it could be read.
    pub(super) route: Option<RouteConfig>,
}
