//! What the live view shows, and what keys change. Pure: keys and states in, actions out.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::rows::{StatusTable, TableRow, rows};
use crate::cli::limits::FILTER_CHARS_MAX;
use crate::control::{Command, GatewayStatus};

/// What the thread that talks to the gateway reports.
pub(super) enum News {
    /// The state.
    State(Box<GatewayStatus>),
    /// The gateway does not answer, and why.
    Lost(String),
    /// What a command has done.
    Reply(String),
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// End the view.
    Quit,
    /// Send this command to the gateway.
    Send(Command),
}

/// The view.
pub(super) struct Model {
    /// The last state.
    pub(super) status: Option<GatewayStatus>,
    /// Why the gateway does not answer now.
    pub(super) lost: Option<String>,
    /// The table that is shown.
    pub(super) section: StatusTable,
    /// What the shown rows contain, in lower case.
    pub(super) filter: String,
    /// Whether keys change the filter.
    pub(super) is_filtering: bool,
    /// A command that waits for its confirmation, and the question.
    pub(super) question: Option<(String, Command)>,
    /// The last reply.
    pub(super) message: Option<String>,
    /// Whether colours are used.
    pub(super) has_colour: bool,
    views: [TableView; StatusTable::ALL.len()],
}

/// How one table is shown.
#[derive(Debug, Clone, Copy, Default)]
struct TableView {
    // The column and whether it descends; the order of the gateway without it.
    sort: Option<(usize, bool)>,
    selected: usize,
}

/// Rows that a key for a page moves.
const PAGE: usize = 10;

impl Model {
    /// Without a state yet.
    pub(super) fn new(has_colour: bool) -> Self {
        Self {
            status: None,
            lost: None,
            section: StatusTable::Routes,
            filter: String::new(),
            is_filtering: false,
            question: None,
            message: None,
            has_colour,
            views: [TableView::default(); StatusTable::ALL.len()],
        }
    }

    /// Takes what the gateway has answered.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::State(status) => {
                self.status = Some(*status);
                self.lost = None;
            }
            News::Lost(why) => self.lost = Some(why),
            News::Reply(text) => self.message = Some(text),
        }
    }

    /// The rows that are shown, in their order.
    pub(super) fn rows(&self) -> Vec<TableRow> {
        let mut rows = self
            .status
            .as_ref()
            .map_or_else(Vec::new, |status| rows(self.section, status));
        rows.retain(|row| row.has(&self.filter));
        if let Some((column, is_descending)) = self.sort() {
            TableRow::sort(&mut rows, column, is_descending);
        }
        rows
    }

    /// The column by which the rows are sorted, and whether it descends.
    pub(super) fn sort(&self) -> Option<(usize, bool)> {
        self.views[self.section as usize].sort
    }

    /// The place of the selected row among `count`.
    pub(super) fn selected(&self, count: usize) -> usize {
        let selected = self.views[self.section as usize].selected;
        selected.min(count.saturating_sub(1))
    }

    /// Reacts to a key.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Option<Action> {
        let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if has_control && key.code == KeyCode::Char('c') {
            return Some(Action::Quit);
        }
        if let Some((_, command)) = self.question.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Some(Action::Send(command)),
                _ => None,
            };
        }
        if self.is_filtering {
            self.change_filter(key.code);
            return None;
        }
        self.message = None;
        match key.code {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(StatusTable::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='5') => {
                let place = digit.to_digit(10).unwrap_or(1) as usize;
                self.section = StatusTable::ALL[place - 1];
            }
            KeyCode::Down | KeyCode::Char('j') => self.select(|at| at.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.select(|at| at.saturating_sub(1)),
            KeyCode::PageDown => self.select(|at| at.saturating_add(PAGE)),
            KeyCode::PageUp => self.select(|at| at.saturating_sub(PAGE)),
            KeyCode::Home => self.select(|_| 0),
            KeyCode::End => self.select(|_| usize::MAX),
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Char('r') => {
                if let Some((_, is_descending)) = &mut self.views[self.section as usize].sort {
                    *is_descending = !*is_descending;
                }
            }
            KeyCode::Char('e') => self.ask_to_end(),
            KeyCode::Char('d') => self.ask_to_drain(false),
            KeyCode::Char('u') => self.ask_to_drain(true),
            _ => {}
        }
        None
    }

    fn turn(&mut self, by: usize) {
        let place = (self.section as usize + by) % StatusTable::ALL.len();
        self.section = StatusTable::ALL[place];
    }

    fn select(&mut self, to: impl Fn(usize) -> usize) {
        let count = self.rows().len();
        let selected = to(self.selected(count)).min(count.saturating_sub(1));
        self.views[self.section as usize].selected = selected;
    }

    fn change_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_filtering = false,
            KeyCode::Esc => {
                self.is_filtering = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            // LIMIT: FILTER_CHARS_MAX.
            KeyCode::Char(one) if self.filter.chars().count() < FILTER_CHARS_MAX => {
                self.filter.extend(one.to_lowercase());
            }
            _ => {}
        }
        self.select(|_| 0);
    }

    fn sort_by_next(&mut self) {
        let count = self.section.columns().len();
        let sort = &mut self.views[self.section as usize].sort;
        *sort = match *sort {
            None => Some((0, false)),
            Some((column, is_descending)) if column + 1 < count => {
                Some((column + 1, is_descending))
            }
            Some(_) => None,
        };
        let column = sort.and_then(|(column, _)| self.section.columns().get(column));
        self.message = Some(match column {
            Some(column) => format!("sorted by {}", column.title),
            None => "in the order of the gateway".to_owned(),
        });
    }

    fn selected_key(&self) -> Option<String> {
        let mut rows = self.rows();
        let selected = self.selected(rows.len());
        (selected < rows.len()).then(|| rows.swap_remove(selected).key)
    }

    fn ask_to_end(&mut self) {
        if self.section != StatusTable::Connections {
            self.message = Some("e ends a connection: choose one in Connections (2)".to_owned());
            return;
        }
        if let Some(connection) = self.selected_key() {
            let question = format!("Reset connection {connection}? What it carries is lost.");
            self.question = Some((question, Command::End { connection }));
        }
    }

    fn ask_to_drain(&mut self, undo: bool) {
        if self.section != StatusTable::Routes {
            self.message = Some("d drains a route: choose one in Routes (1)".to_owned());
            return;
        }
        if let Some(route) = self.selected_key() {
            let question = match undo {
                false => {
                    format!("Drain route {route}? New clients are refused, open connections end.")
                }
                true => format!("End the drain of route {route}? It accepts again."),
            };
            let route = Some(route);
            self.question = Some((question, Command::Drain { route, undo }));
        }
    }
}
