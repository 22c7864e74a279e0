//! Edits the text of a configuration: its comments and its layout stay.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TableLike, Value, value};

/// The text of a configuration.
pub(super) struct Edited {
    document: DocumentMut,
    folder: PathBuf,
}

/// What a `[[peer]]` table says about another site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerTable {
    /// `name`.
    pub(super) name: String,
    /// `identity`.
    pub(super) identity: String,
    /// `trust`.
    pub(super) trust: PathBuf,
    /// `renew`.
    pub(super) renews: bool,
}

impl Edited {
    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// The text is no TOML.
    pub(super) fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let document = text.parse().with_context(|| {
            format!(
                "{} is no TOML; `wardgate check` names the line",
                path.display()
            )
        })?;
        Ok(Self {
            document,
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
        })
    }

    /// The text with all changes.
    pub(super) fn text(&self) -> String {
        self.document.to_string()
    }

    /// The files of `[identity]`: certificate and key.
    pub(super) fn identity(&self) -> Option<(PathBuf, PathBuf)> {
        let table = self.document.get("identity")?;
        let path = |key| Some(self.folder.join(table.get(key)?.as_str()?));
        Some((path("certificate")?, path("key")?))
    }

    /// Writes `[identity]`.
    pub(super) fn set_identity(&mut self, certificate: &Path, key: &Path) {
        let table = self
            .document
            .entry("identity")
            .or_insert_with(|| Item::Table(Table::new()));
        for (name, path) in [("certificate", certificate), ("key", key)] {
            set(table, name, path.display().to_string());
        }
    }

    /// The addresses of routes with this mode: `listen` of a terminate route, `targets` of an originate route.
    pub(super) fn addresses(&self, mode: &str, key: &str) -> BTreeSet<String> {
        let of_mode = |route: &&Table| route.get("mode").and_then(Item::as_str) == Some(mode);
        let values = self
            .routes()
            .filter(of_mode)
            .filter_map(|route| route.get(key));
        values.flat_map(addresses).collect()
    }

    fn routes(&self) -> impl Iterator<Item = &Table> {
        let routes = self
            .document
            .get("route")
            .and_then(Item::as_array_of_tables);
        routes.into_iter().flat_map(ArrayOfTables::iter)
    }

    fn peers(&self) -> impl Iterator<Item = &Table> {
        let peers = self.document.get("peer").and_then(Item::as_array_of_tables);
        peers.into_iter().flat_map(ArrayOfTables::iter)
    }

    /// The name of the table with this identity.
    pub(super) fn name_of(&self, identity: &str) -> Option<String> {
        let mut peers = self.peers();
        let found = peers.find(|peer| {
            peer.get("identity")
                .is_some_and(|item| texts(item).contains(&identity))
        });
        Some(found?.get("name")?.as_str()?.to_owned())
    }

    /// The name that routes list as a peer and no table has, if there is only one.
    pub(super) fn missing_peer(&self) -> Option<String> {
        let known: BTreeSet<_> = self
            .peers()
            .filter_map(|peer| peer.get("name")?.as_str())
            .collect();
        let listed = self
            .routes()
            .filter_map(|route| route.get("peers"))
            .flat_map(texts);
        let missing: BTreeSet<_> = listed
            .filter(|name| !name.contains(':') && !known.contains(name))
            .collect();
        let mut missing = missing.into_iter();
        let first = missing.next()?;
        missing.next().is_none().then(|| first.to_owned())
    }

    /// The table of this name, if it is there.
    pub(super) fn peer(&self, name: &str) -> Option<PeerTable> {
        let mut peers = self.peers();
        let table = peers.find(|peer| peer.get("name").and_then(Item::as_str) == Some(name))?;
        let text = |key| table.get(key).and_then(Item::as_str).unwrap_or_default();
        Some(PeerTable {
            name: name.to_owned(),
            identity: table
                .get("identity")
                .map(texts)
                .unwrap_or_default()
                .join(", "),
            trust: self.folder.join(text("trust")),
            renews: table
                .get("renew")
                .and_then(Item::as_bool)
                .unwrap_or_default(),
        })
    }

    /// What names this file, besides the table of this peer: `trust of [[peer]] "region"`. Any key counts, because
    /// every file that a configuration names is one that must not be overwritten.
    pub(super) fn other_user(&self, file: &Path, peer: &str) -> Option<String> {
        let is_own = |key: &str, table: &Table| {
            key == "peer" && table.get("name").and_then(Item::as_str) == Some(peer)
        };
        for (key, item) in self.document.iter() {
            if let Some(tables) = item.as_array_of_tables() {
                for table in tables.iter().filter(|table| !is_own(key, table)) {
                    let name = table.get("name").and_then(Item::as_str).unwrap_or_default();
                    if let Some(found) = self.key_with(table, file) {
                        return Some(format!("{found} of [[{key}]] {name:?}"));
                    }
                }
            } else if let Some(table) = item.as_table_like()
                && let Some(found) = self.key_with(table, file)
            {
                return Some(format!("{found} of [{key}]"));
            }
        }
        None
    }

    /// The key of a table, or of a table in it, that names this file.
    fn key_with(&self, table: &dyn TableLike, file: &Path) -> Option<String> {
        let names = |item: &Item| {
            let mut texts = texts(item).into_iter();
            let below = item.as_table_like();
            texts.any(|text| is_same(&self.folder.join(text), file))
                || below.is_some_and(|below| self.key_with(below, file).is_some())
        };
        let mut all = table.iter();
        all.find(|(_, item)| names(item))
            .map(|(key, _)| key.to_owned())
    }

    /// Writes a table, in place of the one with its name; its other keys stay.
    ///
    /// # Errors
    /// `peer` is something else than tables.
    pub(super) fn set_peer(&mut self, peer: &PeerTable) -> anyhow::Result<()> {
        let tables = self
            .document
            .entry("peer")
            .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
            .as_array_of_tables_mut()
            .context(
                "peer is written as something else than [[peer]] tables; write it as tables",
            )?;
        let position = tables
            .iter()
            .position(|table| table.get("name").and_then(Item::as_str) == Some(peer.name.as_str()));
        let position = position.unwrap_or_else(|| {
            let mut table = Table::new();
            table
                .decor_mut()
                .set_prefix("\n# Written by `wardgate pair`.\n");
            tables.push(table);
            tables.len().saturating_sub(1)
        });
        let table = tables.get_mut(position).context("the table was added")?;
        let mut item = Item::Table(std::mem::take(table));
        set(&mut item, "name", peer.name.clone());
        set(&mut item, "identity", peer.identity.clone());
        set(&mut item, "trust", peer.trust.display().to_string());
        if peer.renews {
            set(&mut item, "renew", true);
        } else if let Some(table) = item.as_table_mut() {
            table.remove("renew");
        }
        if let Item::Table(changed) = item {
            *table = changed;
        }
        Ok(())
    }

    /// Writes another file as the trust of a table.
    ///
    /// # Errors
    /// There is no table of this name.
    pub(super) fn set_trust(&mut self, peer: &str, trust: &Path) -> anyhow::Result<()> {
        let table = self
            .table_mut("peer", peer)
            .with_context(|| format!("there is no [[peer]] {peer:?} any more"))?;
        table.insert("trust", value(trust.display().to_string()));
        Ok(())
    }

    /// The table with this name in an array of tables.
    fn table_mut(&mut self, key: &str, name: &str) -> Option<&mut Table> {
        let tables = self.document.get_mut(key)?.as_array_of_tables_mut()?;
        tables
            .iter_mut()
            .find(|table| table.get("name").and_then(Item::as_str) == Some(name))
    }

    /// Adds a peer to `peers` of a route.
    ///
    /// # Errors
    /// There is no such route, or its `peers` is no list.
    pub(super) fn list_in_route(&mut self, route: &str, peer: &str) -> anyhow::Result<()> {
        let table = self
            .table_mut("route", route)
            .with_context(|| format!("there is no route {route:?}; correct --route"))?;
        let list = table
            .entry("peers")
            .or_insert_with(|| value(toml_edit::Array::new()));
        let list = list
            .as_array_mut()
            .with_context(|| format!("peers of route {route:?} is no list; write it as one"))?;
        if !list.iter().any(|listed| listed.as_str() == Some(peer)) {
            list.push(peer);
        }
        Ok(())
    }
}

