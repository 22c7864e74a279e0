//! The simulation tier: state machines under seeded events and a virtual clock.
