//! `wardgate sheet`: what the teams for firewalls, archives and modalities need, from a configuration.
//!
//! `content` decides what is on the sheet, `text` and `page` write it. The sheet holds no secret: addresses, ports, titles and
//! names only. What this site cannot know is a blank for a person to fill in.

mod content;
mod page;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

use anyhow::Context as _;

use self::content::Sheet;
use super::unpaired::{NO_FILE, missing_peers, with_placeholders};
use super::{ConfigArgs, EXIT_CONFIG, EXIT_GOOD};
use crate::config::{self, Config};
use crate::pki::{partner, store};

/// The options of `wardgate sheet`.
#[derive(Debug, clap::Args)]
pub(crate) struct SheetArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Write one HTML file for a browser or a printer instead of text
    #[arg(long)]
    html: bool,
}

/// The text for the end of the help.
pub(super) const HELP: &str = "\
For each route: what the firewalls of both sites must allow, what to enter on the
modality and on the archive, and what to test. What this site cannot know, such as
the address of the other site's archive, is a blank (____) to fill in. The sheet has
no key and no password, but addresses: send it only to those who need it.

  wardgate sheet --html > sheet.html

Exit codes:
  0   the sheet was printed
  2   the command line is not valid
  78  the configuration is not valid; standard error names each problem";

/// Prints the sheet of a configuration.
pub(crate) fn run(args: &SheetArgs) -> anyhow::Result<u8> {
    let file = args.config.file();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    match read(&text, file) {
        Ok(config) => {
            let sheet = Sheet::of(&config, &own_names(&config), &missing_peers(&text));
            match args.html {
                true => print!("{}", page::document(&sheet)),
                false => print!("{}", text::of(&sheet)),
            }
            Ok(EXIT_GOOD)
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("{}", problem.display(file));
            }
            Ok(EXIT_CONFIG)
        }
    }
}

/// The configuration, also if its sites are not paired yet: the sheet is needed before.
fn read(text: &str, file: &Path) -> Result<Config, Vec<config::Problem>> {
    config::parse(&with_placeholders(text, NO_FILE), file)
}

/// The names that the certificates of this site prove. A certificate that cannot be read has none.
fn own_names(config: &Config) -> Vec<String> {
    let mut names = Vec::new();
    for tls in config.routes.iter().filter_map(|route| route.tls.as_ref()) {
        let chain = store::certificates(&tls.identity.certificate.value).unwrap_or_default();
        for name in chain.first().map(partner::names).unwrap_or_default() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
