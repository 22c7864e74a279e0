//! The colours of the page. A test computes their contrast (WCAG 2.2, level AA).

use std::fmt::Write as _;

/// A colour as red, green and blue.
type Rgb = [u8; 3];

/// The colours of one scheme.
struct Scheme {
    ground: Rgb,
    card: Rgb,
    edge: Rgb,
    text: Rgb,
    muted: Rgb,
    link: Rgb,
    good: Rgb,
    good_soft: Rgb,
    warning: Rgb,
    warning_soft: Rgb,
    failed: Rgb,
    failed_soft: Rgb,
    plot_1: Rgb,
    plot_2: Rgb,
}

const LIGHT: Scheme = Scheme {
    ground: [0xf4, 0xf6, 0xf9],
    card: [0xff, 0xff, 0xff],
    edge: [0xd6, 0xdd, 0xe5],
    text: [0x19, 0x25, 0x31],
    muted: [0x50, 0x5e, 0x6c],
    link: [0x0b, 0x5c, 0xad],
    good: [0x15, 0x68, 0x3b],
    good_soft: [0xe5, 0xf4, 0xeb],
    warning: [0x85, 0x4d, 0x00],
    warning_soft: [0xfd, 0xf0, 0xd9],
    failed: [0xae, 0x1f, 0x1a],
    failed_soft: [0xfd, 0xea, 0xe8],
    plot_1: [0x0b, 0x5c, 0xad],
    plot_2: [0xb4, 0x45, 0x0f],
};

const DARK: Scheme = Scheme {
    ground: [0x0f, 0x15, 0x1c],
    card: [0x18, 0x21, 0x2b],
    edge: [0x31, 0x3e, 0x4c],
    text: [0xe6, 0xed, 0xf3],
    muted: [0xa6, 0xb4, 0xc2],
    link: [0x7a, 0xb8, 0xf5],
    good: [0x71, 0xd6, 0x9e],
    good_soft: [0x13, 0x2e, 0x20],
    warning: [0xf4, 0xbb, 0x62],
    warning_soft: [0x38, 0x29, 0x0d],
    failed: [0xff, 0xa0, 0x98],
    failed_soft: [0x42, 0x1a, 0x19],
    plot_1: [0x7a, 0xb8, 0xf5],
    plot_2: [0xf4, 0xa2, 0x61],
};

impl Scheme {
    fn named(&self) -> [(&'static str, Rgb); 14] {
        [
            ("ground", self.ground),
            ("card", self.card),
            ("edge", self.edge),
            ("text", self.text),
            ("muted", self.muted),
            ("link", self.link),
            ("good", self.good),
            ("good-soft", self.good_soft),
            ("warning", self.warning),
            ("warning-soft", self.warning_soft),
            ("failed", self.failed),
            ("failed-soft", self.failed_soft),
            ("plot-1", self.plot_1),
            ("plot-2", self.plot_2),
        ]
    }

    fn properties(&self) -> String {
        let mut css = String::new();
        for (name, [red, green, blue]) in self.named() {
            let _ = write!(css, "--{name}:#{red:02x}{green:02x}{blue:02x};");
        }
        css
    }
}

/// The style sheet with its colours.
pub(super) fn style_sheet() -> String {
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n{}",
        LIGHT.properties(),
        DARK.properties(),
        include_str!("style.css")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // WCAG 2.2, "relative luminance".
    fn luminance(colour: Rgb) -> f64 {
        let linear = colour.map(|part| {
            let part = f64::from(part) / 255.0;
            match part <= 0.04045 {
                true => part / 12.92,
                false => ((part + 0.055) / 1.055).powf(2.4),
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    // WCAG 2.2, "contrast ratio".
    fn contrast(one: Rgb, other: Rgb) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn text_has_the_contrast_of_wcag_aa_in_both_schemes() {
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 0.001);
        for scheme in [LIGHT, DARK] {
            let softs = [scheme.good_soft, scheme.warning_soft, scheme.failed_soft];
            let mut pairs = Vec::new();
            for ground in [scheme.ground, scheme.card] {
                for text in [scheme.text, scheme.muted, scheme.link] {
                    pairs.push((text, ground));
                }
                for text in [scheme.good, scheme.warning, scheme.failed] {
                    pairs.push((text, ground));
                }
            }
            let states = [scheme.good, scheme.warning, scheme.failed];
            pairs.extend(states.into_iter().zip(softs));
            pairs.extend(softs.map(|soft| (scheme.text, soft)));
            for (text, ground) in pairs {
                let ratio = contrast(text, ground);
                assert!(ratio >= 4.5, "{text:x?} on {ground:x?}: {ratio:.2}");
            }
        }
    }

    #[test]
    fn curves_and_lines_have_the_contrast_of_wcag_aa_for_graphics() {
        for scheme in [LIGHT, DARK] {
            for curve in [scheme.plot_1, scheme.plot_2] {
                let ratio = contrast(curve, scheme.card);
                assert!(ratio >= 3.0, "{curve:x?}: {ratio:.2}");
            }
        }
    }

    #[test]
    fn the_style_sheet_uses_no_colour_besides_these() {
        let css = include_str!("style.css");
        assert!(
            !css.contains('#')
                || css.match_indices('#').all(|(at, _)| {
                    css[at..].starts_with("#live") || css[at..].starts_with("#routes")
                })
        );
        assert!(!css.contains("rgb(") && !css.contains("url("));
        for name in css
            .split("var(--")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let is_state = matches!(name, "state" | "soft");
            assert!(
                is_state || LIGHT.named().iter().any(|(own, _)| *own == name),
                "{name}"
            );
        }
    }
}
