//! The code that two people read to each other, and fingerprints, as words.
//!
//! One word stands for one byte. The first four letters of a word are enough to tell it from all others, and two
//! words differ in at least three places, so one mistyped letter is corrected.

use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::error::PairingError;

/// Words of a code: 32 random bits.
pub const CODE_WORDS: usize = 4;

/// Words of a fingerprint: the first 64 bits of the SHA-256.
pub const FINGERPRINT_WORDS: usize = 8;

/// Letters that tell a word from all others.
const LETTERS: usize = 4;

/// A code. Has no `Debug`, and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode(Zeroizing<[u8; CODE_WORDS]>);

impl PairingCode {
    /// A new code.
    ///
    /// # Errors
    /// `Random` if the system gives no random bytes.
    pub fn random() -> Result<Self, PairingError> {
        let mut bytes = Zeroizing::new([0; CODE_WORDS]);
        ring::rand::SystemRandom::new()
            .fill(&mut *bytes)
            .map_err(|_| PairingError::Random)?;
        Ok(Self(bytes))
    }

    /// The code with these bytes.
    #[must_use]
    pub fn of(bytes: [u8; CODE_WORDS]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a code as a person types it: in upper or lower case, with spaces, commas or hyphens between the words.
    /// Four letters of a word are enough, and one wrong letter is corrected.
    ///
    /// # Errors
    /// The end of a sentence: what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let separators = |c: char| c.is_whitespace() || matches!(c, ',' | '-' | '.');
        let words = text.split(separators).filter(|word| !word.is_empty());
        // One more than a code has shows that there are too many.
        let words: Vec<_> = words.take(CODE_WORDS + 1).collect();
        let bytes: Vec<u8> = words
            .iter()
            .map(|word| byte_of(word))
            .collect::<Result<_, _>>()?;
        let bytes = <[u8; CODE_WORDS]>::try_from(bytes)
            .map_err(|_| format!("has to be {CODE_WORDS} words, as the other site shows it"))?;
        Ok(Self::of(bytes))
    }

    /// The code as people read it to each other.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(words(&*self.0))
    }

    /// The bytes, of which the key exchange makes its key.
    pub(super) fn bytes(&self) -> &[u8] {
        &*self.0
    }
}

/// The first 64 bits of a SHA-256 as words.
#[must_use]
pub fn fingerprint(sha256: &[u8]) -> String {
    words(sha256.get(..FINGERPRINT_WORDS).unwrap_or(sha256))
}

fn words(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes
        .iter()
        .filter_map(|byte| WORDS.get(usize::from(*byte)))
        .copied()
        .collect();
    words.join(" ")
}

fn byte_of(typed: &str) -> Result<u8, String> {
    let word: String = typed.to_lowercase().chars().take(32).collect();
    let index = WORDS
        .iter()
        .position(|known| is_meant(known, &word))
        .or_else(|| {
            let near = |known: &&str| strsim::osa_distance(known, &word) <= 1;
            let mut found = (0..).zip(WORDS).filter(|(_, known)| near(known));
            let (index, _) = found.next()?;
            found.next().is_none().then_some(index)
        });
    index
        .and_then(|index| u8::try_from(index).ok())
        .ok_or_else(|| format!("has {word:?}, which is no word of a code; ask for it again"))
}

/// Whether a typed word is this one, or begins with its first four letters and goes on like it.
fn is_meant(known: &str, typed: &str) -> bool {
    typed.len() >= LETTERS && known.starts_with(typed)
}

