//! The site's own CA and certificate: what is renewed, and when the next CA takes the place of the present one.
//!
//! A successor is made while a third of the CA's time is left, so that every partner learns of it long before it issues a
//! certificate. Folders below that of the CA: `next` has the successor, `previous` the predecessor.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;

use crate::pairing::update::Update;
use crate::pki::authority::{Authority, CA_DAYS, CERTIFICATE_DAYS, OutputFiles};
use crate::pki::expiry::{date, unix};
use crate::pki::{folder, partner, store, write};

/// The file in `next` that shows that its files are being moved.
const BEGUN: &str = "moving";
/// The last update that this site has signed. The folder is root's: what the gateway could have written is not the base
/// of the next signature.
const LAST: &str = "last.update";
const LAST_MODE: u32 = 0o644;
/// The files of a CA.
pub(super) const FILES: [&str; 4] = ["issued.toml", "ca.crl", "ca.key", "ca.pem"];
/// Seconds for which partners can learn of the next CA before it takes over without their knowledge; an eighth of the time of
/// a CA with a short life. A clock that is years ahead for a while makes a next CA, and does not put it in place as well.
const NOTICE: i64 = 7 * 24 * 60 * 60;

/// The CA of this site and its neighbours in time. No other command changes them until this is dropped.
pub(super) struct OwnAuthorities {
    dir: PathBuf,
    now: SystemTime,
    is_early: bool,
    lock: File,
}

impl OwnAuthorities {
    /// `None` if this site has no key of a CA here.
    ///
    /// # Errors
    /// Another command has locked the folder, or the clock is wrong.
    pub(super) fn open(
        dir: &Path,
        is_early: bool,
        now: SystemTime,
    ) -> anyhow::Result<Option<Self>> {
        if !(dir.join("ca.key").exists() || dir.join("next/ca.key").exists()) {
            return Ok(None);
        }
        let own = Self {
            dir: dir.to_owned(),
            now,
            is_early,
            lock: folder::lock(dir)?,
        };
        own.check_clock()?;
        Ok(Some(own))
    }

    /// This machine has made its CA, so the time is later than the beginning of the CA. A certificate that is made before
    /// that would be valid at no time, and replace a good one.
    fn check_clock(&self) -> anyhow::Result<()> {
        let present = self.certificate("");
        let validity = present.as_ref().and_then(partner::validity);
        let begins = validity.map_or(0, |(begins, _)| begins);
        anyhow::ensure!(
            begins <= unix(self.now),
            "the CA of this site in {} is not valid before {}, so nothing of it is renewed: correct the clock of this machine; \
             if the clock is right, it was ahead when this CA was made: restore the CA and the site's certificate from a \
             backup, or make new ones and pair again",
            self.dir.display(),
            date(begins)
        );
        Ok(())
    }

    /// The present CA, under the lock that is held already.
    fn present(&self) -> anyhow::Result<Authority> {
        Ok(Authority::open_locked(&self.dir, self.lock.try_clone()?)?)
    }

    /// Lets the successor take its place: if every partner is ready for it (`all_know`), when a sixth of the present CA's
    /// time is left, or earlier if it was asked for; in any case when a twelfth is left and the successor is a week old. An
    /// earlier attempt that was cut off is completed.
    pub(super) fn switch(&self, all_know: bool) -> anyhow::Result<Option<String>> {
        let (next, previous) = (self.dir.join("next"), self.dir.join("previous"));
        let marker = next.join(BEGUN);
        if !marker.exists() {
            let is_due = self.is_left(&self.dir, 12) && self.has_next_since(self.notice())
                || all_know && (self.is_early || self.is_left(&self.dir, 6));
            if !(self.has_next() && is_due) {
                return Ok(None);
            }
        }
        fs::create_dir_all(&previous)?;
        // Someone may have named these folders themselves in `wardgate pki`.
        let _neighbours = (folder::lock(&next)?, folder::lock(&previous)?);
        File::create(&marker)?.sync_all()?;
        for file in FILES {
            // What is not in `next` any more was moved by an earlier attempt.
            if next.join(file).exists() {
                if self.dir.join(file).exists() {
                    fs::rename(self.dir.join(file), previous.join(file))?;
                }
                fs::rename(next.join(file), self.dir.join(file))?;
            }
        }
        fs::remove_file(&marker)?;
        fs::remove_dir(&next)
            .with_context(|| format!("{} has other files; remove them", next.display()))?;
        Ok(Some(format!(
            "the next CA has taken the place of the one that is now in {}",
            previous.display()
        )))
    }

