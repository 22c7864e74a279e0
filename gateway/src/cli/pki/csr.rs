//! `wardgate pki csr`: a certificate signing request for the CA of the organisation.

use std::path::PathBuf;

use clap::Args;

use super::Names;
use crate::pki::authority::KeyType;
use crate::pki::request::{NewRequest, make_request};

#[derive(Debug, Args)]
pub(crate) struct Csr {
    #[command(flatten)]
    names: Names,
    /// The file for the request; must not exist
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/wardgate/pki/site.csr"
    )]
    out: PathBuf,
    /// The file of the private key. If it exists, its key signs the request and the file stays as it is
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/wardgate/pki/site.key"
    )]
    key_out: PathBuf,
    /// The type of a new key: ECDSA on P-256 or P-384 [default: p256]
    #[arg(long, value_enum)]
    key: Option<KeyType>,
}

pub(super) fn run(args: &Csr) -> anyhow::Result<()> {
    let wanted = NewRequest {
        dns: args.names.dns.clone(),
        uri: args.names.uri.clone(),
        key_type: args.key,
        key: args.key_out.clone(),
        request: args.out.clone(),
    };
    let written = make_request(&wanted)?;
    let (request, key) = (args.out.display(), args.key_out.display());
    let names = written.names.join(", ");
    match written.is_key_new {
        true => println!("wrote {request} and {key}: request for {names}, with a new key"),
        false => println!("wrote {request}: request for {names}, with the key in {key}"),
    }
    println!(
        "next: send {request} to your CA, which must keep the names and both usages (TLS server and TLS client); \
         save its certificate, followed by the certificates of intermediate CAs, as \"certificate\" beside \
         key = {:?} under [identity]; never give the key away",
        args.key_out.display().to_string()
    );
    Ok(())
}
