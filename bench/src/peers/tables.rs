//! The run's results as sections: tables for a terminal and for a page, and bars for the page.

use std::fmt::Write as _;

use super::Plan;
use super::cipher::Cost;
use super::results::{Placement, Results};
use super::scenario::Scenario;
use super::targets::{ENDS, Floor, Goal};
use crate::chain::{self, Chain, Program};
use crate::report::html::{Section, Table};
use crate::report::plot::{Bars, Plot, Spread};

/// Everything that was measured, the verdicts last.
pub(crate) fn sections(
    plan: &Plan,
    results: &Results,
    floor: &Floor,
    ciphers: &[Cost],
    goals: &[Goal],
) -> Vec<Section> {
    let tables = Tables {
        plan,
        results,
        floor,
    };
    let mut all = Vec::new();
    for &at in &plan.placements {
        for scenario in Scenario::ALL {
            if plan.of_round(at).contains(&scenario) {
                all.extend(tables.of(scenario, at));
            }
        }
    }
    if plan.has(Scenario::Idle)
        && let Some(&at) = plan.placements.last()
    {
        all.extend(tables.of(Scenario::Idle, at));
    }
    all.push(ciphers_table(ciphers));
    all.push(goals_table(goals));
    all
}

/// A section as text: the columns under each other, all but the first to the right.
pub(crate) fn text(section: &Section) -> String {
    let Table { head, rows } = &section.table;
    let lines = || std::iter::once(head).chain(rows);
    let columns = lines().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    // Writing to a String does not fail.
    let mut text = format!("{}\n", section.title);
    for line in lines() {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    if !section.note.is_empty() {
        let _ = writeln!(text, "({})", section.note);
    }
    text
}

struct Tables<'a> {
    plan: &'a Plan,
    results: &'a Results,
    floor: &'a Floor<'a>,
}

/// A column: the heading, the figure, and digits behind the point.
type Column = (&'static str, &'static str, usize);