    fn notice(&self) -> i64 {
        let present = self.certificate("");
        let validity = present.as_ref().and_then(partner::validity);
        let life = validity.map_or(0, |(begins, ends)| ends.saturating_sub(begins));
        NOTICE.min(life.checked_div(8).unwrap_or(life))
    }

    /// Whether the next CA is there with all its files, and is valid. One of the future was made while the clock was ahead.
    fn has_next(&self) -> bool {
        self.has_next_since(0)
    }

    /// Whether the next CA is there, and has been valid for some seconds.
    fn has_next_since(&self, seconds: i64) -> bool {
        let next = self.certificate("next");
        let validity = next.as_ref().and_then(partner::validity);
        let is_valid =
            validity.is_some_and(|(begins, _)| begins.saturating_add(seconds) <= unix(self.now));
        let mut files = FILES.iter().map(|file| self.dir.join("next").join(file));
        is_valid && files.all(|file| file.exists())
    }

    /// Makes the successor if it is due.
    pub(super) fn make_successor(&self) -> anyhow::Result<Option<String>> {
        let next = self.dir.join("next");
        let has_predecessor = self
            .certificate("previous")
            .is_some_and(|ca| !self.is_over(&ca));
        // Not again while the last change is going on, unless the present CA itself is due.
        let is_due = self.is_left(&self.dir, 3) || (self.is_early && !has_predecessor);
        if self.has_next() || !is_due {
            return Ok(None);
        }
        if next.exists() {
            // An earlier attempt was cut off, or the clock was ahead. Its key has signed nothing; and no update has named its
            // certificate, but one of the future, which partners refuse.
            fs::remove_dir_all(&next)?;
        }
        let made = self.present()?.successor(&next, CA_DAYS, self.now)?;
        Ok(Some(format!(
            "made the next CA in {}, valid until {}",
            next.display(),
            made.ends()
        )))
    }

    /// Renews the certificate of the site if it is due, or if the predecessor of the CA has issued it. One that is not valid
    /// yet was made while the clock was ahead, and one whose key is another was cut off from it: both are due.
    pub(super) fn renew_certificate(&self, output: &OutputFiles) -> anyhow::Result<Option<String>> {
        let chain = store::certificates(&output.certificate).map_err(|why| {
            anyhow::anyhow!(
                "certificate {:?} {why}",
                output.certificate.display().to_string()
            )
        })?;
        let leaf = chain.first().context("the chain is empty")?;
        let mut authority = self.present()?;
        let is_due = self.is_early
            || is_left(leaf, 3, self.now)
            || begins_later(leaf, self.now)
            || output.has_other_key(leaf);
        let issued = match self
            .certificate("previous")
            .filter(|ca| partner::is_issued_by(leaf, ca))
        {
            Some(_) => {
                let previous = Authority::open(&self.dir.join("previous"))?;
                authority.renew_after(&previous, output, CERTIFICATE_DAYS, self.now)?
            }
            None if !partner::is_issued_by(leaf, authority.certificate()) => return Ok(None),
            None if is_due => authority.renew(output, CERTIFICATE_DAYS, self.now)?,
            None => return Ok(None),
        };
        Ok(Some(format!(
            "renewed {}: {}, valid until {}",
            output.certificate.display(),
            issued.names.join(", "),
            issued.ends
        )))
    }

    /// The update that partners need, if it is another one than `current`.
    pub(super) fn update(
        &self,
        identity: &str,
        current: Option<&[u8]>,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let authority = self.present()?;
        let previous = self.certificate("previous").filter(|ca| !self.is_over(ca));
        let mut authorities = vec![authority.certificate().clone()];
        let next = self.certificate("next").filter(|_| self.has_next());
        authorities.extend(next.or_else(|| previous.clone()));
        let current = current.and_then(|bytes| Update::read(bytes).ok());
        let is_known = match &current {
            // Partners have this certificate since the pairing.
            None => authorities.len() == 1,
            Some(update) => update.authorities == authorities && update.identity == identity,
        };
        if is_known {
            return Ok(None);
        }
        // The old key signs the new certificate.
        let signer = match previous {
            Some(_) => Authority::open(&self.dir.join("previous"))?,
            None => authority,
        };
        let last = current.map_or(0, |update| update.sequence);
        let sequence = u64::try_from(unix(self.now))
            .unwrap_or_default()
            .max(last.saturating_add(1));
        let part = Update::signed_part(sequence, identity, &authorities, signer.certificate())
            .context("the CA certificate cannot be read")?;
        let signature = signer.sign(&Update::to_sign(&part))?;
        Ok(Some(Update::complete(&part, &signature)))
    }

