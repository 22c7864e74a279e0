//! The parts list (SBOM) of a package, as CycloneDX 1.5 in JSON.

use serde_json::{Value, json};

use super::VERSION;
use super::crates::{Crate, Crates};

/// The parts list of the package `name`. `time` is ISO 8601 in UTC.
pub(crate) fn document(name: &str, crates: &Crates, time: &str) -> Value {
    let root = format!("pkg:generic/{name}@{VERSION}");
    let components: Vec<Value> = crates
        .all
        .iter()
        .map(|one| component(one, crates))
        .collect();
    let own = crates.all.iter().filter(|one| one.source.is_none());
    let own: Vec<String> = own.map(purl).collect();
    let mut dependencies = vec![json!({ "ref": root, "dependsOn": own })];
    dependencies.extend(crates.all.iter().map(|one| {
        let used = crates.uses.get(&one.id).into_iter().flatten();
        let used = used.filter_map(|id| crates.all.iter().find(|other| other.id == *id));
        json!({ "ref": purl(one), "dependsOn": used.map(purl).collect::<Vec<_>>() })
    }));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": name,
                "version": VERSION,
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(one: &Crate, crates: &Crates) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(one),
        "name": one.name,
        "version": one.version,
        "purl": purl(one),
        "scope": "required",
    });
    let key = (one.name.clone(), one.version.clone());
    if let Some(checksum) = crates.checksums.get(&key) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(license) = &one.license {
        // `/` is how old packages write OR.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(repository) = &one.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

fn purl(one: &Crate) -> String {
    // `+` begins the build metadata of a version, and means a space in a URL.
    let version = one.version.replace('+', "%2B");
    format!("pkg:cargo/{}@{version}", one.name)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn a_crate(name: &str, source: Option<&str>) -> Crate {
        Crate {
            id: format!("id-{name}"),
            name: name.to_owned(),
            version: "1.0.0+a".to_owned(),
            license: Some("MIT/ISC".to_owned()),
            license_file: None,
            repository: Some("https://example.org/x".to_owned()),
            authors: Vec::new(),
            source: source.map(str::to_owned),
            manifest_path: "Cargo.toml".into(),
        }
    }

    /// What the schema of CycloneDX 1.5 requires of a document, and that references lead somewhere.
    fn check(document: &Value) {
        assert_eq!(document["bomFormat"], "CycloneDX");
        assert_eq!(document["specVersion"], "1.5");
        let components = document["components"].as_array().expect("a list");
        let own = &document["metadata"]["component"];
        let mut references = BTreeSet::new();
        for component in components.iter().chain([own]) {
            for key in ["type", "name", "bom-ref"] {
                assert!(component[key].is_string(), "{key}: {component}");
            }
            let reference = component["bom-ref"].as_str().expect("a string");
            assert!(references.insert(reference), "twice: {reference}");
            for hash in component["hashes"].as_array().into_iter().flatten() {
                let content = hash["content"].as_str().expect("a string");
                assert!(hash["alg"] == "SHA-256" && content.len() == 64, "{hash}");
            }
        }
        for entry in document["dependencies"].as_array().expect("a list") {
            let uses = entry["dependsOn"].as_array().expect("a list");
            for reference in uses.iter().chain([&entry["ref"]]) {
                let reference = reference.as_str().expect("a string");
                assert!(references.contains(reference), "{reference}");
            }
        }
    }

    #[test]
    fn the_parts_list_has_what_its_schema_requires() {
        let crates = Crates {
            all: vec![a_crate("a", Some("registry+x")), a_crate("own", None)],
            uses: BTreeMap::from([("id-own".to_owned(), vec!["id-a".to_owned()])]),
            checksums: BTreeMap::from([(("a".to_owned(), "1.0.0+a".to_owned()), "0".repeat(64))]),
        };
        let document = document("wardgate", &crates, "2026-01-01T00:00:00Z");
        check(&document);
        let part = &document["components"][0];
        assert_eq!(part["purl"], "pkg:cargo/a@1.0.0%2Ba");
        assert_eq!(part["licenses"][0]["expression"], "MIT OR ISC");
        let uses = &document["dependencies"][2]["dependsOn"];
        assert_eq!(*uses, json!(["pkg:cargo/a@1.0.0%2Ba"]));
    }
}
