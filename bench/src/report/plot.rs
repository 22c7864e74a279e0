//! Plots as SVG: bars with their spread, and lines.

use std::ops::Range;

use anyhow::anyhow;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The content of a plot.
#[derive(Debug, Clone)]
pub(crate) enum Plot {
    Bars(Bars),
    Lines(Lines),
}

/// Bars in groups, one of each series in a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bars {
    /// The meaning of the height, with its unit.
    pub(crate) unit: String,
    /// The groups' names, along the axis.
    pub(crate) groups: Vec<String>,
    /// Each series' name and its bar in each group, `None` where it has none.
    pub(crate) series: Vec<(String, Vec<Option<Spread>>)>,
}

/// The result of several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of one figure or more; `None` of none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }

    /// Of one run: without spread.
    pub(crate) fn one(figure: f64) -> Self {
        Self {
            median: figure,
            min: figure,
            max: figure,
        }
    }
}

/// Lines through points.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    /// What the axes mean, with their units.
    pub(crate) across: String,
    pub(crate) up: String,
    /// Logarithmic: each step is a factor of ten. Points that are not above 0 are left out.
    pub(crate) logarithmic: bool,
    pub(crate) series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// The series' names with their colours, as `#rrggbb`.
    pub(crate) fn legend(&self) -> Vec<(&str, String)> {
        let names: Vec<&str> = match self {
            Self::Bars(bars) => bars.series.iter().map(|(name, _)| &**name).collect(),
            Self::Lines(lines) => lines.series.iter().map(|(name, _)| &**name).collect(),
        };
        let hex = |RGBColor(r, g, b)| format!("#{r:02x}{g:02x}{b:02x}");
        (0..)
            .zip(names)
            .map(|(n, name)| (name, hex(colour(n))))
            .collect()
    }

    /// The plot as one SVG element.
    ///
    /// # Errors
    ///
    /// Where plotters cannot draw it.
    pub(crate) fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = match self {
            Self::Bars(bars) => bars.draw(&area),
            Self::Lines(lines) => lines.draw(&area),
        };
        drawn
            .and_then(|()| area.present().map_err(Into::into))
            .map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
        drop(area);
        Ok(svg)
    }
}

/// Pixels across and down.
const SIZE: (u32, u32) = (920, 380);
/// The margins for labels beside the axes.
const LEFT: u32 = 80;
const BELOW: u32 = 48;
const FONT: (&str, i32) = ("sans-serif", 14);

