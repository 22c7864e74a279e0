//! The direct tier: the real program on loopback, one test per behaviour.

mod admin;
mod check;
mod churn;
mod cores;
mod demo;
mod drain;
mod endings;
mod files;
mod health;
mod journal;
mod large_list;
mod noise;
mod options;
mod owners;
mod pair;
mod passing;
mod passthrough;
mod pressure;
mod random;
mod refused;
mod relay;
mod routes;
mod stalls;
mod targets;
mod updates;
mod workers;
