//! Questions at a plain terminal: one line out, one line in. They work over ssh, on a serial console and with a screen
//! reader, because they need no control of the cursor.

use std::io::{BufRead, Read as _, Write};

use anyhow::{Context as _, bail};

use super::draft::{Known, Question, SetupAnswers};
use super::trial;
use crate::cli::limits::ANSWER_BYTES_MAX;

/// A person at a terminal.
pub(super) struct Terminal<R, W> {
    input: R,
    output: W,
}

/// What a person decides when all answers are shown.
#[derive(Debug, PartialEq, Eq)]
enum ReviewChoice {
    Accept,
    Change(Question),
}

impl<R: BufRead, W: Write> Terminal<R, W> {
    pub(super) fn new(input: R, output: W) -> Self {
        Self { input, output }
    }

    /// Asks for what has no default, then shows all answers until they are accepted.
    ///
    /// # Errors
    /// The terminal was closed.
    pub(super) fn answer_all(
        &mut self,
        draft: &mut SetupAnswers,
        known: &Known<'_>,
    ) -> anyhow::Result<()> {
        loop {
            // One at a time: later defaults depend on earlier answers.
            while let Some(question) = first_open(draft, known) {
                self.ask(question, draft, known)?;
            }
            draft.fill(known);
            if !draft.missing().is_empty() {
                continue;
            }
            match self.choose(draft, known)? {
                ReviewChoice::Accept => return Ok(()),
                ReviewChoice::Change(question) => {
                    let before = draft.get(question).map(str::to_owned);
                    self.ask(question, draft, known)?;
                    if draft.get(question) != before.as_deref() {
                        draft.forget_what_depends_on(question);
                    }
                }
            }
        }
    }

    /// Asks one question until its answer is valid. An empty line keeps the present answer or takes the default.
    ///
    /// # Errors
    /// The terminal was closed.
    pub(super) fn ask(
        &mut self,
        question: Question,
        draft: &mut SetupAnswers,
        known: &Known<'_>,
    ) -> anyhow::Result<()> {
        let present = draft.get(question).map(str::to_owned);
        let default = present.or_else(|| draft.proposal(question, known));
        let text = question.text(draft);
        if question == Question::Listen {
            for (interface, address) in &known.machine.local {
                writeln!(self.output, "  {address} is on {interface}")?;
            }
        }
        if question == Question::Route {
            writeln!(self.output, "  present: {}", known.routes.join(", "))?;
        }
        loop {
            let prompt = match &default {
                Some(default) => format!("{text} [{default}]: "),
                None => format!("{text}: "),
            };
            let mut answer = self.line(&prompt)?;
            if answer.is_empty() {
                answer = default.clone().unwrap_or_default();
            }
            match trial::answer(draft, question, &answer) {
                Ok(()) => return Ok(()),
                Err(problem) => writeln!(self.output, "{problem}")?,
            }
        }
    }

    fn choose(&mut self, draft: &SetupAnswers, known: &Known<'_>) -> anyhow::Result<ReviewChoice> {
        let questions: Vec<_> = draft.questions().collect();
        writeln!(self.output)?;
        for (number, question) in (1..).zip(&questions) {
            let (label, value) = (question.label(draft), shown(*question, draft));
            writeln!(self.output, "{number:>4}  {label:<28}{value}")?;
        }
        loop {
            let answer = self.line("Enter to accept, or the number of a line to change: ")?;
            let number = answer.parse::<usize>().ok();
            let question = number.and_then(|number| questions.get(number.checked_sub(1)?));
            match question {
                _ if answer.is_empty() => return Ok(ReviewChoice::Accept),
                Some(Question::Route) if !known.routes.is_empty() => {
                    writeln!(
                        self.output,
                        "to change or add another route, run `wardgate setup --route NAME`"
                    )?;
                }
                Some(question) => return Ok(ReviewChoice::Change(*question)),
                None => writeln!(
                    self.output,
                    "{answer:?} is not a number from 1 to {}",
                    questions.len()
                )?,
            }
        }
    }

    /// Asks a question that is answered by yes or no.
    ///
    /// # Errors
    /// The terminal was closed.
    pub(super) fn confirm(&mut self, question: &str, default: bool) -> anyhow::Result<bool> {
        let choices = if default { "Y/n" } else { "y/N" };
        loop {
            let answer = self.line(&format!("{question} [{choices}] "))?;
            match answer.to_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => writeln!(self.output, "answer y or n")?,
            }
        }
    }

    /// Prints lines.
    ///
    /// # Errors
    /// The terminal was closed.
    pub(super) fn print(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.output, "{text}")?)
    }

    fn line(&mut self, prompt: &str) -> anyhow::Result<String> {
        write!(self.output, "{prompt}")?;
        self.output.flush()?;
        let mut answer = String::new();
        // LIMIT: `ANSWER_BYTES_MAX`.
        let mut bounded = self.input.by_ref().take(ANSWER_BYTES_MAX);
        let read = bounded
            .read_line(&mut answer)
            .context("the answer cannot be read")?;
        if read == 0 {
            writeln!(self.output)?;
            bail!("the input ended, and nothing was changed");
        }
        if !answer.ends_with('\n') && read as u64 >= ANSWER_BYTES_MAX {
            bail!("the answer has more than {ANSWER_BYTES_MAX} bytes, and nothing was changed");
        }
        Ok(answer.trim().to_owned())
    }
}

/// The first question that has neither an answer nor a default.
fn first_open(draft: &SetupAnswers, known: &Known<'_>) -> Option<Question> {
    let mut filled = draft.clone();
    filled.fill(known);
    filled.missing().into_iter().next()
}

/// An answer in the words of the question.
fn shown(question: Question, draft: &SetupAnswers) -> String {
    let value = draft.get(question).unwrap_or_default();
    match (question, value) {
        (Question::Side, "modalities") => "this site has the modalities".to_owned(),
        (Question::Side, _) => "this site has the archive".to_owned(),
        (Question::Protocol, "dicom") => "DICOM".to_owned(),
        (Question::Protocol, _) => "HL7".to_owned(),
        (Question::Certificate, "make") => "make: a CA of this site's own issues it now".to_owned(),
        (Question::Certificate, "csr") => {
            "csr: a request for the CA of your organisation".to_owned()
        }
        (Question::Certificate, "keep") => "keep the present one".to_owned(),
        _ => value.to_owned(),
    }
}
