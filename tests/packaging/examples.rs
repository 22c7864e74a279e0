//! The packaged examples for other services: units, drop-ins, packet filters and kernel settings are valid.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use wardgate_tests::Program;
use wardgate_tests::tier::{Need, workspace};

use crate::ready;

fn packaged(file: &str) -> String {
    fs::read_to_string(workspace().join("packaging").join(file)).expect("it is there")
}

#[test]
fn the_examples_for_systemd_are_valid_and_bird_watch_has_few_rights() {
    if !ready(&[Need::Program("systemd-analyze")]) {
        return;
    }
    let folder = TempDir::new().expect("there is room");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("our folder")).expect("there is room");
        fs::write(path, text).expect("there is room");
    };
    // Services that this machine may lack.
    for other in ["bird", "keepalived", "wardgate"] {
        file(
            &format!("{other}.service"),
            "[Service]\nExecStart=/bin/true\n",
        );
    }
    file(
        "keepalived.service.d/after-wardgate.conf",
        &packaged("keepalived/after-wardgate.conf"),
    );
    let unit = packaged("bird/wardgate-bird.service");
    file(
        "wardgate-bird.service",
        &unit.replace("/usr/libexec/wardgate/bird-watch", "/bin/true"),
    );
    for name in ["keepalived", "wardgate-bird"] {
        let unit = folder.path().join(format!("{name}.service"));
        let path = format!("{}:", folder.path().display());
        let text = Program::new("systemd-analyze")
            .env("SYSTEMD_UNIT_PATH", path)
            .args(["verify", "--man=no"])
            .arg(unit)
            .run()
            .expect_success()
            .text();
        // A key that is unknown is a line here, and no failure.
        let own = folder.path().display().to_string();
        let found: Vec<_> = text.lines().filter(|line| line.contains(&own)).collect();
        assert!(found.is_empty(), "{text}");
    }
    assert!(unit.contains("\nDynamicUser=yes\n"), "{unit}");
    let exposure = Program::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=15"])
        .arg(workspace().join("packaging/bird/wardgate-bird.service"))
        .run();
    exposure.expect_success();
}

#[test]
fn the_packet_filter_for_vrrp_is_valid_and_covers_both_families() {
    if !ready(&[Need::Program("nft")]) {
        return;
    }
    let file = workspace().join("packaging/keepalived/nftables.conf");
    // In a network of its own, where nothing could be changed.
    Program::new("unshare")
        .args(["--net", "nft", "--check", "--file"])
        .arg(file)
        .run()
        .expect_success();
    let text = packaged("keepalived/nftables.conf");
    for rule in [
        "ip protocol vrrp ip saddr != ",
        "meta nfproto ipv6 meta l4proto vrrp drop",
    ] {
        let mut rules = text.lines().map(str::trim);
        assert!(rules.any(|line| line.starts_with(rule)), "{rule}");
    }
}

#[test]
fn the_kernel_settings_of_the_examples_exist() {
    for file in [
        "keepalived/90-wardgate-pair.conf",
        "ha/90-wardgate-real-server.conf",
    ] {
        let text = packaged(file);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            // With "-", `sysctl` goes on where the setting is missing: a machine may have no IPv6.
            let (is_optional, line) = match line.strip_prefix('-') {
                Some(line) => (true, line),
                None => (false, line),
            };
            let (key, value) = line.split_once(" = ").expect(line);
            let setting = Path::new("/proc/sys").join(key.replace('.', "/"));
            assert!(is_optional || setting.exists(), "{file}: {line}");
            assert!(value.parse::<u32>().is_ok(), "{file}: {line}");
        }
    }
}

#[test]
fn curl_reads_no_settings_of_its_user() {
    for file in ["keepalived/track", "bird/bird-watch"] {
        for line in packaged(file).lines().map(str::trim) {
            let is_call = line.starts_with("curl ");
            // It has an effect as the first option only.
            assert!(!is_call || line.starts_with("curl -q "), "{file}: {line}");
        }
    }
}
