//! Tests of the whole: a fixture tree of `/proc`, `/sys` and `/etc`, with models of `ip` and `ethtool`.

mod changes;
mod documents;
mod fixture;
mod kernels;
mod model;
mod records;
mod table;
