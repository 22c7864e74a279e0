//! Draws the live view. Pure: the model in, a frame out.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::rows::{StatusTable, titles, word};
use super::super::text::{age, fit, moment, wrap};
use super::model::Model;
use crate::control::HealthLevel;

/// Lines for the health of the gateway, and for the details of the selected row.
const HEALTH_LINES: u16 = 3;
const DETAIL_LINES: u16 = 4;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(HEALTH_LINES),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(DETAIL_LINES),
        Constraint::Length(1),
    ]);
    let [head, health, tabs, table, details, help] = areas.areas(frame.area());
    put(frame, head, vec![first_line(model, head.width)]);
    put(frame, health, health_lines(model, health.width));
    put(frame, tabs, vec![tab_line(model)]);
    let detail = rows(frame, table, model);
    put(frame, details, detail_lines(model, &detail, details.width));
    put(frame, help, vec![help_line(model, help.width)]);
}

fn put(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'_>>) {
    frame.render_widget(Paragraph::new(lines), area);
}

// Without colours, a worse level is bold or reversed; its word is there in any case.
fn style(level: HealthLevel, model: &Model) -> Style {
    let plain = Style::new();
    match (model.has_colour, level) {
        (true, HealthLevel::Good) => plain.fg(Color::Green),
        (true, HealthLevel::Warning) => plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
        (true, HealthLevel::Failed) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        (false, HealthLevel::Good) => plain,
        (false, HealthLevel::Warning) => plain.add_modifier(Modifier::BOLD),
        (false, HealthLevel::Failed) => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
    }
}

fn first_line(model: &Model, width: u16) -> Line<'static> {
    let width = usize::from(width);
    let Some(status) = &model.status else {
        return Line::raw("wardgate: waiting for the gateway");
    };
    let at = moment(i64::try_from(status.at).unwrap_or(i64::MAX));
    let left = format!(
        "wardgate {} on {}, running for {}, {} open",
        status.program,
        status.host,
        age(status.uptime_seconds),
        status.connections
    );
    let right = format!("{at} UTC");
    let room = width.saturating_sub(right.len() + 1);
    let text = format!("{:<room$} {right}", fit(&left, room));
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn health_lines(model: &Model, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let (level, reasons) = match (&model.lost, &model.status) {
        (Some(why), _) => {
            let text = format!("the gateway does not answer, and this view tries again: {why}");
            (HealthLevel::Failed, vec![text])
        }
        (None, Some(status)) => (status.health.level, status.health.reasons.clone()),
        (None, None) => return Vec::new(),
    };
    let style = style(level, model);
    let mut text = word(level).to_owned();
    if let Some(first) = reasons.first() {
        text = format!("{text}: {first}");
    }
    let mut lines = wrap(&text, width);
    let most = usize::from(HEALTH_LINES);
    let more = reasons.len().saturating_sub(1);
    if more > 0 {
        lines.truncate(most - 1);
        lines.push(format!("and {more} more reasons, see Routes (1)"));
    }
    lines.truncate(most);
    let each = lines.into_iter();
    each.map(|line| Line::styled(fit(&line, width), style))
        .collect()
}

fn tab_line(model: &Model) -> Line<'static> {
    let tabs = StatusTable::ALL.iter().enumerate().map(|(place, section)| {
        let text = format!(" {} {} ", place + 1, section.title());
        match *section == model.section {
            true => Span::styled(text, Style::new().add_modifier(Modifier::REVERSED)),
            false => Span::raw(text),
        }
    });
    let mut spans: Vec<_> = tabs.collect();
    if model.is_filtering || !model.filter.is_empty() {
        let end = if model.is_filtering { "_" } else { "" };
        spans.push(Span::raw(format!("  filter: {}{end}", model.filter)));
    }
    Line::from(spans)
}

// Draws the table, and returns the details of the selected row.
fn rows(frame: &mut Frame<'_>, area: Rect, model: &Model) -> Vec<String> {
    let width = usize::from(area.width);
    let rows = model.rows();
    let selected = model.selected(rows.len());
    let shown = usize::from(area.height).saturating_sub(1).max(1);
    let first = (selected + 1).saturating_sub(shown);
    let title = titles(model.section, width, model.sort());
    let mut lines = vec![Line::styled(
        title,
        Style::new().add_modifier(Modifier::UNDERLINED),
    )];
    for (place, row) in rows.iter().enumerate().skip(first).take(shown) {
        let text = row.line(model.section, width);
        lines.push(match place == selected {
            true => {
                let style = style(row.level, model).add_modifier(Modifier::REVERSED);
                Line::styled(format!("{text:<width$}"), style)
            }
            false if row.level == HealthLevel::Good => Line::raw(text),
            false => Line::styled(text, style(row.level, model)),
        });
    }
    if rows.is_empty() && model.status.is_some() {
        lines.push(Line::raw(match model.filter.is_empty() {
            true => "none",
            false => "none that contains the filter; Esc shows all",
        }));
    }
    put(frame, area, lines);
    let selected = rows.into_iter().nth(selected);
    selected.map_or_else(Vec::new, |row| row.details)
}

fn detail_lines(model: &Model, details: &[String], width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    if let Some((question, _)) = &model.question {
        let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        let text = format!("{question} y: yes, any other key: no");
        let lines = wrap(&text, width).into_iter();
        return lines.map(|line| Line::styled(line, style)).collect();
    }
    let texts = match &model.message {
        Some(message) => std::slice::from_ref(message),
        None => details,
    };
    let lines = texts.iter().flat_map(|text| wrap(text, width));
    let lines = lines.take(usize::from(DETAIL_LINES));
    lines.map(|line| Line::raw(fit(&line, width))).collect()
}

fn help_line(model: &Model, width: u16) -> Line<'static> {
    let text = match (&model.question, model.is_filtering) {
        (Some(_), _) => "y yes  other no",
        (None, true) => "type to filter  Enter keep  Esc all",
        (None, false) => match model.section {
            StatusTable::Routes => {
                "q quit  Tab next  up/down select  / filter  s sort  r reverse  d drain  u undo"
            }
            StatusTable::Connections => {
                "q quit  Tab next  up/down select  / filter  s sort  r reverse  e end"
            }
            _ => "q quit  Tab next  up/down select  / filter  s sort  r reverse",
        },
    };
    let style = Style::new().add_modifier(Modifier::REVERSED);
    let width = usize::from(width);
    Line::styled(format!("{:<width$}", fit(text, width)), style)
}
