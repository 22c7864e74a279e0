//! Where a running process is asked: metrics and health over HTTP, and commands over the admin socket.

mod http;
mod limits;
mod response;
mod socket;
mod view;
mod web;

pub(crate) use http::serve;
pub(crate) use limits::ADMIN_DESCRIPTORS_IN_MESSAGE;
pub(crate) use socket::{AdminRequest, Answer, Caller, open, serve_requests};
pub(crate) use view::View;
pub(crate) use web::Web;
