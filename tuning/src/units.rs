//! Rates and times as an operator writes them: `10g`, `20ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::{
    BUFFER_BYTES_MAX, BUFFER_BYTES_MIN, RATE_MAX, RATE_MIN, ROUND_TRIP_MAX, ROUND_TRIP_MIN,
};

/// Bits per second, between 1 Mbit/s and 400 Gbit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// A round-trip time between 10 us and 5 s, in whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoundTrip(Duration);

/// Why a text is not a rate or a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is not a number with a unit.
    #[error("{text:?} is not {what}; write for example {example:?}")]
    Form {
        /// The text.
        text: String,
        /// "a rate" or "a time".
        what: &'static str,
        /// A good text.
        example: &'static str,
    },
    /// The value is too small or too large.
    #[error("{text:?} is not between {least} and {most}")]
    Range {
        /// The text.
        text: String,
        /// The smallest value.
        least: &'static str,
        /// The largest value.
        most: &'static str,
    },
}

impl Rate {
    /// A rate in megabits per second, as the kernel gives it for a network card.
    #[must_use]
    pub const fn megabits(number: u64) -> Self {
        Self(number.saturating_mul(1_000_000))
    }

    /// Bits per second.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The rate as an option: `10g`.
    #[must_use]
    pub fn option(self) -> String {
        match self.0 {
            bits if bits % 1_000_000_000 == 0 => format!("{}g", bits / 1_000_000_000),
            bits if bits % 1_000_000 == 0 => format!("{}m", bits / 1_000_000),
            bits => format!("{}k", bits / 1000),
        }
    }
}

impl RoundTrip {
    /// The time in microseconds.
    #[must_use]
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }

    /// A round-trip time in milliseconds.
    #[must_use]
    pub const fn millis(number: u64) -> Self {
        Self(Duration::from_millis(number))
    }
}

/// Bytes that are on their way on a link that is full: rate times round-trip time.
#[must_use]
pub(crate) fn bandwidth_delay(rate: Rate, time: RoundTrip) -> u64 {
    let bits = u128::from(rate.0) * u128::from(time.micros()) / 1_000_000;
    u64::try_from(bits / 8).unwrap_or(u64::MAX)
}

/// The maximum of a socket buffer that lets one connection fill the link: twice the bandwidth-delay product, because
/// the kernel counts its own overhead against the buffer, in whole MiB, between [`BUFFER_BYTES_MIN`] and
/// [`BUFFER_BYTES_MAX`].
#[must_use]
pub(crate) fn buffer(rate: Rate, time: RoundTrip) -> u64 {
    const MIB: u64 = 1 << 20;
    let twice = bandwidth_delay(rate, time).saturating_mul(2);
    let whole = twice.div_ceil(MIB).saturating_mul(MIB);
    whole.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX)
}

/// A number with a unit, times the factor of the unit; units in lower case. Exact to three decimals.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().ok()?;
    let digits = u32::try_from(fraction.len()).ok().filter(|d| *d <= 3)?;
    let fraction: u64 = fraction.parse().ok()?;
    let part = fraction.checked_mul(*factor)? / 10u64.pow(digits);
    whole.checked_mul(*factor)?.checked_add(part)
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: [(&str, u64); 9] = [
            ("k", 1000),
            ("kbit", 1000),
            ("kbit/s", 1000),
            ("m", 1_000_000),
            ("mbit", 1_000_000),
            ("mbit/s", 1_000_000),
            ("g", 1_000_000_000),
            ("gbit", 1_000_000_000),
            ("gbit/s", 1_000_000_000),
        ];
        let Some(bits) = scaled(text, &UNITS) else {
            return Err(UnitError::Form {
                text: text.to_owned(),
                what: "a rate",
                example: "10g",
            });
        };
        if !(RATE_MIN..=RATE_MAX).contains(&bits) {
            return Err(UnitError::Range {
                text: text.to_owned(),
                least: "1m",
                most: "400g",
            });
        }
        Ok(Self(bits))
    }
}

