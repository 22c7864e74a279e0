//! Two gateways with plain sockets at both ends, or one gateway with a TLS peer of the test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustls::SupportedProtocolVersion;
use wardgate_tests::pki::Leaf;
use wardgate_tests::stream::{accept, connect};
use wardgate_tests::tls::TlsPeer;
use wardgate_tests::{Gateway, Pki, Site, free_port};

/// The name in site A's certificate, which originates.
pub(crate) const A: &str = "gw.a.example";
/// The name in site B's certificate, which terminates.
pub(crate) const B: &str = "gw.b.example";

/// client -> A (originate) -> TLS -> B (terminate) -> server.
pub(crate) struct Pair {
    pub(crate) a: Gateway,
    pub(crate) b: Gateway,
    pub(crate) entry: SocketAddr,
    pub(crate) exit: TcpListener,
    _pki: Pki,
}

impl Pair {
    /// Both gateways with routes of this protocol.
    pub(crate) fn start(protocol: &str) -> Self {
        Self::with(protocol, |site| site)
    }

    /// Both gateways; `adapt` changes each site.
    pub(crate) fn with(protocol: &str, adapt: impl Fn(Site) -> Site) -> Self {
        Self::each(protocol, &adapt, &adapt)
    }

    /// Both gateways, with additions to each site.
    pub(crate) fn each(
        protocol: &str,
        adapt_a: impl Fn(Site) -> Site,
        adapt_b: impl Fn(Site) -> Site,
    ) -> Self {
        let pki = Pki::new();
        let (entry, wan) = (local(), local());
        let exit = listen();
        let b = terminate(&pki, wan, address(&exit)).protocol(protocol);
        let a = originate(&pki, entry, wan).protocol(protocol);
        Self {
            b: adapt_b(b).start(),
            a: adapt_a(a).start(),
            entry,
            exit,
            _pki: pki,
        }
    }

    /// A connection through both gateways: the client's end and the server's end. Only for `tcp` routes,
    /// which connect before the first byte.
    pub(crate) fn join(&self) -> (TcpStream, TcpStream) {
        let client = connect(self.entry);
        (client, accept(&self.exit))
    }
}

/// A gateway that originates to a TLS server of the test.
pub(crate) struct Originate {
    pub(crate) gateway: Gateway,
    pub(crate) entry: SocketAddr,
    wan: TcpListener,
    identity: Leaf,
    _pki: Pki,
}

impl Originate {
    /// A `tcp` route.
    pub(crate) fn start() -> Self {
        Self::with(|site| site.protocol("tcp"))
    }

    /// A route changed by `adapt`.
    pub(crate) fn with(adapt: impl FnOnce(Site) -> Site) -> Self {
        let pki = Pki::new();
        let (entry, wan) = (local(), listen());
        let site = originate(&pki, entry, address(&wan));
        Self {
            gateway: adapt(site).start(),
            entry,
            wan,
            identity: pki.leaf(B),
            _pki: pki,
        }
    }

    /// The address that the gateway connects to.
    pub(crate) fn wan(&self) -> &TcpListener {
        &self.wan
    }

    /// A connection: the plain client's end, and the TLS server's with its handshake done.
    pub(crate) fn join(&self, version: &'static SupportedProtocolVersion) -> (TcpStream, TlsPeer) {
        let client = connect(self.entry);
        (client, self.accept(version))
    }

    /// The TLS server's end of the next connection, with its handshake done.
    pub(crate) fn accept(&self, version: &'static SupportedProtocolVersion) -> TlsPeer {
        let mut peer = TlsPeer::server(&self.identity, version, accept(&self.wan));
        peer.handshake().expect("both ends are who they should be");
        peer
    }
}

/// A gateway that terminates for a TLS client of the test.
pub(crate) struct Terminate {
    pub(crate) gateway: Gateway,
    pub(crate) entry: SocketAddr,
    pub(crate) exit: TcpListener,
    identity: Leaf,
    _pki: Pki,
}

impl Terminate {
    /// A `tcp` route.
    pub(crate) fn start() -> Self {
        Self::with(|site| site.protocol("tcp"))
    }

    /// A route changed by `adapt`.
    pub(crate) fn with(adapt: impl FnOnce(Site) -> Site) -> Self {
        let pki = Pki::new();
        let (entry, exit) = (local(), listen());
        let site = terminate(&pki, entry, address(&exit));
        Self {
            gateway: adapt(site).start(),
            entry,
            exit,
            identity: pki.leaf(A),
            _pki: pki,
        }
    }

    /// A TLS client on a new connection; nothing is sent yet.
    pub(crate) fn peer(&self, version: &'static SupportedProtocolVersion) -> TlsPeer {
        TlsPeer::client(&self.identity, B, version, connect(self.entry))
    }

    /// The same, with the offer of an application protocol (ALPN).
    pub(crate) fn peer_offering(
        &self,
        version: &'static SupportedProtocolVersion,
        protocol: &[u8],
    ) -> TlsPeer {
        TlsPeer::client_offering(&self.identity, B, version, connect(self.entry), protocol)
    }

    /// A TLS client with its handshake done.
    pub(crate) fn greeted(&self, version: &'static SupportedProtocolVersion) -> TlsPeer {
        let mut peer = self.peer(version);
        peer.handshake().expect("both ends are who they should be");
        peer
    }

    /// A connection: the TLS client's end and the plain server's.
    pub(crate) fn join(&self, version: &'static SupportedProtocolVersion) -> (TlsPeer, TcpStream) {
        let peer = self.greeted(version);
        (peer, accept(&self.exit))
    }
}

/// A gateway that passes TCP through, and a server behind the gateway.
pub(crate) struct Through {
    pub(crate) gateway: Gateway,
    pub(crate) entry: SocketAddr,
    pub(crate) exit: TcpListener,
}

impl Through {
    pub(crate) fn start() -> Self {
        Self::with(|site| site)
    }

    /// A `tcp` route changed by `adapt`.
    pub(crate) fn with(adapt: impl FnOnce(Site) -> Site) -> Self {
        let (entry, exit) = (local(), listen());
        let site = Site::new(&Pki::new(), A).passthrough(entry, address(&exit));
        Self {
            gateway: adapt(site).start(),
            entry,
            exit,
        }
    }

    /// A connection through it: the client's end and the server's.
    pub(crate) fn join(&self) -> (TcpStream, TcpStream) {
        let client = connect(self.entry);
        (client, accept(&self.exit))
    }
}

/// Site A with an MLLP route that forwards any noise from `entry` to a TLS server, which must be B.
pub(crate) fn originate(pki: &Pki, entry: SocketAddr, wan: SocketAddr) -> Site {
    let site = Site::new(pki, A).originate(entry, wan, &[format!("dns:{B}")]);
    site.protocol("mllp")
}

/// Site B with an MLLP route that forwards any noise of TLS clients, which must be A.
pub(crate) fn terminate(pki: &Pki, wan: SocketAddr, exit: SocketAddr) -> Site {
    let site = Site::new(pki, B).terminate(wan, exit, &[format!("dns:{A}")]);
    site.protocol("mllp")
}

/// A server's socket on loopback.
pub(crate) fn listen() -> TcpListener {
    TcpListener::bind(local()).expect("the port is free")
}

/// The address of the listener.
pub(crate) fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it is bound")
}

/// An address on loopback that nothing listens on.
pub(crate) fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}
