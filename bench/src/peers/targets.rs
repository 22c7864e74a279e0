//! The targets that wardgate is built to, each as a limit and what this run makes of it.
//!
//! Every one is a ratio of medians of the same run, so that it says the same on another machine.

use serde_json::{Value, json};

use super::Plan;
use super::cipher::Cost;
use super::results::{Placement, Results};
use super::scenario::Scenario;
use crate::chain;

/// The least that an end can cost: a plain relay with the same batches, and the bare cipher.
pub(crate) struct Floor<'a> {
    pub(crate) cipher: Cost,
    pub(crate) results: &'a Results,
}

/// The ends as figures name them.
pub(crate) const ENDS: [&str; 2] = ["a", "b"];

impl Floor<'_> {
    /// CPU seconds per GB of one end: A seals what goes through in bulk, B opens it.
    pub(crate) fn of(&self, at: Placement, streams: u32, end: &str) -> Option<f64> {
        let figure = format!("bulk_{streams}_{end}_s_per_gb");
        let cipher = match end {
            "a" => self.cipher.seal,
            _ => self.cipher.open,
        };
        Some(self.results.median(at, "relay", &figure)? + cipher)
    }
}

/// A target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Goal {
    pub(crate) what: String,
    /// The most that the ratio may be.
    pub(crate) limit: f64,
    /// None where the run did not measure what it takes.
    pub(crate) ratio: Option<f64>,
}

impl Goal {
    pub(crate) fn verdict(&self) -> &'static str {
        match self.ratio {
            None => "not measured",
            Some(ratio) if ratio <= self.limit => "PASS",
            Some(_) => "FAIL",
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "target": self.what,
            "limit": self.limit,
            "ratio": self.ratio,
            "verdict": self.verdict(),
        })
    }
}

fn goal(what: String, limit: f64, ratio: Option<f64>) -> Goal {
    Goal { what, limit, ratio }
}

/// All targets of the scenarios that the run has.
pub(crate) fn all(plan: &Plan, results: &Results, floor: &Floor) -> Vec<Goal> {
    let judge = Judge { results };
    let mut goals = Vec::new();
    for &at in &plan.placements {
        for scenario in plan.of_round(at) {
            match scenario {
                Scenario::Bulk => goals.extend(judge.bulk(at, &plan.streams, floor)),
                Scenario::Handshake => goals.extend(judge.handshakes(at)),
                Scenario::Pingpong => goals.extend(judge.latency(at)),
                Scenario::Mixed => goals.push(judge.loaded(at)),
                Scenario::Dicom => goals.extend(judge.dicom(at)),
                Scenario::Store => goals.extend(judge.observing(at)),
                Scenario::Idle => {}
            }
        }
    }
    if plan.has(Scenario::Idle)
        && let Some(&at) = plan.placements.last()
    {
        goals.extend(judge.memory(at));
    }
    goals
}

/// Wardgate's own chain, and the one it is first compared with.
const OURS: &str = "wardgate";
const HAPROXY: &str = "haproxy";

/// The same that looks at what passes.
const OBSERVED: &str = "wardgate-dicom";

struct Judge<'a> {
    results: &'a Results,
}

