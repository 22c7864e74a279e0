//! What a pairing would overwrite: a file that something else uses, and the peer that has the name already.

use std::fs;

use anyhow::Context as _;

use super::args::PairOptions;
use super::authority_keys::AuthorityKeys;
use super::edit::{Edited, PeerTable, is_same};
use crate::pairing::offer::Offer;
use crate::pki::store;

/// Refuses to overwrite a file that is not the trust of this peer's own table. The name of the file comes from the other
/// site, unless `--peer` gives it.
///
/// # Errors
/// Which file, who uses it, and what to do.
pub(super) fn check_file(edited: &Edited, table: &PeerTable, pem: &str) -> anyhow::Result<()> {
    let (path, name) = (&table.trust, &table.name);
    let remedy = "run the command again at both sites, and give the other site another name here with --peer NAME";
    if let Some(user) = edited.other_user(path, name) {
        anyhow::bail!(
            "{} would get the CA certificates of peer {name:?}, but {user} names this file already; {remedy}",
            path.display()
        );
    }
    let is_own = edited
        .peer(name)
        .is_some_and(|own| is_same(&own.trust, path));
    if is_own || fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    // An earlier pairing may have been cut off between the two files.
    let is_complete = fs::read(path).is_ok_and(|found| found == pem.as_bytes());
    anyhow::ensure!(
        is_complete,
        "{} exists already, and is not trust of [[peer]] {name:?}, so it is not overwritten; if nothing uses it, remove \
         it and run the command again at both sites; otherwise {remedy}",
        path.display()
    );
    Ok(())
}

/// The other site, and the table that would be its own.
pub(super) struct Replacement<'a> {
    pub(super) options: &'a PairOptions,
    pub(super) table: &'a PeerTable,
    pub(super) offer: &'a Offer,
}

/// Asks a person; `None` if there is no terminal.
type Ask<'a> = dyn FnMut(&str) -> anyhow::Result<Option<String>> + 'a;

impl Replacement<'_> {
    /// Shows what would change, and asks, unless the options answer already. `--yes` alone does not let one site take the
    /// place of another: who gives `--peer` as well has named the site that is expected.
    ///
    /// # Errors
    /// A person said no, or there is no terminal.
    pub(super) fn confirm(&self, old: Option<PeerTable>, ask: &mut Ask<'_>) -> anyhow::Result<()> {
        let name = &self.table.name;
        let is_named = self.options.peer.as_deref() == Some(name);
        let Some(old) = old else {
            if is_named || self.offer.site == *name {
                return Ok(());
            }
            println!(
                "the other site calls itself {:?}, {}; the routes list a peer {name:?}, which has no [[peer]] table yet",
                self.offer.site, self.offer.identity
            );
            return self.decide(ask, &format!("is this site peer {name:?}?"), "--peer");
        };
        let trusted = store::certificates(&old.trust).unwrap_or_default();
        let keys = AuthorityKeys::of(&trusted, &self.offer.authorities);
        let has_identity = old
            .identity
            .split(", ")
            .any(|one| one == self.table.identity);
        let is_other = keys.has_added() || !has_identity;
        if old == *self.table && !keys.change() {
            return Ok(());
        }
        self.show(&old, &keys);
        if self.options.yes && (is_named || !is_other) {
            return Ok(());
        }
        let question = format!("replace peer {name:?} by site {:?}?", self.offer.site);
        self.decide(
            ask,
            &question,
            if is_other { "--yes --peer" } else { "--yes" },
        )
    }

    fn decide(&self, ask: &mut Ask<'_>, question: &str, option: &str) -> anyhow::Result<()> {
        let (name, site) = (&self.table.name, &self.offer.site);
        let option = option.replace("--peer", &format!("--peer {name}"));
        let answer = ask(&format!("{question} [y/N] "))?;
        let answer = answer.with_context(|| {
            format!(
                "there is no terminal to ask whether site {site:?}, {}, becomes peer {name:?}; if it does, run the command \
                 again at both sites, with {option} at the site that knows it as {name:?}; if not, give it another name \
                 there with --peer",
                self.offer.identity
            )
        })?;
        anyhow::ensure!(
            ["y", "yes"].contains(&answer.to_lowercase().as_str()),
            "a person decided that site {site:?} does not become peer {name:?}"
        );
        Ok(())
    }

    fn show(&self, old: &PeerTable, keys: &AuthorityKeys) {
        let table = self.table;
        println!(
            "site {:?}, {}, would replace peer {:?} of the configuration:",
            self.offer.site, self.offer.identity, table.name
        );
        for (key, before, after) in [
            ("identity", old.identity.clone(), table.identity.clone()),
            (
                "trust",
                old.trust.display().to_string(),
                table.trust.display().to_string(),
            ),
            ("renew", old.renews.to_string(), table.renews.to_string()),
        ] {
            if before != after {
                println!("  - {key} = {before}\n  + {key} = {after}");
            }
        }
        print!("{}", keys.text());
    }
}
