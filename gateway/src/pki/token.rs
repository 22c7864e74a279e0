//! The token that opens the web page: a secret in a file with the permissions of a private key.
//!
//! Only its SHA-256 is kept. A client sends the token as the password of HTTP Basic authentication, with any user
//! name, or as a bearer token (RFC 7617, RFC 6750).

use std::fmt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use ring::digest::{Digest, SHA256, digest};
use zeroize::Zeroizing;

use super::file::{self, FileRole};
use super::limits::{TOKEN_BYTES_MAX, TOKEN_BYTES_MIN};
use super::pem::base64;

/// The token of the web page, as its hash.
#[derive(Clone)]
pub struct WebToken(Digest);

impl WebToken {
    /// Reads the token from a file, whose bytes are wiped. Blanks around the token do not belong to it.
    ///
    /// # Errors
    /// Why the file cannot be used, as a predicate of the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let role = FileRole::Token;
        let raw = file::read(path, role)?;
        if let Some(problem) = raw.key_mode_problem(path, role) {
            return Err(problem);
        }
        Self::new(raw.bytes.trim_ascii())
    }

    fn new(token: &[u8]) -> Result<Self, String> {
        // LIMIT: TOKEN_BYTES_MIN, TOKEN_BYTES_MAX.
        if token.len() < TOKEN_BYTES_MIN || token.len() > TOKEN_BYTES_MAX {
            return Err(format!(
                "holds a token of {} characters; write {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX}, for example with \
                 `openssl rand -hex 16`",
                token.len()
            ));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(
                "holds a blank or a character that is not ASCII; write one token of letters and digits, for example \
                 with `openssl rand -hex 16`"
                    .to_owned(),
            );
        }
        Ok(Self(digest(&SHA256, token)))
    }

    /// Whether the value of an `Authorization` field proves that the client knows the token. The time does not
    /// depend on how much of a wrong token is right.
    #[must_use]
    pub fn is_proved_by(&self, authorization: &[u8]) -> bool {
        given(authorization).is_some_and(|given| {
            let hash = digest(&SHA256, &given);
            verify_slices_are_equal(hash.as_ref(), self.0.as_ref()).is_ok()
        })
    }
}

// The token that a client sends.
fn given(authorization: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let space = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = authorization.split_at_checked(space)?;
    let value = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return Some(Zeroizing::new(value.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let pair = base64::decode(value, 1, true).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let (_, password) = pair.split_at_checked(colon + 1)?;
    Some(Zeroizing::new(password.to_vec()))
}

// The hash of a weak token could be guessed.
impl fmt::Debug for WebToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebToken")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TOKEN: &[u8] = b"0123456789abcdef";

    #[test]
    fn the_token_is_accepted_as_a_password_or_as_a_bearer_token_only() {
        let token = WebToken::new(TOKEN).expect("it is long enough");
        for good in [
            "Bearer 0123456789abcdef",
            "bearer  0123456789abcdef ",
            // ":0123456789abcdef" and "admin:0123456789abcdef".
            "Basic OjAxMjM0NTY3ODlhYmNkZWY=",
            "basic YWRtaW46MDEyMzQ1Njc4OWFiY2RlZg==",
        ] {
            assert!(token.is_proved_by(good.as_bytes()), "{good}");
        }
        let long = format!("Bearer {}", "x".repeat(1_000_000));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            // The token as the user.
            "Basic MDEyMzQ1Njc4OWFiY2RlZjo=",
            "Basic ====",
            "Basic \u{fc}",
            "Digest 0123456789abcdef",
            "0123456789abcdef",
            &long,
        ] {
            assert!(!token.is_proved_by(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_token_that_is_short_or_open_to_others_is_refused() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("web.token");
        let read = |text: &[u8], mode| {
            write(&path, text).expect("there is room");
            set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
            WebToken::read(&path)
        };
        assert!(
            read(b" 0123456789abcdef\n", 0o600)
                .is_ok_and(|token| token.is_proved_by(b"Bearer 0123456789abcdef"))
        );
        for (text, mode, expected) in [
            (
                &b"0123456789abcde"[..],
                0o600,
                "of 15 characters; write 16 to 256",
            ),
            (&[b'x'; 257], 0o600, "of 257 characters"),
            (b"0123456789 abcdef", 0o600, "holds a blank"),
            (TOKEN, 0o644, "chmod 0600"),
        ] {
            let problem = read(text, mode).expect_err("it is refused");
            assert!(problem.contains(expected), "{problem}");
        }
        std::fs::remove_file(&path).expect("it is there");
        let problem = WebToken::read(&path).expect_err("it is missing");
        assert!(
            problem.contains("does not exist; make it with"),
            "{problem}"
        );
    }

    #[test]
    fn the_token_is_not_shown() {
        let token = WebToken::new(TOKEN).expect("it is long enough");
        assert_eq!(format!("{token:?}"), "WebToken");
    }
}
