//! Handshakes in memory between ours and all kinds of peers.