impl Judge<'_> {
    /// Against the lowest median of all peers, shipped and tuned.
    fn to_best(&self, at: Placement, figure: &str) -> Option<f64> {
        let peers: Vec<_> = chain::ALL
            .iter()
            .filter(|chain| chain.is_peer())
            .map(|chain| chain.name)
            .collect();
        let (_, best) = self.results.best(at, &peers, figure)?;
        Some(self.results.median(at, OURS, figure)? / best)
    }

    fn bulk(&self, at: Placement, streams: &[u32], floor: &Floor) -> Vec<Goal> {
        let (shipped, tuned) = match at {
            Placement::One => (1.0 / 4.0, 1.0 / 3.0),
            Placement::Split => (1.0 / 3.0, 1.0 / 2.0),
        };
        let mut goals = Vec::new();
        for &streams in streams {
            let figure = format!("bulk_{streams}_s_per_gb");
            let what = format!("bulk, {streams} streams, {at}: CPU per byte");
            let haproxy = self.results.ratio(at, OURS, HAPROXY, &figure);
            let best = self.to_best(at, &figure);
            goals.push(goal(format!("{what} / haproxy"), shipped, haproxy));
            goals.push(goal(format!("{what} / best peer"), tuned, best));
            for end in ENDS {
                let figure = format!("bulk_{streams}_{end}_s_per_gb");
                let ours = self.results.median(at, OURS, &figure);
                let ratio = ours
                    .zip(floor.of(at, streams, end))
                    .map(|(ours, floor)| ours / floor);
                let end = end.to_uppercase();
                goals.push(goal(
                    format!("{what} of {end} / (relay + cipher)"),
                    1.1,
                    ratio,
                ));
            }
        }
        goals
    }

    /// HAProxy and nginx know X25519 alone, so theirs is what both exchanges are compared with.
    fn handshakes(&self, at: Placement) -> Vec<Goal> {
        let exchanges = [
            ("X25519", "handshake_ms", 0.4),
            ("X25519MLKEM768", "handshake_pq_ms", 0.6),
        ];
        let mut goals = Vec::new();
        for (exchange, figure, limit) in exchanges {
            for peer in [HAPROXY, "nginx"] {
                let ours = self.results.median(at, OURS, figure);
                let theirs = self.results.median(at, peer, "handshake_ms");
                let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
                let what = format!("handshake, {exchange}, {at}: CPU of B / {peer}");
                goals.push(goal(what, limit, ratio));
            }
        }
        goals
    }

    fn latency(&self, at: Placement) -> Vec<Goal> {
        let quantiles = ["p50", "p99"];
        quantiles
            .map(|quantile| {
                let ratio = self.to_best(at, &format!("pingpong_{quantile}_us"));
                goal(
                    format!("ping-pong, {at}: {quantile} / best peer"),
                    1.0,
                    ratio,
                )
            })
            .into()
    }

    fn loaded(&self, at: Placement) -> Goal {
        let loaded = self.results.median(at, OURS, "mixed_p99_us");
        let free = self.results.median(at, OURS, "mixed_unloaded_p99_us");
        let ratio = loaded.zip(free).map(|(loaded, free)| loaded / free);
        goal(
            format!("ping-pong beside bulk, {at}: p99 / unloaded"),
            3.0,
            ratio,
        )
    }

    fn dicom(&self, at: Placement) -> Vec<Goal> {
        let peers = [HAPROXY, "stunnel", "nginx"];
        let mut goals: Vec<_> = peers
            .map(|peer| {
                let ratio = self.results.ratio(at, OURS, peer, "dicom_ms_per_object");
                let what = format!("DICOM, dcmtk's defaults, {at}: time per object / {peer}");
                goal(what, 1.0 / 20.0, ratio)
            })
            .into();
        let best = self.to_best(at, "dicom_nodelay_ms_per_object");
        let what = format!("DICOM, TCP_NODELAY, {at}: time per object / best peer");
        goals.push(goal(what, 1.0, best));
        goals
    }

    /// What looking at it adds.
    fn observing(&self, at: Placement) -> Vec<Goal> {
        let figures = [
            ("16 KiB", "store_16k_s_per_gb"),
            ("128 KiB", "store_128k_s_per_gb"),
        ];
        figures
            .map(|(pdu, figure)| {
                let ratio = self.results.ratio(at, OBSERVED, OURS, figure);
                let what = format!("DICOM stored in PDUs of {pdu}, {at}: CPU observed / not");
                goal(what, 1.01, ratio)
            })
            .into()
    }

    fn memory(&self, at: Placement) -> Vec<Goal> {
        ENDS.map(|end| {
            let ratio = self
                .results
                .ratio(at, OURS, HAPROXY, &format!("idle_{end}_kib"));
            let end = end.to_uppercase();
            goal(
                format!("idle connection: memory of {end} / haproxy"),
                1.0 / 3.0,
                ratio,
            )
        })
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIPHER: Cost = Cost {
        provider: "x",
        seal: 0.1,
        open: 0.3,
    };

    fn results(values: &[(&'static str, &str, f64)]) -> Results {
        let mut results = Results::default();
        for &(chain, figure, value) in values {
            results.push(Placement::One, chain, figure, value);
        }
        results
    }

    #[test]
    fn the_floor_of_an_end_is_its_relay_and_its_half_of_the_cipher() {
        let results = results(&[
            ("relay", "bulk_8_a_s_per_gb", 0.2),
            ("relay", "bulk_8_b_s_per_gb", 0.2),
        ]);
        let floor = Floor {
            cipher: CIPHER,
            results: &results,
        };
        assert_eq!(floor.of(Placement::One, 8, "a"), Some(0.1 + 0.2));
        assert_eq!(floor.of(Placement::One, 8, "b"), Some(0.2 + 0.3));
        assert_eq!(floor.of(Placement::Split, 8, "a"), None);
    }

    #[test]
    fn a_quarter_of_haproxy_passes_on_one_core_and_a_third_does_not() {
        for (ours, verdict) in [(1.0, "PASS"), (1.34, "FAIL")] {
            let results = results(&[
                ("wardgate", "bulk_1_s_per_gb", ours),
                ("haproxy", "bulk_1_s_per_gb", 4.0),
            ]);
            let floor = Floor {
                cipher: CIPHER,
                results: &results,
            };
            let goals = Judge { results: &results }.bulk(Placement::One, &[1], &floor);
            assert_eq!(goals[0].verdict(), verdict);
            assert_eq!(goals[2].verdict(), "not measured");
        }
    }

    #[test]
    fn the_best_peer_is_no_relay_and_no_mixed_chain() {
        let results = results(&[
            ("wardgate", "pingpong_p50_us", 90.0),
            ("relay", "pingpong_p50_us", 10.0),
            ("wardgate-haproxy", "pingpong_p50_us", 20.0),
            ("nginx-tuned", "pingpong_p50_us", 100.0),
            ("stunnel", "pingpong_p50_us", 120.0),
        ]);
        let judge = Judge { results: &results };
        assert_eq!(judge.to_best(Placement::One, "pingpong_p50_us"), Some(0.9));
    }

    #[test]
    fn our_post_quantum_handshake_is_compared_with_theirs_that_is_not() {
        let results = results(&[
            ("wardgate", "handshake_ms", 0.2),
            ("wardgate", "handshake_pq_ms", 0.7),
            ("haproxy", "handshake_ms", 1.0),
        ]);
        let goals = Judge { results: &results }.handshakes(Placement::One);
        let verdicts: Vec<_> = goals.iter().map(Goal::verdict).collect();
        assert_eq!(verdicts, ["PASS", "not measured", "FAIL", "not measured"]);
    }
}
