//! The commands and configurations of the operator's guide, as tests execute them.

use std::fs;

use wardgate_tests::tier::workspace;

/// A site of the guide's example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    Hospital,
    Region,
}

impl Site {
    /// The number of the example's blocks in the chapter "Two sites" that are for this site.
    fn position(self) -> usize {
        match self {
            Self::Hospital => 0,
            Self::Region => 1,
        }
    }

    /// The same in the chapter "Install": the region begins there, because it runs `pair` first.
    fn position_of_installation(self) -> usize {
        match self {
            Self::Region => 0,
            Self::Hospital => 1,
        }
    }

    /// What an administrator of this site types, from the package to the first object.
    pub(crate) fn commands(self) -> Vec<String> {
        let page = page("install.md");
        let (_, section) = page
            .split_once("\n## From package to first object\n")
            .expect("the chapter has this section");
        let section = section.split("\n## ").next().unwrap_or_default();
        let block = block(section, "sh", self.position_of_installation());
        block.lines().map(str::to_owned).collect()
    }

    /// What an administrator of this site types so that the archive's site sends to the other one.
    pub(crate) fn commands_of_the_other_direction(self) -> String {
        let page = page("two-sites.md");
        let (_, section) = page
            .split_once("\n## The other direction\n")
            .expect("the chapter has this section");
        block(section, "sh", self.position())
    }

    /// What the administrator writes into the configuration.
    pub(crate) fn configuration(self) -> String {
        block(&page("two-sites.md"), "toml", self.position())
    }
}

/// The chapter "Two machines".
pub(crate) struct TwoMachines {
    /// The lines of each block of commands, in the order of the chapter.
    pub(crate) commands: Vec<Vec<String>>,
    /// What the administrator writes into the configuration of both machines.
    pub(crate) configuration: String,
}

impl TwoMachines {
    pub(crate) fn read() -> Self {
        let page = page("two-machines.md");
        let (_, rest) = page
            .split_once("\n## Set it up\n")
            .expect("the chapter has this section");
        // Maintenance, the next section, belongs to it.
        let (section, _) = rest
            .split_once("\n## Keep the configurations equal\n")
            .expect("the chapter has this section");
        Self {
            commands: commands_of(section),
            configuration: block(section, "toml", 0),
        }
    }
}

/// Every block of commands of a page of the guide, in the order of the page.
pub(crate) fn commands(name: &str) -> Vec<Vec<String>> {
    commands_of(&page(name))
}

/// A block of this language on a page of the guide, counted from 0.
pub(crate) fn example(name: &str, language: &str, position: usize) -> String {
    block(&page(name), language, position)
}

/// The commands in the last column of the row of a table that begins with this text.
pub(crate) fn commands_in_row(name: &str, start: &str) -> Vec<String> {
    let page = page(name);
    let is_it = |line: &&str| line.trim_start_matches(['|', ' ']).starts_with(start);
    let row = page.lines().find(is_it).expect("the page has this row");
    let column = row.trim_matches(['|', ' ']).rsplit('|').next();
    let parts = column.unwrap_or_default().split('`');
    parts.skip(1).step_by(2).map(str::to_owned).collect()
}

/// The commands of each block. A line that ends with a backslash continues in the next one.
fn commands_of(section: &str) -> Vec<Vec<String>> {
    let count = section.matches("```sh\n").count();
    let blocks = (0..count).map(|position| {
        let block = block(section, "sh", position).replace("\\\n", "");
        // The last line is the indentation of the closing fence.
        let lines = block.lines().filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    });
    blocks.collect()
}

fn page(name: &str) -> String {
    let file = workspace().join("docs/src/guide").join(name);
    fs::read_to_string(file).expect("the guide has this page")
}

/// A fenced block of this language, counted from 0, without its indentation.
fn block(page: &str, language: &str, position: usize) -> String {
    let fence = format!("```{language}\n");
    let rest = page.split(&fence).nth(position + 1);
    let text = rest.and_then(|rest| rest.split("```").next());
    let lines = text.expect("the page has this block").lines();
    lines.map(|line| format!("{}\n", line.trim())).collect()
}