/// The words, one for each value of a byte.
#[rustfmt::skip]
pub const WORDS: [&str; 256] = [
    "actor", "adult", "agent", "album", "alley", "almond", "amber", "angle", "apron", "artist",
    "atlas", "autumn", "avenue", "bacon", "badge", "bakery", "bamboo", "banana", "banjo", "barrel",
    "basket", "beach", "beaver", "bedroom", "bicycle", "biscuit", "blossom", "bonus", "border",
    "bottle", "breeze", "buffalo", "bundle", "butter", "cabin", "cactus", "camera", "canal",
    "captain", "carpet", "castle", "cellar", "cement", "cereal", "chapel", "cherry", "chimney",
    "chorus", "cinema", "circle", "citizen", "climate", "clover", "cobalt", "coconut", "coffee",
    "compass", "concert", "copper", "cotton", "cousin", "cradle", "crayon", "cricket", "crystal",
    "cushion", "dairy", "dance", "decade", "delta", "denim", "dentist", "desert", "diagram",
    "diamond", "dinner", "dolphin", "domino", "donkey", "drawer", "earth", "eclipse", "editor",
    "elbow", "embassy", "emerald", "engine", "equator", "evening", "exhibit", "expert", "fabric",
    "family", "farmer", "feather", "fiction", "fiddle", "field", "flute", "forest", "fossil",
    "fragile", "freedom", "friday", "frozen", "furnace", "future", "garden", "garlic", "gazelle",
    "gentle", "giant", "giraffe", "glacier", "goblet", "gorilla", "guitar", "helmet", "hippo",
    "hotel", "igloo", "image", "index", "infant", "insect", "island", "italic", "ivory", "jaguar",
    "jelly", "jigsaw", "juice", "junior", "koala", "ladder", "lagoon", "laptop", "lemon", "lilac",
    "limit", "linen", "lizard", "locket", "logic", "lunch", "luxury", "maple", "meadow", "medal",
    "minute", "mirror", "modern", "monday", "mosaic", "muffin", "museum", "napkin", "narrow",
    "nation", "nectar", "needle", "nephew", "nickel", "normal", "nurse", "nylon", "oasis", "object",
    "ocean", "office", "olive", "onion", "opera", "orange", "orbit", "oxygen", "palace", "panda",
    "paper", "peanut", "pearl", "pebble", "pencil", "picnic", "pigeon", "pillow", "pirate",
    "poetry", "polar", "porch", "potato", "prince", "profit", "public", "puppet", "purple", "queen",
    "quilt", "rabbit", "radar", "raven", "recipe", "record", "region", "remedy", "rescue", "rhythm",
    "ribbon", "rotary", "royal", "rubber", "runway", "rustic", "safari", "sailor", "salad",
    "saturn", "school", "season", "silver", "simple", "skiing", "sleeve", "smooth", "soccer",
    "spider", "square", "statue", "sugar", "summer", "symbol", "syrup", "tennis", "tiger", "tissue",
    "toast", "topaz", "tulip", "tunnel", "tuxedo", "typist", "vacuum", "vessel", "violin", "volume",
    "voyage", "waffle", "walnut", "window", "yacht", "yogurt", "young", "zebra", "zenith", "zigzag",
    "zodiac",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_differs_from_all_others_by_four_letters_and_by_three_edits() {
        for (index, word) in WORDS.iter().enumerate() {
            assert!(word.chars().all(|c| c.is_ascii_lowercase()), "{word}");
            for other in &WORDS[index + 1..] {
                assert_ne!(word[..LETTERS], other[..LETTERS]);
                assert!(strsim::osa_distance(word, other) >= 3, "{word} {other}");
            }
        }
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = PairingCode::of([0, 17, 128, 255]);
        let written = code.words();
        let words: Vec<_> = written.split(' ').collect();
        let [a, b, c, d] = words[..] else {
            panic!("{} words", words.len());
        };
        let short: Vec<_> = words.iter().map(|word| &word[..LETTERS]).collect();
        // One wrong letter, one missing, two swapped.
        let wrong = format!("{}x {} {c} {d}", &a[..a.len() - 1], &b[1..]);
        for text in [
            written.to_string(),
            written.to_uppercase(),
            short.join("-"),
            format!("  {a}, {b},{c}\t{d}\n"),
            wrong,
        ] {
            assert!(PairingCode::read(&text) == Ok(code.clone()), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_code_is_refused_with_its_fault() {
        let four = format!("{0} {0} {0} {0}", WORDS[1]);
        assert!(PairingCode::read(&four).is_ok());
        for text in ["", WORDS[1], &format!("{four} {}", WORDS[2])] {
            let Err(why) = PairingCode::read(text) else {
                panic!("{text} is read");
            };
            assert!(why.contains("4 words"), "{why}");
        }
        let Err(why) = PairingCode::read(&format!("{0} {0} {0} xxxxxx", WORDS[1])) else {
            panic!("it is read");
        };
        assert!(why.contains("\"xxxxxx\""), "{why}");
        // Three letters are not enough.
        assert!(PairingCode::read("act adu age alb").is_err());
    }
}
