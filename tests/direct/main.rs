//! The direct tier: the real program on loopback, one test per behaviour.

mod demo;
