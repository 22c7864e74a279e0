//! Tests of the whole: a fixture tree of `/proc`, `/sys` and `/etc`, with models of `ip`, `tc` and `ethtool`.

mod boot;
mod cards;
mod changes;
mod documents;
mod fixture;
mod kernels;
mod model;
mod records;
mod table;
