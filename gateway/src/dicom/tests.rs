//! Whole associations, at any split.