/// Colours that colour-blind readers can distinguish (the palette of Okabe and Ito).
fn colour(n: usize) -> RGBColor {
    const ALL: [RGBColor; 8] = [
        RGBColor(0, 114, 178),
        RGBColor(230, 159, 0),
        RGBColor(0, 158, 115),
        RGBColor(213, 94, 0),
        RGBColor(86, 180, 233),
        RGBColor(204, 121, 167),
        RGBColor(120, 120, 120),
        RGBColor(180, 170, 20),
    ];
    ALL[n % ALL.len()]
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Part of a group's width that is left between it and the next.
const GAP: f64 = 0.2;

impl Bars {
    fn draw(&self, area: &Area) -> Drawn {
        let all = self
            .series
            .iter()
            .flat_map(|(_, bars)| bars.iter().flatten());
        let top = top(all.map(|bar| bar.max));
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..self.groups.len().max(1) as f64, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(0)
            .y_desc(self.unit.as_str())
            .y_label_formatter(&|value| number(*value))
            .label_style(FONT)
            .draw()?;
        let width = (1.0 - GAP) / self.series.len().max(1) as f64;
        for (n, (_, bars)) in self.series.iter().enumerate() {
            let fill = colour(n).filled();
            for (group, bar) in bars.iter().enumerate() {
                let Some(bar) = bar else { continue };
                let left = group as f64 + GAP / 2.0 + width * n as f64;
                let corners = [(left, 0.0), (left + width * 0.92, bar.median)];
                chart.draw_series([Rectangle::new(corners, fill)])?;
                let middle = left + width * 0.46;
                let whisker = [(middle, bar.min), (middle, bar.max)];
                chart.draw_series([PathElement::new(whisker, BLACK.stroke_width(2))])?;
            }
        }
        let below = FONT
            .into_text_style(area)
            .pos(Pos::new(HPos::Center, VPos::Top));
        let names = self.groups.iter().enumerate().map(|(n, name)| {
            let place = EmptyElement::at((n as f64 + 0.5, 0.0));
            place + Text::new(name.clone(), (0, 10), below.clone())
        });
        chart.draw_series(names)?;
        Ok(())
    }
}

impl Lines {
    fn draw(&self, area: &Area) -> Drawn {
        let series: Vec<Vec<(f64, f64)>> =
            self.series.iter().map(|(_, p)| self.points(p)).collect();
        let across: Range<f64> = range(series.iter().flatten().map(|point| point.0));
        let top = top(series.iter().flatten().map(|point| point.1));
        let logarithmic = self.logarithmic;
        let decades = across.end - across.start;
        // A mark at each power of ten.
        let marks = if logarithmic {
            decades as usize + 1
        } else {
            10
        };
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_right(30)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(across, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(marks)
            .x_desc(self.across.as_str())
            .y_desc(self.up.as_str())
            .x_label_formatter(&|x| number(if logarithmic { 10_f64.powf(*x) } else { *x }))
            .y_label_formatter(&|y| number(*y))
            .label_style(FONT)
            .draw()?;
        for (n, points) in series.into_iter().enumerate() {
            let dots = points
                .iter()
                .map(|&point| Circle::new(point, 3, colour(n).filled()));
            chart.draw_series(dots)?;
            chart.draw_series(LineSeries::new(points, colour(n).stroke_width(2)))?;
        }
        Ok(())
    }

    /// The positions of the points on the horizontal axis.
    fn points(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let points = points.iter().copied();
        if !self.logarithmic {
            return points.collect();
        }
        points
            .filter(|(x, _)| *x > 0.0)
            .map(|(x, y)| (x.log10(), y))
            .collect()
    }
}

/// A little above the highest value; never 0, which would give no axis.
fn top(heights: impl Iterator<Item = f64>) -> f64 {
    let highest = heights
        .filter(|height| height.is_finite())
        .fold(0.0, f64::max);
    if highest > 0.0 { highest * 1.08 } else { 1.0 }
}

/// From the lowest to the highest value; never empty.
fn range(places: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = places
        .filter(|place| place.is_finite())
        .fold((f64::MAX, f64::MIN), |(low, high), place| {
            (low.min(place), high.max(place))
        });
    if low < high { low..high } else { 0.0..1.0 }
}

/// With as many digits as its size needs.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_of_all_runs() {
        let spread = Spread {
            median: 2.0,
            min: 1.0,
            max: 9.0,
        };
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Some(spread));
        let even = Spread::of(&[1.0, 2.0, 3.0, 4.0]).map(|spread| spread.median);
        assert_eq!(even, Some(2.5));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn bars_have_a_rectangle_each_and_their_groups_names() {
        let bar = Some(Spread {
            median: 2.0,
            min: 1.0,
            max: 3.0,
        });
        let plot = Plot::Bars(Bars {
            unit: "s/GB".to_owned(),
            groups: vec!["<one>".to_owned(), "8 streams".to_owned()],
            series: vec![
                ("ours".to_owned(), vec![bar, bar]),
                ("theirs".to_owned(), vec![bar, None]),
            ],
        });
        let svg = plot.svg().expect("it can be drawn");
        assert!(
            svg.contains("&lt;one&gt;") && svg.contains("8 streams"),
            "{svg}"
        );
        for ((_, colour), bars) in plot.legend().iter().zip([2, 1]) {
            let fill = format!("fill=\"{}\"", colour.to_uppercase());
            assert_eq!(svg.matches(&fill).count(), bars, "{svg}");
        }
    }

    #[test]
    fn lines_go_through_their_points_and_none_is_no_error() {
        let mut lines = Lines {
            across: "connections".to_owned(),
            logarithmic: true,
            series: vec![("a".to_owned(), vec![(1.0, 2.0), (100.0, 3.0), (0.0, 1.0)])],
            ..Lines::default()
        };
        let svg = Plot::Lines(lines.clone()).svg().expect("it can be drawn");
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        lines.series.clear();
        assert!(Plot::Lines(lines).svg().is_ok());
        assert!(Plot::Bars(Bars::default()).svg().is_ok());
    }
}