    /// The last update that was signed here. `published` is the copy in the state folder, which the gateway's process can
    /// change: it counts only if there is no other, and a CA of this site has signed it.
    pub(super) fn last_update(&self, published: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let update = |bytes: &Vec<u8>| {
            let update = Update::read(bytes).ok()?;
            (!update.is_in_future(self.now)).then_some(update)
        };
        let last = fs::read(self.dir.join(LAST)).ok();
        if let Some(last) = last.filter(|bytes| update(bytes).is_some()) {
            return Some(last);
        }
        let own: Vec<_> = ["", "next", "previous"]
            .iter()
            .filter_map(|folder| self.certificate(folder))
            .collect();
        published
            .filter(|bytes| update(bytes).is_some_and(|update| update.is_signed_by(bytes, &own)))
    }

    /// Keeps an update as the last one, before it is published.
    pub(super) fn keep(&self, update: &[u8]) -> anyhow::Result<()> {
        let path = self.dir.join(LAST);
        write::replace(&path, update, LAST_MODE)
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The CA certificate in a folder below that of the CA.
    fn certificate(&self, folder: &str) -> Option<CertificateDer<'static>> {
        first(&self.dir.join(folder).join("ca.pem"))
    }

    fn is_left(&self, dir: &Path, part: i64) -> bool {
        first(&dir.join("ca.pem")).is_some_and(|ca| is_left(&ca, part, self.now))
    }

    fn is_over(&self, certificate: &CertificateDer<'_>) -> bool {
        partner::validity(certificate).is_none_or(|(_, ends)| ends <= unix(self.now))
    }
}

fn first(path: &Path) -> Option<CertificateDer<'static>> {
    store::certificates(path).ok()?.into_iter().next()
}

/// Whether less than this part of a certificate's time is left.
fn is_left(certificate: &CertificateDer<'_>, part: i64, now: SystemTime) -> bool {
    let Some((begins, ends)) = partner::validity(certificate) else {
        return false;
    };
    let (life, left) = (ends.saturating_sub(begins), ends.saturating_sub(unix(now)));
    left < life.checked_div(part).unwrap_or(life)
}

