//! The security tier: what must be refused, in both modes, and what the log then says.