impl Tables<'_> {
    fn of(&self, scenario: Scenario, at: Placement) -> Vec<Section> {
        let handshakes = self.plan.handshakes;
        match scenario {
            Scenario::Bulk => {
                let streams = self.plan.streams.iter();
                streams.map(|&streams| self.bulk(at, streams)).collect()
            }
            Scenario::Handshake => vec![self.plain(
                &format!("Handshakes, {at}: CPU ms of B for each of {handshakes} in turn"),
                "full and mutual, with all of the connection around it; only wardgate has the \
                 post-quantum exchange",
                at,
                &[
                    ("X25519", "handshake_ms", 3),
                    ("X25519MLKEM768", "handshake_pq_ms", 3),
                ],
            )],
            Scenario::Pingpong => vec![self.plain(
                &format!("Ping-pong, {at}: microseconds for 200 bytes and their echo"),
                "",
                at,
                &[("p50", "pingpong_p50_us", 0), ("p99", "pingpong_p99_us", 0)],
            )],
            Scenario::Mixed => vec![self.plain(
                &format!("Ping-pong beside bulk, {at}: p99 in microseconds"),
                "at a fixed rate, each message timed from when it was due",
                at,
                &[
                    ("alone", "mixed_unloaded_p99_us", 0),
                    ("beside bulk", "mixed_p99_us", 0),
                ],
            )],
            Scenario::Dicom => vec![self.plain(
                &format!(
                    "DICOM, {at}: milliseconds for each of {} CT slices, storescu to storescp",
                    self.plan.objects
                ),
                "",
                at,
                &[
                    ("dcmtk's defaults", "dicom_ms_per_object", 2),
                    ("TCP_NODELAY=1", "dicom_nodelay_ms_per_object", 2),
                ],
            )],
            Scenario::Store => vec![self.plain(
                &format!("DICOM, {at}: CPU seconds per GB of A and B for mammograms that are stored"),
                "by the bench itself, an object after the other; wardgate-dicom looks at what passes",
                at,
                &[
                    ("PDUs of 16 KiB", "store_16k_s_per_gb", 3),
                    ("PDUs of 128 KiB", "store_128k_s_per_gb", 3),
                ],
            )],
            Scenario::Idle => vec![self.plain(
                &format!(
                    "Idle: KiB of user memory for each of {} connections",
                    self.plan.idle
                ),
                "one round; each connection has carried 200 bytes there and back",
                at,
                &[("A", "idle_a_kib", 1), ("B", "idle_b_kib", 1)],
            )],
        }
    }

    /// Chains that have any of the figures, in their order.
    fn chains(&self, at: Placement, columns: &[Column]) -> Vec<Chain> {
        let measured = |chain: &Chain, figure| self.results.spread(at, chain.name, figure);
        let some = |chain: &Chain| {
            columns
                .iter()
                .any(|&(_, f, _)| measured(chain, f).is_some())
        };
        let chains = self.plan.chains.iter().copied();
        chains.filter(some).collect()
    }

    fn cell(&self, at: Placement, chain: Chain, (_, figure, digits): Column) -> String {
        let samples = self.results.spread(at, chain.name, figure);
        samples.map_or_else(String::new, |spread| shown(spread, digits))
    }

    fn plain(&self, title: &str, note: &str, at: Placement, columns: &[Column]) -> Section {
        let chains = self.chains(at, columns);
        let rows = chains.iter().map(|&chain| {
            let cells = columns.iter().map(|&column| self.cell(at, chain, column));
            std::iter::once(chain.name.to_owned())
                .chain(cells)
                .collect()
        });
        let heads = columns.iter().map(|&(heading, ..)| heading.to_owned());
        Section {
            title: title.to_owned(),
            note: note.to_owned(),
            table: Table {
                head: std::iter::once("chain".to_owned()).chain(heads).collect(),
                rows: rows.collect(),
            },
            plot: Some(self.bars(title, at, &chains, columns)),
        }
    }

    fn bars(&self, unit: &str, at: Placement, chains: &[Chain], columns: &[Column]) -> Plot {
        let series = columns.iter().map(|&(heading, figure, _)| {
            let bars = chains.iter().map(|chain| self.spread(at, *chain, figure));
            (heading.to_owned(), bars.collect())
        });
        let unit = unit.split_once(": ").map_or(unit, |(_, unit)| unit);
        Plot::Bars(Bars {
            unit: unit.to_owned(),
            groups: chains.iter().map(|chain| chain.name.to_owned()).collect(),
            series: series.collect(),
        })
    }

    fn spread(&self, at: Placement, chain: Chain, figure: &str) -> Option<Spread> {
        self.results.spread(at, chain.name, figure)
    }

    fn bulk(&self, at: Placement, streams: u32) -> Section {
        let row = |&chain: &Chain| Some((chain, self.bulk_row(at, streams, chain)?));
        let (chains, mut rows): (Vec<_>, Vec<_>) = self.plan.chains.iter().filter_map(row).unzip();
        rows.extend(self.floor_row(at, streams));
        Section {
            title: format!("Bulk, {streams} streams, {at}: CPU seconds per GB"),
            note: "median (min..max); floor: a plain relay's end and its half of the bare cipher"
                .to_owned(),
            table: Table {
                head: BULK_HEAD.map(str::to_owned).into(),
                rows,
            },
            plot: Some(self.bulk_bars(at, streams, &chains)),
        }
    }

    /// None where the chain was not measured.
    fn bulk_row(&self, at: Placement, streams: u32, chain: Chain) -> Option<Vec<String>> {
        let figure = |what: &str| format!("bulk_{streams}_{what}");
        let cell = |what, digits| {
            let spread = self.results.spread(at, chain.name, &figure(what));
            spread.map_or_else(String::new, |spread| shown(spread, digits))
        };
        let rate = self.results.spread(at, chain.name, &figure("gb_per_s"))?;
        let sum = figure("s_per_gb");
        let to_best = self.results.best(at, &peers(), &sum).and_then(|(_, best)| {
            let own = self.results.median(at, chain.name, &sum)?;
            Some(own / best)
        });
        let to_floor = |end| ratio(self.to_floor(at, streams, chain, end));
        Some(vec![
            chain.name.to_owned(),
            cell("a_s_per_gb", 3),
            cell("b_s_per_gb", 3),
            cell("s_per_gb", 3),
            ratio(to_best),
            to_floor(0),
            to_floor(1),
            shown(rate, 2),
        ])
    }

    /// An end of ours over the least that it could cost; none for the others' ends.
    fn to_floor(&self, at: Placement, streams: u32, chain: Chain, end: usize) -> Option<f64> {
        let member = chain.ends?[end];
        let floor = self.floor.of(at, streams, ENDS[end])?;
        let figure = format!("bulk_{streams}_{}_s_per_gb", ENDS[end]);
        let own = self.results.median(at, chain.name, &figure)?;
        (member.program == Program::Wardgate).then_some(own / floor)
    }

    /// What A and B cost at least.
    fn floor_row(&self, at: Placement, streams: u32) -> Option<Vec<String>> {
        let a = self.floor.of(at, streams, "a")?;
        let b = self.floor.of(at, streams, "b")?;
        let name = format!("floor: relay + {}", self.floor.cipher.provider);
        let cells = [a, b, a + b].map(|value| format!("{value:.3}"));
        Some(std::iter::once(name).chain(cells).collect())
    }

    fn bulk_bars(&self, at: Placement, streams: u32, chains: &[Chain]) -> Plot {
        let series = ENDS.map(|end| {
            let figure = format!("bulk_{streams}_{end}_s_per_gb");
            let bars = chains.iter().map(|&chain| self.spread(at, chain, &figure));
            (end.to_uppercase(), bars.collect())
        });
        Plot::Bars(Bars {
            unit: "CPU seconds per GB".to_owned(),
            groups: chains.iter().map(|chain| chain.name.to_owned()).collect(),
            series: series.into(),
        })
    }
}

