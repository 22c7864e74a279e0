//! PROXY headers: read as a socket delivers them, compared with a reading of the whole.

use gateway::proxy::limits::HEADER_BYTES_MAX;
use gateway::proxy::{Ends, Header, HeaderError, ParsedHeader, between, parse};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

pub(crate) fn read(input: &[u8]) -> String {
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let whole = parse(input);
    // The copy of a header for its checksum.
    let allocated = region.change().bytes_allocated;
    assert!(allocated <= HEADER_BYTES_MAX, "{allocated}");
    let mut taken = 0;
    let in_parts = loop {
        match parse(&input[..taken]) {
            Ok(ParsedHeader::More(more)) => {
                assert!(more > 0, "a reader that asks for nothing never ends");
                assert!(taken + more <= HEADER_BYTES_MAX, "{taken} and {more}");
                if taken + more > input.len() {
                    break Ok(None);
                }
                taken += more;
            }
            Ok(ParsedHeader::Header(header, length)) => {
                assert_eq!(length, taken, "a byte behind the header was taken");
                break Ok(Some(header));
            }
            Err(error) => break Err(error),
        }
    };
    match (whole, in_parts) {
        (Ok(ParsedHeader::Header(one, _)), Ok(Some(other))) => assert_eq!(one, other),
        (Ok(ParsedHeader::More(_)), Ok(None)) | (Err(_), Err(_)) => {}
        // The whole is known to be wrong, and the reader has not received it yet.
        (Err(_), Ok(None)) => {}
        (whole, in_parts) => panic!("{whole:?} and {in_parts:?}"),
    }
    match in_parts {
        Ok(Some(Header::Named(ends))) => {
            assert_eq!(ends.source.ip(), ends.source.ip().to_canonical());
            let again = between(Ends::new(ends.source, ends.destination));
            let expected = ParsedHeader::Header(Header::Named(ends), again.len());
            assert_eq!(parse(&again), Ok(expected));
            format!("named, v4 {}", ends.source.is_ipv4())
        }
        Ok(Some(header)) => format!("{header:?}"),
        Ok(None) => "more".to_owned(),
        Err(HeaderError::NoHeader) => "none".to_owned(),
        Err(error) => error.to_string(),
    }
}
