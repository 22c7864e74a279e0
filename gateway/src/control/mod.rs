//! Requests of an operator to a running gateway, independent of how they arrive, and the decisions about
//! them that need neither socket nor clock.

mod changes;
mod drain;
mod health;
pub(crate) mod limits;
mod listeners;
mod protocol;
mod status;

pub use changes::{RouteChange, report_changes, restart_only};
pub use drain::{DrainStep, RouteDrain};
pub use health::{LinkLoad, RouteFacts, gateway_health, route_health};
pub use listeners::{ListenerPlan, plan_listener};
pub use protocol::{Command, CommandReply, HandedListener, PROTOCOL_VERSION, Request};
pub use status::{
    CertificateStatus, ConnectionStatus, CoreStatus, DrainStatus, GatewayStatus, HealthLevel,
    HealthStatus, RefusalStatus, RouteStatus, SandboxStatus, TargetStatus,
};