const BULK_HEAD: [&str; 8] = [
    "chain",
    "A",
    "B",
    "A + B",
    "/ best peer",
    "A / floor",
    "B / floor",
    "GB/s",
];

fn peers() -> Vec<&'static str> {
    let peers = chain::ALL.iter().filter(|chain| chain.is_peer());
    peers.map(|chain| chain.name).collect()
}

/// `median (min..max)`; the median alone where there was one round.
fn shown(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    if min == max {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

fn ciphers_table(ciphers: &[Cost]) -> Section {
    let rows = ciphers.iter().map(|cost| {
        let figures = [cost.seal, cost.open].map(|value| format!("{value:.4}"));
        let name = std::iter::once(cost.provider.to_owned());
        name.chain(figures).collect()
    });
    Section {
        title: "Bare cipher: seconds per GB, AES-256-GCM on records of 16 KiB".to_owned(),
        note: "the floor takes the cheaper".to_owned(),
        table: Table {
            head: ["provider", "seal", "open"].map(str::to_owned).into(),
            rows: rows.collect(),
        },
        plot: None,
    }
}

fn goals_table(goals: &[Goal]) -> Section {
    let rows = goals.iter().map(|goal| {
        vec![
            goal.what.clone(),
            format!("{:.2}", goal.limit),
            ratio(goal.ratio),
            goal.verdict().to_owned(),
        ]
    });
    Section {
        title: "Targets: ratios of medians of this run".to_owned(),
        note: String::new(),
        table: Table {
            head: ["target", "at most", "is", ""].map(str::to_owned).into(),
            rows: rows.collect(),
        },
        plot: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_without_space_behind() {
        let section = Section {
            title: "T".to_owned(),
            note: "n".to_owned(),
            table: Table {
                head: ["chain", "A"].map(str::to_owned).into(),
                rows: vec![
                    ["x", "1.5"].map(str::to_owned).into(),
                    ["longer", ""].map(str::to_owned).into(),
                ],
            },
            plot: None,
        };
        let expected = "T\nchain     A\nx       1.5\nlonger\n(n)\n";
        assert_eq!(text(&section), expected);
    }

    #[test]
    fn a_single_round_has_no_spread() {
        assert_eq!(shown(Spread::one(0.5), 2), "0.50");
        let spread = Spread::of(&[3.0, 1.0, 2.0]).expect("there are samples");
        assert_eq!(shown(spread, 1), "2.0 (1.0..3.0)");
    }
}
