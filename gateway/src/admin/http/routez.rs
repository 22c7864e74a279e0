//! `/routez`: whether routes can take traffic, for load balancers and monitoring.

use std::collections::HashMap;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Serialize;

use crate::admin::View;
use crate::route::{Route, RoutePhase};

/// A route and whether it can take traffic.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct RouteReadiness {
    name: String,
    ready: bool,
    /// Why, in a sentence.
    why: String,
}

#[derive(Serialize)]
struct AllRoutes {
    ready: bool,
    routes: Vec<RouteReadiness>,
}

#[derive(Serialize)]
struct Unknown {
    ready: bool,
    why: String,
}

/// All configured routes: 200 if each can take traffic.
pub(super) fn all(view: &View) -> (StatusCode, Bytes) {
    let (files, table) = (view.files.borrow(), view.table.borrow());
    let open = table.routes.iter();
    let open: HashMap<_, _> = open.map(|route| (&*route.config.name, &**route)).collect();
    let names = files.routes.iter().map(|(name, _)| name.as_str());
    let routes: Vec<_> = names
        .map(|name| readiness(view, name, open.get(name).copied()))
        .collect();
    let ready = routes.iter().all(|route| route.ready);
    (status(ready), json(&AllRoutes { ready, routes }).into())
}

/// One route: 200 if it can take traffic, 503 if not, 404 if there is none of this name.
pub(super) fn one(view: &View, name: &str) -> (StatusCode, String) {
    let is_known = view
        .files
        .borrow()
        .routes
        .iter()
        .any(|(one, _)| one == name);
    if !is_known {
        let unknown = Unknown {
            ready: false,
            why: "there is no route of this name; /routez lists all".to_owned(),
        };
        return (StatusCode::NOT_FOUND, json(&unknown));
    }
    let table = view.table.borrow();
    let route = table.by_name(name).map(|route| &**route);
    let readiness = readiness(view, name, route);
    (status(readiness.ready), json(&readiness))
}

fn status(is_ready: bool) -> StatusCode {
    match is_ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn readiness(view: &View, name: &str, route: Option<&Route>) -> RouteReadiness {
    let outcome = match route {
        _ if !view.ready.get() => Err("the gateway is stopping".to_owned()),
        Some(route) => of_open(route),
        None => Err("the route is closed because of a bad file; the log names the file".to_owned()),
    };
    RouteReadiness {
        name: name.to_owned(),
        ready: outcome.is_ok(),
        why: outcome.unwrap_or_else(|why| why),
    }
}

// Why an open route can take traffic.
fn of_open(route: &Route) -> Result<String, String> {
    match *route.state.phase().borrow() {
        RoutePhase::Open => {}
        RoutePhase::Leaving => return Err("the route drains soon (drain_delay)".to_owned()),
        RoutePhase::Draining | RoutePhase::Stopped => {
            return Err("the route is draining and accepts no new connections".to_owned());
        }
    }
    let all = &route.targets.all;
    let down = all.iter().filter(|one| one.state.is_down()).count();
    let is_usable = |one: bool, other: bool| !one && !other;
    let usable = all
        .iter()
        .filter(|one| is_usable(one.state.is_down(), one.state.is_in_maintenance()))
        .count();
    let count = all.len();
    match usable {
        0 if down == count => Err(format!("all targets are down ({count} of {count})")),
        0 if down == 0 => Err(format!(
            "all targets are in maintenance ({count} of {count})"
        )),
        0 => Err(format!(
            "no target gets new connections: {down} of {count} are down, the others are in maintenance"
        )),
        _ if usable == count => Ok("the route accepts connections".to_owned()),
        _ => Ok(format!(
            "the route accepts connections; {usable} of {count} targets get them"
        )),
    }
}

fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}
