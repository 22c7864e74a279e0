//! The way back: the route by which the far side's own associations come.

use super::draft::Draft;
use super::problem::Problems;
use super::suggest;
use super::{Located, Mode, Protocol};

/// Tells of a `return` that names no route by which an association could come back.
pub(super) fn check(drafts: &[Draft<'_>], problems: &mut Problems) {
    // Where it has no place at all, that is told already.
    let is_fit = |draft: &&Draft<'_>| {
        draft
            .protocol
            .is_none_or(|protocol| protocol == Protocol::Dicom)
            && draft.mode != Some(Mode::Passthrough)
    };
    for draft in drafts.iter().filter(is_fit) {
        let Some(name) = draft.written.returns.value() else {
            continue;
        };
        if let Err(reason) = judge(draft, name, drafts) {
            problems.accept::<()>(&draft.written.scope, "return", name, Err(reason));
        }
    }
}

fn judge(draft: &Draft<'_>, name: &Located<String>, drafts: &[Draft<'_>]) -> Result<(), String> {
    let named = |draft: &&Draft<'_>| name_of(draft) == Some(name.value.as_str());
    if named(&draft) {
        return Err(
            "is this route itself; name the one that brings the far side's associations".to_owned(),
        );
    }
    let Some(back) = drafts.iter().find(named) else {
        return Err(unknown(name, draft, drafts));
    };
    if back
        .protocol
        .is_some_and(|protocol| protocol != Protocol::Dicom)
    {
        return Err("is no dicom route; name the one that brings associations back".to_owned());
    }
    let (Some(own), Some(other)) = (draft.mode, back.mode) else {
        return Ok(());
    };
    let opposite = match own {
        Mode::Originate => Mode::Terminate,
        Mode::Terminate | Mode::Passthrough => Mode::Originate,
    };
    if other == opposite {
        return Ok(());
    }
    Err(format!(
        "has mode \"{other}\"; what a route with mode \"{own}\" sends is answered by one with mode \
         \"{opposite}\""
    ))
}

fn unknown(name: &Located<String>, own: &Draft<'_>, drafts: &[Draft<'_>]) -> String {
    let others = drafts.iter().filter(|draft| !std::ptr::eq(*draft, own));
    let known = others.filter_map(name_of);
    match suggest::nearest(&name.value, known) {
        Some(near) => format!("is no route; did you mean {near:?}?"),
        None => "is no route; write the name of one in this file, or remove it".to_owned(),
    }
}

fn name_of<'d>(draft: &'d Draft<'_>) -> Option<&'d str> {
    let name = draft.written.name.value()?;
    Some(&name.value)
}
