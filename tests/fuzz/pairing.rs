//! What another site, or anybody at its port, sends to `wardgate pair` and to a gateway that renews trust.

use std::io::{self, Read, Write};

use gateway::pairing::code::PairingCode;
use gateway::pairing::conversation::prove;
use gateway::pairing::exchange::PairRole;
use gateway::pairing::frame::PairingFrame;
use gateway::pairing::offer::Offer;
use gateway::pairing::update::{RenewalMessage, Update};

/// The first byte of the input chooses who reads the rest.
pub(crate) fn read(input: &[u8]) -> String {
    let Some((reader, bytes)) = input.split_first() else {
        return "empty".to_owned();
    };
    match reader % 6 {
        0 => prove_to(PairRole::Listens, bytes),
        1 => prove_to(PairRole::Connects, bytes),
        2 => match Offer::read(bytes) {
            Ok(offer) => {
                // Flags may have bits that this version does not know.
                let again = offer.bytes();
                assert_eq!(again.len(), bytes.len());
                assert_eq!(Offer::read(&again).ok(), Some(offer));
                "offer".to_owned()
            }
            Err(_) => "no offer".to_owned(),
        },
        3 => match Update::read(bytes) {
            Ok(update) => format!("update of {} CAs", update.authorities.len()),
            Err(error) => error.to_string(),
        },
        4 => match RenewalMessage::read(bytes) {
            Ok(Some(message)) => {
                assert_eq!(message.bytes(), bytes);
                "message".to_owned()
            }
            Ok(None) => "more".to_owned(),
            Err(error) => error.to_string(),
        },
        _ => {
            let mut rest = bytes;
            match PairingFrame::receive(&mut rest) {
                Ok(frame) => {
                    let taken = bytes.len() - rest.len();
                    assert_eq!(frame.bytes(), &bytes[..taken]);
                    let text = String::from_utf8_lossy(&frame.body);
                    // A person may type anything.
                    format!(
                        "{:?}, a code: {}",
                        frame.kind,
                        PairingCode::read(&text).is_ok()
                    )
                }
                Err(error) => error.to_string(),
            }
        }
    }
}

/// A side that has a random code: nothing that is sent proves it.
fn prove_to(role: PairRole, incoming: &[u8]) -> String {
    let code = PairingCode::of([1, 2, 3, 4]);
    let mut tries = 0;
    let mut check = |is_right: &mut dyn FnMut() -> bool| {
        tries += 1;
        Ok(is_right())
    };
    let outcome = prove(&mut Script { incoming }, role, &code, &mut check);
    match outcome {
        Ok(_) => panic!("a proof without the code"),
        Err(error) => format!("{tries} tries, {error}"),
    }
}

/// What a side reads; what it writes is dropped.
struct Script<'s> {
    incoming: &'s [u8],
}

impl Read for Script<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(room)
    }
}

impl Write for Script<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
