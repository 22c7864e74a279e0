//! The little of roff, the language of man pages, that the pages here need.

/// A page with its head: `.TH` and the section NAME.
pub(crate) fn head(name: &str, section: u8, about: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let title = escaped(&name.to_uppercase());
    format!(
        ".TH \"{title}\" \"{section}\" \"\" \"wardgate {version}\"\n.SH NAME\n{} \\- {}\n",
        escaped(name),
        escaped(about)
    )
}

/// Text that roff prints unchanged: no line is a request, and no character an escape.
pub(crate) fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<String> = text.lines().map(protected).collect();
    lines.join("\n")
}

/// Lines that are printed one by one, in a fixed font.
pub(crate) fn example(text: &str) -> String {
    format!(".PP\n.RS 4\n.nf\n\\fC{}\\fR\n.fi\n.RE\n", escaped(text))
}

// A dot or an apostrophe at the beginning of a line makes it a request.
fn protected(line: &str) -> String {
    if line.starts_with(['.', '\'']) {
        format!("\\&{line}")
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_text_becomes_a_request_or_an_escape() {
        assert_eq!(
            escaped(".so file\n'x\na\\b --c"),
            "\\&.so file\n\\&'x\na\\eb \\-\\-c"
        );
    }
}