/// Whether two paths lead to the same file, which need not exist.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| {
        fs::canonicalize(path).ok().or_else(|| {
            let folder = fs::canonicalize(path.parent()?).ok()?;
            Some(folder.join(path.file_name()?))
        })
    };
    one == other
        || resolved(one)
            .zip(resolved(other))
            .is_some_and(|(a, b)| a == b)
}

/// Sets a key and keeps what is written around an earlier value.
fn set(table: &mut Item, key: &str, new: impl Into<Value>) {
    let mut new = new.into();
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    if let Some(table) = table.as_table_like_mut() {
        table.insert(key, Item::Value(new));
    }
}

/// The texts of a text or a list of texts.
fn texts(item: &Item) -> Vec<&str> {
    let of_list = item
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    item.as_str().into_iter().chain(of_list).collect()
}

/// The same of targets, which may be tables with an address.
fn addresses(item: &Item) -> Vec<String> {
    let tables = item.as_array().into_iter().flatten();
    let tables = tables.filter_map(|one| one.as_inline_table()?.get("address")?.as_str());
    texts(item)
        .into_iter()
        .chain(tables)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# Hospital A.
[gateway]
metrics = "127.0.0.1:9464"   # this machine only

[[peer]]      # the old one
name = "region"
identity = "dns:old.region.example"   # since 2024
trust = "pki/old.pem"
crl = ["pki/region.crl"]

[[route]]
name = "out"
mode = "originate"
targets = ["gw.region.example:2762", { address = "gw2.region.example:2762" }]
peers = ["region", "clinic"]  # both

[[route]]
name = "in"
mode = "terminate"
listen = "192.0.2.1:2762"
"#;

    fn edited() -> Edited {
        Edited::parse(Path::new("/etc/wardgate/wardgate.toml"), TEXT).expect("it is TOML")
    }

    fn table(name: &str) -> PeerTable {
        PeerTable {
            name: name.to_owned(),
            identity: "dns:gw.region.example".to_owned(),
            trust: "/etc/wardgate/pki/peers/region.pem".into(),
            renews: true,
        }
    }

    #[test]
    fn a_replaced_peer_keeps_its_other_keys_and_every_comment() {
        let mut edited = edited();
        edited.set_peer(&table("region")).expect("it is written");
        let expected = TEXT
            .replace("dns:old.region.example", "dns:gw.region.example")
            .replace("pki/old.pem", "/etc/wardgate/pki/peers/region.pem")
            .replace("region.crl\"]\n", "region.crl\"]\nrenew = true\n");
        assert_eq!(edited.text(), expected);
        assert_eq!(edited.peer("region"), Some(table("region")));
        edited.set_peer(&table("region")).expect("it is written");
        assert_eq!(edited.text(), expected);
    }

    #[test]
    fn a_new_peer_is_added_and_nothing_else_changes() {
        let mut edited = edited();
        edited.set_peer(&table("clinic")).expect("it is written");
        edited.list_in_route("in", "clinic").expect("it is there");
        edited.list_in_route("out", "clinic").expect("it is there");
        let text = edited.text();
        let added = "\n# Written by `wardgate pair`.\n[[peer]]\nname = \"clinic\"\n";
        assert!(text.contains(added), "{text}");
        let rest: String = TEXT.lines().map(|line| format!("{line}\n")).collect();
        for line in rest.lines() {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(text.contains("peers = [\"clinic\"]"), "{text}");
        assert!(text.parse::<DocumentMut>().is_ok());
    }

    #[test]
    fn addresses_and_names_are_found_as_they_are_written() {
        let edited = edited();
        let targets = edited.addresses("originate", "targets");
        let expected = ["gw.region.example:2762", "gw2.region.example:2762"];
        assert_eq!(targets.iter().collect::<Vec<_>>(), expected);
        assert_eq!(edited.addresses("terminate", "listen").len(), 1);
        assert_eq!(edited.missing_peer().as_deref(), Some("clinic"));
        assert_eq!(
            edited.name_of("dns:old.region.example").as_deref(),
            Some("region")
        );
        assert!(edited.list_in_route_of_none());
    }

    impl Edited {
        fn list_in_route_of_none(mut self) -> bool {
            self.list_in_route("none", "x").is_err()
        }
    }
}
