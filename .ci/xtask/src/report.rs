//! The report at the end of a run: duration of each step, skipped tests, failed tests, and one line of
//! counts.

use crate::libtest::Counts;
use crate::steps::{Steps, seconds};
use crate::tiers::Tier;

/// Prints the report and returns whether everything passed. If tiers ran, the second last line holds the total counts, and
/// the last line the counts of each tier.
pub(crate) fn print(tiers: &[Tier], steps: &Steps) -> bool {
    println!("steps");
    for step in steps.all() {
        let outcome = step.failure.as_deref().map_or("good", |_| "FAILED");
        println!("  {:<20} {:>9}  {outcome}", step.name, seconds(step.took));
    }
    for skip in tiers.iter().flat_map(|tier| &tier.skipped) {
        println!("SKIPPED {}: {}: {}", skip.tier, skip.test, skip.reason);
    }
    for tier in tiers {
        for test in &tier.failed {
            println!("FAILED {}: {test}", tier.name);
            for line in tier.printed.get(test).into_iter().flatten() {
                println!("    {line}");
            }
        }
    }
    let mut good = true;
    for step in steps.all() {
        if let Some(why) = &step.failure {
            println!("FAILED step {}: {why}", step.name);
            good = false;
        }
    }
    // Other commands than `test` run their tests as steps, without a count.
    if !tiers.is_empty() {
        println!("\n{}", table(tiers));
        println!("{}", counted(total(tiers)));
        println!("{}", by_tier(tiers));
    }
    good
}

/// A table with one row per tier.
fn table(tiers: &[Tier]) -> String {
    let mut table = format!(
        "{:<14} {:>7} {:>7} {:>8} {:>9}\n",
        "tier", "passed", "failed", "skipped", "time"
    );
    for tier in tiers {
        let Counts {
            passed,
            failed,
            skipped,
        } = tier.counts;
        table += &format!(
            "{:<14} {passed:>7} {failed:>7} {skipped:>8} {:>9}\n",
            tier.name,
            seconds(tier.took)
        );
    }
    table
}

fn total(tiers: &[Tier]) -> Counts {
    let mut sum = Counts::default();
    for tier in tiers {
        sum += tier.counts;
    }
    sum
}

/// Other programs parse this form: do not change it.
fn counted(counts: Counts) -> String {
    let Counts {
        passed,
        failed,
        skipped,
    } = counts;
    format!("{passed} passed, {failed} failed, {skipped} skipped")
}

fn by_tier(tiers: &[Tier]) -> String {
    let each = tiers.iter().map(|tier| {
        let Counts {
            passed, skipped, ..
        } = tier.counts;
        format!("{} {passed} passed {skipped} skipped", tier.name)
    });
    format!("by tier: {}", each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_counts_contains_nothing_else() {
        let counts = Counts {
            passed: 120,
            failed: 0,
            skipped: 3,
        };
        assert_eq!(counted(counts), "120 passed, 0 failed, 3 skipped");
    }
}
