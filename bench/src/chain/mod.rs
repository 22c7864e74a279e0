//! Chains: an originating and a terminating end, between a plain address and a plain target.
//!
//! ```text
//! generator -> [ A: originate ] == mutual TLS ==> [ B: terminate ] -> sink
//! ```
//!
//! A chain may be of one program, of two, of plain relays without TLS, or of nothing at all.

mod certificates;
mod config;
mod installed;
pub(crate) mod packages;
mod process;
mod usage;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use certificates::{Certificates, Identity};
use config::Leg;
pub(crate) use installed::{installed, target_folder, wardgate};
pub(crate) use process::{Process, Start};
pub(crate) use usage::{Cpu, memory};

/// The two ends, by their TLS role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Originate,
    Terminate,
}

impl End {
    /// The keyword in wardgate's configuration.
    fn name(self) -> &'static str {
        match self {
            Self::Originate => "originate",
            Self::Terminate => "terminate",
        }
    }

    /// The DNS name in its certificate.
    fn host(self) -> &'static str {
        match self {
            Self::Originate => "originate.bench.example",
            Self::Terminate => "terminate.bench.example",
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Originate => Self::Terminate,
            Self::Terminate => Self::Originate,
        }
    }
}

/// The programs that can be at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Wardgate,
    Haproxy,
    Stunnel,
    Nginx,
    /// The relay of the bench, without TLS.
    Relay,
}

/// A program as shipped or with larger buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) program: Program,
    pub(crate) tuned: bool,
    /// Configured for DICOM, so that the observer reads the traffic; only for wardgate.
    pub(crate) dicom: bool,
    /// With the cipher that wardgate does not select on this machine.
    pub(crate) other_cipher: bool,
}

/// A chain by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// A and B; none if the generator connects to the sink directly.
    pub(crate) ends: Option<[Member; 2]>,
}

const WARDGATE: Member = shipped(Program::Wardgate);
const WARDGATE_DICOM: Member = Member {
    dicom: true,
    ..WARDGATE
};
const WARDGATE_OTHER_CIPHER: Member = Member {
    other_cipher: true,
    ..WARDGATE
};
const HAPROXY: Member = shipped(Program::Haproxy);
const STUNNEL: Member = shipped(Program::Stunnel);
const NGINX: Member = shipped(Program::Nginx);
const RELAY: Member = shipped(Program::Relay);

const fn shipped(program: Program) -> Member {
    Member {
        program,
        tuned: false,
        dicom: false,
        other_cipher: false,
    }
}

const fn tuned(program: Program) -> Member {
    Member {
        program,
        tuned: true,
        dicom: false,
        other_cipher: false,
    }
}

const fn pair(name: &'static str, a: Member, b: Member) -> Chain {
    Chain {
        name,
        ends: Some([a, b]),
    }
}

/// All chains, in the order of a round.
pub(crate) const ALL: [Chain; 12] = [
    pair("wardgate", WARDGATE, WARDGATE),
    pair("wardgate-dicom", WARDGATE_DICOM, WARDGATE_DICOM),
    pair(
        "wardgate-other-cipher",
        WARDGATE_OTHER_CIPHER,
        WARDGATE_OTHER_CIPHER,
    ),
    pair("haproxy", HAPROXY, HAPROXY),
    pair(
        "haproxy-tuned",
        tuned(Program::Haproxy),
        tuned(Program::Haproxy),
    ),
    pair("nginx", NGINX, NGINX),
    pair("nginx-tuned", tuned(Program::Nginx), tuned(Program::Nginx)),
    pair("stunnel", STUNNEL, STUNNEL),
    pair("wardgate-haproxy", WARDGATE, HAPROXY),
    pair("haproxy-wardgate", HAPROXY, WARDGATE),
    pair("relay", RELAY, RELAY),
    Chain {
        name: "direct",
        ends: None,
    },
];