impl FromStr for RoundTrip {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: [(&str, u64); 3] = [("us", 1), ("ms", 1000), ("s", 1_000_000)];
        let Some(micros) = scaled(text, &UNITS) else {
            return Err(UnitError::Form {
                text: text.to_owned(),
                what: "a time",
                example: "20ms",
            });
        };
        let time = Duration::from_micros(micros);
        if !(ROUND_TRIP_MIN..=ROUND_TRIP_MAX).contains(&time) {
            return Err(UnitError::Range {
                text: text.to_owned(),
                least: "10us",
                most: "5s",
            });
        }
        Ok(Self(time))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [
            (1_000_000_000, "Gbit/s"),
            (1_000_000, "Mbit/s"),
            (1000, "kbit/s"),
        ];
        for (factor, unit) in UNITS {
            if self.0 >= factor {
                let hundredths = (self.0 % factor) / (factor / 100);
                let fraction = format!("{hundredths:02}");
                return match fraction.trim_end_matches('0') {
                    "" => write!(f, "{} {unit}", self.0 / factor),
                    fraction => write!(f, "{}.{fraction} {unit}", self.0 / factor),
                };
            }
        }
        write!(f, "{} bit/s", self.0)
    }
}

impl fmt::Display for RoundTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.micros() {
            micros if micros % 1_000_000 == 0 => write!(f, "{}s", micros / 1_000_000),
            micros if micros % 1000 == 0 => write!(f, "{}ms", micros / 1000),
            micros => write!(f, "{micros}us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_read_with_their_units() {
        for (text, bits, option) in [
            ("10g", 10_000_000_000, "10g"),
            ("2.5G", 2_500_000_000, "2500m"),
            ("100mbit", 100_000_000, "100m"),
            (" 1 Gbit/s", 1_000_000_000, "1g"),
            ("1544k", 1_544_000, "1544k"),
        ] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!((rate.bits(), rate.option().as_str()), (bits, option));
            assert_eq!(rate.option().parse(), Ok(rate), "{text}");
        }
        for (text, micros, option) in [
            ("20ms", 20_000, "20ms"),
            ("1.5ms", 1500, "1500us"),
            ("1s", 1_000_000, "1s"),
            ("250us", 250, "250us"),
        ] {
            let time: RoundTrip = text.parse().expect(text);
            assert_eq!((time.micros(), time.to_string().as_str()), (micros, option));
        }
    }

    #[test]
    fn other_texts_are_refused_with_an_example_or_the_range() {
        for text in [
            "", "g", "10", "ten g", "1..5g", "1.2345g", "10t", "é", "-1g",
        ] {
            let error = text.parse::<Rate>().expect_err(text);
            assert!(error.to_string().contains("\"10g\""), "{error}");
        }
        for text in [
            "1k",
            "401g",
            "99999999999999999999g",
            "18446744073709551615g",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["1us", "6s", "20", "20 min"] {
            assert!(text.parse::<RoundTrip>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_shown_with_its_unit() {
        assert_eq!(Rate::megabits(10_000).to_string(), "10 Gbit/s");
        assert_eq!(Rate::megabits(2500).to_string(), "2.5 Gbit/s");
        assert_eq!(Rate::megabits(100).to_string(), "100 Mbit/s");
    }

    #[test]
    fn a_buffer_holds_twice_the_bandwidth_delay_product_within_its_bounds() {
        let of = |rate: &str, time: &str| {
            let (rate, time) = (rate.parse().expect(rate), time.parse().expect(time));
            (bandwidth_delay(rate, time), buffer(rate, time))
        };
        assert_eq!(of("10g", "20ms"), (25_000_000, 48 << 20));
        assert_eq!(of("1g", "20ms"), (2_500_000, BUFFER_BYTES_MIN));
        assert_eq!(of("400g", "5s"), (250_000_000_000, BUFFER_BYTES_MAX));
    }
}
