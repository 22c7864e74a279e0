//! `wardgate.toml(5)`, from the annotated configuration.

use crate::roff;

/// The page: an entry for each key, in the order of the file.
pub(crate) fn page(toml: &str) -> String {
    let mut page = roff::head("wardgate.toml", 5, "configuration of wardgate");
    page += ".SH DESCRIPTION\n";
    let mut opening = String::new();
    for block in toml.split("\n\n") {
        let lines: Vec<_> = block.lines().collect();
        let (prose, settings): (Vec<&str>, Vec<&str>) =
            lines.iter().partition(|line| is_prose(line));
        let text = paragraphs(&prose);
        match settings[..] {
            // The text above a table stands below its heading.
            [] => {
                page += &std::mem::replace(&mut opening, text);
            }
            [table, ..] if is_table(table) => {
                page += &format!(".SH \"{}\"\n", roff::escaped(bare(table)));
                page += &std::mem::take(&mut opening);
                page += &text;
                page += &keys(&settings[1..]);
            }
            _ => {
                page += &std::mem::take(&mut opening);
                page += &entry(&settings, &text);
            }
        }
    }
    page += ".SH FILES\n.TP\n.I /etc/wardgate/wardgate.toml\nThe configuration that the service reads.\n";
    page + ".SH \"SEE ALSO\"\n.BR wardgate (1),\n.BR wardgate\\-check (1)\n"
}

/// The keys of a block, with their values, and the text about them.
fn entry(settings: &[&str], text: &str) -> String {
    format!("{}.RS 4\n{text}.RE\n", keys(settings))
}

fn keys(settings: &[&str]) -> String {
    let lines = settings.iter().map(|line| roff::escaped(line));
    let lines: Vec<_> = lines.map(|line| format!("\\fB{line}\\fR")).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!(".PP\n.nf\n{}\n.fi\n", lines.join("\n"))
}

/// Comments, without their `# `; lines that are indented further are examples.
fn paragraphs(prose: &[&str]) -> String {
    let lines: Vec<&str> = prose
        .iter()
        .filter(|line| !line.starts_with("# ---"))
        .map(|line| {
            line.strip_prefix("# ")
                .unwrap_or(line.trim_start_matches('#'))
        })
        .collect();
    let mut text = String::new();
    for part in lines.chunk_by(|a, b| a.starts_with(' ') == b.starts_with(' ')) {
        let joined = part.join("\n");
        if joined.starts_with(' ') {
            text += &roff::example(&joined);
        } else if !joined.is_empty() {
            text += &format!(".PP\n{}\n", roff::escaped(&joined));
        }
    }
    text
}

/// A comment that is text, and not a setting that is turned off.
fn is_prose(line: &str) -> bool {
    line.starts_with("# ") || line == "#"
}

fn is_table(setting: &str) -> bool {
    bare(setting).starts_with('[')
}

/// A setting without the `#` that turns it off.
fn bare(setting: &str) -> &str {
    setting.strip_prefix('#').unwrap_or(setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_annotated_file_is_on_the_page() {
        let toml = include_str!("../../etc/wardgate.toml");
        let page = page(toml);
        for line in toml.lines().filter(|line| !is_prose(line)) {
            let line = roff::escaped(bare(line));
            assert!(page.contains(&line), "{line}");
        }
    }

    #[test]
    fn a_table_becomes_a_section_and_a_key_an_entry_below_it() {
        let toml = "# Top.\n\n# ---\n# The process.\n\n[gateway]\n\n# Why.\n#   a = 2\n#a = 1\n";
        let page = page(toml);
        let (_, rest) = page.split_once("DESCRIPTION\n").expect("a description");
        let expected = ".PP\nTop.\n.SH \"[gateway]\"\n.PP\nThe process.\n.PP\n.nf\n\\fB#a = 1\\fR\n.fi\n\
                        .RS 4\n.PP\nWhy.\n.PP\n.RS 4\n.nf\n\\fC  a = 2\\fR\n.fi\n.RE\n.RE\n";
        assert!(rest.starts_with(expected), "{rest}");
    }
}
