//! TLS: what may be negotiated, who may speak, and the handshake.