impl Chain {
    /// # Errors
    ///
    /// There is no chain of that name; the message lists the names.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        ALL.into_iter()
            .find(|chain| chain.name == name)
            .ok_or_else(|| {
                let names = ALL.map(|chain| chain.name).join(", ");
                format!("there is no chain {name:?}; there are {names}")
            })
    }

    /// Whether the program is at one of the ends.
    pub(crate) fn has(&self, program: Program) -> bool {
        self.ends
            .iter()
            .flatten()
            .any(|member| member.program == program)
    }

    /// Whether the chain carries only DICOM.
    pub(crate) fn is_dicom(&self) -> bool {
        self.ends.iter().flatten().any(|member| member.dicom)
    }

    /// Whether the chain exists to compare ciphers, and so only for bulk.
    pub(crate) fn compares_ciphers(&self) -> bool {
        self.ends.iter().flatten().any(|member| member.other_cipher)
    }

    /// Whether the chain is a peer for comparison: another program at both ends, with TLS.
    pub(crate) fn is_peer(&self) -> bool {
        self.ends.is_some() && !self.has(Program::Wardgate) && !self.has(Program::Relay)
    }
}

/// The cores of A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) a: usize,
    pub(crate) b: usize,
}

/// The common settings of the chains in a run.
#[derive(Debug)]
pub(crate) struct Kit {
    /// Configurations and logs; the programs' working folder.
    pub(crate) folder: PathBuf,
    certificates: Certificates,
    wardgate: PathBuf,
    /// The bytes that a plain relay reads at once, as on its command line.
    batch: String,
    /// The connections that every end must be able to hold.
    connections: u32,
    next_port: u16,
}

/// The first port of a run, which has all ports of its namespace; the system's ports for connecting sockets
/// begin at 32768.
const FIRST_PORT: u16 = 10_001;

const PORTS_END: u16 = 32_000;

impl Kit {
    /// # Errors
    ///
    /// Where the certificates cannot be made.
    pub(crate) fn new(
        folder: &Path,
        wardgate: &Path,
        batch: u64,
        connections: u32,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            certificates: Certificates::make(folder)?,
            wardgate: wardgate.to_owned(),
            batch: batch.to_string(),
            connections,
            next_port: FIRST_PORT,
        })
    }

    /// An address that no other part of this run has used, so that remains of earlier parts do not interfere.
    fn address(&mut self) -> anyhow::Result<SocketAddr> {
        anyhow::ensure!(self.next_port < PORTS_END, "the run has used all its ports");
        self.next_port += 1;
        Ok(SocketAddr::from(([127, 0, 0, 1], self.next_port)))
    }

    /// Starts the chain and waits until both ends listen.
    ///
    /// # Errors
    ///
    /// An end does not start, with its output.
    pub(crate) fn start(&mut self, chain: Chain, cores: Cores) -> anyhow::Result<Running> {
        self.start_on(chain, [&[cores.a], &[cores.b]])
    }

    /// Like `start`, with one or more cores for each end. Only wardgate uses more than the first.
    ///
    /// # Errors
    ///
    /// An end does not start, with its output.
    pub(crate) fn start_on(
        &mut self,
        chain: Chain,
        cores: [&[usize]; 2],
    ) -> anyhow::Result<Running> {
        let target = self.address()?;
        let Some([a, b]) = chain.ends else {
            return Ok(Running {
                chain,
                connect: target,
                target,
                terminator: None,
                ends: None,
            });
        };
        let (connect, between) = (self.address()?, self.address()?);
        let terminator = (b.program != Program::Relay).then(|| Terminator {
            program: b.program,
            address: between,
            name: End::Terminate.host(),
            identity: self.certificates.identity(End::Originate),
        });
        // B first, so that A finds its target.
        let b = self.start_end(b, End::Terminate, between, target, cores[1])?;
        let a = self.start_end(a, End::Originate, connect, between, cores[0])?;
        Ok(Running {
            chain,
            connect,
            target,
            terminator,
            ends: Some([a, b]),
        })
    }

    fn start_end(
        &self,
        member: Member,
        end: End,
        listen: SocketAddr,
        target: SocketAddr,
        cores: &[usize],
    ) -> anyhow::Result<Process> {
        let leg = Leg {
            end,
            listen,
            target,
            cores: cores.to_vec(),
            connections: self.connections,
        };
        let name = format!("{}-{}", listen.port(), end.name());
        let config = self.folder.join(format!("{name}.conf"));
        if let Some(text) = config::text(member, &leg, &self.certificates) {
            fs::write(&config, text)
                .with_context(|| format!("cannot write {}", config.display()))?;
        }
        let (program, arguments) = self.command(member.program, &leg, &config)?;
        let mut process = Process::start(Start {
            cores,
            program,
            arguments,
            environment: &[],
            log: self.folder.join(format!("{name}.log")),
        })?;
        process.wait_listening(listen)?;
        Ok(process)
    }

    fn command(
        &self,
        program: Program,
        leg: &Leg,
        config: &Path,
    ) -> anyhow::Result<(PathBuf, Vec<OsString>)> {
        let config = config.as_os_str().to_owned();
        let os_strings =
            |arguments: &[&str]| arguments.iter().map(OsString::from).collect::<Vec<_>>();
        let with = |mut first: Vec<OsString>| {
            first.push(config.clone());
            first
        };
        Ok(match program {
            Program::Wardgate => (
                self.wardgate.clone(),
                with(os_strings(&["run", "--config"])),
            ),
            Program::Haproxy => ("/usr/sbin/haproxy".into(), with(os_strings(&["-db", "-f"]))),
            Program::Stunnel => ("/usr/bin/stunnel4".into(), with(os_strings(&[]))),
            Program::Nginx => {
                let mut all = os_strings(&["-p"]);
                all.push(self.folder.as_os_str().to_owned());
                all.extend(os_strings(&["-e", "stderr", "-c"]));
                ("/usr/sbin/nginx".into(), with(all))
            }
            Program::Relay => {
                let (listen, target) = (leg.listen.to_string(), leg.target.to_string());
                let all = ["relay", "--listen", &listen, "--target", &target];
                let mut all = os_strings(&all);
                all.extend(os_strings(&["--batch", &self.batch]));
                (std::env::current_exe()?, all)
            }
        })
    }
}

