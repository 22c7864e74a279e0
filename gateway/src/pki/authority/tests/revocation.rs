//! Revoking certificates, and renewing the revocation list.

use std::time::Duration;

use super::*;

#[test]
fn revoked_certificate_is_refused_by_store_and_by_openssl() {
    let region = Region::new();
    let issued = region.issue("site");
    region.issue("other");
    let what = Revocable::Certificate(region.path("site.pem"));
    let revoked = region
        .open()
        .revoke(&what, RevokeReason::KeyCompromise, CRL_DAYS, region.now)
        .expect("revoked");
    assert_eq!((&revoked.serial, revoked.again), (&issued.serial, false));
    assert_eq!((revoked.crl.number, revoked.crl.revoked), (2, 1));
    let problems = region.load("site", region.now).expect_err("refused");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].text.contains("was revoked"), "{problems:?}");
    region
        .load("other", region.now)
        .expect("another one is not touched");
    let crl = openssl(region.dir.path(), "crl -in ca/ca.crl -noout -text");
    assert!(
        crl.contains(&format!("Serial Number: {}", issued.serial.to_uppercase())),
        "{crl}"
    );
    assert!(crl.contains("Key Compromise"), "{crl}");
    let verify = std::process::Command::new("openssl")
        .args("verify -crl_check -CRLfile ca/ca.crl -CAfile ca/ca.pem site.pem".split(' '))
        .current_dir(region.dir.path())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(text.contains("certificate revoked"), "{text}");
}

#[test]
fn revoke_takes_a_serial_number_as_people_write_it() {
    let region = Region::new();
    let issued = region.issue("site");
    let pairs: Vec<_> = issued
        .serial
        .as_bytes()
        .chunks(2)
        .map(String::from_utf8_lossy)
        .collect();
    let what = Revocable::Serial(format!(" 00:{} ", pairs.join(":").to_uppercase()));
    let revoke = || {
        region
            .open()
            .revoke(&what, RevokeReason::Unspecified, CRL_DAYS, region.now)
    };
    let first = revoke().expect("revoked");
    assert_eq!(first.serial, issued.serial);
    assert_eq!(first.names, issued.names);
    // Again: no second entry, but a list with a higher number.
    let again = revoke().expect("revoked before");
    assert!(again.again);
    assert_eq!((again.crl.number, again.crl.revoked), (3, 1));
    let crl = region.crl();
    assert_eq!(crl.revoked.len(), 1);
    // An unspecified reason is left out.
    assert_eq!(crl.revoked[0].reason, None);
}

#[test]
fn revoke_refuses_certificates_of_other_cas() {
    let region = Region::new();
    let other = Region::new();
    other.issue("site");
    let revoke = |what: &Revocable| {
        let outcome = region
            .open()
            .revoke(what, RevokeReason::Unspecified, CRL_DAYS, region.now);
        region.text(&outcome.expect_err("refused"))
    };
    for serial in ["1234", "", "xyz", "0"] {
        assert_eq!(
            revoke(&Revocable::Serial(serial.to_owned())),
            format!(
                "serial {serial:?} is not in \"ca/issued.toml\"; give the certificate itself with \
                 --certificate"
            )
        );
    }
    // The other CA has the same name, so only the signature distinguishes them.
    let copy = region.path("foreign.pem");
    std::fs::copy(other.path("site.pem"), &copy).expect("copied");
    assert_eq!(
        revoke(&Revocable::Certificate(copy)),
        format!(
            "\"foreign.pem\" was not issued by the CA in {:?} but by \"CN=Region CA\"; ask that CA",
            "ca"
        )
    );
    assert_eq!(region.crl().number, Some(vec![1]), "no new list");
}

#[test]
fn a_certificate_that_is_missing_in_the_index_can_still_be_revoked() {
    let region = Region::new();
    let issued = region.issue("site");
    std::fs::write(region.path("ca/issued.toml"), "crl_number = 7\n").expect("written");
    let what = Revocable::Certificate(region.path("site.pem"));
    let revoked = region
        .open()
        .revoke(&what, RevokeReason::Unspecified, CRL_DAYS, region.now)
        .expect("revoked");
    assert_eq!((revoked.serial, revoked.crl.number), (issued.serial, 8));
}

#[test]
fn renewed_list_has_a_higher_number_a_later_date_and_all_entries() {
    let region = Region::new();
    region.issue("site");
    let what = Revocable::Certificate(region.path("site.pem"));
    let revoke = region
        .open()
        .revoke(&what, RevokeReason::Superseded, CRL_DAYS, region.now);
    revoke.expect("revoked");
    let before = region.crl();
    let later = region.now + days(25);
    let written = region.open().renew_crl(CRL_DAYS, later).expect("renewed");
    let after = region.crl();
    assert_eq!((written.number, written.revoked), (3, 1));
    assert_eq!(after.revoked, before.revoked);
    assert_eq!(after.next_update, Some(unix(later + days(30))));
    assert_eq!(after.next_update.map(date), Some(written.due));
}

#[test]
fn the_first_list_is_valid_for_thirty_days() {
    let region = Region::new();
    region.issue("site");
    let second = Duration::from_secs(1);
    region
        .load("site", region.now + days(30) - second)
        .expect("still good");
    let problems = region
        .load("site", region.now + days(30))
        .expect_err("over");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].text.contains("wardgate pki renew --crl"),
        "{problems:?}"
    );
}

#[test]
fn renewal_of_a_revoked_certificate_reports_when_it_was_revoked() {
    let region = Region::new();
    let issued = region.issue("site");
    let what = Revocable::Serial(issued.serial.clone());
    let revoked = region
        .open()
        .revoke(&what, RevokeReason::KeyCompromise, CRL_DAYS, region.now);
    revoked.expect("revoked");
    let output = region.output("site");
    let later = region.now + days(3);
    let renewed = region.open().renew(&output, CERTIFICATE_DAYS, later);
    let replaced = renewed.expect("renewed").replaced.expect("it replaces one");
    assert_eq!(replaced.serial, issued.serial);
    assert_eq!(replaced.revoked, Some(date(unix(region.now))));
}
