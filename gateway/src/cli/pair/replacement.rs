//! What a pairing would overwrite: a file that something else uses, and the peer that has the name already.

use std::fs;

use super::edit::{Edited, PeerTable, is_same};

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
