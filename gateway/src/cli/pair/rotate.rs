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
use crate::pki::expiry::unix;
use crate::pki::{folder, partner, store, write};

/// The file in `next` that shows that its files are being moved.
const BEGUN: &str = "moving";
/// The last update that this site has signed. The folder is root's: what the gateway could have written is not the base
/// of the next signature.
const LAST: &str = "last.update";
const LAST_MODE: u32 = 0o644;
/// The files of a CA.
const FILES: [&str; 4] = ["issued.toml", "ca.crl", "ca.key", "ca.pem"];

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
    /// Another command has locked the folder.
    pub(super) fn open(
        dir: &Path,
        is_early: bool,
        now: SystemTime,
    ) -> anyhow::Result<Option<Self>> {
        if !(dir.join("ca.key").exists() || dir.join("next/ca.key").exists()) {
            return Ok(None);
        }
        Ok(Some(Self {
            dir: dir.to_owned(),
            now,
            is_early,
            lock: folder::lock(dir)?,
        }))
    }

    /// The present CA, under the lock that is held already.
    fn present(&self) -> anyhow::Result<Authority> {
        Ok(Authority::open_locked(&self.dir, self.lock.try_clone()?)?)
    }

    /// Lets the successor take its place: if every partner is ready for it (`all_know`), when a sixth of the present CA's
    /// time is left, or earlier if it was asked for; in any case when a twelfth is left. An earlier attempt that was cut
    /// off is completed.
    pub(super) fn switch(&self, all_know: bool) -> anyhow::Result<Option<String>> {
        let (next, previous) = (self.dir.join("next"), self.dir.join("previous"));
        let marker = next.join(BEGUN);
        if !marker.exists() {
            let is_due = self.is_left(&self.dir, 12)
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

    /// Whether the next CA is there with all its files.
    fn has_next(&self) -> bool {
        FILES
            .iter()
            .all(|file| self.dir.join("next").join(file).exists())
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
            // An earlier attempt was cut off. Its key has signed nothing, and no update has named its certificate.
            fs::remove_dir_all(&next)?;
        }
        let made = self.present()?.successor(&next, CA_DAYS, self.now)?;
        Ok(Some(format!(
            "made the next CA in {}, valid until {}",
            next.display(),
            made.ends()
        )))
    }

    /// Renews the certificate of the site if it is due, or if the predecessor of the CA has issued it.
    pub(super) fn renew_certificate(&self, output: &OutputFiles) -> anyhow::Result<Option<String>> {
        let chain = store::certificates(&output.certificate).map_err(|why| {
            anyhow::anyhow!(
                "certificate {:?} {why}",
                output.certificate.display().to_string()
            )
        })?;
        let leaf = chain.first().context("the chain is empty")?;
        let mut authority = self.present()?;
        let issued = match self
            .certificate("previous")
            .filter(|ca| partner::is_issued_by(leaf, ca))
        {
            Some(_) => {
                let previous = Authority::open(&self.dir.join("previous"))?;
                authority.renew_after(&previous, output, CERTIFICATE_DAYS, self.now)?
            }
            None if !partner::is_issued_by(leaf, authority.certificate()) => return Ok(None),
            None if self.is_early || is_left(leaf, 3, self.now) => {
                authority.renew(output, CERTIFICATE_DAYS, self.now)?
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::{CRL_DAYS, KeyType, NewAuthority, Permitted};
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
            assert!(partner::has_list(&ca, [list.as_path()], now));
        }
    }
}