/// Whether a certificate is not valid yet.
fn begins_later(certificate: &CertificateDer<'_>, now: SystemTime) -> bool {
    partner::validity(certificate).is_some_and(|(begins, _)| begins > unix(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunAs;
    use crate::pki::authority::{CRL_DAYS, KeyType, NewAuthority, NewCertificate, Permitted};
    use std::time::{Duration, Instant};

    const DAY: u64 = 24 * 60 * 60;

    fn open(dir: &Path, is_early: bool, now: SystemTime) -> OwnAuthorities {
        let own = OwnAuthorities::open(dir, is_early, now).expect("nothing is in the way");
        own.expect("it has a key")
    }

    fn authority(days: u32) -> (tempfile::TempDir, SystemTime) {
        let dir = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let wanted = NewAuthority {
            name: "Hospital".to_owned(),
            key: KeyType::P256,
            days,
            crl_days: 30,
            permitted: Permitted {
                dns: Vec::new(),
                uri: Vec::new(),
            },
        };
        Authority::init(dir.path(), &wanted, now).expect("it is made");
        (dir, now)
    }

    #[test]
    fn a_successor_is_made_when_a_third_is_left_and_takes_over_when_a_sixth_is_left() {
        let (dir, now) = authority(90);
        let at = |day: u64| open(dir.path(), false, now + Duration::from_secs(day * DAY));
        assert!(at(65).make_successor().expect("it is read").is_some());
        assert_eq!(at(70).switch(true).expect("it is read"), None);
        // A partner is not ready: it would refuse the new CA.
        assert_eq!(at(80).switch(false).expect("it is read"), None);
        assert!(at(84).switch(false).expect("it is read").is_some());

        let (dir, now) = authority(90);
        let at = |day: u64| open(dir.path(), false, now + Duration::from_secs(day * DAY));
        assert_eq!(at(55).make_successor().expect("it is read"), None);
        assert!(at(65).make_successor().expect("it is read").is_some());
        assert_eq!(at(66).make_successor().expect("it is read"), None);
        let old = first(&dir.path().join("ca.pem"));
        let next = first(&dir.path().join("next/ca.pem"));
        assert_eq!(at(70).switch(true).expect("it is read"), None);
        assert!(at(80).switch(true).expect("it is read").is_some());
        assert_eq!(first(&dir.path().join("ca.pem")), next);
        assert_eq!(first(&dir.path().join("previous/ca.pem")), old);
        assert!(!dir.path().join("next").exists());
        assert_eq!(at(81).make_successor().expect("it is read"), None);
    }

    #[test]
    fn a_switch_that_was_cut_off_after_any_step_is_completed() {
        for done in 0..=FILES.len() {
            let (dir, now) = authority(90);
            open(dir.path(), true, now)
                .make_successor()
                .expect("it is read")
                .expect("it was asked for");
            let next = first(&dir.path().join("next/ca.pem"));
            fs::create_dir(dir.path().join("previous")).expect("the folder is ours");
            fs::write(dir.path().join("next").join(BEGUN), "").expect("the folder is ours");
            for file in &FILES[..done] {
                let (present, previous) = (
                    dir.path().join(file),
                    dir.path().join("previous").join(file),
                );
                fs::rename(&present, previous).expect("the folder is ours");
                fs::rename(dir.path().join("next").join(file), present)
                    .expect("the folder is ours");
            }
            let completed = open(dir.path(), false, now).switch(false);
            assert!(completed.expect("it is completed").is_some(), "{done}");
            assert_eq!(first(&dir.path().join("ca.pem")), next);
            Authority::open(dir.path()).expect("its key belongs to it");
            Authority::open(&dir.path().join("previous")).expect("its key belongs to it");
        }
    }

    #[test]
    fn a_successor_that_was_made_by_half_is_made_again_and_never_used() {
        let (dir, now) = authority(90);
        let own = open(dir.path(), true, now);
        own.make_successor()
            .expect("it is read")
            .expect("it was asked for");
        fs::remove_file(dir.path().join("next/issued.toml")).expect("it is there");
        let present = first(&dir.path().join("ca.pem"));
        assert_eq!(own.switch(true).expect("it is read"), None);
        assert_eq!(own.update("dns:a.example", None).expect("it is read"), None);
        assert!(own.make_successor().expect("it is made").is_some());
        assert_eq!(first(&dir.path().join("ca.pem")), present);
        Authority::open(&dir.path().join("next")).expect("it is whole");
    }

    #[test]
    fn the_old_key_signs_the_update_before_and_after_the_switch() {
        let (dir, now) = authority(90);
        let own = open(dir.path(), true, now);
        let old = first(&dir.path().join("ca.pem")).expect("it is made");
        assert_eq!(own.update("dns:a.example", None).expect("it is read"), None);
        own.make_successor().expect("it is read");
        let first_update = own
            .update("dns:a.example", None)
            .expect("it is read")
            .expect("it is new");
        assert_eq!(
            own.update("dns:a.example", Some(&first_update))
                .expect("it is read"),
            None
        );
        own.switch(true).expect("it is read");
        let second = own
            .update("dns:a.example", Some(&first_update))
            .expect("it is read");
        let second = second.expect("the order has changed");
        let identities = ["dns:a.example".to_owned()];
        let mut known = 0;
        for bytes in [first_update, second] {
            let update = Update::read(&bytes).expect("it is one");
            assert_eq!(
                update.check(&bytes, &identities, std::slice::from_ref(&old), known, now),
                Ok(())
            );
            assert_eq!(update.authorities.len(), 2);
            known = update.sequence;
        }
    }

    /// A certificate of this CA.
    fn certificate(dir: &Path, now: SystemTime) -> OutputFiles {
        let output = OutputFiles {
            certificate: dir.join("site.pem"),
            key: dir.join("site.key"),
        };
        let wanted = NewCertificate {
            dns: vec!["a.example".to_owned()],
            uri: Vec::new(),
            key: KeyType::P256,
            days: CERTIFICATE_DAYS,
        };
        let issued = Authority::open(dir).and_then(|mut ca| ca.issue(&wanted, &output, now));
        issued.expect("it is issued");
        output
    }

    #[test]
    fn what_was_renewed_while_the_clock_was_ahead_is_renewed_again_once_it_is_right() {
        let (dir, now) = authority(CA_DAYS);
        let output = certificate(dir.path(), now);
        let renew = |day: u64| {
            let own = open(dir.path(), false, now + Duration::from_secs(day * DAY));
            own.renew_certificate(&output).expect("it is read")
        };
        assert!(renew(300).is_some());
        assert!(renew(0).is_some(), "it is not valid yet");
        let leaf = first(&output.certificate).expect("it is there");
        assert!(!begins_later(&leaf, now));
        assert!(!output.has_other_key(&leaf));
        assert_eq!(renew(1), None);
    }

    #[test]
    fn a_certificate_that_was_cut_off_from_its_new_key_is_renewed() {
        let (dir, now) = authority(CA_DAYS);
        let output = certificate(dir.path(), now);
        // It is due at the one day, and not at the other: `wardgate pki renew` may have been cut off.
        for day in [300, 301] {
            let key = KeyType::P256.generate().expect("a key");
            fs::write(&output.key, key.serialize_pem()).expect("the folder is ours");
            let own = open(dir.path(), false, now + Duration::from_secs(day * DAY));
            assert!(
                own.renew_certificate(&output)
                    .expect("it is read")
                    .is_some()
            );
            let leaf = first(&output.certificate).expect("it is there");
            assert!(!output.has_other_key(&leaf));
            assert_eq!(own.renew_certificate(&output).expect("it is read"), None);
        }
    }

    #[test]
    fn a_next_ca_of_the_future_never_takes_over() {
        let (dir, now) = authority(90);
        let at = |day: u64| open(dir.path(), false, now + Duration::from_secs(day * DAY));
        // The clock is ahead, and two runs at such a time do not change to a CA of which no partner knows.
        assert!(at(89).make_successor().expect("it is made").is_some());
        assert_eq!(at(89).switch(false).expect("it is read"), None);
        let ahead = first(&dir.path().join("next/ca.pem"));
        // The clock is right again.
        assert_eq!(at(84).switch(true).expect("it is read"), None);
        assert_eq!(
            at(84).update("dns:a.example", None).expect("it is read"),
            None
        );
        assert!(at(84).make_successor().expect("it is made").is_some());
        assert_ne!(first(&dir.path().join("next/ca.pem")), ahead);
        assert!(at(84).switch(true).expect("it is read").is_some());
    }

    #[test]
    fn nothing_is_renewed_at_a_time_before_this_machine_had_its_ca() {
        let (dir, now) = authority(90);
        let earlier = now - Duration::from_secs(DAY);
        let refused = OwnAuthorities::open(dir.path(), true, earlier).err();
        let text = refused.expect("the clock is wrong").to_string();
        assert!(text.contains("correct the clock of this machine"), "{text}");
        open(dir.path(), true, now);
        // There is no CA here.
        let none = OwnAuthorities::open(&dir.path().join("other"), true, now);
        assert!(none.expect("nothing is in the way").is_none());
    }

    #[test]
    fn a_command_that_has_the_ca_open_ends_before_another_ca_takes_its_place() {
        let (dir, now) = authority(90);
        let made = open(dir.path(), true, now).make_successor();
        made.expect("it is made").expect("it was asked for");
        let old = first(&dir.path().join("ca.pem"));
        let mut revoking = Authority::open(dir.path()).expect("it is free");
        std::thread::scope(|scope| {
            let switching = scope.spawn(|| open(dir.path(), true, now).switch(true));
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(300) && !switching.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(first(&dir.path().join("ca.pem")), old);
            revoking.renew_crl(CRL_DAYS, now).expect("it is written");
            drop(revoking);
            let switched = switching.join().expect("no panic").expect("it is moved");
            assert!(switched.is_some());
        });
        for (folder, of_old) in [("", false), ("previous", true)] {
            let folder = dir.path().join(folder);
            let ca = first(&folder.join("ca.pem")).expect("it is there");
            assert_eq!(Some(&ca) == old.as_ref(), of_old);
            let list = folder.join("ca.crl");
            assert!(partner::has_list(
                &ca,
                [list.as_path()],
                &RunAs::Default,
                now
            ));
        }
    }
}
