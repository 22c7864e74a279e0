//! Addresses and ports in the configuration of other programs, and the protocols that they suggest.

use std::net::IpAddr;

/// What the route carries, as far as the importer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProtocolGuess {
    Dicom,
    Mllp,
    Tcp,
}

impl ProtocolGuess {
    /// The value of the key `protocol`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Dicom => "dicom",
            Self::Mllp => "mllp",
            Self::Tcp => "tcp",
        }
    }

    /// The protocol of a word on the command line.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        [Self::Dicom, Self::Mllp, Self::Tcp]
            .into_iter()
            .find(|one| one.word() == word)
    }
}

/// Ports of DICOM: registered ones (PS3.8 section 9.1.1, IANA), and the default of Orthanc.
const DICOM_PORTS: [u16; 5] = [104, 11112, 2762, 2761, 4242];
/// Ports of HL7 over MLLP: the registered one, its neighbour for TLS in many guides, and the default of Mirth.
const MLLP_PORTS: [u16; 3] = [2575, 2576, 6661];
/// Words in the names of services.
const DICOM_WORDS: [&str; 4] = ["dicom", "pacs", "dcm", "modality"];
const MLLP_WORDS: [&str; 2] = ["hl7", "mllp"];

/// The protocol that ports and names suggest, with the reason.
pub(super) fn guess<'a>(
    ports: impl IntoIterator<Item = u16>,
    names: impl IntoIterator<Item = &'a str>,
) -> (ProtocolGuess, String) {
    for port in ports {
        for (known, protocol) in [
            (&DICOM_PORTS[..], ProtocolGuess::Dicom),
            (&MLLP_PORTS[..], ProtocolGuess::Mllp),
        ] {
            if known.contains(&port) {
                return (protocol, format!("port {port} is one of this protocol"));
            }
        }
    }
    for name in names {
        let name = name.to_lowercase();
        for (known, protocol) in [
            (&DICOM_WORDS[..], ProtocolGuess::Dicom),
            (&MLLP_WORDS[..], ProtocolGuess::Mllp),
        ] {
            if let Some(word) = known.iter().find(|word| name.contains(**word)) {
                return (protocol, format!("its name contains {word:?}"));
            }
        }
    }
    let reason = "neither port nor name is known; if it carries DICOM or HL7, import again with --protocol NAME=dicom \
        or NAME=mllp, so that wardgate checks what passes";
    (ProtocolGuess::Tcp, reason.to_owned())
}

/// Host and port of `HOST:PORT` or `PORT`. An IPv6 address may be in brackets or not.
pub(super) fn host_and_port(text: &str) -> (Option<&str>, &str) {
    match text.rsplit_once(':') {
        Some((host, port)) => {
            let bare = host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            (Some(bare.unwrap_or(host)), port)
        }
        None => (None, text),
    }
}

/// A port from 1 to 65535.
pub(super) fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

/// `HOST:PORT`, with brackets around an IPv6 address.
pub(super) fn joined(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_split_at_the_last_colon() {
        assert_eq!(host_and_port("104"), (None, "104"));
        assert_eq!(host_and_port("a.example:104"), (Some("a.example"), "104"));
        assert_eq!(host_and_port("::1:104"), (Some("::1"), "104"));
        assert_eq!(host_and_port("[fd00::5]:104"), (Some("fd00::5"), "104"));
        assert_eq!(host_and_port(":104"), (Some(""), "104"));
        for wrong in ["", "0", "65536", "+1", "dicom"] {
            assert_eq!(port(wrong), None, "{wrong}");
        }
        assert_eq!(joined("::1", 104), "[::1]:104");
    }

    #[test]
    fn ports_come_before_names_in_the_guess_of_the_protocol() {
        let guess = |ports: &[u16], name| guess(ports.iter().copied(), [name]).0;
        assert_eq!(guess(&[9000, 104], "x"), ProtocolGuess::Dicom);
        assert_eq!(guess(&[2575], "pacs"), ProtocolGuess::Mllp);
        assert_eq!(guess(&[9000], "to-PACS"), ProtocolGuess::Dicom);
        assert_eq!(guess(&[9000], "adt-HL7"), ProtocolGuess::Mllp);
        assert_eq!(guess(&[6379], "redis"), ProtocolGuess::Tcp);
    }
}
