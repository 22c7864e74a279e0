//! The network tier: two gateways between LAN and WAN namespaces.
