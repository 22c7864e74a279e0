//! Runs tcpdump on one interface, and reads its file.

use std::path::PathBuf;

use tempfile::TempDir;
use wardgate_tests::{Background, DEADLINE, until};

use crate::lab::{Lab, Place};

/// Bytes of libpcap's file header and of the header before each packet (pcap-savefile(5)).
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// A running capture.
pub(crate) struct Capture<'a> {
    tcpdump: Background,
    lab: &'a Lab,
    place: Place,
    interface: &'static str,
    file: PathBuf,
    _folder: TempDir,
}

impl<'a> Capture<'a> {
    /// Captures whole packets on an interface at a place.
    pub(crate) fn start(lab: &'a Lab, place: Place, interface: &'static str) -> Self {
        let folder = TempDir::new().expect("there is room");
        let file = folder.path().join("packets.pcap");
        // -U writes each packet when it comes; -Z root, for the folder is root's.
        let program = lab
            .program(place, "tcpdump")
            .args([
                "--immediate-mode",
                "-U",
                "-s",
                "0",
                "-B",
                "65536",
                "-Z",
                "root",
            ])
            .args(["-i", interface, "-w"])
            .arg(&file)
            .arg("tcp or udp");
        let mut tcpdump = Background::start(&program);
        tcpdump.wait_for_output("listening on");
        Self {
            tcpdump,
            lab,
            place,
            interface,
            file,
            _folder: folder,
        }
    }

    /// Ends the capture when all packets until now are in its file, and returns the packets.
    ///
    /// The test sends a packet of its own after all others, and waits for it in the file.
    pub(crate) fn packets(self) -> Packets {
        let last = "the last packet of this capture";
        self.lab
            .send_datagram(self.place, self.interface, last.as_bytes());
        let packets = until("tcpdump has written the last packet", DEADLINE, || {
            let bytes = std::fs::read(&self.file).expect("tcpdump has made its file");
            Some(Packets::read(&bytes)).filter(|packets| packets.hits(last) > 0)
        });
        let report = self.tcpdump.stop();
        assert!(report.contains("0 packets dropped by kernel"), "{report}");
        packets
    }
}

/// Captured packets.
pub(crate) struct Packets {
    packets: Vec<Vec<u8>>,
}

impl Packets {
    fn read(bytes: &[u8]) -> Self {
        let mut packets = Vec::new();
        let mut rest = bytes.get(FILE_HEADER..).unwrap_or_default();
        while let Some((header, behind)) = rest.split_at_checked(PACKET_HEADER) {
            let length = header.get(8..12).expect("the header has 16 bytes");
            let length = u32::from_ne_bytes(length.try_into().expect("a length has 4 bytes"));
            let length = usize::try_from(length).expect("x86-64 has 64 bits");
            let Some((packet, behind)) = behind.split_at_checked(length) else {
                break;
            };
            packets.push(packet.to_vec());
            rest = behind;
        }
        Self { packets }
    }

    /// In how many packets a text stands.
    ///
    /// A text that two packets share is not found, so the tests look for texts that come often.
    pub(crate) fn hits(&self, text: &str) -> usize {
        let needle = text.as_bytes();
        let holds = |packet: &&Vec<u8>| packet.windows(needle.len()).any(|part| part == needle);
        self.packets.iter().filter(holds).count()
    }

    /// All bytes of all packets, headers of the network included.
    pub(crate) fn bytes(&self) -> usize {
        self.packets.iter().map(Vec::len).sum()
    }
}