/// A terminating end, and the identities for handshakes with it.
#[derive(Debug)]
pub(crate) struct Terminator {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    /// The DNS name in its certificate.
    pub(crate) name: &'static str,
    /// That of A.
    pub(crate) identity: Identity,
}

/// A running chain. Its programs end with it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) chain: Chain,
    /// The address for the generator to connect to.
    pub(crate) connect: SocketAddr,
    /// The listen address of the sink.
    pub(crate) target: SocketAddr,
    /// The TLS address of B.
    pub(crate) terminator: Option<Terminator>,
    ends: Option<[Process; 2]>,
}

impl Running {
    /// The processes of A and of B.
    pub(crate) fn pids(&self) -> Option<[Vec<u32>; 2]> {
        self.ends
            .as_ref()
            .map(|ends| ends.each_ref().map(Process::pids))
    }

    /// The CPU time of A and of B until now.
    ///
    /// # Errors
    ///
    /// An end has died, with its output.
    pub(crate) fn cpu(&self) -> anyhow::Result<Option<[Cpu; 2]>> {
        let Some([a, b]) = self.pids() else {
            return Ok(None);
        };
        let both = Cpu::of(&a).and_then(|a| Ok([a, Cpu::of(&b)?]));
        both.map(Some).with_context(|| self.log_tail())
    }

    /// The end of the output of its programs.
    pub(crate) fn log_tail(&self) -> String {
        let mut log = format!("chain {}", self.chain.name);
        for (end, process) in ["A", "B"].iter().zip(self.ends.iter().flatten()) {
            log += &format!("\n{end} said: {}", process.log_tail());
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_found_by_their_names() {
        for chain in ALL {
            assert_eq!(Chain::named(chain.name), Ok(chain));
        }
        let problem = Chain::named("haproxxy").expect_err("there is none");
        assert!(problem.contains("haproxy-tuned"), "{problem}");
    }

    #[test]
    fn peers_are_the_other_programs_alone() {
        let peers: Vec<_> = ALL.iter().filter(|chain| chain.is_peer()).collect();
        let names: Vec<_> = peers.iter().map(|chain| chain.name).collect();
        let expected = [
            "haproxy",
            "haproxy-tuned",
            "nginx",
            "nginx-tuned",
            "stunnel",
        ];
        assert_eq!(names, expected);
    }
}
